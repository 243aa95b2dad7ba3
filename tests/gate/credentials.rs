//! API keys: where they are sent, which are accepted, and when.

use serde_json::{Value, json};
use sidegate::time::Timestamp;

use super::{
    asked, begin, gate, permit, sees,
    support::{Ask, NOW, consumer, document, get, sha256},
};

fn places(api_key: Value) -> Value {
    let api = json!({"name": "orders", "access": ["api_key"], "rules": [{"path": "/**"}], "credentials": {"api_key": api_key}});
    document(json!([consumer("acme")]), json!([api]))
}

#[test]
fn a_key_is_found_in_each_place_that_the_api_names_and_in_no_other() {
    let header = json!([{"header": "X-Api-Key"}]);
    let scheme = json!([{"header": "authorization", "scheme": "Key"}]);
    let query = json!([{"query": "api_key"}]);
    let cookie = json!([{"cookie": "key"}]);
    let all = json!([{"header": "x-api-key"}, {"query": "api_key"}, {"cookie": "key"}]);
    let in_header = get("/a").with("x-api-key", "key-of-acme");
    let in_scheme = get("/a").with("authorization", "kEy key-of-acme");
    let in_query = get("/a?x=1&api_key=key%2Dof-acme");
    let in_cookie = get("/a").with("cookie", "a=b; key=key-of-acme");
    let in_second_cookie_line = get("/a").with("cookie", "a=b").with("cookie", "key=key-of-acme");
    for (places_named, ask, expected) in [
        (&header, &in_header, "ok"),
        (&header, &in_query, "12"),
        (&header, &in_cookie, "12"),
        (&scheme, &in_scheme, "ok"),
        (&scheme, &in_header, "12"),
        (&query, &in_query, "ok"),
        (&query, &in_header, "12"),
        (&cookie, &in_cookie, "ok"),
        (&cookie, &in_second_cookie_line, "ok"),
        (&cookie, &in_query, "12"),
        (&all, &in_header, "ok"),
        (&all, &in_query, "ok"),
        (&all, &in_cookie, "ok"),
    ] {
        assert_eq!(asked(&gate(&places(places_named.clone())), ask), expected, "{places_named} {ask:?}");
    }
}

#[test]
fn a_key_that_arrives_twice_is_refused_wherever_it_is() {
    let gate = gate(&places(json!([{"header": "x-api-key"}, {"query": "api_key"}, {"cookie": "key"}])));
    let key = "key-of-acme";
    for ask in [
        get("/a").with("x-api-key", key).with("x-api-key", key),
        get("/a").with("x-api-key", key).with("x-api-key", "other"),
        get("/a?api_key=key-of-acme&api_key=key-of-acme"),
        get("/a?api_key=key-of-acme&api%5fkey=other"),
        get("/a").with("cookie", "key=key-of-acme; key=key-of-acme"),
        get("/a").with("cookie", "key=key-of-acme").with("cookie", "key=other"),
        get("/a?api_key=key-of-acme").with("x-api-key", key),
        get("/a?api_key=key-of-acme").with("cookie", "key=key-of-acme"),
        get("/a").with("x-api-key", key).with("cookie", "key=other"),
    ] {
        assert_eq!(asked(&gate, &ask), "20", "{ask:?}");
    }
    let empty = get("/a?api_key=").with("x-api-key", key).with("cookie", "key=");
    assert_eq!(asked(&gate, &empty), "ok", "an empty value is not a key");
}

#[test]
fn two_keys_in_a_header_that_envoy_joins_are_one_unknown_key() {
    let mut document = places(json!([{"header": "authorization"}]));
    document["apis"][0]["credentials"]["token"] = json!([{"header": "x-token"}]);
    let line = |value: &str| get("/a").with("authorization", value);
    assert_eq!(asked(&gate(&document), &line("key-of-acme")), "ok");
    for ask in [line("key-of-acme").with("authorization", "other"), line("other, key-of-acme")] {
        assert_eq!(asked(&gate(&document), &ask), "13", "{ask:?}");
    }
}

#[test]
fn credentials_are_removed_or_left_as_the_api_says() {
    let all = json!([{"header": "x-api-key"}, {"query": "api_key"}, {"cookie": "key"}]);
    let in_header = get("/a?x=1").with("x-api-key", "key-of-acme");
    let in_query = get("/a?x=1&api_key=key-of-acme&y=%20").with("cookie", "a=b");
    let alone_in_query = get("/a?api_key=key-of-acme");
    let in_cookie = get("/a").with("cookie", "a=b; key=key-of-acme; c=d");
    let alone_in_cookie = get("/a").with("cookie", "key=key-of-acme");
    for (ask, name, removed) in [
        (&in_header, "x-api-key", None),
        (&in_header, ":path", Some("/a?x=1")),
        (&in_query, ":path", Some("/a?x=1&y=%20")),
        (&in_query, "cookie", Some("a=b")),
        (&alone_in_query, ":path", Some("/a")),
        (&in_cookie, "cookie", Some("a=b; c=d")),
        (&alone_in_cookie, "cookie", None),
    ] {
        let mut document = places(all.clone());
        let permitted = permit(begin(&gate(&document), ask));
        assert_eq!(sees(ask, &permitted, name).as_deref(), removed, "{name} of {ask:?}");

        document["apis"][0]["forward"] = json!({"remove_credentials": false});
        let permitted = permit(begin(&gate(&document), ask));
        let sent = ask.headers.iter().find(|(header, _)| header == name);
        let sent = sent.map(|(_, value)| String::from_utf8(value.clone()).unwrap());
        assert_eq!(sees(ask, &permitted, name), sent, "{name} of {ask:?}, left");
    }
}

#[test]
fn an_unused_token_is_removed_beside_a_key() {
    let ask = get("/a").key("key-of-acme").token("of-somebody").with("authorization-info", "x");
    let document = document(
        json!([consumer("acme")]),
        json!([{"name": "a", "access": ["api_key"], "rules": [{"path": "/**"}]}]),
    );
    let permitted = permit(begin(&gate(&document), &ask));
    assert_eq!(sees(&ask, &permitted, "authorization"), None);
    assert_eq!(sees(&ask, &permitted, "authorization-info").as_deref(), Some("x"));
}

#[test]
fn a_token_beside_another_credential_in_one_header_is_refused_and_never_forwarded() {
    let introspection = json!({"introspection": {"provider": "hydra"}});
    let api = json!({"name": "a", "access": [introspection, "api_key"], "rules": [
        {"path": "/**"}, {"path": "/open", "access": ["allow"]}, {"path": "/keyed", "access": ["api_key"]},
    ]});
    let gate = gate(&document(json!([consumer("acme")]), json!([api])));
    let both = |path: &str, first: &str, second: &str| {
        get(path).key("key-of-acme").with("authorization", first).with("authorization", second)
    };
    for (first, second) in [
        ("Basic eDp5", "Bearer bad"),
        ("Bearer bad", "Basic eDp5"),
        ("Bearer bad", "Bearer worse"),
        ("Digest username=\"a, Bearer bad\"", ""),
    ] {
        assert_eq!(asked(&gate, &both("/a", first, second)), "20", "{first}, {second}");
        for path in ["/open", "/keyed"] {
            let ask = both(path, first, second);
            let permitted = permit(begin(&gate, &ask));
            assert_eq!(sees(&ask, &permitted, "authorization"), None, "{path}: {first}, {second}");
        }
    }
    let basic = both("/a", "Basic eDp5", "");
    let permitted = permit(begin(&gate, &basic));
    assert_eq!(
        sees(&basic, &permitted, "authorization").as_deref(),
        Some("Basic eDp5"),
        "not one of our credentials"
    );
    assert_eq!(asked(&gate, &both("/a", "", "Bearer t")), "call", "an empty line is not a credential");
}

#[test]
fn a_key_is_accepted_up_to_the_millisecond_before_not_after() {
    let mut document = places(json!([{"header": "apikey"}]));
    document["consumers"][0]["keys"] = json!([
        {"sha256": sha256("bounded"), "not_after": "2026-11-20T12:00:00Z"},
        {"sha256": sha256("off"), "state": "inactive"},
        {"sha256": sha256("unbounded")},
    ]);
    let gate = gate(&document);
    let at = |key: &str, millis: u64| {
        asked(&gate, &Ask { at: Timestamp::from_millis(millis), ..get("/a").key(key) })
    };
    let end = NOW.millis();
    for (key, moment, expected) in [
        ("bounded", 0, "ok"),
        ("bounded", end - 1, "ok"),
        ("bounded", end, "13"),
        ("bounded", end + 1, "13"),
        ("unbounded", u64::MAX - 1, "ok"),
        ("off", end, "13"),
    ] {
        assert_eq!(at(key, moment), expected, "{key} at {moment}");
    }
}

#[test]
fn a_suspended_consumer_is_refused_with_every_key() {
    let mut document = places(json!([{"header": "apikey"}]));
    document["consumers"][0]["state"] = json!("suspended");
    assert_eq!(asked(&gate(&document), &get("/a").key("key-of-acme")), "13");
}
