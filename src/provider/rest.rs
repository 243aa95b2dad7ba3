//! A provider that failed rests for its `cooldown`. During that time, one request at a time tries it. All
//! others immediately get the result that the provider's [`WhenUnavailable`](super::WhenUnavailable) asks
//! for, instead of each waiting for the timeout.
//!
//! All workers share this state in one table of the store. An entry holds the moment until which a request is
//! trying the provider, and expires when the rest is over.

use std::{num::NonZeroU32, time::Duration};

use crate::{
    credential::Digest,
    store::{Change, Session, Store, Table},
    time::Timestamp,
};

/// How many providers can rest at the same time. With more, the one that failed first is tried again early.
const CAPACITY: NonZeroU32 = NonZeroU32::new(1024).unwrap();

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
    /// Whether a request may call `provider` now. After [`Turn::Try`], no other request tries it for
    /// `timeout`.
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
            (put(store.now().saturating_add(timeout), expires), Turn::Try)
        });
        turn.unwrap_or(Turn::Leave)
    }

    /// Records that `provider` failed: it rests for `cooldown` from now on. With zero it does not rest.
    pub fn begin(&self, store: Session<'_, impl Store>, provider: &Digest, cooldown: Duration) {
        if !cooldown.is_zero() {
            self.write(store, provider, store.now().saturating_add(cooldown));
        }
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
        self.write(store, provider, store.now());
    }

    fn write(&self, store: Session<'_, impl Store>, provider: &Digest, expires: Timestamp) {
        // If the rest cannot be recorded, requests may wait longer, but no decision changes.
        let _noted = self.0.update(store, provider, |_| (put(Timestamp::default(), expires), ()));
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
        bench.rests.begin(bench.at(0), &bench.provider, COOLDOWN);
        assert_eq!([0, 0, 199].map(|millis| bench.turn(millis)), [Turn::Try, Turn::Leave, Turn::Leave]);
        assert_eq!(bench.turn(200), Turn::Try, "the request that tried it has ended");
        bench.rests.begin(bench.at(210), &bench.provider, COOLDOWN);
        assert_eq!([210, 211].map(|millis| bench.turn(millis)), [Turn::Try, Turn::Leave], "it failed again");
        assert_eq!(bench.rests.turn(bench.at(211), &Digest::of(b"other"), TIMEOUT), Turn::Call);
    }

    #[test]
    fn a_turn_that_was_not_used_passes_to_another_request() {
        let bench = Bench::new();
        bench.rests.pass_on(bench.at(0), &bench.provider);
        assert_eq!(bench.turn(0), Turn::Call, "there is no rest");
        bench.rests.begin(bench.at(0), &bench.provider, COOLDOWN);
        assert_eq!(bench.turn(1), Turn::Try);
        bench.rests.pass_on(bench.at(1), &bench.provider);
        assert_eq!([1, 1].map(|millis| bench.turn(millis)), [Turn::Try, Turn::Leave]);
        assert_eq!(bench.turn(1000), Turn::Call, "the rest ends when it would have");
    }

    #[test]
    fn a_rest_ends_by_itself_and_with_an_answer() {
        let bench = Bench::new();
        bench.rests.begin(bench.at(0), &bench.provider, COOLDOWN);
        assert_eq!(bench.turn(1000), Turn::Call);
        bench.rests.begin(bench.at(1000), &bench.provider, COOLDOWN);
        bench.rests.end(bench.at(1100), &bench.provider);
        assert_eq!([1100, 1101].map(|millis| bench.turn(millis)), [Turn::Call, Turn::Call]);
    }

    #[test]
    fn without_a_cooldown_there_is_no_rest() {
        let bench = Bench::new();
        bench.rests.begin(bench.at(0), &bench.provider, Duration::ZERO);
        assert_eq!(bench.turn(0), Turn::Call);
    }
}
