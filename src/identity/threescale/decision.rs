//! Decisions of the backend, and what an authorization means for a request.

use std::rc::Rc;

use super::{Answer, Rejection};
use crate::{
    report::{Amount, Bound, Settled},
    time::Timestamp,
};

/// What the backend decided about a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// The application may.
    Authorized(Rc<Authorization>),
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

/// The most levels that usage is passed up. The real backend has no more than a few.
const HIGHEST: usize = 16;

impl Authorization {
    /// What an answer means for a request that uses this much. `settled` is what the account had reported
    /// when the question was sent.
    pub fn new(answer: Answer, usage: &[(&str, u64)], settled: &Settled) -> Self {
        let amounts = amounts(usage, &answer.parents);
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
    pub fn unseen(usage: &[(&str, u64)]) -> Self {
        Self { amounts: amounts(usage, &[]), ..Self::default() }
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

#[cfg(test)]
pub(super) mod tests {
    #[cfg(all(target_family = "wasm", target_os = "unknown"))]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::{super::UsageLimit, *};

    pub fn at(second: u64) -> Timestamp {
        Timestamp::from_seconds(second)
    }

    pub fn authorization(ends: &[Option<u64>]) -> Decision {
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
        Decision::Authorized(Rc::new(Authorization::new(answer, &usage, &Settled::default())))
    }

    pub fn rejected(code: &str, reset: Option<u64>) -> Decision {
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
        let authorization = Authorization::new(answer, &[("hits", 1)], &Settled::default());
        assert_eq!(authorization.bounds.iter().map(|bound| &*bound.metric).collect::<Vec<_>>(), ["hits"]);
    }
}
