//! The store: where meters and cached identities live, behind one port.
//!
//! The core never sees how bytes are kept. It hands a *decision* to [`Store::update`]: a closure from the bytes that
//! are there to what shall be there and an outcome. Over Envoy's shared data that becomes get, decide,
//! compare-and-swap, and again with fresh bytes whenever another worker was faster; over [`Memory`] the same loop
//! runs in tests and in the CLI.
//!
//! Values are laid out by a [`Table`]: a fixed number of keys, so that a store which cannot delete or expire stays
//! bounded.

mod memory;
mod slot;
mod table;

use std::num::NonZeroU32;

pub use memory::Memory;
pub use table::{Change, Facts, Table, Unavailable};

/// What must not have changed for a [`Store::compare_and_swap`] to succeed: the revision of a value. Never zero,
/// because Envoy takes zero to mean "overwrite whatever is there", which loses counts.
pub type Cas = NonZeroU32;

/// The [`Cas`] of a key that does not exist. Envoy compares it with existing values only, so two workers that both
/// found the key missing cannot both insert it.
pub const ABSENT: Cas = NonZeroU32::MAX;

/// How often an update is decided before it is given up. A lost round means that another worker's round succeeded, so
/// this many in a row is a machine in trouble, not a busy one.
pub const ATTEMPTS: u32 = 128;

/// Bytes under keys, shared by all workers.
///
/// An implementor provides [`get`](Store::get) and [`compare_and_swap`](Store::compare_and_swap) and must uphold:
///
/// * No update is ever lost: `compare_and_swap` replaces a value only if its revision still is `expected`, and checks
///   and replaces in one step. Each successful swap gives the value a revision that it did not have before.
/// * With `expected` [`ABSENT`], it inserts only if the key does not exist. Of two workers that create a key, one has
///   [`Lost`].
/// * `get` returns bytes and revision of one moment. A store that cannot answer says `(None, None)`: an existing
///   value then makes every swap fail, which refuses requests and never forgets what they used.
///
/// Values written by Sidegate are never empty.
pub trait Store {
    /// The bytes under `key` and their revision; `(None, None)` if there are none.
    fn get(&self, key: &str) -> (Option<Vec<u8>>, Option<Cas>);

    /// Puts `bytes` under `key` if its revision still is `expected`.
    fn compare_and_swap(&self, key: &str, bytes: &[u8], expected: Cas) -> Result<(), Lost>;

    /// Shows `look` the bytes under `key`; writes nothing.
    fn read<T>(&self, key: &str, look: impl FnOnce(Option<&[u8]>) -> T) -> T {
        look(self.get(key).0.as_deref())
    }

    /// Replaces the bytes under `key` by what `decide` makes of them, as one step among all workers.
    ///
    /// `decide` runs again, on fresh bytes, each time another worker was faster; only its last outcome counts. After
    /// [`ATTEMPTS`] lost rounds nothing has been written.
    fn update<T>(
        &self,
        key: &str,
        mut decide: impl FnMut(Option<&[u8]>) -> (Write, T),
    ) -> Result<T, Contended> {
        for _ in 0..ATTEMPTS {
            let (bytes, cas) = self.get(key);
            match decide(bytes.as_deref()) {
                (Write::Keep, outcome) => return Ok(outcome),
                (Write::Replace(new), outcome) => {
                    if self.compare_and_swap(key, &new, cas.unwrap_or(ABSENT)).is_ok() {
                        return Ok(outcome);
                    }
                }
            }
        }
        Err(Contended)
    }
}

/// What an update does to the value it was shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    /// Leave it as it is; nothing is written at all.
    Keep,
    /// Put these bytes in its place.
    Replace(Vec<u8>),
}

/// Another worker changed the value first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the value was changed by another worker")]
pub struct Lost;

/// Other workers changed the value first, every time; nothing was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the store is contended: no update got through in {ATTEMPTS} attempts")]
pub struct Contended;

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    #[cfg(all(target_family = "wasm", target_os = "unknown"))]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    /// Loses the first `losses` swaps as if another worker had written `theirs` in between.
    struct Hostile {
        memory: Memory,
        losses: Cell<u32>,
        theirs: &'static [u8],
    }

    impl Hostile {
        fn losing(losses: u32) -> Self {
            Self { memory: Memory::new(), losses: Cell::new(losses), theirs: b"theirs" }
        }
    }

    impl Store for Hostile {
        fn get(&self, key: &str) -> (Option<Vec<u8>>, Option<Cas>) {
            self.memory.get(key)
        }

        fn compare_and_swap(&self, key: &str, bytes: &[u8], expected: Cas) -> Result<(), Lost> {
            if let Some(left) = self.losses.get().checked_sub(1) {
                self.losses.set(left);
                let cas = self.memory.get(key).1.unwrap_or(ABSENT);
                self.memory.compare_and_swap(key, self.theirs, cas)?;
            }
            self.memory.compare_and_swap(key, bytes, expected)
        }
    }

    fn append(bytes: Option<&[u8]>) -> (Write, usize) {
        let mut new = bytes.unwrap_or_default().to_vec();
        new.extend_from_slice(b"+ours");
        (Write::Replace(new), bytes.map_or(0, <[u8]>::len))
    }

    #[test]
    fn the_decision_is_made_again_on_fresh_bytes_after_each_lost_round() {
        for losses in [0, 1, 5, ATTEMPTS - 1] {
            let store = Hostile::losing(losses);
            let mut decisions = 0;
            let seen = store.update("key", |bytes| {
                decisions += 1;
                append(bytes)
            });
            assert_eq!(decisions, losses + 1);
            assert_eq!(seen, Ok(if losses == 0 { 0 } else { 6 }), "the outcome is that of the last decision");
            let expected: &[u8] = if losses == 0 { b"+ours" } else { b"theirs+ours" };
            assert_eq!(store.read("key", |bytes| bytes.map(<[u8]>::to_vec)).as_deref(), Some(expected));
        }
    }

    #[test]
    fn an_update_that_always_loses_gives_up_and_writes_nothing() {
        let store = Hostile::losing(u32::MAX);
        let mut decisions = 0;
        let result = store.update("key", |bytes| {
            decisions += 1;
            append(bytes)
        });
        assert_eq!((result, decisions), (Err(Contended), ATTEMPTS));
        assert_eq!(store.read("key", |bytes| bytes.map(<[u8]>::to_vec)).as_deref(), Some(&b"theirs"[..]));
    }

    #[test]
    fn a_decision_to_keep_never_swaps() {
        let store = Hostile::losing(u32::MAX);
        assert_eq!(store.update("key", |bytes| (Write::Keep, bytes.is_none())), Ok(true));
        assert_eq!(store.losses.get(), u32::MAX);
    }

    #[test]
    fn of_two_creators_of_a_key_one_decides_again() {
        let store = Memory::new();
        let mut rounds = 0;
        let outcome = store.update("key", |bytes| {
            rounds += 1;
            if rounds == 1 {
                assert_eq!(store.update("key", append), Ok(0), "the other worker creates the key meanwhile");
            }
            append(bytes)
        });
        assert_eq!((outcome, rounds), (Ok(5), 2));
        assert_eq!(store.read("key", |bytes| bytes.map(<[u8]>::to_vec)).as_deref(), Some(&b"+ours+ours"[..]));
    }
}
