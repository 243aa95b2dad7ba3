//! Calls that are under way, and who waits for them: one call for all requests of a worker that ask the same question.
//!
//! The reply to a call comes to the stream that made it. Is that stream gone by then, the reply comes to nobody; so a flight whose
//! leader goes is handed to the root, which calls again for those who still wait.

use std::collections::HashMap;

use crate::{credential::Digest, provider::ProviderRequest, time::Timestamp};

use super::host::{CallId, StreamId};

/// How many calls one worker has open at a time.
pub const MOST_CALLS: usize = 1024;
/// How many requests may wait for one call.
const MOST_WAITERS: usize = 65_536;

/// The flights of one worker; `W` is what waits.
pub struct Flights<W> {
    by_question: HashMap<Digest, Flight<W>>,
    by_call: HashMap<CallId, Digest>,
}

struct Flight<W> {
    request: ProviderRequest,
    leader: Leader,
    call: Option<CallId>,
    since: Timestamp,
    waiters: Vec<(StreamId, W)>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Leader {
    Stream(StreamId),
    Root,
}

/// A flight that has landed.
pub struct Landed<W> {
    /// Who waited, in the order they came.
    pub waiters: Vec<(StreamId, W)>,
    /// When the call was made.
    pub since: Timestamp,
}

/// What became of a request that asked to board.
pub enum Boarding<W> {
    /// It waits for a call that is under way.
    Waiting,
    /// There is no such call: the stream must make it and then say so by [`Flights::departed`].
    Lead(W),
    /// There are too many already.
    Full(W),
}

impl<W> Default for Flights<W> {
    fn default() -> Self {
        Self { by_question: HashMap::new(), by_call: HashMap::new() }
    }
}

impl<W> Flights<W> {
    /// Waits for the call that answers `question`, if there is one.
    pub fn board(&mut self, question: Digest, stream: StreamId, waiter: W) -> Boarding<W> {
        let full = self.by_question.len() >= MOST_CALLS;
        match self.by_question.get_mut(&question) {
            Some(flight) if flight.waiters.len() < MOST_WAITERS => {
                flight.waiters.push((stream, waiter));
                Boarding::Waiting
            }
            Some(_) => Boarding::Full(waiter),
            None if full => Boarding::Full(waiter),
            None => Boarding::Lead(waiter),
        }
    }

    /// `stream` made `call` to answer `question`.
    pub fn departed(
        &mut self,
        question: Digest,
        call: CallId,
        stream: StreamId,
        waiter: W,
        request: ProviderRequest,
        now: Timestamp,
    ) {
        let leader = Leader::Stream(stream);
        let flight =
            Flight { request, leader, call: Some(call), since: now, waiters: vec![(stream, waiter)] };
        self.by_question.insert(question, flight);
        self.by_call.insert(call, question);
    }

    /// `call` is answered: who waited for it. None for a call that nobody waits for, or that was answered before.
    pub fn landed(&mut self, call: CallId) -> Option<Landed<W>> {
        let question = self.by_call.remove(&call)?;
        let flight = self.by_question.remove(&question)?;
        Some(Landed { waiters: flight.waiters, since: flight.since })
    }

    /// `stream` is gone. True where it leaves waiters without a leader: the root must come and look at [`Flights::orphans`].
    pub fn left(&mut self, stream: StreamId) -> bool {
        let mut orphaned = false;
        let by_call = &mut self.by_call;
        self.by_question.retain(|_, flight| {
            flight.waiters.retain(|(waiter, _)| *waiter != stream);
            if flight.leader == Leader::Stream(stream) {
                // The reply will come to nobody.
                if let Some(call) = flight.call.take() {
                    by_call.remove(&call);
                }
                flight.leader = Leader::Root;
                orphaned |= !flight.waiters.is_empty();
            }
            flight.call.is_some() || !flight.waiters.is_empty()
        });
        orphaned
    }

    /// The questions whose call the root must make, with the request.
    pub fn orphans(&self) -> Vec<(Digest, ProviderRequest)> {
        let orphans = self.by_question.iter().filter(|(_, flight)| flight.call.is_none());
        orphans.map(|(question, flight)| (*question, flight.request.clone())).collect()
    }

    /// The root made `call` for an orphaned question.
    pub fn adopted(&mut self, question: Digest, call: CallId, now: Timestamp) {
        if let Some(flight) = self.by_question.get_mut(&question) {
            flight.call = Some(call);
            flight.since = now;
            self.by_call.insert(call, question);
        }
    }

    /// The root could not call for an orphaned question: who waited.
    pub fn abandoned(&mut self, question: Digest) -> Option<Landed<W>> {
        let flight = self.by_question.remove(&question)?;
        Some(Landed { waiters: flight.waiters, since: flight.since })
    }

    /// Whether nothing is under way.
    pub fn is_empty(&self) -> bool {
        self.by_question.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    #[cfg(all(target_family = "wasm", target_os = "unknown"))]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    const NOW: Timestamp = Timestamp::from_seconds(1);

    fn request() -> ProviderRequest {
        ProviderRequest {
            cluster: "c".to_owned(),
            method: "POST",
            scheme: "http".to_owned(),
            authority: "a".to_owned(),
            path: "/".to_owned(),
            headers: Vec::new(),
            body: Vec::new(),
            timeout: Duration::from_secs(1),
        }
    }

    /// Stream 1 leads with call 10; streams 2 and 3 wait.
    fn flights() -> (Flights<char>, Digest) {
        let mut flights = Flights::default();
        let question = Digest::of(b"q");
        assert!(matches!(flights.board(question, 1, 'a'), Boarding::Lead('a')));
        flights.departed(question, 10, 1, 'a', request(), NOW);
        assert!(matches!(flights.board(question, 2, 'b'), Boarding::Waiting));
        assert!(matches!(flights.board(question, 3, 'c'), Boarding::Waiting));
        (flights, question)
    }

    fn waiters(landed: Option<Landed<char>>) -> Vec<(StreamId, char)> {
        landed.map(|landed| landed.waiters).unwrap_or_default()
    }

    #[test]
    fn a_reply_reaches_all_who_wait_once() {
        let (mut flights, _) = flights();
        assert_eq!(waiters(flights.landed(10)), [(1, 'a'), (2, 'b'), (3, 'c')]);
        assert!(flights.landed(10).is_none());
        assert!(flights.is_empty());
    }

    #[test]
    fn a_waiter_that_leaves_is_forgotten() {
        let (mut flights, _) = flights();
        assert!(!flights.left(2));
        assert_eq!(waiters(flights.landed(10)), [(1, 'a'), (3, 'c')]);
    }

    #[test]
    fn when_the_leader_leaves_the_root_calls_again() {
        let (mut flights, question) = flights();
        assert!(flights.left(1));
        assert!(flights.landed(10).is_none(), "the leader's reply is nobody's");
        assert_eq!(flights.orphans().len(), 1);
        flights.adopted(question, 11, NOW);
        assert!(flights.orphans().is_empty());
        assert!(matches!(flights.board(question, 4, 'd'), Boarding::Waiting));
        assert_eq!(waiters(flights.landed(11)), [(2, 'b'), (3, 'c'), (4, 'd')]);
    }

    #[test]
    fn when_the_root_cannot_call_the_waiters_are_told() {
        let (mut flights, question) = flights();
        flights.left(1);
        assert_eq!(waiters(flights.abandoned(question)), [(2, 'b'), (3, 'c')]);
        assert!(flights.is_empty());
    }

    #[test]
    fn a_leader_without_waiters_leaves_nothing_behind() {
        let (mut flights, _) = flights();
        flights.left(2);
        flights.left(3);
        assert!(!flights.left(1));
        assert!(flights.is_empty());
        assert!(flights.landed(10).is_none());
    }

    #[test]
    fn a_flight_without_waiters_that_the_root_leads_stays_until_it_lands() {
        let (mut flights, question) = flights();
        flights.left(1);
        flights.adopted(question, 11, NOW);
        flights.left(2);
        flights.left(3);
        assert_eq!(waiters(flights.landed(11)), []);
        assert!(flights.is_empty());
    }

    #[test]
    fn calls_are_capped() {
        let mut flights = Flights::default();
        for number in 0..u32::try_from(MOST_CALLS).unwrap() {
            let question = Digest::of(&number.to_le_bytes());
            assert!(matches!(flights.board(question, number, 'x'), Boarding::Lead('x')));
            flights.departed(question, number, number, 'x', request(), NOW);
        }
        assert!(matches!(flights.board(Digest::of(b"one more"), 1, 'x'), Boarding::Full('x')));
        assert!(matches!(flights.board(Digest::of(&0_u32.to_le_bytes()), 9_999, 'x'), Boarding::Waiting));
    }
}
