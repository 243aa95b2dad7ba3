//! Compiles bindings: what each consumer may do on an API.

use std::collections::HashSet;

use super::{
    super::{LimitSets, problem::Kind},
    Diagnostics, Names, document, doubts,
    limits::{self, Scope},
    rules::{methods_of, pattern},
};
use crate::{
    access::{Binding, Bindings, Grant, PathGrants},
    matching::{PathList, PathPattern, TooComplex},
};

/// Compiles the bindings of the API called `api`.
pub(super) fn compile(
    bindings: document::Bindings,
    api: &str,
    names: &Names,
    path: &str,
    report: &mut Diagnostics,
) -> Bindings {
    if bindings.is_empty() {
        report.add_empty(path);
    }
    let document::Bindings { consumers, indexes, terms } = bindings;
    // Terms that many bindings share are compiled once. Only their faults are reported for each binding.
    let mut compiled: Vec<Option<Binding>> = vec![None; terms.len()];
    let mut bound = Vec::with_capacity(indexes.len());
    let mut known = HashSet::with_capacity(indexes.len());
    for (place, (consumer, index)) in consumers.iter().zip(indexes).enumerate() {
        let shared = usize::try_from(index).ok();
        if let Some(slot) = shared.and_then(|index| compiled.get_mut(index)).filter(|slot| slot.is_none())
            && let Some(terms) = shared.and_then(|index| terms.get(index))
        {
            let faults = report.len();
            let binding = compile_terms(terms.clone(), api, names, &format!("{path}[{place}]"), report);
            *slot = Some(binding).filter(|_| report.len() == faults);
        }
        // Paths are made only where they are needed: there may be a hundred thousand bindings.
        let consumer_path = || format!("{path}[{place}].consumer");
        let found = report.find(consumer_path, Kind::Consumer, consumer, &names.by_name);
        let Some(found) = found.and_then(|found| u32::try_from(found).ok()) else { continue };
        if !known.insert(found) {
            report.add(&consumer_path(), format!("`{consumer}` has a binding here already"));
        }
        bound.push((found, index));
    }
    // Where one is missing, there are problems, and no policy.
    Bindings::new(bound, compiled.into_iter().flatten().collect())
}

fn compile_terms(
    terms: document::Terms,
    api: &str,
    names: &Names,
    path: &str,
    report: &mut Diagnostics,
) -> Binding {
    let document::Terms { plan, allow, paths, limits } = terms;
    let plan =
        plan.and_then(|plan| report.find(|| format!("{path}.plan"), Kind::Plan, &plan, &names.plans.by_name));
    let own = match limits {
        Some(limits) => limits::compile(
            Some(limits),
            Scope::Binding(api),
            names.basis(),
            &format!("{path}.limits"),
            report,
        ),
        None => LimitSets::new(),
    };
    let limits = match plan.and_then(|plan| names.plans.list.get(plan)) {
        Some(plan) => limits::merge(own, &plan.limits, Scope::Binding(api), names.metrics),
        None => own,
    };
    let path = || path.to_owned();
    let allow = grant(allow, &path, report);
    let paths = match paths {
        Some(paths) => path_grants(paths, names, &path, report).map(Box::new),
        None => None,
    };
    Binding { plan, limits, allow, paths }
}

fn path_grants(
    paths: Vec<document::PathGrant>,
    names: &Names,
    path: &dyn Fn() -> String,
    report: &mut Diagnostics,
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
        if let Some(pattern) = pattern(template.as_deref(), regex.as_deref(), &path, report) {
            if !known.insert(pattern.clone()) {
                report.add(&path(), "is never reached: an earlier entry has the same path");
            }
            patterns.push(pattern);
            grants.push(allow);
            places.push(place);
        }
    }
    let index = |entry: usize| places.get(entry).copied().unwrap_or(entry);
    doubts::hidden(&patterns, &list, &index, report);
    let paths = PathList::build(patterns, names.effort);
    let paths = paths.map_err(|error| match error {
        TooComplex::Expression(entry) => {
            report.add(&format!("{list}[{}].regex", index(entry)), error);
        }
        _ => report.add(&list, error),
    });
    Some(PathGrants { paths: paths.ok()?, grants })
}

fn grant(grant: document::Grant, path: &dyn Fn() -> String, report: &mut Diagnostics) -> Grant {
    match grant {
        document::Grant::All => Grant::All,
        document::Grant::None => Grant::None,
        document::Grant::Methods(names) => {
            let path = || format!("{}.allow.methods", path());
            methods_of(names, &path, report).map_or(Grant::None, Grant::Methods)
        }
    }
}
