//! Tokens: the question, the cache, and what happens while the provider cannot be asked.

use std::{rc::Rc, time::Duration};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use sidegate::{
    gate::drive::Driver,
    identity::Lookup,
    ports::Role,
    provider::{Call, CallFailure, CallOutcome, HttpRequest, Sharing, Transport},
    store::{Disturbed, Store},
};

use super::{
    Shared, asked, begin, gate, load, lookup, permit,
    support::{Ask, NOW, PROVIDER_SECRET, answer, consumer, document, get, http},
    through, trail, verdict, waiting,
};

fn hydra() -> Value {
    let rules = json!([
        {"path": "/lax", "access": [{"introspection": {"provider": "hydra"}}]},
        {"path": "/strict", "access": [{"introspection": {"provider": "hydra", "scopes": ["admin"]}}]},
    ]);
    document(json!([consumer("acme")]), json!([{"name": "a", "rules": rules}]))
}

fn request(call: &Call) -> &HttpRequest {
    let Transport::Http(request) = &call.transport else { panic!("not HTTP") };
    request
}

fn with(setting: &str, value: Value) -> Value {
    let mut document = hydra();
    document["providers"]["hydra"]["introspection"][setting] = value;
    document
}

fn at(millis: u64, path: &str) -> Ask {
    Ask { at: NOW.saturating_add(Duration::from_millis(millis)), ..get(path).token("t0ken") }
}

/// The outcome of a request while the provider is out of order.
fn without_provider<S: Store + 'static>(gate: &Driver<S>, ask: &Ask) -> (&'static str, Option<Lookup>) {
    let step = through(gate, ask, &Err(CallFailure::TimedOut));
    (verdict(&step), lookup(&step))
}

#[test]
fn a_refused_token_names_its_consumer_in_the_trail() {
    let gate = gate(&hydra());
    for (path, body, expected, consumer) in [
        ("/strict", json!({"active": true, "client_id": "acme-web"}), "23", Some("acme")),
        ("/lax", json!({"active": true, "client_id": "acme-web", "exp": 1}), "22", Some("acme")),
        ("/strict", json!({"active": true, "client_id": "unknown"}), "23", None),
        ("/lax", json!({"active": false, "client_id": "acme-web"}), "22", None),
    ] {
        let ask = Ask { at: NOW, ..get(path).token(&URL_SAFE_NO_PAD.encode(body.to_string())) };
        let step = through(&gate, &ask, &answer(&body));
        assert_eq!((verdict(&step), trail(&step).consumer()), (expected, consumer), "{body}");
    }
}

#[test]
fn the_question_is_a_form_with_our_credentials() {
    let gate = gate(&hydra());
    let waiting = waiting(begin(&gate, &at(0, "/lax").with("x-other", "never sent on")));
    let call = waiting.call().unwrap();
    assert_eq!((call.cluster.as_str(), call.timeout), ("hydra-admin", Duration::from_millis(200)));
    let request = request(call);
    assert_eq!((request.method, request.scheme.as_str()), ("POST", "http"));
    assert_eq!(
        (request.authority.as_str(), request.path.as_str()),
        ("hydra:4445", "/admin/oauth2/introspect")
    );
    assert_eq!(str::from_utf8(&request.body).unwrap(), "token=t0ken&token_type_hint=access_token");
    let credentials = "Z2F0ZXdheTp0aGUtc2VjcmV0LW9mLXRoZS1nYXRl";
    assert_eq!(
        request.headers.iter().collect::<Vec<_>>(),
        [
            ("accept", "application/json"),
            ("content-type", "application/x-www-form-urlencoded"),
            ("authorization", &format!("Basic {credentials}")),
        ],
        "gateway:{PROVIDER_SECRET}"
    );
}

#[test]
fn each_way_to_authenticate_is_sent_as_configured() {
    let client = json!({"id": "gateway", "secret": {"env": "HYDRA_SECRET"}});
    let form = "token=t0ken&token_type_hint=access_token";
    for (authentication, header, body) in [
        (json!({"post": client}), None, format!("{form}&client_id=gateway&client_secret={PROVIDER_SECRET}")),
        (json!({"bearer": {"token": "ours"}}), Some("Bearer ours"), form.to_owned()),
        (json!("none"), None, form.to_owned()),
    ] {
        let waiting = waiting(begin(&gate(&with("authentication", authentication)), &at(0, "/lax")));
        let request = request(waiting.call().unwrap());
        assert_eq!(request.headers.get("authorization"), header);
        assert_eq!(str::from_utf8(&request.body).unwrap(), body);
    }
}

#[test]
fn requests_with_the_same_token_ask_the_same_question() {
    let gate = gate(&hydra());
    let question = |path: &str, token: &str| {
        let waiting = waiting(begin(&gate, &get(path).token(token)));
        let Sharing::Joined(question) = waiting.call().unwrap().sharing else { panic!("it is shared") };
        question
    };
    assert_eq!(question("/lax", "one"), question("/strict", "one"));
    assert_ne!(question("/lax", "one"), question("/lax", "two"));
}

#[test]
fn a_fresh_answer_is_used_without_a_call_and_is_not_prolonged_by_use() {
    let gate = gate(&hydra());
    let active = answer(&json!({"active": true, "client_id": "acme-web"}));
    let step = through(&gate, &at(0, "/lax"), &active);
    assert_eq!((verdict(&step), lookup(&step)), ("ok", Some(Lookup::Miss)));
    for (millis, expected, obtained) in
        [(1, "ok", Some(Lookup::Hit)), (29_999, "ok", Some(Lookup::Hit)), (30_000, "call", None)]
    {
        let step = begin(&gate, &at(millis, "/lax"));
        assert_eq!((verdict(&step), lookup(&step)), (expected, obtained), "{millis}");
    }
    assert_eq!(trail(&begin(&gate, &at(1, "/lax"))).consumer(), Some("acme"));
}

#[test]
fn an_inactive_answer_is_kept_for_the_negative_ttl() {
    let gate = gate(&hydra());
    assert_eq!(verdict(&through(&gate, &at(0, "/lax"), &answer(&json!({"active": false})))), "22");
    assert_eq!(asked(&gate, &at(4_999, "/lax")), "22");
    assert_eq!(asked(&gate, &at(5_000, "/lax")), "call");
}

#[test]
fn no_answer_outlives_the_token() {
    let gate = gate(&hydra());
    let until = json!({"active": true, "exp": NOW.seconds() + 10});
    assert_eq!(verdict(&through(&gate, &at(0, "/lax"), &answer(&until))), "ok");
    assert_eq!(asked(&gate, &at(9_999, "/lax")), "ok");
    assert_eq!(asked(&gate, &at(10_000, "/lax")), "call");
}

#[test]
fn nothing_is_kept_where_the_policy_says_so_and_faults_never() {
    let none = gate(&with("cache", json!({"ttl": "0s", "negative_ttl": "0s"})));
    for reply in [json!({"active": true}), json!({"active": false})] {
        through(&none, &at(0, "/lax"), &answer(&reply));
        assert_eq!(asked(&none, &at(0, "/lax")), "call");
    }
    let gate = gate(&hydra());
    for (second, reply) in [
        (0, Err(CallFailure::Failed)),
        (1, Err(CallFailure::TimedOut)),
        (2, answer(&json!({"active": "true"}))),
    ] {
        assert_eq!(verdict(&through(&gate, &at(second * 1000, "/lax"), &reply)), "24");
        assert_eq!(asked(&gate, &at(second * 1000 + 500, "/lax")), "call");
    }
    let keys = |gate: &Driver<Shared>| gate.ports().store().store().keys();
    assert_eq!(keys(&none), 1, "only that the token was active is stored, and nothing of the answer");
    assert!(none.ports().store().store().bytes() < 32);
    assert_eq!(keys(&gate), 1, "only the failure of the provider is stored");
}

#[test]
fn a_provider_that_failed_is_tried_by_one_request_at_a_time() {
    let mut document = with("unavailable", json!("stale"));
    document["providers"]["hydra"]["introspection"]["cache"] = json!({"stale_if_error": "60s"});
    let gate = gate(&document);
    let active = answer(&json!({"active": true}));
    assert_eq!(verdict(&through(&gate, &at(0, "/lax"), &active)), "ok");
    let other = |millis| Ask { at: at(millis, "/lax").at, ..get("/lax").token("other") };

    // The answer is stale, and the provider hangs.
    let hangs = waiting(begin(&gate, &at(40_000, "/lax")));
    assert_eq!(asked(&gate, &other(40_000)), "call", "nothing is known yet");
    let step = hangs.answer(Err(CallFailure::TimedOut), at(40_200, "/lax").at);
    assert_eq!((verdict(&step), lookup(&step)), ("ok", Some(Lookup::Stale)));

    // From now on, one request at a time calls it. `unavailable` decides about the others at once.
    let tries = waiting(begin(&gate, &at(40_300, "/lax")));
    for _ in 0..3 {
        let step = begin(&gate, &at(40_300, "/lax"));
        assert_eq!((verdict(&step), lookup(&step)), ("ok", Some(Lookup::Stale)));
        assert_eq!(trail(&step).calls, []);
        let refused = begin(&gate, &other(40_300));
        assert_eq!(verdict(&refused), "24");
        let reason = trail(&refused).refusal.as_ref().unwrap().reason.as_str();
        assert_eq!(reason, "the provider failed recently and is not called during its cooldown");
    }
    // An answer ends the cooldown.
    assert_eq!(verdict(&tries.answer(active, at(40_310, "/lax").at)), "ok");
    assert_eq!([asked(&gate, &other(40_310)), asked(&gate, &other(40_310))], ["call", "call"]);
}

#[test]
fn a_failed_provider_is_called_again_after_its_cooldown() {
    for (cooldown, expected) in [("1s", ["call", "24"]), ("0s", ["call", "call"])] {
        let gate = gate(&with("cooldown", json!(cooldown)));
        assert_eq!(verdict(&through(&gate, &at(0, "/lax"), &http(503, &[], ""))), "24");
        assert_eq!([asked(&gate, &at(1, "/lax")), asked(&gate, &at(2, "/lax"))], expected, "{cooldown}");
        assert_eq!([asked(&gate, &at(1_000, "/lax")), asked(&gate, &at(1_000, "/lax"))], ["call", "call"]);
    }
    let gate = gate(&hydra());
    for status in [401, 403, 404, 429] {
        assert_eq!(verdict(&through(&gate, &at(0, "/lax"), &http(status, &[], ""))), "24");
        assert_eq!(
            [asked(&gate, &at(0, "/lax")), asked(&gate, &at(0, "/lax"))],
            ["call", "call"],
            "{status}"
        );
    }
}

#[test]
fn a_400_is_about_the_token_and_is_kept_like_an_inactive_answer() {
    let gate = gate(&hydra());
    let unreadable = http(400, &[("content-type", "application/json")], r#"{"error":"invalid_request"}"#);
    let step = through(&gate, &at(0, "/lax"), &unreadable);
    assert_eq!(verdict(&step), "22");
    assert_eq!(trail(&step).calls[0].record.outcome, CallOutcome::Unreadable);
    assert_eq!((asked(&gate, &at(4_999, "/lax")), asked(&gate, &at(5_000, "/lax"))), ("22", "call"));
}

#[test]
fn of_all_requests_that_wait_for_one_reply_the_first_stores_it() {
    let gate = gate(&hydra());
    let active = answer(&json!({"active": true}));
    let active = Rc::new(active);
    let [one, other] = [0, 0].map(|millis| waiting(begin(&gate, &at(millis, "/lax"))));
    let step = other.answer_as(Role::Follower, &active, NOW);
    assert_eq!(
        (verdict(&step), trail(&step).calls.len(), gate.ports().store().store().keys()),
        ("ok", 0, 0),
        "another decides and writes nothing"
    );
    let step = one.answer_as(Role::Leader, &active, NOW);
    assert_eq!((verdict(&step), gate.ports().store().store().keys()), ("ok", 2));
    assert_eq!(asked(&gate, &at(0, "/lax")), "ok");
}

#[test]
fn the_answer_is_stored_even_if_the_first_request_is_refused() {
    let gate = gate(&hydra());
    assert_eq!(verdict(&through(&gate, &at(0, "/strict"), &answer(&json!({"active": true})))), "23");
    assert_eq!(asked(&gate, &at(0, "/lax")), "ok");
}

#[test]
fn the_rule_is_checked_on_every_hit() {
    let gate = gate(&hydra());
    let active = answer(&json!({"active": true, "scope": "user", "nbf": NOW.seconds()}));
    assert_eq!(verdict(&through(&gate, &at(0, "/lax"), &active)), "ok");
    let step = begin(&gate, &at(1, "/strict"));
    assert_eq!((verdict(&step), lookup(&step)), ("23", Some(Lookup::Hit)));

    let mut strict = hydra();
    strict["apis"][0]["rules"][0]["access"][0]["introspection"]["issuers"] = json!(["https://idp"]);
    let stricter = Driver::new(load(&strict), Shared::clone(gate.ports().store().store()));
    let step = begin(&stricter, &at(1, "/lax"));
    assert_eq!(
        (verdict(&step), lookup(&step)),
        ("22", Some(Lookup::Hit)),
        "a new policy is applied to old answers"
    );
}

#[test]
fn an_answer_is_not_used_with_other_client_credentials() {
    let gate = gate(&hydra());
    through(&gate, &at(0, "/lax"), &answer(&json!({"active": true})));
    let other = with("authentication", json!({"basic": {"id": "another", "secret": "s"}}));
    let other = Driver::new(load(&other), Shared::clone(gate.ports().store().store()));
    assert_eq!(asked(&other, &at(0, "/lax")), "call");
}

#[test]
fn while_the_provider_is_unavailable_its_mode_decides() {
    let cache = json!({"ttl": "30s", "negative_ttl": "5s", "stale_if_error": "60s"});
    let mode = |unavailable: Value| {
        let mut document = with("cache", cache.clone());
        document["providers"]["hydra"]["introspection"]["unavailable"] = unavailable;
        let gate = gate(&document);
        through(&gate, &at(0, "/lax"), &answer(&json!({"active": true, "client_id": "billing"})));
        gate
    };
    let stale = Some(Lookup::Stale);
    for (unavailable, millis, expected) in [
        (json!("deny"), 30_000, ("24", None)),
        (json!("stale"), 30_000, ("ok", stale)),
        (json!("stale"), 89_999, ("ok", stale)),
        (json!("stale"), 90_000, ("24", None)),
        (json!({"allow_clients": ["billing"]}), 30_000, ("ok", stale)),
        (json!({"allow_clients": ["billing"]}), 90_000, ("24", None)),
        (json!({"allow_clients": ["others"]}), 30_000, ("24", None)),
    ] {
        let gate = mode(unavailable.clone());
        assert_eq!(without_provider(&gate, &at(millis, "/lax")), expected, "{unavailable} after {millis} ms");
    }

    let gate = mode(json!("stale"));
    assert_eq!(
        without_provider(&gate, &at(30_000, "/strict")),
        ("23", stale),
        "the rule is checked for stale answers too"
    );
    for reply in
        [Err(CallFailure::UnknownCluster), Err(CallFailure::NoHealthyHost), Err(CallFailure::Overloaded)]
    {
        assert_eq!(verdict(&through(&gate, &at(30_000, "/lax"), &reply)), "ok", "{reply:?}");
    }
    let revoked = answer(&json!({"active": false}));
    assert_eq!(
        verdict(&through(&gate, &at(30_000, "/lax"), &revoked)),
        "22",
        "a provider that answers is believed"
    );
    assert_eq!(
        without_provider(&gate, &at(36_000, "/lax")),
        ("24", None),
        "and its answer replaces the stale one"
    );
    assert_eq!(without_provider(&gate, &Ask { at: NOW, ..get("/lax").token("unknown") }), ("24", None));
}

#[test]
fn invalid_bytes_in_the_cache_are_ignored_and_counted() {
    let mut document = hydra();
    document["gate"]["capacity"] = json!({"tokens": 1});
    let active = answer(&json!({"active": true}));
    let store = Shared::default();
    through(&Driver::new(load(&document), Rc::clone(&store)), &at(0, "/lax"), &active);
    // A worker that remembers an answer does not read the cache, so this is another one.
    let gate = Driver::new(load(&document), store);
    let key = "sidegate/tokens/0";
    let (bytes, cas) = gate.ports().store().store().get(key);
    let mut bytes = bytes.unwrap();
    let kept = bytes.clone();

    // The slot parses, the entry in it does not.
    let last = bytes.len() - 1;
    bytes[last] ^= 0xff;
    bytes[37] ^= 0xff;
    gate.ports().store().store().compare_and_swap(key, &bytes, cas.unwrap()).unwrap();
    let step = begin(&gate, &at(0, "/lax"));
    assert_eq!((verdict(&step), gate.ports().take_incidents().corrupt), ("call", 1), "{kept:?}");

    // The slot itself does not.
    let (_, cas) = gate.ports().store().store().get(key);
    gate.ports().store().store().compare_and_swap(key, b"junk", cas.unwrap()).unwrap();
    let step = begin(&gate, &at(0, "/lax"));
    assert_eq!((verdict(&step), gate.ports().take_incidents().corrupt), ("call", 1));
    permit(waiting(step).answer(active, NOW));
    assert_eq!(asked(&gate, &at(0, "/lax")), "ok", "the next answer replaces them");
}

#[test]
fn without_room_in_the_store_an_answer_is_used_and_not_cached() {
    let gate = Driver::new(load(&hydra()), Disturbed::contended_after(0));
    let step = through(&gate, &at(0, "/lax"), &answer(&json!({"active": true})));
    assert_eq!(verdict(&step), "ok");
    assert!(gate.ports().take_incidents().conflicts > 0);
}

#[test]
fn a_token_of_another_issuer_is_refused_without_a_call() {
    let gate = gate(&with("issuers", json!(["https://idp"])));
    let jws = |payload: Value| {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        format!("{}.{}.c2ln", part(&json!({"alg": "RS256"})), part(&payload))
    };
    let ask = |token: &str| get("/lax").token(token);
    let step = begin(&gate, &ask(&jws(json!({"iss": "https://evil"}))));
    assert_eq!((verdict(&step), lookup(&step)), ("22", Some(Lookup::Foreign)));
    assert_eq!(trail(&step).calls.len(), 0);
    let ours = jws(json!({"iss": "https://idp"}));
    for token in [ours.as_str(), &jws(json!({"sub": "alice"})), "opaque"] {
        assert_eq!(asked(&gate, &ask(token)), "call", "{token}");
    }
    assert_eq!(verdict(&through(&gate, &ask(&ours), &answer(&json!({"active": true})))), "ok");
    assert_eq!(asked(&gate, &ask(&ours)), "ok");
}

#[test]
fn made_up_tokens_do_not_evict_active_ones() {
    let mut document = hydra();
    document["gate"]["capacity"] = json!({"tokens": 4});
    let gate = gate(&document);
    assert_eq!(verdict(&through(&gate, &at(0, "/lax"), &answer(&json!({"active": true})))), "ok");
    for number in 0..100 {
        let ask = get("/lax").token(&format!("made-up-{number}"));
        assert_eq!(verdict(&through(&gate, &ask, &answer(&json!({"active": false})))), "22");
        assert_eq!(asked(&gate, &ask), "22", "cached");
    }
    assert_eq!(asked(&gate, &at(0, "/lax")), "ok");
    assert_eq!(gate.ports().take_incidents().evicted, 0);
}
