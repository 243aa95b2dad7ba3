//! Incidents in the store, counted for the operator.

use std::cell::Cell;

use super::{Secret, Store};
use crate::{digest::Digest, time::Timestamp};

/// Counts incidents. Its owner takes the counts from time to time.
#[derive(Debug, Default)]
pub struct Incidents(Cell<Tally>);

/// How often each incident happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Updates that lost to another worker, which wrote the slot first.
    pub conflicts: u32,
    /// Values or entries that were invalid and treated as absent.
    pub corrupt: u32,
    /// Live entries that were evicted to make room for other subjects.
    pub evicted: u32,
    /// Entries of caches that were too large to be kept.
    pub oversized: u32,
    /// Charges that could not be given back.
    pub refunds_lost: u32,
}

/// A store at one moment, with its secret and the counters for its incidents.
pub struct Session<'a, S> {
    store: &'a S,
    secret: &'a Secret,
    incidents: &'a Incidents,
    now: Timestamp,
}

// === impl Incidents ===

impl Incidents {
    /// Returns the counts since the last call, and starts again from zero.
    pub fn take(&self) -> Tally {
        self.0.take()
    }

    /// Counts updates that lost to other workers.
    pub fn conflicts(&self, rounds: u32) {
        self.add(|tally| tally.conflicts = tally.conflicts.saturating_add(rounds));
    }

    /// Counts bytes that were invalid.
    pub fn corrupt(&self) {
        self.add(|tally| tally.corrupt = tally.corrupt.saturating_add(1));
    }

    /// Counts live entries that were evicted.
    pub fn evicted(&self, entries: u32) {
        self.add(|tally| tally.evicted = tally.evicted.saturating_add(entries));
    }

    /// Counts an entry that was too large to be kept.
    pub fn oversized(&self) {
        self.add(|tally| tally.oversized = tally.oversized.saturating_add(1));
    }

    /// Counts a charge that could not be given back.
    pub fn refund_lost(&self) {
        self.add(|tally| tally.refunds_lost = tally.refunds_lost.saturating_add(1));
    }

    fn add(&self, change: impl FnOnce(&mut Tally)) {
        let mut tally = self.0.get();
        change(&mut tally);
        self.0.set(tally);
    }
}

// === impl Session ===

impl<'a, S: Store> Session<'a, S> {
    /// A session with `store` at `now`.
    pub const fn new(store: &'a S, secret: &'a Secret, incidents: &'a Incidents, now: Timestamp) -> Self {
        Self { store, secret, incidents, now }
    }

    /// The store.
    pub const fn store(&self) -> &'a S {
        self.store
    }

    /// The hash that chooses the slot of `subject`; `None` if the store cannot be used.
    pub(super) fn hash(&self, subject: &Digest) -> Option<u64> {
        self.secret.hash(self.store, self.incidents, subject)
    }

    /// The counters for incidents.
    pub const fn incidents(&self) -> &'a Incidents {
        self.incidents
    }

    /// The moment.
    pub const fn now(&self) -> Timestamp {
        self.now
    }
}

impl<S> Clone for Session<'_, S> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<S> Copy for Session<'_, S> {}
