//! Calls in flight, and the waiters of each: one call serves all waiters of a worker that ask the same
//! question.
//!
//! The host passes the response to a call to the context that was being called back when the call was made,
//! its *home*. If that is a stream that has ended, the response is lost. Therefore a waiter makes a call
//! itself only if it is the one being called back; the root, which never ends, makes all other calls. If the
//! home of a call ends, the root repeats the call for those who still wait, unless the call must not be
//! repeated.

use std::{
    collections::{HashMap, HashSet},
    rc::Rc,
    time::Duration,
};

use super::{
    host::{CallId, ContextId},
    worker::Waiter,
};
use crate::{
    credential::Digest,
    provider::{Call, Sharing, Wanted},
    time::Timestamp,
};

/// The most calls that one worker has in flight.
pub const MOST_CALLS: usize = 1024;

/// Strangers make no further calls if this many are in flight. The rest is for [`Origin::Known`].
pub const MOST_FOR_STRANGERS: usize = 768;

/// If this many calls are in flight, strangers of one network make no further calls beyond
/// [`MOST_PER_NETWORK`]. Below that, one network may have all of them: callers behind a load balancer all
/// have its address.
pub const SHARED_OUT_FROM: usize = 512;

/// The most calls of strangers of one network, if [`SHARED_OUT_FROM`] calls are in flight.
pub const MOST_PER_NETWORK: usize = 128;

/// The calls of one worker.
#[derive(Default)]
pub struct Calls {
    flights: HashMap<FlightId, Flight>,
    by_question: HashMap<Digest, FlightId>,
    by_call: HashMap<CallId, FlightId>,
    by_waiter: HashMap<Waiter, FlightId>,
    /// How many calls strangers of each network have in flight.
    by_network: HashMap<Rc<str>, usize>,
    /// The flights whose calls the root has to make.
    due: HashSet<FlightId>,
    last: u64,
}

/// The number of a flight. A flight is a call and all who wait for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FlightId(u64);

/// The context that receives the response to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Home {
    /// A stream, while it exists.
    Stream(ContextId),
    /// The root.
    Root,
}

/// Where a call comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Ourselves, or a caller that the provider vouched for before.
    Known,
    /// Somebody in this network.
    Stranger(Rc<str>),
}

/// A flight whose call has completed.
#[derive(Debug, PartialEq, Eq)]
pub struct Landed {
    /// Who waited, in the order of arrival. Some may have ended.
    pub waiters: Vec<Waiter>,
    /// When the call was made.
    pub since: Timestamp,
    /// The timeout of the call.
    pub timeout: Duration,
}

struct Flight {
    stage: Stage,
    origin: Origin,
    sharing: Sharing,
    wanted: Wanted,
    timeout: Duration,
    since: Timestamp,
    waiters: Vec<Waiter>,
    /// How many of the waiters still exist.
    present: usize,
}

enum Stage {
    /// The root has to make the call.
    Due(Call),
    /// The call was made. It is kept here if it may be repeated.
    InFlight { id: CallId, home: Home, repeat: Option<Call> },
}

impl Calls {
    /// Adds `waiter` to the call in flight for `question`; false if there is none.
    pub fn join(&mut self, question: &Digest, waiter: Waiter) -> bool {
        let Some(id) = self.by_question.get(question).copied() else { return false };
        let Some(flight) = self.flights.get_mut(&id) else { return false };
        flight.waiters.push(waiter);
        flight.present = flight.present.saturating_add(1);
        self.by_waiter.insert(waiter, id);
        true
    }

    /// Whether a call from `origin` may be made.
    pub fn has_room(&self, origin: &Origin) -> bool {
        let calls = self.flights.len();
        match origin {
            Origin::Known => calls < MOST_CALLS,
            Origin::Stranger(network) => {
                let of_network = self.by_network.get(network).copied().unwrap_or_default();
                calls < MOST_FOR_STRANGERS && (calls < SHARED_OUT_FROM || of_network < MOST_PER_NETWORK)
            }
        }
    }

    /// Records that `call` was made at `now` as `id`, and that `waiter` waits for it. The response is passed
    /// to `home`.
    pub fn made(
        &mut self,
        call: Call,
        origin: Origin,
        id: CallId,
        home: Home,
        waiter: Waiter,
        now: Timestamp,
    ) {
        let in_flight = |call| Stage::InFlight { id, home, repeat: repeatable(call) };
        let flight = self.add(call, origin, in_flight, waiter, now);
        self.by_call.insert(id, flight);
    }

    /// Records that `waiter` waits for `call`, which the root has to make.
    pub fn leave_to_root(&mut self, call: Call, origin: Origin, waiter: Waiter, now: Timestamp) {
        let flight = self.add(call, origin, Stage::Due, waiter, now);
        self.due.insert(flight);
    }

    /// Which parts of the response to a call are wanted. `None` if nobody waits for the call any more, or if
    /// it has already completed.
    pub fn wanted(&self, call: CallId) -> Option<Wanted> {
        Some(self.flights.get(self.by_call.get(&call)?)?.wanted)
    }

    /// Completes a call. `None` if nobody waits for it any more, or if it has already completed.
    pub fn landed(&mut self, call: CallId) -> Option<Landed> {
        let flight = self.by_call.get(&call).copied()?;
        self.remove(flight)
    }

    /// Removes `waiter`. True if the root has to make a call because of that.
    pub fn gone(&mut self, waiter: Waiter) -> bool {
        let Some(id) = self.by_waiter.remove(&waiter) else { return false };
        let Some(flight) = self.flights.get_mut(&id) else { return false };
        flight.present = flight.present.saturating_sub(1);
        match &mut flight.stage {
            Stage::Due(_) => {
                if flight.present == 0 {
                    self.remove(id);
                }
                false
            }
            Stage::InFlight { id: call, home, repeat } if home.is(waiter) => {
                // The response will be lost.
                self.by_call.remove(call);
                match repeat.take().filter(|_| flight.present > 0) {
                    Some(call) => {
                        flight.stage = Stage::Due(call);
                        self.due.insert(id);
                        true
                    }
                    None => {
                        self.remove(id);
                        false
                    }
                }
            }
            Stage::InFlight { .. } => false,
        }
    }

    /// Whether there are calls that the root has to make.
    pub fn any_due(&self) -> bool {
        !self.due.is_empty()
    }

    /// The calls that the root has to make.
    pub fn due(&self) -> Vec<(FlightId, Call)> {
        let due = self.due.iter().filter_map(|id| match &self.flights.get(id)?.stage {
            Stage::Due(call) => Some((*id, call.clone())),
            Stage::InFlight { .. } => None,
        });
        due.collect()
    }

    /// Records that the root made the call of `flight` at `now` as `id`.
    pub fn made_by_root(&mut self, flight: FlightId, id: CallId, now: Timestamp) {
        self.due.remove(&flight);
        if let Some(found) = self.flights.get_mut(&flight) {
            found.stage = Stage::InFlight { id, home: Home::Root, repeat: None };
            found.since = now;
            self.by_call.insert(id, flight);
        }
    }

    /// Ends a flight because the root could not make its call.
    pub fn failed(&mut self, flight: FlightId) -> Option<Landed> {
        self.remove(flight)
    }

    fn add(
        &mut self,
        call: Call,
        origin: Origin,
        stage: impl FnOnce(Call) -> Stage,
        waiter: Waiter,
        since: Timestamp,
    ) -> FlightId {
        self.last = self.last.wrapping_add(1);
        let id = FlightId(self.last);
        let Call { sharing, wanted, timeout, .. } = call;
        if let Sharing::Joined(question) = sharing {
            self.by_question.insert(question, id);
        }
        if let Origin::Stranger(network) = &origin {
            let calls = self.by_network.entry(Rc::clone(network)).or_default();
            *calls = calls.saturating_add(1);
        }
        self.by_waiter.insert(waiter, id);
        let stage = stage(call);
        let waiters = vec![waiter];
        self.flights
            .insert(id, Flight { stage, origin, sharing, wanted, timeout, since, waiters, present: 1 });
        id
    }

    fn remove(&mut self, id: FlightId) -> Option<Landed> {
        let flight = self.flights.remove(&id)?;
        self.due.remove(&id);
        if let Stage::InFlight { id: call, .. } = flight.stage {
            self.by_call.remove(&call);
        }
        if let Sharing::Joined(question) = flight.sharing {
            self.by_question.remove(&question);
        }
        if let Origin::Stranger(network) = &flight.origin
            && let Some(calls) = self.by_network.get_mut(network)
        {
            *calls = calls.saturating_sub(1);
            if *calls == 0 {
                self.by_network.remove(network);
            }
        }
        for waiter in &flight.waiters {
            if self.by_waiter.get(waiter) == Some(&id) {
                self.by_waiter.remove(waiter);
            }
        }
        Some(Landed { waiters: flight.waiters, since: flight.since, timeout: flight.timeout })
    }
}

impl Home {
    fn is(self, waiter: Waiter) -> bool {
        match (self, waiter) {
            (Self::Stream(home), Waiter::Request(stream)) => home == stream,
            (Self::Stream(_), Waiter::Task(_)) | (Self::Root, _) => false,
        }
    }
}

fn repeatable(call: Call) -> Option<Call> {
    match call.sharing {
        Sharing::Joined(_) => Some(call),
        Sharing::Alone => None,
    }
}

#[cfg(test)]
mod tests;
