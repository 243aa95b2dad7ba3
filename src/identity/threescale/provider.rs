//! A service at 3scale's backend as compiled from the policy: its address, our credentials there, and how its
//! decisions are cached.

use std::{collections::BTreeSet, time::Duration};

use crate::{
    credential::{Digest, ProviderSecret},
    provider::Endpoint,
};

/// The settings of one service.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The provider's name in the policy.
    pub name: String,
    /// The Envoy cluster of the backend.
    pub cluster: String,
    /// The URL of the backend, without a path of its API.
    pub endpoint: Endpoint,
    /// Who we are there.
    pub account: Account,
    /// What happens to decisions when the backend is unavailable.
    pub caching: Caching,
    /// How long a decision is used without asking again.
    pub ttl: Duration,
    /// How long after `ttl` a decision may be repeated while the backend is unavailable.
    pub stale_if_error: Duration,
    /// How long to wait for an answer.
    pub timeout: Duration,
    /// How long the backend rests after a failure.
    pub cooldown: Duration,
    /// The applications that pass while the backend is unavailable, by id.
    pub allowed: BTreeSet<String>,
    /// When usage is counted at the backend.
    pub reckoning: Reckoning,
    /// How often usage is reported.
    pub report_every: Duration,
    /// Whether the status of each answer is reported with the usage.
    pub report_codes: bool,
}

/// Who we are at the backend.
#[derive(Clone, Debug)]
pub enum Account {
    /// A service, by its token.
    Service {
        /// The service's id.
        id: String,
        /// Its token.
        token: ProviderSecret,
    },
    /// A whole account, by its key.
    Provider {
        /// The service's id; the default service of the account if absent.
        service: Option<String>,
        /// The provider key.
        key: ProviderSecret,
    },
}

/// What happens to decisions when the backend is unavailable: the four modes of APIcast.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Caching {
    /// Decisions are used for their `ttl`, and not beyond.
    #[default]
    Strict,
    /// The last decision is repeated, and whoever has none is refused.
    Resilient,
    /// The last decision is repeated, and whoever has none is allowed.
    Allow,
    /// Every request asks.
    None,
}

/// When usage is counted at the backend.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reckoning {
    /// It is added up here, and reported from time to time.
    #[default]
    Batched,
    /// Each request waits until the backend has counted it.
    Exact,
}

/// Why settings are invalid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidProvider {
    /// No cluster.
    #[error("the name of the cluster must not be empty")]
    EmptyCluster,
    /// The timeout is zero.
    #[error("the timeout must be longer than zero")]
    ZeroTimeout,
    /// Decisions are to be cached, but for no time.
    #[error("caching needs a `ttl` longer than zero: `caching: none` asks for every request")]
    ZeroTtl,
    /// Local counts are kept for an hour.
    #[error("decisions must not be used for longer than an hour")]
    LongTtl,
    /// Reports would never end, or never begin.
    #[error("reports are sent every second at most, and every hour at least")]
    ReportPeriod,
    /// A code is known after the answer only, and usage was counted before.
    #[error("codes are part of batched reports, and `counting: exact` sends none")]
    CodesWithoutReports,
}

impl InvalidProvider {
    /// The attribute that is invalid, relative to the provider's settings in the policy document.
    pub const fn attribute(self) -> &'static str {
        match self {
            Self::EmptyCluster => "cluster",
            Self::ZeroTimeout => "timeout",
            Self::ZeroTtl | Self::LongTtl => "ttl",
            Self::ReportPeriod => "reporting.every",
            Self::CodesWithoutReports => "reporting.codes",
        }
    }
}

/// A service at the backend, ready to use.
#[derive(Clone, Debug)]
pub struct Provider {
    settings: Settings,
    digest: Digest,
}

impl Settings {
    /// The default time that a decision is used.
    pub const DEFAULT_TTL: Duration = Duration::from_secs(10);
    /// The default timeout.
    pub const DEFAULT_TIMEOUT: Duration = Duration::from_millis(1_000);
    /// The default time between reports.
    pub const DEFAULT_REPORT_EVERY: Duration = Duration::from_secs(10);
    /// The default time for which decisions are repeated while the backend is unavailable.
    pub const DEFAULT_STALE: Duration = Duration::from_secs(86_400);

    const HOUR: Duration = Duration::from_secs(3_600);
}

impl Provider {
    /// Checks `settings`. Fails with all problems in them.
    pub fn new(settings: Settings) -> Result<Self, Vec<InvalidProvider>> {
        let periods = Duration::from_secs(1)..=Settings::HOUR;
        let checks = [
            (settings.cluster.is_empty(), InvalidProvider::EmptyCluster),
            (settings.timeout.is_zero(), InvalidProvider::ZeroTimeout),
            (settings.ttl.is_zero() && settings.caching != Caching::None, InvalidProvider::ZeroTtl),
            (settings.ttl > Settings::HOUR, InvalidProvider::LongTtl),
            (!periods.contains(&settings.report_every), InvalidProvider::ReportPeriod),
            (
                settings.report_codes && settings.reckoning == Reckoning::Exact,
                InvalidProvider::CodesWithoutReports,
            ),
        ];
        let faults: Vec<_> =
            checks.into_iter().filter_map(|(is_wrong, fault)| is_wrong.then_some(fault)).collect();
        if !faults.is_empty() {
            return Err(faults);
        }
        let digest = digest(&settings);
        Ok(Self { settings, digest })
    }

    /// The operator's settings.
    pub const fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The digest that identifies the service.
    pub const fn digest(&self) -> &Digest {
        &self.digest
    }
}

/// Two providers of one service share decisions and reports, whatever they are called. A token that was
/// rotated changes nothing.
fn digest(settings: &Settings) -> Digest {
    let key;
    let (kind, service): (&[u8], &str) = match &settings.account {
        Account::Service { id, token: _ } => (b"service", id),
        Account::Provider { service: Some(service), key: _ } => (b"service", service),
        Account::Provider { service: None, key: own } => {
            key = own.digest().to_hex();
            (b"account", &key)
        }
    };
    let parts = [&settings.cluster, settings.endpoint.as_str(), service].map(str::as_bytes);
    let [cluster, url, service] = parts;
    Digest::of_parts(&[b"service_management", cluster, url, kind, service])
}

#[cfg(test)]
pub(super) mod tests {
    #[cfg(all(target_family = "wasm", target_os = "unknown"))]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    pub fn settings() -> Settings {
        Settings {
            name: "su1".to_owned(),
            cluster: "backend".to_owned(),
            endpoint: Endpoint::parse("https://su1.3scale.net").unwrap(),
            account: Account::Service { id: "123".to_owned(), token: ProviderSecret::new("t0k&n") },
            caching: Caching::Strict,
            ttl: Settings::DEFAULT_TTL,
            stale_if_error: Settings::DEFAULT_STALE,
            timeout: Settings::DEFAULT_TIMEOUT,
            cooldown: Duration::from_secs(1),
            allowed: BTreeSet::new(),
            reckoning: Reckoning::Batched,
            report_every: Settings::DEFAULT_REPORT_EVERY,
            report_codes: false,
        }
    }

    #[test]
    fn every_problem_is_reported_with_its_attribute() {
        let wrong = Settings {
            cluster: String::new(),
            timeout: Duration::ZERO,
            ttl: Duration::ZERO,
            reckoning: Reckoning::Exact,
            report_every: Duration::from_millis(999),
            report_codes: true,
            ..settings()
        };
        let attributes = |settings| {
            let faults = Provider::new(settings).unwrap_err();
            faults.into_iter().map(InvalidProvider::attribute).collect::<Vec<_>>()
        };
        assert_eq!(attributes(wrong), ["cluster", "timeout", "ttl", "reporting.every", "reporting.codes"]);
        assert_eq!(attributes(Settings { ttl: Duration::from_secs(3_601), ..settings() }), ["ttl"]);
        for settings in [settings(), Settings { ttl: Duration::ZERO, caching: Caching::None, ..settings() }] {
            assert!(Provider::new(settings).is_ok());
        }
    }

    #[test]
    fn the_digest_is_that_of_the_service() {
        let digest = |account| *Provider::new(Settings { account, ..settings() }).unwrap().digest();
        let token = |token| ProviderSecret::new(token);
        let service = |id: &str, secret| digest(Account::Service { id: id.to_owned(), token: token(secret) });
        let account = |service: Option<&str>, key| {
            digest(Account::Provider { service: service.map(str::to_owned), key: token(key) })
        };
        assert_eq!(service("1", "a"), service("1", "b"), "the token was rotated");
        assert_eq!(service("1", "a"), account(Some("1"), "key"));
        assert_ne!(service("1", "a"), service("2", "a"));
        assert_ne!(account(None, "one"), account(None, "other"));
    }
}
