//! Compiles metering: which requests count how much.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use percent_encoding::{CONTROLS, utf8_percent_encode};

use super::{
    super::{LimitSets, Plan, problem::Kind},
    DEFAULT_METRIC, Diagnostics, Names, document, doubts,
    rules::methods,
};
use crate::{
    access::Bindings,
    matching::{Metering, MeteringPath, MeteringRule, Methods, MetricId, QueryValue, TooComplex},
    quota::{CounterId, Limit},
};

/// The limits that may apply to requests for some APIs, each once, by metric: how much a limit admits, its
/// name, and words for where it comes from.
#[derive(Default)]
pub(super) struct Applying(HashMap<MetricId, BTreeSet<(u64, String, String)>>);

impl Applying {
    /// The limits of the plans that consumers have.
    pub(super) fn of_plans(used: impl Iterator<Item = usize>, plans: &[Plan]) -> Self {
        let used: BTreeSet<_> = used.collect();
        let mut applying = Self::default();
        for plan in used.into_iter().filter_map(|plan| plans.get(plan)) {
            applying.add(&plan.limits, &format!("plan `{}`", plan.name));
        }
        applying
    }

    /// The limits of an API, and of the plans and bindings of those who are bound to it.
    pub(super) fn of_api(limits: &LimitSets, bindings: Option<&Bindings>, names: &Names) -> Self {
        let plans = &names.plans.list;
        let mut applying = match bindings {
            Some(bindings) => Self::of_plans(
                bindings.iter().filter_map(|(consumer, binding)| {
                    binding.plan.or_else(|| names.consumers.get(consumer)?.plan)
                }),
                plans,
            ),
            None => Self::default(),
        };
        applying.add(limits, "the API");
        for binding in bindings.map(Bindings::terms).unwrap_or_default() {
            let of_plan: HashSet<_> = binding
                .plan
                .and_then(|plan| plans.get(plan))
                .into_iter()
                .flat_map(|plan| all(&plan.limits).map(key))
                .collect();
            let own = all(&binding.limits).filter(|limit| !of_plan.contains(&key(limit)));
            own.for_each(|limit| applying.add_one(limit, "a binding"));
        }
        applying
    }

    fn add(&mut self, limits: &LimitSets, whose: &str) {
        all(limits).for_each(|limit| self.add_one(limit, whose));
    }

    fn add_one(&mut self, limit: &Limit, whose: &str) {
        if limit.is_in_shadow() {
            return;
        }
        let entry = (limit.max(), limit.name().to_owned(), whose.to_owned());
        self.0.entry(limit.metric()).or_default().insert(entry);
    }

    /// The limits of a metric that admit something, but less than `by`.
    fn below(&self, metric: MetricId, by: u64) -> impl Iterator<Item = &(u64, String, String)> {
        let least = |max: u64| (max, String::new(), String::new());
        self.0.get(&metric).into_iter().flat_map(move |limits| limits.range(least(1)..least(by.max(1))))
    }
}

fn all(sets: &LimitSets) -> impl Iterator<Item = &Limit> {
    sets.iter().flat_map(|set| &set.limits)
}

/// What makes two limits the same.
fn key(limit: &Limit) -> (&str, u64, CounterId) {
    (limit.name(), limit.max(), limit.counter())
}

pub(super) fn compile(
    metering: Option<Vec<document::Metering>>,
    names: &Names,
    applying: &[&Applying],
    path: &str,
    report: &mut Diagnostics,
) -> Metering {
    let Some(metering) = metering else {
        let everything = MeteringPath::template("/**").ok().zip(names.metrics.find(DEFAULT_METRIC));
        let rule = everything.map(|(path, metric)| MeteringRule {
            name: "/**".into(),
            path,
            methods: Methods::ALL,
            query: Vec::new(),
            usages: vec![(metric, 1)],
            last: false,
        });
        return Metering::new(rule.into_iter().collect(), names.effort).unwrap_or_default();
    };
    let rules = report.list(path, Some(metering)).into_iter().enumerate().filter_map(|(place, rule)| {
        let path = format!("{path}[{place}]");
        metering_rule(rule, names, applying, &path, report).map(|rule| (place, rule))
    });
    let (places, rules): (Vec<_>, _) = rules.unzip();
    Metering::new(rules, names.effort).unwrap_or_else(|error| {
        match error {
            TooComplex::Expression(rule) => {
                let place = places.get(rule).copied().unwrap_or(rule);
                report.add(&format!("{path}[{place}].path"), error);
            }
            _ => report.add(path, error),
        }
        Metering::default()
    })
}

fn metering_rule(
    rule: document::Metering,
    names: &Names,
    applying: &[&Applying],
    path: &str,
    report: &mut Diagnostics,
) -> Option<MeteringRule> {
    let document::Metering { path: text, r#match, query, methods: named, metric, by, metrics, last } = rule;
    let pattern = match r#match {
        document::MeteringMatch::Template => {
            doubts::template(&text, &|| format!("{path}.path"), report);
            MeteringPath::template(&text)
        }
        document::MeteringMatch::Prefix => MeteringPath::prefix(&text),
    };
    let pattern = report.take(&format!("{path}.path"), pattern);
    let methods = methods(named, &|| format!("{path}.methods"), report);
    let usages = match (metric, metrics) {
        (Some(metric), None) => {
            let at = [format!("{path}.metric"), format!("{path}.by")];
            vec![usage(&metric, by.unwrap_or(1), names, applying, &at, report)]
        }
        (None, Some(metrics)) => {
            if by.is_some() {
                report.add(&format!("{path}.by"), "is for `metric`: `metrics` says how much of each");
            }
            if metrics.0.is_empty() {
                report.add(&format!("{path}.metrics"), "names no metric");
            }
            let usages = metrics.0.iter().map(|(metric, by)| {
                let at = format!("{path}.metrics.{metric}");
                usage(metric, *by, names, applying, &[at.clone(), at], report)
            });
            usages.collect()
        }
        _ => {
            report.add(path, "give exactly one of `metric` and `metrics`");
            return None;
        }
    };
    let usages = usages.into_iter().collect::<Option<_>>()?;
    let name = shown(&text, &query.0);
    let query = query.0.into_iter().map(|(name, value)| (name, QueryValue::parse(&value))).collect();
    Some(MeteringRule { name, path: pattern?, methods, query, usages, last })
}

/// A pattern with its conditions on the query, as 3scale writes it, in characters that headers can carry.
fn shown(path: &str, query: &BTreeMap<String, String>) -> Box<str> {
    let pairs: Vec<_> = query.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let separator = if pairs.is_empty() { "" } else { "?" };
    let text = [path, separator, &pairs.join("&")].concat();
    utf8_percent_encode(&text, CONTROLS).to_string().into()
}

/// A metric and how much of it is counted; the paths are those of the metric's name and of the amount.
fn usage(
    metric: &str,
    by: u64,
    names: &Names,
    applying: &[&Applying],
    [name_path, by_path]: &[String; 2],
    report: &mut Diagnostics,
) -> Option<(MetricId, u64)> {
    let Some(id) = names.metrics.find(metric) else {
        report.add_unknown(name_path, Kind::Metric, metric);
        return None;
    };
    let limits = names
        .metrics
        .lineage(id)
        .iter()
        .flat_map(|metric| applying.iter().flat_map(move |applying| applying.below(*metric, by)));
    // A limit may apply for several reasons, and is reported once.
    let messages: BTreeSet<_> = limits
        .map(|(max, name, whose)| {
            format!("{by} is above {whose}'s limit `{name}` of {max}: no such request could ever pass")
        })
        .collect();
    messages.into_iter().for_each(|message| report.add(by_path, message));
    Some((id, by))
}
