//! Compiles introspection endpoints.

use super::super::{
    Report, document,
    secrets::{Characters, resolve},
};
use crate::{
    identity::{
        Terms,
        introspection::{Authentication, Provider, Settings},
    },
    provider::{Endpoint, Keeping, WhenUnavailable},
};

pub(super) fn compile(
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
            ..Terms::default()
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
    let characters = match authentication {
        document::Authentication::Bearer(_) => Characters::Checked,
        _ => Characters::Printable,
    };
    let mut resolve = |path: String, secret| resolve(secret, characters, environment, &path, report);
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
