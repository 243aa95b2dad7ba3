//! What one worker remembers of a cache: answers that it has used not long ago. A caller who returns then
//! costs no access to the store, and nothing is decoded again.

use std::cell::RefCell;

use crate::digest::Digest;

/// How many answers are remembered.
const CAPACITY: usize = 256;

/// The most bytes of an answer that may be remembered. So a worker remembers at most 256 KiB of each kind.
pub(super) const MOST_BYTES: usize = 1024;

/// Recent answers. Strangers must not fill it: only answers about callers that somebody vouches for may be
/// remembered.
#[derive(Clone, Debug)]
pub(super) struct Recent<T> {
    /// Filled at the first use. An answer has one place, and replaces the one that was there.
    entries: RefCell<Vec<Option<Entry<T>>>>,
}

#[derive(Clone, Debug)]
struct Entry<T> {
    key: Digest,
    answer: T,
}

impl<T: Clone> Recent<T> {
    /// The answer under `key`, if it `is_usable`.
    pub(super) fn find(&self, key: &Digest, is_usable: impl FnOnce(&T) -> bool) -> Option<T> {
        let entries = self.entries.borrow();
        let entry = entries.get(place(key))?.as_ref()?;
        (entry.key == *key && is_usable(&entry.answer)).then(|| entry.answer.clone())
    }

    /// Remembers the newest answer under `key`. Without one, what was remembered is forgotten.
    pub(super) fn note(&self, key: &Digest, answer: Option<T>) {
        let mut entries = self.entries.borrow_mut();
        if answer.is_some() && entries.is_empty() {
            entries.resize(CAPACITY, None);
        }
        let Some(entry) = entries.get_mut(place(key)) else { return };
        match answer {
            Some(answer) => *entry = Some(Entry { key: *key, answer }),
            None if entry.as_ref().is_some_and(|entry| entry.key == *key) => *entry = None,
            None => {}
        }
    }
}

impl<T> Default for Recent<T> {
    fn default() -> Self {
        Self { entries: RefCell::default() }
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

    #[test]
    fn the_newest_answer_is_found_while_it_is_usable() {
        let (recent, key) = (Recent::default(), Digest::of(b"token"));
        assert_eq!(recent.find(&key, |_| true), None);
        for answer in [1, 2] {
            recent.note(&key, Some(answer));
            assert_eq!(recent.find(&key, |_| true), Some(answer));
        }
        assert_eq!(recent.find(&key, |_| false), None);
        let [first, ..] = *key.bytes();
        let mut other = *Digest::of(b"other").bytes();
        other[0] = first;
        let other = Digest::from_bytes(other);
        assert_eq!(recent.find(&other, |_| true), None, "another caller in its place");
        recent.note(&other, None);
        assert_eq!(recent.find(&key, |_| true), Some(2));
    }

    #[test]
    fn what_has_no_newer_answer_is_forgotten() {
        let (recent, key) = (Recent::default(), Digest::of(b"token"));
        recent.note(&key, None);
        assert_eq!(recent.entries.borrow().len(), 0, "nothing is reserved for it");
        recent.note(&key, Some(1));
        recent.note(&key, None);
        assert_eq!(recent.find(&key, |_| true), None);
    }
}
