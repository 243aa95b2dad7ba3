//! An introspection endpoint as compiled from the policy: its address, our credentials there, and how long
//! its answers are cached.

use std::time::Duration;

use super::issuer;
use crate::{
    credential::{Digest, ProviderSecret},
    identity::Terms,
    provider::{Endpoint, WhenUnavailable},
};

/// The settings of one introspection endpoint.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The provider's name in the policy.
    pub name: String,
    /// The Envoy cluster of the endpoint.
    pub cluster: String,
    /// The URL of the endpoint.
    pub endpoint: Endpoint,
    /// How we authenticate.
    pub authentication: Authentication,
    /// How long to wait for an answer.
    pub timeout: Duration,
    /// The terms for using answers.
    pub terms: Terms,
    /// The issuers of the tokens that the endpoint knows; empty if they are not known.
    pub issuers: Vec<String>,
    /// How far the server's clock may be ahead of ours when `nbf` and `iat` are checked.
    pub leeway: Duration,
}

impl Settings {
    /// The default leeway.
    pub const DEFAULT_LEEWAY: Duration = Duration::from_secs(30);
    /// The default timeout.
    pub const DEFAULT_TIMEOUT: Duration = Duration::from_millis(200);
}

/// How we authenticate to the endpoint.
#[derive(Clone, Debug)]
pub enum Authentication {
    /// HTTP Basic; id and secret are form-urlencoded first (RFC 6749 section 2.3.1).
    Basic {
        /// OAuth2 client id.
        id: String,
        /// OAuth2 client secret.
        secret: ProviderSecret,
    },
    /// `client_id` and `client_secret` in the form (RFC 6749 section 2.3.1).
    Post {
        /// OAuth2 client id.
        id: String,
        /// OAuth2 client secret.
        secret: ProviderSecret,
    },
    /// An access token of our own (RFC 6750 section 2.1).
    Bearer {
        /// The token.
        token: ProviderSecret,
    },
    /// No authentication: the network is trusted, as with Ory Hydra's admin port.
    None,
}

/// Why settings are invalid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidProvider {
    /// No cluster.
    #[error("the name of the cluster must not be empty")]
    EmptyCluster,
    /// No client id.
    #[error("the client id must not be empty")]
    EmptyClientId,
    /// The token is empty, or cannot be sent in a header.
    #[error("the bearer token must be visible ASCII characters without spaces")]
    BearerToken,
    /// The timeout is zero.
    #[error("the timeout must be longer than zero")]
    ZeroTimeout,
    /// The list of allowed clients is empty.
    #[error("the list of allowed clients must not be empty")]
    NoClients,
    /// Stale answers are allowed, but none are cached.
    #[error("serving stale answers needs a cache `ttl` and `stale_if_error` longer than zero")]
    NothingStale,
}

impl InvalidProvider {
    /// The attribute that is invalid, relative to the provider's settings in the policy document.
    pub const fn attribute(self) -> &'static str {
        match self {
            Self::EmptyCluster => "cluster",
            Self::EmptyClientId | Self::BearerToken => "authentication",
            Self::ZeroTimeout => "timeout",
            Self::NoClients => "unavailable.allow_clients",
            Self::NothingStale => "unavailable",
        }
    }
}

/// An introspection endpoint, ready to use.
#[derive(Clone, Debug)]
pub struct Provider {
    settings: Settings,
    digest: Digest,
}

impl Provider {
    /// Checks `settings`. Fails with all problems in them.
    pub fn new(settings: Settings) -> Result<Self, Vec<InvalidProvider>> {
        let faults = faults(&settings);
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

    /// The digest that identifies this endpoint and our identity there.
    pub const fn digest(&self) -> &Digest {
        &self.digest
    }

    /// Whether `token` says that it was issued by somebody whose tokens the endpoint does not know.
    pub(super) fn is_foreign(&self, token: &str) -> bool {
        issuer::is_foreign(token, &self.settings.issuers)
    }

    /// The key under which the answer about a token with this digest is cached and shared, and concurrent
    /// requests are joined.
    ///
    /// It depends on the endpoint and on our identity there, because a server may answer each of its resource
    /// servers differently (RFC 7662 section 2.2). It does not reveal the token.
    pub fn cache_key(&self, token: &Digest) -> Digest {
        self.digest.joined(token)
    }
}

fn faults(settings: &Settings) -> Vec<InvalidProvider> {
    let mut faults = Vec::new();
    if settings.cluster.is_empty() {
        faults.push(InvalidProvider::EmptyCluster);
    }
    match &settings.authentication {
        Authentication::Basic { id, secret: _ } | Authentication::Post { id, secret: _ } if id.is_empty() => {
            faults.push(InvalidProvider::EmptyClientId);
        }
        Authentication::Bearer { token } if !is_visible(token.secret()) => {
            faults.push(InvalidProvider::BearerToken);
        }
        Authentication::Basic { .. }
        | Authentication::Post { .. }
        | Authentication::Bearer { .. }
        | Authentication::None => {}
    }
    if settings.timeout.is_zero() {
        faults.push(InvalidProvider::ZeroTimeout);
    }
    if matches!(&settings.terms.when_unavailable, WhenUnavailable::AllowClients(clients) if clients.is_empty())
    {
        faults.push(InvalidProvider::NoClients);
    }
    let keeps_stale =
        !settings.terms.keeping.ttl.is_zero() && !settings.terms.keeping.stale_if_error.is_zero();
    if settings.terms.when_unavailable != WhenUnavailable::Deny && !keeps_stale {
        faults.push(InvalidProvider::NothingStale);
    }
    faults
}

fn is_visible(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic())
}

fn digest(settings: &Settings) -> Digest {
    let bearer;
    let (kind, id): (&[u8], &[u8]) = match &settings.authentication {
        Authentication::Basic { id, secret: _ } => (b"basic", id.as_bytes()),
        Authentication::Post { id, secret: _ } => (b"post", id.as_bytes()),
        Authentication::Bearer { token } => {
            bearer = token.digest();
            (b"bearer", bearer.bytes())
        }
        Authentication::None => (b"none", b""),
    };
    let parts = [&settings.name, &settings.cluster, settings.endpoint.as_str()].map(str::as_bytes);
    let [name, cluster, url] = parts;
    Digest::of_parts(&[name, cluster, url, kind, id])
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::BTreeSet;

    #[cfg(all(target_family = "wasm", target_os = "unknown"))]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;
    use crate::provider::Keeping;

    pub fn settings() -> Settings {
        Settings {
            name: "hydra".to_owned(),
            cluster: "hydra-admin".to_owned(),
            endpoint: Endpoint::parse("http://hydra:4445/admin/oauth2/introspect").unwrap(),
            authentication: Authentication::None,
            timeout: Settings::DEFAULT_TIMEOUT,
            terms: Terms::default(),
            issuers: Vec::new(),
            leeway: Settings::DEFAULT_LEEWAY,
        }
    }

    fn basic(id: &str, secret: &str) -> Authentication {
        Authentication::Basic { id: id.to_owned(), secret: ProviderSecret::new(secret) }
    }

    #[test]
    fn every_problem_is_reported_with_its_attribute() {
        let wrong = Settings {
            cluster: String::new(),
            authentication: basic("", "s"),
            timeout: Duration::ZERO,
            terms: Terms {
                keeping: Keeping { ttl: Duration::ZERO, ..Keeping::default() },
                when_unavailable: WhenUnavailable::AllowClients(BTreeSet::new()),
                ..Terms::default()
            },
            ..settings()
        };
        let faults = Provider::new(wrong).unwrap_err();
        let attributes: Vec<_> = faults.into_iter().map(InvalidProvider::attribute).collect();
        assert_eq!(
            attributes,
            ["cluster", "authentication", "timeout", "unavailable.allow_clients", "unavailable"]
        );
        for token in ["", "a b", "a\r\n", "é"] {
            let authentication = Authentication::Bearer { token: ProviderSecret::new(token) };
            let faults = Provider::new(Settings { authentication, ..settings() }).unwrap_err();
            assert_eq!(faults, [InvalidProvider::BearerToken], "{token:?}");
        }
        assert!(Provider::new(settings()).is_ok());
    }

    #[test]
    fn the_cache_key_depends_on_what_may_change_the_answer() {
        let key = |settings| Provider::new(settings).unwrap().cache_key(&Digest::of(b"token"));
        let other_url = Endpoint::parse("http://hydra:4445/other").unwrap();
        let different = [
            settings(),
            Settings { name: "other".to_owned(), ..settings() },
            Settings { cluster: "other".to_owned(), ..settings() },
            Settings { endpoint: other_url, ..settings() },
            Settings { authentication: basic("a", "s"), ..settings() },
            Settings { authentication: basic("b", "s"), ..settings() },
            Settings {
                authentication: Authentication::Bearer { token: ProviderSecret::new("t") },
                ..settings()
            },
        ];
        let keys: BTreeSet<_> = different.into_iter().map(key).collect();
        assert_eq!(keys.len(), 7);
        let rotated = Settings { authentication: basic("a", "s2"), leeway: Duration::ZERO, ..settings() };
        assert!(keys.contains(&key(rotated)));
        assert_ne!(key(settings()), Provider::new(settings()).unwrap().cache_key(&Digest::of(b"other")));
    }
}
