//! Calls in flight, and who waits for each: one call for all waiters of a worker that ask the same question.
//!
//! The host hands the response to a call to the context that was called back when the call was made, its *home*. If that is a stream
//! that is gone in the meantime, the response reaches nobody. So there are two rules. A waiter makes a call itself only where it is
//! the one being called back; any other call is left to the root, which is never gone. And a call whose home is gone is made again by
//! the root for those who still wait, unless it must not be repeated.

use std::{
    collections::{HashMap, HashSet},
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

/// How many calls one worker has in flight at a time.
pub const MOST_CALLS: usize = 1024;

/// The calls of one worker.
#[derive(Default)]
pub struct Calls {
    flights: HashMap<FlightId, Flight>,
    by_question: HashMap<Digest, FlightId>,
    by_call: HashMap<CallId, FlightId>,
    by_waiter: HashMap<Waiter, FlightId>,
    /// Those that the root has to make.
    due: HashSet<FlightId>,
    last: u64,
}

/// The number of a flight: of a call and all who wait for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FlightId(u64);

/// The context that a call's response comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Home {
    /// A stream, as long as it is there.
    Stream(ContextId),
    /// The root.
    Root,
}

/// A flight that has landed.
#[derive(Debug, PartialEq, Eq)]
pub struct Landed {
    /// Who waited, in the order they came. Some may be gone.
    pub waiters: Vec<Waiter>,
    /// When the call was made.
    pub since: Timestamp,
    /// How long it was given.
    pub timeout: Duration,
}

struct Flight {
    stage: Stage,
    sharing: Sharing,
    wanted: Wanted,
    timeout: Duration,
    since: Timestamp,
    waiters: Vec<Waiter>,
    /// How many of the waiters are not gone.
    present: usize,
}

enum Stage {
    /// The root has to make the call.
    Due(Call),
    /// The call is made; it is kept where it may be repeated.
    InFlight { id: CallId, home: Home, repeat: Option<Call> },
}

impl Calls {
    /// Has `waiter` wait for the call that answers `question`, if there is one.
    pub fn join(&mut self, question: &Digest, waiter: Waiter) -> bool {
        let Some(id) = self.by_question.get(question).copied() else { return false };
        let Some(flight) = self.flights.get_mut(&id) else { return false };
        flight.waiters.push(waiter);
        flight.present = flight.present.saturating_add(1);
        self.by_waiter.insert(waiter, id);
        true
    }

    /// Whether there are as many calls as one worker may have.
    pub fn is_full(&self) -> bool {
        self.flights.len() >= MOST_CALLS
    }

    /// `waiter` waits for `call`, which was made at `now` as `id`. Its response comes `home`.
    pub fn made(&mut self, call: Call, id: CallId, home: Home, waiter: Waiter, now: Timestamp) {
        let in_flight = |call| Stage::InFlight { id, home, repeat: repeatable(call) };
        let flight = self.add(call, in_flight, waiter, now);
        self.by_call.insert(id, flight);
    }

    /// `waiter` waits for `call`, which the root has to make.
    pub fn leave_to_root(&mut self, call: Call, waiter: Waiter, now: Timestamp) {
        let flight = self.add(call, Stage::Due, waiter, now);
        self.due.insert(flight);
    }

    /// What of the response to a call is wanted. `None` if nobody waits for it any more, or if it came back before.
    pub fn wanted(&self, call: CallId) -> Option<Wanted> {
        Some(self.flights.get(self.by_call.get(&call)?)?.wanted)
    }

    /// The call has come back. `None` if nobody waits for it any more, or if it came back before.
    pub fn landed(&mut self, call: CallId) -> Option<Landed> {
        let flight = self.by_call.get(&call).copied()?;
        self.remove(flight)
    }

    /// `waiter` is gone. True where that leaves a call for the root to make.
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
                // The response will reach nobody.
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

    /// The root made the call of `flight` at `now` as `id`.
    pub fn made_by_root(&mut self, flight: FlightId, id: CallId, now: Timestamp) {
        self.due.remove(&flight);
        if let Some(found) = self.flights.get_mut(&flight) {
            found.stage = Stage::InFlight { id, home: Home::Root, repeat: None };
            found.since = now;
            self.by_call.insert(id, flight);
        }
    }

    /// The root could not make the call of `flight`.
    pub fn failed(&mut self, flight: FlightId) -> Option<Landed> {
        self.remove(flight)
    }

    fn add(
        &mut self,
        call: Call,
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
        self.by_waiter.insert(waiter, id);
        let stage = stage(call);
        let waiters = vec![waiter];
        self.flights.insert(id, Flight { stage, sharing, wanted, timeout, since, waiters, present: 1 });
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
