//! Keys of applications. Unlike an API key, such a key identifies nobody: it confirms the id that is
//! presented with it.

use super::api_key::{KeyFault, KeyId, KeyList, KeyRecord, Repeated};
use crate::{credential::Digest, time::Timestamp};

/// The keys of all applications of a policy, in the order of their consumers.
#[derive(Clone, Debug, Default)]
pub struct ApplicationKeys(KeyList);

/// Why an application is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApplicationFault {
    /// No consumer has an application of this id.
    #[error("the application is unknown")]
    Unknown,
    /// The application has keys, and none is presented.
    #[error("no key of the application was presented")]
    KeyMissing,
    /// The key is not one of the application's.
    #[error("the key is not one of the application's")]
    KeyUnknown,
    /// The key is deactivated.
    #[error("the application's key is inactive")]
    KeyInactive,
    /// The key is not accepted yet.
    #[error("the application's key is not valid yet")]
    KeyEarly,
    /// The key has expired.
    #[error("the application's key has expired")]
    KeyExpired,
}

/// An application that is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ApplicationRefused<'a> {
    /// Why.
    pub fault: ApplicationFault,
    /// What the policy says about the key, if it is one of the application's.
    pub record: Option<&'a KeyRecord>,
}

impl ApplicationKeys {
    /// The keys of a list that is in the order of consumers. Fails with all keys that an application has
    /// twice.
    ///
    /// # Errors
    ///
    /// An application has a key twice. Different applications may have the same.
    pub fn new(mut list: KeyList) -> Result<Self, Vec<Repeated>> {
        list.shrink_to_fit();
        let mut repeated = Vec::new();
        for own in list.records().chunk_by(|one, other| one.consumer == other.consumer) {
            let mut known = std::collections::HashSet::with_capacity(own.len());
            let again = own.iter().filter(|record| !known.insert(record.digest));
            repeated.extend(again.map(|record| Repeated {
                earlier: record.consumer,
                consumer: record.consumer,
                place: record.place,
            }));
        }
        if repeated.is_empty() { Ok(Self(list)) } else { Err(repeated) }
    }

    /// Checks the key, if one is presented, that is to confirm a consumer's application. An application
    /// without keys needs none, and ignores one.
    ///
    /// # Errors
    ///
    /// The application has keys, and none of them is presented and accepted.
    pub fn check(
        &self,
        consumer: u32,
        key: Option<&Digest>,
        now: Timestamp,
    ) -> Result<Option<&KeyRecord>, ApplicationRefused<'_>> {
        let own = self.of(consumer);
        if own.is_empty() {
            return Ok(None);
        }
        let unknown = |fault| ApplicationRefused { fault, record: None };
        let key = key.ok_or(unknown(ApplicationFault::KeyMissing))?;
        let record = own.iter().find(|record| record.digest == *key);
        let record = record.ok_or(unknown(ApplicationFault::KeyUnknown))?;
        record.accepted(now).map(|()| Some(record)).map_err(|fault| ApplicationRefused {
            fault: match fault {
                KeyFault::Unknown => ApplicationFault::KeyUnknown,
                KeyFault::Inactive => ApplicationFault::KeyInactive,
                KeyFault::Early => ApplicationFault::KeyEarly,
                KeyFault::Expired => ApplicationFault::KeyExpired,
            },
            record: Some(record),
        })
    }

    /// The text of a key's name.
    pub fn id(&self, id: KeyId) -> Option<&str> {
        self.0.id(id)
    }

    fn of(&self, consumer: u32) -> &[KeyRecord] {
        let records = self.0.records();
        let start = records.partition_point(|record| record.consumer < consumer);
        let (_, rest) = records.split_at_checked(start).unwrap_or_default();
        let end = rest.partition_point(|record| record.consumer == consumer);
        rest.split_at_checked(end).map_or(&[], |(own, _)| own)
    }
}

#[cfg(test)]
mod tests {
    #[cfg(all(target_family = "wasm", target_os = "unknown"))]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::{
        super::api_key::{KeyMoment, KeyState},
        *,
    };

    fn record(key: &str, consumer: u32, place: u16, state: KeyState, not_after: KeyMoment) -> KeyRecord {
        let digest = Digest::of(key.as_bytes());
        KeyRecord { digest, not_before: KeyMoment::FIRST, not_after, consumer, id: None, place, state }
    }

    #[test]
    fn an_application_needs_one_of_its_own_keys_if_it_has_any() {
        let mut list = KeyList::default();
        let end = KeyMoment::before(Timestamp::from_seconds(100));
        for (key, consumer, place, state) in [
            ("a", 2, 0, KeyState::Active),
            ("b", 2, 1, KeyState::Active),
            ("off", 2, 2, KeyState::Inactive),
            ("a", 5, 0, KeyState::Active),
        ] {
            list.push(record(key, consumer, place, state, end));
        }
        let keys = ApplicationKeys::new(list).unwrap();
        for (consumer, key, seconds, expected) in [
            (2, Some("a"), 99, Ok(Some((2, 0)))),
            (2, Some("b"), 99, Ok(Some((2, 1)))),
            (5, Some("a"), 99, Ok(Some((5, 0)))),
            (5, Some("b"), 99, Err(ApplicationFault::KeyUnknown)),
            (2, Some("off"), 99, Err(ApplicationFault::KeyInactive)),
            (2, Some("a"), 100, Err(ApplicationFault::KeyExpired)),
            (2, None, 99, Err(ApplicationFault::KeyMissing)),
            (3, None, 99, Ok(None)),
            (3, Some("a"), 99, Ok(None)),
            (0, None, 99, Ok(None)),
            (6, None, 99, Ok(None)),
        ] {
            let digest = key.map(|key: &str| Digest::of(key.as_bytes()));
            let found = keys.check(consumer, digest.as_ref(), Timestamp::from_seconds(seconds));
            let found = found.map(|record| record.map(|record| (record.consumer, record.place)));
            assert_eq!(found.map_err(|refused| refused.fault), expected, "{consumer} {key:?} {seconds}");
        }
    }

    #[test]
    fn a_key_is_repeated_only_within_an_application() {
        let mut list = KeyList::default();
        for (consumer, place, key) in [(0, 0, "a"), (0, 1, "b"), (1, 0, "a"), (1, 1, "a")] {
            list.push(record(key, consumer, place, KeyState::Active, KeyMoment::NEVER));
        }
        let repeated = [Repeated { earlier: 1, consumer: 1, place: 1 }];
        assert_eq!(ApplicationKeys::new(list).unwrap_err(), repeated);
    }
}
