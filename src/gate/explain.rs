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
        ("x-sidegate-asked", trail.asked.as_deref()),
        ("x-sidegate-cache", trail.lookup.map(Lookup::as_str)),
        ("x-sidegate-revision", trail.policy.revision.as_deref()),
        ("x-sidegate-digest", Some(trail.policy.digest.as_str())),
    ] {
        if let Some(value) = value {
            headers.push(name, value.to_owned());
        }
    }
    explain_to_users_of_3scale(trail, headers);
}

/// The most bytes of a header that lists metering entries.
const LONGEST: usize = 4_096;

/// The headers of APIcast that say the same, without the credential itself.
fn explain_to_users_of_3scale(trail: &Trail, headers: &mut HeaderList) {
    if let (Some(usage), Some(api)) = (trail.usage(), trail.matched_api()) {
        let mut rules = String::new();
        for rule in trail.metering.iter().filter_map(|entry| api.metering.get(*entry)) {
            if rules.len().saturating_add(rule.name.len()) < LONGEST {
                rules.push_str(if rules.is_empty() { "" } else { ", " });
                rules.push_str(&rule.name);
            }
        }
        let name = |metric| trail.policy.metrics.name(metric);
        let used =
            usage.own().take(MOST_METRICS).map(|(metric, by)| format!("usage%5B{}%5D={by}", name(metric)));
        headers.push("x-3scale-matched-rules", rules);
        headers.push("x-3scale-usage", used.collect::<Vec<_>>().join("&"));
    }
    if let Some(hostname) = &trail.policy.hostname {
        headers.push("x-3scale-hostname", hostname.clone());
    }
}

/// The most metrics of a header that lists them.
const MOST_METRICS: usize = 32;

/// For example `hits=1, reads=1`; `None` if the request was not metered.
fn usage(trail: &Trail) -> Option<String> {
    let metrics = &trail.policy.metrics;
    let used = trail.usage()?.iter().map(|(metric, amount)| format!("{}={amount}", metrics.name(metric)));
    Some(used.collect::<Vec<_>>().join(", "))
}
