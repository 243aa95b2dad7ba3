//! How limits stand after a request, and why a request is denied.

use std::{num::NonZeroU64, time::Duration};

use super::{counter::Reading, limit::Limit};
use crate::{credential::Digest, store::NotWritten};

/// A request that its limits do not let pass. Nothing is charged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denied {
    /// Why.
    pub denial: Denial,
    /// How the limits that the request touches stand, in the order of the demands. Empty unless the denial is
    /// [`Denial::NotNow`].
    pub standings: Vec<Standing>,
}

/// Why a request is denied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denial {
    /// A limit is reached: 429.
    NotNow {
        /// Seconds after which all limits will have room, if nothing else is counted; `None` if they never will,
        /// because a limit per `eternity` is used up.
        retry_after: Option<NonZeroU64>,
    },
    /// No window will ever have room: the metric is disabled (`max: 0`), or the request alone exceeds the limit. 403.
    Never,
    /// The store could not count the request, so it must not pass.
    NotCounted(NotWritten),
}

/// How one limit stands after a request that touches it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The limit.
    pub limit: Limit,
    /// How much more it has room for now.
    pub remaining: u64,
    /// How long its current window is; `None` for `eternity`.
    pub window: Option<Duration>,
    /// How long until its window ends or, where it refuses the request, until it will have room for it; `None` for
    /// `eternity`.
    pub reset: Option<Duration>,
    /// Whether it refuses the request.
    pub refuses: bool,
    pub(super) meter: Digest,
    pub(super) reading: Reading,
}

/// The limit to tell the caller about, if only one can be told: one that refuses before one that does not, then the
/// one with the least remaining, then the one with the latest reset.
pub fn tightest(standings: &[Standing]) -> Option<&Standing> {
    standings.iter().min_by_key(|standing| {
        let reset = standing.reset.unwrap_or(Duration::MAX);
        let order = std::cmp::Reverse;
        if standing.refuses { (false, 0, order(reset)) } else { (true, standing.remaining, order(reset)) }
    })
}

/// Seconds, rounded up: who waits that long has waited long enough.
pub(super) fn seconds(duration: Duration) -> u64 {
    duration.as_secs().saturating_add(u64::from(duration.subsec_nanos() > 0))
}
