//! A meter: the counters of one subject, in one value of the store.
//!
//! The value is a version byte, then 32 bytes for each counter: 97 bytes for three limits. All limits are
//! checked before any counter changes, and all counters change in one write.

use std::num::NonZeroU32;

use super::{
    counter::{Counter, Reading, SIZE},
    limit::{CounterId, Counting, Limit},
    remote::LeaseState,
    standing::{Cover, Standing},
};
use crate::{
    credential::Digest,
    matching::Usage,
    store::{Change, Table},
    time::Timestamp,
};

const VERSION: u8 = 1;

/// Names a meter by the digest of its subject, which must cover everything that is counted separately.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MeterId {
    /// Of a consumer, a client, a token's subject or an API: there are as many as the operator and the
    /// providers let in.
    Known(Digest),
    /// Of a network address: anybody can have many.
    Address(Digest),
}

/// Where meters are stored. Those of addresses are apart, so that strangers can fill only their own table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Meters {
    known: Table,
    addresses: Table,
}

/// The limits of one subject that apply to a request.
#[derive(Clone, Copy, Debug)]
pub struct Demand<'a> {
    /// The meter of the subject.
    pub meter: MeterId,
    /// The limits of the subject, including those that the request does not touch.
    pub limits: &'a [Limit],
}

/// The result of checking the limits of one meter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Assessed {
    /// Whether all limits have room for the request.
    pub(super) admits: bool,
    /// Whether the meter's bytes did not parse, and were treated as absent.
    pub(super) corrupt: bool,
}

impl Meters {
    /// Tables for so many live meters.
    pub fn new(known: NonZeroU32, addresses: NonZeroU32) -> Self {
        Self { known: Table::meters(known), addresses: Table::addresses(addresses) }
    }

    /// The table that holds a meter, and the subject that it has there.
    pub fn find(&self, meter: MeterId) -> (&Table, Digest) {
        match meter {
            MeterId::Known(subject) => (&self.known, subject),
            MeterId::Address(subject) => (&self.addresses, subject),
        }
    }
}

/// Adds to `standings` the state of each limit that the request touches, before any charge, and whether it
/// refuses.
pub(super) fn assess(
    payload: Option<&[u8]>,
    demand: &Demand<'_>,
    usage: &Usage,
    now: Timestamp,
    standings: &mut Vec<Standing>,
) -> Assessed {
    let meter = payload.map_or(Some(Meter::default()), Meter::parse);
    let admits = admits(meter.unwrap_or_default(), demand, Some(usage), now, standings);
    Assessed { admits, corrupt: meter.is_none() }
}

/// Adds to `standings` the state of each limit, also of those that no request of the moment touches. Returns
/// whether the meter's bytes did not parse.
pub(super) fn look(
    payload: Option<&[u8]>,
    demand: &Demand<'_>,
    now: Timestamp,
    standings: &mut Vec<Standing>,
) -> bool {
    let meter = payload.map_or(Some(Meter::default()), Meter::parse);
    admits(meter.unwrap_or_default(), demand, None, now, standings);
    meter.is_none()
}

/// Adds the state of each limit that the request touches, in a meter that was read: of all limits if there is
/// no usage. Returns whether all of them have room.
fn admits(
    meter: Meter<'_>,
    demand: &Demand<'_>,
    usage: Option<&Usage>,
    now: Timestamp,
    standings: &mut Vec<Standing>,
) -> bool {
    let mut admits = true;
    for limit in demand.limits {
        let amount = usage.map_or(0, |usage| usage.of(limit.metric()));
        if amount == 0 && usage.is_some() {
            // The request does not touch this limit.
            continue;
        }
        let reading = Reading::of(limit.counter(), meter.counter(limit.counter()), now);
        let mut remaining = limit.max().saturating_sub(reading.used());
        let mut refuses = amount > remaining && limit.holds();
        let mut cover = Cover::Here;
        match limit.counting() {
            Counting::Here => {}
            Counting::Service => cover = Cover::Service,
            Counting::Leases => {
                let lease = LeaseState::of(meter.counter(limit.counter().leased()), reading.counter.start);
                let count = reading.used().saturating_add(amount);
                cover = if lease.covers(count) {
                    Cover::Lease { is_due: lease.is_due(count) }
                } else {
                    refuses |= amount > 0 && lease.is_exhausted(limit.max());
                    Cover::Service
                };
                remaining = remaining.min(lease.left(reading.used()).unwrap_or(remaining));
            }
        }
        admits &= !refuses || limit.is_in_shadow();
        let reset = if refuses { reading.admits_at(limit.max(), amount) } else { reading.span.end };
        standings.push(Standing {
            limit: limit.clone(),
            remaining,
            reset: reset.map(|reset| reset.since(now)),
            refuses,
            amount,
            meter: demand.meter,
            reading,
            cover,
        });
    }
    admits
}

/// Checks all limits that the request touches, then charges either all of them or none. Adds their state
/// after that to `standings`. A payload that has room for the result is edited.
pub(super) fn charge(
    mut payload: Option<&mut [u8]>,
    demand: &Demand<'_>,
    usage: &Usage,
    now: Timestamp,
    standings: &mut Vec<Standing>,
) -> (Change, Assessed) {
    let mark = standings.len();
    let meter = payload.as_deref().map_or(Some(Meter::default()), Meter::parse);
    let corrupt = meter.is_none();
    let meter = meter.unwrap_or_default();
    let assessed = Assessed { admits: admits(meter, demand, Some(usage), now, standings), corrupt };
    let touched = standings.get_mut(mark..).unwrap_or_default();
    if !assessed.admits || touched.is_empty() {
        return (Change::Keep, assessed);
    }
    for standing in &mut *touched {
        standing.remaining = standing.remaining.saturating_sub(standing.charge());
    }
    let touched = &*touched;
    let has_no_others = is_of(meter, touched);
    if (has_no_others || is_in_place(meter, touched, now))
        && let Some(payload) = &mut payload
    {
        let change = if has_no_others {
            rewrite(payload, touched.iter().map(charged))
        } else {
            edit(payload, |counter: Counter| {
                let standing = touched.iter().find(|standing| standing.limit.counter() == counter.id);
                standing.map_or(counter, charged)
            })
        };
        return (change, assessed);
    }
    let ours = touched.iter().enumerate().filter_map(|(index, standing)| {
        let id = standing.limit.counter();
        let shared = touched.iter().take(index).any(|earlier| earlier.limit.counter() == id);
        (!shared).then(|| charged(standing))
    });
    let others = payload.as_deref().and_then(Meter::parse).unwrap_or_default().counters().filter(|counter| {
        let is_ours = touched.iter().any(|standing| standing.limit.counter() == counter.id);
        !is_ours && counter.forgettable() > now
    });
    (put(ours.chain(others)), assessed)
}

/// Gives back the charges in `charged`, which are standings of this meter, in the windows that were charged
/// and no others. A window that is over needs no refund; a charge that has slid into view of the next window
/// stays counted there.
pub(super) fn refund(payload: Option<&mut [u8]>, charged: &[Standing]) -> Change {
    let Some(payload) = payload else { return Change::Keep };
    let Some(meter) = Meter::parse(payload) else { return Change::Keep };
    let amount = |counter: &Counter| {
        let same = |standing: &&Standing| {
            let charged = &standing.reading.counter;
            charged.id == counter.id && charged.start == counter.start
        };
        charged.iter().find(same).map_or(0, Standing::charge)
    };
    if meter.counters().all(|counter| amount(&counter) == 0) {
        return Change::Keep;
    }
    edit(payload, |counter| Counter { count: counter.count.saturating_sub(amount(&counter)), ..counter })
}

/// Puts a counter into a payload, or replaces it. `decide` finds the counters of the payload.
pub(super) fn amend<T>(
    payload: Option<&[u8]>,
    now: Timestamp,
    decide: impl FnOnce(&dyn Fn(CounterId) -> Option<Counter>) -> (Option<Counter>, T),
) -> (Change, T) {
    let meter = payload.and_then(Meter::parse).unwrap_or_default();
    let (new, outcome) = decide(&|id| meter.counter(id));
    let Some(new) = new else { return (Change::Keep, outcome) };
    let others = meter.counters().filter(|counter| counter.id != new.id && counter.forgettable() > now);
    (put([new].into_iter().chain(others)), outcome)
}

/// The counter of the standing's limit after the charge.
fn charged(standing: &Standing) -> Counter {
    standing.reading.charged(standing.charge())
}

/// Whether a meter has the counters of these limits, in their order, and no others. Most have.
fn is_of(meter: Meter<'_>, touched: &[Standing]) -> bool {
    meter.0.len() == touched.len()
        && meter
            .0
            .iter()
            .zip(touched)
            .all(|(bytes, standing)| bytes.starts_with(&standing.limit.counter().to_bytes()))
}

/// Replaces the counters of a payload, one by one.
fn rewrite(payload: &mut [u8], counters: impl Iterator<Item = Counter>) -> Change {
    let mut expires = Timestamp::default();
    let places = payload.split_first_mut().map(|(_, places)| places).unwrap_or_default();
    for (place, counter) in places.as_chunks_mut().0.iter_mut().zip(counters) {
        expires = expires.max(counter.forgettable());
        *place = counter.to_bytes();
    }
    Change::Edit { expires }
}

/// Whether a charge only changes counters that the payload has: all that are touched are there, and no other
/// can be dropped.
fn is_in_place(meter: Meter<'_>, touched: &[Standing], now: Timestamp) -> bool {
    let is_touched =
        |counter: &Counter| touched.iter().any(|standing| standing.limit.counter() == counter.id);
    touched.iter().all(|standing| meter.has(standing.limit.counter()))
        && meter.counters().all(|counter| is_touched(&counter) || counter.forgettable() > now)
}

/// Replaces each counter of a valid payload.
fn edit(payload: &mut [u8], change: impl Fn(Counter) -> Counter) -> Change {
    let mut expires = Timestamp::default();
    let counters = payload.split_first_mut().map(|(_, counters)| counters).unwrap_or_default();
    for bytes in counters.as_chunks_mut().0 {
        if let Some(counter) = Counter::from_bytes(bytes).map(&change) {
            expires = expires.max(counter.forgettable());
            *bytes = counter.to_bytes();
        }
    }
    Change::Edit { expires }
}

fn put(counters: impl Iterator<Item = Counter>) -> Change {
    let mut expires = Timestamp::default();
    let mut payload = Vec::with_capacity(SIZE.saturating_mul(4));
    payload.push(VERSION);
    for counter in counters {
        expires = expires.max(counter.forgettable());
        payload.extend_from_slice(&counter.to_bytes());
    }
    Change::Put { expires, payload }
}

/// The counters of a meter, borrowed from its bytes. All of them are valid.
#[derive(Clone, Copy, Debug, Default)]
struct Meter<'a>(&'a [[u8; SIZE]]);

impl<'a> Meter<'a> {
    fn parse(payload: &'a [u8]) -> Option<Self> {
        let (&VERSION, counters) = payload.split_first()? else { return None };
        let (counters, []) = counters.as_chunks() else { return None };
        counters.iter().all(|bytes| Counter::from_bytes(bytes).is_some()).then_some(Self(counters))
    }

    fn has(self, id: CounterId) -> bool {
        let id = id.to_bytes();
        self.0.iter().any(|bytes| bytes.starts_with(&id))
    }

    fn counters(self) -> impl Iterator<Item = Counter> {
        self.0.iter().filter_map(Counter::from_bytes)
    }

    fn counter(self, id: CounterId) -> Option<Counter> {
        let id = id.to_bytes();
        self.0.iter().find(|bytes| bytes.starts_with(&id)).and_then(Counter::from_bytes)
    }
}

#[cfg(test)]
mod tests {
    #[cfg(all(target_family = "wasm", target_os = "unknown"))]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::{
        super::window::{Shape, Window},
        *,
    };
    use crate::matching::Metrics;

    const ADMITTED: Assessed = Assessed { admits: true, corrupt: false };
    const REFUSED: Assessed = Assessed { admits: false, corrupt: false };

    fn metrics() -> Metrics {
        Metrics::new(&[("hits", None), ("writes", None)]).unwrap()
    }

    fn limit(metric: &str, max: u64, window: Window) -> Limit {
        Limit::new(&metrics(), metric, max, window, Shape::Fixed).unwrap()
    }

    fn usage(metric: &str, by: u64) -> Usage {
        let mut usage = Usage::new();
        usage.add(&metrics(), metrics().find(metric).unwrap(), by);
        usage
    }

    /// A meter, charged as the store would do it.
    #[derive(Default)]
    struct Subject {
        payload: Option<Vec<u8>>,
        expires: Timestamp,
        standings: Vec<Standing>,
    }

    impl Subject {
        fn charge(&mut self, limits: &[Limit], usage: &Usage, seconds: u64) -> Assessed {
            let demand = Demand { meter: MeterId::Known(Digest::of(b"acme")), limits };
            self.standings.clear();
            let now = Timestamp::from_seconds(seconds);
            let mut payload = self.payload.clone();
            let (change, charged) = charge(payload.as_deref_mut(), &demand, usage, now, &mut self.standings);
            self.apply(change, payload);
            charged
        }

        fn refund(&mut self, charged: &[Standing]) {
            let mut payload = self.payload.clone();
            let change = refund(payload.as_deref_mut(), charged);
            self.apply(change, payload);
        }

        fn apply(&mut self, change: Change, edited: Option<Vec<u8>>) {
            match change {
                Change::Keep => {}
                Change::Put { expires, payload } => (self.expires, self.payload) = (expires, Some(payload)),
                Change::Edit { expires } => (self.expires, self.payload) = (expires, edited),
            }
        }

        fn remaining(&self) -> Vec<u64> {
            self.standings.iter().map(|standing| standing.remaining).collect()
        }

        fn counts(&self) -> Vec<u64> {
            Meter::parse(self.payload.as_deref().unwrap())
                .unwrap()
                .counters()
                .map(|counter| counter.count)
                .collect()
        }
    }

    #[test]
    fn all_limits_are_charged_or_none() {
        let limits =
            [limit("hits", 3, Window::Day), limit("hits", 2, Window::Minute), limit("hits", 9, Window::Year)];
        let mut acme = Subject::default();
        assert_eq!((acme.charge(&limits, &usage("hits", 2), 0), acme.remaining()), (ADMITTED, vec![1, 0, 7]));
        let before = acme.payload.clone();
        assert_eq!((acme.charge(&limits, &usage("hits", 1), 59), acme.remaining()), (REFUSED, vec![1, 0, 7]));
        assert_eq!(acme.payload, before, "a refused request moves no counter");
        assert_eq!(
            (acme.charge(&limits, &usage("hits", 1), 60), acme.remaining()),
            (ADMITTED, vec![0, 1, 6])
        );
        assert_eq!(acme.charge(&limits, &usage("hits", 1), 60), REFUSED);
        let refusing: Vec<_> = acme.standings.iter().map(|standing| standing.refuses).collect();
        assert_eq!(refusing, [true, false, false]);
        assert_eq!(acme.payload.unwrap().len(), 97);
    }

    #[test]
    fn limits_that_a_request_does_not_touch_are_ignored() {
        let limits = [limit("hits", 1, Window::Minute), limit("writes", 0, Window::Eternity)];
        let mut acme = Subject::default();
        assert_eq!((acme.charge(&limits, &usage("hits", 1), 0), acme.remaining()), (ADMITTED, vec![0]));
        assert_eq!(acme.counts(), [1]);
        assert_eq!(Subject::default().charge(&limits, &Usage::new(), 0), ADMITTED);
    }

    #[test]
    fn limits_that_share_a_counter_charge_it_once() {
        let limits = [limit("hits", 5, Window::Minute), limit("hits", 2, Window::Minute)];
        let mut acme = Subject::default();
        for remaining in [[4, 1], [3, 0]] {
            assert_eq!(
                (acme.charge(&limits, &usage("hits", 1), 0), acme.remaining()),
                (ADMITTED, remaining.to_vec())
            );
        }
        assert_eq!(acme.charge(&limits, &usage("hits", 1), 0), REFUSED);
        assert_eq!(acme.counts(), [2]);
    }

    #[test]
    fn counters_survive_reordering_new_maxima_and_a_rollback() {
        let (hits, writes) = (limit("hits", 2, Window::Minute), limit("writes", 5, Window::Hour));
        let mut acme = Subject::default();
        acme.charge(&[hits.clone(), writes.clone()], &usage("hits", 2), 0);
        let raised = [writes.clone(), limit("hits", 3, Window::Minute)];
        assert_eq!((acme.charge(&raised, &usage("hits", 1), 1), acme.remaining()), (ADMITTED, vec![0]));
        assert_eq!(acme.charge(std::slice::from_ref(&writes), &usage("writes", 1), 2), ADMITTED);
        assert_eq!(
            acme.charge(&[hits], &usage("hits", 1), 3),
            REFUSED,
            "counted although its limit was gone for a while"
        );
        assert_eq!(acme.counts(), [1, 3]);
        assert_eq!(acme.charge(std::slice::from_ref(&writes), &usage("writes", 1), 69), ADMITTED);
        assert_eq!(
            acme.counts(),
            [2, 3],
            "a worker that read the clock before the window ended may still use it"
        );
        assert_eq!(acme.charge(&[writes], &usage("writes", 1), 70), ADMITTED);
        assert_eq!(acme.counts(), [3], "dropped after its window");
    }

    #[test]
    fn a_meter_from_the_future_continues_in_its_window() {
        let limits = [limit("hits", 2, Window::Second)];
        let mut acme = Subject::default();
        acme.charge(&limits, &usage("hits", 1), 1000);
        assert_eq!(acme.charge(&limits, &usage("hits", 1), 10), ADMITTED);
        assert_eq!(acme.charge(&limits, &usage("hits", 1), 10), REFUSED);
        assert_eq!(
            acme.standings[0].reset,
            Some(std::time::Duration::from_secs(991)),
            "the refusal says how long the meter stays full"
        );
        assert_eq!(acme.charge(&limits, &usage("hits", 1), 1001), ADMITTED);
    }

    #[test]
    fn a_meter_expires_when_its_last_window_is_over() {
        let mut acme = Subject::default();
        acme.charge(
            &[limit("hits", 2, Window::Second), limit("hits", 2, Window::Minute)],
            &usage("hits", 1),
            60,
        );
        assert_eq!(acme.expires, Timestamp::from_seconds(130), "kept ten seconds longer for delayed workers");
        acme.charge(&[limit("hits", 2, Window::Eternity)], &usage("hits", 1), 60);
        assert_eq!(acme.expires, Timestamp::MAX);
    }

    #[test]
    fn a_refund_restores_the_window_that_was_charged_and_no_other() {
        let limits = [limit("hits", 5, Window::Minute), limit("hits", 5, Window::Hour)];
        let mut acme = Subject::default();
        acme.charge(&limits, &usage("hits", 2), 0);
        let before = acme.payload.clone();
        acme.charge(&limits, &usage("hits", 3), 1);
        let charged = std::mem::take(&mut acme.standings);
        acme.refund(&charged);
        assert_eq!(acme.payload, before);

        acme.charge(&limits, &usage("hits", 1), 60);
        assert_eq!(acme.counts(), [1, 3]);
        acme.refund(&charged);
        assert_eq!(acme.counts(), [1, 0], "this is a new minute");
        acme.refund(&charged);
        assert_eq!(acme.counts(), [1, 0], "never below zero");
    }

    #[test]
    fn a_payload_that_does_not_parse_is_absent_and_reported() {
        let limits = [limit("hits", 5, Window::Minute)];
        let mut acme = Subject::default();
        acme.charge(&limits, &usage("hits", 2), 0);
        let payload = acme.payload.unwrap();
        let half = &payload[..20];
        let other_version = [&[9], &payload[1..]].concat();
        let other_window = [&[VERSION, 0x55], &payload[2..]].concat();
        for corrupt in [b"", half, &other_version, &other_window] {
            let mut acme = Subject { payload: Some(corrupt.to_vec()), ..Subject::default() };
            let charged = acme.charge(&limits, &usage("hits", 2), 0);
            assert_eq!(charged, Assessed { admits: true, corrupt: true });
            assert_eq!(acme.payload.as_ref(), Some(&payload));
        }
    }

    #[test]
    fn counters_saturate() {
        let limits = [limit("hits", u64::MAX, Window::Minute)];
        let mut acme = Subject::default();
        assert_eq!(acme.charge(&limits, &usage("hits", u64::MAX), 0), ADMITTED);
        assert_eq!((acme.charge(&limits, &usage("hits", 1), 0), acme.remaining()), (REFUSED, vec![0]));
    }
}
