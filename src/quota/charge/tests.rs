//! Tests of charging, refusing and giving back.

use std::{num::NonZeroU32, rc::Rc};

#[cfg(all(target_family = "wasm", target_os = "unknown"))]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::{
    super::{Limit, MeterId, Shape, Window, tightest},
    *,
};
use crate::{
    credential::Digest,
    matching::Metrics,
    store::{Change, Contended, Disturbed, Memory, Tally},
    time::Timestamp,
};

/// Ports to `store`, half a second after a full second.
fn ports<S: Store>(store: S) -> Rc<Ports<S>> {
    let ports = Ports::new(store);
    ports.set_now(Timestamp::from_millis(3_000_500));
    ports
}

fn meters() -> Meters {
    Meters::new(NonZeroU32::new(64).unwrap(), NonZeroU32::MIN)
}

fn metrics() -> Metrics {
    Metrics::new(&[("hits", None), ("writes", None)]).unwrap()
}

fn limits(limits: &[(&str, u64, Window)]) -> Vec<Limit> {
    let limit = |(metric, max, window): &(&str, u64, Window)| {
        Limit::new(&metrics(), metric, *max, *window, Shape::Fixed).unwrap()
    };
    limits.iter().map(limit).collect()
}

fn hits(by: u64) -> Usage {
    let mut usage = Usage::new();
    usage.add(&metrics(), metrics().find("hits").unwrap(), by);
    usage
}

/// Charges hits to three subjects and settles the receipt.
fn run<S: Store>(ports: &Ports<S>, of: [&[Limit]; 3], by: u64) -> Result<Vec<Standing>, Denied> {
    let [one, two, three] = of;
    let demand = |name: &[u8], limits| Demand { meter: MeterId::Known(Digest::of(name)), limits };
    let demands = [demand(b"consumer", one), demand(b"api", two), demand(b"address", three)];
    charge(ports, &meters(), &demands, &hits(by)).map(Receipt::settle)
}

fn remaining(standings: &[Standing]) -> Vec<u64> {
    standings.iter().map(|standing| standing.remaining).collect()
}

fn admitted(result: Result<Vec<Standing>, Denied>) -> Vec<u64> {
    remaining(&result.unwrap())
}

fn wait(seconds: u64) -> Denial {
    Denial::NotNow { retry_after: NonZeroU64::new(seconds) }
}

#[test]
fn one_meter_costs_one_read_and_one_swap() {
    let ports = ports(Disturbed::contended_after(u32::MAX));
    let store = ports.store().store();
    let consumer =
        limits(&[("hits", 1, Window::Second), ("hits", 9, Window::Day), ("writes", 0, Window::Day)]);
    let api = limits(&[("writes", 1, Window::Day)]);
    assert_eq!(admitted(run(&ports, [&consumer, &api, &[]], 1)), [0, 8]);
    assert_eq!((store.gets(), store.swaps()), (1, 1));
    assert_eq!(run(&ports, [&consumer, &[], &[]], 1).unwrap_err().denial, wait(1));
    assert_eq!((store.gets(), store.swaps()), (2, 1), "a refused request writes nothing");
}

#[test]
fn a_request_that_can_never_be_admitted_is_denied_without_reading_the_store() {
    let ports = ports(Disturbed::contended_after(u32::MAX));
    let api = limits(&[("hits", 3, Window::Day)]);
    for (consumer, by) in
        [(limits(&[("hits", 0, Window::Eternity)]), 1), (limits(&[("hits", 9, Window::Day)]), 4)]
    {
        assert_eq!(run(&ports, [&consumer, &api, &[]], by).unwrap_err().denial, Denial::Never);
    }
    assert_eq!(ports.store().store().gets(), 0);
}

#[test]
fn when_a_later_meter_refuses_the_earlier_charges_are_given_back() {
    let ports = ports(Memory::new());
    let [consumer, api] = [10, 3].map(|max| limits(&[("hits", max, Window::Minute)]));
    run(&ports, [&consumer, &api, &[]], 2).unwrap();
    let denied = run(&ports, [&consumer, &api, &[]], 2).unwrap_err();
    assert_eq!((denied.denial, remaining(&denied.standings)), (wait(60), vec![8, 1]));
    assert_eq!(ports.take_incidents(), Tally::default());
    assert_eq!(admitted(run(&ports, [&consumer, &api, &[]], 1)), [7, 0]);
}

#[test]
fn a_dropped_receipt_gives_everything_back_and_a_settled_one_nothing() {
    let ports = ports(Memory::new());
    let [consumer, api] = [10, 5].map(|max| limits(&[("hits", max, Window::Minute)]));
    let meters = meters();
    let demand = |name: &[u8], limits| Demand { meter: MeterId::Known(Digest::of(name)), limits };
    let demands = [demand(b"consumer", consumer.as_slice()), demand(b"api", &api)];
    let receipt = charge(&ports, &meters, &demands, &hits(2)).unwrap();
    assert_eq!(remaining(receipt.standings()), [8, 3]);
    drop(receipt);
    assert_eq!(admitted(run(&ports, [&consumer, &api, &[]], 1)), [9, 4]);
    assert_eq!(admitted(run(&ports, [&consumer, &api, &[]], 1)), [8, 3]);

    let receipt = charge(&ports, &meters, &demands, &hits(2)).unwrap();
    ports.set_now(Timestamp::from_millis(3_060_500));
    drop(receipt);
    assert_eq!(admitted(run(&ports, [&consumer, &api, &[]], 1)), [9, 4], "this is a new window");
}

#[test]
fn retry_after_waits_for_the_last_limit_of_all_meters() {
    let ports = ports(Memory::new());
    let [second, minute, day] =
        [Window::Second, Window::Minute, Window::Day].map(|window| limits(&[("hits", 1, window)]));
    let eternity = limits(&[("hits", 1, Window::Eternity), ("hits", 1, Window::Second)]);
    run(&ports, [&second, &minute, &day], 1).unwrap();
    assert_eq!(run(&ports, [&second, &minute, &[]], 1).unwrap_err().denial, wait(60));
    assert_eq!(run(&ports, [&second, &[], &day], 1).unwrap_err().denial, wait(86_400 - 3000));
    run(&ports, [&[], &[], &eternity], 1).unwrap();
    let forever = run(&ports, [&second, &[], &eternity], 1).unwrap_err();
    assert_eq!(forever.denial, Denial::NotNow { retry_after: None });
    assert_eq!(tightest(&forever.standings).unwrap().limit.window(), Window::Eternity);
}

#[test]
fn a_refusing_limit_is_tighter_than_one_that_admits() {
    let consumer = limits(&[("hits", 2, Window::Day), ("writes", 8, Window::Day)]);
    let mut usage = hits(1);
    usage.add(&metrics(), metrics().find("writes").unwrap(), 5);
    let (ports, meters) = (ports(Memory::new()), meters());
    let demands = [Demand { meter: MeterId::Known(Digest::of(b"consumer")), limits: &consumer }];
    let settled = charge(&ports, &meters, &demands, &usage).unwrap().settle();
    assert_eq!((remaining(&settled), tightest(&settled).unwrap().limit.name()), (vec![1, 3], "hits-day"));
    let denied = charge(&ports, &meters, &demands, &usage).err().unwrap().standings;
    assert_eq!((remaining(&denied), tightest(&denied).unwrap().limit.name()), (vec![1, 3], "writes-day"));
}

#[test]
fn a_contended_store_refuses_and_lost_refunds_are_counted() {
    let [consumer, api] = [10, 10].map(|max| limits(&[("hits", max, Window::Minute)]));
    let contended = Denial::NotCounted(NotWritten::Contended(Contended));
    for (loses_from, refunds_lost) in [(0, 0), (1, 1)] {
        let ports = ports(Disturbed::contended_after(loses_from));
        let denied = run(&ports, [&consumer, &api, &[]], 1).unwrap_err();
        assert_eq!((denied.denial, denied.standings), (contended, vec![]));
        let incidents = ports.take_incidents();
        assert!(incidents.conflicts > 0);
        assert_eq!(incidents.refunds_lost, refunds_lost);
    }
    let (ports, full) = (ports(Disturbed::contended_after(3)), limits(&[("hits", 1, Window::Minute)]));
    run(&ports, [&consumer, &full, &[]], 1).unwrap();
    let denied = run(&ports, [&consumer, &full, &[]], 1).unwrap_err();
    assert_eq!((denied.denial, remaining(&denied.standings)), (wait(60), vec![8, 0]));
    assert_eq!(ports.take_incidents().refunds_lost, 1);
}

#[test]
fn a_corrupt_meter_is_counted_and_starts_from_zero() {
    let ports = ports(Memory::new());
    let consumer = limits(&[("hits", 1, Window::Minute)]);
    let junk = |_: Option<&mut [u8]>| (Change::Put { expires: Timestamp::MAX, payload: vec![7] }, ());
    let meters = meters();
    let (table, subject) = meters.find(MeterId::Known(Digest::of(b"consumer")));
    table.update(ports.store(), &subject, junk).unwrap();
    assert_eq!(admitted(run(&ports, [&consumer, &[], &[]], 1)), [0]);
    assert_eq!(ports.take_incidents().corrupt, 1);
    assert_eq!(run(&ports, [&consumer, &[], &[]], 1).unwrap_err().denial, wait(60));
}
