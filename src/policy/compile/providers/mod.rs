//! Compiles providers, each kind in a file of its own, and resolves their secrets.

mod authentication;
mod introspection;
mod jwks;
mod rate_limit_service;
mod service_management;

use std::collections::HashMap;

use super::{super::document::value::Named, Diagnostics, document, doubts, index};
use crate::{
    policy::{Provider, problem::Kind},
    quota::remote::Service,
};

/// The most providers.
const MOST: usize = 1_000;

/// The compiled providers.
pub(super) struct Providers {
    /// In the order of their names; incomplete where there are problems.
    pub(super) list: Vec<Provider>,
    by_name: HashMap<String, usize>,
    /// What each provider is, also where it has problems.
    kinds: Vec<ProviderKind>,
    /// Which providers have no keys, also where they have problems.
    keyless: Vec<bool>,
}

/// What a provider is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ProviderKind {
    Introspection,
    RateLimitService,
    Jwks,
    ServiceManagement,
}

pub(super) fn compile(
    providers: Named<document::Provider>,
    environment: &dyn Fn(&str) -> Option<String>,
    report: &mut Diagnostics,
) -> Providers {
    report.at_most(MOST, "providers", providers.0.len(), "providers");
    let by_name = index(&providers);
    let kinds = providers.0.values().map(ProviderKind::of).collect();
    let keyless = providers.0.values().map(is_keyless).collect();
    let known = Providers { list: Vec::new(), by_name, kinds, keyless };
    let list = providers
        .0
        .into_iter()
        .filter_map(|(name, provider)| {
            let path = format!("providers.{name}.{}", ProviderKind::of(&provider).attribute());
            report.name(&path, &name);
            let cluster = match &provider {
                document::Provider::Introspection(provider) => Some(&provider.cluster),
                document::Provider::RateLimitService(provider) => Some(&provider.cluster),
                document::Provider::ServiceManagement(provider) => Some(&provider.cluster),
                document::Provider::Jwks(provider) => provider.cluster.as_ref(),
            };
            if let Some(cluster) = cluster {
                doubts::cluster(cluster, &|| format!("{path}.cluster"), report);
            }
            match provider {
                document::Provider::Introspection(provider) => {
                    introspection::compile(name, provider, &known, environment, &path, report)
                        .map(Provider::Introspection)
                }
                document::Provider::RateLimitService(provider) => {
                    rate_limit_service::compile(name, provider, &path, report).map(Provider::RateLimitService)
                }
                document::Provider::Jwks(provider) => {
                    jwks::compile(name, provider, &path, report).map(Provider::Jwks)
                }
                document::Provider::ServiceManagement(provider) => {
                    service_management::compile(name, provider, environment, &path, report)
                        .map(Provider::ServiceManagement)
                }
            }
        })
        .collect();
    Providers { list, ..known }
}

/// Whether it is an issuer of JWTs without keys, whose tokens only Envoy can verify.
fn is_keyless(provider: &document::Provider) -> bool {
    match provider {
        document::Provider::Jwks(jwks) => jwks.cluster.is_none() && jwks.url.is_none() && jwks.keys.is_none(),
        document::Provider::Introspection(_)
        | document::Provider::RateLimitService(_)
        | document::Provider::ServiceManagement(_) => false,
    }
}

impl Providers {
    /// The issuers of the tokens that the provider knows; empty if they are not known, or if it has problems.
    pub(super) fn issuers(&self, index: usize) -> Vec<String> {
        match self.list.get(index).filter(|_| self.list.len() == self.kinds.len()) {
            Some(Provider::Introspection(provider)) => provider.settings().issuers.clone(),
            Some(Provider::Jwks(provider)) => vec![provider.settings().issuer.clone()],
            Some(Provider::RateLimitService(_) | Provider::ServiceManagement(_)) | None => Vec::new(),
        }
    }

    /// Whether the provider is an issuer of JWTs without keys.
    pub(super) fn is_keyless(&self, index: usize) -> bool {
        self.keyless.get(index) == Some(&true)
    }

    /// The index of the provider that is called `name` and is of this kind, or none and a problem at `path`.
    pub(super) fn find(
        &self,
        kind: ProviderKind,
        name: &str,
        path: &str,
        report: &mut Diagnostics,
    ) -> Option<usize> {
        let index = report.find(|| path.to_owned(), Kind::Provider, name, &self.by_name)?;
        if self.kinds.get(index) == Some(&kind) {
            return Some(index);
        }
        report.add(path, format!("the provider `{name}` is not of the kind `{}`", kind.attribute()));
        None
    }
}

impl Providers {
    /// The index of the rate limit service that counts a limit: the one called `name`, or the only one.
    /// Without it, none and a problem at `path`, the path of the limit.
    pub(super) fn find_service(
        &self,
        name: Option<&str>,
        path: &str,
        report: &mut Diagnostics,
    ) -> Option<usize> {
        if let Some(name) = name {
            return self.find(ProviderKind::RateLimitService, name, &format!("{path}.provider"), report);
        }
        let mut services = self.kinds.iter().enumerate();
        let mut next = || services.find(|(_, kind)| **kind == ProviderKind::RateLimitService);
        match (next(), next()) {
            (Some((index, _)), None) => return Some(index),
            (None, _) => report.add(
                &format!("{path}.across"),
                "needs a provider of the kind `rate_limit_service`, and there is none",
            ),
            (Some(_), Some(_)) => report.add(
                &format!("{path}.across"),
                "say which `provider` counts: there are several of the kind `rate_limit_service`",
            ),
        }
        None
    }

    /// Whether any provider is a rate limit service.
    pub(super) fn has_services(&self) -> bool {
        self.kinds.contains(&ProviderKind::RateLimitService)
    }

    /// The rate limit service at an index; none if it has problems.
    pub(super) fn service(&self, index: usize) -> Option<&Service> {
        match self.list.get(index) {
            // Where a provider has problems, indexes into the list are off, and there is no policy.
            Some(Provider::RateLimitService(service)) if self.list.len() == self.kinds.len() => Some(service),
            _ => None,
        }
    }
}

impl ProviderKind {
    const fn of(provider: &document::Provider) -> Self {
        match provider {
            document::Provider::Introspection(_) => Self::Introspection,
            document::Provider::RateLimitService(_) => Self::RateLimitService,
            document::Provider::Jwks(_) => Self::Jwks,
            document::Provider::ServiceManagement(_) => Self::ServiceManagement,
        }
    }

    /// The attribute that makes a provider one of this kind.
    const fn attribute(self) -> &'static str {
        match self {
            Self::Introspection => "introspection",
            Self::RateLimitService => "rate_limit_service",
            Self::Jwks => "jwks",
            Self::ServiceManagement => "service_management",
        }
    }
}
