//! Compiles rate limit services.

use super::super::{Report, document};
use crate::quota::remote::{Fallback, Service, Settings};

pub(super) fn compile(
    name: String,
    provider: document::RateLimitService,
    path: &str,
    report: &mut Report,
) -> Option<Service> {
    let document::RateLimitService { cluster, domain, engine, timeout, unavailable, cooldown, lease } =
        provider;
    for (attribute, text) in [("cluster", &cluster), ("domain", &domain)] {
        if !text.is_empty() {
            report.text(&format!("{path}.{attribute}"), text);
        }
    }
    let fallback = match unavailable {
        document::QuotaUnavailable::Deny => Fallback::Deny,
        document::QuotaUnavailable::Local => Fallback::Local,
        document::QuotaUnavailable::Allow => Fallback::Allow,
        document::QuotaUnavailable::AllowClients(clients) => {
            let path = format!("{path}.unavailable.allow_clients");
            report.distinct(&path, &clients);
            for (place, client) in clients.iter().enumerate().filter(|(_, client)| !client.is_empty()) {
                report.text(&format!("{path}[{place}]"), client);
            }
            Fallback::AllowClients(clients.into_iter().collect())
        }
    };
    let document::Lease::None = lease;
    let compiled = Service::new(Settings {
        name,
        cluster,
        domain,
        engine,
        timeout: timeout.duration(),
        fallback,
        cooldown: cooldown.duration(),
    });
    if let Err(errors) = &compiled {
        for error in errors {
            report.add(&format!("{path}.{}", error.attribute()), error);
        }
    }
    compiled.ok()
}
