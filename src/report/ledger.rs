//! The ledger: accounts in a fixed number of shards of the store, `sidegate/reports/<shard>`.
//!
//! Only accounts that a service accepted, or that the operator allows during an outage, get into the ledger.
//! The sums of an account only grow: reporting marks them, and removes nothing. So a report that fails leaves
//! nothing to put back, and requests that are counted meanwhile are not in the way.

use std::time::Duration;

use super::account::{
    Account, Amount, Bound, InPlace, Metric, Record, Sums, Tag, VERSION, find, records, service,
};
use crate::{
    digest::Digest,
    store::{Session, Store, Write},
    time::Timestamp,
};

/// The number of shards.
const SHARDS: u64 = 1024;

/// The most accounts in a shard.
const MOST_IN_A_SHARD: usize = 64;

/// How long an account is remembered after it was used and reported. Decisions about it are used for less.
const REMEMBERED: Duration = Duration::from_secs(7_200);

/// How long usage is kept for a service that no policy reports to any more.
const ABANDONED: Duration = Duration::from_secs(86_400);

/// Usage that is still to be reported, shared by all workers.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ledger;

/// What an account had reported at some moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settled {
    /// When the account was made; zero if there was none.
    pub born: Timestamp,
    sums: Vec<(String, u64)>,
}

/// Why a request cannot be added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotAdded {
    /// A limit has no room for it.
    Exceeded(Exceeded),
    /// Other workers were always faster.
    Contended,
    /// There are too many accounts.
    Full,
}

/// The limit that has no room for a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exceeded {
    /// What it allows.
    pub max: u64,
    /// When its period ends.
    pub end: Option<Timestamp>,
}

/// What one account has to report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outstanding {
    /// What kind of name the account has.
    pub kind: u8,
    /// Its name.
    pub name: String,
    /// Whether it may share a report.
    pub shares: bool,
    /// What is to be reported of each metric.
    pub amounts: Vec<(String, u64)>,
    shard: u64,
    tag: Tag,
    /// The sums that are reported once this is.
    sums: Vec<Metric>,
}

impl Settled {
    /// What was used and reported of a metric.
    pub fn of(&self, metric: &str) -> u64 {
        self.sums.iter().find(|(name, _)| name == metric).map_or(0, |(_, settled)| *settled)
    }
}

impl Ledger {
    /// Adds what a request uses to an account, unless one of the limits has no room for it. `born` is that of
    /// what the account had [settled](Self::settled) when the limits were read.
    ///
    /// # Errors
    ///
    /// Nothing was added.
    pub fn add(
        &self,
        store: Session<'_, impl Store>,
        account: &Account<'_>,
        amounts: &[Amount],
        bounds: &[Bound],
        born: Timestamp,
    ) -> Result<(), NotAdded> {
        let (shard, tag) = place(&account.digest);
        let now = store.now();
        let mut rounds = 0_u32;
        let added = store.store().edit(&key(shard), |bytes| {
            rounds = rounds.saturating_add(1);
            let mut empty = [];
            let bytes = bytes.unwrap_or(&mut empty);
            let found = find(bytes, &tag);
            let mut record = InPlace(found.clone().and_then(|at| bytes.get_mut(at)).unwrap_or(&mut []));
            if let Some(exceeded) = exceeded(&record, amounts, bounds, born, now) {
                return (Write::Keep, Err(NotAdded::Exceeded(exceeded)));
            }
            let is_complete = amounts.iter().all(|amount| record.find(&amount.metric).is_some());
            if found.is_some() && is_complete {
                for amount in amounts {
                    if let Some((sums, at)) = record.find(&amount.metric) {
                        record.set(at, added(sums, amount));
                    }
                }
                record.use_at(now);
                return (Write::Edited, Ok(()));
            }
            match with(bytes, account, tag, amounts, now) {
                Some(new) => (Write::Replace(new), Ok(())),
                None => (Write::Keep, Err(NotAdded::Full)),
            }
        });
        store.incidents().conflicts(rounds.saturating_sub(1));
        added.unwrap_or(Err(NotAdded::Contended))
    }

    /// What an account has reported by now.
    pub fn settled(&self, store: Session<'_, impl Store>, account: &Account<'_>) -> Settled {
        let (shard, tag) = place(&account.digest);
        let record = store.store().read(&key(shard), |bytes| {
            bytes.and_then(|bytes| Record::decode(bytes.get(find(bytes, &tag)?)?))
        });
        record.map_or_else(Settled::default, |record| Settled {
            born: record.born,
            sums: record.metrics.into_iter().map(|metric| (metric.name, metric.sums.settled)).collect(),
        })
    }

    /// Everything that accounts of a service have to report. Forgets accounts that nobody uses any more.
    pub fn outstanding(&self, store: Session<'_, impl Store>, of: &Digest) -> Vec<Outstanding> {
        let mut outstanding = Vec::new();
        for shard in 0..SHARDS {
            let key = key(shard);
            let found = store.store().read(&key, |bytes| bytes.map(decode));
            let Some(found) = found else { continue };
            let Some(found) = found else {
                store.incidents().corrupt();
                // Nothing in these bytes can be used.
                let _emptied = store.store().update(&key, |bytes| match bytes.map(decode) {
                    Some(None) => (Write::Replace(vec![VERSION]), ()),
                    _ => (Write::Keep, ()),
                });
                continue;
            };
            if found.iter().any(|record| is_forgotten(record, store.now())) {
                forget(store, &key);
            }
            let own =
                found.into_iter().filter(|record| record.service == service(of) && !record.is_settled());
            outstanding.extend(own.map(|record| Outstanding::new(record, shard)));
        }
        outstanding
    }

    /// Marks so much of what was outstanding as reported. What was reported twice counts twice, so that later
    /// reports make up for it.
    pub fn settle(&self, store: Session<'_, impl Store>, of: &Outstanding, reported: &[(String, u64)]) {
        let settled = store.store().edit(&key(of.shard), |bytes| {
            let Some(bytes) = bytes else { return (Write::Keep, ()) };
            let Some(record) = find(bytes, &of.tag).and_then(|at| bytes.get_mut(at)) else {
                return (Write::Keep, ());
            };
            let mut record = InPlace(record);
            for (metric, more) in reported {
                if let Some((mut sums, at)) = record.find(metric) {
                    sums.reported = sums.reported.saturating_add(*more).min(sums.own);
                    record.set(at, sums);
                }
            }
            let is_whole = of.sums.iter().all(|Metric { name, sums: then }| {
                record.find(name).is_none_or(|(sums, _)| sums.reported >= then.own)
            });
            for Metric { name, sums: then } in of.sums.iter().filter(|_| is_whole) {
                if let Some((mut sums, at)) = record.find(name) {
                    sums.settled = sums.settled.max(then.used);
                    record.set(at, sums);
                }
            }
            (Write::Edited, ())
        });
        if settled.is_err() {
            // It will be reported again.
            store.incidents().refund_lost();
        }
    }
}

impl Outstanding {
    fn new(record: Record, shard: u64) -> Self {
        let Record { tag, shares, kind, name, metrics, .. } = record;
        let amounts = metrics.iter().map(|metric| (metric.name.clone(), metric.sums.outstanding()));
        let amounts = amounts.filter(|(_, amount)| *amount > 0).collect();
        Self { kind, name, shares, amounts, shard, tag, sums: metrics }
    }

    /// What is outstanding of all metrics together.
    pub fn total(&self) -> u64 {
        self.amounts.iter().map(|(_, amount)| *amount).fold(0, u64::saturating_add)
    }
}

/// The first limit that has no room.
fn exceeded(
    record: &InPlace<'_>,
    amounts: &[Amount],
    bounds: &[Bound],
    born: Timestamp,
    now: Timestamp,
) -> Option<Exceeded> {
    let has = |bound: &&Bound| {
        let more =
            amounts.iter().find(|amount| amount.metric == bound.metric).map_or(0, |amount| amount.used);
        let used = record.find(&bound.metric).map_or(0, |(sums, _)| sums.used);
        // An account that was forgotten meanwhile begins at zero.
        let settled = if record.born() == Some(born) { bound.settled } else { 0 };
        let since = used.saturating_sub(settled);
        let used = bound.counted.saturating_add(since);
        let is_over = bound.end.is_some_and(|end| end <= now);
        more > 0 && !is_over && used.saturating_add(more) > bound.max
    };
    bounds.iter().find(has).map(|bound| Exceeded { max: bound.max, end: bound.end })
}

const fn added(sums: Sums, amount: &Amount) -> Sums {
    Sums {
        used: sums.used.saturating_add(amount.used),
        own: sums.own.saturating_add(amount.own),
        settled: sums.settled,
        reported: sums.reported,
    }
}

/// The shard with a new account, or with new metrics of an account; `None` if it is full.
fn with(
    bytes: &[u8],
    account: &Account<'_>,
    tag: Tag,
    amounts: &[Amount],
    now: Timestamp,
) -> Option<Vec<u8>> {
    let mut all = decode(bytes).unwrap_or_default();
    let place = match all.iter().position(|record| record.tag == tag) {
        Some(place) => place,
        None => {
            all.retain(|record| !is_forgotten(record, now));
            if all.len() >= MOST_IN_A_SHARD {
                return None;
            }
            all.push(Record {
                tag,
                service: service(&account.service),
                shares: account.acceptance == super::Acceptance::Accepted,
                born: now,
                used_at: now,
                kind: account.kind,
                name: account.name.clone().into_owned(),
                metrics: Vec::new(),
            });
            all.len().saturating_sub(1)
        }
    };
    let record = all.get_mut(place)?;
    record.used_at = now;
    for amount in amounts {
        match record.metrics.iter_mut().find(|metric| metric.name == amount.metric) {
            Some(metric) => metric.sums = added(metric.sums, amount),
            None => record
                .metrics
                .push(Metric { name: amount.metric.clone(), sums: added(Sums::default(), amount) }),
        }
    }
    Some(encode(&all))
}

/// Whether nothing is lost by forgetting an account, or its service was given up long ago.
fn is_forgotten(record: &Record, now: Timestamp) -> bool {
    let unused = now.since(record.used_at);
    unused > ABANDONED || (unused > REMEMBERED && record.is_settled())
}

fn forget(store: Session<'_, impl Store>, key: &str) {
    let _forgotten = store.store().update(key, |bytes| {
        let Some(mut all) = bytes.and_then(decode) else { return (Write::Keep, ()) };
        all.retain(|record| !is_forgotten(record, store.now()));
        (Write::Replace(encode(&all)), ())
    });
}

fn decode(bytes: &[u8]) -> Option<Vec<Record>> {
    records(bytes)?.into_iter().map(|at| Record::decode(bytes.get(at)?)).collect()
}

fn encode(all: &[Record]) -> Vec<u8> {
    let mut bytes = vec![VERSION];
    all.iter().for_each(|record| record.encode(&mut bytes));
    bytes
}

/// The shard of an account, and its tag there.
fn place(digest: &Digest) -> (u64, Tag) {
    let (_, tag) = digest.bytes().split_last_chunk().unwrap_or((&[], &[0; 16]));
    (digest.number() % SHARDS, *tag)
}

fn key(shard: u64) -> String {
    format!("sidegate/reports/{shard}")
}

#[cfg(test)]
mod tests;
