//! The cache of decisions.
//!
//! A decision is cached under the digest of its whole question: service, credentials, usage and referrer.

use std::num::NonZeroU32;

use super::{Caching, Decision, Kept, Settings};
use crate::{
    credential::Digest,
    identity::{Epoch, recent::Recent},
    provider::Freshness,
    store::{Change, Session, Store, Table},
    time::Timestamp,
};

/// Cached decisions, shared by all workers.
///
/// Anybody can cause rejections. They are in a table of their own, so that they only push each other out.
#[derive(Clone, Debug)]
pub struct Decisions {
    authorized: Table,
    rejected: Table,
    keys: Table,
    /// What all keys are joined with, except in the first epoch.
    epoch: Option<Digest>,
    recent: Recent<Kept>,
}

/// Room for a rejection, or for the digest of a key.
const SMALL: NonZeroU32 = NonZeroU32::new(96).unwrap();

/// How many applications that pass during an outage are remembered with their keys.
const KEYS: NonZeroU32 = NonZeroU32::new(4096).unwrap();

impl Decisions {
    /// A cache with room for `capacity` decisions of `bytes` each.
    pub fn new(capacity: NonZeroU32, bytes: NonZeroU32) -> Self {
        Self {
            authorized: Table::cache("authorized", capacity).with_entries_of(bytes),
            rejected: Table::cache("rejected", capacity).with_entries_of(SMALL).uncounted(),
            keys: Table::cache("applications", KEYS).with_entries_of(SMALL).uncounted(),
            epoch: None,
            recent: Recent::default(),
        }
    }

    /// The same cache, of what was cached in this epoch.
    pub fn of_epoch(self, epoch: Epoch) -> Self {
        Self { epoch: epoch.digest(), ..self }
    }

    fn entry(&self, key: &Digest) -> Digest {
        self.epoch.map_or(*key, |epoch| epoch.joined(key))
    }

    /// The decision about the question with this digest. The store is not read for an application that this
    /// worker has found authorized not long ago. So another worker may know already that it is no longer; but
    /// nobody uses a decision for longer than its `ttl`.
    pub fn look(
        &self,
        store: Session<'_, impl Store>,
        question: &Digest,
        settings: &Settings,
    ) -> Option<Kept> {
        let is_fresh = |kept: &Kept| kept.freshness(settings, store.now()) == Freshness::Fresh;
        if let Some(kept) = self.recent.find(question, is_fresh) {
            return Some(kept);
        }
        let kept = self.find(store, question)?;
        self.recent.note(question, Some(&kept).filter(|kept| is_fresh(kept)).and_then(Kept::to_remember));
        Some(kept)
    }

    /// The decision that all workers share.
    pub fn find(&self, store: Session<'_, impl Store>, question: &Digest) -> Option<Kept> {
        let question = self.entry(question);
        let find = |table: &Table| {
            table.read(store, &question, |bytes| {
                let kept = Kept::decode(bytes?);
                if kept.is_none() {
                    store.incidents().corrupt();
                }
                kept
            })
        };
        find(&self.authorized).or_else(|| find(&self.rejected))
    }

    /// Caches a decision for all workers, in place of an earlier one.
    pub fn keep(&self, store: Session<'_, impl Store>, question: &Digest, kept: &Kept, settings: &Settings) {
        if settings.caching == Caching::None {
            return;
        }
        let (table, other) = match kept.decision() {
            Decision::Authorized(_) => (&self.authorized, &self.rejected),
            Decision::Rejected(_) => (&self.rejected, &self.authorized),
        };
        self.recent.note(question, kept.to_remember());
        let question = self.entry(question);
        write(other, store, &question, Timestamp::default(), Vec::new());
        write(table, store, &question, kept.kept_until(settings), kept.encode());
    }

    /// Remembers the key with which an application was accepted, or that it needed none.
    pub fn remember_key(&self, store: Session<'_, impl Store>, application: &Digest, key: &Digest) {
        write(&self.keys, store, &self.entry(application), Timestamp::MAX, key.bytes().to_vec());
    }

    /// Whether an application was accepted with this key the last time.
    pub fn knows_key(&self, store: Session<'_, impl Store>, application: &Digest, key: &Digest) -> bool {
        self.keys.read(store, &self.entry(application), |known| {
            let known = known.and_then(|known| known.try_into().ok()).map(Digest::from_bytes);
            known.is_some_and(|known| known == *key)
        })
    }
}

/// Puts an entry into the table. One that has expired only replaces an earlier one.
fn write(table: &Table, store: Session<'_, impl Store>, key: &Digest, expires: Timestamp, payload: Vec<u8>) {
    let _written = table.update(store, key, |earlier| {
        let change = match (expires > store.now(), earlier) {
            (true, Some(earlier)) if *earlier == *payload => Change::Edit { expires },
            (true, _) => Change::Put { expires, payload: payload.clone() },
            (false, Some(_)) => Change::Put { expires: Timestamp::default(), payload: Vec::new() },
            (false, None) => Change::Keep,
        };
        (change, ())
    });
}
