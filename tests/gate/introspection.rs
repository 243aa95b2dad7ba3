//! Tokens: the question, the cache, and what happens while the provider cannot be asked.

use std::time::Duration;

use serde_json::{Value, json};
use sidegate::{
    gate::{Gate, Lookup},
    provider::ProviderReply,
    store::{Disturbed, Store},
};

use super::{
    Shared, asked, begin, call, gate, load, permit,
    support::{Ask, NOW, PROVIDER_SECRET, answer, consumer, document, get},
    through, verdict,
};

fn hydra() -> Value {
    let rules = json!([
        {"path": "/lax", "access": [{"introspection": {"provider": "hydra"}}]},
        {"path": "/strict", "access": [{"introspection": {"provider": "hydra", "scopes": ["admin"]}}]},
    ]);
    document(json!([consumer("acme")]), json!([{"name": "a", "rules": rules}]))
}

fn with(setting: &str, value: Value) -> Value {
    let mut document = hydra();
    document["providers"]["hydra"]["introspection"][setting] = value;
    document
}

fn at(millis: u64, path: &str) -> Ask {
    Ask { at: NOW.saturating_add(Duration::from_millis(millis)), ..get(path).token("t0ken") }
}

/// What becomes of a request that finds the provider out of order.
fn without_provider<S: Store>(gate: &Gate<S>, ask: &Ask) -> (&'static str, Option<Lookup>) {
    let step = through(gate, ask, &ProviderReply::TimedOut);
    (verdict(&step), step.facts().lookup)
}

#[test]
fn the_question_is_a_form_with_our_credentials() {
    let gate = gate(&hydra());
    let request = call(begin(&gate, &at(0, "/lax").with("x-other", "never sent on"))).request;
    assert_eq!(
        (request.cluster.as_str(), request.method, request.scheme.as_str()),
        ("hydra-admin", "POST", "http")
    );
    assert_eq!(
        (request.authority.as_str(), request.path.as_str()),
        ("hydra:4445", "/admin/oauth2/introspect")
    );
    assert_eq!(request.timeout, Duration::from_millis(200));
    assert_eq!(String::from_utf8(request.body).unwrap(), "token=t0ken&token_type_hint=access_token");
    let credentials = "Z2F0ZXdheTp0aGUtc2VjcmV0LW9mLXRoZS1nYXRl";
    assert_eq!(
        request.headers,
        [
            ("accept", "application/json".to_owned()),
            ("content-type", "application/x-www-form-urlencoded".to_owned()),
            ("authorization", format!("Basic {credentials}")),
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
        let request = call(begin(&gate(&with("authentication", authentication)), &at(0, "/lax"))).request;
        let sent = request.headers.iter().find(|(name, _)| *name == "authorization");
        assert_eq!(sent.map(|(_, value)| value.as_str()), header);
        assert_eq!(String::from_utf8(request.body).unwrap(), body);
    }
}

#[test]
fn one_question_for_all_who_present_the_same_token() {
    let gate = gate(&hydra());
    let question = |path: &str, token: &str| call(begin(&gate, &get(path).token(token))).question;
    assert_eq!(question("/lax", "one"), question("/strict", "one"));
    assert_ne!(question("/lax", "one"), question("/lax", "two"));
}

#[test]
fn a_fresh_answer_is_used_without_a_call_and_is_not_prolonged_by_use() {
    let gate = gate(&hydra());
    let active = answer(&json!({"active": true, "client_id": "acme-web"}));
    let step = through(&gate, &at(0, "/lax"), &active);
    assert_eq!((verdict(&step), step.facts().lookup), ("ok", Some(Lookup::Miss)));
    for (millis, expected, lookup) in
        [(1, "ok", Some(Lookup::Hit)), (29_999, "ok", Some(Lookup::Hit)), (30_000, "call", None)]
    {
        let step = begin(&gate, &at(millis, "/lax"));
        assert_eq!((verdict(&step), step.facts().lookup), (expected, lookup), "{millis}");
    }
    assert_eq!(begin(&gate, &at(1, "/lax")).facts().consumer(), Some("acme"));
}

#[test]
fn an_inactive_answer_is_kept_for_its_own_time() {
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
fn nothing_is_kept_where_the_policy_says_so_and_no_fault_ever() {
    let none = gate(&with("cache", json!({"ttl": "0s", "negative_ttl": "0s"})));
    for reply in [json!({"active": true}), json!({"active": false})] {
        through(&none, &at(0, "/lax"), &answer(&reply));
        assert_eq!(asked(&none, &at(0, "/lax")), "call");
    }
    let gate = gate(&hydra());
    for reply in [ProviderReply::Failed, ProviderReply::TimedOut, answer(&json!({"active": "true"}))] {
        assert_eq!(verdict(&through(&gate, &at(0, "/lax"), &reply)), "24");
        assert_eq!(asked(&gate, &at(0, "/lax")), "call");
    }
    assert_eq!((none.store().keys(), gate.store().keys()), (0, 0));
}

#[test]
fn of_all_who_wait_for_one_reply_the_first_keeps_it() {
    let gate = gate(&hydra());
    let active = answer(&json!({"active": true}));
    let [one, other] = [0, 0].map(|millis| call(begin(&gate, &at(millis, "/lax"))));
    let step = other.then.resume(&gate, &active, NOW, false);
    assert_eq!((verdict(&step), gate.store().keys()), ("ok", 0), "another decides and writes nothing");
    let step = one.then.resume(&gate, &active, NOW, true);
    assert_eq!((verdict(&step), gate.store().keys()), ("ok", 1));
    assert_eq!(asked(&gate, &at(0, "/lax")), "ok");
}

#[test]
fn the_answer_is_kept_also_where_the_first_is_refused() {
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
    assert_eq!((verdict(&step), step.facts().lookup), ("23", Some(Lookup::Hit)));

    let mut strict = hydra();
    strict["apis"][0]["rules"][0]["access"][0]["introspection"]["issuers"] = json!(["https://idp"]);
    let stricter = Gate::new(load(&strict), Shared::clone(gate.store()));
    let step = begin(&stricter, &at(1, "/lax"));
    assert_eq!(
        (verdict(&step), step.facts().lookup),
        ("22", Some(Lookup::Hit)),
        "a new policy judges old answers anew"
    );
}

#[test]
fn an_answer_for_one_identity_of_ours_is_not_used_for_another() {
    let gate = gate(&hydra());
    through(&gate, &at(0, "/lax"), &answer(&json!({"active": true})));
    let other = with("authentication", json!({"basic": {"id": "another", "secret": "s"}}));
    let other = Gate::new(load(&other), Shared::clone(gate.store()));
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
    for reply in [ProviderReply::UnknownCluster, ProviderReply::NoHealthyHost, ProviderReply::TooManyCalls] {
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
fn bytes_that_are_no_answer_are_absent_and_counted() {
    let mut document = hydra();
    document["gate"]["capacity"] = json!({"tokens": 1});
    let gate = gate(&document);
    let active = answer(&json!({"active": true}));
    through(&gate, &at(0, "/lax"), &active);
    let key = "sidegate/tokens/0";
    let (bytes, cas) = gate.store().get(key);
    let mut bytes = bytes.unwrap();
    let kept = bytes.clone();

    // The slot parses, the entry in it does not.
    let last = bytes.len() - 1;
    bytes[last] ^= 0xff;
    bytes[37] ^= 0xff;
    gate.store().compare_and_swap(key, &bytes, cas.unwrap()).unwrap();
    let step = begin(&gate, &at(0, "/lax"));
    assert_eq!((verdict(&step), step.facts().store.corrupt), ("call", 1), "{kept:?}");

    // The slot itself does not.
    let (_, cas) = gate.store().get(key);
    gate.store().compare_and_swap(key, b"junk", cas.unwrap()).unwrap();
    let step = begin(&gate, &at(0, "/lax"));
    assert_eq!((verdict(&step), step.facts().store.corrupt), ("call", 1));
    permit(call(step).then.resume(&gate, &active, NOW, true));
    assert_eq!(asked(&gate, &at(0, "/lax")), "ok", "the next answer heals it");
}

#[test]
fn a_store_that_takes_nothing_costs_the_cache_and_not_the_answer() {
    let gate = Gate::new(load(&hydra()), Disturbed::contended_after(0));
    let step = through(&gate, &at(0, "/lax"), &answer(&json!({"active": true})));
    assert_eq!(verdict(&step), "ok");
    assert!(step.facts().store.conflicts > 0);
}
