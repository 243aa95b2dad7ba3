//! Limits across replicas: what is asked, what the answers mean, and what happens without one.

use std::time::Duration;

use serde_json::{Value, json};
use sidegate::{
    gate::drive::{Driver, Step},
    provider::{Asker, CallFailure, CallResult, Sharing},
    quota::remote::{DescriptorStatus, KeyValue, OK, OVER_LIMIT, RateLimitRequest, RateLimitResponse},
    time::Timestamp,
};

use super::{
    asked, begin,
    engine::{Envoyproxy, Limitador, answered, message, status, value},
    gate, headers, permit, refused,
    support::{Ask, NOW, Shared, answer, consumer, document, get},
    through, trail, verdict, waiting,
};

/// `acme` on a plan with these limits, and a service with these settings.
pub fn policy(service: Value, limits: Value) -> Value {
    let mut acme = consumer("acme");
    acme["plan"] = json!("basic");
    let introspection = json!({"introspection": {"provider": "hydra"}});
    let api = json!({"name": "a", "access": ["api_key", introspection], "rules": [{"path": "/**"}]});
    let mut document = document(json!([acme]), json!([api]));
    let mut settings = json!({"cluster": "ratelimit", "lease": "none"});
    settings.as_object_mut().unwrap().extend(service.as_object().unwrap().clone());
    document["providers"]["shared"] = json!({"rate_limit_service": settings});
    document["plans"] = json!({"basic": {"limits": limits}});
    document
}

fn per_minute(max: u64) -> Value {
    json!([{"metric": "hits", "max": max, "per": "minute", "across": "replicas"}])
}

fn acme() -> Ask {
    get("/x").key("key-of-acme")
}

fn after(millis: u64) -> Ask {
    Ask { at: NOW.saturating_add(Duration::from_millis(millis)), ..acme() }
}

/// Takes a request to its end, with a service that answers in the same moment.
fn with(
    gate: &Driver<Shared>,
    ask: &Ask,
    service: impl Fn(&sidegate::provider::Call, Timestamp) -> CallResult,
) -> Step<Shared> {
    let mut step = begin(gate, ask);
    while let Step::Waits(waiting) = step {
        let result = service(waiting.call().unwrap(), ask.at);
        step = waiting.answer(result, ask.at);
    }
    step
}

/// An answer with one status.
fn one(code: i32, request: &RateLimitRequest, limit_remaining: u32) -> CallResult {
    let current_limit = request.descriptors[0].limit;
    let statuses = vec![DescriptorStatus { code, current_limit, limit_remaining }];
    answered(&RateLimitResponse { overall_code: code, statuses, response_headers_to_add: Vec::new() })
}

#[test]
fn one_call_counts_all_limits_of_a_request() {
    let limits = json!([
        {"metric": "hits", "max": 100, "per": "minute", "across": "replicas"},
        {"metric": "hits", "max": 900, "per": "day", "across": "replicas", "provider": "shared"},
        {"metric": "hits", "max": 7, "per": "second"},
    ]);
    let gate = gate(&policy(json!({"domain": "gate", "timeout": "30ms"}), limits));
    let waiting = waiting(begin(&gate, &after(1500)));
    let call = waiting.call().unwrap();
    assert_eq!((call.cluster.as_str(), call.timeout), ("ratelimit", Duration::from_millis(30)));
    assert_eq!((call.sharing, call.asker), (Sharing::Alone, Asker::Known));
    let request = message(call);
    assert_eq!((request.domain.as_str(), request.hits_addend), ("gate", 0));
    let [minute, day] = &*request.descriptors else { panic!("{request:?}") };
    assert_eq!(
        minute.entries.iter().map(|entry| &*entry.key).collect::<Vec<_>>(),
        ["limit", "payer", "window"]
    );
    let names = [minute, day].map(|descriptor| (value(descriptor, "limit"), value(descriptor, "window")));
    assert_eq!(
        names,
        [("plan/consumer/hits/minute", "1795176000"), ("plan/consumer/hits/day", "1795132800")]
    );
    assert_eq!(value(minute, "payer"), value(day, "payer"));
    assert_eq!(value(minute, "payer").len(), 32);
    let limit = |descriptor: &sidegate::quota::remote::Descriptor| {
        descriptor.limit.map(|limit| (limit.requests_per_unit, limit.unit))
    };
    // At noon, so the hour begins together with the minute.
    assert_eq!([minute, day].map(limit), [Some((100, 4)), Some((900, 5))]);
    assert_eq!([minute, day].map(|descriptor| descriptor.hits_addend), [Some(1), Some(1)]);
}

#[test]
fn replicas_share_one_limit_and_callers_see_what_the_service_knows() {
    for limitador in [false, true] {
        let (envoyproxy, other) = (Envoyproxy::default(), Limitador::default());
        let engine = if limitador { "limitador" } else { "envoy" };
        let document = policy(json!({"engine": engine}), per_minute(5));
        let replicas = [gate(&document), gate(&document), gate(&document)];
        let service =
            |call: &_, now| if limitador { other.answer(call, now) } else { envoyproxy.answer(call, now) };
        let verdicts: Vec<_> =
            (0..9).map(|n| verdict(&with(&replicas[n % 3], &after(1000), service))).collect();
        assert_eq!(verdicts.join(" "), "ok ok ok ok ok 14 14 14 14", "{engine}");
        let step = with(&replicas[0], &after(61_000), service);
        let shown = permit(step).into_response_headers().get("ratelimit").map(str::to_owned);
        assert_eq!(shown.as_deref(), Some("\"hits-minute\";r=4;t=59"), "a new window");
        let refused = refused(with(&replicas[1], &after(1000), service));
        assert_eq!(headers(&refused, "ratelimit"), ["\"hits-minute\";r=0;t=59"]);
        assert_eq!(headers(&refused, "retry-after"), ["59"]);
    }
}

#[test]
fn limits_of_this_envoy_are_decided_before_a_call_and_given_back_after_a_refusal() {
    let service = Envoyproxy::default();
    let limits = json!([
        {"metric": "hits", "max": 3, "per": "day", "across": "replicas"},
        {"metric": "hits", "max": 4, "per": "eternity"},
        {"metric": "hits", "max": 1, "per": "second"},
    ]);
    let gate = gate(&policy(json!({"unavailable": "allow"}), limits));
    let answer = |call: &_, now| service.answer(call, now);
    assert_eq!(verdict(&with(&gate, &after(0), answer)), "ok");
    assert_eq!(asked(&gate, &after(0)), "14", "refused without a call");
    for second in 1..3 {
        assert_eq!(verdict(&with(&gate, &after(second * 1000), answer)), "ok");
    }
    for second in 3..9 {
        assert_eq!(verdict(&with(&gate, &after(second * 1000), answer)), "14");
    }
    let step = with(&gate, &after(9000), |_, _| Err(CallFailure::TimedOut));
    assert_eq!(verdict(&step), "ok", "three were admitted of four: the refused ones were given back");
    assert_eq!(asked(&gate, &after(10_000)), "14", "four of four");
}

#[test]
fn a_request_that_vanishes_while_it_waits_gives_back_what_this_envoy_counted() {
    let limits = json!([
        {"metric": "hits", "max": 9, "per": "day", "across": "replicas"},
        {"metric": "hits", "max": 1, "per": "eternity"},
    ]);
    let gate = gate(&policy(json!({}), limits));
    let waits = begin(&gate, &acme());
    assert_eq!((verdict(&waits), asked(&gate, &acme())), ("call", "14"), "it holds the only hit");
    drop(waits);
    assert_eq!(asked(&gate, &acme()), "call");
}

#[test]
fn without_an_answer_the_policy_decides() {
    let lost = Err(CallFailure::TimedOut);
    let acme_web = answer(&json!({"active": true, "client_id": "acme-web"}));
    let other = answer(&json!({"active": true, "client_id": "other", "sub": "x"}));
    let token = |introspected: &CallResult, mode: Value| {
        let mut document = policy(json!({"unavailable": mode}), per_minute(2));
        document["apis"][0]["limits"] =
            json!([{"metric": "hits", "max": 2, "per": "hour", "across": "replicas"}]);
        let gate = gate(&document);
        let verdicts = (0..3).map(|_| {
            let step = match begin(&gate, &get("/x").token("t")) {
                Step::Waits(waiting) if waiting.call().unwrap().cluster == "hydra-admin" => {
                    waiting.answer(introspected.clone(), NOW)
                }
                step => step,
            };
            match step {
                Step::Waits(waiting) => verdict(&waiting.answer(lost.clone(), NOW)),
                ended => verdict(&ended),
            }
        });
        verdicts.collect::<Vec<_>>().join(" ")
    };
    assert_eq!(token(&acme_web, json!("deny")), "25 25 25");
    assert_eq!(token(&acme_web, json!("allow")), "ok ok ok");
    assert_eq!(token(&acme_web, json!("local")), "ok ok 14");
    assert_eq!(token(&acme_web, json!({"allow_clients": ["acme-web"]})), "ok ok ok");
    assert_eq!(token(&other, json!({"allow_clients": ["acme-web"]})), "25 25 25");
}

#[test]
fn what_was_admitted_with_the_service_counts_when_it_is_lost() {
    let service = Envoyproxy::default();
    let gate = gate(&policy(json!({"unavailable": "local"}), per_minute(3)));
    assert_eq!(verdict(&with(&gate, &acme(), |call, now| service.answer(call, now))), "ok");
    let lost = |_: &_, _| Err(CallFailure::Failed);
    let verdicts: Vec<_> = (0..3).map(|_| verdict(&with(&gate, &acme(), lost))).collect();
    assert_eq!(verdicts.join(" "), "ok ok 14");
    let step = with(&gate, &after(60_000), lost);
    assert_eq!(trail(&step).fallen.len(), 1);
    assert_eq!(trail(&step).calls.len(), 1, "it tried the service again");
}

#[test]
fn a_service_that_failed_rests() {
    let gate = gate(&policy(json!({"timeout": "20ms", "cooldown": "2s"}), per_minute(100)));
    assert_eq!(verdict(&through(&gate, &acme(), &status(14))), "25");
    let waits = begin(&gate, &after(1));
    assert_eq!((verdict(&waits), asked(&gate, &after(2))), ("call", "25"), "one request tries it");
    let request = message(waiting_call(&waits));
    let Step::Waits(waiting) = waits else { panic!("it waits") };
    assert_eq!(verdict(&waiting.answer(one(OK, &request, 1), NOW)), "ok");
    assert_eq!(asked(&gate, &after(3)), "call", "it is back");
}

fn waiting_call(step: &Step<Shared>) -> &sidegate::provider::Call {
    let Step::Waits(waiting) = step else { panic!("no call: {step:?}") };
    waiting.call().unwrap()
}

#[test]
fn an_answer_that_does_not_say_what_was_counted_is_none() {
    let request = |gate: &Driver<Shared>| message(waiting_call(&begin(gate, &acme())));
    let envoy = gate(&policy(json!({}), per_minute(100)));
    let asked = request(&envoy);
    let status_of = |code, current_limit| DescriptorStatus { code, current_limit, limit_remaining: 9 };
    let ours = asked.descriptors[0].limit;
    let mut other = ours;
    other.as_mut().unwrap().requests_per_unit = 99;
    let with = |overall_code, statuses: &[DescriptorStatus]| {
        answered(&RateLimitResponse {
            overall_code,
            statuses: statuses.to_vec(),
            response_headers_to_add: Vec::new(),
        })
    };
    for (expected, result) in [
        ("ok", with(OK, &[status_of(OK, ours)])),
        ("14", with(OVER_LIMIT, &[status_of(OVER_LIMIT, ours)])),
        // In shadow mode.
        ("14", with(OK, &[status_of(OVER_LIMIT, ours)])),
        // It does not know the domain.
        ("25", with(OK, &[status_of(OK, None)])),
        ("25", with(OK, &[status_of(OK, other)])),
        ("25", with(OVER_LIMIT, &[status_of(OK, ours)])),
        ("25", with(OK, &[status_of(0, ours)])),
        ("25", with(0, &[status_of(OK, ours)])),
        ("25", with(OK, &[])),
        ("25", with(OK, &[status_of(OK, ours), status_of(OK, ours)])),
        ("25", status(2)),
        ("25", status(12)),
        ("25", answer(&json!({}))),
        ("09", Err(CallFailure::UnknownCluster)),
        ("10", Err(CallFailure::NoHealthyHost)),
        ("25", Err(CallFailure::Overloaded)),
    ] {
        let fresh = gate(&policy(json!({}), per_minute(100)));
        assert_eq!(verdict(&through(&fresh, &acme(), &result)), expected, "{result:?}");
    }

    let headers = |overall_code, headers: &[(&str, &str)]| {
        let entry =
            |(key, value): &(&str, &str)| KeyValue { key: (*key).to_owned(), value: (*value).to_owned() };
        let response_headers_to_add = headers.iter().map(entry).collect();
        answered(&RateLimitResponse { overall_code, statuses: Vec::new(), response_headers_to_add })
    };
    let (limit, remaining) = (("X-RateLimit-Limit", "100, 100;w=120"), ("X-RateLimit-Remaining", "99"));
    for (expected, result) in [
        ("ok", headers(OK, &[limit, remaining])),
        ("14", headers(OVER_LIMIT, &[remaining, limit])),
        // No limit of its configuration matches.
        ("25", headers(OK, &[])),
        ("25", headers(OK, &[remaining])),
        ("25", headers(OK, &[limit, ("X-RateLimit-Remaining", "many")])),
        ("25", headers(OK, &[("X-RateLimit-Limit", "99, 99;w=120"), remaining])),
        ("25", headers(0, &[limit, remaining])),
    ] {
        let fresh = gate(&policy(json!({"engine": "limitador"}), per_minute(100)));
        assert_eq!(verdict(&through(&fresh, &acme(), &result)), expected, "{result:?}");
    }
}

#[test]
fn limitador_is_asked_about_one_limit_after_the_other() {
    let limits = json!([
        {"metric": "hits", "max": 2, "per": "minute", "across": "replicas"},
        {"metric": "hits", "max": 900, "per": "month", "across": "replicas"},
    ]);
    let service = Limitador::default();
    let gate = gate(&policy(json!({"engine": "limitador"}), limits));
    let mut calls = Vec::new();
    let mut step = begin(&gate, &acme());
    while let Step::Waits(waiting) = step {
        let request = message(waiting.call().unwrap());
        let [descriptor] = &*request.descriptors else { panic!("{request:?}") };
        let named = ["limit", "max", "window"].map(|key| value(descriptor, key).to_owned());
        assert_eq!((descriptor.limit, descriptor.hits_addend, request.hits_addend), (None, None, 1));
        calls.push(named.join(" "));
        let result = service.answer(waiting.call().unwrap(), NOW);
        step = waiting.answer(result, NOW);
    }
    assert_eq!(verdict(&step), "ok");
    assert_eq!(calls, ["plan/consumer/hits/minute 2 1795176000", "plan/consumer/hits/month 900 1793491200"]);
    assert_eq!(trail(&step).calls.len(), 2);
    let count = |call: &_, now| service.answer(call, now);
    let verdicts = [(); 3].map(|()| verdict(&with(&gate, &acme(), count)));
    assert_eq!(verdicts, ["ok", "14", "14"]);
}

#[test]
fn a_call_that_is_in_flight_when_the_window_ends_counts_in_its_window() {
    let service = Envoyproxy::default();
    let gate = gate(&policy(json!({}), per_minute(1)));
    let late = waiting(begin(&gate, &after(59_990)));
    let count = |call: &_, now| service.answer(call, now);
    let arrives = NOW.saturating_add(Duration::from_millis(60_005));
    let result = count(late.call().unwrap(), arrives);
    assert_eq!(verdict(&late.answer(result, arrives)), "ok");
    assert_eq!(verdict(&with(&gate, &after(60_010), count)), "ok", "the new window is empty");
    assert_eq!(verdict(&with(&gate, &after(60_020), count)), "14");
}

#[test]
fn a_plan_that_a_binding_names_counts_apart_and_keeps_its_service() {
    let mut document = policy(json!({}), per_minute(100));
    document["apis"][0]["bindings"] = json!([{"consumer": "acme", "plan": "basic", "allow": "all"}]);
    let request = message(waiting_call(&begin(&gate(&document), &acme())));
    assert_eq!(value(&request.descriptors[0], "limit"), "binding:a/consumer/hits/minute");
}
