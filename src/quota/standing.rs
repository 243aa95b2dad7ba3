//! The state of limits after a request, and why a request is denied.

use std::{num::NonZeroU64, time::Duration};

use super::{counter::Reading, limit::Limit, meter::MeterId};
use crate::{store::NotWritten, time::Timestamp};

/// A denied request. Nothing is charged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denied {
    /// Why.
    pub denial: Denial,
    /// The state of the limits that the request touches, in the order of the demands. Empty unless the denial
    /// is [`Denial::NotNow`].
    pub standings: Vec<Standing>,
}

/// Why a request is denied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denial {
    /// A limit is reached: 429.
    NotNow {
        /// Seconds after which all limits will have room, if nothing else is counted; `None` if they never
        /// will, because a limit per `eternity` is used up.
        retry_after: Option<NonZeroU64>,
    },
    /// No window will ever have room: the metric is disabled (`max: 0`), or the request alone exceeds the
    /// limit. 403.
    Never,
    /// The store could not count the request, so it must not pass.
    NotCounted(NotWritten),
}

/// The state of one limit after a request that touches it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The limit.
    pub limit: Limit,
    /// How much room the limit has left.
    pub remaining: u64,
    /// Time until the window ends or, if the limit refuses the request, until it has room for it; `None` for
    /// `eternity`.
    pub reset: Option<Duration>,
    /// Whether the limit refuses the request.
    pub refuses: bool,
    /// How much of the limit's metric the request uses.
    pub(super) amount: u64,
    pub(super) meter: MeterId,
    pub(super) reading: Reading,
    pub(super) cover: Cover,
}

/// Who has to agree to a charge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cover {
    /// Nobody but our own meter.
    Here,
    /// A rate limit service, which has to be asked.
    Service,
    /// A rate limit service, which granted a lease. The next one may be due.
    Lease {
        /// Whether it is.
        is_due: bool,
    },
}

impl Standing {
    /// The state as a service knows it that counts for all replicas, at `now`.
    pub(super) fn counted(&mut self, refuses: bool, remaining: u64, now: Timestamp) {
        self.refuses = refuses;
        self.remaining = remaining;
        // The window in which the service counted may have ended while it did.
        self.reset = self.reading.span.end.map(|end| end.since(now));
    }

    /// Whether the limit refuses the request, and is enforced.
    pub(super) fn denies(&self) -> bool {
        self.refuses && !self.limit.is_in_shadow()
    }

    /// What the request is charged: nothing if a limit in shadow mode refuses it.
    pub(super) const fn charge(&self) -> u64 {
        if self.refuses && self.limit.is_in_shadow() { 0 } else { self.amount }
    }

    /// Whether operators are to be alerted: the request, which was charged, took the use of the limit in this
    /// window to their percentage. Where leases cover the request, they were when the lease was taken.
    pub fn alerts(&self) -> bool {
        let charge = self.charge();
        match self.cover {
            Cover::Here => {
                // Of a limit that slides, this is less than what counts against it, but never goes back.
                let before = self.reading.counter.count;
                self.limit.alerts(before, before.saturating_add(charge))
            }
            Cover::Service => {
                let used = self.limit.max().saturating_sub(self.remaining);
                self.limit.alerts(used.saturating_sub(charge), used)
            }
            Cover::Lease { .. } => false,
        }
    }

    /// Length of the current window; `None` for `eternity`.
    pub(super) fn window(&self) -> Option<Duration> {
        let span = self.reading.span;
        span.end.map(|end| end.since(span.start))
    }

    /// How much of the limit is used, before the request.
    pub fn used(&self) -> u64 {
        self.reading.used()
    }

    /// Whole seconds until the reset, rounded up; `None` for `eternity`.
    pub fn reset_seconds(&self) -> Option<u64> {
        self.reset.map(seconds)
    }
}

/// The one limit to show a caller that can see only one: a limit that refuses before one that admits, then
/// the one with the least remaining, then the one with the latest reset.
pub fn tightest(standings: &[Standing]) -> Option<&Standing> {
    standings.iter().min_by_key(|standing| {
        let reset = standing.reset.unwrap_or(Duration::MAX);
        let order = std::cmp::Reverse;
        if standing.refuses { (false, 0, order(reset)) } else { (true, standing.remaining, order(reset)) }
    })
}

/// The largest integer that a structured field may hold (RFC 9651, section 3.3.1).
pub(super) const INTEGER_MAX: u64 = 999_999_999_999_999;

/// Whole seconds, rounded up, so that a caller who waits that long has waited long enough.
pub(super) fn seconds(duration: Duration) -> u64 {
    duration.as_secs().saturating_add(u64::from(duration.subsec_nanos() > 0))
}
