//! How long a provider's answer may be used, and what happens when there is no new one.

use std::{collections::BTreeSet, time::Duration};

/// How long answers are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keeping {
    /// For an answer that vouches for the credential, but never past the credential's own expiry; zero
    /// disables caching.
    pub ttl: Duration,
    /// For an answer that does not vouch; zero disables caching.
    pub negative_ttl: Duration,
    /// How long after `ttl` a vouching answer may still be used while the provider is unavailable.
    pub stale_if_error: Duration,
}

/// What to do when the provider is unavailable, or its answer cannot be used.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum WhenUnavailable {
    /// Refuse the request.
    #[default]
    Deny,
    /// Use a cached answer that is stale by less than `stale_if_error`.
    Stale,
    /// Like [`Self::Stale`], limited to these OAuth2 clients.
    AllowClients(BTreeSet<String>),
}

/// How a cached answer may be used at a given moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freshness {
    /// Like a new answer.
    Fresh,
    /// Only while the provider is unavailable, and only if [`WhenUnavailable`] allows it.
    Stale,
    /// Not at all.
    Expired,
}

impl Default for Keeping {
    fn default() -> Self {
        Self {
            ttl: Duration::from_secs(30),
            negative_ttl: Duration::from_secs(5),
            stale_if_error: Duration::from_secs(60),
        }
    }
}
