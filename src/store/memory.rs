//! A store in this process's memory, for tests and for the CLI. Its revisions behave like Envoy's.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use super::{Cas, Lost, Store};

/// A map behind a lock that is held for one `get` or one swap, never while a decision is made. Threads
/// therefore interfere with each other exactly as Envoy's workers do.
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

    /// The number of keys.
    pub fn keys(&self) -> usize {
        self.lock().values.len()
    }

    /// The total size of all values, in bytes.
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
    use std::rc::Rc;

    #[cfg(all(target_family = "wasm", target_os = "unknown"))]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::{super::contract, *};

    #[test]
    fn memory_fulfils_the_contract() {
        contract::holds(Memory::new);
        contract::holds(Rc::<Memory>::default);
    }

    #[cfg(not(target_family = "wasm"))]
    #[test]
    fn memory_fulfils_the_contract_among_threads() {
        contract::holds_among_threads(&Memory::new());
    }
}
