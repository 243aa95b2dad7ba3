//! Compiles introspection endpoints.

use super::{
    super::{
        super::document::value::{Named, Secret},
        Diagnostics, document,
        forward::RESERVED,
        secrets::{Characters, resolve},
    },
    ProviderKind, Providers, authentication,
};
use crate::{
    credential::{Location, ProviderSecret},
    identity::{
        Terms,
        introspection::{Authentication, Provider, Settings, Signed},
    },
    provider::{Endpoint, Keeping, WhenUnavailable},
};

pub(super) fn compile(
    name: String,
    provider: document::Introspection,
    providers: &Providers,
    environment: &dyn Fn(&str) -> Option<String>,
    path: &str,
    report: &mut Diagnostics,
) -> Option<Provider> {
    let document::Introspection {
        cluster,
        url,
        authentication,
        headers,
        signed,
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
        authentication::compile(authentication, environment, &format!("{path}.authentication"), report);
    let headers = compile_headers(headers, &authentication, environment, &format!("{path}.headers"), report);
    let signed = signed.and_then(|signed| {
        compile_signed(signed, &authentication, providers, &format!("{path}.signed"), report)
    });
    let settings = Settings {
        name,
        cluster,
        // A missing endpoint is reported already; the rest is checked as well.
        endpoint: endpoint.or_else(|| Endpoint::parse("http://unknown").ok())?,
        authentication,
        headers,
        signed,
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

fn compile_signed(
    signed: document::SignedAnswers,
    authentication: &Authentication,
    providers: &Providers,
    path: &str,
    report: &mut Diagnostics,
) -> Option<Signed> {
    let document::SignedAnswers { provider, audience } = signed;
    let signer = providers.find(ProviderKind::Jwks, &provider, &format!("{path}.provider"), report);
    if signer.is_some_and(|signer| providers.is_keyless(signer)) {
        report.add(
            &format!("{path}.provider"),
            format!("the provider `{provider}` has no keys: give it `cluster` and `url`, or `keys`"),
        );
    }
    if let Some(audience) = &audience {
        report.text(&format!("{path}.audience"), audience);
    }
    let Some(audience) = audience.or_else(|| authentication.client_id().map(str::to_owned)) else {
        report.add(path, "say which `audience` the answers are for: `authentication` has no client id");
        return None;
    };
    Some(Signed { signer: signer?, audience })
}

/// Headers that belong to the request itself, beside those that no policy may set.
const OF_THE_REQUEST: [&str; 2] = ["accept", "content-type"];

/// The most headers, and the most bytes of one.
const MOST_HEADERS: usize = 32;
const MOST_BYTES: usize = 4096;

fn compile_headers(
    headers: Named<Secret>,
    authentication: &Authentication,
    environment: &dyn Fn(&str) -> Option<String>,
    path: &str,
    report: &mut Diagnostics,
) -> Vec<(String, ProviderSecret)> {
    report.at_most(MOST_HEADERS, "headers", headers.0.len(), path);
    let mut compiled: Vec<(String, ProviderSecret)> = Vec::new();
    for (name, value) in headers.0 {
        let path = format!("{path}.{name}");
        let name = name.to_ascii_lowercase();
        let value = resolve(value, Characters::Printable, environment, &path, report);
        report.at_most(MOST_BYTES, "bytes", value.secret().len(), &path);
        if name != "cookie" && Location::header(&name, None).is_err() {
            report.add(&path, "not a header name");
        } else if OF_THE_REQUEST.contains(&name.as_str())
            || (name != "cookie" && RESERVED.contains(&name.as_str()))
        {
            report.add(&path, "policies must not set this header");
        } else if name == "authorization" && authentication.sets_authorization() {
            report.add(&path, "`authentication` sets this header");
        } else if compiled.iter().any(|(other, _)| *other == name) {
            report.add(&path, "this header appears twice: upper and lower case make no difference");
        } else {
            compiled.push((name, value));
        }
    }
    compiled
}
