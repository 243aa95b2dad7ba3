//! Telemetry: the measures of a worker, each defined once under a stable name. Those about requests are
//! rendered from the trail.
//!
//! Labels are part of the name, in the form `label=.=value;.;`. Istio's tag extraction, and the `stats_tags`
//! in `docs/operations.md`, split them off:
//!
//! `sidegate.api=.=orders;.;outcome=.=refused;.;code=.=14;.;decisions` becomes
//! `sidegate.decisions{api="orders",outcome="refused",code="14"}`.

use std::{cell::RefCell, collections::BTreeMap};

use super::host::{MeasureId, MeasureKind, TelemetryHost};
use crate::{
    gate::{PresentedKey, ProviderCall, Trail},
    identity::{Lookup, api_key::KeyId, jwt::Verdict},
    policy::{Policy, Provider},
    ports::{QuotaAlert, Report},
    provider::{CallOutcome, CallRecord},
    quota::remote::Fallen,
    refusal::{Cause, Code},
    store::Tally,
    time::Timestamp,
};

/// The measures of one worker that were used so far.
#[derive(Default)]
pub struct Telemetry {
    ids: RefCell<BTreeMap<Measure, Option<MeasureId>>>,
    /// By key: the hour of the last use that was recorded.
    last_uses: RefCell<BTreeMap<KeyId, u64>>,
}

/// All measures. APIs and providers are indexes into the policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Measure {
    /// Requests by API and decision.
    Decisions(Option<usize>, Decision),
    /// Requests of an API that a limit refused.
    QuotaRefusals(Option<usize>),
    /// Limits that were nearly used up, by API.
    QuotaAlerts(Option<usize>),
    /// Identities that a provider vouches for, by how they were obtained.
    IdentityLookups(Lookup),
    /// Cached identities that were evicted to make room for others.
    IdentityEvictions,
    /// Identities that were too large to be cached.
    IdentitiesTooLarge,
    /// Updates of the store that lost to another worker and were repeated.
    StoreConflicts,
    /// Values in the store that were invalid and treated as absent.
    StoreCorrupt,
    /// Charges that could not be given back.
    RefundsLost,
    /// Calls to a provider by result.
    ProviderCalls(usize, &'static str),
    /// How long calls to a provider took, in milliseconds.
    ProviderCallMilliseconds(usize),
    /// How much quota each lease of a rate limit service is.
    LeasedQuota(usize),
    /// Requests that passed although a rate limit service did not count them, by service and result.
    QuotaFallbacks(usize, &'static str),
    /// Signatures of a provider's tokens by verdict.
    Verifications(usize, Verdict),
    /// Requests that a provider of applications rejected, by provider and code.
    BackendRejections(usize, &'static str),
    /// Applications whose plan the policy does not have.
    PlansUnmapped(usize),
    /// Usage that is not reported yet.
    UsageUnreported(usize),
    /// Requests with an API key, by consumer, key and outcome. Only for consumers that ask for it.
    KeyUses(usize, KeyId, Outcome),
    /// The hour in which an API key was last accepted, in seconds since 1970. Only for consumers that ask for
    /// it.
    KeyLastUsed(usize, KeyId),
    /// Policies loaded or rejected.
    PolicyLoads(Load),
    /// 1 for the revision and digest in force, 0 for those that were replaced.
    PolicyInForce,
}

/// What was decided about a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Decision {
    /// The request passed.
    Admitted,
    /// The request was refused.
    Refused(Code),
    /// The request passed only because of shadow mode.
    Shadowed(Code),
}

/// A [decision](Decision) without the code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// The request passed.
    Admitted,
    /// The request was refused.
    Refused,
    /// The request passed only because of shadow mode.
    Shadowed,
}

/// What happened to a policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Load {
    /// The policy is in force.
    Accepted,
    /// The policy does not compile.
    Rejected,
}

/// Seconds of an hour.
const HOUR: u64 = 3_600;

/// The value of a label without a value.
const NONE: &str = "none";

impl Telemetry {
    /// Counts a decision, its lookups and its calls.
    pub fn decided(&self, host: &impl TelemetryHost, trail: &Trail, decision: Decision, now: Timestamp) {
        let policy = Some(&*trail.policy);
        self.count(host, policy, Measure::Decisions(trail.api, decision), 1);
        if let Some(Cause::LimitReached { .. }) = trail.refusal.as_ref().map(|refusal| &refusal.cause) {
            self.count(host, policy, Measure::QuotaRefusals(trail.api), 1);
        }
        if trail.key.is_some() {
            self.key_used(host, trail, decision, now);
        }
        if let Some(lookup) = trail.lookup {
            self.count(host, policy, Measure::IdentityLookups(lookup), 1);
        }
        if let Some((provider, verdict)) = trail.verification {
            self.count(host, policy, Measure::Verifications(provider, verdict), 1);
        }
        if let Some((provider, rejection)) = trail.rejection {
            self.count(host, policy, Measure::BackendRejections(provider, rejection.code()), 1);
        }
        if let Some(provider) = trail.unmapped_plan {
            self.count(host, policy, Measure::PlansUnmapped(provider), 1);
        }
        for ProviderCall { provider, record } in &trail.calls {
            self.called(host, &trail.policy, *provider, record);
        }
    }

    /// Counts a call to a provider.
    fn called(&self, host: &impl TelemetryHost, policy: &Policy, provider: usize, call: &CallRecord) {
        let policy = Some(policy);
        self.count(host, policy, Measure::ProviderCalls(provider, call.outcome.label()), 1);
        let millis = u64::try_from(call.took.as_millis()).unwrap_or(u64::MAX);
        self.record(host, policy, Measure::ProviderCallMilliseconds(provider), millis);
    }

    /// Counts a limit that is nearly used up.
    pub fn alerted(&self, host: &impl TelemetryHost, policy: &Policy, alert: &QuotaAlert) {
        self.count(host, Some(policy), Measure::QuotaAlerts(alert.api), 1);
    }

    /// Counts what background work did.
    pub fn reported(&self, host: &impl TelemetryHost, policy: &Policy, report: &Report) {
        match report {
            Report::Call { provider, call, leased } => {
                self.called(host, policy, *provider, call);
                if *leased > 0 {
                    self.record(host, Some(policy), Measure::LeasedQuota(*provider), *leased);
                }
            }
            Report::Usage { provider, call } => self.called(host, policy, *provider, call),
            Report::Alert(alert) => self.alerted(host, policy, alert),
            Report::Unreported { provider, amount } => {
                self.record(host, Some(policy), Measure::UsageUnreported(*provider), *amount);
            }
        }
    }

    /// Counts the rate limit services that did not count a request which passed.
    pub fn fallen(&self, host: &impl TelemetryHost, trail: &Trail) {
        for Fallen { provider, fault } in &trail.fallen {
            let result = CallOutcome::Fault(*fault).label();
            self.count(host, Some(&*trail.policy), Measure::QuotaFallbacks(*provider, result), 1);
        }
    }

    /// Counts the use of an API key, and records the hour.
    fn key_used(&self, host: &impl TelemetryHost, trail: &Trail, decision: Decision, now: Timestamp) {
        let (Some(index), Some(PresentedKey::Api(key))) = (trail.consumer, trail.key) else { return };
        if !trail.policy.consumers.get(index).is_some_and(|consumer| consumer.key_metrics) {
            return;
        }
        let policy = Some(&*trail.policy);
        self.count(host, policy, Measure::KeyUses(index, key, decision.outcome()), 1);
        let hour = now.seconds().checked_div(HOUR).unwrap_or_default();
        let is_accepted = trail.refusal.as_ref().is_none_or(|refusal| refusal.cause != Cause::KeyRefused);
        if is_accepted && self.last_uses.borrow_mut().insert(key, hour) != Some(hour) {
            self.record(host, policy, Measure::KeyLastUsed(index, key), hour.saturating_mul(HOUR));
        }
    }

    /// Counts the store's incidents.
    pub fn incidents(&self, host: &impl TelemetryHost, tally: Tally) {
        let Tally { conflicts, corrupt, evicted, oversized, refunds_lost } = tally;
        for (measure, count) in [
            (Measure::StoreConflicts, conflicts),
            (Measure::StoreCorrupt, corrupt),
            (Measure::IdentityEvictions, evicted),
            (Measure::IdentitiesTooLarge, oversized),
            (Measure::RefundsLost, refunds_lost),
        ] {
            self.count(host, None, measure, count.into());
        }
    }

    /// Counts a policy that was loaded or rejected.
    pub fn loaded(&self, host: &impl TelemetryHost, load: Load) {
        self.count(host, None, Measure::PolicyLoads(load), 1);
    }

    /// Records whether the policy is in force.
    pub fn in_force(&self, host: &impl TelemetryHost, policy: &Policy, in_force: bool) {
        self.record(host, Some(policy), Measure::PolicyInForce, in_force.into());
    }

    fn count(&self, host: &impl TelemetryHost, policy: Option<&Policy>, measure: Measure, by: u64) {
        if by > 0
            && let Some(id) = self.id(host, policy, measure, MeasureKind::Counter)
        {
            host.count(id, by);
        }
    }

    fn record(&self, host: &impl TelemetryHost, policy: Option<&Policy>, measure: Measure, value: u64) {
        let kind = match measure {
            Measure::ProviderCallMilliseconds(_) | Measure::LeasedQuota(_) => MeasureKind::Histogram,
            _ => MeasureKind::Gauge,
        };
        if let Some(id) = self.id(host, policy, measure, kind) {
            host.record(id, value);
        }
    }

    fn id(
        &self,
        host: &impl TelemetryHost,
        policy: Option<&Policy>,
        measure: Measure,
        kind: MeasureKind,
    ) -> Option<MeasureId> {
        *self.ids.borrow_mut().entry(measure).or_insert_with(|| host.define(kind, &measure.name(policy)))
    }
}

impl Decision {
    /// The code of the refusal, if the request was refused or would have been.
    const fn code(self) -> Option<Code> {
        match self {
            Self::Admitted => None,
            Self::Refused(code) | Self::Shadowed(code) => Some(code),
        }
    }

    /// The code of the refusal, if only shadow mode let the request pass.
    pub const fn shadowed(self) -> Option<Code> {
        match self {
            Self::Admitted | Self::Refused(_) => None,
            Self::Shadowed(code) => Some(code),
        }
    }

    const fn outcome(self) -> Outcome {
        match self {
            Self::Admitted => Outcome::Admitted,
            Self::Refused(_) => Outcome::Refused,
            Self::Shadowed(_) => Outcome::Shadowed,
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

impl Load {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Rejected => "rejected",
        }
    }
}

impl Measure {
    /// One measure of each kind, for the documentation test.
    pub const fn all() -> [Self; 21] {
        [
            Self::Decisions(None, Decision::Admitted),
            Self::QuotaRefusals(None),
            Self::QuotaAlerts(None),
            Self::IdentityLookups(Lookup::Hit),
            Self::IdentityEvictions,
            Self::IdentitiesTooLarge,
            Self::StoreConflicts,
            Self::StoreCorrupt,
            Self::RefundsLost,
            Self::ProviderCalls(0, NONE),
            Self::ProviderCallMilliseconds(0),
            Self::LeasedQuota(0),
            Self::QuotaFallbacks(0, NONE),
            Self::Verifications(0, Verdict::Valid),
            Self::BackendRejections(0, NONE),
            Self::PlansUnmapped(0),
            Self::UsageUnreported(0),
            Self::KeyUses(0, KeyId::FIRST, Outcome::Admitted),
            Self::KeyLastUsed(0, KeyId::FIRST),
            Self::PolicyLoads(Load::Accepted),
            Self::PolicyInForce,
        ]
    }

    /// The measure's name in the host; `policy` provides the names of APIs and providers.
    pub fn name(self, policy: Option<&Policy>) -> String {
        let api = |index: Option<usize>| {
            label(index.and_then(|index| policy?.api(index)).map(|api| api.name.as_str()))
        };
        let provider =
            |index: usize| label(policy.and_then(|policy| policy.providers.get(index)).map(Provider::name));
        let consumer = |index: usize| {
            label(policy.and_then(|policy| policy.consumers.get(index)).map(|consumer| consumer.name))
        };
        let key_id = |key: KeyId| label(policy.and_then(|policy| policy.keys.id(key)));
        match self {
            Self::Decisions(index, decision) => {
                let (api, outcome) = (api(index), decision.outcome().as_str());
                let code = decision.code().map_or(NONE, Code::digits);
                format!("sidegate.api=.={api};.;outcome=.={outcome};.;code=.={code};.;decisions")
            }
            Self::QuotaRefusals(index) => format!("sidegate.api=.={};.;quota_refusals", api(index)),
            Self::QuotaAlerts(index) => format!("sidegate.api=.={};.;quota_alerts", api(index)),
            Self::IdentityLookups(lookup) => {
                format!("sidegate.result=.={};.;identity_lookups", lookup.as_str())
            }
            Self::IdentityEvictions => "sidegate.identity_evictions".to_owned(),
            Self::IdentitiesTooLarge => "sidegate.identities_too_large".to_owned(),
            Self::StoreConflicts => "sidegate.store_conflicts".to_owned(),
            Self::StoreCorrupt => "sidegate.store_corrupt".to_owned(),
            Self::RefundsLost => "sidegate.refunds_lost".to_owned(),
            Self::ProviderCalls(index, result) => {
                format!("sidegate.provider=.={};.;result=.={result};.;provider_calls", provider(index))
            }
            Self::ProviderCallMilliseconds(index) => {
                format!("sidegate.provider=.={};.;provider_call_milliseconds", provider(index))
            }
            Self::LeasedQuota(index) => format!("sidegate.provider=.={};.;leased_quota", provider(index)),
            Self::QuotaFallbacks(index, result) => {
                format!("sidegate.provider=.={};.;result=.={result};.;quota_fallbacks", provider(index))
            }
            Self::Verifications(index, verdict) => {
                let (provider, result) = (provider(index), verdict.as_str());
                format!("sidegate.provider=.={provider};.;result=.={result};.;verifications")
            }
            Self::BackendRejections(index, reason) => {
                format!("sidegate.provider=.={};.;reason=.={reason};.;backend_rejections", provider(index))
            }
            Self::PlansUnmapped(index) => format!("sidegate.provider=.={};.;plans_unmapped", provider(index)),
            Self::UsageUnreported(index) => {
                format!("sidegate.provider=.={};.;usage_unreported", provider(index))
            }
            Self::KeyUses(index, key, outcome) => {
                let (consumer, key, outcome) = (consumer(index), key_id(key), outcome.as_str());
                format!("sidegate.consumer=.={consumer};.;key=.={key};.;outcome=.={outcome};.;key_uses")
            }
            Self::KeyLastUsed(index, key) => {
                format!("sidegate.consumer=.={};.;key=.={};.;key_last_used", consumer(index), key_id(key))
            }
            Self::PolicyLoads(load) => format!("sidegate.result=.={};.;policy_loads", load.as_str()),
            Self::PolicyInForce => {
                let revision = label(policy.and_then(|policy| policy.revision.as_deref()));
                let digest = label(policy.map(|policy| policy.digest.as_str()));
                format!("sidegate.revision=.={revision};.;digest=.={digest};.;policy")
            }
        }
    }
}

/// The value of a label, without characters that would end it early.
fn label(value: Option<&str>) -> String {
    let safe = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-') { c } else { '_' };
    value.unwrap_or(NONE).chars().map(safe).collect()
}
