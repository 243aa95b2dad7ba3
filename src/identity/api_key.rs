//! API keys: the policy holds their digests, with the consumer that owns each key and whether the key is
//! accepted.

use std::num::NonZeroU32;

use crate::{credential::Digest, texts::Texts, time::Timestamp};

/// All API keys of a policy, in the order of their digests.
#[derive(Clone, Debug, Default)]
pub struct ApiKeys(KeyList);

/// API keys in the order of a document. There may be hundreds of thousands, so each takes few bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyList {
    records: Vec<KeyRecord>,
    ids: Texts,
}

/// What the policy says about one API key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRecord {
    /// The digest of the key.
    pub digest: Digest,
    /// The moment from which the key is accepted.
    pub not_before: KeyMoment,
    /// The moment from which the key is no longer accepted.
    pub not_after: KeyMoment,
    /// The consumer that owns the key, as an index into the policy's consumers.
    pub consumer: u32,
    /// The operator's name for the key.
    pub id: Option<KeyId>,
    /// The key's place in the list of its consumer's keys.
    pub place: u16,
    /// Whether the key is active.
    pub state: KeyState,
}

/// A moment in the life of a key, to the second, up to the year 2106. It takes four bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeyMoment(u32);

/// The operator's name for a key, among the names that its policy has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeyId(NonZeroU32);

/// Whether a key is accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyState {
    /// The key is accepted.
    Active,
    /// The key is not accepted.
    Inactive,
}

/// Two entries for one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Repeated {
    /// The consumer of the earlier entry.
    pub earlier: u32,
    /// The consumer of the later entry.
    pub consumer: u32,
    /// The place of the later entry in the list of that consumer's keys.
    pub place: u16,
}

/// Why an API key is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.text())]
pub enum KeyFault {
    /// No consumer owns the key.
    Unknown,
    /// The key is deactivated.
    Inactive,
    /// The key is not accepted yet.
    Early,
    /// The key has expired.
    Expired,
}

/// A key that is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyRefused<'a> {
    /// Why.
    pub fault: KeyFault,
    /// What the policy says about the key, unless it is unknown.
    pub record: Option<&'a KeyRecord>,
}

impl KeyFault {
    /// The fault in words. Strangers cause it as often as they like, so it is a text that is not allocated.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Unknown => "the API key is unknown",
            Self::Inactive => "the API key is inactive",
            Self::Early => "the API key is not valid yet",
            Self::Expired => "the API key has expired",
        }
    }
}

impl KeyMoment {
    /// Before every request.
    pub const FIRST: Self = Self(0);
    /// After every request.
    pub const NEVER: Self = Self(u32::MAX);

    /// The first whole second that is not earlier than `moment`.
    pub fn at_or_after(moment: Timestamp) -> Self {
        let second =
            moment.seconds().saturating_add(u64::from(Timestamp::from_seconds(moment.seconds()) < moment));
        Self(u32::try_from(second).unwrap_or(u32::MAX))
    }

    /// The last whole second that is not later than `moment`.
    pub fn before(moment: Timestamp) -> Self {
        Self(u32::try_from(moment.seconds()).unwrap_or(u32::MAX))
    }

    /// The moment; `None` if it never comes.
    pub fn get(self) -> Option<Timestamp> {
        (self != Self::NEVER).then(|| Timestamp::from_seconds(self.0.into()))
    }
}

impl KeyId {
    /// The first name of a policy.
    pub const FIRST: Self = Self(NonZeroU32::MIN);
}

impl KeyList {
    /// Adds the name of a key.
    pub fn add_id(&mut self, id: &str) -> Option<KeyId> {
        self.ids.push(id);
        u32::try_from(self.ids.len()).ok().and_then(NonZeroU32::new).map(KeyId)
    }

    /// Adds a key.
    pub fn push(&mut self, record: KeyRecord) {
        self.records.push(record);
    }

    /// The keys, in the order in which they were added.
    pub fn records(&self) -> &[KeyRecord] {
        &self.records
    }

    /// Gives back memory that was reserved for more keys.
    pub(super) fn shrink_to_fit(&mut self) {
        self.records.shrink_to_fit();
        self.ids.shrink_to_fit();
    }

    /// The text of a name.
    pub fn id(&self, id: KeyId) -> Option<&str> {
        self.ids.get(usize::try_from(id.0.get()).ok()?.checked_sub(1)?)
    }
}

impl KeyRecord {
    /// Whether the key is accepted at `now`; otherwise why it is not.
    pub(super) fn accepted(&self, now: Timestamp) -> Result<(), KeyFault> {
        if self.state == KeyState::Inactive {
            return Err(KeyFault::Inactive);
        }
        let now = KeyMoment::before(now);
        if self.not_before == KeyMoment::NEVER || now < self.not_before {
            return Err(KeyFault::Early);
        }
        if self.not_after != KeyMoment::NEVER && self.not_after <= now {
            return Err(KeyFault::Expired);
        }
        Ok(())
    }
}

impl ApiKeys {
    /// The keys of the list. Fails with all repetitions, in the order of the consumers.
    ///
    /// # Errors
    ///
    /// A key appears twice.
    pub fn new(mut list: KeyList) -> Result<Self, Vec<Repeated>> {
        let records = &mut list.records;
        let owner = |record: &KeyRecord| (record.consumer, record.place);
        records.sort_unstable_by(|one, other| {
            one.digest.cmp(&other.digest).then_with(|| owner(one).cmp(&owner(other)))
        });
        let mut repeated: Vec<_> = records
            .windows(2)
            .filter_map(|pair| match pair {
                [earlier, later] if earlier.digest == later.digest => {
                    Some(Repeated { earlier: earlier.consumer, consumer: later.consumer, place: later.place })
                }
                _ => None,
            })
            .collect();
        if repeated.is_empty() {
            list.shrink_to_fit();
            return Ok(Self(list));
        }
        repeated.sort_unstable_by_key(|repeated| (repeated.consumer, repeated.place));
        Err(repeated)
    }

    /// The record of the key with this digest, if the key is accepted at `now`; otherwise why it is not.
    pub fn find(&self, digest: &Digest, now: Timestamp) -> Result<&KeyRecord, KeyRefused<'_>> {
        let found = self.0.records.binary_search_by(|record| record.digest.cmp(digest));
        let Some(record) = found.ok().and_then(|at| self.0.records.get(at)) else {
            return Err(KeyRefused { fault: KeyFault::Unknown, record: None });
        };
        let accepted = record.accepted(now).map(|()| record);
        accepted.map_err(|fault| KeyRefused { fault, record: Some(record) })
    }

    /// The text of a name.
    pub fn id(&self, id: KeyId) -> Option<&str> {
        self.0.id(id)
    }
}

#[cfg(test)]
mod tests {
    #[cfg(all(target_family = "wasm", target_os = "unknown"))]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    fn record(key: &str, consumer: u32, place: u16, state: KeyState, not_after: KeyMoment) -> KeyRecord {
        let digest = Digest::of(key.as_bytes());
        KeyRecord { digest, not_before: KeyMoment::FIRST, not_after, consumer, id: None, place, state }
    }

    #[test]
    fn a_key_is_accepted_while_it_is_active_and_until_it_expires() {
        let mut list = KeyList::default();
        let end = KeyMoment::before(Timestamp::from_millis(100_999));
        let start = KeyMoment::at_or_after(Timestamp::from_millis(49_001));
        for (key, state, not_after) in [
            ("good", KeyState::Active, end),
            ("off", KeyState::Inactive, end),
            ("forever", KeyState::Active, KeyMoment::NEVER),
        ] {
            list.push(record(key, 7, 0, state, not_after));
        }
        list.push(KeyRecord { not_before: start, ..record("new", 7, 0, KeyState::Active, end) });
        let keys = ApiKeys::new(list).unwrap();
        for (key, millis, expected) in [
            ("good", 99_999, Ok(7)),
            ("good", 100_000, Err(KeyFault::Expired)),
            ("off", 0, Err(KeyFault::Inactive)),
            ("off", 100_000, Err(KeyFault::Inactive)),
            ("forever", 100_000, Ok(7)),
            ("Good", 0, Err(KeyFault::Unknown)),
            ("new", 49_999, Err(KeyFault::Early)),
            ("new", 50_000, Ok(7)),
            ("new", 100_000, Err(KeyFault::Expired)),
        ] {
            let found = keys.find(&Digest::of(key.as_bytes()), Timestamp::from_millis(millis));
            let known = found.err().and_then(|refused| refused.record).map(|record| record.consumer);
            let found = found.map(|record| record.consumer).map_err(|refused| refused.fault);
            assert_eq!(found, expected, "{key} {millis}");
            let is_known = !matches!(expected, Ok(_) | Err(KeyFault::Unknown));
            assert_eq!(known, is_known.then_some(7), "{key} {millis}");
        }
    }

    #[test]
    fn every_repetition_is_found() {
        let mut list = KeyList::default();
        for (consumer, place, key) in [(0, 0, "a"), (0, 1, "b"), (1, 0, "a"), (2, 0, "c"), (2, 1, "a")] {
            list.push(record(key, consumer, place, KeyState::Active, KeyMoment::NEVER));
        }
        let repeated =
            [(0, 1, 0), (1, 2, 1)].map(|(earlier, consumer, place)| Repeated { earlier, consumer, place });
        assert_eq!(ApiKeys::new(list).unwrap_err(), repeated);
    }

    #[test]
    fn a_record_is_small() {
        assert!(size_of::<KeyRecord>() <= 56);
    }
}
