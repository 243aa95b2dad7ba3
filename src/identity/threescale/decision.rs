//! Decisions of the backend, and how they are cached.
//!
//! A decision is cached under the digest of its whole question: service, credentials, usage and referrer. An
//! entry holds what was decided and when, and nothing computed from settings.

use std::num::NonZeroU32;

use super::{Answer, Caching, Question, Rejection, Settings};
use crate::{
    credential::Digest,
    identity::Epoch,
    provider::Freshness,
    report::{Amount, Bound, Settled},
    store::{Change, Session, Store, Table},
    time::Timestamp,
};

/// What the backend decided about a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// The application may.
    Authorized(Authorization),
    /// It may not.
    Rejected(Rejected),
}

/// An application that may do what it asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Authorization {
    /// The application's plan.
    pub plan: Option<String>,
    /// What the request uses.
    pub amounts: Vec<Amount>,
    /// The limits that it touches.
    pub bounds: Vec<Bound>,
    /// When the account of the application was made, at the moment of the question.
    pub born: Timestamp,
}

/// Why an application may not do what it asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rejected {
    /// The reason.
    pub rejection: Rejection,
    /// For a limit: when its period ends.
    pub reset: Option<Timestamp>,
    /// For a limit: what it allows.
    pub max: Option<u64>,
}

/// A decision, and when it was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    at: Timestamp,
    decision: Decision,
}

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
}

/// Room for a rejection, or for the digest of a key.
const SMALL: NonZeroU32 = NonZeroU32::new(96).unwrap();

/// How many applications that pass during an outage are remembered with their keys.
const KEYS: NonZeroU32 = NonZeroU32::new(4096).unwrap();

/// The most levels that usage is passed up. The real backend has no more than a few.
const HIGHEST: usize = 16;

// === impl Decision ===

impl Authorization {
    /// What an answer means for a request. `settled` is what the account had reported when the question was
    /// sent.
    pub fn new(answer: Answer, question: &Question<'_>, settled: &Settled) -> Self {
        let amounts = amounts(question.usage, &answer.parents);
        let bounds = answer.limits.into_iter().filter_map(|limit| {
            amounts.iter().find(|amount| amount.metric == limit.metric && amount.used > 0)?;
            let settled = settled.of(&limit.metric);
            let super::UsageLimit { metric, end, max, current } = limit;
            Some(Bound { metric, max, counted: current, settled, end })
        });
        let bounds = bounds.collect();
        Self { plan: answer.plan, amounts, bounds, born: settled.born }
    }

    /// What a request means that the backend was not asked about.
    pub fn unseen(question: &Question<'_>) -> Self {
        Self { amounts: amounts(question.usage, &[]), ..Self::default() }
    }
}

/// Adds up what a request uses, for its metrics and for those above them.
fn amounts(usage: &[(&str, u64)], parents: &[(String, String)]) -> Vec<Amount> {
    let mut amounts: Vec<Amount> = Vec::with_capacity(usage.len());
    for (metric, amount) in usage {
        let parent = |metric: &&str| {
            parents.iter().find(|(child, _)| child == metric).map(|(_, parent)| parent.as_str())
        };
        let own = std::iter::successors(Some(*metric), parent).take(HIGHEST);
        for (level, metric) in own.enumerate() {
            let own = if level == 0 { *amount } else { 0 };
            match amounts.iter_mut().find(|other| other.metric == metric) {
                Some(other) => {
                    other.own = other.own.saturating_add(own);
                    other.used = other.used.saturating_add(*amount);
                }
                None => amounts.push(Amount { metric: metric.to_owned(), own, used: *amount }),
            }
        }
    }
    amounts
}

// === impl Kept ===

impl Kept {
    /// A decision made at `now`.
    pub const fn new(decision: Decision, now: Timestamp) -> Self {
        Self { at: now, decision }
    }

    /// The decision.
    pub fn into_decision(self) -> Decision {
        self.decision
    }

    /// A look at the decision.
    pub const fn decision(&self) -> &Decision {
        &self.decision
    }

    /// How the decision may be used at `now`. One from the future cannot be used: the clock was set back.
    pub fn freshness(&self, settings: &Settings, now: Timestamp) -> Freshness {
        if now < self.at {
            Freshness::Expired
        } else if now < self.fresh_until(settings) {
            Freshness::Fresh
        } else if now < self.kept_until(settings) {
            Freshness::Stale
        } else {
            Freshness::Expired
        }
    }

    /// A decision is not used beyond the end of a period that it depends on.
    fn fresh_until(&self, settings: &Settings) -> Timestamp {
        let until = self.at.saturating_add(settings.ttl);
        match &self.decision {
            Decision::Authorized(authorization) => {
                authorization.bounds.iter().filter_map(|bound| bound.end).fold(until, Ord::min)
            }
            Decision::Rejected(rejected) => rejected.reset.map_or(until, |reset| until.min(reset)),
        }
    }

    fn kept_until(&self, settings: &Settings) -> Timestamp {
        let repeats = match settings.caching {
            Caching::None => return self.at,
            Caching::Strict => return self.fresh_until(settings),
            Caching::Resilient | Caching::Allow => settings.stale_if_error,
        };
        let until = self.at.saturating_add(settings.ttl).saturating_add(repeats);
        match &self.decision {
            Decision::Authorized(_) => until,
            // Once its period is over, nobody knows.
            Decision::Rejected(rejected) => rejected.reset.map_or(until, |reset| until.min(reset)),
        }
    }

    /// Encodes the decision for the cache.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![VERSION];
        push(&mut bytes, self.at.millis());
        match &self.decision {
            Decision::Rejected(Rejected { rejection, reset, max }) => {
                bytes.extend([REJECTED, rejection.number()]);
                push_optional(&mut bytes, reset.map(Timestamp::millis));
                push_optional(&mut bytes, *max);
            }
            Decision::Authorized(Authorization { plan, amounts, bounds, born }) => {
                bytes.push(AUTHORIZED);
                push_text(&mut bytes, plan.as_deref().unwrap_or_default());
                bytes.push(u8::from(plan.is_some()));
                push(&mut bytes, born.millis());
                push(&mut bytes, u64::try_from(amounts.len()).unwrap_or(u64::MAX));
                for Amount { metric, own, used } in amounts {
                    push_text(&mut bytes, metric);
                    push(&mut bytes, *own);
                    push(&mut bytes, *used);
                }
                for Bound { metric, max, counted, settled, end } in bounds {
                    push_text(&mut bytes, metric);
                    push(&mut bytes, *max);
                    push(&mut bytes, *counted);
                    push(&mut bytes, *settled);
                    push_optional(&mut bytes, end.map(Timestamp::millis));
                }
            }
        }
        bytes
    }

    /// Decodes what [`Self::encode`] wrote; `None` if the bytes are invalid.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut bytes = Bytes(bytes);
        if bytes.byte()? != VERSION {
            return None;
        }
        let at = Timestamp::from_millis(bytes.number()?);
        let decision = match bytes.byte()? {
            REJECTED => Decision::Rejected(Rejected {
                rejection: Rejection::numbered(bytes.byte()?)?,
                reset: bytes.optional()?.map(Timestamp::from_millis),
                max: bytes.optional()?,
            }),
            AUTHORIZED => {
                let plan = bytes.text()?;
                let plan = (bytes.byte()? != 0).then_some(plan);
                let born = Timestamp::from_millis(bytes.number()?);
                let mut amounts = Vec::new();
                for _ in 0..bytes.number()? {
                    amounts.push(Amount {
                        metric: bytes.text()?,
                        own: bytes.number()?,
                        used: bytes.number()?,
                    });
                }
                let mut bounds = Vec::new();
                while !bytes.0.is_empty() {
                    bounds.push(Bound {
                        metric: bytes.text()?,
                        max: bytes.number()?,
                        counted: bytes.number()?,
                        settled: bytes.number()?,
                        end: bytes.optional()?.map(Timestamp::from_millis),
                    });
                }
                Decision::Authorized(Authorization { plan, amounts, bounds, born })
            }
            _ => return None,
        };
        bytes.0.is_empty().then_some(Self { at, decision })
    }
}

const VERSION: u8 = 1;
const REJECTED: u8 = 0;
const AUTHORIZED: u8 = 1;

fn push(bytes: &mut Vec<u8>, number: u64) {
    bytes.extend(number.to_le_bytes());
}

fn push_optional(bytes: &mut Vec<u8>, number: Option<u64>) {
    bytes.push(u8::from(number.is_some()));
    push(bytes, number.unwrap_or_default());
}

fn push_text(bytes: &mut Vec<u8>, text: &str) {
    push(bytes, u64::try_from(text.len()).unwrap_or(u64::MAX));
    bytes.extend(text.as_bytes());
}

/// The bytes that remain to be decoded.
struct Bytes<'a>(&'a [u8]);

impl Bytes<'_> {
    fn byte(&mut self) -> Option<u8> {
        let (byte, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*byte)
    }

    fn number(&mut self) -> Option<u64> {
        let (number, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u64::from_le_bytes(*number))
    }

    #[expect(clippy::option_option, reason = "invalid bytes are not an absent value")]
    fn optional(&mut self) -> Option<Option<u64>> {
        let is_there = self.byte()? != 0;
        self.number().map(|number| is_there.then_some(number))
    }

    fn text(&mut self) -> Option<String> {
        let length = usize::try_from(self.number()?).ok()?;
        let (text, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        str::from_utf8(text).ok().map(str::to_owned)
    }
}

// === impl Decisions ===

impl Decisions {
    /// A cache with room for `capacity` decisions of `bytes` each.
    pub fn new(capacity: NonZeroU32, bytes: NonZeroU32) -> Self {
        Self {
            authorized: Table::cache("authorized", capacity).with_entries_of(bytes),
            rejected: Table::cache("rejected", capacity).with_entries_of(SMALL).uncounted(),
            keys: Table::cache("applications", KEYS).with_entries_of(SMALL).uncounted(),
            epoch: None,
        }
    }

    /// The same cache, of what was cached in this epoch.
    pub fn of_epoch(self, epoch: Epoch) -> Self {
        Self { epoch: epoch.digest(), ..self }
    }

    fn entry(&self, key: &Digest) -> Digest {
        self.epoch.map_or(*key, |epoch| epoch.joined(key))
    }

    /// The decision about the question with this digest.
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
        let (table, other) = match kept.decision {
            Decision::Authorized(_) => (&self.authorized, &self.rejected),
            Decision::Rejected(_) => (&self.rejected, &self.authorized),
        };
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    #[cfg(all(target_family = "wasm", target_os = "unknown"))]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::{
        super::{Applicant, UsageLimit, provider::tests::settings},
        *,
    };

    const NOW: Timestamp = Timestamp::from_seconds(1_000);

    fn at(second: u64) -> Timestamp {
        Timestamp::from_seconds(second)
    }

    fn authorization(ends: &[Option<u64>]) -> Decision {
        let limit = |end: &Option<u64>| UsageLimit {
            metric: "hits".to_owned(),
            end: end.map(at),
            max: 9,
            current: 2,
        };
        let answer = Answer {
            plan: Some("gold".to_owned()),
            limits: ends.iter().map(limit).collect(),
            parents: vec![("reads".to_owned(), "hits".to_owned())],
        };
        let usage = [("reads", 2), ("hits", 1)];
        let question = Question { applicant: Applicant::UserKey("k"), usage: &usage, referrer: None };
        Decision::Authorized(Authorization::new(answer, &question, &Settled::default()))
    }

    fn rejected(code: &str, reset: Option<u64>) -> Decision {
        let rejection = Rejection::find(409, code).unwrap();
        Decision::Rejected(Rejected { rejection, reset: reset.map(at), max: Some(3) })
    }

    #[test]
    fn usage_counts_for_the_metrics_above_and_is_reported_once() {
        let Decision::Authorized(authorization) = authorization(&[None]) else { panic!("rejected") };
        let amount = |metric: &str, own, used| Amount { metric: metric.to_owned(), own, used };
        assert_eq!(authorization.amounts, [amount("reads", 2, 2), amount("hits", 1, 3)]);
        assert_eq!((authorization.bounds.len(), authorization.plan.as_deref()), (1, Some("gold")));
        let around: Vec<_> = [("a", "b"), ("b", "a")].map(|(a, b)| (a.to_owned(), b.to_owned())).into();
        assert_eq!(amounts(&[("a", 1)], &around).len(), 2, "a circle ends");
    }

    #[test]
    fn limits_of_other_metrics_are_left_out() {
        let limit = |metric: &str| UsageLimit { metric: metric.to_owned(), end: None, max: 1, current: 0 };
        let answer = Answer { limits: ["hits", "writes"].map(limit).into(), ..Answer::default() };
        let question = Question { applicant: Applicant::UserKey("k"), usage: &[("hits", 1)], referrer: None };
        let authorization = Authorization::new(answer, &question, &Settled::default());
        assert_eq!(authorization.bounds.iter().map(|bound| &*bound.metric).collect::<Vec<_>>(), ["hits"]);
    }

    #[test]
    fn decisions_survive_the_cache_and_their_pieces_do_not() {
        for decision in [
            authorization(&[None, Some(60)]),
            authorization(&[]),
            Decision::Authorized(Authorization::default()),
            rejected("limits_exceeded", Some(60)),
            rejected("application_key_invalid", None),
        ] {
            let kept = Kept::new(decision, NOW);
            let bytes = kept.encode();
            assert_eq!(Kept::decode(&bytes), Some(kept));
            let text_of_limits = bytes.len().saturating_sub(1);
            assert_eq!(Kept::decode(&bytes[..text_of_limits]), None);
            assert_eq!(Kept::decode(&[bytes.as_slice(), &[0]].concat()), None);
        }
        assert_eq!(Kept::decode(&[]), None);
        assert_eq!(Kept::decode(&[9; 40]), None);
    }

    #[test]
    fn no_decision_outlives_the_periods_it_depends_on() {
        let fresh = |decision: &Decision, second| {
            Kept::new(decision.clone(), NOW).freshness(&settings(), at(second)) == Freshness::Fresh
        };
        for (decision, last) in [
            (authorization(&[]), 1_009),
            (authorization(&[None, Some(5_000)]), 1_009),
            (authorization(&[Some(1_004), Some(5_000)]), 1_003),
            (rejected("application_key_invalid", None), 1_009),
            (rejected("limits_exceeded", Some(1_003)), 1_002),
            (rejected("limits_exceeded", Some(5_000)), 1_009),
        ] {
            assert!(fresh(&decision, 1_000) && fresh(&decision, last) && !fresh(&decision, last + 1));
            assert!(!fresh(&decision, 999), "the clock was set back");
        }
    }

    #[test]
    fn only_some_modes_repeat_a_decision() {
        let stale = |caching, decision: &Decision, second| {
            let settings = Settings { caching, stale_if_error: Duration::from_secs(60), ..settings() };
            Kept::new(decision.clone(), NOW).freshness(&settings, at(second)) == Freshness::Stale
        };
        for decision in [authorization(&[Some(1_004)]), rejected("application_key_invalid", None)] {
            for caching in [Caching::Resilient, Caching::Allow] {
                assert!(stale(caching, &decision, 1_069) && !stale(caching, &decision, 1_070));
            }
            for caching in [Caching::Strict, Caching::None] {
                assert!(!stale(caching, &decision, 1_010));
            }
        }
        let limit = rejected("limits_exceeded", Some(1_020));
        assert!(stale(Caching::Resilient, &limit, 1_019) && !stale(Caching::Resilient, &limit, 1_020));
    }
}
