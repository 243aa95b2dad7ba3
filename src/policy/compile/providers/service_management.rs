//! Compiles services at 3scale's backend.

use super::super::{
    Diagnostics, document,
    secrets::{Characters, resolve},
};
use crate::{
    identity::threescale::{Account, Caching, Provider, Reckoning, Settings},
    provider::Endpoint,
};

/// The most applications that pass during an outage. Each is remembered with its key.
const MOST_ALLOWED: usize = 1_000;

pub(super) fn compile(
    name: String,
    provider: document::ServiceManagement,
    environment: &dyn Fn(&str) -> Option<String>,
    path: &str,
    report: &mut Diagnostics,
) -> Option<Provider> {
    let document::ServiceManagement {
        cluster,
        url,
        service_id,
        service_token,
        provider_key,
        caching,
        ttl,
        stale_if_error,
        timeout,
        cooldown,
        unavailable,
        counting,
        reporting,
    } = provider;
    for (attribute, text) in [("cluster", Some(&cluster)), ("service_id", service_id.as_ref())] {
        if let Some(text) = text.filter(|text| !text.is_empty() || attribute != "cluster") {
            report.text(&format!("{path}.{attribute}"), text);
        }
    }
    let endpoint = report.take(&format!("{path}.url"), Endpoint::parse(&url));
    if endpoint.as_ref().is_some_and(|endpoint| endpoint.path().contains('?')) {
        report.add(&format!("{path}.url"), "must not have a query");
    }
    let secret = |attribute: &str, secret, report: &mut Diagnostics| {
        resolve(secret, Characters::Printable, environment, &format!("{path}.{attribute}"), report)
    };
    let account = match (service_token, provider_key, service_id) {
        (Some(token), None, Some(id)) => {
            Some(Account::Service { id, token: secret("service_token", token, report) })
        }
        (Some(_), None, None) => {
            report.add(path, "a `service_token` needs the `service_id` of its service");
            None
        }
        (None, Some(key), service) => {
            Some(Account::Provider { service, key: secret("provider_key", key, report) })
        }
        (Some(_), Some(_), _) | (None, None, _) => {
            report.add(path, "give exactly one of `service_token` and `provider_key`");
            None
        }
    };
    let allowed = match unavailable {
        document::WithoutDecision::Deny => Vec::new(),
        document::WithoutDecision::AllowApplications(list) => {
            let path = format!("{path}.unavailable.allow_applications");
            let list = report.list(&path, Some(list));
            report.at_most(MOST_ALLOWED, "applications", list.len(), &path);
            report.distinct(&path, &list);
            list
        }
    };
    let settings = Settings {
        name,
        cluster,
        // A missing endpoint is reported already; the rest is checked as well.
        endpoint: endpoint.or_else(|| Endpoint::parse("http://unknown").ok())?,
        account: account.unwrap_or_else(|| Account::Provider {
            service: None,
            key: crate::credential::ProviderSecret::new("unknown"),
        }),
        caching: match caching {
            document::DecisionCaching::Strict => Caching::Strict,
            document::DecisionCaching::Resilient => Caching::Resilient,
            document::DecisionCaching::Allow => Caching::Allow,
            document::DecisionCaching::None => Caching::None,
        },
        ttl: ttl.duration(),
        stale_if_error: stale_if_error.duration(),
        timeout: timeout.duration(),
        cooldown: cooldown.duration(),
        allowed: allowed.into_iter().collect(),
        reckoning: match counting {
            document::UsageCounting::Batched => Reckoning::Batched,
            document::UsageCounting::Exact => Reckoning::Exact,
        },
        report_every: reporting.every.duration(),
        report_codes: reporting.codes,
    };
    let compiled = Provider::new(settings);
    if let Err(errors) = &compiled {
        for error in errors {
            report.add_resting_on(
                &format!("{path}.{}", error.attribute()),
                error,
                vec![format!("{path}.caching"), format!("{path}.counting")],
            );
        }
    }
    compiled.ok()
}
