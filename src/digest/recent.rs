//! The digests of recent credentials, so that those of callers who return are not computed again.

use std::cell::RefCell;

use siphasher::sip128::{Hash128, SipHasher13};

use super::Digest;

/// How many digests are remembered. Each takes 48 bytes.
const CAPACITY: usize = 1024;

/// The digests of recent texts. A text is recognised by a hash of 128 bits with a secret key: nobody who does
/// not know the key can find two texts with the same hash. Nothing of a text is kept but its digest.
pub struct RecentDigests {
    key: [u8; 16],
    /// Filled at the first use. A text has one place, and replaces the text that was there.
    entries: RefCell<Vec<Entry>>,
}

#[derive(Clone, Copy)]
struct Entry {
    hash: [u64; 2],
    digest: Digest,
}

impl RecentDigests {
    /// Remembers nothing yet. `key` must be a secret.
    pub const fn new(key: [u8; 16]) -> Self {
        Self { key, entries: RefCell::new(Vec::new()) }
    }

    /// The digest of `text`.
    pub fn of(&self, text: &[u8]) -> Digest {
        let Hash128 { h1, h2 } = SipHasher13::new_with_key(&self.key).hash(text);
        let hash = [h1, h2];
        let mut entries = self.entries.borrow_mut();
        if entries.is_empty() {
            // Nobody can find a text with the hash 0.
            entries.resize(CAPACITY, Entry { hash: [0, 0], digest: Digest::from_bytes([0; 32]) });
        }
        let place = h1.checked_rem(CAPACITY as u64).and_then(|place| usize::try_from(place).ok());
        let Some(entry) = place.and_then(|place| entries.get_mut(place)) else { return Digest::of(text) };
        if entry.hash != hash {
            *entry = Entry { hash, digest: Digest::of(text) };
        }
        entry.digest
    }
}

#[cfg(test)]
mod tests {
    #[cfg(all(target_family = "wasm", target_os = "unknown"))]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    fn a_digest_is_the_same_the_first_time_and_later() {
        let recent = RecentDigests::new([7; 16]);
        let texts: Vec<Vec<u8>> = (0_u32..4_000).map(|number| number.to_le_bytes().to_vec()).collect();
        for _ in 0..3 {
            for text in texts.iter().chain(texts.iter().take(10)) {
                assert_eq!(recent.of(text), Digest::of(text));
            }
            assert_eq!(recent.of(b""), Digest::of(b""));
        }
        assert_eq!(recent.entries.borrow().len(), CAPACITY);
    }

    #[test]
    fn a_digest_is_not_computed_again() {
        let recent = RecentDigests::new([7; 16]);
        recent.of(b"key");
        let mark = Digest::of(b"mark");
        recent.entries.borrow_mut().iter_mut().for_each(|entry| entry.digest = mark);
        assert_eq!(recent.of(b"key"), mark);
        assert_eq!(recent.of(b"other"), Digest::of(b"other"));
    }
}
