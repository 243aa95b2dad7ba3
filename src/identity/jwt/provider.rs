//! An issuer of tokens as compiled from the policy.

use std::{rc::Rc, time::Duration};

use super::{Algorithm, KeySet, Publication};
use crate::{
    access::Audience,
    credential::Digest,
    identity::{Terms, Tolerance},
};

/// The settings of one issuer of tokens.
#[derive(Debug)]
pub struct Settings {
    /// The provider's name in the policy.
    pub name: String,
    /// The value that `iss` must have.
    pub issuer: String,
    /// The audiences that tokens must name.
    pub audience: Option<Audience>,
    /// The algorithms that tokens may be signed with.
    pub algorithms: Vec<Algorithm>,
    /// The keys that tokens are signed with.
    pub keys: Keys,
    /// Where Envoy's `jwt_authn` filter puts the payload of a token that it has verified.
    pub payload_in_metadata: String,
    /// How long verified tokens are cached.
    pub terms: Terms,
    /// How far the issuer's clock may differ from ours.
    pub leeway: Duration,
    /// The longest time from `iat` to `exp`.
    pub max_lifetime: Option<Duration>,
}

/// Where the keys of an issuer are.
#[derive(Debug)]
pub enum Keys {
    /// In the policy. The digest is that of their text.
    Written(Rc<KeySet>, Digest),
    /// At a URL.
    Published(Publication),
    /// Not here: only Envoy can verify the tokens.
    None,
}

/// Why settings are invalid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidProvider {
    /// No algorithm.
    #[error("the list is empty: leave it out, or give it an entry")]
    NoAlgorithm,
    /// No cluster.
    #[error("the name of the cluster must not be empty")]
    EmptyCluster,
    /// A duration is zero.
    #[error("the timeout must be longer than zero")]
    ZeroTimeout,
    /// Keys would be fetched without a pause.
    #[error("the pause must be at least a second, and not longer than `every`")]
    Pause,
    /// No token would be accepted.
    #[error("the longest lifetime must be longer than zero")]
    ZeroLifetime,
}

/// An issuer of tokens, ready to use.
#[derive(Debug)]
pub struct Provider {
    settings: Settings,
    digest: Digest,
}

impl InvalidProvider {
    /// The attribute that is invalid, relative to the provider's settings in the policy document.
    pub const fn attribute(self) -> &'static str {
        match self {
            Self::NoAlgorithm => "algorithms",
            Self::EmptyCluster => "cluster",
            Self::ZeroTimeout => "timeout",
            Self::Pause => "refresh.pause",
            Self::ZeroLifetime => "max_lifetime",
        }
    }
}

impl Provider {
    /// Checks `settings`.
    ///
    /// # Errors
    ///
    /// All problems in them.
    pub fn new(settings: Settings) -> Result<Self, Vec<InvalidProvider>> {
        let mut faults = Vec::new();
        if settings.algorithms.is_empty() {
            faults.push(InvalidProvider::NoAlgorithm);
        }
        if settings.max_lifetime.is_some_and(|lifetime| lifetime.is_zero()) {
            faults.push(InvalidProvider::ZeroLifetime);
        }
        if let Keys::Published(publication) = &settings.keys {
            faults.extend(publication.faults());
        }
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

    /// Whether its keys are at a URL.
    pub const fn publishes_keys(&self) -> bool {
        matches!(self.settings.keys, Keys::Published(_))
    }

    /// How exactly times in the tokens are compared.
    pub const fn tolerance(&self) -> Tolerance {
        Tolerance { start: self.settings.leeway, end: self.settings.leeway }
    }

    /// The key under which what is known about a token with this digest is cached. It depends on all that
    /// decides whether the token is valid, except time.
    pub fn cache_key(&self, token: &Digest) -> Digest {
        self.digest.joined(token)
    }
}

fn digest(settings: &Settings) -> Digest {
    let keys = match &settings.keys {
        Keys::Written(_, digest) => *digest,
        Keys::Published(publication) => *publication.digest(),
        Keys::None => Digest::of(b""),
    };
    let rest = format!("{:?} {:?} {:?}", settings.audience, settings.algorithms, settings.max_lifetime);
    Digest::of_parts(&[
        b"jwt",
        settings.name.as_bytes(),
        settings.issuer.as_bytes(),
        rest.as_bytes(),
        keys.bytes(),
    ])
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::BTreeSet;

    #[cfg(all(target_family = "wasm", target_os = "unknown"))]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;
    use crate::provider::Endpoint;

    pub fn settings() -> Settings {
        Settings {
            name: "corp".to_owned(),
            issuer: "https://idp".to_owned(),
            audience: None,
            algorithms: Algorithm::ALL.to_vec(),
            keys: Keys::Published(publication("https://idp/keys")),
            payload_in_metadata: "payload".to_owned(),
            terms: Terms::default(),
            leeway: Duration::from_secs(30),
            max_lifetime: None,
        }
    }

    fn publication(url: &str) -> Publication {
        Publication::new(
            "idp".to_owned(),
            Endpoint::parse(url).unwrap(),
            Duration::from_secs(2),
            Duration::from_secs(600),
            Duration::from_secs(10),
        )
    }

    #[test]
    fn the_cache_key_depends_on_what_decides_whether_a_token_is_valid() {
        let key = |settings| Provider::new(settings).unwrap().cache_key(&Digest::of(b"token"));
        let different = [
            settings(),
            Settings { name: "other".to_owned(), ..settings() },
            Settings { issuer: "https://other".to_owned(), ..settings() },
            Settings { audience: Audience::any(vec!["a".to_owned()]).ok(), ..settings() },
            Settings { audience: Audience::all(vec!["a".to_owned()]).ok(), ..settings() },
            Settings { algorithms: vec![Algorithm::EdDsa], ..settings() },
            Settings { keys: Keys::Published(publication("https://idp/other")), ..settings() },
            Settings { max_lifetime: Some(Duration::from_secs(1)), ..settings() },
        ];
        let count = different.len();
        let keys: BTreeSet<_> = different.into_iter().map(key).collect();
        assert_eq!(keys.len(), count);
        assert!(keys.contains(&key(Settings { leeway: Duration::ZERO, ..settings() })));
    }
}
