//! What answers mean for a request, how the endpoint is called, and who pays.

use super::*;

#[tokio::test]
async fn a_real_servers_tokens_are_admitted_by_the_rules_that_they_satisfy() {
    let oidc = oidc().await;
    let url = oidc.introspection();
    let authenticated = |method: &str, id: &str, secret: Value| {
        introspection("idp", &url, &json!({"authentication": {method: {"id": id, "secret": secret}}}))
    };
    let providers = json!({
        "basic": authenticated("basic", "gateway", json!(GATEWAY_SECRET)),
        "env": authenticated("basic", "gateway", json!({"env": "GATEWAY_SECRET"})),
        "post": authenticated("post", "poster", json!("p0st-s3cret")),
        "wrong": authenticated("basic", "gateway", json!("wr0ng")),
    });
    let either = json!({"path": "/either", "access": [{"introspection": {"provider": "basic"}}, "api_key"]});
    let rules = [
        token_rule("/read", "basic", &json!({"scopes": ["orders.read"]})),
        token_rule("/write", "basic", &json!({"scopes": ["orders.read", "orders.write"]})),
        token_rule("/orders", "basic", &json!({"audience": {"all": ["orders"]}})),
        token_rule("/files", "basic", &json!({"audience": {"any": ["files"]}})),
        token_rule("/ours", "basic", &json!({"issuers": [oidc.issuer()]})),
        token_rule("/theirs", "basic", &json!({"issuers": ["https://idp"]})),
        token_rule("/env", "env", &json!({})),
        token_rule("/post", "post", &json!({})),
        token_rule("/wrong", "wrong", &json!({})),
        either,
    ];
    let mut policy = policy(&providers, &rules);
    policy["consumers"] = json!([{"name": "acme", "keys": [{"sha256": KEY_SHA256}]}]);
    policy["apis"][0]["credentials"] =
        json!({"token": [{"header": "authorization", "scheme": "Bearer"}, {"query": "access_token"}]});
    policy["apis"][0]["forward"] = json!({"headers": {"x-client": "{client_id}", "x-scope": "{scope}"}});

    policy["gate"]["filter_state"] = json!({"only": ["cache"]});
    let upstream = Upstream::echo("orders").await;
    let wasm = Wasm::sidegate(&policy).environment("GATEWAY_SECRET", GATEWAY_SECRET);
    let listener = Listener::new("main")
        .wasm(&wasm)
        .route(route("orders"))
        .access_log("%RESPONSE_CODE% %FILTER_STATE(wasm.sidegate.cache:PLAIN)%");
    let setup = Setup::new(listener).cluster("orders", upstream.address()).cluster("idp", oidc.address());
    let envoy = Envoy::start(setup).await;

    let plain = oidc.token("acme-web", "orders.read", None).await;
    let orders = oidc.token("acme-web", "orders.read orders.write", Some(Oidc::ORDERS)).await;
    let jwt = oidc.token("acme-web", "orders.read", Some(Oidc::ORDERS_JWT)).await;

    // What the upstream sees; the first answer comes from the server, the second from the cache.
    for _ in 0..2 {
        let request = Request::get("/read?a=b").bearer(&plain).header("x-client", "spoofed");
        let answer = envoy.send(request).await;
        assert_eq!(verdict(&answer), ADMITTED);
        assert_eq!(answer.received("x-client").as_deref(), Some("acme-web"));
        assert_eq!(answer.received("x-scope").as_deref(), Some("orders.read"));
        assert_eq!(answer.received("authorization"), None);
    }
    let nothing = envoy.send(Request::get("/read")).await;
    assert_eq!(envoy.access_log(3).await, ["200 miss", "200 hit", "401 -"]);
    assert_eq!((lookups(&envoy, "miss").await, lookups(&envoy, "hit").await), (1, 1));
    assert_eq!(calls(&envoy, "basic", "ok").await, 1);
    let histogram = "wasmcustom.sidegate.provider=.=basic;.;provider_call_milliseconds";
    let histograms = envoy.admin("/stats?filter=provider_call_milliseconds").await.text();
    assert!(histograms.contains(histogram), "{histograms}");

    assert_eq!(verdict(&nothing), (401, Some("21")));
    assert_eq!(challenges(&nothing), [r#"Bearer realm="api""#]);
    let nothing = envoy.send(Request::get("/either")).await;
    assert_eq!(verdict(&nothing), (401, Some("21")));
    assert_eq!(challenges(&nothing), [r#"Bearer realm="api""#, r#"ApiKey realm="api""#]);

    let longer = format!("{orders}x");
    let invalid = r#"Bearer realm="api", error="invalid_token""#;
    let scope = r#"Bearer realm="api", error="insufficient_scope", scope="orders.read orders.write""#;
    for (path, token, expected, challenge) in [
        ("/read", &*orders, ADMITTED, None),
        ("/write", &orders, ADMITTED, None),
        ("/orders", &orders, ADMITTED, None),
        ("/ours", &orders, ADMITTED, None),
        ("/env", &orders, ADMITTED, None),
        ("/post", &orders, ADMITTED, None),
        ("/either", &orders, ADMITTED, None),
        ("/read", "garbage", INVALID, Some(invalid)),
        ("/read", &longer, INVALID, Some(invalid)),
        ("/write", &plain, (403, Some("23")), Some(scope)),
        ("/orders", &plain, INVALID, Some(invalid)),
        ("/files", &orders, INVALID, Some(invalid)),
        ("/theirs", &orders, INVALID, Some(invalid)),
        // The server refuses us, which is not the caller's fault.
        ("/wrong", &orders, UNAVAILABLE, None),
        ("/wrong", "garbage", UNAVAILABLE, None),
        // The server answers 400: such tokens must be verified, not introspected. The answer is about the
        // token, and is cached.
        ("/read", &jwt, INVALID, Some(invalid)),
        ("/read", &jwt, INVALID, Some(invalid)),
    ] {
        let answer = envoy.send(Request::get(path).bearer(token)).await;
        assert_eq!(verdict(&answer), expected, "{path} {token}");
        assert_eq!(challenges(&answer), Vec::from_iter(challenge), "{path} {token}");
    }
    assert_eq!(calls(&envoy, "wrong", "refused_us").await, 2, "a refusal of our credentials is not cached");
    assert_eq!(calls(&envoy, "basic", "unreadable").await, 1);
    assert_eq!(calls(&envoy, "basic", "ok").await, 4, "one call for each token: the rules share its answer");

    // The first entry whose credential is present decides. A key does not make up for a bad token.
    for (request, expected) in [
        (Request::get("/either").header("apikey", KEY), ADMITTED),
        (Request::get("/either").header("apikey", "unknown"), (401, Some("13"))),
        (Request::get("/either").header("apikey", KEY).bearer("garbage"), INVALID),
        (Request::get("/either").header("apikey", "unknown").bearer(&orders), ADMITTED),
        (Request::get("/either").header("apikey", KEY).header("authorization", "Basic eA=="), ADMITTED),
    ] {
        assert_eq!(verdict(&envoy.send(request.clone()).await), expected, "{request:?}");
    }

    let answer = envoy.send(Request::get(format!("/read?a=b&access_token={orders}&c"))).await;
    assert_eq!(verdict(&answer), ADMITTED);
    assert_eq!(answer.json()["path"], "/read?a=b&c", "the token is taken out of the query");
    for request in [
        Request::get("/read").bearer(&orders).bearer(&orders),
        Request::get("/read").bearer("garbage").bearer(&orders),
        Request::get(format!("/read?access_token={orders}")).bearer(&orders),
        Request::get(format!("/read?access_token={orders}&access_token={orders}")),
        Request::get("/read").header("authorization", format!("Bearer {orders} {orders}")),
        Request::get("/read").header("authorization", "Bearer"),
        Request::get("/read").bearer(&"a".repeat(16 * 1024 + 1)),
    ] {
        let answer = envoy.send(request.clone()).await;
        assert_eq!(verdict(&answer), (400, Some("20")), "{request:?}");
        assert_eq!(challenges(&answer), [r#"Bearer realm="api", error="invalid_request""#], "{request:?}");
    }
}

#[tokio::test]
async fn the_endpoint_is_called_as_the_policy_says_and_its_whole_answer_is_read() {
    let server = StubProvider::start(active(&json!({}))).await;
    let asked_as = |authentication: Value| {
        introspection(
            "idp",
            "http://idp.example.com/introspect?x=1",
            &json!({"authentication": authentication}),
        )
    };
    let providers = json!({
        "basic": asked_as(json!({"basic": {"id": "a:b", "secret": "c d"}})),
        "post": asked_as(json!({"post": {"id": "a:b", "secret": "c d"}})),
        "bearer": asked_as(json!({"bearer": {"token": "0ur-t0ken"}})),
        "none": asked_as(json!("none")),
    });
    let rules =
        ["basic", "post", "bearer", "none"].map(|name| token_rule(&format!("/{name}"), name, &json!({})));
    let (envoy, _upstream) = start(&policy(&providers, &rules), &[("idp", server.address())], 1).await;

    let form = "token=a%2Bb%3D&token_type_hint=access_token";
    for (place, (provider, authorization, body)) in [
        ("basic", Some("Basic YSUzQWI6Yytk"), form.to_owned()),
        ("post", None, format!("{form}&client_id=a%3Ab&client_secret=c+d")),
        ("bearer", Some("Bearer 0ur-t0ken"), form.to_owned()),
        ("none", None, form.to_owned()),
    ]
    .into_iter()
    .enumerate()
    {
        let answer = envoy.send(Request::get(format!("/{provider}")).bearer("a+b=")).await;
        assert_eq!(verdict(&answer), ADMITTED, "{provider}");
        let calls = server.calls();
        assert_eq!(calls.len(), place + 1, "each provider has its own answers");
        let call = &calls[place];
        assert_eq!((call.method.as_str(), call.path.as_str()), ("POST", "/introspect?x=1"));
        assert_eq!((call.authorization.as_deref(), &call.body), (authorization, &body), "{provider}");
    }

    // Active tokens that do not satisfy the rule.
    let later = in_seconds(3600.0);
    for (number, members) in [
        json!({"token_use": "refresh_token"}),
        json!({"token_type": "DPoP"}),
        json!({"cnf": {"jkt": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"}}),
        json!({"nbf": later}),
        json!({"iat": later}),
        json!({"exp": 1}),
    ]
    .into_iter()
    .enumerate()
    {
        server.now(active(&members));
        let answer = envoy.send(Request::get("/none").bearer(&format!("t{number}"))).await;
        assert_eq!(verdict(&answer), INVALID, "{members}");
    }
}

#[tokio::test]
async fn tokens_pay_for_their_consumer_client_or_subject_and_need_a_binding() {
    let oidc = oidc().await;
    let server = StubProvider::start(inactive()).await;
    let hits = |max: u64, of: &str| json!([{"metric": "hits", "max": max, "per": "eternity", "of": of}]);
    let api = |name: &str, more: Value| {
        let rules = [token_rule("/**", if name == "subjects" { "stub" } else { "oidc" }, &json!({}))];
        with(json!({"name": name, "base_path": format!("/{name}"), "rules": rules}), &more)
    };
    let policy = json!({
        "sidegate": "v1",
        "providers": {
            "oidc": introspection("idp", &oidc.introspection(), &gateway()),
            "stub": introspection("stub", "http://stub/", &json!({})),
        },
        "plans": {"small": {"limits": hits(2, "consumer")}},
        "consumers": [
            {"name": "acme", "plan": "small", "clients": ["acme-web"]},
            {"name": "invoices", "clients": ["billing"]},
            {"name": "late", "clients": ["brief"], "state": "suspended"},
        ],
        "apis": [
            api("planned", json!({"forward": {"headers": {"x-consumer": "{consumer}", "x-plan": "{plan}"}}})),
            api("bound", json!({"bindings": [{"consumer": "invoices", "allow": {"methods": ["GET"]}}]})),
            api("clients", json!({"limits": hits(1, "client")})),
            api("subjects", json!({"limits": hits(1, "subject")})),
        ],
    });
    let (envoy, upstream) = start(&policy, &[("idp", oidc.address()), ("stub", server.address())], 2).await;
    let acme = oidc.token("acme-web", "", None).await;
    let other_acme = oidc.token("acme-web", "", None).await;
    let invoices = oidc.token("billing", "", None).await;
    let strange = oidc.token("stranger", "", None).await;
    let other_invoices = oidc.token("billing", "", None).await;

    let answer = envoy.send(Request::get("/planned/x").bearer(&acme)).await;
    assert_eq!(answer.received("x-consumer").as_deref(), Some("acme"));
    assert_eq!(answer.received("x-plan").as_deref(), Some("small"));
    let limited = (429, Some("14"));
    let forbidden = (403, Some("27"));
    for (method, path, token, expected) in [
        ("GET", "/bound/x", &acme, forbidden),
        ("GET", "/planned/x", &other_acme, ADMITTED),
        ("GET", "/planned/x", &acme, limited),
        ("GET", "/planned/x", &other_acme, limited),
        ("GET", "/planned/x", &invoices, ADMITTED),
        ("GET", "/bound/x", &invoices, ADMITTED),
        ("POST", "/bound/x", &invoices, forbidden),
        ("GET", "/planned/x", &strange, ADMITTED),
        ("GET", "/bound/x", &strange, forbidden),
        ("GET", "/clients/x", &invoices, ADMITTED),
        ("GET", "/clients/x", &other_invoices, limited),
    ] {
        let answer = envoy.send(Request::new(method, path).bearer(token)).await;
        assert_eq!(verdict(&answer), expected, "{method} {path}");
    }
    let late = oidc.token("brief", "", None).await;
    assert_eq!(verdict(&envoy.send(Request::get("/planned/x").bearer(&late)).await), forbidden);
    assert_eq!(upstream.requests(), 6);

    // Client credentials have no subject: this needs the stub.
    for (token, subject, expected) in
        [("a1", "alice", ADMITTED), ("a2", "alice", limited), ("b1", "bob", ADMITTED), ("b2", "bob", limited)]
    {
        server.now(active(&json!({"client_id": "portal", "sub": subject})));
        let answer = envoy.send(Request::get("/subjects/x").bearer(token)).await;
        assert_eq!(verdict(&answer), expected, "{token}");
    }
}

fn challenges(answer: &Response) -> Vec<&str> {
    let lines = answer.headers.iter().filter(|(name, _)| name == "www-authenticate");
    lines.map(|(_, value)| value.as_str()).collect()
}
