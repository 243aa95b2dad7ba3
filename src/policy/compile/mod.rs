//! Compiles the document into the policy: resolves names, parses patterns, and reports everything that is
//! invalid.

mod access;
mod apis;
mod bindings;
mod consumers;
mod credentials;
mod diagnostics;
mod doubts;
mod errors;
mod forward;
mod gate;
mod limits;
mod metering;
mod mocks;
mod providers;
mod rules;
mod secrets;

use std::{cell::RefCell, collections::HashMap};

use diagnostics::Diagnostics;
pub(super) use diagnostics::{Doubts, Finding, Owners};
use metering::Applying;

use super::{
    Api, Consumers, Policy, Warnings,
    document::{
        self,
        value::{Named, Sha256},
    },
    problem::Kind,
};
use crate::{
    forward::Field,
    identity::{
        AskedClaims, Epoch, IdentityCache, RevokedTokens,
        jwt::{KeySets, Verifications},
        threescale::Decisions,
    },
    matching::{Effort, InvalidMetric, Metrics},
    provider::rest::Rests,
    quota::{Limit, Meters},
    report::Ledger,
};

/// A document as compiled.
pub(super) struct Compiled {
    /// The policy, or everything that is wrong, in the order of the document.
    pub(super) result: Result<Policy, Vec<Finding>>,
    /// What is probably a mistake.
    pub(super) doubts: Doubts,
    /// Names for the paths of all of that.
    pub(super) owners: Owners,
}

/// Compiles `document`; `digest` is that of its text, `environment` gives the values of variables.
pub(super) fn compile(
    document: document::Document,
    digest: String,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Box<Compiled> {
    let document::Document {
        sidegate: _,
        revision,
        epoch,
        revoked,
        gate,
        providers,
        metrics,
        plans,
        consumers,
        apis,
    } = document;
    let mut report = Diagnostics::default();
    if let Some(revision) = &revision {
        report.name("revision", revision);
    }
    let revoked = report.list("revoked", revoked);
    report.at_most(RevokedTokens::MOST, "digests", revoked.len(), "revoked");
    let epoch = Epoch(epoch);
    let gate = gate::compile(gate, &mut report);
    let providers = providers::compile(providers, environment, &mut report);
    let metrics = compile_metrics(&metrics, &mut report);
    let alert_at = gate.as_ref().and_then(|gate| gate.quota_alert_at);
    let plans = limits::plans(
        plans,
        limits::Basis { metrics: &metrics, providers: &providers, alert_at },
        &mut report,
    );
    let (consumers, keys, application_keys) = consumers::compile(consumers, &plans, &mut report);
    let effort = Effort::default();
    let asked = RefCell::default();
    let names = Names {
        providers: &providers,
        environment,
        metrics: &metrics,
        alert_at,
        plans: &plans,
        effort: &effort,
        asked: &asked,
        consumers: &consumers,
        by_name: consumers::by_name(&consumers, &mut report),
        applying: Applying::of_plans(consumers.plans(), &plans.list),
    };
    let (apis, table) = apis::compile(apis, &names, &mut report);
    drop(names);
    let asked = asked.into_inner();
    report.at_most(AskedClaims::MOST, "claims", asked.len(), "apis");
    let owners = if report.is_silent() {
        Owners::default()
    } else {
        Owners {
            apis: apis.iter().map(|api| api.name.clone()).collect(),
            consumers: consumers.names().map(str::to_owned).collect(),
        }
    };
    let (findings, doubts) = report.into_parts();
    let (Some(gate), true) = (gate, findings.is_empty()) else {
        return Box::new(Compiled { result: Err(findings), doubts, owners });
    };
    let has_shadow_limits = {
        let of_plans = plans.list.iter().map(|plan| &plan.limits);
        let of_apis = apis.iter().flat_map(|api| {
            let terms = api.bindings.iter().flat_map(|bindings| bindings.terms());
            terms.map(|binding| &binding.limits).chain([&api.limits])
        });
        of_plans.chain(of_apis).flatten().flat_map(|set| &set.limits).any(Limit::is_in_shadow)
    };
    let reserved_headers = apis.iter().flat_map(|api: &Api| &api.headers).map(|(name, _)| &**name).collect();
    let policy = Policy {
        revision,
        digest,
        warnings: Warnings::default(),
        replies: gate.replies,
        unmatched: gate.unmatched,
        preflight: gate.preflight,
        max_path_length: gate.max_path_length,
        rate_limit_headers: gate.rate_limit_headers,
        quota_alert_at: gate.quota_alert_at,
        has_shadow_limits,
        filter_state: gate.filter_state,
        // Only explanation headers show it.
        hostname: gate.debug.and_then(|_| environment(HOSTNAME)).filter(|name| is_hostname(name)),
        debug: gate.debug,
        client_certificate: gate.client_certificate,
        has_services: providers.has_services(),
        providers: providers.list,
        metrics,
        plans: plans.list,
        consumers,
        reserved_headers,
        meters: Meters::new(gate.meters, gate.addresses),
        decisions: Decisions::new(gate.tokens, gate.token_bytes).of_epoch(epoch),
        ledger: Ledger,
        identities: IdentityCache::new(gate.tokens, gate.token_bytes).asking(asked, epoch),
        revoked: revoked.into_iter().map(|Sha256(digest)| digest).collect(),
        key_sets: KeySets::default(),
        verifications: Verifications::new(gate.verifications),
        rests: Rests::default(),
        keys,
        application_keys,
        apis,
        table,
    };
    Box::new(Compiled { result: Ok(policy), doubts, owners })
}

/// What has names in the policy.
struct Names<'a> {
    providers: &'a providers::Providers,
    /// Gives the values of variables that secrets name.
    environment: &'a dyn Fn(&str) -> Option<String>,
    metrics: &'a Metrics,
    alert_at: Option<u8>,
    plans: &'a limits::Plans,
    consumers: &'a Consumers,
    /// The consumers by name.
    by_name: HashMap<&'a str, usize>,
    /// The limits of all plans that consumers have.
    applying: Applying,
    /// What is left for compiling expressions.
    effort: &'a Effort,
    /// The claims that rules and headers ask for.
    asked: &'a RefCell<AskedClaims>,
}

impl Names<'_> {
    /// What limits refer to.
    const fn basis(&self) -> limits::Basis<'_> {
        limits::Basis { metrics: self.metrics, providers: self.providers, alert_at: self.alert_at }
    }

    /// Asks for the claims among these fields.
    fn show_claims<'f>(&self, fields: impl Iterator<Item = &'f Field>) {
        for path in fields.filter_map(Field::claim) {
            self.asked.borrow_mut().show(path.clone());
        }
    }
}

/// The variable that has the name of the machine, or of the pod.
const HOSTNAME: &str = "HOSTNAME";

fn is_hostname(name: &str) -> bool {
    (1..=253).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_graphic())
}

/// Where each name of a map is in the list made of it.
fn index<T>(named: &Named<T>) -> HashMap<String, usize> {
    named.0.keys().enumerate().map(|(index, name)| (name.clone(), index)).collect()
}

fn compile_metrics(declared: &Named<document::Metric>, report: &mut Diagnostics) -> Metrics {
    report.at_most(MOST_METRICS, "metrics", declared.0.len(), "metrics");
    let mut list: Vec<(&str, Option<&str>)> =
        declared.0.iter().map(|(name, metric)| (name.as_str(), metric.parent.as_deref())).collect();
    if !declared.0.contains_key(DEFAULT_METRIC) {
        list.push((DEFAULT_METRIC, None));
    }
    Metrics::new(&list).unwrap_or_else(|errors| {
        for error in errors {
            let path = format!("metrics.{}", error.metric());
            match &error {
                InvalidMetric::UnknownParent { parent, .. } => {
                    report.add_unknown_because(&path, Kind::Metric, parent, &error);
                }
                _ => report.add(&path, &error),
            }
        }
        // Names that are declared stay known, so that their users are not reported as well.
        let known = list.iter().map(|(name, _)| (*name, None)).filter(|name| Metrics::new(&[*name]).is_ok());
        Metrics::new(&known.collect::<Vec<_>>()).unwrap_or_default()
    })
}

/// The most metrics.
const MOST_METRICS: usize = 100_000;

/// The metric that is always there, as in 3scale.
const DEFAULT_METRIC: &str = "hits";
