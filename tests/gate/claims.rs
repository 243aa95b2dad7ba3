//! Claims that rules require and headers hold: of introspected tokens, of JWTs, and across policies.

use std::rc::Rc;

use serde_json::{Value, json};
use sidegate::{gate::drive::Driver, identity::Lookup};

use super::{
    Shared, asked, begin, gate, load, lookup, permit, refused, sees,
    support::{Ask, answer, consumer, document, get},
    through, verdict,
};

fn fixtures() -> Value {
    serde_json::from_str(include_str!("../jwt/fixtures.json")).expect("the fixtures are JSON")
}

fn jwt(name: &str) -> String {
    fixtures()["valid"][name].as_str().expect("a token").to_owned()
}

/// A policy whose one rule has this way in, and whose service sees these headers.
fn policy(access: &Value, headers: &Value) -> Value {
    let api =
        json!({"name": "a", "rules": [{"path": "/**", "access": [access]}], "forward": {"headers": headers}});
    let mut document = document(json!([consumer("acme")]), json!([api]));
    document["providers"]["corp"] =
        json!({"jwks": {"issuer": "https://idp", "keys": fixtures()["keys"].to_string()}});
    document
}

fn requires(way: &str, claims: &Value) -> Value {
    let provider = if way == "jwt" { "corp" } else { "hydra" };
    json!({way: {"provider": provider, "claims": claims}})
}

/// What the endpoint says about a token, with the claims that the token of the fixtures has.
fn reply() -> Value {
    json!({
        "active": true, "sub": "alice", "client_id": "acme-web", "email": "alice@example.com",
        "org": {"id": "acme", "level": 3}, "realm_access": {"roles": ["reader", "writer"]},
        "https://example.com/team": "blue",
    })
}

#[test]
fn a_token_needs_one_value_of_every_claim_that_its_rule_requires() {
    for (claims, expected) in [
        (json!({"org.id": ["acme"]}), "ok"),
        (json!({"org.id": ["globex", "acme"]}), "ok"),
        (json!({"org.id": ["globex"]}), "23"),
        (json!({"org.id": ["ACME"]}), "23"),
        (json!({"org.level": ["3"]}), "ok"),
        (json!({"org": ["acme"]}), "23"),
        (json!({"org.id.x": ["acme"]}), "23"),
        (json!({"realm_access.roles": ["writer"]}), "ok"),
        (json!({"realm_access.roles": ["admin", "writer"]}), "ok"),
        (json!({"realm_access.roles": ["admin"]}), "23"),
        (json!({"realm_access.roles": ["reader,writer"]}), "23"),
        (json!({"realm_access.roles": ["writer"], "org.id": ["acme"]}), "ok"),
        (json!({"realm_access.roles": ["writer"], "org.id": ["globex"]}), "23"),
        (json!({"realm_access.roles": ["admin"], "org.id": ["acme"]}), "23"),
        (json!({r"https://example\.com/team": ["blue"]}), "ok"),
        (json!({"https://example.com/team": ["blue"]}), "23"),
        (json!({"missing": ["x"]}), "23"),
    ] {
        let gate_of = |way| gate(&policy(&requires(way, &claims), &json!({})));
        let (one, other) = (gate_of("introspection"), gate_of("jwt"));
        for turn in 0..2 {
            let step = through(&one, &get("/").token("t"), &answer(&reply()));
            assert_eq!(verdict(&step), expected, "introspection {claims}");
            assert_eq!(lookup(&step) == Some(Lookup::Hit), turn == 1, "{claims}");
            assert_eq!(asked(&other, &get("/").token(&jwt("RS256"))), expected, "jwt {claims}");
        }
    }
}

#[test]
fn a_missing_claim_is_403_and_the_challenge_names_no_scope() {
    let gate = gate(&policy(&requires("jwt", &json!({"org.id": ["globex"]})), &json!({})));
    let refused = refused(begin(&gate, &get("/").token(&jwt("RS256"))));
    assert_eq!(refused.reply().status, 403);
    assert_eq!(
        super::headers(&refused, "www-authenticate"),
        [r#"Bearer realm="api.example.com", error="insufficient_scope""#]
    );
}

#[test]
fn an_application_of_a_token_needs_the_claims_too() {
    let mut document = policy(&json!("allow"), &json!({}));
    document["providers"]["su1"] =
        json!({"service_management": {"cluster": "su1", "url": "https://su1", "provider_key": "key"}});
    let way = requires("jwt", &json!({"org.id": ["globex"]}));
    document["apis"][0]["rules"][0]["access"] =
        json!([{"threescale": {"provider": "su1", "jwt": way["jwt"]}}]);
    assert_eq!(asked(&gate(&document), &get("/").token(&jwt("RS256"))), "23");
    document["apis"][0]["rules"][0]["access"][0]["threescale"]["jwt"]["claims"] = json!({"org.id": ["acme"]});
    assert_eq!(asked(&gate(&document), &get("/").token(&jwt("RS256"))), "call", "the backend decides");
}

#[test]
fn headers_hold_claims_and_lists_with_commas() {
    let headers = json!({
        "x-email": "{claim:email}", "x-roles": "{claim:realm_access.roles}", "x-org": "o-{claim:org.id}-{claim:org.level}",
        "x-team": r"{claim:https://example\.com/team}", "x-none": "{claim:org}", "x-other": "{claim:other}",
    });
    let expected = [
        ("x-email", Some("alice@example.com")),
        ("x-roles", Some("reader,writer")),
        ("x-org", Some("o-acme-3")),
        ("x-team", Some("blue")),
        ("x-none", None),
        ("x-other", None),
    ];
    for way in ["introspection", "jwt"] {
        let gate = gate(&policy(&requires(way, &json!({})), &headers));
        let ask = get("/").token(&jwt("RS256")).with("x-none", "forged").with("x-email", "forged");
        for _ in 0..2 {
            let permit = permit(through(&gate, &ask, &answer(&reply())));
            for (name, value) in expected {
                assert_eq!(sees(&ask, &permit, name).as_deref(), value, "{way} {name}");
            }
        }
    }
}

#[test]
fn no_value_of_a_claim_breaks_out_of_its_header() {
    let gate = gate(&policy(
        &requires("introspection", &json!({})),
        &json!({"x-name": "{claim:name}", "x-roles": "{claim:roles}", "x-long": "{claim:long}"}),
    ));
    let mut reply = reply();
    reply["name"] = json!("a\r\nx-admin: yes");
    reply["roles"] = json!(["reader", "writer,admin", "x\ny", "", {"admin": true}, ["admin"], null]);
    reply["long"] = json!("x".repeat(5000));
    let ask = get("/").token("t");
    let permit = permit(through(&gate, &ask, &answer(&reply)));
    assert_eq!(sees(&ask, &permit, "x-name"), None);
    assert_eq!(sees(&ask, &permit, "x-roles").as_deref(), Some("reader"));
    assert_eq!(sees(&ask, &permit, "x-long"), None);
}

#[test]
fn a_claim_that_appears_twice_is_no_claim() {
    let gate = gate(&policy(&requires("introspection", &json!({"org.id": ["acme"]})), &json!({})));
    let twice = r#"{"active":true,"org":{"id":"globex"},"org":{"id":"acme"}}"#;
    let reply = super::support::http(200, &[("content-type", "application/json")], twice);
    assert_eq!(verdict(&through(&gate, &get("/").token("t"), &reply)), "24");
}

#[test]
fn mocked_responses_hold_claims() {
    let mut document = policy(&requires("jwt", &json!({})), &json!({}));
    document["apis"][0]["mock"] =
        json!({"responses": [{"body": r#"{"roles":"{claim:realm_access.roles}"}"#}]});
    let super::Step::Ended(super::Ending::Answer(answer)) =
        begin(&gate(&document), &get("/").token(&jwt("RS256")))
    else {
        panic!("no answer")
    };
    assert_eq!(&*answer.reply().body, r#"{"roles":"reader,writer"}"#);
}

/// A policy that asks for a claim must not use what was cached for one that did not, nor the other way round.
#[test]
fn what_another_policy_cached_is_not_used_if_it_asked_for_other_claims() {
    let store = Shared::default();
    let worker = |document: &Value| Driver::new(load(document), Rc::clone(&store));
    let plain = policy(&requires("introspection", &json!({})), &json!({}));
    let strict = policy(&requires("introspection", &json!({"org.id": ["acme"]})), &json!({}));
    let other = policy(&requires("introspection", &json!({"org.id": ["globex"]})), &json!({}));
    let shown = policy(&requires("introspection", &json!({})), &json!({"x-org": "{claim:org.id}"}));
    let ask: Ask = get("/").token("t");
    let obtained = |document: &Value| {
        let step = through(&worker(document), &ask, &answer(&reply()));
        (verdict(&step), lookup(&step))
    };
    for (document, expected) in [(&plain, "ok"), (&strict, "ok"), (&other, "23"), (&shown, "ok")] {
        assert_eq!(obtained(document), (expected, Some(Lookup::Miss)));
    }
    for (document, expected) in [(&plain, "ok"), (&strict, "ok"), (&other, "23"), (&shown, "ok")] {
        assert_eq!(
            obtained(document),
            (expected, Some(Lookup::Hit)),
            "a policy finds what it asked for itself"
        );
    }
}

/// A policy without claims caches no byte more because of the token's.
#[test]
fn hundreds_of_groups_fit_into_the_cache_if_rules_require_some() {
    let groups: Vec<String> =
        (0..600).map(|group| format!("CN=group-{group:05},OU=groups,DC=example")).collect();
    let mut reply = reply();
    reply["groups"] = json!(groups);
    for (claims, expected) in
        [(json!({}), "ok"), (json!({"groups": ["CN=group-00599,OU=groups,DC=example"]}), "ok")]
    {
        let mut document = policy(&requires("introspection", &claims), &json!({}));
        document["gate"]["capacity"] = json!({"token_bytes": 256});
        let gate = gate(&document);
        let step = through(&gate, &get("/").token("t"), &answer(&reply));
        assert_eq!(verdict(&step), expected);
        assert_eq!(lookup(&begin(&gate, &get("/").token("t"))), Some(Lookup::Hit));
    }
}
