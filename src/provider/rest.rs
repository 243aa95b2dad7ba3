//! A provider that failed rests for its `cooldown`. During that time, one request at a time tries it. All
//! others immediately get the result that the provider's [`WhenUnavailable`](super::WhenUnavailable) asks
//! for, instead of each waiting for the timeout.
//!
//! All workers share this state in one table of the store. An entry holds the moment until which a request is
//! trying the provider, and expires when the rest is over. A rest lasts at least as long as somebody tries:
//! else all requests would wait with each try of a provider whose timeout is longer than its `cooldown`.

use std::{num::NonZeroU32, time::Duration};

use crate::{
    credential::Digest,
    store::{Change, Session, Store, Table},
    time::Timestamp,
};

/// How many providers can rest at the same time. With more, the one that failed first is tried again early.
const CAPACITY: NonZeroU32 = NonZeroU32::new(1024).unwrap();

/// How long a failure may take, after the timeout, until it is known here.
const MARGIN: Duration = Duration::from_millis(100);

/// Which providers rest.
#[derive(Clone, Debug)]
pub struct Rests(Table);

/// Whether a request may call a provider now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Turn {
    /// The provider did not fail recently: call it.
    Call,
    /// The provider rests, and this request is the one that tries it.
    Try,
    /// The provider rests, and another request is trying it: do not call it.
    Leave,
}

impl Default for Rests {
    fn default() -> Self {
        Self(Table::cache("rests", CAPACITY))
    }
}

impl Rests {
    /// Whether a request may call `provider` now. After [`Turn::Try`], no other request tries it until this
    /// one has, or for `timeout`.
    pub fn turn(&self, store: Session<'_, impl Store>, provider: &Digest, timeout: Duration) -> Turn {
        let resting = self.0.read(store, provider, |entry| entry.is_some());
        if !resting {
            return Turn::Call;
        }
        let turn = self.0.update(store, provider, |entry| {
            let Some((tried_until, expires)) = entry.as_deref().and_then(decode) else {
                return (Change::Keep, Turn::Call);
            };
            if tried_until > store.now() {
                return (Change::Keep, Turn::Leave);
            }
            let until = store.now().saturating_add(timeout).saturating_add(MARGIN);
            (put(until, expires.max(until)), Turn::Try)
        });
        turn.unwrap_or(Turn::Leave)
    }

    /// Records that `provider` failed in this turn: it rests for `cooldown` from now on. With zero it does
    /// not rest.
    ///
    /// Calls that were made before the rest began fail during it. They do not end the turn of whoever tries.
    pub fn begin(&self, store: Session<'_, impl Store>, provider: &Digest, turn: Turn, cooldown: Duration) {
        if cooldown.is_zero() {
            return;
        }
        let until = store.now().saturating_add(cooldown);
        // If the rest cannot be recorded, requests may wait longer, but no decision changes.
        let _noted = self.0.update(store, provider, |entry| {
            let other = entry.as_deref().and_then(decode).filter(|_| turn != Turn::Try);
            let (tried_until, expires) = other.unwrap_or_default();
            (put(tried_until, expires.max(until)), ())
        });
    }

    /// The request that was to try `provider` could not: another may, and the rest continues.
    pub fn pass_on(&self, store: Session<'_, impl Store>, provider: &Digest) {
        let _noted = self.0.update(store, provider, |entry| {
            let change =
                entry.as_deref().and_then(decode).map(|(_, expires)| put(Timestamp::default(), expires));
            (change.unwrap_or(Change::Keep), ())
        });
    }

    /// Records that `provider` answered: its rest is over.
    pub fn end(&self, store: Session<'_, impl Store>, provider: &Digest) {
        let _noted = self.0.update(store, provider, |_| (put(Timestamp::default(), store.now()), ()));
    }
}

/// The payload repeats the end of the rest, because the table does not return when an entry expires.
fn put(tried_until: Timestamp, expires: Timestamp) -> Change {
    let payload = [tried_until.millis().to_le_bytes(), expires.millis().to_le_bytes()].concat();
    Change::Put { expires, payload }
}

fn decode(payload: &[u8]) -> Option<(Timestamp, Timestamp)> {
    let (tried_until, rest) = payload.split_first_chunk()?;
    let moment = |bytes| Timestamp::from_millis(u64::from_le_bytes(bytes));
    Some((moment(*tried_until), moment(*rest.first_chunk()?)))
}

#[cfg(test)]
mod tests {
    #[cfg(all(target_family = "wasm", target_os = "unknown"))]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;
    use crate::store::{Incidents, Memory, Secret};

    const TIMEOUT: Duration = Duration::from_millis(200);
    const COOLDOWN: Duration = Duration::from_secs(1);

    struct Bench {
        rests: Rests,
        store: Memory,
        secret: Secret,
        incidents: Incidents,
        provider: Digest,
    }

    impl Bench {
        fn new() -> Self {
            Self {
                rests: Rests::default(),
                store: Memory::new(),
                secret: Secret::public(),
                incidents: Incidents::default(),
                provider: Digest::of(b"hydra"),
            }
        }

        fn at(&self, millis: u64) -> Session<'_, Memory> {
            Session::new(&self.store, &self.secret, &self.incidents, Timestamp::from_millis(millis))
        }

        fn turn(&self, millis: u64) -> Turn {
            self.rests.turn(self.at(millis), &self.provider, TIMEOUT)
        }

        fn fail(&self, millis: u64, turn: Turn) {
            self.rests.begin(self.at(millis), &self.provider, turn, COOLDOWN);
        }
    }

    #[test]
    fn a_provider_that_never_failed_is_called_and_nothing_is_written() {
        let bench = Bench::new();
        assert_eq!(bench.turn(0), Turn::Call);
        assert_eq!(bench.store.keys(), 0);
    }

    #[test]
    fn one_request_at_a_time_tries_a_provider_that_rests() {
        let bench = Bench::new();
        bench.fail(0, Turn::Call);
        assert_eq!([0, 0, 299].map(|millis| bench.turn(millis)), [Turn::Try, Turn::Leave, Turn::Leave]);
        assert_eq!(bench.turn(300), Turn::Try, "the request that tried it has ended");
        bench.fail(310, Turn::Try);
        assert_eq!([310, 311].map(|millis| bench.turn(millis)), [Turn::Try, Turn::Leave], "it failed again");
        assert_eq!(bench.rests.turn(bench.at(311), &Digest::of(b"other"), TIMEOUT), Turn::Call);
    }

    #[test]
    fn calls_that_fail_during_the_rest_give_nobody_a_turn() {
        let bench = Bench::new();
        bench.fail(0, Turn::Call);
        assert_eq!(bench.turn(10), Turn::Try);
        for millis in [20, 30, 40] {
            bench.fail(millis, Turn::Call);
            assert_eq!(bench.turn(millis), Turn::Leave, "somebody is trying");
        }
        bench.fail(210, Turn::Try);
        assert_eq!(bench.turn(210), Turn::Try);
    }

    #[test]
    fn a_rest_does_not_end_while_somebody_tries() {
        let bench = Bench::new();
        bench.rests.begin(bench.at(0), &bench.provider, Turn::Call, TIMEOUT / 2);
        assert_eq!([50, 100, 349].map(|millis| bench.turn(millis)), [Turn::Try, Turn::Leave, Turn::Leave]);
        assert_eq!(bench.turn(350), Turn::Call);
    }

    #[test]
    fn a_turn_that_was_not_used_passes_to_another_request() {
        let bench = Bench::new();
        bench.rests.pass_on(bench.at(0), &bench.provider);
        assert_eq!(bench.turn(0), Turn::Call, "there is no rest");
        bench.fail(0, Turn::Call);
        assert_eq!(bench.turn(1), Turn::Try);
        bench.rests.pass_on(bench.at(1), &bench.provider);
        assert_eq!([1, 1].map(|millis| bench.turn(millis)), [Turn::Try, Turn::Leave]);
        assert_eq!(bench.turn(1000), Turn::Call, "the rest ends when it would have");
    }

    #[test]
    fn a_rest_ends_by_itself_and_with_an_answer() {
        let bench = Bench::new();
        bench.fail(0, Turn::Call);
        assert_eq!(bench.turn(1000), Turn::Call);
        bench.fail(1000, Turn::Call);
        bench.rests.end(bench.at(1100), &bench.provider);
        assert_eq!([1100, 1101].map(|millis| bench.turn(millis)), [Turn::Call, Turn::Call]);
    }

    #[test]
    fn without_a_cooldown_there_is_no_rest() {
        let bench = Bench::new();
        bench.rests.begin(bench.at(0), &bench.provider, Turn::Call, Duration::ZERO);
        assert_eq!(bench.turn(0), Turn::Call);
    }
}
