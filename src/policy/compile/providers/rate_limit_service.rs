//! Compiles rate limit services.

use super::super::{Diagnostics, document};
use crate::quota::remote::{Fallback, LeaseBounds, Service, Settings};

pub(super) fn compile(
    name: String,
    provider: document::RateLimitService,
    path: &str,
    report: &mut Diagnostics,
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
    let leases = match lease {
        document::Lease::None => None,
        document::Lease::Adaptive => Some(document::LeaseTerms::default()),
        document::Lease::UpTo(terms) => {
            let path = format!("{path}.lease.up_to");
            if !(1..=50).contains(&terms.share) {
                report.add(&format!("{path}.share"), "not between 1 and 50");
            }
            if !(1..=1_000_000).contains(&terms.most) {
                report.add(&format!("{path}.most"), "not between 1 and 1000000");
            }
            if terms.lasts.duration().is_zero() {
                report.add(&format!("{path}.lasts"), "must be longer than zero");
            }
            Some(terms)
        }
    };
    let bounds = |terms: document::LeaseTerms| LeaseBounds {
        share: terms.share,
        lasts: terms.lasts.duration(),
        most: terms.most,
    };
    let compiled = Service::new(Settings {
        name,
        cluster,
        domain,
        engine,
        timeout: timeout.duration(),
        fallback,
        cooldown: cooldown.duration(),
        leases: leases.map(bounds),
    });
    if let Err(errors) = &compiled {
        for error in errors {
            report.add(&format!("{path}.{}", error.attribute()), error);
        }
    }
    compiled.ok()
}
