//! The slot table: entries of subjects in a fixed number of keys, `sidegate/<table>/<slot>`.
//!
//! Envoy's shared data cannot delete, list or expire entries, and has no size limit. A table therefore never
//! makes a key per subject. A hash of the subject's digest, keyed with the Envoy's
//! [`Secret`](super::Secret), chooses one of a fixed number of slots, and the value of a slot holds the
//! entries of all its subjects. Expired entries are dropped whenever their slot is written.
//! Entries "from the future" (the clock went back) stay.
//!
//! A policy that changes the capacity changes the number of slots, and most subjects then belong to another
//! slot. Nothing breaks, but existing entries are no longer found: caches start cold, and **meters start at
//! zero** once. The old slots stay in memory until Envoy ends.

use std::num::{NonZeroU32, NonZeroU64};

use super::{
    Contended, Session, Store, Write,
    slot::{self, Entry, Slot, Survey, Tag},
};
use crate::{digest::Digest, time::Timestamp};

/// The most entries in a slot of a cache.
const CACHED: u32 = 4;

/// The most entries in a slot of meters. A slot of [`Table::meters`] is sized for one. With eight times as
/// many live meters as the table's capacity, one slot in 10¹⁰ is full.
const METERED: usize = 32;

/// The number of entries that a slot of [`Table::addresses`] is sized for. In a table that is filled to its
/// capacity, one slot in 5,000 is full.
const ADDRESSES: u32 = 16;

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
    /// The entries that were written longest ago are evicted, until there is room for it among [`CACHED`]
    /// entries and in this many bytes.
    Evict {
        /// The most bytes in a slot.
        bytes: usize,
        /// Whether the operator wants to know of evictions.
        counted: bool,
    },
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
    /// Write the entry's content as the decision has edited it. Without an entry, this is [`Self::Keep`].
    Edit {
        /// The moment from which the entry is gone.
        expires: Timestamp,
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

    /// The table `addresses`, for `capacity` live meters of subjects that anybody can be. It has fewer and
    /// longer slots than [`Table::meters`], and so never holds more than twice its capacity.
    pub fn addresses(capacity: NonZeroU32) -> Self {
        Self { prefix: "sidegate/addresses/".into(), slots: slots(capacity, ADDRESSES), full: Full::Grow }
    }

    /// The table `name`, which keeps `capacity` entries (rounded up to a multiple of four) and evicts older
    /// entries for newer ones.
    pub fn cache(name: &str, capacity: NonZeroU32) -> Self {
        let prefix = format!("sidegate/{name}/").into();
        Self {
            prefix,
            slots: slots(capacity, CACHED),
            full: Full::Evict { bytes: usize::MAX, counted: true },
        }
    }

    /// The same cache, with room for `bytes` in each entry. Four entries share their room, and an entry that
    /// does not fit into the room of four is not kept.
    #[must_use]
    pub fn with_entries_of(self, bytes: NonZeroU32) -> Self {
        let bytes = bytes.saturating_mul(NonZeroU32::new(CACHED).unwrap_or(NonZeroU32::MIN)).get();
        Self { full: self.full.within(usize::try_from(bytes).unwrap_or(usize::MAX)), ..self }
    }

    /// The same cache, whose evictions are not counted as incidents: it holds what may be forgotten.
    #[must_use]
    pub fn uncounted(self) -> Self {
        let full = match self.full {
            Full::Evict { bytes, counted: _ } => Full::Evict { bytes, counted: false },
            Full::Grow => Full::Grow,
        };
        Self { full, ..self }
    }

    /// Passes the subject's live entry to `look` and writes nothing.
    pub fn read<S: Store, T>(
        &self,
        store: Session<'_, S>,
        subject: &Digest,
        look: impl FnOnce(Option<&[u8]>) -> T,
    ) -> T {
        let Some(key) = self.key(store, subject) else { return look(None) };
        store.store().read(&key, |bytes| {
            let Some(bytes) = bytes else { return look(None) };
            let survey = Survey::of(bytes, Tag::of(subject), store.now());
            if survey.is_none() {
                store.incidents().corrupt();
            }
            look(survey.and_then(|survey| bytes.get(survey.entry?)))
        })
    }

    /// Replaces the subject's live entry by the result of `decide`, in one [`Store::edit`].
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
        mut decide: impl FnMut(Option<&mut [u8]>) -> (Change, T),
    ) -> Result<T, NotWritten> {
        let (tag, now) = (Tag::of(subject), store.now());
        let key = self.key(store, subject).ok_or(NotWritten::Contended(Contended))?;
        let mut rounds = 0_u32;
        let mut corrupt = false;
        let mut effect = Effect::Room;
        let result = store.store().edit(&key, |bytes| {
            rounds = rounds.saturating_add(1);
            effect = Effect::Room;
            let mut empty = [];
            let survey =
                bytes.as_deref().map_or(Some(Survey::default()), |bytes| Survey::of(bytes, tag, now));
            corrupt = survey.is_none();
            let (Survey { entry, droppable }, bytes) = match (survey, bytes) {
                (Some(survey), Some(bytes)) => (survey, bytes),
                _ => (Survey::default(), &mut empty[..]),
            };
            let (change, outcome) = decide(entry.clone().and_then(|entry| bytes.get_mut(entry)));
            let edited;
            let new = match (&change, entry) {
                (Change::Keep, _) | (Change::Edit { .. }, None) => return (Write::Keep, Ok(outcome)),
                (Change::Edit { expires }, Some(entry)) if !droppable => {
                    slot::set_expiry(bytes, entry.start, *expires);
                    return (Write::Edited, Ok(outcome));
                }
                (Change::Edit { expires }, Some(entry)) => {
                    edited = bytes.get(entry).unwrap_or_default().to_vec();
                    Entry { tag, expires: *expires, payload: &edited }
                }
                (Change::Put { expires, payload }, _) => Entry { tag, expires: *expires, payload },
            };
            match self.with(bytes, new, now) {
                Ok((write, of)) => {
                    effect = of;
                    (write, Ok(outcome))
                }
                Err(full) => (Write::Keep, Err(full)),
            }
        });
        let incidents = store.incidents();
        incidents.conflicts(rounds.saturating_sub(1));
        if corrupt {
            incidents.corrupt();
        }
        match effect {
            Effect::Evicts(entries) if matches!(result, Ok(Ok(_))) => {
                incidents.evicted(u32::try_from(entries).unwrap_or(u32::MAX));
            }
            Effect::Oversized => incidents.oversized(),
            Effect::Room | Effect::Evicts(_) => {}
        }
        result?
    }

    /// The slot in `bytes` with `new` as its last entry, without what has expired.
    fn with(&self, bytes: &[u8], new: Entry<'_>, now: Timestamp) -> Result<(Write, Effect), NotWritten> {
        let slot = Slot::parse(bytes).unwrap_or_default();
        let others = slot.entries().filter(|other| other.tag != new.tag && other.expires > now);
        let count = others.clone().count();
        let dropped = match self.full {
            Full::Grow if count < METERED => 0,
            Full::Grow => return Err(NotWritten::Full),
            Full::Evict { bytes: most, counted: _ } => {
                let size = others.clone().chain([new]).map(Entry::size).fold(1, usize::saturating_add);
                let mut excess = size.saturating_sub(most);
                let too_many = count.saturating_add(1).saturating_sub(usize::try_from(CACHED).unwrap_or(0));
                let too_large = others
                    .clone()
                    .take_while(|oldest| {
                        let evicts = excess > 0;
                        excess = excess.saturating_sub(oldest.size());
                        evicts
                    })
                    .count();
                if new.size().saturating_add(1) > most {
                    // Without the new entry, nothing has to make room.
                    return Ok((Write::Replace(slot::encode(others, bytes.len())), Effect::Oversized));
                }
                too_many.max(too_large)
            }
        };
        let size = bytes.len().max(1).saturating_add(new.size());
        let effect = match self.full {
            Full::Evict { counted: true, .. } if dropped > 0 => Effect::Evicts(dropped),
            Full::Evict { .. } | Full::Grow => Effect::Room,
        };
        Ok((Write::Replace(slot::encode(others.skip(dropped).chain([new]), size)), effect))
    }

    fn key<S: Store>(&self, store: Session<'_, S>, subject: &Digest) -> Option<String> {
        let mut number = itoa::Buffer::new();
        let number = number.format(store.hash(subject)? % self.slots);
        let mut key = String::with_capacity(self.prefix.len().saturating_add(number.len()));
        key.push_str(&self.prefix);
        key.push_str(number);
        Some(key)
    }
}

impl Full {
    /// The same, with this many bytes in a slot that evicts.
    fn within(self, bytes: usize) -> Self {
        match self {
            Self::Evict { bytes: _, counted } => Self::Evict { bytes, counted },
            Self::Grow => Self::Grow,
        }
    }
}

/// What writing an entry does to its slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Effect {
    /// There is room for it.
    Room,
    /// So many live entries make room for it.
    Evicts(usize),
    /// It is too large, and not written.
    Oversized,
}

/// The number of slots for `capacity` entries, with `each` in a slot.
fn slots(capacity: NonZeroU32, each: u32) -> NonZeroU64 {
    NonZeroU64::new(capacity.get().div_ceil(each).into()).unwrap_or(NonZeroU64::MIN)
}

#[cfg(test)]
mod tests {
    #[cfg(all(target_family = "wasm", target_os = "unknown"))]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;
    use crate::store::{Incidents, Memory, Secret, Tally, slot::OVERHEAD};

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
        let (secret, incidents) = (Secret::public(), Incidents::default());
        let session = Session::new(store, &secret, &incidents, at(now));
        let result = table.update(session, &subject(number), |entry| {
            (Change::Put { expires: at(expires), payload: number.to_le_bytes().to_vec() }, entry.is_some())
        });
        (result, incidents.take())
    }

    fn has(table: &Table, store: &Memory, number: u32, now: u64) -> bool {
        let payload = number.to_le_bytes();
        let (secret, incidents) = (Secret::public(), Incidents::default());
        let session = Session::new(store, &secret, &incidents, at(now));
        table.read(session, &subject(number), |entry| entry == Some(payload.as_slice()))
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
        let (secret, incidents) = (Secret::public(), Incidents::default());
        let session = Session::new(&store, &secret, &incidents, at(0));
        let result = table.update(session, &subject(1), |_| (Change::Keep, 5));
        assert_eq!((result, incidents.take(), store.keys()), (Ok(5), Tally::default(), 0));
    }

    #[test]
    fn invalid_bytes_are_treated_as_absent_and_reported() {
        let (table, store) = (Table::meters(ONE), Memory::new());
        for bytes in [&b""[..], b"\x02", b"\x01half", &[0xff; 300]] {
            store.update("sidegate/meters/0", |_| (Write::Replace(bytes.to_vec()), ())).unwrap();
            let (secret, incidents) = (Secret::public(), Incidents::default());
            let session = Session::new(&store, &secret, &incidents, at(0));
            table.read(session, &subject(1), |entry| assert_eq!(entry, None));
            assert_eq!(incidents.take().corrupt, 1);
            assert_eq!(put(&table, &store, 1, 0, 10), (Ok(false), Tally { corrupt: 1, ..Tally::default() }));
            assert!(has(&table, &store, 1, 0));
        }
    }

    #[test]
    fn lost_attempts_are_reported() {
        let (table, store) = (Table::meters(ONE), Memory::new());
        let (secret, incidents) = (Secret::public(), Incidents::default());
        let session = Session::new(&store, &secret, &incidents, at(0));
        let mut rounds = 0;
        let result = table.update(session, &subject(1), |entry| {
            rounds += 1;
            if rounds <= 3 {
                put(&table, &store, 2, 0, 10).0.unwrap();
            }
            (Change::Put { expires: at(10), payload: vec![1] }, entry.is_some())
        });
        assert_eq!((result, incidents.take()), (Ok(false), Tally { conflicts: 3, ..Tally::default() }));
    }

    #[test]
    fn an_entry_is_edited_in_place_or_in_a_new_slot() {
        let (table, store) = (Table::meters(ONE), Memory::new());
        put(&table, &store, 1, 0, 10).0.unwrap();
        put(&table, &store, 2, 0, 30).0.unwrap();
        let (secret, incidents) = (Secret::public(), Incidents::default());
        // At 20 the entry of 1 has expired, so the slot is written anew without it.
        for (now, byte, bytes) in [(5, 7, 2 * (OVERHEAD + 4)), (20, 8, OVERHEAD + 4)] {
            let session = Session::new(&store, &secret, &incidents, at(now));
            let edit = |entry: Option<&mut [u8]>| {
                entry.unwrap().fill(byte);
                (Change::Edit { expires: at(40) }, ())
            };
            table.update(session, &subject(2), edit).unwrap();
            assert_eq!(store.bytes(), 1 + bytes);
            let read = |now| {
                let session = Session::new(&store, &secret, &incidents, at(now));
                table.read(session, &subject(2), |entry| entry.map(<[u8]>::to_vec))
            };
            assert_eq!((read(39), read(40)), (Some(vec![byte; 4]), None));
            assert_eq!(has(&table, &store, 1, now), now < 10);
        }
        let session = Session::new(&store, &secret, &incidents, at(0));
        let nothing = |_: Option<&mut [u8]>| (Change::Edit { expires: at(40) }, ());
        table.update(session, &subject(3), nothing).unwrap();
        assert_eq!((store.bytes(), incidents.take()), (1 + OVERHEAD + 4, Tally::default()));
    }

    #[test]
    fn a_cache_is_bounded_in_bytes() {
        let (secret, incidents) = (Secret::public(), Incidents::default());
        let store = Memory::new();
        let table = Table::cache("tokens", ONE).with_entries_of(NonZeroU32::new(100).unwrap());
        let session = Session::new(&store, &secret, &incidents, at(0));
        let put = |number, size| {
            let put = Change::Put { expires: at(10), payload: vec![0; size] };
            table.update(session, &subject(number), |_| (put.clone(), ())).unwrap();
            assert!(store.bytes() <= 400);
            let kept = |number: &u32| table.read(session, &subject(*number), |entry| entry.is_some());
            (0..5).filter(kept).collect::<Vec<_>>()
        };
        assert_eq!(put(0, 72), [0]);
        assert_eq!(put(1, 300), [1], "0 was evicted");
        assert_eq!(put(2, 72 - 1), [1, 2][1..], "1 was evicted");
        assert_eq!(put(3, 72), [2, 3]);
        assert_eq!(put(4, 371), [4], "an entry may take the room of all");
        assert_eq!(put(0, 372), [4], "one that is too large evicts nothing");
        assert_eq!(put(4, 372), Vec::<u32>::new(), "but its own predecessor is gone");
        assert_eq!(incidents.take(), Tally { evicted: 4, oversized: 2, ..Tally::default() });
    }

    #[test]
    fn a_table_of_addresses_never_holds_more_than_twice_its_capacity() {
        let (store, table) = (Memory::new(), Table::addresses(NonZeroU32::new(160).unwrap()));
        let kept = (0..10_000).filter(|number| put(&table, &store, *number, 0, 10).0.is_ok()).count();
        assert_eq!((kept, store.keys()), (320, 10));
        assert_eq!(store.bytes(), 10 + 320 * (OVERHEAD + 4));
    }

    /// Subjects that share a slot under one secret are found by trying; under another they are spread.
    #[test]
    fn nobody_without_the_secret_finds_subjects_that_share_a_slot() {
        let table = Table::meters(NonZeroU32::new(256).unwrap());
        let chosen = |secret: &Secret, number: u32| {
            let (store, incidents) = (Memory::new(), Incidents::default());
            table.key(Session::new(&store, secret, &incidents, at(0)), &subject(number)).unwrap()
        };
        let guessed = Secret::public();
        let target = chosen(&guessed, 0);
        let aimed: Vec<_> = (1..).filter(|number| chosen(&guessed, *number) == target).take(33).collect();
        let secret = Secret::shared([42; 16]);
        let mut slots: Vec<_> = aimed.iter().map(|number| chosen(&secret, *number)).collect();
        slots.sort();
        slots.dedup();
        assert!(slots.len() > 24, "{slots:?}");
    }

    #[test]
    fn keys_name_the_table_and_the_slot() {
        let (secret, store, incidents) = (Secret::public(), Memory::new(), Incidents::default());
        let session = Session::new(&store, &secret, &incidents, at(0));
        let capacity = NonZeroU32::new(65536).unwrap();
        let number = session.hash(&subject(1)).unwrap();
        for (table, expected) in [
            (Table::meters(capacity), format!("sidegate/meters/{}", number % 65_536)),
            (Table::addresses(capacity), format!("sidegate/addresses/{}", number % 4096)),
            (Table::cache("tokens", capacity), format!("sidegate/tokens/{}", number % 16_384)),
            (Table::cache("tokens", ONE), "sidegate/tokens/0".to_owned()),
        ] {
            assert_eq!(table.key(session, &subject(1)).unwrap(), expected);
        }
    }
}
