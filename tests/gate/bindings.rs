//! Bindings, and the path tricks that must not widen them.

use serde_json::{Value, json};

use super::{
    asked, begin, gate, permit, sees,
    support::{answer, ask, consumer, document, get},
    through, verdict,
};

fn bound(binding: Value) -> Value {
    let mut binding = binding;
    binding["consumer"] = json!("acme");
    let introspection = json!({"introspection": {"provider": "hydra"}});
    let api = json!({
        "name": "orders", "hosts": ["api.example.com"], "base_path": "/v1",
        "access": ["api_key", introspection], "bindings": [binding],
        "rules": [{"path": "/**"}, {"path": "/open/**", "access": ["allow"]}],
    });
    document(json!([consumer("acme"), consumer("globex")]), json!([api]))
}

#[test]
fn without_bindings_every_consumer_and_every_active_token_is_admitted() {
    let mut document = bound(json!({}));
    document["apis"][0].as_object_mut().unwrap().remove("bindings");
    let gate = gate(&document);
    for key in ["key-of-acme", "key-of-globex"] {
        assert_eq!(asked(&gate, &get("/v1/x").key(key)), "ok", "{key}");
    }
    let stranger = answer(&json!({"active": true, "client_id": "stranger"}));
    assert_eq!(verdict(&through(&gate, &get("/v1/x").token("t"), &stranger)), "ok");
}

#[test]
fn a_binding_grants_what_it_names_and_nothing_else() {
    let all = json!({"allow": "all"});
    let nothing = json!({});
    let reads = json!({"allow": {"methods": ["GET"]}});
    let paths = json!({"allow": {"methods": ["GET"]}, "paths": [
        {"path": "/orders/secret", "allow": "none"},
        {"path": "/orders/**", "allow": "all"},
        {"regex": "/files/[0-9]+", "allow": {"methods": ["PUT"]}},
        {"regex": "^/notes/[0-9]+$", "allow": "none"},
    ]});
    for (binding, method, path, expected) in [
        (&all, "DELETE", "/v1/x", "ok"),
        (&nothing, "GET", "/v1/x", "13"),
        (&reads, "GET", "/v1/x", "ok"),
        (&reads, "HEAD", "/v1/x", "ok"),
        (&reads, "POST", "/v1/x", "13"),
        (&reads, "get", "/v1/x", "13"),
        (&paths, "GET", "/v1/x", "ok"),
        (&paths, "PUT", "/v1/x", "13"),
        (&paths, "PUT", "/v1/orders/1", "ok"),
        (&paths, "GET", "/v1/orders/secret", "13"),
        (&paths, "GET", "/v1/orders/secret/", "13"),
        (&paths, "PUT", "/v1/files/12", "ok"),
        (&paths, "GET", "/v1/files/12", "13"),
        (&paths, "PUT", "/v1/files/x", "13"),
        (&paths, "GET", "/v1/notes/7", "13"),
        (&paths, "GET", "/v1/notes/7/", "13"),
        (&paths, "GET", "/v1/notes/x", "ok"),
        (&nothing, "GET", "/v1/open/x", "ok"),
    ] {
        let gate = gate(&bound(binding.clone()));
        assert_eq!(
            asked(&gate, &ask(method, path).key("key-of-acme")),
            expected,
            "{binding} {method} {path}"
        );
        let other = if path.starts_with("/v1/open") { "ok" } else { "13" };
        assert_eq!(
            asked(&gate, &ask(method, path).key("key-of-globex")),
            other,
            "an unbound consumer gets nothing"
        );
    }
}

#[test]
fn a_binding_applies_to_its_consumer_whatever_the_credential() {
    let gate = gate(&bound(json!({"allow": {"methods": ["GET"]}})));
    for (client, method, expected) in [
        ("acme-web", "GET", "ok"),
        ("acme-web", "PUT", "27"),
        ("globex-web", "GET", "27"),
        ("stranger", "GET", "27"),
    ] {
        let reply = answer(&json!({"active": true, "client_id": client}));
        let step = through(
            &gate,
            &ask(method, "/v1/x").token(&format!("{client} {method}").replace(' ', "-")),
            &reply,
        );
        assert_eq!(verdict(&step), expected, "{client} {method}");
    }
    let nobody = answer(&json!({"active": true, "sub": "alice"}));
    assert_eq!(verdict(&through(&gate, &get("/v1/x").token("nobody"), &nobody)), "27");
}

/// Paths that some server or other reads as `/v1/admin/x`, or that look as if they were not below it.
#[test]
fn no_path_trick_widens_what_a_binding_grants() {
    let gate = gate(&bound(json!({"allow": "all", "paths": [{"path": "/admin/**", "allow": "none"}]})));
    for path in [
        "/v1/admin",
        "/v1/admin/",
        "/v1/admin/x",
        "/v1//admin/x",
        "//v1/admin/x",
        "/v1/./admin/x",
        "/v1/admin/./x",
        "/v1/public/../admin/x",
        "/v1/public/%2e%2e/admin/x",
        "/v1/public/%2E./admin/x",
        "/v1/%61dmin/x",
        "/v1/%61%64min",
        "/v1/public//..//admin/x",
        "/x/../v1/admin/x",
        "/v1/admin/x?/../public",
        "/v1/open/../admin/x",
        "/v1/open/%2e%2e/admin",
    ] {
        assert_eq!(asked(&gate, &get(path).key("key-of-acme")), "13", "{path}");
    }
    for path in [
        "/v1/public/..%2Fadmin/x",
        "/v1/public%2f..%2fadmin",
        "/v1/admin%2Fx",
        "/v1/public\\..\\admin",
        "/v1/%5cadmin",
        "/v1/public/..;/admin/x",
        "/v1/admin%00",
        "/v1/admin#/public",
        "/v1/admin/%zz",
        "/v1/../../v1/admin",
        "/v1/\u{1}admin",
    ] {
        assert_eq!(asked(&gate, &get(path).key("key-of-acme")), "20", "{path}");
    }
    for path in ["/V1/admin/x", "/v1admin/x", "/v1%20/admin"] {
        assert_eq!(asked(&gate, &get(path).key("key-of-acme")), "00", "{path}");
    }
    for path in ["/v1/ADMIN/x", "/v1/administrator", "/v1/admin/../public"] {
        let ask = get(path).key("key-of-acme");
        let permitted = permit(begin(&gate, &ask));
        let sent = sees(&ask, &permitted, ":path").unwrap();
        assert!(!sent.starts_with("/v1/admin/"), "{path} goes to the service as {sent}");
    }
}

#[test]
fn no_spelling_of_the_host_leaves_the_api() {
    let mut document = bound(json!({"allow": "none"}));
    document["gate"]["unmatched"] = json!("pass");
    let gate = gate(&document);
    let at_host = |host: &str| {
        let mut ask = get("/v1/x").key("key-of-acme");
        ask.headers.retain(|(name, _)| name != ":authority");
        asked(&gate, &ask.with(":authority", host))
    };
    for host in [
        "api.example.com",
        "API.Example.COM",
        "api.example.com:8443",
        "api.example.com.",
        "API.example.com.:443",
    ] {
        assert_eq!(at_host(host), "13", "{host}");
    }
    assert_eq!(at_host("api.example.org"), "ok", "another host is not the API's");
}

#[test]
fn the_service_receives_the_path_that_was_decided_on() {
    let gate = gate(&bound(json!({"allow": "all"})));
    for (path, expected) in [
        ("/v1/a//b/./c/../d?x=//", "/v1/a/b/d?x=//"),
        ("/v1/%7Euser/%c3%a4", "/v1/~user/%C3%A4"),
        ("/v1/plain/", "/v1/plain/"),
    ] {
        let ask = get(path).key("key-of-acme");
        assert_eq!(sees(&ask, &permit(begin(&gate, &ask)), ":path").as_deref(), Some(expected));
    }
}
