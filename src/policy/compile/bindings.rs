//! Compiles bindings: what each consumer may do on an API.

use std::collections::{HashMap, HashSet};

use super::{
    super::{LimitSets, problem::Kind},
    Names, Report, document,
    limits::{self, Scope},
    rules::pattern,
};
use crate::{
    access::{Binding, Grant, PathGrants},
    matching::{Methods, PathList, PathPattern, TooComplex},
};

/// Compiles the bindings of the API called `api`, by consumer.
pub(super) fn compile(
    bindings: Vec<document::Binding>,
    api: &str,
    names: &Names,
    path: &str,
    report: &mut Report,
) -> HashMap<usize, Binding> {
    let mut compiled = HashMap::with_capacity(bindings.len());
    for (place, binding) in report.list(path, Some(bindings)).into_iter().enumerate() {
        // Paths are made only where they are needed: there may be a hundred thousand bindings.
        let document::Binding { consumer, plan, allow, paths, limits } = binding;
        let path = || format!("{path}[{place}]");
        let plan = plan.and_then(|plan| {
            report.find(|| format!("{}.plan", path()), Kind::Plan, &plan, &names.plans.by_name)
        });
        let own = match limits {
            Some(limits) => limits::compile(
                Some(limits),
                Scope::Binding(api),
                names.metrics,
                &format!("{}.limits", path()),
                report,
            ),
            None => LimitSets::new(),
        };
        let limits = match plan.and_then(|plan| names.plans.list.get(plan)) {
            Some(plan) => limits::merge(own, &plan.limits, Scope::Binding(api)),
            None => own,
        };
        let allow = grant(allow, &path, report);
        let paths = match paths {
            Some(paths) => path_grants(paths, names, &path, report).map(Box::new),
            None => None,
        };
        let consumer_path = || format!("{}.consumer", path());
        let Some(index) = report.find(consumer_path, Kind::Consumer, &consumer, &names.consumers.by_name)
        else {
            continue;
        };
        if compiled.insert(index, Binding { plan, limits, allow, paths }).is_some() {
            report.add(&consumer_path(), format!("`{consumer}` has a binding here already"));
        }
    }
    compiled
}

fn path_grants(
    paths: Vec<document::PathGrant>,
    names: &Names,
    path: &dyn Fn() -> String,
    report: &mut Report,
) -> Option<PathGrants> {
    let list = format!("{}.paths", path());
    let paths = report.list(&list, Some(paths));
    let mut grants = Vec::with_capacity(paths.len());
    let mut patterns: Vec<PathPattern> = Vec::with_capacity(paths.len());
    let mut places = Vec::with_capacity(paths.len());
    let mut known = HashSet::with_capacity(paths.len());
    for (place, document::PathGrant { path: template, regex, allow }) in paths.into_iter().enumerate() {
        let path = || format!("{list}[{place}]");
        let allow = grant(allow, &path, report);
        if let Some(pattern) = pattern(template.as_deref(), regex.as_deref(), &path(), report) {
            if !known.insert(pattern.clone()) {
                report.add(&path(), "is never reached: an earlier entry has the same path");
            }
            patterns.push(pattern);
            grants.push(allow);
            places.push(place);
        }
    }
    let paths = PathList::build(patterns, names.effort);
    let paths = paths.map_err(|error| match error {
        TooComplex::Expression(entry) => {
            let place = places.get(entry).copied().unwrap_or(entry);
            report.add(&format!("{list}[{place}].regex"), error);
        }
        _ => report.add(&list, error),
    });
    Some(PathGrants { paths: paths.ok()?, grants })
}

fn grant(grant: document::Grant, path: &dyn Fn() -> String, report: &mut Report) -> Grant {
    match grant {
        document::Grant::All => Grant::All,
        document::Grant::None => Grant::None,
        document::Grant::Methods(names) => {
            let methods = Methods::named(names);
            match methods {
                Ok(methods) => Grant::Methods(methods),
                Err(error) => {
                    report.add(&format!("{}.allow.methods", path()), error);
                    Grant::None
                }
            }
        }
    }
}
