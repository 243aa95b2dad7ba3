//! Who may pass, and what the service learns about them: keys, bindings, identity headers.

use serde_json::json;
use sidegate_harness::{Envoy, Listener, Request, Setup, Upstream, Wasm, route, route_by_header};

use super::{Gate, get, header_lines, orders, sha256};

#[tokio::test]
async fn keys_are_accepted_in_header_query_and_cookie_and_never_reach_the_service() {
    let gate = Gate::start(&orders()).await;
    gate.admitted(get("/v1/health")).await;

    for (request, path, cookie) in [
        (get("/v1/orders/7").header("apikey", "acme-key"), "/v1/orders/7", None),
        (get("/v1/orders/7").header("APIKey", "acme-key-of-today"), "/v1/orders/7", None),
        (get("/v1/orders/7?api_key=acme-key"), "/v1/orders/7", None),
        (get("/v1/orders/7?a=%7e&api_key=acme%2dkey&b=1"), "/v1/orders/7?a=%7e&b=1", None),
        (get("/v1/orders/7?api%5Fkey=acme-key&&c"), "/v1/orders/7?&c", None),
        (get("/v1/orders/7").header("cookie", "key=acme-key"), "/v1/orders/7", None),
        (
            get("/v1/orders/7").header("cookie", "a=1; key=acme-key; b=\"2\""),
            "/v1/orders/7",
            Some("a=1; b=\"2\""),
        ),
        (
            get("/v1/orders/7").header("cookie", "a=1").header("cookie", "key=acme-key"),
            "/v1/orders/7",
            Some("a=1"),
        ),
    ] {
        let shown = format!("{request:?}");
        let answer = gate.admitted(request).await;
        assert_eq!(answer.json()["path"], path, "{shown}");
        assert_eq!(answer.received("cookie").as_deref(), cookie, "{shown}");
        assert_eq!(answer.received("x-consumer").as_deref(), Some("acme"), "{shown}");
        assert!(
            !answer.text().contains("acme-key") && !answer.text().contains("acme%2d"),
            "{}",
            answer.text()
        );
    }

    // The same for requests that need no key.
    let nobody = gate.admitted(get("/v1/health?api_key=x").header("apikey", "acme-key")).await;
    assert_eq!((nobody.received("apikey"), nobody.json()["path"].as_str()), (None, Some("/v1/health")));
}

/// The tests without Envoy join header lines in the same way.
#[tokio::test]
async fn envoy_joins_the_lines_of_the_listed_headers() {
    let gate = Gate::start(&json!({"sidegate": "v1", "apis": [
        {"name": "open", "rules": [{"path": "/**", "access": ["allow"]}]},
    ]}))
    .await;
    let separate = ["cookie", "proxy-authorization", "x-api-key", "x-forwarded-client", "x-token"];
    for name in header_lines::JOINED.into_iter().chain(separate) {
        for lines in [["a", "b"], ["", "b"], ["a", ""]] {
            let mut expected = Vec::new();
            let mut request = get("/v1/health");
            for line in lines {
                header_lines::add(&mut expected, name, line.as_bytes());
                request = request.header(name, line);
            }
            let answer = gate.admitted(request).await;
            let received = answer.json()["headers"].as_array().unwrap().clone();
            let values: Vec<_> =
                received.iter().filter(|line| line[0] == name).map(|line| line[1].clone()).collect();
            let expected: Vec<_> =
                expected.into_iter().map(|(_, value)| json!(String::from_utf8(value).unwrap())).collect();
            assert_eq!(values, expected, "{name} {lines:?}");
        }
    }
}

#[tokio::test]
async fn a_token_in_one_header_with_another_credential_is_refused_and_never_forwarded() {
    let gate = Gate::start(&json!({
        "sidegate": "v1",
        "providers": {"hydra": {"introspection": {"cluster": "orders", "url": "http://hydra/introspect"}}},
        "consumers": [{"name": "acme", "keys": [{"sha256": sha256("acme-key")}]}],
        "apis": [{"name": "orders", "access": [{"introspection": {"provider": "hydra"}}, "api_key"], "rules": [
            {"path": "/**"}, {"path": "/open", "access": ["allow"]}, {"path": "/keyed", "access": ["api_key"]},
        ]}],
    }))
    .await;
    let both = |path, first, second| {
        get(path).header("apikey", "acme-key").header("authorization", first).header("Authorization", second)
    };
    for (first, second) in [
        ("Basic eDp5", "Bearer bad"),
        ("Bearer bad", "Basic eDp5"),
        ("Bearer bad", "Bearer worse"),
        ("Digest username=\"a, Bearer bad\"", ""),
    ] {
        gate.refused("20", both("/a", first, second)).await;
        for path in ["/open", "/keyed"] {
            let answer = gate.admitted(both(path, first, second)).await;
            assert_eq!(answer.received("authorization"), None, "{path}: {first}, {second}");
        }
    }
    let other = gate.admitted(both("/a", "Basic eDp5", "")).await;
    assert_eq!(other.received("authorization").as_deref(), Some("Basic eDp5"), "not one of our credentials");
}

#[tokio::test]
async fn a_key_admits_only_what_its_state_and_its_binding_allow() {
    let gate = Gate::start(&orders()).await;
    let order = || get("/v1/orders/7");
    let with = |method: &str, path: &str, key: &str| {
        Request::new(method, path).host("orders.example.com").header("apikey", key)
    };
    for key in ["unknown", "acme-old-key", "acme-off-key", "late-key", "stranger-key", " acme-key,acme-key"] {
        gate.refused("13", order().header("apikey", key)).await;
    }
    for nothing in [
        order(),
        order().header("apikey", ""),
        get("/v1/orders/7?api_key="),
        order().header("cookie", "key="),
    ] {
        gate.refused("12", nothing).await;
    }
    for twice in [
        order().header("apikey", "acme-key").header("apikey", "acme-key"),
        order().header("apikey", "acme-key").header("apikey", "unknown"),
        order().header("apikey", "unknown").header("Apikey", "acme-key"),
        get("/v1/orders/7?api_key=acme-key&api_key=unknown"),
        get("/v1/orders/7?api_key=acme-key").header("apikey", "acme-key"),
        order().header("apikey", "acme-key").header("cookie", "key=acme-key"),
        order().header("cookie", "key=acme-key; key=unknown"),
        get("/v1/orders/7?api_key=%zz"),
        get("/v1/orders/7?api_key=%ff"),
        order().header("apikey", b"acme-key\xff"),
        order().header("apikey", "k".repeat(16 * 1024 + 1)),
    ] {
        gate.refused("20", twice).await;
    }
    for (method, path, code) in [
        ("GET", "/v1/orders/7", None),
        ("DELETE", "/v1/orders/7", None),
        ("HEAD", "/v1/reports", None),
        ("GET", "/v1/reports", None),
        ("PUT", "/v1/reports", Some("13")),
        ("GET", "/v1/admin", Some("13")),
        ("GET", "/v1/admin/x", Some("13")),
    ] {
        match code {
            None => gate.admitted(with(method, path, "acme-key")).await,
            Some(code) => gate.refused(code, with(method, path, "acme-key")).await,
        };
    }
}

#[tokio::test]
async fn the_service_learns_who_calls_and_callers_cannot_forge_it() {
    let staging = Upstream::echo("staging").await;
    let gate_service = Upstream::echo("orders").await;
    let mut policy = orders();
    policy["gate"]["unmatched"] = json!("pass");
    let listener = Listener::new("main")
        .wasm(&Wasm::sidegate(&policy))
        .route(route_by_header("x-environment", "staging", "staging"))
        .route(route("orders"));
    let setup =
        Setup::new(listener).cluster("orders", gate_service.address()).cluster("staging", staging.address());
    let gate = Gate { envoy: Envoy::start(setup).await, service: gate_service };
    let spoofing = |request: Request| {
        request
            .header("x-consumer", "root")
            .header("X-Consumer", "admin")
            .header("X-PLAN", "unlimited")
            .header("x-environment", "staging")
            .header("x-where", "elsewhere")
            .header("x-sidegate-consumer", "root")
            .header("X-Sidegate-Anything", "root")
            .header("x-harmless", "stays")
    };

    let acme = gate.admitted(spoofing(get("/v1/orders/7").header("apikey", "acme-key"))).await;
    for (name, value) in [
        ("x-consumer", Some("acme")),
        ("x-plan", Some("business")),
        ("x-environment", Some("production")),
        ("x-where", Some("orders:/orders/{id}")),
        ("x-sidegate-consumer", None),
        ("x-sidegate-anything", None),
        ("x-harmless", Some("stays")),
    ] {
        assert_eq!(acme.received(name).as_deref(), value, "{name}");
    }

    // The same for a rule without credentials and for unmatched requests. Otherwise callers could choose
    // their route.
    for (target, place) in [("/v1/health", Some("orders:/health")), ("/elsewhere", None)] {
        let nobody = gate.admitted(spoofing(get(target))).await;
        for name in ["x-consumer", "x-plan", "x-environment", "x-sidegate-consumer", "x-sidegate-anything"] {
            assert_eq!(nobody.received(name), None, "{target} {name}");
        }
        assert_eq!(nobody.received("x-where").as_deref(), place, "{target}");
        assert_eq!(nobody.received("x-harmless").as_deref(), Some("stays"), "{target}");
    }
    assert_eq!(staging.requests(), 0);

    let tryout = gate.envoy.send(get("/v1/orders/7").header("apikey", "tryout-key")).await;
    assert_eq!(tryout.json()["name"], "staging", "the plan's environment selects the route");
    assert_eq!(tryout.received("x-environment").as_deref(), Some("staging"));
    assert_eq!(staging.requests(), 1);
}
