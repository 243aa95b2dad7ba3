//! An introspection endpoint as compiled from the policy: its address, our credentials there, and how long
//! its answers are cached.

use std::{rc::Rc, time::Duration};

use super::{ClientAuthentication, OwnToken, Signed, issuer};
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
    /// Further header fields of our requests. Names are in lower case.
    pub headers: Vec<(String, ProviderSecret)>,
    /// What answers must be if they must be signed.
    pub signed: Option<Signed>,
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
    /// As an OAuth2 client.
    Client(ClientAuthentication),
    /// With an access token that the policy holds (RFC 6750 section 2.1).
    Bearer {
        /// The token.
        token: ProviderSecret,
    },
    /// With an access token that we fetch.
    ClientCredentials(Rc<OwnToken>),
    /// No authentication: the network is trusted, as with Ory Hydra's admin port.
    None,
}

impl Authentication {
    /// The id of the client that we are.
    pub fn client_id(&self) -> Option<&str> {
        match self {
            Self::Client(client) => Some(client.id()),
            Self::ClientCredentials(own) => Some(own.endpoint().authentication.id()),
            Self::Bearer { .. } | Self::None => None,
        }
    }

    /// Whether it is in the header `authorization`.
    pub const fn sets_authorization(&self) -> bool {
        match self {
            Self::Client(client) => matches!(client, ClientAuthentication::Basic { .. }),
            Self::Bearer { .. } | Self::ClientCredentials(_) => true,
            Self::None => false,
        }
    }
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
    if settings.authentication.client_id() == Some("") {
        faults.push(InvalidProvider::EmptyClientId);
    }
    match &settings.authentication {
        Authentication::Bearer { token } if !is_visible(token.secret()) => {
            faults.push(InvalidProvider::BearerToken);
        }
        Authentication::Client(_)
        | Authentication::Bearer { .. }
        | Authentication::ClientCredentials(_)
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

/// Whether a text can be a bearer token.
pub(super) fn is_visible(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic())
}

fn digest(settings: &Settings) -> Digest {
    let own;
    let (kind, id): (&[u8], &[u8]) = match &settings.authentication {
        Authentication::Client(client) => (client.kind(), client.id().as_bytes()),
        Authentication::Bearer { token } => {
            own = token.digest();
            (b"bearer", own.bytes())
        }
        Authentication::ClientCredentials(token) => {
            own = token.digest();
            (b"client credentials", own.bytes())
        }
        Authentication::None => (b"none", b""),
    };
    // What was not signed must not serve those who ask for signed answers.
    let audience = settings.signed.as_ref().map(|signed| signed.audience.as_str()).unwrap_or_default();
    let parts = [&settings.name, &settings.cluster, settings.endpoint.as_str(), audience].map(str::as_bytes);
    let [name, cluster, url, audience] = parts;
    let headers = settings
        .headers
        .iter()
        .map(|(name, value)| Digest::of_parts(&[name.as_bytes(), value.digest().bytes()]));
    // A header may say who asks, or for whom.
    headers.fold(Digest::of_parts(&[name, cluster, url, kind, id, audience]), |digest, header| {
        digest.joined(&header)
    })
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
            headers: Vec::new(),
            signed: None,
            timeout: Settings::DEFAULT_TIMEOUT,
            terms: Terms::default(),
            issuers: Vec::new(),
            leeway: Settings::DEFAULT_LEEWAY,
        }
    }

    fn basic(id: &str, secret: &str) -> Authentication {
        let (id, secret) = (id.to_owned(), ProviderSecret::new(secret));
        Authentication::Client(ClientAuthentication::Basic { id, secret })
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
