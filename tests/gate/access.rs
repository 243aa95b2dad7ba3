//! Access lists, preflights, and requests that match nothing.

use std::time::Duration;

use serde_json::{Value, json};
use sidegate::{
    gate::{ProviderCall, drive::Driver},
    provider::{CallOutcome, CallRecord},
};

use super::{
    Shared, asked, begin, code, gate, headers, permit, refused, sees,
    support::{Ask, answer, ask, consumer, document, get},
    through, trail, verdict,
};

fn api(rules: Value) -> Value {
    document(json!([consumer("acme")]), json!([{"name": "a", "hosts": ["api.example.com"], "rules": rules}]))
}

#[test]
fn allow_admits_everybody_and_deny_admits_nobody() {
    let document =
        api(json!([{"path": "/open", "access": ["allow"]}, {"path": "/closed", "access": ["deny"]}]));
    let gate = gate(&document);
    for ask in
        [get("/open"), get("/open").key("guess"), get("/open").token("a b"), get("/open").key("key-of-acme")]
    {
        let step = begin(&gate, &ask);
        assert_eq!((verdict(&step), trail(&step).consumer()), ("ok", None), "{ask:?}");
    }
    for ask in [get("/closed"), get("/closed").key("key-of-acme")] {
        assert_eq!(asked(&gate, &ask), "27", "{ask:?}");
    }
}

#[test]
fn the_first_entry_whose_credential_is_present_decides() {
    let introspection = json!({"introspection": {"provider": "hydra"}});
    let first_token = gate(&api(json!([{"path": "/**", "access": [introspection, "api_key"]}])));
    let first_key = gate(&api(json!([{"path": "/**", "access": ["api_key", introspection]}])));
    let with_allow = gate(&api(json!([{"path": "/**", "access": ["api_key", "allow"]}])));
    let with_deny = gate(&api(json!([{"path": "/**", "access": ["api_key", "deny"]}])));
    let key = get("/").key("key-of-acme");
    let both = key.clone().token("t");
    for (gate, ask, expected, sentence) in [
        (&first_token, &get("/").token("t"), "call", "a token asks the provider"),
        (&first_token, &key, "ok", "a key alone is checked as a key"),
        (&first_token, &both, "call", "with both, the token decides"),
        (&first_token, &get("/"), "21", "no credential was presented"),
        (&first_key, &both, "ok", "with both, the key decides"),
        (&first_key, &get("/").key("guess").token("t"), "13", "a token does not make up for a bad key"),
        (&first_key, &get("/").token("t"), "call", "a token alone asks the provider"),
        (&with_allow, &get("/"), "ok", "without a key, everybody is admitted"),
        (&with_allow, &get("/").key("guess"), "13", "a bad key is refused"),
        (&with_deny, &get("/"), "27", "without a key, nobody is admitted"),
        (&with_deny, &key, "ok", "with a key, its consumer is admitted"),
    ] {
        assert_eq!(asked(gate, ask), expected, "{sentence}");
    }
    let inactive = answer(&json!({"active": false}));
    assert_eq!(
        verdict(&through(&first_token, &both, &inactive)),
        "22",
        "a key does not make up for a bad token"
    );
}

#[test]
fn an_expression_with_anchors_in_its_text_guards_its_paths() {
    let gate = gate(&api(json!([
        {"regex": "^/users/[0-9]+$", "access": ["api_key"]},
        {"regex": "/.*", "access": ["allow"]},
    ])));
    for (path, expected) in [("/users/7", "12"), ("/users/7/", "12"), ("/users/x", "ok"), ("/users", "ok")] {
        assert_eq!(asked(&gate, &get(path)), expected, "{path}");
    }
}

#[test]
fn tokens_that_are_not_access_tokens_or_lack_scopes_are_refused() {
    let introspection = |scopes: &[&str]| json!([{"introspection": {"provider": "hydra", "scopes": scopes}}]);
    let lax = json!([{"introspection": {"provider": "hydra"}}]);
    let document = api(json!([
        {"path": "/lax", "access": lax},
        {"path": "/read", "access": introspection(&["read"])},
        {"path": "/both", "access": introspection(&["read", "write"])},
    ]));
    for (path, reply, expected) in [
        ("/lax", json!({"active": true, "typ": "Bearer"}), "ok"),
        ("/lax", json!({"active": true, "typ": "Refresh"}), "22"),
        ("/lax", json!({"active": true, "typ": "Offline"}), "22"),
        ("/lax", json!({"active": true, "typ": "ID"}), "22"),
        ("/lax", json!({"active": true, "typ": "ID", "token_type": "Bearer"}), "ok"),
        ("/lax", json!({"active": true, "token_type": "access_token"}), "ok"),
        ("/lax", json!({"active": true, "token_type": "refresh_token"}), "22"),
        ("/lax", json!({"active": true, "exp": "4102444800"}), "24"),
        ("/lax", json!({"active": true, "scope": ["a b"]}), "ok"),
        ("/read", json!({"active": true, "scope": "read write"}), "ok"),
        ("/read", json!({"active": true, "scope": ["read write"]}), "23"),
        ("/both", json!({"active": true, "scope": ["read write"]}), "23"),
        ("/both", json!({"active": true, "scope": ["read", "write"]}), "ok"),
        ("/both", json!({"active": true, "scope": "read\twrite"}), "23"),
    ] {
        let step = through(&gate(&document), &get(path).token("t"), &answer(&reply));
        assert_eq!(verdict(&step), expected, "{path}: {reply}");
    }
}

fn preflight(path: &str, method: &str) -> Ask {
    ask("OPTIONS", path).with("origin", "https://app.example").with("access-control-request-method", method)
}

fn with_rules_for_preflights(mode: &str) -> Driver<Shared> {
    let mut document = api(json!([
        {"path": "/keyed", "methods": ["GET", "PUT"], "access": ["api_key"]},
        {"path": "/closed", "access": ["deny"]},
        {"path": "/options", "methods": ["OPTIONS"], "access": ["allow"]},
    ]));
    document["gate"]["preflight"] = json!(mode);
    document["apis"][0]["limits"] = json!([{"metric": "hits", "max": 1, "per": "day", "of": "api"}]);
    gate(&document)
}

#[test]
fn a_preflight_is_decided_by_the_rule_for_the_requested_method() {
    let pass = with_rules_for_preflights("pass");
    for (ask, expected, sentence) in [
        (preflight("/keyed", "PUT"), "ok", "without credentials"),
        (preflight("/keyed", "PUT"), "ok", "without quota"),
        (preflight("/keyed", "PUT").key("guess"), "ok", "whatever the credential"),
        (preflight("/keyed", "DELETE"), "26", "no rule for the method"),
        (preflight("/none", "PUT"), "00", "no rule for the path"),
        (preflight("/closed", "GET"), "27", "never where the rule says deny"),
        (ask("OPTIONS", "/keyed"), "26", "OPTIONS alone is an ordinary request"),
        (
            ask("OPTIONS", "/keyed").with("origin", "https://app.example"),
            "26",
            "an origin alone does not make a preflight",
        ),
        (
            ask("PUT", "/keyed").with("origin", "x").with("access-control-request-method", "PUT"),
            "12",
            "no other method is a preflight",
        ),
        (preflight("/keyed", "\u{e4}"), "26", "an odd method has no rule"),
    ] {
        assert_eq!(asked(&pass, &ask), expected, "{sentence}");
    }
    let odd = ask("OPTIONS", "/keyed").with("origin", "x").with("access-control-request-method", b"\xff");
    assert_eq!(asked(&pass, &odd), "26", "invalid bytes name no method");
}

#[test]
fn an_invalid_requested_method_opens_no_rule() {
    let gate = gate(&api(json!([{"path": "/keyed", "access": ["api_key"]}])));
    let odd = ask("OPTIONS", "/keyed").with("origin", "x").with("access-control-request-method", b"\xff");
    assert_eq!(asked(&gate, &odd), "12");
}

#[test]
fn a_preflight_that_must_be_checked_is_an_ordinary_request() {
    let check = with_rules_for_preflights("check");
    for (ask, expected) in [
        (preflight("/keyed", "PUT"), "26"),
        (preflight("/closed", "GET"), "27"),
        (preflight("/options", "DELETE"), "ok"),
        (preflight("/options", "DELETE"), "14"),
    ] {
        assert_eq!(asked(&check, &ask), expected, "{ask:?}");
    }
}

#[test]
fn a_preflight_carries_no_credential_and_no_forged_identity_to_the_service() {
    let ask = preflight("/keyed", "PUT").key("key-of-acme").with("x-sidegate-consumer", "forged");
    let permitted = permit(begin(&with_rules_for_preflights("pass"), &ask));
    assert_eq!(
        (sees(&ask, &permitted, "apikey"), sees(&ask, &permitted, "x-sidegate-consumer")),
        (None, None)
    );
    assert!(permitted.into_response_headers().is_empty());
}

#[test]
fn unmatched_requests_are_refused_or_passed_as_the_policy_says() {
    let mut document = api(json!([{"path": "/**", "access": ["allow"]}]));
    document["apis"][0]["forward"] = json!({"headers": {"x-consumer": "{consumer}"}});
    document["apis"][0]["base_path"] = json!("/v1");
    assert_eq!(asked(&gate(&document), &get("/other")), "00");

    document["gate"]["unmatched"] = json!("pass");
    let gate = gate(&document);
    let ask = get("//other/./x?q")
        .with("x-consumer", "forged")
        .with("x-sidegate-code", "00")
        .key("for-the-service")
        .with("accept", "*/*");
    let permitted = permit(begin(&gate, &ask));
    assert_eq!(sees(&ask, &permitted, "x-consumer"), None, "callers cannot forge an identity");
    assert_eq!(sees(&ask, &permitted, "x-sidegate-code"), None);
    assert_eq!(
        sees(&ask, &permitted, "apikey").as_deref(),
        Some("for-the-service"),
        "without an API there are no credentials to remove"
    );
    assert_eq!(sees(&ask, &permitted, ":path").as_deref(), Some("/other/x?q"));
    assert_eq!(asked(&gate, &self::ask("OPTIONS", "*")), "ok");
    assert_eq!(asked(&gate, &get("/other/%zz")), "20", "a malformed request passes nowhere");
    assert_eq!(asked(&gate, &get("/v1")), "ok", "the API itself still matches");
}

#[test]
fn a_path_of_an_api_without_a_rule_is_never_passed_as_unmatched() {
    let mut document = api(json!([{"path": "/known", "methods": ["GET"], "access": ["allow"]}]));
    document["gate"]["unmatched"] = json!("pass");
    let gate = gate(&document);
    let unknown = refused(begin(&gate, &get("/unknown")));
    assert_eq!((code(&unknown), unknown.trail().api()), ("00", Some("a")));
    let method = refused(begin(&gate, &ask("PUT", "/known")));
    assert_eq!((code(&method), headers(&method, "allow")), ("26", vec!["GET, HEAD"]));
}

#[test]
fn the_trail_says_what_matched() {
    let mut document =
        api(json!([{"path": "/orders/{id}", "access": [{"introspection": {"provider": "hydra"}}]}]));
    document["plans"] = json!({"basic": {"environment": "staging"}});
    document["consumers"][0]["plan"] = json!("basic");
    let gate = gate(&document);
    let step =
        through(&gate, &get("/orders/7").token("t"), &answer(&json!({"active": true, "azp": "acme-web"})));
    let trail = trail(&step);
    assert_eq!((trail.api(), trail.rule()), (Some("a"), Some("/orders/{id}")));
    assert_eq!(
        (trail.consumer(), trail.plan(), trail.environment()),
        (Some("acme"), Some("basic"), Some("staging"))
    );
    let record = CallRecord { outcome: CallOutcome::Answered, took: Duration::ZERO };
    assert_eq!(trail.calls, [ProviderCall { provider: 0, record }]);
}

#[test]
fn requests_of_a_consumer_come_from_its_referrers() {
    let mut acme = consumer("acme");
    acme["referrers"] = json!(["*.acme.com"]);
    let api = json!({"name": "a", "access": [{"introspection": {"provider": "hydra"}}, "api_key"], "rules": [{"path": "/**"}]});
    let gate = gate(&document(json!([acme, consumer("globex")]), json!([api])));
    for (key, referer, expected) in [
        ("key-of-acme", Some("https://www.acme.com/shop"), "ok"),
        ("key-of-acme", Some("https://evil.example/.acme.com"), "27"),
        ("key-of-acme", Some("*"), "27"),
        ("key-of-acme", None, "27"),
        ("key-of-globex", None, "ok"),
        ("wrong", None, "13"),
    ] {
        let ask = referer.iter().fold(get("/a").key(key), |ask, referer| ask.with("referer", referer));
        assert_eq!(asked(&gate, &ask), expected, "{key} {referer:?}");
    }
    let vouched = answer(&json!({"active": true, "client_id": "acme-web"}));
    assert_eq!(verdict(&through(&gate, &get("/a").token("t"), &vouched)), "27");
}
