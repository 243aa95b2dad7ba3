//! Leases: quota that a rate limit service granted to this Envoy in advance, and that all its workers spend.
//!
//! A meter has a second counter for each leased limit, with what was granted in the window so far and what is
//! known about the service. A request that what was granted covers needs no call. Any other request asks the
//! service for its own usage, as without leases, and the answer adds to what was granted.
//!
//! When half of a lease is spent, the next one is taken in the background. Who begins it writes down until
//! when nobody else has to. A lease is twice as large as the one before if that was spent within
//! [`LeaseBounds::lasts`], and half as large if it lasted for more than twice as long. It is never more than
//! [`LeaseBounds::most`], nor than [`LeaseBounds::share`] percent of what the service has left. Where that is
//! less than one, requests ask for themselves, so close to the limit nothing is taken in advance.
//!
//! What is admitted never exceeds what was granted: what requests wait for is counted here before they ask,
//! and granted after the answer.

use std::time::Duration;

use super::super::{
    counter::Counter,
    limit::{CounterId, Limit},
    meter::{self, MeterId, Meters},
    window::Span,
};
use crate::{ports::Ports, store::Store, time::Timestamp};

/// How large leases are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseBounds {
    /// The largest part of what the service has left, in percent.
    pub share: u32,
    /// How long a lease should last.
    pub lasts: Duration,
    /// The largest lease.
    pub most: u32,
}

/// What is known in this Envoy about a leased limit in one window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::quota) struct LeaseState {
    /// What the service granted in the window so far.
    granted: u32,
    /// What the service had left when it last answered; [`UNKNOWN`] if it has not yet.
    remaining: u32,
    /// The size of the last lease; zero if there was none.
    size: u32,
    /// When it was granted; while the next one is being taken, until when nobody else should.
    moment: Tick,
    is_being_taken: bool,
}

/// A lease that is to be taken.
#[derive(Clone, Debug)]
pub struct Refill {
    /// The service, as an index into the policy's providers.
    pub provider: usize,
    /// The limit.
    pub limit: Limit,
    pub(super) payer: MeterId,
    pub(super) span: Span,
    pub(super) size: u32,
}

/// What a service said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// Nothing new.
    Nothing,
    /// It granted so much to a request, and has so much left.
    Granted(u64, u64),
    /// It has nothing left.
    Exhausted,
}

/// Above every limit.
const UNKNOWN: u32 = u32::MAX;

const BEING_TAKEN: u32 = 1 << 31;

/// A moment in units of 16 ms, which repeats after two years.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Tick(u32);

impl Tick {
    fn of(moment: Timestamp) -> Self {
        Self(low(moment.millis() >> 4))
    }

    /// The time from `earlier` to this moment; of a moment in the future, a very long one.
    fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::from(self.0.wrapping_sub(earlier.0)).saturating_mul(16))
    }
}

fn low(value: u64) -> u32 {
    u32::try_from(value & u64::from(u32::MAX)).unwrap_or(0)
}

fn high(value: u64) -> u32 {
    low(value >> 32)
}

fn number(value: u64) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

impl LeaseState {
    /// What the meter's counter for the lease says about the window that begins at `start`.
    pub(in crate::quota) fn of(stored: Option<Counter>, start: Timestamp) -> Self {
        let Some(counter) = stored.filter(|counter| counter.start == start) else {
            return Self {
                granted: 0,
                remaining: UNKNOWN,
                size: 0,
                moment: Tick::default(),
                is_being_taken: false,
            };
        };
        let size = high(counter.previous);
        Self {
            granted: low(counter.count),
            remaining: high(counter.count),
            size: size & !BEING_TAKEN,
            moment: Tick(low(counter.previous)),
            is_being_taken: size & BEING_TAKEN != 0,
        }
    }

    fn counter(self, id: CounterId, start: Timestamp) -> Counter {
        let pair = |low: u32, high: u32| u64::from(low) | u64::from(high) << 32;
        let size = self.size | if self.is_being_taken { BEING_TAKEN } else { 0 };
        Counter { id, start, count: pair(self.granted, self.remaining), previous: pair(self.moment.0, size) }
    }

    /// Whether so much in all was granted.
    pub(in crate::quota) fn covers(&self, count: u64) -> bool {
        count <= self.granted.into()
    }

    /// Whether the service has nothing left of a limit of `max`. If the policy has raised it since, this is
    /// not known.
    pub(in crate::quota) fn is_exhausted(&self, max: u64) -> bool {
        self.remaining == 0 && max <= self.moment.0.into()
    }

    /// Notes what the service has left of a limit of `max`. If that is nothing, there is no next lease, and
    /// the limit is noted in the place of its moment.
    fn has_left(&mut self, remaining: u64, max: u64) {
        self.remaining = number(remaining);
        if self.remaining == 0 {
            (self.size, self.moment, self.is_being_taken) = (0, Tick(number(max)), false);
        }
    }

    /// How much can still be admitted after `count`, as far as is known.
    pub(in crate::quota) fn left(&self, count: u64) -> Option<u64> {
        let remaining = (self.remaining != UNKNOWN).then_some(u64::from(self.remaining))?;
        Some(remaining.saturating_add(u64::from(self.granted).saturating_sub(count)))
    }

    /// Whether the next lease should be taken after `count`: half of the last one is spent.
    pub(in crate::quota) fn is_due(&self, count: u64) -> bool {
        let left = u64::from(self.granted).saturating_sub(count);
        self.remaining > 0 && left <= u64::from(self.size / 2)
    }

    /// Whether somebody is taking a lease. If it seems to take longer than `busy`, the clock was set back.
    fn is_busy(&self, now: Tick, busy: Duration) -> bool {
        self.is_being_taken && self.moment != now && self.moment.since(now) <= busy
    }

    /// The size of the next lease; none if there should not be one now.
    fn next(&self, earlier: Option<Self>, max: u64, bounds: &LeaseBounds, now: Tick) -> Option<u32> {
        let lasted = |lease: &Self| now.since(lease.moment);
        let twice = bounds.lasts.saturating_mul(2);
        let wanted = match (self.size, earlier) {
            // A payer that was busy until the last window ended is probably still busy.
            (0, Some(earlier)) if lasted(&earlier) <= twice => earlier.size / 2,
            // After the first request of the window, a second one soon.
            (0, _) if self.granted > 0 && lasted(self) <= bounds.lasts => 2,
            (0, _) => return None,
            (size, _) if lasted(self) <= bounds.lasts => size.saturating_mul(2),
            (size, _) if lasted(self) > twice => size / 2,
            (size, _) => size,
        };
        let remaining = if self.remaining == UNKNOWN { max } else { self.remaining.into() };
        let share = remaining.saturating_mul(bounds.share.into()).checked_div(100).unwrap_or(0);
        let size = wanted.max(1).min(bounds.most).min(number(share));
        (size > 0).then_some(size)
    }
}

/// Notes what the service said about a request's usage of a leased limit, and begins to take the next lease
/// if it is due.
pub(super) fn note<S: Store>(
    ports: &Ports<S>,
    meters: &Meters,
    (payer, limit, span): (MeterId, &Limit, Span),
    heard: Heard,
    bounds: &LeaseBounds,
    busy: Duration,
) -> Option<u32> {
    let (store, now) = (ports.store(), Tick::of(ports.now()));
    let (table, subject) = meters.find(payer);
    let id = limit.counter().leased();
    let noted = table.update(store, &subject, |payload| {
        meter::amend(payload.as_deref(), ports.now(), |find| {
            let stored = find(id);
            // An answer that arrives after its window says nothing about the next one.
            let is_over = stored.is_some_and(|counter| counter.start > span.start);
            if is_over {
                return (None, None);
            }
            let mut lease = LeaseState::of(stored, span.start);
            match heard {
                Heard::Nothing => {}
                Heard::Granted(amount, remaining) => {
                    lease.granted = lease.granted.saturating_add(number(amount));
                    lease.has_left(remaining, limit.max());
                }
                Heard::Exhausted => lease.has_left(0, limit.max()),
            }
            let own = find(limit.counter()).filter(|counter| counter.start == span.start);
            let count = own.map_or(0, |counter| counter.count);
            let earlier = stored.filter(|counter| counter.start < span.start);
            let earlier = earlier.map(|counter| LeaseState::of(Some(counter), counter.start));
            let size = if lease.is_due(count) && !lease.is_busy(now, busy) {
                lease.next(earlier, limit.max(), bounds, now)
            } else {
                None
            };
            if let Some(size) = size {
                let until = Tick::of(ports.now().saturating_add(busy));
                lease = LeaseState { size, moment: until, is_being_taken: true, ..lease };
            } else if lease.size == 0 && lease.remaining > 0 && heard != Heard::Nothing {
                lease.moment = now;
            }
            let is_news = size.is_some() || heard != Heard::Nothing;
            (is_news.then(|| lease.counter(id, span.start)), size)
        })
    });
    // If nothing can be noted, the grant is lost, and the next request asks again.
    noted.ok().flatten()
}

/// Ends the taking of a lease: with what was granted of it and what the service has left, or in vain.
pub(super) fn end<S: Store>(ports: &Ports<S>, meters: &Meters, refill: &Refill, granted: Option<(u64, u64)>) {
    let (table, subject) = meters.find(refill.payer);
    let id = refill.limit.counter().leased();
    let start = refill.span.start;
    let _noted = table.update(ports.store(), &subject, |payload| {
        meter::amend(payload.as_deref(), ports.now(), |find| {
            let Some(stored) = find(id).filter(|counter| counter.start == start) else { return (None, ()) };
            let mut lease = LeaseState::of(Some(stored), start);
            match granted {
                Some((granted, remaining)) => {
                    lease.is_being_taken = false;
                    lease.moment = Tick::of(ports.now());
                    lease.granted = lease.granted.saturating_add(number(granted));
                    lease.has_left(remaining, refill.limit.max());
                }
                // Nobody tries again until the time is over that the taker had.
                None => lease.size /= 2,
            }
            (Some(lease.counter(id, start)), ())
        })
    });
}

#[cfg(test)]
mod tests {
    #[cfg(all(target_family = "wasm", target_os = "unknown"))]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::{
        super::super::{Shape, Window},
        *,
    };
    use crate::matching::Metrics;

    const BOUNDS: LeaseBounds = LeaseBounds { share: 10, lasts: Duration::from_secs(1), most: 500 };

    fn tick(millis: u64) -> Tick {
        Tick::of(Timestamp::from_millis(millis))
    }

    fn lease(granted: u32, remaining: u32, size: u32, millis: u64) -> LeaseState {
        LeaseState { granted, remaining, size, moment: tick(millis), is_being_taken: false }
    }

    #[test]
    fn a_lease_is_read_back_in_its_window_only() {
        let metrics = Metrics::new(&[("hits", None)]).unwrap();
        let limit = Limit::new(&metrics, "hits", 1, Window::Day, Shape::Fixed).unwrap();
        let id = limit.counter().leased();
        let start = Timestamp::from_seconds(86_400);
        let lease = LeaseState { is_being_taken: true, ..lease(4_000_000_000, 7, 500, 1_795_176_000_000) };
        let counter = lease.counter(id, start);
        assert_eq!(Counter::from_bytes(&counter.to_bytes()), Some(counter));
        assert_eq!(LeaseState::of(Some(counter), start), lease);
        let next = LeaseState::of(Some(counter), Timestamp::from_seconds(172_800));
        assert_eq!((next.granted, next.remaining, next.is_exhausted(9)), (0, UNKNOWN, false));
    }

    #[test]
    fn leases_follow_the_rate_and_never_exceed_their_share() {
        for (lease, now, size) in [
            // The first request of a window takes nothing in advance, the second does if it comes soon.
            (lease(0, UNKNOWN, 0, 0), 5_000, None),
            (lease(1, 900, 0, 5_000), 5_900, Some(2)),
            (lease(1, 900, 0, 5_000), 6_100, None),
            (lease(40, 900, 8, 5_000), 5_900, Some(16)),
            (lease(40, 900, 8, 5_000), 6_500, Some(8)),
            (lease(40, 900, 8, 5_000), 8_000, Some(4)),
            (lease(40, 900, 1, 5_000), 8_000, Some(1)),
            // A tenth of what is left.
            (lease(40, 900, 80, 5_000), 5_100, Some(90)),
            (lease(40, 19, 80, 5_000), 5_100, Some(1)),
            (lease(40, 9, 80, 5_000), 5_100, None),
            (lease(40, 900_000, 400, 5_000), 5_100, Some(500)),
        ] {
            assert_eq!(lease.next(None, 1000, &BOUNDS, tick(now)), size, "{lease:?} at {now}");
        }
        let (before, none) = (lease(700, 100, 60, 59_500), lease(0, UNKNOWN, 0, 0));
        assert_eq!(none.next(Some(before), 1000, &BOUNDS, tick(60_100)), Some(30), "busy across the windows");
        assert_eq!(none.next(Some(before), 1000, &BOUNDS, tick(70_000)), None);
    }

    #[test]
    fn a_lease_that_is_being_taken_is_left_to_its_taker_for_a_while() {
        let busy = Duration::from_millis(160);
        let taken = LeaseState { is_being_taken: true, ..lease(1, 900, 2, 10_160) };
        for (now, is_busy) in
            [(10_000, true), (10_144, true), (10_160, false), (20_000, false), (2_000, false)]
        {
            assert_eq!(taken.is_busy(tick(now), busy), is_busy, "{now}");
        }
        assert!(!lease(1, 900, 2, 10_160).is_busy(tick(10_000), busy));
    }

    #[test]
    fn the_next_lease_is_due_when_half_of_the_last_one_is_spent() {
        let ten = lease(30, 100, 10, 0);
        assert_eq!([24, 25, 30].map(|count| ten.is_due(count)), [false, true, true]);
        assert!(!lease(30, 0, 10, 0).is_due(30), "nothing is left");
        let mut used_up = ten;
        used_up.has_left(0, 130);
        assert_eq!([129, 130, 131].map(|max| used_up.is_exhausted(max)), [true, true, false]);
        assert_eq!((ten.left(25), ten.covers(30), ten.covers(31)), (Some(105), true, false));
    }
}
