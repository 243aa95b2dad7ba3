//! Compiles metering: which requests count how much.

use std::collections::{BTreeSet, HashMap};

use super::{
    super::{LimitSets, problem::Kind},
    DEFAULT_METRIC, Names, Report, document,
    rules::methods,
};
use crate::{
    access::Binding,
    matching::{Metering, MeteringPath, MeteringRule, Methods, QueryValue, TooComplex},
    quota::Limit,
};

/// Limits with words for where they come from.
pub(super) type Applying<'a> = Vec<(&'a Limit, String)>;

/// All limits that may apply to requests for the API.
pub(super) fn applying_limits<'a>(
    limits: &'a LimitSets,
    bindings: Option<&'a HashMap<usize, Binding>>,
    names: &'a Names,
) -> Applying<'a> {
    let all = |sets: &'a LimitSets| sets.iter().flat_map(|set| &set.limits);
    let mut applying: Applying = all(limits).map(|limit| (limit, "the API".to_owned())).collect();
    let mut plans = vec![false; names.plans.list.len()];
    let mut use_plan = |plan: Option<usize>| {
        if let Some(used) = plan.and_then(|plan| plans.get_mut(plan)) {
            *used = true;
        }
    };
    match bindings {
        Some(bindings) => {
            for (consumer, binding) in bindings {
                let of_consumer = names.consumers.list.get(*consumer).and_then(|consumer| consumer.plan);
                use_plan(binding.plan.or(of_consumer));
                let plan = binding.plan.and_then(|plan| names.plans.list.get(plan));
                let of_plan =
                    |limit: &Limit| plan.is_some_and(|plan| all(&plan.limits).any(|other| other == limit));
                let own = all(&binding.limits).filter(|limit| !of_plan(limit));
                applying.extend(own.map(|limit| (limit, "a binding".to_owned())));
            }
        }
        None => names.consumers.list.iter().for_each(|consumer| use_plan(consumer.plan)),
    }
    for (plan, used) in names.plans.list.iter().zip(plans) {
        if used {
            applying.extend(all(&plan.limits).map(|limit| (limit, format!("plan `{}`", plan.name))));
        }
    }
    applying
}

pub(super) fn compile(
    metering: Option<Vec<document::Metering>>,
    names: &Names,
    applying: &Applying<'_>,
    path: &str,
    report: &mut Report,
) -> Metering {
    let Some(metering) = metering else {
        let everything = MeteringPath::template("/**").ok().zip(names.metrics.find(DEFAULT_METRIC));
        let rule = everything.map(|(path, metric)| MeteringRule {
            path,
            methods: Methods::ALL,
            query: Vec::new(),
            metric,
            by: 1,
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
    applying: &Applying<'_>,
    path: &str,
    report: &mut Report,
) -> Option<MeteringRule> {
    let document::Metering { path: text, r#match, query, methods: named, metric, by, last } = rule;
    let pattern = match r#match {
        document::MeteringMatch::Template => MeteringPath::template(&text),
        document::MeteringMatch::Prefix => MeteringPath::prefix(&text),
    };
    let pattern = report.take(&format!("{path}.path"), pattern);
    let methods = methods(named, &format!("{path}.methods"), report);
    let Some(id) = names.metrics.find(&metric) else {
        report.add_unknown(&format!("{path}.metric"), Kind::Metric, &metric);
        return None;
    };
    let lineage = names.metrics.lineage(id);
    let too_small = |limit: &Limit| limit.max() > 0 && limit.max() < by && lineage.contains(&limit.metric());
    // Many bindings may have the same limit, which is reported once.
    let messages: BTreeSet<_> = applying
        .iter()
        .filter(|(limit, _)| too_small(limit))
        .map(|(limit, whose)| {
            let (name, max) = (limit.name(), limit.max());
            format!("{by} is above {whose}'s limit `{name}` of {max}: no such request could ever pass")
        })
        .collect();
    messages.into_iter().for_each(|message| report.add(&format!("{path}.by"), message));
    let query = query.0.into_iter().map(|(name, value)| (name, QueryValue::parse(&value))).collect();
    Some(MeteringRule { path: pattern?, methods, query, metric: id, by, last })
}
