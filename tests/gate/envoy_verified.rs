//! Tokens that Envoy's `jwt_authn` filter has verified.

use base64::prelude::{BASE64_URL_SAFE_NO_PAD as BASE64, Engine as _};
use serde_json::{Value, json};
use sidegate::identity::{jwt::with_payload, revoking_digest};

use super::{
    asked, begin, gate, permit, refused, sees,
    support::{Ask, answer, consumer, document, get, http},
    through, verdict, waiting,
};

fn fixtures() -> Value {
    serde_json::from_str(include_str!("../jwt/fixtures.json")).expect("the fixtures are JSON")
}

impl Ask {
    /// Adds what Envoy's `jwt_authn` filter leaves of a token that it has verified.
    pub(super) fn verified(self, payload: &Value) -> Self {
        Self { metadata: Some(with_payload("payload", payload)), ..self }
    }
}

/// A provider without keys, and rules for the tokens of its issuer.
fn policy(jwks: &Value) -> Value {
    let way = |demands: Value| {
        let mut way = json!({"provider": "corp", "verified_by": "envoy"});
        if let (Some(way), Some(demands)) = (way.as_object_mut(), demands.as_object()) {
            way.extend(demands.clone());
        }
        json!({"jwt": way})
    };
    let envoy = way(json!({}));
    let rules = json!([
        {"path": "/lax", "access": [envoy]},
        {"path": "/read", "access": [way(json!({"scopes": ["orders.read"]}))]},
        {"path": "/admin", "access": [way(json!({"scopes": ["admin"]}))]},
        {"path": "/theirs", "access": [way(json!({"audience": {"any": ["theirs"]}}))]},
        {"path": "/writer", "access": [way(json!({"claims": {"realm_access.roles": ["writer"]}}))]},
        {"path": "/root", "access": [way(json!({"claims": {"realm_access.roles": ["root"]}}))]},
        {"path": "/key", "access": [envoy, "api_key"]},
        {"path": "/both", "access": [envoy, {"introspection": {"provider": "hydra"}}]},
        {"path": "/two", "access": [envoy, {"jwt": {"provider": "other", "verified_by": "envoy"}}]},
        {"path": "/application", "access": [{"threescale": {"provider": "su1", "jwt": envoy["jwt"]}}]},
    ]);
    let headers = json!({"x-sub": "{subject}", "x-consumer": "{consumer}", "x-roles": "{claim:realm_access.roles}", "x-level": "{claim:org.level}"});
    let api = json!({"name": "a", "rules": rules, "forward": {"headers": headers}});
    let mut document = document(json!([consumer("acme")]), json!([api]));
    document["providers"]["corp"] = json!({"jwks": jwks});
    document["providers"]["other"] = json!({"jwks": {"issuer": "https://other"}});
    document["providers"]["su1"] =
        json!({"service_management": {"cluster": "su1", "url": "https://su1", "provider_key": "key"}});
    document
}

fn corp() -> Value {
    json!({"issuer": "https://idp"})
}

/// The claims of the token `RS256` of the fixtures.
fn claims() -> Value {
    let payload =
        token().split('.').nth(1).map(|part| BASE64.decode(part).expect("base64url")).expect("a payload");
    serde_json::from_slice(&payload).expect("JSON")
}

fn token() -> String {
    fixtures()["valid"]["RS256"].as_str().expect("a token").to_owned()
}

fn with(changes: &Value) -> Value {
    let mut claims = claims();
    for (name, value) in changes.as_object().expect("changes") {
        claims[name] = value.clone();
    }
    claims
}

#[test]
fn the_payload_that_envoy_leaves_identifies_the_caller() {
    let gate = gate(&policy(&corp()));
    for ask in [get("/read").verified(&claims()), get("/read").verified(&claims()).token(&token())] {
        let ask = ask.with("x-sub", "forged").with("x-level", "9");
        let permit = permit(begin(&gate, &ask));
        for (name, expected) in [
            ("x-sub", Some("alice")),
            ("x-consumer", Some("acme")),
            ("x-roles", Some("reader,writer")),
            ("x-level", Some("3")),
            ("authorization", None),
        ] {
            assert_eq!(sees(&ask, &permit, name).as_deref(), expected, "{name}");
        }
        assert!(permit.trail().lookup.is_none() && permit.trail().verification.is_none());
    }
}

#[test]
fn rules_ask_for_scopes_audiences_and_claims_as_of_any_token() {
    let gate = gate(&policy(&corp()));
    for (path, expected) in [
        ("/lax", "ok"),
        ("/read", "ok"),
        ("/admin", "23"),
        ("/theirs", "22"),
        ("/writer", "ok"),
        ("/root", "23"),
        ("/application", "call"),
    ] {
        assert_eq!(asked(&gate, &get(path).verified(&claims())), expected, "{path}");
        assert_eq!(asked(&gate, &get(path).verified(&claims()).token(&token())), expected, "{path}");
    }
}

#[test]
fn the_provider_is_as_strict_as_with_tokens_that_are_verified_here() {
    let payload = |changes: Value| get("/lax").verified(&with(&changes));
    let strict = gate(&policy(
        &json!({"issuer": "https://idp", "audiences": ["files"], "max_lifetime": "1h", "leeway": "0s"}),
    ));
    let now = 1_795_176_000;
    for (ask, expected) in [
        (payload(json!({"exp": now + 100})), "ok"),
        (payload(json!({"exp": now})), "22"),
        (payload(json!({"exp": now + 3600})), "22"),
        (payload(json!({"exp": now + 100, "aud": "other"})), "22"),
        (payload(json!({"exp": now + 100, "iss": "https://other"})), "22"),
        (payload(json!({"exp": now + 100, "nbf": now + 1})), "22"),
        (payload(json!({"exp": "later"})), "22"),
        (payload(json!({"exp": 1e300})), "22"),
        (payload(json!({"exp": null})), "22"),
        (payload(json!({"exp": now + 100, "typ": "Refresh"})), "22"),
        (payload(json!({"exp": now + 100, "token_use": "id"})), "22"),
        (payload(json!({"exp": now + 100, "at_hash": "x"})), "22"),
        (payload(json!({"exp": now + 100, "scope": 7})), "22"),
    ] {
        assert_eq!(asked(&strict, &ask), expected);
    }
}

#[test]
fn without_a_payload_a_token_is_nothing() {
    let gate = gate(&policy(&corp()));
    let elsewhere = |key: &str| Ask { metadata: Some(with_payload(key, &claims())), ..get("/lax") };
    for (ask, expected) in [
        (get("/lax"), "21"),
        (get("/lax").token(&token()), "22"),
        (get("/lax").token("opaque"), "22"),
        (elsewhere("other"), "21"),
        (elsewhere("other").token(&token()), "22"),
        (Ask { metadata: Some(b"\xff\xff".to_vec()), ..get("/lax") }, "21"),
        (Ask { metadata: Some(Vec::new()), ..get("/lax") }.token(&token()), "22"),
        (get("/key"), "21"),
        (get("/key").key("key-of-acme"), "ok"),
        (get("/key").key("key-of-acme").token(&token()), "22"),
        (get("/key").key("key-of-acme").verified(&claims()), "ok"),
    ] {
        assert_eq!(asked(&gate, &ask), expected);
    }
    let refused = refused(begin(&gate, &get("/lax").token(&token())));
    assert_eq!(refused.refusal().reason.as_str(), "Envoy has not verified the token");
    let named = policy(&json!({"issuer": "https://idp", "payload_in_metadata": "other"}));
    assert_eq!(asked(&super::gate(&named), &elsewhere("other")), "ok");
}

/// Names that a caller might try, in the hope that something reads headers.
#[test]
fn nothing_that_callers_send_is_taken_for_a_payload() {
    let gate = gate(&policy(&corp()));
    let json = claims().to_string();
    let mut ask = get("/lax");
    for name in [
        "metadata",
        "filter_metadata",
        "envoy.filters.http.jwt_authn",
        "x-jwt-payload",
        "payload",
        "x-envoy-metadata",
        "x-envoy-internal",
        "x-sidegate-payload",
    ] {
        ask = ask.with(name, &json).with(name, BASE64.encode(&json));
    }
    assert_eq!(asked(&gate, &ask), "21");
    assert_eq!(asked(&gate, &ask.token(&token())), "22");
}

#[test]
fn the_issuer_chooses_between_ways() {
    let gate = gate(&policy(&corp()));
    let theirs = with(&json!({"iss": "https://other"}));
    for (path, payload, expected) in [
        ("/two", claims(), "ok"),
        ("/two", theirs.clone(), "ok"),
        ("/two", with(&json!({"iss": "https://third"})), "22"),
        ("/lax", theirs, "22"),
        ("/both", claims(), "ok"),
    ] {
        assert_eq!(asked(&gate, &get(path).verified(&payload)), expected, "{path}");
    }
    assert_eq!(
        waiting(begin(&gate, &get("/both").token("opaque"))).call().expect("a call").cluster,
        "hydra-admin"
    );
    assert_eq!(
        asked(&gate, &get("/both").token(&token())),
        "22",
        "it is for Envoy, which has not verified it"
    );
    let reply = answer(&json!({"active": true}));
    assert_eq!(verdict(&through(&gate, &get("/both").token("opaque").verified(&claims()), &reply)), "ok");
}

/// Where Sidegate verifies tokens itself, a payload is nothing.
#[test]
fn a_payload_serves_only_rules_that_leave_verifying_to_envoy() {
    let mut document = policy(&corp());
    document["providers"]["own"] =
        json!({"jwks": {"issuer": "https://own", "keys": fixtures()["keys"].to_string()}});
    let own = json!({"jwt": {"provider": "own"}});
    let rules = document["apis"][0]["rules"].as_array_mut().expect("rules");
    rules.push(json!({"path": "/own", "access": [own]}));
    rules.push(
        json!({"path": "/either", "access": [{"jwt": {"provider": "corp", "verified_by": "envoy"}}, own]}),
    );
    let gate = gate(&document);
    let theirs = with(&json!({"iss": "https://own"}));
    for (path, payload, expected) in [
        ("/own", &claims(), "21"),
        ("/own", &theirs, "21"),
        ("/either", &claims(), "ok"),
        ("/either", &theirs, "22"),
    ] {
        assert_eq!(asked(&gate, &get(path).verified(payload)), expected, "{path}");
    }
    assert_eq!(asked(&gate, &get("/own").verified(&theirs).token(&token())), "22", "the token is another's");
}

#[test]
fn revoked_tokens_are_refused_and_so_are_those_that_are_hidden() {
    let mut document = policy(&corp());
    document["revoked"] = json!([revoking_digest("another").to_hex()]);
    let gate = gate(&document);
    let mut fewer = claims();
    fewer.as_object_mut().expect("claims").remove("email");
    for (ask, expected) in [
        (get("/lax").verified(&claims()).token(&token()), "ok"),
        (get("/lax").verified(&claims()), "22"),
        (get("/lax").verified(&with(&json!({"sub": "mallory"}))).token(&token()), "22"),
        (get("/lax").verified(&with(&json!({"more": 1}))).token(&token()), "22"),
        (get("/lax").verified(&fewer).token(&token()), "22"),
        // Istio has the filter split these.
        (
            get("/read").verified(&with(&json!({"scope": ["orders.read", "orders.write"]}))).token(&token()),
            "ok",
        ),
        (get("/lax").verified(&with(&json!({"scope": ["orders.read"]}))).token(&token()), "22"),
        (get("/lax").verified(&with(&json!({"scope": ["orders.read orders.write"]}))).token(&token()), "22"),
        (get("/lax").verified(&claims()).token("opaque"), "22"),
    ] {
        assert_eq!(asked(&gate, &ask), expected);
    }
    document["revoked"] = json!([revoking_digest(&token()).to_hex()]);
    assert_eq!(asked(&super::gate(&document), &get("/lax").verified(&claims()).token(&token())), "22");
}

/// The backend gets the client of the payload.
#[test]
fn an_application_is_the_client_of_the_payload() {
    let gate = gate(&policy(&corp()));
    let reply = http(200, &[], "<status><authorized>true</authorized></status>");
    assert_eq!(verdict(&through(&gate, &get("/application").verified(&claims()), &reply)), "ok");
    assert_eq!(asked(&gate, &get("/application").verified(&with(&json!({"client_id": null})))), "27");
}
