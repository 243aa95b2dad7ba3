//! Leases: one of all workers that share a store does work that must be done once.
//!
//! The holder of a lease renews it before its term is over. If a holder vanishes, the lease ends with its
//! term, and another worker takes it.

use std::time::Duration;

use super::{Session, Store, Write};
use crate::time::Timestamp;

/// The key for the number of the last worker.
const WORKERS: &str = "sidegate/workers";

/// The format of a lease's bytes. Bytes in any other format count as no lease.
const VERSION: u8 = 1;

/// A worker's number, unique among the workers of one store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WorkerId(u64);

/// A lease, as one worker sees it.
#[derive(Clone, Debug)]
pub struct Lease {
    key: String,
    worker: WorkerId,
    term: Duration,
}

impl WorkerId {
    /// The next free number; `None` if the store is contended.
    pub fn next(store: &impl Store) -> Option<Self> {
        let next = store.update(WORKERS, |bytes| {
            let last = bytes.and_then(|bytes| Some(u64::from_le_bytes(bytes.try_into().ok()?))).unwrap_or(0);
            let next = last.wrapping_add(1);
            (Write::Replace(next.to_le_bytes().to_vec()), next)
        });
        next.ok().map(Self)
    }
}

impl Lease {
    /// The lease `name`, for `worker`. All workers must use the same term.
    pub fn new(name: &str, worker: WorkerId, term: Duration) -> Self {
        Self { key: format!("sidegate/leases/{name}"), worker, term }
    }

    /// Takes the lease, or renews it, for one term from now; false if another worker holds it.
    pub fn hold(&self, store: Session<'_, impl Store>) -> bool {
        let until = store.now().saturating_add(self.term);
        let held = store.store().update(&self.key, |bytes| {
            let is_theirs = bytes.and_then(decode).is_some_and(|(holder, held_until)| {
                // No lease is held for longer than a term. If one seems to be, the clock was set back.
                holder != self.worker && held_until > store.now() && held_until <= until
            });
            if is_theirs { (Write::Keep, false) } else { (Write::Replace(self.encode(until)), true) }
        });
        held.unwrap_or(false)
    }

    /// Gives the lease up, so that another worker can take it immediately.
    pub fn give_up(&self, store: Session<'_, impl Store>) {
        // If the lease cannot be given up, it ends with its term.
        let _given_up = store.store().update(&self.key, |bytes| {
            let is_ours = bytes.and_then(decode).is_some_and(|(holder, _)| holder == self.worker);
            if is_ours { (Write::Replace(self.encode(Timestamp::default())), ()) } else { (Write::Keep, ()) }
        });
    }

    fn encode(&self, until: Timestamp) -> Vec<u8> {
        let mut bytes = vec![VERSION];
        bytes.extend(self.worker.0.to_le_bytes());
        bytes.extend(until.millis().to_le_bytes());
        bytes
    }
}

fn decode(bytes: &[u8]) -> Option<(WorkerId, Timestamp)> {
    let (&VERSION, bytes) = bytes.split_first()? else { return None };
    let (worker, until) = bytes.split_first_chunk()?;
    let until = u64::from_le_bytes(until.try_into().ok()?);
    Some((WorkerId(u64::from_le_bytes(*worker)), Timestamp::from_millis(until)))
}

#[cfg(test)]
mod tests {
    #[cfg(all(target_family = "wasm", target_os = "unknown"))]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;
    use crate::store::{Incidents, Memory, Secret};

    const TERM: Duration = Duration::from_secs(10);

    fn workers(store: &Memory) -> [Lease; 2] {
        [(), ()].map(|()| Lease::new("reports", WorkerId::next(store).unwrap(), TERM))
    }

    fn hold(lease: &Lease, store: &Memory, second: u64) -> bool {
        lease.hold(Session::new(
            store,
            &Secret::public(),
            &Incidents::default(),
            Timestamp::from_seconds(second),
        ))
    }

    #[test]
    fn one_worker_holds_a_lease_while_it_renews_it() {
        let store = Memory::new();
        let [one, other] = workers(&store);
        assert!(hold(&one, &store, 100));
        assert!(!hold(&other, &store, 109));
        assert!(hold(&one, &store, 109));
        assert!(!hold(&other, &store, 118), "renewed at 109");
        assert!(hold(&other, &store, 119), "not renewed since");
        assert!(!hold(&one, &store, 119));
    }

    #[test]
    fn a_worker_gives_up_only_its_own_lease() {
        let store = Memory::new();
        let [one, other] = workers(&store);
        let now = |second| Timestamp::from_seconds(second);
        let (secret, incidents) = (Secret::public(), Incidents::default());
        assert!(hold(&one, &store, 100));
        other.give_up(Session::new(&store, &secret, &incidents, now(101)));
        assert!(!hold(&other, &store, 101));
        one.give_up(Session::new(&store, &secret, &incidents, now(101)));
        assert!(hold(&other, &store, 101));
    }

    #[test]
    fn a_clock_that_is_set_back_frees_the_lease() {
        let store = Memory::new();
        let [one, other] = workers(&store);
        assert!(hold(&one, &store, 10_000));
        assert!(hold(&other, &store, 100));
        assert!(!hold(&one, &store, 100));
    }

    #[test]
    fn invalid_bytes_count_as_no_lease() {
        let store = Memory::new();
        let [one, other] = workers(&store);
        store.update("sidegate/leases/reports", |_| (Write::Replace(b"junk".to_vec()), ())).unwrap();
        assert!(hold(&one, &store, 1));
        assert!(!hold(&other, &store, 1));
    }
}
