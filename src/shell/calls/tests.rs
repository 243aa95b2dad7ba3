//! Tests of the calls in flight and who waits for them.

use std::time::Duration;

#[cfg(all(target_family = "wasm", target_os = "unknown"))]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;
use crate::provider::{Asker, GrpcRequest, Transport, Wanted};

const NOW: Timestamp = Timestamp::from_seconds(1);
const LATER: Timestamp = Timestamp::from_seconds(2);

fn call(sharing: Sharing) -> Call {
    let request =
        GrpcRequest { service: "s.S", method: "M", metadata: Default::default(), message: Vec::new() };
    Call {
        cluster: "c".to_owned(),
        transport: Transport::Grpc(request),
        timeout: Duration::from_secs(1),
        wanted: Wanted::default(),
        sharing,
        asker: Asker::Known,
    }
}

fn question() -> Digest {
    Digest::of(b"question")
}

fn waiter(stream: ContextId) -> Waiter {
    Waiter::Request(stream)
}

/// Stream 1 made call 10; streams 2 and 3 wait for it.
fn calls() -> Calls {
    let mut calls = Calls::default();
    assert!(!calls.join(&question(), waiter(1)));
    calls.made(
        call(Sharing::Joined(question())),
        Origin::Known,
        CallId::Http(10),
        Home::Stream(1),
        waiter(1),
        NOW,
    );
    assert!(calls.join(&question(), waiter(2)) && calls.join(&question(), waiter(3)));
    calls
}

fn landed(calls: &mut Calls, id: u32) -> Vec<Waiter> {
    calls.landed(CallId::Http(id)).map(|landed| landed.waiters).unwrap_or_default()
}

fn is_empty(calls: &Calls) -> bool {
    calls.flights.is_empty()
        && calls.by_call.is_empty()
        && calls.by_question.is_empty()
        && calls.by_waiter.is_empty()
        && calls.by_network.is_empty()
        && calls.due.is_empty()
}

#[test]
fn a_response_reaches_every_waiter_once() {
    let mut calls = calls();
    assert_eq!(calls.landed(CallId::Grpc(10)), None, "HTTP and gRPC calls have separate numbers");
    assert_eq!(landed(&mut calls, 10), [1, 2, 3].map(waiter));
    assert_eq!(calls.landed(CallId::Http(10)), None);
    assert!(is_empty(&calls));
}

#[test]
fn the_root_repeats_the_call_if_its_home_is_gone() {
    let mut calls = calls();
    assert!(!calls.any_due());
    assert!(calls.gone(waiter(1)));
    assert_eq!(calls.landed(CallId::Http(10)), None, "the response to the first call is ignored");
    let due = calls.due();
    assert_eq!(due.len(), 1);
    calls.made_by_root(due[0].0, CallId::Http(11), LATER);
    assert!(!calls.any_due());
    assert!(calls.join(&question(), waiter(4)));
    let landed = calls.landed(CallId::Http(11)).unwrap();
    assert_eq!((landed.waiters, landed.since), ([1, 2, 3, 4].map(waiter).to_vec(), LATER));
    assert!(is_empty(&calls));
}

#[test]
fn if_the_root_cannot_make_the_call_its_waiters_are_returned() {
    let mut calls = calls();
    calls.gone(waiter(1));
    let due = calls.due();
    assert_eq!(calls.failed(due[0].0).unwrap().waiters, [1, 2, 3].map(waiter));
    assert!(is_empty(&calls));
}

#[test]
fn a_flight_ends_when_its_home_is_the_last_to_leave() {
    let mut calls = calls();
    assert!(!calls.gone(waiter(2)) && !calls.gone(waiter(3)) && !calls.gone(waiter(1)));
    assert!(is_empty(&calls));
}

#[test]
fn a_call_of_the_root_completes_even_without_waiters() {
    let mut calls = calls();
    calls.gone(waiter(1));
    let due = calls.due();
    calls.made_by_root(due[0].0, CallId::Http(11), NOW);
    assert!(!calls.gone(waiter(2)) && !calls.gone(waiter(3)));
    assert_eq!(landed(&mut calls, 11).len(), 3);
    assert!(is_empty(&calls));
}

#[test]
fn a_call_that_is_due_is_forgotten_with_its_last_waiter() {
    let mut calls = calls();
    calls.gone(waiter(1));
    calls.gone(waiter(2));
    assert!(!calls.gone(waiter(3)));
    assert!(!calls.any_due());
    assert!(is_empty(&calls));
}

#[test]
fn an_unshared_call_is_never_joined_or_repeated() {
    let mut calls = Calls::default();
    calls.made(call(Sharing::Alone), Origin::Known, CallId::Grpc(1), Home::Stream(1), waiter(1), NOW);
    calls.made(call(Sharing::Alone), Origin::Known, CallId::Grpc(2), Home::Stream(2), waiter(2), NOW);
    assert!(!calls.gone(waiter(1)));
    assert!(!calls.any_due());
    assert_eq!(calls.landed(CallId::Grpc(2)).unwrap().waiters, [waiter(2)]);
    assert!(is_empty(&calls));
}

#[test]
fn a_call_left_to_the_root_may_be_joined() {
    let mut calls = Calls::default();
    calls.leave_to_root(call(Sharing::Joined(question())), Origin::Known, Waiter::Task(1), NOW);
    assert!(calls.join(&question(), waiter(2)));
    let due = calls.due();
    calls.made_by_root(due[0].0, CallId::Http(5), LATER);
    assert_eq!(landed(&mut calls, 5), [Waiter::Task(1), waiter(2)]);
    assert!(is_empty(&calls));
}

/// Adds calls of this origin while there is room for them; returns how many.
fn fill(calls: &mut Calls, origin: &Origin) -> usize {
    let before = calls.flights.len();
    while calls.has_room(origin) {
        let number = u32::try_from(calls.flights.len()).unwrap();
        calls.made(
            call(Sharing::Alone),
            origin.clone(),
            CallId::Http(number),
            Home::Root,
            waiter(number),
            NOW,
        );
    }
    calls.flights.len().saturating_sub(before)
}

fn stranger(network: &str) -> Origin {
    Origin::Stranger(network.into())
}

#[test]
fn the_number_of_calls_is_limited() {
    let mut calls = Calls::default();
    assert_eq!(fill(&mut calls, &Origin::Known), MOST_CALLS);
    calls.landed(CallId::Http(7));
    assert!(calls.has_room(&Origin::Known) && !calls.has_room(&stranger("one")));
}

#[test]
fn strangers_share_their_part_by_network() {
    let mut calls = Calls::default();
    assert_eq!(fill(&mut calls, &stranger("one")), SHARED_OUT_FROM);
    assert_eq!(fill(&mut calls, &stranger("two")), MOST_PER_NETWORK);
    assert_eq!(fill(&mut calls, &stranger("three")), MOST_PER_NETWORK);
    assert_eq!(fill(&mut calls, &stranger("four")), 0, "the rest is for those who are known");
    assert_eq!(fill(&mut calls, &Origin::Known), MOST_CALLS - MOST_FOR_STRANGERS);
    for number in 0..u32::try_from(MOST_CALLS).unwrap() {
        calls.landed(CallId::Http(number));
    }
    assert!(is_empty(&calls));
}
