//! Compiles providers and resolves their secrets.

use std::collections::HashMap;

use super::{
    super::document::value::{Named, Secret},
    Report, document, index,
};
use crate::{
    credential::ProviderSecret,
    identity::{
        Terms,
        introspection::{Authentication, Provider, Settings},
    },
    provider::{Endpoint, Keeping, WhenUnavailable},
};

/// The most providers.
const MOST: usize = 1_000;

/// The compiled providers.
pub(super) struct Providers {
    /// In the order of their names; incomplete where there are problems.
    pub(super) list: Vec<Provider>,
    pub(super) by_name: HashMap<String, usize>,
}

pub(super) fn compile(
    providers: Named<document::Provider>,
    environment: &dyn Fn(&str) -> Option<String>,
    report: &mut Report,
) -> Providers {
    report.at_most(MOST, "providers", providers.0.len(), "providers");
    let by_name = index(&providers);
    let list = providers
        .0
        .into_iter()
        .filter_map(|(name, document::Provider::Introspection(provider))| {
            let path = format!("providers.{name}.introspection");
            report.name(&path, &name);
            introspection(name, provider, environment, &path, report)
        })
        .collect();
    Providers { list, by_name }
}

fn introspection(
    name: String,
    provider: document::Introspection,
    environment: &dyn Fn(&str) -> Option<String>,
    path: &str,
    report: &mut Report,
) -> Option<Provider> {
    let document::Introspection {
        cluster,
        url,
        authentication,
        timeout,
        cache,
        unavailable,
        cooldown,
        issuers,
        leeway,
    } = provider;
    if !cluster.is_empty() {
        report.text(&format!("{path}.cluster"), &cluster);
    }
    let issuers = report.list(&format!("{path}.issuers"), issuers);
    report.distinct(&format!("{path}.issuers"), &issuers);
    let endpoint = report.take(&format!("{path}.url"), Endpoint::parse(&url));
    let authentication =
        compile_authentication(authentication, environment, &format!("{path}.authentication"), report);
    let settings = Settings {
        name,
        cluster,
        // A missing endpoint is reported already; the rest is checked as well.
        endpoint: endpoint.or_else(|| Endpoint::parse("http://unknown").ok())?,
        authentication,
        timeout: timeout.duration(),
        terms: Terms {
            keeping: Keeping {
                ttl: cache.ttl.duration(),
                negative_ttl: cache.negative_ttl.duration(),
                stale_if_error: cache.stale_if_error.duration(),
            },
            when_unavailable: match unavailable {
                document::Unavailable::Deny => WhenUnavailable::Deny,
                document::Unavailable::Stale => WhenUnavailable::Stale,
                document::Unavailable::AllowClients(clients) => {
                    let path = format!("{path}.unavailable.allow_clients");
                    report.distinct(&path, &clients);
                    for (place, client) in clients.iter().enumerate().filter(|(_, client)| !client.is_empty())
                    {
                        report.text(&format!("{path}[{place}]"), client);
                    }
                    WhenUnavailable::AllowClients(clients.into_iter().collect())
                }
            },
            cooldown: cooldown.duration(),
        },
        issuers,
        leeway: leeway.duration(),
    };
    let compiled = Provider::new(settings);
    if let Err(errors) = &compiled {
        for error in errors {
            // Whether an answer can be stale depends on how long it is kept.
            let rests_on = vec![format!("{path}.cache")];
            report.add_resting_on(&format!("{path}.{}", error.attribute()), error, rests_on);
        }
    }
    compiled.ok()
}

fn compile_authentication(
    authentication: document::Authentication,
    environment: &dyn Fn(&str) -> Option<String>,
    path: &str,
    report: &mut Report,
) -> Authentication {
    if let document::Authentication::Basic(client) | document::Authentication::Post(client) = &authentication
        && !client.id.is_empty()
    {
        let kind =
            if matches!(authentication, document::Authentication::Basic(_)) { "basic" } else { "post" };
        report.text(&format!("{path}.{kind}.id"), &client.id);
    }
    let is_checked = matches!(authentication, document::Authentication::Bearer(_));
    let mut resolve = |path: String, secret: Secret| match secret {
        Secret::Inline(text) => {
            if !is_checked && text.chars().any(char::is_control) {
                report.add(&path, "has a control character");
            }
            ProviderSecret::new(text)
        }
        Secret::Env(name) => {
            let value = environment(&name).filter(|value| !value.is_empty() && is_variable(&name));
            match &value {
                _ if !is_variable(&name) => {
                    report.add(&path, "not the name of a variable: expected ASCII letters, digits and `_`");
                }
                None => {
                    report.add(&path, format!("the environment has no variable `{name}`, or an empty one"));
                }
                Some(value) if !is_checked && value.chars().any(char::is_control) => {
                    report.add(&path, format!("the variable `{name}` has a control character"));
                }
                Some(_) => {}
            }
            ProviderSecret::new(value.unwrap_or_else(|| "unknown".to_owned()))
        }
    };
    match authentication {
        document::Authentication::Basic(document::Client { id, secret }) => {
            Authentication::Basic { id, secret: resolve(format!("{path}.basic.secret"), secret) }
        }
        document::Authentication::Post(document::Client { id, secret }) => {
            Authentication::Post { id, secret: resolve(format!("{path}.post.secret"), secret) }
        }
        document::Authentication::Bearer(document::BearerToken { token }) => {
            Authentication::Bearer { token: resolve(format!("{path}.bearer.token"), token) }
        }
        document::Authentication::None => Authentication::None,
    }
}

/// Whether every environment can have a variable of this name.
fn is_variable(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}
