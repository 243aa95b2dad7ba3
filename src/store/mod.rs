//! The store: holds meters and cached identities, behind one port.
//!
//! The core does not depend on how bytes are kept. It passes a *decision* to [`Store::update`]: a closure
//! that receives the current bytes and returns the new bytes and a result. With Envoy's shared data, an
//! update is a get, the decision and a compare-and-swap, repeated with fresh bytes whenever another worker
//! was faster. With [`Memory`], the same loop runs in tests and in the CLI.
//!
//! A [`Table`] lays out the values in a fixed number of keys, so that a store which cannot delete or expire
//! entries stays bounded.

#[cfg(any(test, not(target_family = "wasm")))]
#[doc(hidden)]
pub mod contract;
#[cfg(any(test, not(target_family = "wasm")))]
mod disturbed;
mod incidents;
mod lease;
mod memory;
mod secret;
mod slot;
mod table;

use std::{num::NonZeroU32, rc::Rc};

#[cfg(any(test, not(target_family = "wasm")))]
#[doc(hidden)]
pub use disturbed::Disturbed;
pub use incidents::{Incidents, Session, Tally};
pub use lease::{Lease, WorkerId};
pub use memory::Memory;
pub use secret::{Secret, Seed};
pub use table::{Change, NotWritten, Table};

/// The revision of a value, which must be unchanged for a [`Store::compare_and_swap`] to succeed. Never zero,
/// because Envoy reads zero as "overwrite any value", which loses counts.
pub type Cas = NonZeroU32;

/// The [`Cas`] of a key that does not exist. Envoy compares it with existing values only, so of two workers
/// that both found the key missing, only one inserts it.
pub const ABSENT: Cas = NonZeroU32::MAX;

/// How often an update is tried before it fails. Each lost attempt means that another worker's update
/// succeeded, so this many in a row are a sign of a fault, not of load.
pub const ATTEMPTS: u32 = 128;

/// Bytes under keys, shared by all workers.
///
/// An implementation provides [`get`](Store::get) and [`compare_and_swap`](Store::compare_and_swap), and
/// guarantees:
///
/// * No update is ever lost. `compare_and_swap` replaces a value only if its revision is still `expected`,
///   and checks and replaces in one step. Each successful swap gives the value a revision that it did not
///   have before.
/// * With `expected` [`ABSENT`], it inserts only if the key does not exist. If two workers create a key, one
///   of them gets [`Lost`].
/// * `get` returns bytes and revision of the same moment. A store that cannot answer returns `(None, None)`.
///   Every swap of an existing value then fails, which refuses requests but never forgets usage.
///
/// Values written by Sidegate are never empty.
pub trait Store {
    /// The bytes under `key` and their revision; `(None, None)` if the key does not exist.
    fn get(&self, key: &str) -> (Option<Vec<u8>>, Option<Cas>);

    /// Writes `bytes` under `key` if its revision is still `expected`.
    ///
    /// # Errors
    ///
    /// The revision has changed, or the store cannot write. The value is unchanged.
    fn compare_and_swap(&self, key: &str, bytes: &[u8], expected: Cas) -> Result<(), Lost>;

    /// Passes the bytes under `key` to `look` and writes nothing.
    fn read<T>(&self, key: &str, look: impl FnOnce(Option<&[u8]>) -> T) -> T {
        look(self.get(key).0.as_deref())
    }

    /// Replaces the bytes under `key` by the result of `decide`, as one atomic step among all workers.
    ///
    /// `decide` runs again, on fresh bytes, each time another worker was faster; only its last result counts.
    /// After [`ATTEMPTS`] lost attempts it returns [`Contended`], and nothing has been written.
    fn update<T>(
        &self,
        key: &str,
        mut decide: impl FnMut(Option<&[u8]>) -> (Write, T),
    ) -> Result<T, Contended> {
        self.edit(key, |bytes| decide(bytes.map(|bytes| &*bytes)))
    }

    /// Like [`update`](Self::update), but `decide` may also edit the bytes and return [`Write::Edited`],
    /// which spares a copy of them.
    fn edit<T>(
        &self,
        key: &str,
        mut decide: impl FnMut(Option<&mut [u8]>) -> (Write, T),
    ) -> Result<T, Contended> {
        for _ in 0..ATTEMPTS {
            let (mut bytes, cas) = self.get(key);
            let (write, outcome) = decide(bytes.as_deref_mut());
            let new = match &write {
                Write::Keep => return Ok(outcome),
                Write::Replace(new) => new,
                Write::Edited => match &bytes {
                    Some(edited) => edited,
                    None => return Ok(outcome),
                },
            };
            if self.compare_and_swap(key, new, cas.unwrap_or(ABSENT)).is_ok() {
                return Ok(outcome);
            }
        }
        Err(Contended)
    }
}

impl<S: Store> Store for &S {
    fn get(&self, key: &str) -> (Option<Vec<u8>>, Option<Cas>) {
        S::get(self, key)
    }

    fn compare_and_swap(&self, key: &str, bytes: &[u8], expected: Cas) -> Result<(), Lost> {
        S::compare_and_swap(self, key, bytes, expected)
    }
}

/// A store with several owners, such as the workers of a test.
impl<S: Store> Store for Rc<S> {
    fn get(&self, key: &str) -> (Option<Vec<u8>>, Option<Cas>) {
        S::get(self, key)
    }

    fn compare_and_swap(&self, key: &str, bytes: &[u8], expected: Cas) -> Result<(), Lost> {
        S::compare_and_swap(self, key, bytes, expected)
    }
}

/// What an update does to the current value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    /// Leave the value unchanged; nothing is written.
    Keep,
    /// Replace the value by these bytes.
    Replace(Vec<u8>),
    /// Write the bytes as the decision has edited them. For a key that does not exist, this is
    /// [`Self::Keep`].
    Edited,
}

/// Another worker changed the value first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the value was changed by another worker")]
pub struct Lost;

/// Every attempt lost to another worker; nothing was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the store is contended: no update succeeded in {ATTEMPTS} attempts")]
pub struct Contended;

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    #[cfg(all(target_family = "wasm", target_os = "unknown"))]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    /// A store in which another worker writes before each of the first `losses` swaps.
    fn losing(losses: u32) -> Disturbed<'static> {
        let left = Cell::new(losses);
        Disturbed::new(move |store| {
            let Some(less) = left.get().checked_sub(1) else { return Ok(()) };
            left.set(less);
            let revision = store.memory().get("key").1.unwrap_or(ABSENT);
            store.memory().compare_and_swap("key", b"theirs", revision)
        })
    }

    fn append(bytes: Option<&[u8]>) -> (Write, usize) {
        let mut new = bytes.unwrap_or_default().to_vec();
        new.extend_from_slice(b"+ours");
        (Write::Replace(new), bytes.map_or(0, <[u8]>::len))
    }

    #[test]
    fn the_decision_runs_again_on_fresh_bytes_after_each_lost_attempt() {
        for losses in [0, 1, 5, ATTEMPTS - 1] {
            let store = losing(losses);
            let mut decisions = 0;
            let seen = store.update("key", |bytes| {
                decisions += 1;
                append(bytes)
            });
            assert_eq!(decisions, losses + 1);
            assert_eq!(seen, Ok(if losses == 0 { 0 } else { 6 }), "the result is that of the last decision");
            let expected: &[u8] = if losses == 0 { b"+ours" } else { b"theirs+ours" };
            assert_eq!(store.read("key", |bytes| bytes.map(<[u8]>::to_vec)).as_deref(), Some(expected));
        }
    }

    #[test]
    fn an_update_that_always_loses_fails_and_writes_nothing() {
        let store = losing(u32::MAX);
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
        let store = losing(u32::MAX);
        assert_eq!(store.update("key", |bytes| (Write::Keep, bytes.is_none())), Ok(true));
        assert_eq!((store.gets(), store.swaps()), (1, 0));
    }
}
