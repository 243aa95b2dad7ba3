//! The slot table: entries of subjects in a fixed number of keys, `sidegate/<table>/<slot>`.
//!
//! Envoy's shared data cannot delete, list or expire entries, and has no size limit. A table therefore never
//! makes a key per subject. A subject's digest chooses one of a fixed number of slots, and the value of a
//! slot holds the entries of all its subjects. Expired entries are dropped whenever their slot is written.
//! Entries "from the future" (the clock went back) stay.
//!
//! A policy that changes the capacity changes the number of slots, and most subjects then belong to another
//! slot. Nothing breaks, but existing entries are no longer found: caches start cold, and **meters start at
//! zero** once. The old slots stay in memory until Envoy ends.

use std::num::{NonZeroU32, NonZeroU64};

use super::{
    Contended, Session, Store, Write,
    slot::{self, Entry, OVERHEAD, Slot, Tag},
};
use crate::{digest::Digest, time::Timestamp};

/// The most entries in a slot of a cache.
const CACHED: usize = 4;

/// The most entries in a slot of meters. A slot is sized for one. With eight times as many live meters as the
/// table's capacity, one slot in 10¹⁰ is full.
const METERED: usize = 32;

/// A table of entries in a [`Store`]. Subjects are identified by digest; 128 bits of it distinguish the
/// entries of a slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    prefix: Box<str>,
    slots: NonZeroU64,
    full: Full,
}

/// What happens to a new subject when its slot is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Full {
    /// The entry that was written longest ago is evicted.
    Evict,
    /// The slot grows, because dropping a live meter would give its quota twice. At [`METERED`] entries, new
    /// subjects are refused.
    Grow,
}

/// What an update does to a subject's entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Leave the entry unchanged; nothing is written.
    Keep,
    /// Replace the entry.
    Put {
        /// The moment from which the entry is gone.
        expires: Timestamp,
        /// The entry's content.
        payload: Vec<u8>,
    },
}

/// Why an entry could not be written; the table is unchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotWritten {
    /// Other workers were always faster.
    #[error(transparent)]
    Contended(#[from] Contended),
    /// The subject is new, and its slot is full of live meters: there are many more subjects than the table's
    /// capacity.
    #[error("the slot has no room for another meter: increase the capacity")]
    Full,
}

impl Table {
    /// The table `meters`, sized for `capacity` live meters. It accepts more, up to 32 in a slot, at the cost
    /// of longer values.
    pub fn meters(capacity: NonZeroU32) -> Self {
        Self { prefix: "sidegate/meters/".into(), slots: capacity.into(), full: Full::Grow }
    }

    /// The table `name`, which keeps `capacity` entries (rounded up to a multiple of four) and evicts older
    /// entries for newer ones.
    pub fn cache(name: &str, capacity: NonZeroU32) -> Self {
        let slots =
            NonZeroU64::new(u64::from(capacity.get()).div_ceil(CACHED as u64)).unwrap_or(NonZeroU64::MIN);
        Self { prefix: format!("sidegate/{name}/").into(), slots, full: Full::Evict }
    }

    /// Passes the subject's live entry to `look` and writes nothing.
    pub fn read<S: Store, T>(
        &self,
        store: Session<'_, S>,
        subject: &Digest,
        look: impl FnOnce(Option<&[u8]>) -> T,
    ) -> T {
        store.store().read(&self.key(subject), |bytes| {
            let slot = bytes.map_or(Some(Slot::default()), Slot::parse);
            if slot.is_none() {
                store.incidents().corrupt();
            }
            look(find(slot.unwrap_or_default(), Tag::of(subject), store.now()))
        })
    }

    /// Replaces the subject's live entry by the result of `decide`, in one [`Store::update`].
    ///
    /// `decide` runs again whenever another worker wrote the slot first; only its last result counts.
    ///
    /// # Errors
    ///
    /// Other workers were always faster, or the slot is full of live meters. The table is unchanged.
    pub fn update<S: Store, T>(
        &self,
        store: Session<'_, S>,
        subject: &Digest,
        mut decide: impl FnMut(Option<&[u8]>) -> (Change, T),
    ) -> Result<T, NotWritten> {
        let (tag, now) = (Tag::of(subject), store.now());
        let mut rounds = 0_u32;
        let mut corrupt = false;
        let mut evicted = 0;
        let result = store.store().update(&self.key(subject), |bytes| {
            rounds = rounds.saturating_add(1);
            let slot = bytes.map_or(Some(Slot::default()), Slot::parse);
            corrupt = slot.is_none();
            let slot = slot.unwrap_or_default();
            let entry = find(slot, tag, now);
            match decide(entry) {
                (Change::Keep, outcome) => (Write::Keep, Ok(outcome)),
                (Change::Put { expires, payload }, outcome) => {
                    let others = slot.entries().filter(|other| other.tag != tag && other.expires > now);
                    let Some(dropped) = self.make_room(others.clone().count()) else {
                        return (Write::Keep, Err(NotWritten::Full));
                    };
                    evicted = dropped;
                    let size =
                        bytes.map_or(1, <[u8]>::len).saturating_add(OVERHEAD).saturating_add(payload.len());
                    let new = Entry { tag, expires, payload: &payload };
                    let bytes = slot::encode(others.skip(dropped).chain([new]), size);
                    (Write::Replace(bytes), Ok(outcome))
                }
            }
        });
        let incidents = store.incidents();
        incidents.conflicts(rounds.saturating_sub(1));
        if corrupt {
            incidents.corrupt();
        }
        if let Ok(Ok(_)) = result {
            incidents.evicted(u32::try_from(evicted).unwrap_or(u32::MAX));
        }
        result?
    }

    /// How many of the oldest `others` must be evicted for one more entry; `None` if the entry is refused.
    fn make_room(&self, others: usize) -> Option<usize> {
        match self.full {
            Full::Evict => Some(others.saturating_add(1).saturating_sub(CACHED)),
            Full::Grow => (others < METERED).then_some(0),
        }
    }

    fn key(&self, subject: &Digest) -> String {
        let mut number = itoa::Buffer::new();
        let number = number.format(subject.number() % self.slots);
        let mut key = String::with_capacity(self.prefix.len().saturating_add(number.len()));
        key.push_str(&self.prefix);
        key.push_str(number);
        key
    }
}

fn find(slot: Slot<'_>, tag: Tag, now: Timestamp) -> Option<&[u8]> {
    slot.entries().find(|entry| entry.tag == tag && entry.expires > now).map(|entry| entry.payload)
}

#[cfg(test)]
mod tests {
    #[cfg(all(target_family = "wasm", target_os = "unknown"))]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;
    use crate::store::{Incidents, Memory, Tally};

    const ONE: NonZeroU32 = NonZeroU32::MIN;

    fn subject(number: u32) -> Digest {
        Digest::of(&number.to_le_bytes())
    }

    fn at(millis: u64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    fn put(
        table: &Table,
        store: &Memory,
        number: u32,
        now: u64,
        expires: u64,
    ) -> (Result<bool, NotWritten>, Tally) {
        let incidents = Incidents::default();
        let session = Session::new(store, &incidents, at(now));
        let result = table.update(session, &subject(number), |entry| {
            (Change::Put { expires: at(expires), payload: number.to_le_bytes().to_vec() }, entry.is_some())
        });
        (result, incidents.take())
    }

    fn has(table: &Table, store: &Memory, number: u32, now: u64) -> bool {
        let payload = number.to_le_bytes();
        let incidents = Incidents::default();
        table.read(Session::new(store, &incidents, at(now)), &subject(number), |entry| {
            entry == Some(payload.as_slice())
        })
    }

    #[test]
    fn an_entry_exists_until_it_expires() {
        for table in [Table::meters(ONE), Table::cache("tokens", ONE)] {
            let store = Memory::new();
            assert!(!has(&table, &store, 1, 0));
            assert_eq!(put(&table, &store, 1, 0, 10).0, Ok(false));
            assert!(has(&table, &store, 1, 9));
            assert!(!has(&table, &store, 1, 10));
            assert_eq!(put(&table, &store, 1, 9, 20).0, Ok(true), "found and replaced");
            assert_eq!(put(&table, &store, 1, 20, 30).0, Ok(false), "expired when it was written again");
            assert!(has(&table, &store, 1, 0), "an entry from the future is kept");
        }
    }

    #[test]
    fn expired_entries_are_dropped_when_the_slot_is_written() {
        let (table, store) = (Table::meters(ONE), Memory::new());
        for number in 0..20 {
            put(&table, &store, number, 0, 10).0.unwrap();
        }
        assert_eq!(store.bytes(), 1 + 20 * (OVERHEAD + 4));
        put(&table, &store, 99, 10, 20).0.unwrap();
        assert_eq!(store.bytes(), 1 + OVERHEAD + 4);
    }

    #[test]
    fn a_full_cache_slot_evicts_the_entry_written_longest_ago() {
        let (table, store) = (Table::cache("tokens", ONE), Memory::new());
        for number in [0, 1, 2, 3, 0] {
            assert_eq!(
                put(&table, &store, number, 0, 10),
                (Ok(number == 0 && has(&table, &store, 3, 0)), Tally::default())
            );
        }
        assert_eq!(put(&table, &store, 4, 0, 10), (Ok(false), Tally { evicted: 1, ..Tally::default() }));
        let kept: Vec<_> = (0..5).filter(|number| has(&table, &store, *number, 0)).collect();
        assert_eq!(kept, [0, 2, 3, 4], "1 was the oldest, as 0 had been written again");
    }

    #[test]
    fn a_meter_slot_grows_and_refuses_only_new_subjects_when_full() {
        let (table, store) = (Table::meters(ONE), Memory::new());
        for number in 0..32 {
            assert_eq!(put(&table, &store, number, 0, 10), (Ok(false), Tally::default()));
        }
        let before = store.bytes();
        assert_eq!(put(&table, &store, 99, 0, 10).0, Err(NotWritten::Full));
        assert_eq!(store.bytes(), before);
        assert_eq!(put(&table, &store, 7, 0, 10).0, Ok(true), "existing subjects are still updated");
        assert!((0..32).all(|number| has(&table, &store, number, 0)), "nothing was evicted");
        assert_eq!(
            put(&table, &store, 99, 10, 20).0,
            Ok(false),
            "there is room once the others have expired"
        );
    }

    #[test]
    fn keeping_an_entry_writes_nothing() {
        let (table, store) = (Table::meters(ONE), Memory::new());
        let incidents = Incidents::default();
        let session = Session::new(&store, &incidents, at(0));
        let result = table.update(session, &subject(1), |_| (Change::Keep, 5));
        assert_eq!((result, incidents.take(), store.keys()), (Ok(5), Tally::default(), 0));
    }

    #[test]
    fn invalid_bytes_are_treated_as_absent_and_reported() {
        let (table, store) = (Table::meters(ONE), Memory::new());
        for bytes in [&b""[..], b"\x02", b"\x01half", &[0xff; 300]] {
            let key = table.key(&subject(1));
            store.update(&key, |_| (Write::Replace(bytes.to_vec()), ())).unwrap();
            let incidents = Incidents::default();
            let session = Session::new(&store, &incidents, at(0));
            table.read(session, &subject(1), |entry| assert_eq!(entry, None));
            assert_eq!(incidents.take().corrupt, 1);
            assert_eq!(put(&table, &store, 1, 0, 10), (Ok(false), Tally { corrupt: 1, ..Tally::default() }));
            assert!(has(&table, &store, 1, 0));
        }
    }

    #[test]
    fn lost_attempts_are_reported() {
        let (table, store) = (Table::meters(ONE), Memory::new());
        let incidents = Incidents::default();
        let mut rounds = 0;
        let result = table.update(Session::new(&store, &incidents, at(0)), &subject(1), |entry| {
            rounds += 1;
            if rounds <= 3 {
                put(&table, &store, 2, 0, 10).0.unwrap();
            }
            (Change::Put { expires: at(10), payload: vec![1] }, entry.is_some())
        });
        assert_eq!((result, incidents.take()), (Ok(false), Tally { conflicts: 3, ..Tally::default() }));
    }

    #[test]
    fn keys_name_the_table_and_the_slot() {
        let capacity = NonZeroU32::new(65536).unwrap();
        let subject = Digest::from_bytes([0xff; 32]);
        assert_eq!(Table::meters(capacity).key(&subject), "sidegate/meters/65535");
        assert_eq!(Table::cache("tokens", capacity).key(&subject), "sidegate/tokens/16383");
        assert_eq!(Table::cache("tokens", ONE).key(&subject), "sidegate/tokens/0");
    }
}
