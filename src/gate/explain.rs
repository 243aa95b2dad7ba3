//! Explanation headers: the trail, rendered for callers that present the debug secret.

use super::trail::Trail;
use crate::{headers::HeaderList, identity::Lookup};

/// Adds the headers that explain the decision, if the caller may see them.
pub(super) fn explain(trail: &Trail, headers: &mut HeaderList) {
    if !trail.is_for_the_caller() {
        return;
    }
    let usage = usage(trail);
    let credential = trail.credential().map(ToString::to_string);
    for (name, value) in [
        ("x-sidegate-api", trail.api()),
        ("x-sidegate-rule", trail.rule()),
        ("x-sidegate-credential", credential.as_deref()),
        ("x-sidegate-consumer", trail.consumer()),
        ("x-sidegate-key", trail.key()),
        ("x-sidegate-plan", trail.plan()),
        ("x-sidegate-usage", usage.as_deref()),
        ("x-sidegate-cache", trail.lookup.map(Lookup::as_str)),
        ("x-sidegate-revision", trail.policy.revision.as_deref()),
        ("x-sidegate-digest", Some(trail.policy.digest.as_str())),
    ] {
        if let Some(value) = value {
            headers.push(name, value.to_owned());
        }
    }
}

/// For example `hits=1, reads=1`; `None` if the request was not metered.
fn usage(trail: &Trail) -> Option<String> {
    let metrics = &trail.policy.metrics;
    let used =
        trail.usage.as_ref()?.iter().map(|(metric, amount)| format!("{}={amount}", metrics.name(metric)));
    Some(used.collect::<Vec<_>>().join(", "))
}
