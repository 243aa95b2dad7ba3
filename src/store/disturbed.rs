//! A store for tests in which something happens between a worker's read and its write.

use std::{cell::Cell, fmt};

use super::{Cas, Lost, Memory, Store};

/// A store that counts reads and swaps. Before each swap it runs a function, which may write to the store
/// like another worker, or make the swap fail.
pub struct Disturbed<'a> {
    memory: Memory,
    gets: Cell<u32>,
    swaps: Cell<u32>,
    before_swap: Box<BeforeSwap<'a>>,
}

type BeforeSwap<'a> = dyn Fn(&Disturbed<'a>) -> Result<(), Lost> + 'a;

impl<'a> Disturbed<'a> {
    /// An empty store. `before_swap` receives the store; its [`swaps`](Self::swaps) do not include the
    /// current one yet.
    pub fn new(before_swap: impl Fn(&Self) -> Result<(), Lost> + 'a) -> Self {
        let before_swap = Box::new(before_swap);
        Self { memory: Memory::new(), gets: Cell::new(0), swaps: Cell::new(0), before_swap }
    }

    /// An empty store in which another worker always wins after the first `swaps`.
    pub fn contended_after(swaps: u32) -> Self {
        Self::new(move |store| if store.swaps() < swaps { Ok(()) } else { Err(Lost) })
    }

    /// How often a value was read.
    pub fn gets(&self) -> u32 {
        self.gets.get()
    }

    /// How many swaps were tried before this one, including lost ones.
    pub fn swaps(&self) -> u32 {
        self.swaps.get()
    }

    /// The underlying store, for access that is neither counted nor disturbed.
    pub fn memory(&self) -> &Memory {
        &self.memory
    }
}

impl Store for Disturbed<'_> {
    fn get(&self, key: &str) -> (Option<Vec<u8>>, Option<Cas>) {
        self.gets.set(self.gets.get().saturating_add(1));
        self.memory.get(key)
    }

    fn compare_and_swap(&self, key: &str, bytes: &[u8], expected: Cas) -> Result<(), Lost> {
        let undisturbed = (self.before_swap)(self);
        self.swaps.set(self.swaps.get().saturating_add(1));
        undisturbed?;
        self.memory.compare_and_swap(key, bytes, expected)
    }
}

impl fmt::Debug for Disturbed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Disturbed")
            .field("gets", &self.gets)
            .field("swaps", &self.swaps)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    #[cfg(all(target_family = "wasm", target_os = "unknown"))]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::{
        super::{ABSENT, contract},
        *,
    };

    #[test]
    fn a_disturbed_store_fulfils_the_contract() {
        contract::holds(|| Disturbed::new(|_| Ok(())));
        contract::holds(|| {
            Disturbed::new(|store| {
                let (_, revision) = store.memory().get("theirs");
                store.memory().compare_and_swap("theirs", b"new", revision.unwrap_or(ABSENT))
            })
        });
    }

    #[test]
    fn a_contended_store_writes_nothing() {
        contract::is_contended(&Disturbed::contended_after(0));
        let store = Disturbed::contended_after(1);
        store.compare_and_swap("contract/key", b"before", ABSENT).unwrap();
        contract::is_contended(&store);
    }
}
