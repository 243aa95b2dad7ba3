//! Tokens that the policy revokes, and epochs, which make it forget all that was cached.

use std::rc::Rc;

use base64::prelude::{BASE64_URL_SAFE_NO_PAD as BASE64, Engine as _};
use serde_json::{Value, json};
use sidegate::{
    gate::drive::Driver,
    identity::{Lookup, revoking_digest},
};

use super::{
    Shared, asked, begin, gate, load, lookup, refused,
    support::{answer, consumer, document, get, sha256},
    through, trail, verdict,
};

fn fixtures() -> Value {
    serde_json::from_str(include_str!("../jwt/fixtures.json")).expect("the fixtures are JSON")
}

fn jwt(name: &str) -> String {
    fixtures()["valid"][name].as_str().expect("a token").to_owned()
}

fn policy() -> Value {
    let rules = json!([
        {"path": "/introspected", "access": [{"introspection": {"provider": "hydra"}}]},
        {"path": "/verified", "access": [{"jwt": {"provider": "corp"}}, "api_key"]},
    ]);
    let mut document = document(json!([consumer("acme")]), json!([{"name": "a", "rules": rules}]));
    document["providers"]["corp"] =
        json!({"jwks": {"issuer": "https://idp", "keys": fixtures()["keys"].to_string()}});
    document
}

fn with(name: &str, value: Value) -> Value {
    let mut document = policy();
    document[name] = value;
    document
}

fn digest(token: &str) -> String {
    revoking_digest(token).to_hex()
}

#[test]
fn a_revoked_token_is_refused_with_the_next_policy_although_it_is_cached() {
    let store = Shared::default();
    let token = jwt("RS256");
    let reply = answer(&json!({"active": true, "client_id": "acme-web"}));
    let before = Driver::new(load(&policy()), Rc::clone(&store));
    for ask in [
        get("/introspected").token("opaque"),
        get("/introspected").token(&token),
        get("/verified").token(&token),
    ] {
        assert_eq!(verdict(&through(&before, &ask, &reply)), "ok");
        assert_eq!(lookup(&begin(&before, &ask)), Some(Lookup::Hit));
    }
    let revoked = with("revoked", json!([sha256("opaque"), digest(&token)]));
    let after = Driver::new(load(&revoked), store);
    for ask in [
        get("/introspected").token("opaque"),
        get("/introspected").token(&token),
        get("/verified").token(&token),
    ] {
        let step = begin(&after, &ask);
        assert!(trail(&step).lookup.is_none() && trail(&step).calls.is_empty(), "nobody is asked");
        let refused = refused(step);
        let refusal = refused.refusal();
        assert_eq!(
            (refusal.cause.code().digits(), refusal.reason.as_str()),
            ("22", "the policy revokes the token")
        );
        assert!(super::headers(&refused, "www-authenticate")[0].contains("invalid_token"));
    }
    assert_eq!(asked(&after, &get("/verified").token(&jwt("ES256"))), "ok");
    assert_eq!(asked(&after, &get("/verified").key("key-of-acme")), "ok");
}

/// Whoever has an ECDSA signature (r, s) has another one, (r, order - s).
#[test]
fn a_revoked_token_does_not_come_back_with_another_signature() {
    let token = jwt("ES256");
    let (signed, signature) = token.rsplit_once('.').expect("a JWT");
    let mut signature = BASE64.decode(signature).expect("base64url");
    let order: [u8; 32] = [
        0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc, 0xe6, 0xfa,
        0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
    ];
    let mut borrow = 0;
    for (s, order) in signature[32..].iter_mut().zip(order).rev() {
        let difference = i16::from(order) - i16::from(*s) - borrow;
        borrow = i16::from(difference < 0);
        *s = difference.rem_euclid(256) as u8;
    }
    let twin = format!("{signed}.{}", BASE64.encode(signature));
    assert_ne!(token, twin);
    let ask = get("/verified").token(&twin);
    assert_eq!(asked(&gate(&policy()), &ask), "ok", "it is valid");
    assert_eq!(asked(&gate(&with("revoked", json!([digest(&token)]))), &ask), "22");
    assert_eq!(
        asked(&gate(&with("revoked", json!([sha256(&token)]))), &ask),
        "ok",
        "which is why the digest leaves it out"
    );
}

#[test]
fn with_another_epoch_nothing_is_used_that_was_cached() {
    let store = Shared::default();
    let reply = answer(&json!({"active": true}));
    let inactive = answer(&json!({"active": false}));
    let ask = get("/introspected").token("opaque");
    let token = get("/verified").token(&jwt("RS256"));
    let worker = |epoch: u32| Driver::new(load(&with("epoch", json!(epoch))), Rc::clone(&store));
    for epoch in [0, 1, 7] {
        let gate = worker(epoch);
        assert_eq!(lookup(&through(&gate, &ask, &reply)), Some(Lookup::Miss), "{epoch}");
        assert_eq!(lookup(&begin(&gate, &ask)), Some(Lookup::Hit));
        assert_eq!(lookup(&begin(&gate, &token)), Some(Lookup::Miss));
        assert_eq!(lookup(&begin(&gate, &token)), Some(Lookup::Hit));
    }
    assert_eq!(verdict(&through(&worker(8), &ask, &inactive)), "22", "the provider decides again");
}

#[test]
fn with_another_epoch_applications_are_decided_again() {
    let store = Shared::default();
    let worker = |epoch: u32| {
        let rules = json!([{"path": "/", "access": [{"threescale": {"provider": "su1"}}]}]);
        let mut document = document(json!([consumer("acme")]), json!([{"name": "a", "rules": rules}]));
        document["epoch"] = json!(epoch);
        document["providers"]["su1"] =
            json!({"service_management": {"cluster": "su1", "url": "https://su1", "provider_key": "key"}});
        Driver::new(load(&document), Rc::clone(&store))
    };
    let ask = get("/").key("k");
    let reply = super::support::http(200, &[], "<status><authorized>true</authorized></status>");
    assert_eq!(lookup(&through(&worker(0), &ask, &reply)), Some(Lookup::Miss));
    assert_eq!(lookup(&begin(&worker(0), &ask)), Some(Lookup::Hit));
    assert_eq!(verdict(&begin(&worker(1), &ask)), "call");
}
