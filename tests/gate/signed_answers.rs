//! Signed answers of an introspection endpoint (RFC 9701).

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ed25519_dalek::{Signer as _, SigningKey};
use serde_json::{Value, json};
use sidegate::{
    identity::jwt::Verdict,
    ports::Role,
    provider::{CallOutcome, CallResult, ProviderFault, Transport},
};
use std::rc::Rc;

use super::{
    asked, begin, gate,
    support::{NOW, consumer, document, get, http},
    through, trail, verdict, waiting,
};

pub fn key() -> SigningKey {
    SigningKey::from_bytes(&[7; 32])
}

pub fn keys(key: &SigningKey) -> String {
    let x = URL_SAFE_NO_PAD.encode(key.verifying_key().as_bytes());
    json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "k", "x": x}]}).to_string()
}

fn policy() -> Value {
    let access = json!([{"introspection": {"provider": "hydra", "scopes": ["read"]}}]);
    let mut document = document(
        json!([consumer("acme")]),
        json!([{"name": "a", "rules": [{"path": "/**", "access": access}]}]),
    );
    document["providers"]["signer"] = json!({"jwks": {"issuer": "https://idp", "keys": keys(&key())}});
    document["providers"]["hydra"]["introspection"]["signed"] = json!({"provider": "signer"});
    document
}

pub fn signed_with(key: &SigningKey, header: &Value, claims: &Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", part(header), part(claims));
    let signature = URL_SAFE_NO_PAD.encode(key.sign(signed.as_bytes()).to_bytes());
    format!("{signed}.{signature}")
}

fn header() -> Value {
    json!({"alg": "EdDSA", "kid": "k", "typ": "token-introspection+jwt"})
}

fn claims(answer: &Value) -> Value {
    json!({"iss": "https://idp", "aud": "gateway", "iat": NOW.seconds(), "token_introspection": answer})
}

fn active() -> Value {
    json!({"active": true, "scope": "read", "client_id": "acme-web"})
}

fn answered(body: &str) -> CallResult {
    http(200, &[("content-type", "application/token-introspection+jwt; charset=utf-8")], body)
}

#[test]
fn a_signed_answer_is_asked_for_verified_once_and_cached() {
    let gate = gate(&policy());
    let first = waiting(begin(&gate, &get("/x").token("t0ken")));
    let second = waiting(begin(&gate, &get("/x").token("t0ken")));
    let Transport::Http(request) = &first.call().unwrap().transport else { panic!("not HTTP") };
    assert_eq!(request.headers.get("accept"), Some("application/token-introspection+jwt"));
    let result = Rc::new(answered(&signed_with(&key(), &header(), &claims(&active()))));
    let step = first.answer_as(Role::Leader, &result, NOW);
    assert_eq!(verdict(&step), "ok");
    assert_eq!(trail(&step).consumer(), Some("acme"));
    assert_eq!(trail(&step).verification.map(|(_, verdict)| verdict), Some(Verdict::Valid));
    let step = second.answer_as(Role::Follower, &result, NOW);
    assert_eq!((verdict(&step), trail(&step).verification), ("ok", None));
    assert_eq!(asked(&gate, &get("/x").token("t0ken")), "ok");

    let inactive = answered(&signed_with(&key(), &header(), &claims(&json!({"active": false}))));
    assert_eq!(verdict(&through(&gate, &get("/x").token("revoked"), &inactive)), "22");
    let lax = answered(&signed_with(&key(), &header(), &claims(&json!({"active": true}))));
    assert_eq!(verdict(&through(&gate, &get("/x").token("without-scope"), &lax)), "23");
    assert_eq!(verdict(&through(&gate, &get("/x").token("unreadable"), &http(400, &[], ""))), "22");
}

#[test]
fn an_answer_that_is_not_signed_as_the_policy_asks_is_a_fault() {
    let (key, other) = (key(), SigningKey::from_bytes(&[8; 32]));
    let sign = |header: &Value, claims: &Value| answered(&signed_with(&key, header, claims));
    let with = |base: Value, name: &str, value: Value| {
        let mut base = base;
        base[name] = value;
        base
    };
    let of = |name: &str, value: Value| sign(&header(), &with(claims(&active()), name, value));
    let typ = |typ: &str| sign(&with(header(), "typ", json!(typ)), &claims(&active()));
    let valid = signed_with(&key, &header(), &claims(&active()));
    let (second, leeway) = (NOW.seconds(), 30);
    for (name, result, expected) in [
        (
            "plain",
            http(200, &[("content-type", "application/json")], &active().to_string()),
            ProviderFault::Unsigned,
        ),
        ("JSON type", http(200, &[("content-type", "application/json")], &valid), ProviderFault::Unsigned),
        ("no type", http(200, &[], &valid), ProviderFault::Unsigned),
        ("JSON body", answered(&active().to_string()), ProviderFault::Unsigned),
        ("other key", answered(&signed_with(&other, &header(), &claims(&active()))), ProviderFault::Unsigned),
        ("cut", answered(valid.get(..valid.len() - 4).unwrap()), ProviderFault::Unsigned),
        ("alg", sign(&with(header(), "alg", json!("none")), &claims(&active())), ProviderFault::Unsigned),
        ("kid", sign(&with(header(), "kid", json!("x")), &claims(&active())), ProviderFault::Unsigned),
        ("access token", typ("at+jwt"), ProviderFault::Unsigned),
        ("JWT", typ("JWT"), ProviderFault::Unsigned),
        ("issuer", of("iss", json!("https://evil")), ProviderFault::Unsigned),
        ("audience", of("aud", json!(["other"])), ProviderFault::Unsigned),
        ("old", of("iat", json!(second - leeway - 1)), ProviderFault::Unsigned),
        ("future", of("iat", json!(second + leeway + 1)), ProviderFault::Unsigned),
        ("no time", of("iat", json!(null)), ProviderFault::Malformed),
        ("no answer", of("token_introspection", json!(null)), ProviderFault::Malformed),
        ("no active", of("token_introspection", json!({"scope": "read"})), ProviderFault::Malformed),
        ("refused", http(401, &[], ""), ProviderFault::Rejected { status: 401 }),
    ] {
        let gate = gate(&policy());
        let step = through(&gate, &get("/x").token("t0ken"), &result);
        assert_eq!(verdict(&step), "24", "{name}");
        assert_eq!(trail(&step).calls[0].record.outcome, CallOutcome::Fault(expected), "{name}");
        assert_eq!(asked(&gate, &get("/x").token("t0ken")), "call", "{name}: nothing is cached");
    }
    let near = of("iat", json!(second - leeway));
    assert_eq!(verdict(&through(&gate(&policy()), &get("/x").token("t0ken"), &near)), "ok");
    let several = of("aud", json!(["other", "gateway"]));
    assert_eq!(verdict(&through(&gate(&policy()), &get("/x").token("t0ken"), &several)), "ok");
}

#[test]
fn claims_of_a_signed_answer_are_required_and_forwarded() {
    let mut document = policy();
    document["apis"][0]["rules"][0]["access"][0]["introspection"]["claims"] = json!({"org.id": ["acme"]});
    document["apis"][0]["forward"] = json!({"headers": {"x-mail": "{claim:email}"}});
    let gate = gate(&document);
    let with = |org: &str| {
        let members = json!({"active": true, "scope": "read", "org": {"id": org}, "email": "a@example.com"});
        answered(&signed_with(&key(), &header(), &claims(&members)))
    };
    let ask = get("/x").token("t0ken");
    let step = through(&gate, &ask, &with("acme"));
    assert_eq!(super::sees(&ask, &super::permit(step), "x-mail").as_deref(), Some("a@example.com"));
    assert_eq!(verdict(&through(&gate, &get("/x").token("other"), &with("globex"))), "23");
}

#[test]
fn a_flood_of_tokens_has_only_so_many_answers_verified() {
    let mut document = policy();
    document["gate"]["capacity"] = json!({"verifications": 4});
    let gate = gate(&document);
    let inactive = answered(&signed_with(&key(), &header(), &claims(&json!({"active": false}))));
    let verdicts: Vec<_> = (0..4)
        .map(|number| verdict(&through(&gate, &get("/x").token(&format!("made-up-{number}")), &inactive)))
        .collect();
    assert_eq!(verdicts, ["22", "22", "22", "24"], "a quarter is for tokens that were active before");
}

#[test]
fn the_keys_of_the_signer_are_fetched_where_they_are_missing() {
    let mut document = policy();
    document["providers"]["signer"] =
        json!({"jwks": {"issuer": "https://idp", "cluster": "idp", "url": "https://idp/keys"}});
    let gate = gate(&document);
    let result = answered(&signed_with(&key(), &header(), &claims(&active())));
    let asking = waiting(begin(&gate, &get("/x").token("t0ken")));
    let super::Step::Waits(fetching) = asking.answer(result.clone(), NOW) else { panic!("it has keys") };
    assert_eq!(fetching.call().unwrap().cluster, "idp");
    let step = fetching.answer(http(200, &[], &keys(&key())), NOW);
    assert_eq!((verdict(&step), trail(&step).calls.len()), ("ok", 2));

    let gate = super::gate(&document);
    let asking = waiting(begin(&gate, &get("/x").token("t0ken")));
    let super::Step::Waits(fetching) = asking.answer(result, NOW) else { panic!("it has keys") };
    assert_eq!(verdict(&fetching.answer(http(500, &[], ""), NOW)), "24");
}
