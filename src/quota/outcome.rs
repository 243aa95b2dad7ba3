//! What came of charging a request: the verdict, how each limit stands, and what was met in the store.

use std::num::NonZeroU64;
use std::time::Duration;

use super::counter::Reading;
use super::limit::Limit;
use crate::credential::Digest;
use crate::store::{Facts, Unavailable};

/// What came of charging a request.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "a request that is not `Verdict::Admitted` must not pass"]
pub struct Outcome {
    /// Whether the request may pass.
    pub verdict: Verdict,
    /// The limits that the request touches and how they stand now, in the order of the demands. Empty unless the
    /// verdict is [`Verdict::Admitted`] or [`Verdict::NotNow`].
    pub standings: Vec<Standing>,
    /// What was met in the store.
    pub facts: Facts,
    /// Charges of a refused request that could not be given back, because the store was contended. Nobody is
    /// over-admitted; their subject has lost that much of a window.
    pub refunds_lost: u32,
}

/// Whether a request may pass. Only [`Verdict::Admitted`] has moved any counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// All limits have room; the request is counted.
    Admitted,
    /// A limit is reached: 429.
    NotNow {
        /// Seconds after which all limits will have room, if nothing else is counted; `None` if they never will,
        /// because a limit per `eternity` is used up.
        retry_after: Option<NonZeroU64>,
    },
    /// No window will ever have room: the metric is disabled (`max: 0`), or the request alone exceeds the limit. 403.
    Never,
    /// The store could not count the request, so it must not pass.
    Unrecorded(Unavailable),
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

impl Outcome {
    /// The limit to tell the caller about, if only one can be told: one that refuses before one that does not, then the
    /// one with the least remaining, then the one with the latest reset.
    pub fn tightest(&self) -> Option<&Standing> {
        self.standings.iter().min_by_key(|standing| {
            let reset = standing.reset.unwrap_or(Duration::MAX);
            let order = std::cmp::Reverse;
            if standing.refuses { (false, 0, order(reset)) } else { (true, standing.remaining, order(reset)) }
        })
    }
}

/// Seconds, rounded up: who waits that long has waited long enough.
pub(super) fn seconds(duration: Duration) -> u64 {
    duration.as_secs().saturating_add(u64::from(duration.subsec_nanos() > 0))
}
