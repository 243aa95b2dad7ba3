//! The configuration of a rate limit service: of which limits it has to know beforehand.

use std::{collections::BTreeSet, io};

use serde_json::{Value, json};

use super::template::to_yaml;
use crate::{
    policy::{Policy, Provider},
    quota::{
        Limit, Window,
        remote::{Engine, Service},
    },
};

/// How much longer than a window its counter is kept: clocks differ, and calls take time.
const SPARE_SECONDS: u64 = 60;

/// The configuration of the policy's only service of this kind, or of the one called `name`.
///
/// # Errors
///
/// There is no such service, or there are several.
pub fn configuration(policy: &Policy, engine: Engine, name: Option<&str>) -> io::Result<String> {
    let services = policy.providers.iter().enumerate().filter_map(|(index, provider)| match provider {
        Provider::RateLimitService(service) if service.settings().engine == engine => Some((index, service)),
        _ => None,
    });
    let is_chosen =
        |(_, service): &(usize, &Service)| name.is_none_or(|name| service.settings().name == name);
    let mut chosen = services.filter(is_chosen);
    let kind = serde_json::to_value(engine)?;
    let kind = kind.as_str().unwrap_or_default();
    let (index, service) = match (chosen.next(), chosen.next(), name) {
        (Some(only), None, _) => only,
        (Some(_), Some(_), _) => {
            return Err(wrong(format!(
                "several rate limit services have `engine: {kind}`: choose one by `--provider`"
            )));
        }
        (None, _, Some(name)) => {
            return Err(wrong(format!("`{name}` is not a rate limit service with `engine: {kind}`")));
        }
        (None, _, None) => {
            return Err(wrong(format!("the policy has no rate limit service with `engine: {kind}`")));
        }
    };
    let domain = &service.settings().domain;
    let (comment, content) = match engine {
        Engine::Envoy => ("The limits come with the calls.", json!({"domain": domain})),
        Engine::Limitador => (
            "Run Limitador with `--rate-limit-headers DRAFT_VERSION_03`.",
            limits(policy, index).iter().map(|limit| limit.entry(domain)).collect(),
        ),
    };
    Ok(format!("# sidegate render, policy digest {}\n# {comment}\n{}", policy.digest, to_yaml(&content)?))
}

/// A limit as Limitador finds it. Plans may give the same limit different sizes.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Known {
    id: String,
    max: u64,
    window: Window,
}

impl Known {
    fn entry(&self, domain: &str) -> Value {
        let is = |key: &str, value: &str| format!("descriptors[0].{key} == {}", json!(value));
        json!({
            "namespace": domain,
            "max_value": self.max,
            "seconds": longest(self.window).saturating_add(SPARE_SECONDS),
            "conditions": [is("limit", &self.id), is("max", &self.max.to_string())],
            "variables": ["descriptors[0].payer", "descriptors[0].window"],
        })
    }
}

/// The limits that the provider of this index counts.
fn limits(policy: &Policy, provider: usize) -> BTreeSet<Known> {
    let of_plans = policy.plans.iter().flat_map(|plan| &plan.limits);
    let of_apis = policy.apis().iter().flat_map(|api| {
        let of_bindings = api.bindings.iter().flat_map(|bindings| bindings.terms());
        of_bindings.flat_map(|binding| &binding.limits).chain(&api.limits)
    });
    let known = |limit: &Limit| {
        let across = limit.across().filter(|across| across.provider == provider)?;
        Some(Known { id: across.id.to_string(), max: limit.max(), window: limit.window() })
    };
    of_plans.chain(of_apis).flat_map(|set| &set.limits).filter_map(known).collect()
}

/// The length of the longest such window, in seconds.
const fn longest(window: Window) -> u64 {
    const DAY: u64 = 86_400;
    match window {
        Window::Second => 1,
        Window::Minute => 60,
        Window::Hour => 3600,
        Window::Day => DAY,
        Window::Week => 7 * DAY,
        Window::Month => 31 * DAY,
        Window::Year => 366 * DAY,
        // A century.
        Window::Eternity => 36_525 * DAY,
    }
}

fn wrong(message: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, message)
}
