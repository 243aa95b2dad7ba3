//! Applications: an id and one of its keys, as 3scale has them, and Basic credentials.

use serde_json::{Value, json};
use sidegate::time::Timestamp;

use super::{
    asked, begin, forwarded, gate, headers, permit, refused,
    support::{Ask, NOW, document, get, sha256},
    trail,
};

fn consumers() -> Value {
    json!([
        {"name": "acme", "application": {"id": "4f2e", "keys": [
            {"id": "old", "sha256": sha256("k1"), "not_after": "2026-11-20T12:00:01Z"},
            {"id": "new", "sha256": sha256("k2")},
            {"id": "off", "sha256": sha256("k3"), "state": "inactive"},
        ]}},
        {"name": "globex", "application": {"id": "open"}, "keys": [{"sha256": sha256("user-key")}]},
        {"name": "initech", "state": "suspended", "application": {"id": "gone"}},
        {"name": "umbrella", "application": {"id": "other", "keys": [{"sha256": sha256("k9")}]}},
    ])
}

fn api(credentials: &Value, access: &Value) -> Value {
    let api = json!({
        "name": "orders", "access": access, "rules": [{"path": "/**"}], "credentials": credentials,
    });
    document(consumers(), json!([api]))
}

fn basic(text: &str) -> Ask {
    use base64::Engine as _;
    let token = base64::engine::general_purpose::STANDARD.encode(text);
    get("/a").with("authorization", format!("Basic {token}"))
}

#[test]
fn an_application_is_an_id_and_one_of_its_own_keys() {
    let gate = gate(&api(&json!({}), &json!(["application"])));
    for (query, code, reason) in [
        ("app_id=4f2e&app_key=k1", "ok", ""),
        ("app_key=k2&app_id=4f%32e", "ok", ""),
        ("app_id=open", "ok", ""),
        ("app_id=open&app_key=anything", "ok", ""),
        ("app_id=4f2e", "13", "no key of the application was presented"),
        ("app_id=4f2e&app_key=", "13", "no key of the application was presented"),
        ("app_id=4f2e&app_key=k3", "13", "the application's key is inactive"),
        ("app_id=4f2e&app_key=k9", "13", "the key is not one of the application's"),
        ("app_id=other&app_key=k2", "13", "the key is not one of the application's"),
        ("app_id=4F2E&app_key=k2", "13", "the application is unknown"),
        ("app_id=gone", "13", "the application's consumer is suspended"),
        ("app_key=k2", "12", "no API key was presented"),
        ("", "12", "no API key was presented"),
        ("app_id=4f2e&app_id=4f2e&app_key=k2", "20", "the credential appears twice"),
        ("app_id=4f2e&app_key=k2&app_key=k2", "20", "the credential appears twice"),
        ("app_id=4f2e&app_key=%zz", "20", "the credential cannot be decoded"),
    ] {
        let step = begin(&gate, &get(&format!("/a?{query}")));
        assert_eq!(super::verdict(&step), code, "{query}");
        let refusal = trail(&step).refusal.as_ref();
        assert_eq!(refusal.map_or("", |refusal| refusal.reason.as_str()), reason, "{query}");
    }
    let late =
        Ask { at: Timestamp::from_seconds(NOW.millis() / 1_000 + 1), ..get("/a?app_id=4f2e&app_key=k1") };
    assert_eq!(asked(&gate, &late), "13", "the key has expired");
}

#[test]
fn the_trail_names_the_consumer_the_key_and_the_place_of_the_id() {
    let gate =
        gate(&api(&json!({"app_id": [{"query": "x"}, {"header": "app-id"}]}), &json!(["application"])));
    let step = begin(&gate, &get("/a?app_key=k2").with("app-id", "4f2e"));
    let trail = trail(&step);
    assert_eq!((trail.consumer(), trail.key()), (Some("acme"), Some("new")));
    assert_eq!(trail.credential().unwrap().to_string(), "header app-id");
}

#[test]
fn both_parts_are_removed_wherever_they_are() {
    let places = json!({
        "app_id": [{"query": "app_id"}, {"header": "app-id"}, {"cookie": "id"}, {"basic": "user"}],
        "app_key": [{"query": "app_key"}, {"header": "app-key"}, {"cookie": "key"}, {"basic": "password"}],
    });
    let gate = gate(&api(&places, &json!(["application"])));
    for ask in [
        get("/a?app_id=4f2e&app_key=k2&x=1"),
        get("/a?x=1").with("app-id", "4f2e").with("app-key", "k2"),
        get("/a?x=1").with("cookie", "id=4f2e; key=k2"),
        get("/a?app_id=4f2e&x=1").with("cookie", "a=1; key=k2"),
        get("/a?x=1").with("authorization", "Basic NGYyZTprMg"),
        get("/a?x=1&app_key=k2").with("app-id", "open"),
    ] {
        let permit = permit(begin(&gate, &ask));
        let forwarded = forwarded(&ask, &permit);
        for (name, value) in &forwarded {
            assert!(
                !value.contains("4f2e") && !value.contains("k2") && !value.contains("NGYyZ"),
                "{name}: {value}"
            );
        }
        assert!(forwarded.contains(&(":path".to_owned(), "/a?x=1".to_owned())), "{forwarded:?}");
    }
}

#[test]
fn basic_credentials_are_read_in_all_forms() {
    let application = json!({"app_id": [{"basic": "user"}], "app_key": [{"basic": "password"}]});
    let user_key = |part: &str| json!({"api_key": [{"basic": part}]});
    for (places, access, text, code) in [
        (&application, "application", "4f2e:k2", "ok"),
        (&application, "application", "open:", "ok"),
        (&application, "application", "open", "ok"),
        (&application, "application", "4f2e:k9", "13"),
        (&application, "application", "4f2e:", "13"),
        (&application, "application", ":k2", "12"),
        (&application, "application", ":", "12"),
        (&user_key("user"), "api_key", "user-key:", "ok"),
        (&user_key("user"), "api_key", "user-key:x", "ok"),
        (&user_key("user"), "api_key", ":user-key", "12"),
        (&user_key("password"), "api_key", ":user-key", "ok"),
        (&user_key("password"), "api_key", "x:user-key", "ok"),
        (&user_key("password"), "api_key", "user-key:", "12"),
        (&user_key("either"), "api_key", "user-key:", "ok"),
        (&user_key("either"), "api_key", "user-key:other", "ok"),
        (&user_key("either"), "api_key", ":user-key", "ok"),
        (&user_key("either"), "api_key", "other:user-key", "13"),
    ] {
        assert_eq!(
            asked(&gate(&api(places, &json!([access]))), &basic(text)),
            code,
            "{text} {access} {places}"
        );
    }
}

#[test]
fn malformed_basic_credentials_are_refused() {
    let gate = gate(&api(&json!({"api_key": [{"basic": "user"}]}), &json!(["api_key"])));
    for (value, code) in [
        ("Basic !", "20"),
        ("Basic", "20"),
        ("Basic dXNlci1rZXk6 x", "20"),
        ("Basic dXNlci1rZXk6, Basic dXNlci1rZXk6", "20"),
        ("Basic /w==", "20"),
        ("basic dXNlci1rZXk6", "ok"),
        ("Bearer dXNlci1rZXk6", "12"),
    ] {
        assert_eq!(asked(&gate, &get("/a").with("authorization", value)), code, "{value}");
    }
    let refused = refused(begin(&gate, &basic("nobody:")));
    assert_eq!(
        headers(&refused, "www-authenticate"),
        ["ApiKey realm=\"api.example.com\"", "Basic realm=\"api.example.com\", charset=\"UTF-8\""]
    );
}

#[test]
fn the_first_way_in_whose_credential_is_present_decides() {
    let gate = gate(&api(&json!({}), &json!(["application", "api_key"])));
    for (ask, code) in [
        (get("/a?app_id=open"), "ok"),
        (get("/a").key("user-key"), "ok"),
        (get("/a?app_id=nobody").key("user-key"), "13"),
        (get("/a?app_key=k2").key("user-key"), "ok"),
    ] {
        assert_eq!(asked(&gate, &ask), code, "{ask:?}");
    }
}

#[test]
fn default_credentials_are_for_requests_without_any() {
    let with_default = |access: &Value, default: &Value| {
        let api = json!({
            "name": "orders", "access": access, "default_credentials": default,
            "rules": [{"path": "/tokens", "access": [{"introspection": {"provider": "hydra"}}]}, {"path": "/**"}],
        });
        gate(&document(consumers(), json!([api])))
    };
    let gate = with_default(&json!(["application", "api_key"]), &json!({"app_id": "4f2e", "app_key": "k2"}));
    for (ask, code, consumer) in [
        (get("/a"), "ok", Some("acme")),
        (get("/a?app_key=nonsense"), "ok", Some("acme")),
        (get("/a").key("user-key"), "ok", Some("globex")),
        (get("/a").key("wrong"), "13", None),
        (get("/a?app_id=open"), "ok", Some("globex")),
        (get("/tokens"), "21", None),
    ] {
        let step = begin(&gate, &ask);
        assert_eq!((super::verdict(&step), trail(&step).consumer()), (code, consumer), "{ask:?}");
    }
    let gate = with_default(&json!(["api_key"]), &json!({"api_key": "user-key"}));
    assert_eq!(asked(&gate, &get("/a")), "ok");
    let gate = with_default(&json!(["api_key"]), &json!({"api_key": "unknown"}));
    assert_eq!(asked(&gate, &get("/a")), "13");
}

#[test]
fn places_of_applications_are_read_only_where_a_rule_takes_them_or_the_policy_names_them() {
    let keys = gate(&api(&json!({}), &json!(["api_key"])));
    let ask = get("/a?app_id=4f2e&app_key=k2").key("user-key");
    let passed = permit(begin(&keys, &ask));
    let kept = (":path".to_owned(), "/a?app_id=4f2e&app_key=k2".to_owned());
    assert!(forwarded(&ask, &passed).contains(&kept));
}
