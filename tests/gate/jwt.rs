//! JWTs that Sidegate verifies: which tokens pass, which never do, and where the keys come from.

use std::{rc::Rc, time::Duration};

use serde_json::{Value, json};
use sidegate::{
    gate::drive::Driver,
    identity::{Lookup, jwt::Verdict},
    provider::{CallFailure, CallResult, HttpRequest, Transport},
    refusal::Cause,
};

use super::{
    Shared, asked, begin, gate, load, lookup, refused, sees,
    support::{Ask, NOW, consumer, document, get, http},
    through, trail, verdict, waiting,
};

/// What `tests/jwt/make.mjs` made.
fn fixtures() -> Value {
    serde_json::from_str(include_str!("../jwt/fixtures.json")).expect("the fixtures are JSON")
}

fn valid(name: &str) -> String {
    fixtures()["valid"][name].as_str().unwrap_or_else(|| panic!("no token {name}")).to_owned()
}

/// A policy with this provider of JWTs, and rules for its tokens.
fn policy(jwks: Value) -> Value {
    let rules = json!([
        {"path": "/lax", "access": [{"jwt": {"provider": "corp"}}]},
        {"path": "/read", "access": [{"jwt": {"provider": "corp", "scopes": ["orders.read"]}}]},
        {"path": "/admin", "access": [{"jwt": {"provider": "corp", "scopes": ["admin"]}}]},
        {"path": "/orders", "access": [{"jwt": {"provider": "corp", "audience": {"all": ["orders", "files"]}}}]},
        {"path": "/theirs", "access": [{"jwt": {"provider": "corp", "audience": {"any": ["theirs"]}}}]},
        {"path": "/both", "access": [{"jwt": {"provider": "corp"}}, {"introspection": {"provider": "hydra"}}]},
    ]);
    let api = json!({"name": "a", "rules": rules, "forward": {"headers": {"x-sub": "{subject}", "x-consumer": "{consumer}"}}});
    let mut document = document(json!([consumer("acme")]), json!([api]));
    document["providers"]["corp"] = json!({"jwks": jwks});
    document
}

/// Keys in the policy.
fn inline() -> Value {
    json!({"issuer": "https://idp", "keys": fixtures()["keys"].to_string()})
}

/// Keys at a URL.
fn published() -> Value {
    json!({"issuer": "https://idp", "cluster": "idp", "url": "https://idp/keys"})
}

fn with(mut base: Value, name: &str, value: Value) -> Value {
    base[name] = value;
    base
}

fn at(millis: u64, path: &str, token: &str) -> Ask {
    Ask { at: NOW.saturating_add(Duration::from_millis(millis)), ..get(path).token(token) }
}

fn keys(name: &str) -> CallResult {
    http(200, &[("etag", "\"1\"")], &fixtures()[name].to_string())
}

fn request(call: &sidegate::provider::Call) -> &HttpRequest {
    let Transport::Http(request) = &call.transport else { panic!("not HTTP") };
    request
}

#[test]
fn tokens_of_every_algorithm_are_admitted_and_the_service_sees_who_calls() {
    let gate = gate(&policy(inline()));
    for name in [
        "RS256",
        "RS384",
        "RS512",
        "PS256",
        "PS384",
        "PS512",
        "RS256_4096",
        "ES256",
        "ES384",
        "ES512",
        "EdDSA",
        "unnamed_ES256",
    ] {
        let ask = at(0, "/read", &valid(name));
        let step = begin(&gate, &ask);
        assert_eq!((verdict(&step), lookup(&step)), ("ok", Some(Lookup::Miss)), "{name}");
        assert_eq!(trail(&step).verification.map(|(_, verdict)| verdict), Some(Verdict::Valid));
        let permit = super::permit(step);
        assert_eq!(sees(&ask, &permit, "x-sub").as_deref(), Some("alice"));
        assert_eq!(sees(&ask, &permit, "x-consumer").as_deref(), Some("acme"));
        assert_eq!(sees(&ask, &permit, "authorization"), None);
        let again = begin(&gate, &ask);
        assert_eq!((verdict(&again), lookup(&again)), ("ok", Some(Lookup::Hit)), "{name}");
        assert_eq!(trail(&again).verification, None);
    }
}

#[test]
fn no_attack_passes_and_none_costs_more_than_one_verification() {
    let gate = gate(&policy(inline()));
    let fixtures = fixtures();
    for (name, token) in fixtures["refused"].as_object().expect("a map of tokens") {
        let token = token.as_str().expect("a token");
        for turn in 0..2 {
            let step = begin(&gate, &at(turn, "/lax", token));
            assert_eq!(verdict(&step), "22", "{name}");
            let verification = trail(&step).verification.map(|(_, verdict)| verdict);
            assert!(turn == 0 || verification.is_none() || verification == Some(Verdict::Valid), "{name}");
        }
    }
    let long = format!("{}{}", valid("RS256"), "A".repeat(1 << 20));
    assert_eq!(asked(&gate, &at(0, "/lax", &long)), "20", "too long for a credential");
}

#[test]
fn rules_are_checked_on_every_request_and_a_missing_scope_is_403() {
    let gate = gate(&policy(inline()));
    let token = valid("RS256");
    for turn in 0..2 {
        for (path, expected) in
            [("/lax", "ok"), ("/read", "ok"), ("/admin", "23"), ("/orders", "ok"), ("/theirs", "22")]
        {
            assert_eq!(asked(&gate, &at(turn, path, &token)), expected, "{path}");
        }
    }
    assert_eq!(asked(&gate, &at(0, "/read", &valid("no_scope"))), "23");
}

#[test]
fn providers_limit_algorithms_audiences_and_lifetimes() {
    let token = valid("RS256");
    for (name, value, expected) in [
        ("algorithms", json!(["RS256"]), "ok"),
        ("algorithms", json!(["ES256", "PS256"]), "22"),
        ("audiences", json!(["other", "orders"]), "ok"),
        ("audiences", json!(["other"]), "22"),
        ("max_lifetime", json!("3610s"), "ok"),
        ("max_lifetime", json!("3609s"), "22"),
        ("issuer", json!("https://idp/"), "22"),
    ] {
        let gate = gate(&policy(with(inline(), name, value.clone())));
        assert_eq!(asked(&gate, &at(0, "/lax", &token)), expected, "{name}: {value}");
    }
}

#[test]
fn keys_in_pem_have_no_names_and_verify_tokens_of_any() {
    let pem = |name: &str| fixtures()["pem"][name].as_str().expect("a key").to_owned();
    for (key, token) in [
        ("rsa", "RS256"),
        ("rsa", "PS512"),
        ("p256", "ES256"),
        ("p384", "ES384"),
        ("p521", "ES512"),
        ("ed", "EdDSA"),
    ] {
        let gate = gate(&policy(with(inline(), "keys", json!(pem(key)))));
        assert_eq!(asked(&gate, &at(0, "/lax", &valid(token))), "ok", "{token}");
        let other = if token == "EdDSA" { "ES256" } else { "EdDSA" };
        assert_eq!(asked(&gate, &at(0, "/lax", &valid(other))), "22", "{token}");
    }
    let gate = gate(&policy(with(inline(), "keys", json!(format!("{}\n{}", pem("rsa"), pem("ed"))))));
    for token in ["RS256", "EdDSA"] {
        assert_eq!(asked(&gate, &at(0, "/lax", &valid(token))), "ok", "{token}");
    }
}

#[test]
fn a_verified_token_is_used_until_its_ttl_and_until_exp_with_leeway() {
    let gate = gate(&policy(inline()));
    let brief = valid("brief");
    for (second, expected, obtained) in [
        (0, "ok", Some(Lookup::Miss)),
        (1, "ok", Some(Lookup::Hit)),
        (89, "ok", Some(Lookup::Hit)),
        (90, "22", None),
    ] {
        let step = begin(&gate, &at(second * 1000, "/lax", &brief));
        assert_eq!((verdict(&step), lookup(&step)), (expected, obtained), "{second}");
    }
    let long = valid("RS256");
    assert_eq!(lookup(&begin(&gate, &at(0, "/lax", &long))), Some(Lookup::Miss));
    assert_eq!(lookup(&begin(&gate, &at(299_999, "/lax", &long))), Some(Lookup::Hit));
    assert_eq!(lookup(&begin(&gate, &at(300_000, "/lax", &long))), Some(Lookup::Miss));
}

#[test]
fn an_invalid_signature_is_remembered_for_the_negative_ttl() {
    let gate = gate(&policy(inline()));
    let forged = fixtures()["refused"]["signed_by_another"].as_str().expect("a token").to_owned();
    let verified = |millis| {
        let step = begin(&gate, &at(millis, "/lax", &forged));
        assert_eq!(verdict(&step), "22");
        (trail(&step).verification.map(|(_, verdict)| verdict), lookup(&step))
    };
    assert_eq!(verified(0), (Some(Verdict::Invalid), Some(Lookup::Miss)));
    assert_eq!(verified(4_999), (None, Some(Lookup::Hit)));
    assert_eq!(verified(5_000), (Some(Verdict::Invalid), Some(Lookup::Miss)));
}

#[test]
fn a_worker_verifies_only_so_many_signatures_in_a_second() {
    let mut document = policy(inline());
    document["gate"]["capacity"] = json!({"verifications": 4});
    let gate = gate(&document);
    let tokens = ["RS256", "RS384", "RS512", "PS256"].map(valid);
    let verdicts: Vec<_> = tokens.iter().map(|token| asked(&gate, &at(0, "/lax", token))).collect();
    assert_eq!(verdicts, ["ok", "ok", "ok", "24"], "three quarters are for tokens that are new");
    let refused = refused(begin(&gate, &at(0, "/lax", &tokens[3])));
    assert_eq!(refused.refusal().cause, Cause::IdentityUnavailable { retry_after: Some(1) });
    assert_eq!(refused.trail().verification.map(|(_, verdict)| verdict), Some(Verdict::Left));
    assert_eq!(asked(&gate, &at(0, "/lax", &tokens[0])), "ok", "cached tokens cost none");
    assert_eq!(asked(&gate, &at(1_000, "/lax", &tokens[3])), "ok");
}

#[test]
fn the_first_request_fetches_the_keys_and_others_wait_for_them() {
    let document = load(&policy(published()));
    let store = Shared::default();
    let [one, other] = [(), ()].map(|()| Driver::new(Rc::clone(&document), Rc::clone(&store)));
    let first = waiting(begin(&one, &at(0, "/lax", &valid("RS256"))));
    let call = request(first.call().expect("a call"));
    assert_eq!((call.method, call.authority.as_str(), call.path.as_str()), ("GET", "idp", "/keys"));
    let second = waiting(begin(&other, &at(10, "/lax", &valid("ES256"))));
    assert!(second.call().is_none(), "it waits for the first");
    let first = first.answer(keys("keys"), NOW.saturating_add(Duration::from_millis(30)));
    assert_eq!((verdict(&first), trail(&first).calls.len()), ("ok", 1));
    let second = second.wake(NOW.saturating_add(Duration::from_millis(31)));
    assert_eq!((verdict(&second), trail(&second).calls.len()), ("ok", 0));
    assert_eq!(asked(&other, &at(599_999, "/lax", &valid("EdDSA"))), "ok", "a set has no end");
}

#[test]
fn without_keys_the_answer_says_when_to_try_again() {
    let gate = gate(&policy(published()));
    let token = valid("RS256");
    let failed = |millis| {
        let refused = refused(through(&gate, &at(millis, "/lax", &token), &Err(CallFailure::TimedOut)));
        refused.refusal().cause.clone()
    };
    assert_eq!(failed(0), Cause::IdentityUnavailable { retry_after: Some(1) });
    assert_eq!(failed(1_000), Cause::IdentityUnavailable { retry_after: Some(2) }, "the pause doubles");
    let refused = refused(begin(&gate, &at(2_000, "/lax", &token)));
    assert_eq!(refused.refusal().cause, Cause::IdentityUnavailable { retry_after: Some(1) });
    assert!(refused.trail().calls.is_empty(), "no call during the pause");
    for nonsense in ["{}", "[]", r#"{"keys":[]}"#, r#"{"keys":[{"kty":"oct","k":"AA"}]}"#, "<html>"] {
        let gate = super::gate(&policy(published()));
        assert_eq!(
            verdict(&through(&gate, &at(0, "/lax", &token), &http(200, &[], nonsense))),
            "24",
            "{nonsense}"
        );
    }
    assert_eq!(verdict(&through(&gate, &at(3_000, "/lax", &token), &keys("keys"))), "ok");
}

#[test]
fn an_unknown_key_is_fetched_once_per_pause() {
    let gate = gate(&policy(published()));
    assert_eq!(verdict(&through(&gate, &at(0, "/lax", &valid("RS256")), &keys("keys"))), "ok");
    let next = valid("other_rsa");
    assert_eq!(asked(&gate, &at(9_999, "/lax", &next)), "22", "the set was fetched a moment ago");
    assert_eq!(verdict(&through(&gate, &at(10_000, "/lax", &next), &keys("keys"))), "22");
    assert_eq!(asked(&gate, &at(10_001, "/lax", &next)), "22");
    let step = through(&gate, &at(20_000, "/lax", &next), &keys("rotated"));
    assert_eq!((verdict(&step), trail(&step).calls.len()), ("ok", 1));
    assert_eq!(asked(&gate, &at(20_001, "/lax", &valid("PS256"))), "22", "its key was withdrawn");
    assert_eq!(
        asked(&gate, &at(20_001, "/lax", &valid("RS256"))),
        "ok",
        "and verified tokens last for their ttl"
    );
}

#[test]
fn keys_stay_in_use_while_they_cannot_be_fetched() {
    let gate = gate(&policy(published()));
    assert_eq!(verdict(&through(&gate, &at(0, "/lax", &valid("RS256")), &keys("keys"))), "ok");
    let unknown = at(10_000, "/lax", &valid("other_rsa"));
    assert_eq!(verdict(&through(&gate, &unknown, &http(500, &[], ""))), "22");
    assert_eq!(asked(&gate, &at(10_001, "/lax", &valid("ES256"))), "ok");
    let again = waiting(begin(&gate, &at(20_000, "/lax", &valid("other_rsa"))));
    assert_eq!(request(again.call().expect("a call")).headers.get("if-none-match"), Some("\"1\""));
    let step = again.answer(http(304, &[], ""), NOW.saturating_add(Duration::from_millis(20_001)));
    assert_eq!(verdict(&step), "22");
    assert_eq!(asked(&gate, &at(20_002, "/lax", &valid("EdDSA"))), "ok");
}

#[test]
fn the_issuer_that_a_token_names_chooses_between_ways() {
    let gate = gate(&policy(inline()));
    assert_eq!(asked(&gate, &at(0, "/both", &valid("RS256"))), "ok");
    assert_eq!(
        asked(&gate, &at(0, "/both", fixtures()["refused"]["other_claims"].as_str().expect("a token"))),
        "22"
    );
    for token in [valid("other_issuer"), "opaque".to_owned()] {
        let waiting = waiting(begin(&gate, &at(0, "/both", &token)));
        assert_eq!(waiting.call().expect("a call").cluster, "hydra-admin");
    }
}
