//! Tokens that are bound to a client certificate (RFC 8705): who may use them.

use base64::prelude::{BASE64_URL_SAFE_NO_PAD as BASE64, Engine as _};
use serde_json::{Value, json};
use sidegate::credential::Digest;

use super::{
    asked, begin, gate, refused,
    signed_answers::{key, keys, signed_with},
    support::{Ask, NOW, answer, consumer, document, get, sha256},
    through, verdict,
};

fn policy(source: &str) -> Value {
    let rules = json!([
        {"path": "/introspected", "access": [{"introspection": {"provider": "hydra"}}]},
        {"path": "/envoy", "access": [{"jwt": {"provider": "corp", "verified_by": "envoy"}}]},
        {"path": "/verified", "access": [{"jwt": {"provider": "corp"}}]},
    ]);
    let mut document = document(json!([consumer("acme")]), json!([{"name": "a", "rules": rules}]));
    document["gate"]["client_certificate"] = json!(source);
    document["providers"]["corp"] = json!({"jwks": {"issuer": "https://idp", "keys": keys(&key())}});
    document
}

/// A JWT with these claims about who may use it.
fn jwt(cnf: &Value) -> String {
    let claims = json!({"iss": "https://idp", "exp": NOW.seconds() + 100, "cnf": cnf});
    signed_with(&key(), &json!({"alg": "EdDSA", "kid": "k"}), &claims)
}

impl Ask {
    /// The caller presents this client certificate.
    fn certificate(self, certificate: &str) -> Self {
        Self { certificate: Some(sha256(certificate)), ..self }
    }
}

/// `cnf` for the certificate of that name.
fn bound_to(certificate: &str) -> Value {
    json!({"x5t#S256": BASE64.encode(Digest::of(certificate.as_bytes()).bytes())})
}

fn xfcc(ask: Ask, certificate: &str) -> Ask {
    ask.with(
        "x-forwarded-client-cert",
        format!("By=spiffe://gateway;Hash={};Subject=\"\"", sha256(certificate)),
    )
}

#[test]
fn a_token_that_is_bound_to_a_certificate_is_for_the_client_of_the_connection() {
    let gate = gate(&policy("connection"));
    let reply = answer(&json!({"active": true, "cnf": bound_to("mine")}));
    let ask = || get("/introspected").token("t");
    assert_eq!(verdict(&through(&gate, &ask().certificate("mine"), &reply)), "ok");
    for (ask, expected) in [
        (ask().certificate("mine"), "ok"),
        (ask().certificate("another"), "22"),
        (ask(), "22"),
        (xfcc(ask(), "mine"), "22"),
        (xfcc(ask(), "mine").certificate("another"), "22"),
        (xfcc(ask(), "another").certificate("mine"), "ok"),
    ] {
        assert_eq!(asked(&gate, &ask), expected, "also from the cache");
    }
    let refused = refused(begin(&gate, &ask()));
    assert_eq!(
        refused.refusal().reason.as_str(),
        "the token is bound to a client certificate that the caller did not present"
    );
    assert!(super::headers(&refused, "www-authenticate")[0].contains("invalid_token"));
}

#[test]
fn proxies_may_say_whose_certificate_it_is_if_the_policy_trusts_them() {
    let gate = gate(&policy("xfcc"));
    let reply = answer(&json!({"active": true, "cnf": bound_to("mine")}));
    let ask = || get("/introspected").token("t");
    assert_eq!(verdict(&through(&gate, &xfcc(ask(), "mine"), &reply)), "ok");
    for (ask, expected) in [
        (xfcc(ask(), "mine").certificate("gateway"), "ok"),
        (xfcc(ask(), "another"), "22"),
        (ask().certificate("mine"), "22"),
        (ask(), "22"),
    ] {
        assert_eq!(asked(&gate, &ask), expected);
    }
}

#[test]
fn a_jwt_that_is_verified_here_is_for_its_client_too() {
    let gate = gate(&policy("connection"));
    let ask = || get("/verified").token(&jwt(&bound_to("mine")));
    for (ask, expected) in [
        (ask(), "22"),
        (ask().certificate("another"), "22"),
        (ask().certificate("mine"), "ok"),
        (ask(), "22"),
        (ask().certificate("another"), "22"),
        (xfcc(ask(), "mine"), "22"),
    ] {
        assert_eq!(asked(&gate, &ask), expected, "also from the cache");
    }
    let unbound = signed_with(
        &key(),
        &json!({"alg": "EdDSA", "kid": "k"}),
        &json!({"iss": "https://idp", "exp": NOW.seconds() + 100}),
    );
    assert_eq!(asked(&gate, &get("/verified").token(&unbound)), "ok");
    assert_eq!(asked(&gate, &get("/verified").token(&jwt(&json!({"jkt": "x"}))).certificate("mine")), "22");
}

#[test]
fn what_proxies_say_of_certificates_counts_for_nothing_by_default() {
    let mut document = policy("xfcc");
    document["gate"].as_object_mut().expect("an object").remove("client_certificate");
    let gate = gate(&document);
    let ask = || get("/verified").token(&jwt(&bound_to("mine")));
    assert_eq!(asked(&gate, &xfcc(ask(), "mine")), "22");
    assert_eq!(asked(&gate, &ask().certificate("mine")), "ok");
}

#[test]
fn other_confirmations_are_refused_whatever_certificate_there_is() {
    let gate = gate(&policy("connection"));
    let mut both = bound_to("mine");
    both["jkt"] = json!("x");
    for (place, cnf) in [json!({"jkt": "x"}), both, json!({}), json!("x")].iter().enumerate() {
        let ask = get("/introspected").token(&format!("t{place}")).certificate("mine");
        let reply = answer(&json!({"active": true, "cnf": cnf}));
        assert_eq!(verdict(&through(&gate, &ask, &reply)), "22", "{cnf}");
        let payload = json!({"iss": "https://idp", "exp": 1_795_176_100, "cnf": cnf});
        assert_eq!(asked(&gate, &get("/envoy").verified(&payload).certificate("mine")), "22", "{cnf}");
    }
    let payload = json!({"iss": "https://idp", "exp": 1_795_176_100, "cnf": bound_to("mine")});
    assert_eq!(asked(&gate, &get("/envoy").verified(&payload).certificate("mine")), "ok");
    assert_eq!(asked(&gate, &get("/envoy").verified(&payload)), "22");
}
