//! A store in this process's memory, for tests and for the CLI. Its revisions behave as Envoy's do.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{Cas, Lost, Store};

/// A map behind a lock that is held for one `get` or one swap, never while a decision is made: threads meet each other
/// exactly as Envoy's workers do.
#[derive(Debug, Default)]
pub struct Memory(Mutex<Values>);

#[derive(Debug, Default)]
struct Values {
    values: HashMap<String, (Vec<u8>, Cas)>,
    last_cas: u32,
}

impl Memory {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many keys exist.
    pub fn keys(&self) -> usize {
        self.lock().values.len()
    }

    /// How many bytes all values have together.
    pub fn bytes(&self) -> usize {
        self.lock().values.values().map(|(bytes, _)| bytes.len()).sum()
    }

    fn lock(&self) -> MutexGuard<'_, Values> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store for Memory {
    fn get(&self, key: &str) -> (Option<Vec<u8>>, Option<Cas>) {
        match self.lock().values.get(key) {
            Some((bytes, cas)) => (Some(bytes.clone()), Some(*cas)),
            None => (None, None),
        }
    }

    fn compare_and_swap(&self, key: &str, bytes: &[u8], expected: Cas) -> Result<(), Lost> {
        let mut store = self.lock();
        if store.values.get(key).is_some_and(|(_, cas)| *cas != expected) {
            return Err(Lost);
        }
        store.last_cas = store.last_cas.wrapping_add(1);
        let cas = Cas::new(store.last_cas).unwrap_or(Cas::MIN);
        store.values.insert(key.to_owned(), (bytes.to_vec(), cas));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::ABSENT;
    use super::*;
    #[cfg(all(target_family = "wasm", target_os = "unknown"))]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn a_swap_needs_the_revision_that_was_read() {
        let store = Memory::new();
        assert_eq!(store.compare_and_swap("key", b"1", ABSENT), Ok(()));
        assert_eq!(store.compare_and_swap("key", b"2", ABSENT), Err(Lost), "inserts only if absent");
        let (_, read) = store.get("key");
        assert_eq!(store.compare_and_swap("key", b"3", read.unwrap()), Ok(()));
        assert_eq!(store.compare_and_swap("key", b"4", read.unwrap()), Err(Lost), "the revision is used up");
        assert_eq!(store.get("key").0.as_deref(), Some(&b"3"[..]));
    }
}
