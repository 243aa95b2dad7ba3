#![cfg(not(target_family = "wasm"))]
//! Properties of quota: no interleaving admits more than the limits allow or less than they could, and a
//! request that waits for the reset is admitted.
#![expect(
    clippy::arithmetic_side_effects,
    clippy::unwrap_used,
    reason = "a test that panics fails, as it should"
)]

mod properties;

use std::{
    cell::{Cell, RefCell},
    num::NonZeroU32,
    rc::Rc,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use properties::config;
use proptest::prelude::*;
use sidegate::{
    credential::Digest,
    matching::{Metrics, Usage},
    ports::Ports,
    quota::{self, Demand, Denial, Denied, Limit, MeterId, Meters, Receipt, Shape, Standing, Window},
    store::{ABSENT, Change, Disturbed, Incidents, Memory, Secret, Session, Store},
    time::Timestamp,
};

/// Five seconds before a minute, an hour, a day, a month and a year end: 2026-12-31T23:59:55Z.
const NEW_YEAR: u64 = 1_798_761_595_000;

fn metrics() -> Metrics {
    Metrics::new(&[("hits", None), ("reads", Some("hits")), ("writes", Some("hits"))]).unwrap()
}

fn usage(metric: &str, by: u64) -> Usage {
    let metrics = metrics();
    let mut usage = Usage::new();
    usage.add(&metrics, metrics.find(metric).unwrap(), by);
    usage
}

fn any_metric() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["hits", "reads", "writes"])
}

/// Limits on different counters.
fn any_limits(max: std::ops::Range<u64>, count: std::ops::Range<usize>) -> impl Strategy<Value = Vec<Limit>> {
    let window = prop::sample::select(Window::ALL.to_vec());
    let limit = (any_metric(), max, window, any::<bool>()).prop_map(|(metric, max, window, slides)| {
        let shape = if slides && window.can_slide() { Shape::Sliding } else { Shape::Fixed };
        Limit::new(&metrics(), metric, max, window, shape).unwrap()
    });
    prop::collection::vec(limit, count).prop_map(|mut limits| {
        let mut seen = std::collections::HashSet::new();
        limits.retain(|limit| seen.insert(limit.counter()));
        limits
    })
}

/// One request: milliseconds after [`NEW_YEAR`], what it uses, and how many other requests come between its
/// first read of the store and its first write.
type Request = (u64, &'static str, u64, usize);

fn any_request() -> impl Strategy<Value = Request> {
    (0_u64..10_000, any_metric(), 1_u64..4, prop::sample::select(vec![0_usize, 0, 0, 1, 2, 3]))
}

/// The outcome of charging a request.
struct Outcome {
    /// Why it was denied; `None` where it was admitted.
    denial: Option<Denial>,
    standings: Vec<Standing>,
    refunds_lost: u32,
}

/// Charges a request, and settles the receipt.
fn charge<S: Store>(
    store: &S,
    meters: &Meters,
    demands: &[Demand<'_>],
    usage: &Usage,
    now: Timestamp,
) -> Outcome {
    let ports = Ports::new(store);
    ports.set_now(now);
    let (denial, standings) = match quota::charge(&ports, meters, demands, usage).map(Receipt::settle) {
        Ok(standings) => (None, standings),
        Err(Denied { denial, standings }) => (Some(denial), standings),
    };
    Outcome { denial, standings, refunds_lost: ports.take_incidents().refunds_lost }
}

/// Runs the requests of workers that interfere with each other: others run to their end between a request's
/// read and its write. Returns the store, and the requests with their outcomes, in the order in which they
/// were decided.
fn interleave<'a>(
    demands: &'a [Demand<'a>],
    requests: Vec<Request>,
) -> (Rc<Disturbed<'a>>, Vec<(Request, Outcome)>) {
    let workers =
        Rc::new(Workers { demands, waiting: RefCell::new(requests.into_iter()), ..Workers::default() });
    let others = Rc::clone(&workers);
    let store = Rc::new(Disturbed::new(move |store| {
        for _ in 0..others.interruptions.take() {
            others.next(store);
        }
        Ok(())
    }));
    while workers.next(&store) {}
    (store, workers.done.take())
}

#[derive(Default)]
struct Workers<'a> {
    demands: &'a [Demand<'a>],
    waiting: RefCell<std::vec::IntoIter<Request>>,
    interruptions: Cell<usize>,
    done: RefCell<Vec<(Request, Outcome)>>,
}

impl Workers<'_> {
    fn next(&self, store: &Disturbed<'_>) -> bool {
        let Some(request) = self.waiting.borrow_mut().next() else { return false };
        let (at, metric, by, interruptions) = request;
        self.interruptions.set(interruptions);
        let now = Timestamp::from_millis(NEW_YEAR + at);
        let outcome = charge(store, &two_slots(), self.demands, &usage(metric, by), now);
        self.interruptions.set(0);
        self.done.borrow_mut().push((request, outcome));
        true
    }
}

fn two_slots() -> Meters {
    Meters::new(NonZeroU32::new(2).unwrap(), NonZeroU32::MIN)
}

fn one_slot() -> Meters {
    Meters::new(NonZeroU32::MIN, NonZeroU32::MIN)
}

fn known(name: &[u8]) -> MeterId {
    MeterId::Known(Digest::of(name))
}

/// What a limit must say, computed from the list of all requests that were ever admitted.
struct Model<'a> {
    limit: &'a Limit,
    /// Start of the window it was counted in, and amount.
    admitted: Vec<(Timestamp, u64)>,
}

impl Model<'_> {
    fn start(&self, now: Timestamp) -> Timestamp {
        let latest = self.admitted.iter().map(|(start, _)| *start).max();
        self.limit.window().at(now).start.max(latest.unwrap_or_default())
    }

    fn counted(&self, from: Timestamp) -> u64 {
        self.admitted.iter().filter(|(start, _)| *start == from).map(|(_, by)| by).sum()
    }

    fn remaining(&self, now: Timestamp) -> u64 {
        let start = self.start(now);
        let mut used = self.counted(start);
        if self.limit.shape() == Shape::Sliding {
            let length = self.limit.window().at(start).end.unwrap().since(start);
            let left = length - now.max(start).since(start);
            let previous = self.counted(start.saturating_sub(length));
            used += u64::try_from(u128::from(previous) * left.as_millis() / length.as_millis()).unwrap();
        }
        self.limit.max().saturating_sub(used)
    }
}

proptest! {
    #![proptest_config(config(200))]

    /// Whatever workers do to each other, whatever their clocks say: a request is admitted exactly if all its
    /// limits have room.
    #[test]
    fn no_interleaving_admits_too_much_or_too_little(
        limits in any_limits(0..8, 1..5),
        requests in prop::collection::vec(any_request(), 1..60),
    ) {
        let demands = [Demand { meter: known(b"acme"), limits: &limits }];
        let (_, done) = interleave(&demands, requests);
        let mut models: Vec<_> = limits.iter().map(|limit| Model { limit, admitted: Vec::new() }).collect();
        for ((at, metric, by, _), outcome) in done {
            let (now, usage) = (Timestamp::from_millis(NEW_YEAR + at), usage(metric, by));
            let touched: Vec<_> = models.iter_mut().filter(|model| usage.of(model.limit.metric()) > 0).collect();
            let never = touched.iter().any(|model| by > model.limit.max());
            let fits = touched.iter().all(|model| by <= model.remaining(now));
            match outcome.denial {
                Some(Denial::Never) => prop_assert!(never),
                Some(Denial::NotNow { .. }) => prop_assert!(!never && !fits),
                None => {
                    prop_assert!(fits);
                    for model in touched {
                        let start = model.start(now);
                        model.admitted.push((start, by));
                        prop_assert!(model.counted(start) <= model.limit.max());
                        let standing = outcome.standings.iter().find(|standing| standing.limit == *model.limit);
                        prop_assert_eq!(standing.unwrap().remaining, model.remaining(now));
                    }
                }
                Some(Denial::NotCounted(_)) => prop_assert!(false, "the store is always there"),
            }
        }
    }

    /// Several meters may refuse early, but never admit too much. In the end, nothing is left of refused
    /// requests.
    #[test]
    fn several_meters_never_admit_too_much_and_forget_what_they_refused(
        maxima in (1_u64..20, 1_u64..20, 1_u64..20),
        requests in prop::collection::vec((1_u64..4, 0_usize..4), 1..40),
    ) {
        let limit = |max| [Limit::new(&metrics(), "hits", max, Window::Day, Shape::Fixed).unwrap()];
        let limits = [limit(maxima.0), limit(maxima.1), limit(maxima.2)];
        let demands: Vec<_> = limits.iter().zip(0_u8..)
            .map(|(limits, name)| Demand { meter: known(&[name]), limits })
            .collect();
        let requests = requests.into_iter().map(|(by, interruptions)| (0, "hits", by, interruptions)).collect();
        let (store, done) = interleave(&demands, requests);
        let admitted: u64 = done.iter()
            .filter(|(_, outcome)| outcome.denial.is_none())
            .map(|((_, _, by, _), _)| by)
            .sum();
        prop_assert!(done.iter().all(|(_, outcome)| outcome.refunds_lost == 0));
        for (demand, max) in demands.iter().zip([maxima.0, maxima.1, maxima.2]) {
            prop_assert!(admitted <= max);
            let now = Timestamp::from_millis(NEW_YEAR);
            let one_more = || charge(&*store, &two_slots(), &[*demand], &usage("hits", 1), now);
            for _ in admitted..max {
                prop_assert_eq!(one_more().denial, None);
            }
            prop_assert_ne!(one_more().denial, None);
        }
    }

    /// The latest reset of the limits that refuse is exact to the millisecond, for fixed and sliding windows
    /// alike, and `Retry-After` is it in seconds, rounded up.
    #[test]
    fn a_request_is_admitted_at_the_reset_and_not_before(
        consumer in any_limits(1..8, 1..4),
        api in any_limits(1..12, 0..3),
        requests in prop::collection::vec((0_u64..900, any_metric(), 1_u64..4), 1..40),
    ) {
        let (store, meters) = (Memory::new(), one_slot());
        let demands = [
            Demand { meter: known(b"consumer"), limits: &consumer },
            Demand { meter: known(b"api"), limits: &api },
        ];
        let mut now = Timestamp::from_millis(NEW_YEAR);
        for (elapsed, metric, by) in requests {
            now = now.saturating_add(Duration::from_millis(elapsed));
            let usage = usage(metric, by);
            let try_at = |now| charge(&store, &meters, &demands, &usage, now);
            let refused = try_at(now);
            let Some(Denial::NotNow { retry_after }) = refused.denial else { continue };
            let refusing = refused.standings.iter().filter(|standing| standing.refuses);
            let latest = |latest: Duration, reset: Option<Duration>| Some(latest.max(reset?));
            let Some(wait) = refusing.map(|standing| standing.reset).try_fold(Duration::ZERO, latest) else {
                prop_assert_eq!(retry_after, None);
                let later = now.saturating_add(Duration::from_secs(100 * 366 * 86_400));
                prop_assert_eq!(try_at(later).denial, refused.denial);
                continue;
            };
            let seconds = Duration::from_secs(retry_after.unwrap().get());
            prop_assert!(wait <= seconds && seconds < wait + Duration::from_secs(1));
            let reset = now.saturating_add(wait);
            let denial = try_at(reset.saturating_sub(Duration::from_millis(1))).denial;
            prop_assert!(matches!(denial, Some(Denial::NotNow { .. })), "{:?} a millisecond too early", denial);
            // A request must be admitted at either moment.
            now = if by % 2 == 0 { reset } else { now.saturating_add(seconds) };
            prop_assert_eq!(try_at(now).denial, None);
        }
    }

    /// Whatever bytes lie in a meter, they are read without a panic, and the next request is decided.
    #[test]
    fn a_meter_with_any_bytes_can_be_charged(
        junk in prop::collection::vec(any::<u8>(), 0..100),
        records in prop::collection::vec((0_u8..=0x88, any::<[u8; 31]>()), 0..4),
        well_formed in any::<bool>(),
        limits in any_limits(0..8, 1..5),
        millis in any::<u64>(),
    ) {
        let payload = if well_formed {
            let records = records.iter().flat_map(|(kind, rest)| std::iter::once(*kind).chain(*rest));
            std::iter::once(1).chain(records).collect()
        } else {
            junk
        };
        let (store, meters, meter) = (Memory::new(), one_slot(), known(b"acme"));
        let put = |_: Option<&mut [u8]>| (Change::Put { expires: Timestamp::MAX, payload: payload.clone() }, ());
        let (secret, incidents) = (Secret::public(), Incidents::default());
        let session = Session::new(&store, &secret, &incidents, Timestamp::default());
        let (table, subject) = meters.find(meter);
        table.update(session, &subject, put).unwrap();
        let (now, demands) = (Timestamp::from_millis(millis), [Demand { meter, limits: &limits }]);
        for metric in ["hits", "reads", "hits"] {
            let outcome = charge(&store, &meters, &demands, &usage(metric, 1), now);
            prop_assert!(!matches!(outcome.denial, Some(Denial::NotCounted(_))));
        }
    }

    #[test]
    fn the_meters_of_a_slot_with_any_bytes_can_be_charged(junk in prop::collection::vec(any::<u8>(), 0..100)) {
        let (store, meters) = (Memory::new(), one_slot());
        store.compare_and_swap("sidegate/meters/0", &junk, ABSENT).unwrap();
        let limits = [Limit::new(&metrics(), "hits", 1, Window::Day, Shape::Fixed).unwrap()];
        let demands = [Demand { meter: known(b"acme"), limits: &limits }];
        let charge = || charge(&store, &meters, &demands, &usage("hits", 1), Timestamp::from_millis(NEW_YEAR)).denial;
        prop_assert_eq!(charge(), None);
        prop_assert_ne!(charge(), None);
    }

    /// Every window contains its moment, and the next one begins where it ends.
    #[test]
    fn windows_cover_time_without_gaps(millis in 0_u64..4_000_000_000_000) {
        let now = Timestamp::from_millis(millis);
        for window in Window::ALL {
            let span = window.at(now);
            prop_assert!(span.start <= now);
            prop_assert_eq!(window.at(span.start), span);
            if let Some(end) = span.end {
                prop_assert!(now < end);
                prop_assert_eq!(window.at(end).start, end);
            }
        }
    }
}

/// Charges 8 × 400 requests from 8 threads to meters with these limits. Returns how many were admitted.
fn race(demands: &[&[Limit]]) -> u64 {
    let (store, meters, admitted) = (Memory::new(), one_slot(), AtomicU64::new(0));
    let demands: Vec<_> =
        demands.iter().zip(0_u8..).map(|(limits, name)| Demand { meter: known(&[name]), limits }).collect();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..400 {
                    let charge = || {
                        charge(
                            &store,
                            &meters,
                            &demands,
                            &usage("reads", 1),
                            Timestamp::from_millis(NEW_YEAR),
                        )
                    };
                    let outcome = std::iter::repeat_with(charge)
                        .find(|outcome| !matches!(outcome.denial, Some(Denial::NotCounted(_))));
                    if outcome.unwrap().denial.is_none() {
                        admitted.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    admitted.into_inner()
}

#[test]
fn eight_threads_admit_exactly_as_many_requests_as_the_limit_allows() {
    let limit = |metric, max, window, shape| Limit::new(&metrics(), metric, max, window, shape).unwrap();
    let day = limit("hits", 1000, Window::Day, Shape::Fixed);
    assert_eq!(race(&[std::slice::from_ref(&day)]), 1000);
    let three = [
        day,
        limit("reads", 700, Window::Hour, Shape::Sliding),
        limit("hits", 900, Window::Eternity, Shape::Fixed),
    ];
    assert_eq!(race(&[&three]), 700);
    let admitted = race(&[&three, &[limit("hits", 500, Window::Day, Shape::Fixed)]]);
    assert!(admitted <= 500, "{admitted}: several meters may refuse early, but never admit too much");
}
