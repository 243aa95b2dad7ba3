//! The metrics, defined once each, under stable names.
//!
//! Labels stand in the name as `label=.=value;.;`, the form that Istio's tag extraction (and the `stats_tags` in `docs/operations.md`) splits off:
//! `sidegate.api=.=orders;.;outcome=.=refused;.;code=.=14;.;decisions` becomes `sidegate.decisions{api="orders",outcome="refused",code="14"}`.

use std::{cell::RefCell, collections::BTreeMap};

use crate::{
    gate::{Facts, Lookup},
    policy::Policy,
    store,
};

use super::host::{Host, MetricId, MetricKind};

/// Everything that is measured. APIs and providers go by their place in the policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Metric {
    /// Requests by API, what became of them, and the refusal's code.
    Decisions(Option<usize>, Outcome, &'static str),
    /// Requests of an API that a limit refused.
    QuotaRefusals(Option<usize>),
    /// Identities that a provider vouches for, by how they were come by.
    IdentityLookups(Lookup),
    /// Cached identities that made room for others.
    IdentityEvictions,
    /// Updates of the store that were lost to another worker and made again.
    StoreConflicts,
    /// Values in the store that could not be read and were treated as absent.
    StoreCorrupt,
    /// Charges that could not be given back.
    RefundsLost,
    /// Calls to a provider by result.
    ProviderCalls(usize, &'static str),
    /// How long calls to a provider took, in milliseconds.
    ProviderCallMilliseconds(usize),
    /// Policies loaded or refused.
    PolicyLoads(bool),
    /// 1 for the revision and digest that are in force, 0 for those that no longer are.
    PolicyInForce,
}

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// It passed.
    Admitted,
    /// It did not.
    Refused,
    /// It would not have passed, but for shadow mode.
    Shadowed,
}

/// The label's value where there is none.
pub const NONE: &str = "none";

/// The metrics of one worker, as far as they were needed.
#[derive(Default)]
pub struct Metrics(RefCell<BTreeMap<Metric, Option<MetricId>>>);

impl Metrics {
    /// Counts a decision, and what it took to come to it.
    pub fn decided(&self, host: &impl Host, facts: &Facts, outcome: Outcome, code: &'static str) {
        let policy = Some(&*facts.policy);
        self.count(host, policy, Metric::Decisions(facts.api, outcome, code), 1);
        if code == "14" {
            self.count(host, policy, Metric::QuotaRefusals(facts.api), 1);
        }
        if let Some(lookup) = facts.lookup {
            self.count(host, policy, Metric::IdentityLookups(lookup), 1);
        }
        let store::Facts { conflicts, corrupt, evicted } = facts.store;
        self.count(host, policy, Metric::StoreConflicts, conflicts.into());
        self.count(host, policy, Metric::StoreCorrupt, corrupt.into());
        self.count(host, policy, Metric::IdentityEvictions, evicted.into());
        self.count(host, policy, Metric::RefundsLost, facts.refunds_lost.into());
    }

    /// Counts a call to a provider and records how long it took.
    pub fn called(&self, host: &impl Host, facts: &Facts, millis: u64) {
        if let Some((provider, result)) = facts.call {
            let policy = Some(&*facts.policy);
            self.count(host, policy, Metric::ProviderCalls(provider, result), 1);
            self.record(host, policy, Metric::ProviderCallMilliseconds(provider), millis);
        }
    }

    /// Counts a policy that was loaded or refused.
    pub fn loaded(&self, host: &impl Host, accepted: bool) {
        self.count(host, None, Metric::PolicyLoads(accepted), 1);
    }

    /// Says whether the policy is in force.
    pub fn in_force(&self, host: &impl Host, policy: &Policy, in_force: bool) {
        self.record(host, Some(policy), Metric::PolicyInForce, in_force.into());
    }

    fn count(&self, host: &impl Host, policy: Option<&Policy>, metric: Metric, by: u64) {
        if by > 0
            && let Some(id) = self.id(host, policy, metric, MetricKind::Counter)
        {
            host.count(id, by);
        }
    }

    fn record(&self, host: &impl Host, policy: Option<&Policy>, metric: Metric, value: u64) {
        let kind = match metric {
            Metric::ProviderCallMilliseconds(_) => MetricKind::Histogram,
            _ => MetricKind::Gauge,
        };
        if let Some(id) = self.id(host, policy, metric, kind) {
            host.record(id, value);
        }
    }

    fn id(
        &self,
        host: &impl Host,
        policy: Option<&Policy>,
        metric: Metric,
        kind: MetricKind,
    ) -> Option<MetricId> {
        *self.0.borrow_mut().entry(metric).or_insert_with(|| host.metric(kind, &metric.name(policy)))
    }
}

impl Metric {
    /// One of each, for the page that lists them.
    pub const fn all() -> [Self; 11] {
        [
            Self::Decisions(None, Outcome::Admitted, NONE),
            Self::QuotaRefusals(None),
            Self::IdentityLookups(Lookup::Hit),
            Self::IdentityEvictions,
            Self::StoreConflicts,
            Self::StoreCorrupt,
            Self::RefundsLost,
            Self::ProviderCalls(0, NONE),
            Self::ProviderCallMilliseconds(0),
            Self::PolicyLoads(true),
            Self::PolicyInForce,
        ]
    }

    /// The name by which the host knows it; `policy` has the names of APIs and providers.
    pub fn name(self, policy: Option<&Policy>) -> String {
        let api = |index: Option<usize>| {
            label(index.and_then(|index| policy?.api(index)).map(|api| api.name.as_str()))
        };
        let provider = |index: usize| {
            label(
                policy
                    .and_then(|policy| policy.providers.get(index))
                    .map(|provider| provider.settings().name.as_str()),
            )
        };
        match self {
            Self::Decisions(index, outcome, code) => {
                let (api, outcome) = (api(index), outcome.as_str());
                format!("sidegate.api=.={api};.;outcome=.={outcome};.;code=.={code};.;decisions")
            }
            Self::QuotaRefusals(index) => format!("sidegate.api=.={};.;quota_refusals", api(index)),
            Self::IdentityLookups(lookup) => {
                format!("sidegate.result=.={};.;identity_lookups", lookup.as_str())
            }
            Self::IdentityEvictions => "sidegate.identity_evictions".to_owned(),
            Self::StoreConflicts => "sidegate.store_conflicts".to_owned(),
            Self::StoreCorrupt => "sidegate.store_corrupt".to_owned(),
            Self::RefundsLost => "sidegate.refunds_lost".to_owned(),
            Self::ProviderCalls(index, result) => {
                format!("sidegate.provider=.={};.;result=.={result};.;provider_calls", provider(index))
            }
            Self::ProviderCallMilliseconds(index) => {
                format!("sidegate.provider=.={};.;provider_call_milliseconds", provider(index))
            }
            Self::PolicyLoads(accepted) => {
                format!("sidegate.result=.={};.;policy_loads", if accepted { "accepted" } else { "rejected" })
            }
            Self::PolicyInForce => {
                let revision = label(policy.and_then(|policy| policy.revision.as_deref()));
                let digest = label(policy.map(|policy| policy.digest.as_str()));
                format!("sidegate.revision=.={revision};.;digest=.={digest};.;policy")
            }
        }
    }
}

impl Outcome {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Admitted => "admitted",
            Self::Refused => "refused",
            Self::Shadowed => "shadowed",
        }
    }
}

/// A label's value without what would end it early.
fn label(value: Option<&str>) -> String {
    let safe = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-') { c } else { '_' };
    value.unwrap_or(NONE).chars().map(safe).collect()
}
