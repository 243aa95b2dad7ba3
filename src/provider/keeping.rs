//! How long a provider's answer may be used, and what happens when there is no new one.

use std::{collections::BTreeSet, time::Duration};

/// How long answers are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keeping {
    /// An answer that vouches, but never past the credential's own end; zero keeps none.
    pub ttl: Duration,
    /// An answer that does not; zero keeps none.
    pub negative_ttl: Duration,
    /// How long after `ttl` an answer that vouches may be used while the provider is unavailable.
    pub stale_if_error: Duration,
}

/// What happens when the provider is unavailable, or its answer cannot be used.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum WhenUnavailable {
    /// Refuse.
    #[default]
    Deny,
    /// Use answers that are stale by less than `stale_if_error`.
    Stale,
    /// The same, for these OAuth2 clients only.
    AllowClients(BTreeSet<String>),
}

/// What a kept answer is good for at some moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freshness {
    /// As good as asking.
    Fresh,
    /// Good while the provider is unavailable, where [`WhenUnavailable`] allows it.
    Stale,
    /// Nothing.
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
