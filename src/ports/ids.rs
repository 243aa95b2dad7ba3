//! Ids for requests that have none: UUIDs by which callers and operators speak of the same request.

use siphasher::sip128::{Hasher128 as _, SipHasher13};
use std::hash::Hasher as _;

use crate::time::Timestamp;

/// Makes the ids of one worker's requests. They look random to everybody who does not know the key.
pub(super) struct RequestIds {
    key: [u8; 16],
}

impl RequestIds {
    /// Workers with different keys never make the same ids. `key` must be a secret.
    pub(super) const fn new(key: [u8; 16]) -> Self {
        Self { key }
    }

    /// The id for a request of this stream.
    pub(super) fn of(&self, now: Timestamp, stream: u32) -> String {
        let mut hasher = SipHasher13::new_with_key(&self.key);
        hasher.write_u64(now.millis());
        hasher.write_u32(stream);
        uuid(hasher.finish128().as_bytes())
    }
}

/// The text of a UUID of version 4 (RFC 9562) with these random bits.
fn uuid(mut random: [u8; 16]) -> String {
    let [_, _, _, _, _, _, version, _, variant, ..] = &mut random;
    *version = *version & 0x0f | 0x40;
    *variant = *variant & 0x3f | 0x80;
    let mut digits = [0; 32];
    let _written = hex::encode_to_slice(random, &mut digits);
    let mut text = String::with_capacity(36);
    for (place, digit) in digits.into_iter().enumerate() {
        if matches!(place, 8 | 12 | 16 | 20) {
            text.push('-');
        }
        text.push(char::from(digit));
    }
    text
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    #[cfg(all(target_family = "wasm", target_os = "unknown"))]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    fn an_id_is_a_uuid_of_version_4() {
        assert_eq!(uuid([0; 16]), "00000000-0000-4000-8000-000000000000");
        assert_eq!(uuid([0xff; 16]), "ffffffff-ffff-4fff-bfff-ffffffffffff");
    }

    #[test]
    fn workers_moments_and_streams_have_different_ids() {
        let workers = [RequestIds::new([1; 16]), RequestIds::new([2; 16])];
        let ids: BTreeSet<_> = workers
            .iter()
            .flat_map(|ids| {
                (0..30).map(|seconds| ids.of(Timestamp::from_seconds(seconds / 6), seconds as u32 % 6))
            })
            .collect();
        assert_eq!(ids.len(), 60);
    }
}
