//! Compiles the document into the policy: resolves names, parses patterns, and reports everything that does not hold.

mod apis;
mod consumers;
mod gate;
mod limits;
mod providers;
mod rules;

use std::{
    collections::{HashMap, HashSet},
    fmt::Display,
};

use crate::{quota::Metrics, store::Table};

use super::{Api, Policy, Problem, document, value::Named};

/// Compiles `document`; `digest` is that of its text, `environment` gives the values of variables.
pub(super) fn compile(
    document: document::Document,
    digest: String,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Result<Policy, Vec<Problem>> {
    let document::Document { sidegate: _, revision, gate, providers, metrics, plans, consumers, apis } =
        document;
    let mut report = Report::default();
    if let Some(revision) = &revision {
        report.name("revision", revision);
    }
    let gate = gate::compile(gate, &mut report);
    let providers = providers::compile(providers, environment, &mut report);
    let metrics = compile_metrics(&metrics, &mut report);
    let plans = limits::plans(plans, &metrics, &mut report);
    let callers = consumers::compile(consumers, &plans, &mut report);
    let names = Names { providers: &providers, metrics: &metrics, plans: &plans, consumers: &callers };
    let (apis, table) = apis::compile(apis, &names, &mut report);
    let (Some(gate), true) = (gate, report.0.is_empty()) else {
        return Err(report.0);
    };
    let identity_headers =
        apis.iter().flat_map(|api: &Api| &api.headers).map(|(name, _)| name.clone()).collect();
    Ok(Policy {
        revision,
        digest,
        style: gate.style,
        unmatched: gate.unmatched,
        preflight: gate.preflight,
        rate_limit_headers: gate.rate_limit_headers,
        filter_state: gate.filter_state,
        debug: gate.debug,
        providers: providers.list,
        metrics,
        plans: plans.list,
        consumers: callers.list,
        identity_headers,
        meters: Table::meters(gate.meters),
        tokens: Table::cache("tokens", gate.tokens),
        keys: callers.keys,
        clients: callers.clients,
        apis,
        table,
    })
}

/// What has names in the policy.
struct Names<'a> {
    providers: &'a providers::Providers,
    metrics: &'a Metrics,
    plans: &'a limits::Plans,
    consumers: &'a consumers::Consumers,
}

/// Collects problems.
#[derive(Default)]
struct Report(Vec<Problem>);

impl Report {
    fn add(&mut self, path: &str, message: impl ToString) {
        self.0.push(Problem::new(path, message));
    }

    /// The value, or none and a problem at `path`.
    fn take<T>(&mut self, path: &str, result: Result<T, impl Display>) -> Option<T> {
        result.map_err(|error| self.add(path, error)).ok()
    }

    /// The index under which `name` is known, or none and a problem at `path`, which is made only then: there may be a hundred
    /// thousand names.
    fn find(
        &mut self,
        path: impl FnOnce() -> String,
        kind: &str,
        name: &str,
        known: &HashMap<String, usize>,
    ) -> Option<usize> {
        let index = known.get(name).copied();
        if index.is_none() {
            self.0.push(Problem::dangling(&path(), kind, name));
        }
        index
    }

    /// An optional list, empty if absent; that it is there and empty is a problem.
    fn list<T>(&mut self, path: &str, list: Option<Vec<T>>) -> Vec<T> {
        if list.as_ref().is_some_and(Vec::is_empty) {
            self.add(path, "the list is empty: leave it out, or give it an entry");
        }
        list.unwrap_or_default()
    }

    /// Notes texts of a list that are empty or stand there twice.
    fn distinct(&mut self, path: &str, texts: &[String]) {
        let mut known = HashSet::with_capacity(texts.len());
        for (place, text) in texts.iter().enumerate() {
            if text.is_empty() {
                self.add(&format!("{path}[{place}]"), "must not be empty");
            } else if !known.insert(text) {
                self.add(&format!("{path}[{place}]"), format!("`{text}` is listed twice"));
            }
        }
    }

    /// Notes a name that headers or logs could not carry.
    fn name(&mut self, path: &str, name: &str) {
        self.take(path, check_name(name));
    }
}

/// Whether headers and logs can carry the name.
fn check_name(name: &str) -> Result<(), InvalidName> {
    let fits =
        (1..=InvalidName::MOST).contains(&name.len()) && !name.chars().any(|c| c.is_control() || c == '"');
    if fits { Ok(()) } else { Err(InvalidName) }
}

/// The text is no name.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("not a name: 1 to {} bytes without quotes and control characters", Self::MOST)]
struct InvalidName;

impl InvalidName {
    const MOST: usize = 256;
}

/// Where each name of a map is in the list made of it.
fn index<T>(named: &Named<T>) -> HashMap<String, usize> {
    named.0.keys().enumerate().map(|(index, name)| (name.clone(), index)).collect()
}

fn compile_metrics(declared: &Named<document::Metric>, report: &mut Report) -> Metrics {
    let mut list: Vec<(&str, Option<&str>)> =
        declared.0.iter().map(|(name, metric)| (name.as_str(), metric.parent.as_deref())).collect();
    if !declared.0.contains_key(DEFAULT_METRIC) {
        list.push((DEFAULT_METRIC, None));
    }
    Metrics::new(&list).unwrap_or_else(|errors| {
        for error in errors {
            report.add(&format!("metrics.{}", error.metric()), &error);
        }
        // Names that are declared stay known, so that those who use them are not blamed as well.
        let known = list.iter().map(|(name, _)| (*name, None)).filter(|name| Metrics::new(&[*name]).is_ok());
        Metrics::new(&known.collect::<Vec<_>>()).unwrap_or_default()
    })
}

/// The metric that is always there, as in 3scale.
const DEFAULT_METRIC: &str = "hits";
