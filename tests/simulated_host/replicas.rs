//! Limits across replicas: calls that are never answered or answered late or twice, and leases in the
//! background.

use sidegate::provider::Call;

use super::{
    engine::{Envoyproxy, status},
    *,
};

fn replicated(settings: &Value) -> Value {
    let mut document = policy();
    let mut service = json!({"cluster": "ratelimit", "timeout": "20ms"});
    if let (Some(service), Some(settings)) = (service.as_object_mut(), settings.as_object()) {
        service.extend(settings.clone());
    }
    document["providers"]["shared"] = json!({"rate_limit_service": service});
    document["plans"]["basic"] =
        json!({"limits": [{"metric": "hits", "max": 1000, "per": "hour", "across": "replicas"}]});
    document
}

fn one(settings: &Value) -> (Rc<Script>, Rc<Thread<Shared>>) {
    let script = Script::new();
    let thread = start(&script, Shared::default(), &replicated(settings));
    (script, thread)
}

fn acme() -> Ask {
    get("/v1/x").key("key-of-acme")
}

fn call(script: &Script, number: usize) -> Call {
    script.calls.borrow()[number - 1].1.clone()
}

/// Answers the calls from this one on, in order. Returns the next number.
fn answer_all(thread: &Thread<Shared>, script: &Script, service: &Envoyproxy, mut number: usize) -> usize {
    while number <= script.calls.borrow().len() {
        let result = service.answer(&call(script, number), script.now.get());
        thread.reply(number, &result);
        number += 1;
    }
    number
}

#[test]
fn a_service_that_never_answers_is_given_up_and_a_late_answer_changes_nothing() {
    for (mode, outcome) in [("deny", "25"), ("local", "ok")] {
        let (script, thread) = one(&json!({"lease": "none", "unavailable": mode}));
        let (stream, waits) = thread.request(acme());
        assert_eq!(waits, "waits");
        let service = Envoyproxy::default();
        let late = service.answer(&call(&script, 1), NOW);
        // The host ends the call at its timeout.
        thread.reply(1, &Err(CallFailure::TimedOut));
        assert_eq!(script.outcome(stream), outcome);
        thread.reply(1, &late);
        thread.reply(1, &late);
        assert_eq!(script.end(stream).len(), 1, "{mode}");
        assert_eq!(script.metric("sidegate.provider=.=shared;.;result=.=timeout;.;provider_calls"), 1);
        let fallbacks = script.metric("sidegate.provider=.=shared;.;result=.=timeout;.;quota_fallbacks");
        assert_eq!(fallbacks, u64::from(mode == "local"));
        let lines = script.logs.borrow();
        let said = lines.iter().any(|(level, line)| {
            *level == log::Level::Warn && line.starts_with("not counted provider=shared api=orders reason=")
        });
        assert_eq!(said, mode == "local");
    }
}

#[test]
fn a_stream_that_vanishes_while_it_asks_gives_back_what_was_counted_here() {
    let (script, thread) = one(&json!({"lease": "none", "unavailable": "local"}));
    let mut small = replicated(&json!({"lease": "none", "unavailable": "local"}));
    small["plans"]["basic"]["limits"][0]["max"] = json!(1);
    let thread_of_one = start(&script, thread.worker.ports().store().store().clone(), &small);
    let (stream, waits) = thread_of_one.request(acme());
    assert_eq!(waits, "waits");
    assert_eq!(thread_of_one.request(acme()).1, "14", "the only hit is in use");
    thread_of_one.gone(stream);
    assert_eq!(thread_of_one.request(acme()).1, "waits");
}

#[test]
fn leases_are_taken_by_the_root_and_reported() {
    let (script, thread) = one(&json!({}));
    let service = Envoyproxy::default();
    let mut next = 1;
    for _ in 0..50 {
        let (stream, _) = thread.request(acme());
        next = answer_all(&thread, &script, &service, next);
        assert_eq!(script.outcome(stream), "ok");
        thread.tick();
        next = answer_all(&thread, &script, &service, next);
    }
    let homes: Vec<_> = script.calls.borrow().iter().map(|(home, _)| *home).collect();
    assert!(homes[0] != ROOT && homes[1] != ROOT, "the first two wait for their own calls: {homes:?}");
    assert!(homes[2..].iter().all(|home| *home == ROOT) && homes.len() < 9, "{homes:?}");
    let calls = u64::try_from(homes.len()).expect("few");
    assert_eq!(script.metric("sidegate.provider=.=shared;.;result=.=ok;.;provider_calls"), calls);
    assert!(script.metric("sidegate.provider=.=shared;.;leased_quota") > 0);
}

#[test]
fn a_lease_survives_the_request_that_began_it_and_a_taker_that_is_lost_is_replaced() {
    let (script, thread) = one(&json!({}));
    let service = Envoyproxy::default();
    let (_, _) = thread.request(acme());
    answer_all(&thread, &script, &service, 1);
    let (second, _) = thread.request(acme());
    answer_all(&thread, &script, &service, 2);
    thread.gone(second);
    thread.tick();
    assert_eq!(script.calls.borrow().len(), 3, "the lease is taken all the same");
    thread.reply(3, &status(14));
    let (tries, waits) = thread.request(acme());
    assert_eq!((waits.as_str(), thread.request(acme()).1.as_str()), ("waits", "25"), "the service rests");
    answer_all(&thread, &script, &service, 4);
    assert_eq!(script.outcome(tries), "ok");
    thread.tick();
    assert_eq!(script.calls.borrow().len(), 4, "the taker of the lost lease still has time");
    thread.wait(Duration::from_millis(300));
    thread.request(acme());
    let next = answer_all(&thread, &script, &service, 5);
    thread.tick();
    assert_eq!(script.calls.borrow().len(), next, "another takes the next one");
}
