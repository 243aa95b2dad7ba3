//! The metrics, defined once each, under stable names.
//!
//! Labels stand in the name as `label=.=value;.`, the form that Istio's tag extraction (and the `stats_tags` in `envoy/`) splits off:
//! `sidegate.api=.=orders;.outcome=.=refused;.code=.=14;.decisions` becomes `sidegate.decisions{api="orders",outcome="refused",code="14"}`.

use std::{cell::RefCell, collections::HashMap};

use crate::{gate::Facts, store};

use super::host::{Host, MetricId, MetricKind};

/// The metrics of one worker.
#[derive(Default)]
pub struct Metrics {
    /// By API (none comes last), then by outcome and code.
    decisions: RefCell<HashMap<Decision, Option<MetricId>>>,
    others: RefCell<HashMap<String, Option<MetricId>>>,
}

/// An API, what became of a request for it, and the code.
type Decision = (Option<usize>, Outcome, &'static str);

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// It passed.
    Admitted,
    /// It did not.
    Refused,
    /// It would not have passed, but for shadow mode.
    Shadowed,
}

impl Outcome {
    /// The word for it in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Admitted => "admitted",
            Self::Refused => "refused",
            Self::Shadowed => "shadowed",
        }
    }
}

/// The code that stands for "none" in metrics.
pub const NO_CODE: &str = "none";

impl Metrics {
    /// Counts a decision, and what it took to come to it.
    pub fn decided(&self, host: &impl Host, facts: &Facts, outcome: Outcome, code: &'static str) {
        let metric = *self.decisions.borrow_mut().entry((facts.api, outcome, code)).or_insert_with(|| {
            let (api, outcome) = (label(facts.api()), outcome.as_str());
            let name = format!("sidegate.api=.={api};.outcome=.={outcome};.code=.={code};.decisions");
            host.metric(MetricKind::Counter, &name)
        });
        if let Some(metric) = metric {
            host.count(metric, 1);
        }
        if code == "14" {
            self.count(host, 1, || format!("sidegate.api=.={};.quota_refusals", label(facts.api())));
        }
        if let Some(lookup) = facts.lookup {
            self.count(host, 1, || format!("sidegate.result=.={};.identity_lookups", lookup.as_str()));
        }
        self.stored(host, facts.store);
    }

    /// Counts what happened in the store.
    pub fn stored(&self, host: &impl Host, met: store::Facts) {
        let store::Facts { conflicts, corrupt, evicted } = met;
        for (count, name) in [
            (conflicts, "sidegate.store_conflicts"),
            (corrupt, "sidegate.store_corrupt"),
            (evicted, "sidegate.identity_evictions"),
        ] {
            self.count(host, u64::from(count), || name.to_owned());
        }
    }

    /// Counts a call to a provider and records how many milliseconds it took.
    pub fn called(&self, host: &impl Host, provider: Option<&str>, result: &str, millis: u64) {
        let provider = label(provider);
        self.count(host, 1, || format!("sidegate.provider=.={provider};.result=.={result};.provider_calls"));
        let name = format!("sidegate.provider=.={provider};.provider_call_milliseconds");
        if let Some(metric) = self.define(host, MetricKind::Histogram, name) {
            host.record(metric, millis);
        }
    }

    /// Counts a policy that was loaded or not.
    pub fn loaded(&self, host: &impl Host, accepted: bool) {
        let result = if accepted { "accepted" } else { "rejected" };
        self.count(host, 1, || format!("sidegate.result=.={result};.policy_loads"));
    }

    /// Says whether the policy of this revision and digest is in force.
    pub fn in_force(&self, host: &impl Host, revision: Option<&str>, digest: &str, in_force: bool) {
        let name = format!("sidegate.revision=.={};.digest=.={digest};.policy", label(revision));
        if let Some(metric) = self.define(host, MetricKind::Gauge, name) {
            host.record(metric, u64::from(in_force));
        }
    }

    fn count(&self, host: &impl Host, by: u64, name: impl FnOnce() -> String) {
        if by > 0
            && let Some(metric) = self.define(host, MetricKind::Counter, name())
        {
            host.count(metric, by);
        }
    }

    fn define(&self, host: &impl Host, kind: MetricKind, name: String) -> Option<MetricId> {
        *self.others.borrow_mut().entry(name).or_insert_with_key(|name| host.metric(kind, name))
    }
}

/// A label's value without what would end it early; `none` where there is none.
fn label(value: Option<&str>) -> String {
    let safe = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-') { c } else { '_' };
    value.map_or_else(|| NO_CODE.to_owned(), |value| value.chars().map(safe).collect())
}
