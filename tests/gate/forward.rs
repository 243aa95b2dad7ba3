//! What the service behind the gate sees of its caller, and what the caller sees of the gate.

use serde_json::{Value, json};
use sidegate::{gate::Permit, headers::HeaderList};

use super::{
    begin, gate, permit, refused, sees,
    support::{answer, ask, consumer, document, get, sha256},
    through,
};

fn forwarding() -> Value {
    let mut acme = consumer("acme");
    acme["plan"] = json!("basic");
    let forward = json!({"headers": {
        "X-Consumer": "{consumer}", "x-plan": "{plan}", "x-environment": "{environment}", "x-client": "{client_id}",
        "x-subject": "{subject}", "x-scope": "{scope}", "x-where": "{api} {rule}", "x-constant": "yes",
    }});
    let introspection = json!({"introspection": {"provider": "hydra"}});
    let orders = json!({
        "name": "orders", "base_path": "/v1", "access": ["api_key", introspection], "forward": forward,
        "rules": [{"path": "/{id}"}, {"path": "/open", "access": ["allow"]}],
    });
    let plain =
        json!({"name": "plain", "base_path": "/plain", "access": ["api_key"], "rules": [{"path": "/**"}]});
    let mut document = document(json!([acme, consumer("globex")]), json!([orders, plain]));
    document["plans"] = json!({"basic": {"environment": "staging"}});
    document["gate"]["debug"] = json!({"secret_sha256": sha256("let-me-see")});
    document
}

const NAMES: [&str; 8] =
    ["x-consumer", "x-plan", "x-environment", "x-client", "x-subject", "x-scope", "x-where", "x-constant"];

#[test]
fn the_service_learns_who_calls() {
    let gate = gate(&forwarding());
    let reply = answer(&json!({"active": true, "client_id": "acme-web", "sub": "alice", "scope": "a b"}));
    for (ask, expected) in [
        (
            get("/v1/7").key("key-of-acme"),
            [
                Some("acme"),
                Some("basic"),
                Some("staging"),
                None,
                None,
                None,
                Some("orders /{id}"),
                Some("yes"),
            ],
        ),
        (
            get("/v1/7").key("key-of-globex"),
            [Some("globex"), None, None, None, None, None, Some("orders /{id}"), Some("yes")],
        ),
        (
            get("/v1/7").token("t"),
            [
                Some("acme"),
                Some("basic"),
                Some("staging"),
                Some("acme-web"),
                Some("alice"),
                Some("a b"),
                Some("orders /{id}"),
                Some("yes"),
            ],
        ),
        (get("/v1/open"), [None, None, None, None, None, None, Some("orders /open"), Some("yes")]),
    ] {
        let permitted = permit(through(&gate, &ask, &reply));
        assert_eq!(
            NAMES.map(|name| sees(&ask, &permitted, name)),
            expected.map(|value| value.map(str::to_owned)),
            "{ask:?}"
        );
    }
}

#[test]
fn identity_headers_of_any_api_cannot_be_forged() {
    let gate = gate(&forwarding());
    let reply = answer(&json!({"active": true}));
    for path in ["/v1/7", "/v1/open", "/plain/x"] {
        let mut ask = get(path);
        for name in NAMES {
            ask = ask.with(name, "forged").with(name, "again");
        }
        ask = ask.with("x-sidegate-anything", "forged").with("x-other", "kept");
        ask = if path == "/v1/7" { ask.token("t") } else { ask.key("key-of-globex") };
        let permitted = permit(through(&gate, &ask, &reply));
        for name in NAMES {
            let seen = sees(&ask, &permitted, name).unwrap_or_default();
            assert!(!seen.contains("forged") && !seen.contains("again"), "{path}: {name}: {seen}");
        }
        assert_eq!(sees(&ask, &permitted, "x-sidegate-anything"), None, "{path}");
        assert_eq!(sees(&ask, &permitted, "x-other").as_deref(), Some("kept"), "{path}");
    }
}

#[test]
fn a_value_that_no_header_may_carry_leaves_the_header_out() {
    let gate = gate(&forwarding());
    let hostile = answer(&json!({
        "active": true, "client_id": "x\r\nx-admin: yes", "sub": "alice\u{0}", "scope": "a\nb",
    }));
    let ask = get("/v1/7").token("t").with("x-subject", "forged");
    let permitted = permit(through(&gate, &ask, &hostile));
    for name in ["x-client", "x-subject", "x-scope", "x-admin"] {
        assert_eq!(sees(&ask, &permitted, name), None, "{name}");
    }
    let controls =
        |permit: &Permit| permit.edits().set.iter().any(|(_, value)| value.iter().any(u8::is_ascii_control));
    assert!(!controls(&permitted));
}

#[test]
fn the_service_never_sees_one_scope_as_two() {
    let gate = gate(&forwarding());
    let reply = answer(&json!({"active": true, "scope": ["read", "admin write", "list"]}));
    let ask = get("/v1/7").token("t");
    assert_eq!(sees(&ask, &permit(through(&gate, &ask, &reply)), "x-scope").as_deref(), Some("read list"));
}

#[test]
fn a_header_that_carries_the_credential_may_become_an_identity_header() {
    let mut document = forwarding();
    document["apis"][0]["forward"]["headers"] = json!({"apikey": "{consumer}"});
    let ask = get("/v1/7").key("key-of-acme");
    assert_eq!(sees(&ask, &permit(begin(&gate(&document), &ask)), "apikey").as_deref(), Some("acme"));
}

#[test]
fn only_the_holder_of_the_debug_secret_sees_how_it_was_decided() {
    let document = forwarding();
    let gate = gate(&document);
    let digest = gate.policy().digest.clone();
    let explained = |headers: &HeaderList| {
        let ours = headers.iter().filter(|(name, _)| name.starts_with("x-sidegate-"));
        ours.map(|(name, value)| format!("{name}: {value}")).collect::<Vec<_>>()
    };
    let ask = get("/v1/7").key("key-of-acme");
    for secret in ["", "let-me", "LET-ME-SEE"] {
        let permitted = permit(begin(&gate, &ask.clone().with("x-sidegate-debug", secret)));
        assert!(permitted.into_response_headers().is_empty(), "{secret}");
    }
    let ask = ask.with("x-sidegate-debug", "let-me-see");
    let permitted = permit(begin(&gate, &ask));
    assert_eq!(sees(&ask, &permitted, "x-sidegate-debug"), None, "the secret is not forwarded");
    assert_eq!(
        explained(&permitted.into_response_headers()),
        [
            "x-sidegate-api: orders",
            "x-sidegate-rule: /{id}",
            "x-sidegate-credential: header apikey",
            "x-sidegate-consumer: acme",
            "x-sidegate-plan: basic",
            "x-sidegate-usage: hits=1",
            "x-sidegate-revision: r1",
            &format!("x-sidegate-digest: {digest}"),
        ]
    );
    let refusal = refused(begin(&gate, &get("/v1/7").key("guess").with("x-sidegate-debug", "let-me-see")));
    assert!(explained(&refusal.reply().headers).contains(&"x-sidegate-rule: /{id}".to_owned()));
    let stranger = refused(begin(&gate, &get("/v1/7").key("guess")));
    assert_eq!(
        explained(&stranger.reply().headers).len(),
        2,
        "a stranger sees code and correlation id: {:?}",
        stranger.reply().headers
    );

    let mut without = document;
    without["gate"].as_object_mut().unwrap().remove("debug");
    let headers = permit(begin(&super::gate(&without), &ask)).into_response_headers();
    assert!(headers.is_empty(), "no secret, no explanation");
}

#[test]
fn a_cached_answer_is_explained_as_a_hit() {
    let gate = gate(&forwarding());
    let ask = get("/v1/7").token("t").with("x-sidegate-debug", "let-me-see");
    let reply = answer(&json!({"active": true}));
    for expected in ["miss", "hit"] {
        let headers = permit(through(&gate, &ask, &reply)).into_response_headers();
        assert_eq!(headers.get("x-sidegate-cache"), Some(expected));
    }
}

#[test]
fn the_base_path_of_the_service_replaces_that_of_the_api() {
    let api = |name: &str, base: &str, target: &str| {
        json!({"name": name, "base_path": base, "access": ["api_key"], "credentials": {"api_key": [{"query": "key"}]},
               "rules": [{"path": "/a/**"}, {"path": "/"}], "forward": {"base_path": target}})
    };
    let mut document = document(
        json!([consumer("acme")]),
        json!([
            api("one", "/foo", "/car"),
            api("two", "/v2", "/"),
            api("three", "/v3", "/v3/"),
            api("four", "/", "/x")
        ]),
    );
    document["gate"]["preflight"] = json!("pass");
    document["apis"][3]["shadow"] = json!(true);
    let gate = gate(&document);
    for (path, forwarded) in [
        ("/foo/a/b?key=key-of-acme&x=1", Some("/car/a/b?x=1")),
        ("/foo?key=key-of-acme", Some("/car")),
        ("/foo/a/../a/%62/?x=1&key=key-of-acme", Some("/car/a/b/?x=1")),
        ("/v2/a?key=key-of-acme", Some("/a")),
        ("/v2?key=key-of-acme", Some("/")),
        ("/v3/a?key=key-of-acme", Some("/v3/a")),
        ("/?y", Some("/x?y")),
        ("/nowhere", Some("/x/nowhere")),
    ] {
        let ask = get(path);
        assert_eq!(sees(&ask, &permit(begin(&gate, &ask)), ":path").as_deref(), forwarded, "{path}");
    }
    let preflight =
        ask("OPTIONS", "/foo/a/b").with("origin", "https://a").with("access-control-request-method", "PUT");
    assert_eq!(sees(&preflight, &permit(begin(&gate, &preflight)), ":path").as_deref(), Some("/car/a/b"));
}
