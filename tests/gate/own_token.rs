//! An access token of Sidegate's own for the introspection endpoint: fetched, used, replaced.

use std::time::Duration;

use serde_json::{Value, json};
use sidegate::{
    gate::drive::{Step, Waiting},
    provider::{Call, CallFailure, CallOutcome, CallResult, HttpRequest, ProviderFault, Sharing, Transport},
    store::Store,
};

use super::{
    asked, begin, gate, load, refused,
    support::{Ask, NOW, answer, consumer, document, get, http},
    trail, verdict, waiting,
};

fn hydra() -> Value {
    let mut document = document(
        json!([consumer("acme")]),
        json!([{"name": "a", "rules": [{"path": "/**", "access": [{"introspection": {"provider": "hydra"}}]}]}]),
    );
    document["providers"]["hydra"]["introspection"]["authentication"] = json!({"client_credentials": {
        "cluster": "hydra-public",
        "url": "http://hydra:4444/oauth2/token",
        "authentication": {"basic": {"id": "gateway", "secret": {"env": "HYDRA_SECRET"}}},
        "scopes": ["introspect"],
    }});
    document
}

fn at(seconds: u64) -> Ask {
    Ask { at: NOW.saturating_add(Duration::from_secs(seconds)), ..get("/x").token("t0ken") }
}

fn request(call: &Call) -> &HttpRequest {
    let Transport::Http(request) = &call.transport else { panic!("not HTTP") };
    request
}

/// The bearer token of the call for which a request waits; none if it is the call for that token.
fn bearer<S>(waiting: &Waiting<S>) -> Option<String>
where
    S: Store + 'static,
{
    let request = request(waiting.call().unwrap());
    match request.path.as_str() {
        "/oauth2/token" => None,
        _ => request.headers.get("authorization").map(str::to_owned),
    }
}

fn granted(token: &str, seconds: u64) -> CallResult {
    answer(&json!({"access_token": token, "token_type": "bearer", "expires_in": seconds}))
}

fn rejected() -> CallResult {
    http(401, &[], "")
}

fn active() -> CallResult {
    answer(&json!({"active": true}))
}

/// Answers the call for which a request waits, which then waits for another one.
fn next<S: Store + 'static>(waiting: Waiting<S>, result: CallResult, seconds: u64) -> Waiting<S> {
    match waiting.answer(result, at(seconds).at) {
        Step::Waits(waiting) => waiting,
        ended => panic!("it has ended: {ended:?}"),
    }
}

#[test]
fn a_request_fetches_the_token_if_there_is_none_and_the_next_ones_use_it() {
    let gate = gate(&hydra());
    let first = waiting(begin(&gate, &at(0)));
    let call = first.call().unwrap();
    assert_eq!((call.cluster.as_str(), call.timeout), ("hydra-public", Duration::from_secs(2)));
    assert!(matches!(call.sharing, Sharing::Joined(_)), "{call:?}");
    assert_eq!(
        str::from_utf8(&request(call).body).unwrap(),
        "grant_type=client_credentials&scope=introspect"
    );
    let first = next(first, granted("one", 100), 0);
    assert_eq!(bearer(&first).as_deref(), Some("Bearer one"));
    let step = first.answer(active(), NOW);
    assert_eq!(verdict(&step), "ok");
    let outcomes: Vec<_> = trail(&step).calls.iter().map(|call| call.record.outcome).collect();
    assert_eq!(outcomes, [CallOutcome::Answered; 2]);
    // The answer is cached for 30 seconds, and the token lives for 100.
    assert_eq!(asked(&gate, &at(29)), "ok");
    assert_eq!(bearer(&waiting(begin(&gate, &at(99)))).as_deref(), Some("Bearer one"));
    assert_eq!(bearer(&waiting(begin(&gate, &at(100)))), None);
}

#[test]
fn a_rejected_token_is_replaced_at_once_and_then_no_more_than_every_ten_seconds() {
    let gate = gate(&hydra());
    let first = next(waiting(begin(&gate, &at(0))), granted("one", 1000), 0);
    assert_eq!(verdict(&first.answer(active(), NOW)), "ok");

    let old = waiting(begin(&gate, &at(40)));
    assert_eq!(bearer(&old).as_deref(), Some("Bearer one"));
    let fetching = next(old, rejected(), 40);
    assert_eq!(bearer(&fetching), None);
    let again = next(fetching, granted("two", 1000), 40);
    assert_eq!(bearer(&again).as_deref(), Some("Bearer two"));
    assert_eq!(verdict(&again.answer(active(), at(40).at)), "ok");

    // A server that rejects every token gets no more than one request for another one in ten seconds.
    let third = waiting(begin(&gate, &at(80)));
    let fetching = next(third, rejected(), 80);
    let step = next(fetching, granted("three", 1000), 80).answer(rejected(), at(80).at);
    assert_eq!(verdict(&step), "24");
    let fault = CallOutcome::Fault(ProviderFault::Rejected { status: 401 });
    assert_eq!(trail(&step).calls.last().unwrap().record.outcome, fault);
    let step = waiting(begin(&gate, &at(89))).answer(rejected(), at(89).at);
    assert_eq!(verdict(&step), "24");
    let fetching = next(waiting(begin(&gate, &at(90))), rejected(), 90);
    assert_eq!(bearer(&fetching), None);
}

#[test]
fn without_a_token_the_endpoint_is_not_asked_and_the_provider_is_unavailable() {
    for (result, expected) in [
        (Err(CallFailure::TimedOut), "24"),
        (http(503, &[], ""), "24"),
        (http(401, &[("content-type", "application/json")], r#"{"error":"invalid_client"}"#), "24"),
        (answer(&json!({"access_token": "t", "token_type": "DPoP"})), "24"),
        (Err(CallFailure::UnknownCluster), "09"),
        (Err(CallFailure::NoHealthyHost), "10"),
    ] {
        let gate = gate(&hydra());
        let step = waiting(begin(&gate, &at(0))).answer(result, NOW);
        assert_eq!(verdict(&step), expected);
        assert_eq!(trail(&step).calls.len(), 1);
        let step = begin(&gate, &at(0));
        assert_eq!((verdict(&step), trail(&step).calls.len()), ("24", 0), "there is a pause");
        let fetching = waiting(begin(&gate, &at(1)));
        assert_eq!(bearer(&fetching), None, "it is over");
        // The introspection endpoint itself has not failed, so it does not rest.
        let asking = next(fetching, granted("one", 100), 1);
        assert_eq!(verdict(&asking.answer(active(), at(1).at)), "ok");
    }
}

#[test]
fn an_outage_of_the_token_endpoint_is_one_of_the_provider() {
    let mut document = hydra();
    let settings = &mut document["providers"]["hydra"]["introspection"];
    settings["unavailable"] = json!("stale");
    settings["cache"] = json!({"ttl": "30s", "stale_if_error": "60s"});
    let gate = gate(&document);
    let first = next(waiting(begin(&gate, &at(0))), granted("one", 40), 0);
    assert_eq!(verdict(&first.answer(active(), NOW)), "ok");
    let step = waiting(begin(&gate, &at(41))).answer(Err(CallFailure::TimedOut), at(41).at);
    assert_eq!(verdict(&step), "ok", "the last answer is used");
    let other = Ask { at: at(41).at, ..get("/x").token("another") };
    assert_eq!(asked(&gate, &other), "24");
}

#[test]
fn neither_policy_nor_log_shows_the_token() {
    let gate = gate(&hydra());
    let first = next(waiting(begin(&gate, &at(0))), granted("0urs", 100), 0);
    let step = first.answer(rejected(), NOW);
    let shown =
        format!("{step:?} {:?}", load(&hydra()).providers.first().map(sidegate::policy::Provider::name));
    assert!(!shown.contains("0urs"), "{shown}");
    let refused = refused(step);
    assert!(!format!("{:?} {:?}", refused.reply(), refused.trail()).contains("0urs"));
}

#[test]
fn id_and_headers_may_come_from_the_environment() {
    let mut document = hydra();
    let settings = &mut document["providers"]["hydra"]["introspection"];
    settings["authentication"] = json!({"post": {"id": {"env": "HYDRA_SECRET"}, "secret": "s"}});
    settings["headers"] =
        json!({"X-Tenant": "acme", "x-forwarded-proto": "https", "x-key": {"env": "HYDRA_SECRET"}});
    let waiting = waiting(begin(&gate(&document), &at(0)));
    let request = request(waiting.call().unwrap());
    let secret = super::support::PROVIDER_SECRET;
    let body = str::from_utf8(&request.body).unwrap();
    assert!(body.ends_with(&format!("&client_id={secret}&client_secret=s")), "{body}");
    let headers: Vec<_> = request.headers.iter().skip(2).collect();
    assert_eq!(headers, [("x-tenant", "acme"), ("x-forwarded-proto", "https"), ("x-key", secret)]);
}
