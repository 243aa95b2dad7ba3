//! API keys: the policy holds their digests, with the consumer that owns each key and whether the key is
//! accepted.

use std::{collections::HashMap, rc::Rc};

use crate::{
    credential::{ApiKey, Digest},
    time::Timestamp,
};

/// All API keys of a policy.
#[derive(Clone, Debug, Default)]
pub struct ApiKeys(HashMap<Digest, KeyRecord>);

/// What the policy says about one API key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRecord {
    /// The consumer that owns the key, as an index into the policy's consumers.
    pub consumer: usize,
    /// The operator's name for the key.
    pub id: Option<Rc<str>>,
    /// Whether the key is active.
    pub state: KeyState,
    /// The moment from which the key is no longer accepted.
    pub not_after: Timestamp,
}

/// Whether a key is accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyState {
    /// The key is accepted.
    Active,
    /// The key is not accepted.
    Inactive,
}

/// Why an API key is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyFault {
    /// No consumer owns the key.
    #[error("the API key is unknown")]
    Unknown,
    /// The key is deactivated.
    #[error("the API key is inactive")]
    Inactive,
    /// The key has expired.
    #[error("the API key has expired")]
    Expired,
}

impl ApiKeys {
    /// An empty set with room for `capacity` keys.
    pub fn with_capacity(capacity: usize) -> Self {
        Self(HashMap::with_capacity(capacity))
    }

    /// Adds the key with this digest; returns the record that it replaces, if there is one.
    pub fn insert(&mut self, digest: Digest, record: KeyRecord) -> Option<KeyRecord> {
        self.0.insert(digest, record)
    }

    /// The record of `key`, if the key is accepted at `now`; otherwise why it is not.
    pub fn find(&self, key: &ApiKey, now: Timestamp) -> Result<&KeyRecord, KeyFault> {
        let record = self.0.get(&key.digest()).ok_or(KeyFault::Unknown)?;
        if record.state == KeyState::Inactive {
            return Err(KeyFault::Inactive);
        }
        if record.not_after <= now {
            return Err(KeyFault::Expired);
        }
        Ok(record)
    }
}

#[cfg(test)]
mod tests {
    #[cfg(all(target_family = "wasm", target_os = "unknown"))]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    fn a_key_is_accepted_while_it_is_active_and_until_it_expires() {
        let mut keys = ApiKeys::default();
        let record = |state, not_after| KeyRecord { consumer: 7, id: None, state, not_after };
        let end = Timestamp::from_seconds(100);
        for (key, record) in [
            ("good", record(KeyState::Active, end)),
            ("off", record(KeyState::Inactive, end)),
            ("forever", record(KeyState::Active, Timestamp::MAX)),
        ] {
            assert_eq!(keys.insert(ApiKey::new(key).digest(), record), None);
        }
        for (key, millis, expected) in [
            ("good", 99_999, Ok(7)),
            ("good", 100_000, Err(KeyFault::Expired)),
            ("off", 0, Err(KeyFault::Inactive)),
            ("off", 100_000, Err(KeyFault::Inactive)),
            ("forever", 100_000, Ok(7)),
            ("Good", 0, Err(KeyFault::Unknown)),
        ] {
            let found = keys.find(&ApiKey::new(key), Timestamp::from_millis(millis));
            assert_eq!(found.map(|record| record.consumer), expected, "{key} {millis}");
        }
    }
}
