//! A decision as it is cached: how long it may be used, and its bytes.
//!
//! An entry holds what was decided and when, and nothing computed from settings.

use std::rc::Rc;

use super::{Authorization, Caching, Decision, Rejected, Rejection, Settings};
use crate::{
    identity::recent::MOST_BYTES,
    provider::Freshness,
    report::{Amount, Bound},
    time::Timestamp,
};

/// A decision, and when it was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    at: Timestamp,
    decision: Decision,
}

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

    pub(super) fn kept_until(&self, settings: &Settings) -> Timestamp {
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

    /// The decision, if a worker may remember it: rejections are of strangers.
    pub(super) fn to_remember(&self) -> Option<Self> {
        let is_small = || self.encode().len() <= MOST_BYTES;
        (matches!(self.decision, Decision::Authorized(_)) && is_small()).then(|| self.clone())
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
            Decision::Authorized(authorization) => {
                let Authorization { plan, amounts, bounds, born } = &**authorization;
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
                Decision::Authorized(Rc::new(Authorization { plan, amounts, bounds, born }))
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

#[cfg(test)]
mod tests {
    #[cfg(all(target_family = "wasm", target_os = "unknown"))]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use std::time::Duration;

    use super::{
        super::{
            decision::tests::{at, authorization, rejected},
            provider::tests::settings,
        },
        *,
    };

    const NOW: Timestamp = Timestamp::from_seconds(1_000);

    #[test]
    fn decisions_survive_the_cache_and_their_pieces_do_not() {
        for decision in [
            authorization(&[None, Some(60)]),
            authorization(&[]),
            Decision::Authorized(Rc::default()),
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
    fn a_worker_remembers_authorizations_only() {
        let remembers = |decision| Kept::new(decision, NOW).to_remember().is_some();
        let large = Authorization { plan: Some("x".repeat(MOST_BYTES)), ..Authorization::default() };
        assert!(remembers(authorization(&[None, Some(60)])));
        assert!(!remembers(Decision::Authorized(Rc::new(large))));
        assert!(!remembers(rejected("application_key_invalid", None)));
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
