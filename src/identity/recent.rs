//! What one worker remembers of the cache: answers about active tokens that it has used not long ago. A
//! caller who returns then costs no access to the store, and nothing is decoded again.

use std::cell::RefCell;

use super::{KeptAnswer, Vouched};
use crate::digest::Digest;

/// How many answers are remembered.
const CAPACITY: usize = 256;

/// The most bytes of texts in an answer that is remembered. So a worker remembers at most 256 KiB of them.
const MOST_BYTES: usize = 1024;

/// Recent answers about active tokens. Strangers cannot fill it: tokens that are not active are never
/// remembered.
#[derive(Clone, Debug, Default)]
pub(super) struct Recent {
    /// Filled at the first use. An answer has one place, and replaces the one that was there.
    entries: RefCell<Vec<Option<Entry>>>,
}

#[derive(Clone, Debug)]
struct Entry {
    key: Digest,
    answer: KeptAnswer<'static>,
}

impl Recent {
    /// The answer under `key`, if it `is_usable`.
    pub(super) fn find(
        &self,
        key: &Digest,
        is_usable: impl FnOnce(&KeptAnswer<'_>) -> bool,
    ) -> Option<KeptAnswer<'static>> {
        let entries = self.entries.borrow();
        let entry = entries.get(place(key))?.as_ref()?;
        (entry.key == *key && is_usable(&entry.answer)).then(|| entry.answer.clone())
    }

    /// Remembers the newest answer under `key`, or forgets what was remembered under it.
    pub(super) fn note(&self, key: &Digest, answer: &KeptAnswer<'_>) {
        let mut entries = self.entries.borrow_mut();
        let is_kept = match answer.vouched() {
            Vouched::Active(identity) => identity.bytes() <= MOST_BYTES,
            Vouched::Inactive => false,
        };
        if is_kept && entries.is_empty() {
            entries.resize(CAPACITY, None);
        }
        let Some(entry) = entries.get_mut(place(key)) else { return };
        if is_kept {
            *entry = Some(Entry { key: *key, answer: answer.clone().into_owned() });
        } else if entry.as_ref().is_some_and(|entry| entry.key == *key) {
            *entry = None;
        }
    }
}

/// The place of an answer, by the first byte of its key, which is a digest.
fn place(key: &Digest) -> usize {
    let [first, ..] = *key.bytes();
    usize::from(first)
}

#[cfg(test)]
mod tests {
    #[cfg(all(target_family = "wasm", target_os = "unknown"))]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;
    use crate::{identity::record::tests::full, time::Timestamp};

    fn active(size: usize) -> KeptAnswer<'static> {
        let identity = crate::identity::Identity { sub: Some("x".repeat(size).into()), ..full() };
        KeptAnswer::new(Vouched::Active(identity), Timestamp::from_seconds(1))
    }

    #[test]
    fn the_newest_answer_is_found_while_it_is_usable() {
        let (recent, key) = (Recent::default(), Digest::of(b"token"));
        assert_eq!(recent.find(&key, |_| true), None);
        for answer in [active(1), active(2)] {
            recent.note(&key, &answer);
            assert_eq!(recent.find(&key, |_| true), Some(answer));
        }
        assert_eq!(recent.find(&key, |_| false), None);
        let [first, ..] = *key.bytes();
        let mut other = *Digest::of(b"other").bytes();
        other[0] = first;
        assert_eq!(recent.find(&Digest::from_bytes(other), |_| true), None, "another token in its place");
    }

    #[test]
    fn inactive_and_large_answers_are_forgotten() {
        let inactive = KeptAnswer::new(Vouched::Inactive, Timestamp::from_seconds(1));
        for answer in [inactive, active(MOST_BYTES)] {
            let (recent, key) = (Recent::default(), Digest::of(b"token"));
            recent.note(&key, &answer);
            assert_eq!(recent.entries.borrow().len(), 0, "nothing is reserved for it");
            recent.note(&key, &active(1));
            recent.note(&key, &answer);
            assert_eq!(recent.find(&key, |_| true), None);
        }
    }
}
