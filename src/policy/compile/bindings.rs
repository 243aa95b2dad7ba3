//! Compiles bindings: what each consumer may do on an API.

use std::collections::HashMap;

use super::{
    super::{LimitSets, problem::Kind},
    Names, Report, document,
    limits::{self, Scope},
    rules::pattern,
};
use crate::{
    access::{Binding, Grant},
    matching::{Methods, PathPattern},
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
            Some(paths) => path_grants(paths, &path, report),
            None => Vec::new(),
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
    path: &dyn Fn() -> String,
    report: &mut Report,
) -> Vec<(PathPattern, Grant)> {
    let paths = report.list(&format!("{}.paths", path()), Some(paths));
    let mut compiled: Vec<(PathPattern, Grant)> = Vec::with_capacity(paths.len());
    for (place, document::PathGrant { path: template, regex, allow }) in paths.into_iter().enumerate() {
        let path = || format!("{}.paths[{place}]", path());
        let allow = grant(allow, &path, report);
        if let Some(pattern) = pattern(template.as_deref(), regex.as_deref(), &path(), report) {
            if compiled.iter().any(|(earlier, _)| *earlier == pattern) {
                report.add(&path(), "is never reached: an earlier entry has the same path");
            }
            compiled.push((pattern, allow));
        }
    }
    compiled
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
