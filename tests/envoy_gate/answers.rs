//! What callers and operators see: refusals, shadow mode, metrics and logs. Strange requests do not harm
//! them.

use serde_json::json;
use sidegate_harness::{Request, eventually};

use super::{Gate, get, orders};

#[tokio::test]
async fn every_refusal_is_kanalis_envelope_with_code_challenge_and_correlation_id() {
    let gate = Gate::start(&orders()).await;
    gate.admitted(get("/v1/orders/7").header("apikey", "tryout-key")).await;
    let post = Request::new("POST", "/v1/orders/7").host("orders.example.com").header("apikey", "tryout-key");
    let refusals = [
        (get("/nowhere"), "00", 404, 5, "No ApiProxy resource was not found that matches the request."),
        (get("/v1/orders/7"), "12", 403, 16, "My lips are sealed."),
        (get("/v1/orders/7").header("apikey", "unknown"), "13", 401, 16, "Api key is not authorized."),
        (
            get("/v1/orders/7").header("apikey", "tryout-key"),
            "14",
            429,
            8,
            "The Api key you are using has exceeded its rate limit.",
        ),
        (get("/v1/%zz"), "20", 400, 3, "The request is malformed."),
        (
            Request::new("PUT", "/v1/health").host("orders.example.com"),
            "26",
            405,
            12,
            "The method is not allowed.",
        ),
        (get("/v1/closed/x"), "27", 403, 7, "Access is not allowed."),
        (post, "27", 403, 7, "Access is not allowed."),
    ];
    for (request, code, status, grpc_status, message) in refusals {
        let answer = gate.refused(code, request.clone()).await;
        assert_eq!(answer.status, status);
        assert_eq!(
            answer.text(),
            format!(
                r#"{{"status":{status},"message":"{message}","code":{},"details":"Visit https://docs.example.com/errors#{code} for more details."}}"#,
                code.parse::<u8>().unwrap()
            )
        );
        assert_eq!(answer.header("content-type"), Some("application/json"));
        let may_be_cached = [404, 405].contains(&status);
        assert_eq!(answer.header("cache-control"), may_be_cached.then_some("no-store"), "{code}");
        assert_eq!(
            answer.header("www-authenticate"),
            (status == 401).then_some("ApiKey realm=\"orders\""),
            "{code}"
        );

        let id = answer.header("x-sidegate-correlation").expect("a correlation id").to_owned();
        let line = eventually(&format!("a log line with {id}"), async || {
            gate.envoy.log().lines().find(|line| line.contains(&format!("id={id} "))).map(str::to_owned)
        })
        .await;
        assert!(line.contains(&format!("refused code={code} ")), "{line}");
        assert!(line.contains("[info]") && line.contains("reason=\""), "{line}");

        let answer = gate.refused(code, request.header("content-type", "application/grpc")).await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("content-type"), Some("application/grpc"));
        assert_eq!(answer.header("grpc-status"), Some(grpc_status.to_string().as_str()), "{code}");
        assert_eq!(answer.header("grpc-message"), Some(message), "{code}");
        assert!(answer.header("x-sidegate-correlation").is_some() && answer.body.is_empty(), "{answer:?}");
    }

    let own = gate.refused("00", get("/nowhere").header("x-request-id", "ticket-7")).await;
    assert_eq!(own.header("x-sidegate-correlation"), Some("ticket-7"));
    let forged =
        gate.refused("00", get("/nowhere").header("x-request-id", "a\" id=other refused code=99")).await;
    assert!(!forged.header("x-sidegate-correlation").unwrap().contains('"'), "{forged:?}");
    assert!(!gate.envoy.log().contains("code=99"));
}

#[tokio::test]
async fn an_api_in_shadow_mode_refuses_nothing_and_counts_what_it_would_refuse() {
    let mut policy = orders();
    policy["apis"][0]["shadow"] = json!(true);
    let gate = Gate::with(&policy, |listener| {
        listener.access_log("%RESPONSE_CODE% %FILTER_STATE(wasm.sidegate.code:PLAIN)%")
    })
    .await;
    let with = |key: &str| get("/v1/orders/7").header("apikey", key);
    let mut sent = 0;
    for (request, times) in [
        (with("acme-key"), 2),
        (with("tryout-key"), 3),
        (with("unknown"), 1),
        (get("/v1/orders/7"), 1),
        (get("/v1/closed/x"), 1),
        (with("acme-key").header("apikey", "again"), 1),
        (Request::new("PUT", "/v1/health").host("orders.example.com"), 1),
    ] {
        for _ in 0..times {
            let answer = gate.admitted(request.clone().header("x-consumer", "root")).await;
            assert_ne!(answer.received("x-consumer").as_deref(), Some("root"));
            assert_eq!(answer.received("apikey"), None);
            sent += 1;
        }
    }
    gate.refused("00", get("/nowhere")).await;
    gate.refused("20", get("/v1/%zz")).await;

    let stats = gate.envoy.stats().await;
    let counted = |outcome: &str, code: &str| {
        let name =
            format!("wasmcustom.sidegate.api=.=orders;.;outcome=.={outcome};.;code=.={code};.;decisions");
        stats.get(&name).copied().unwrap_or_default()
    };
    assert_eq!(counted("admitted", "none"), 3);
    for (code, times) in [("14", 2), ("13", 1), ("12", 1), ("27", 1), ("20", 1), ("26", 1)] {
        assert_eq!((counted("shadowed", code), counted("refused", code)), (times, 0), "{code}");
    }
    assert_eq!(gate.service.requests(), sent);
    let log = gate.envoy.log();
    for code in ["14", "13", "12", "27", "20", "26"] {
        assert!(log.contains(&format!("would refuse code={code} api=orders")), "{code}");
    }
    let access = gate.envoy.access_log(12).await;
    assert_eq!(access.iter().filter(|line| *line == "200 14").count(), 2, "{access:?}");
    assert_eq!(access.iter().filter(|line| *line == "200 -").count(), 3, "{access:?}");
}

#[tokio::test]
async fn what_operators_see_has_stable_names_and_no_secrets() {
    let format = "%RESPONSE_CODE% %FILTER_STATE(wasm.sidegate.api:PLAIN)% %FILTER_STATE(wasm.sidegate.rule:PLAIN)% \
        %FILTER_STATE(wasm.sidegate.consumer:PLAIN)% %FILTER_STATE(wasm.sidegate.plan:PLAIN)% \
        %RESPONSE_CODE_DETAILS% %RESP(X-SIDEGATE-CODE)% %FILTER_STATE(wasm.sidegate.code:PLAIN)%";
    let gate = Gate::with(&orders(), |listener| listener.access_log(format)).await;
    for _ in 0..2 {
        gate.admitted(get("/v1/orders/7").header("apikey", "acme-key")).await;
    }
    gate.admitted(get("/v1/health")).await;
    gate.admitted(get("/v1/orders/7?api_key=tryout-key")).await;
    gate.refused("14", get("/v1/orders/7").header("cookie", "key=tryout-key")).await;
    gate.refused("13", get("/v1/orders/7").header("apikey", "unknown-key")).await;
    gate.refused("13", get("/v1/admin/x").header("apikey", "acme-key")).await;
    gate.refused("20", get("/v1/orders/7?api_key=acme-key").header("apikey", "acme-old-key")).await;
    gate.refused("12", get("/v1/orders/7")).await;
    gate.refused("00", get("/nowhere?api_key=acme-key")).await;

    assert_eq!(
        gate.envoy.access_log(10).await,
        [
            "200 orders /orders/{id} acme business via_upstream - -",
            "200 orders /orders/{id} acme business via_upstream - -",
            "200 orders /health - - via_upstream - -",
            "200 orders /orders/{id} tryout trial via_upstream - -",
            "429 orders /orders/{id} tryout trial sidegate_14 14 -",
            "401 orders /orders/{id} - - sidegate_13 13 -",
            "401 orders /admin/** acme - sidegate_13 13 -",
            "400 orders /orders/{id} - - sidegate_20 20 -",
            "403 orders /orders/{id} - - sidegate_12 12 -",
            "404 - - - - sidegate_00 00 -",
        ]
    );
    let stats = gate.envoy.stats().await;
    let ours: Vec<_> = stats
        .iter()
        .filter(|(name, _)| name.starts_with("wasmcustom.") && !name.ends_with(";.;policy"))
        .map(|(name, value)| (name.trim_start_matches("wasmcustom.sidegate."), *value))
        .collect();
    assert_eq!(
        ours,
        [
            ("api=.=none;.;outcome=.=refused;.;code=.=00;.;decisions", 1),
            ("api=.=orders;.;outcome=.=admitted;.;code=.=none;.;decisions", 4),
            ("api=.=orders;.;outcome=.=refused;.;code=.=12;.;decisions", 1),
            ("api=.=orders;.;outcome=.=refused;.;code=.=13;.;decisions", 2),
            ("api=.=orders;.;outcome=.=refused;.;code=.=14;.;decisions", 1),
            ("api=.=orders;.;outcome=.=refused;.;code=.=20;.;decisions", 1),
            ("api=.=orders;.;quota_alerts", 1),
            ("api=.=orders;.;quota_refusals", 1),
            ("result=.=accepted;.;policy_loads", 1),
        ]
    );
    // Only the holder of the debug secret sees how a request was decided.
    let order = || get("/v1/orders/7").header("apikey", "acme-key");
    let explained = gate.admitted(order().header("x-sidegate-debug", "show-me")).await;
    for (name, value) in [
        ("x-sidegate-api", "orders"),
        ("x-sidegate-rule", "/orders/{id}"),
        ("x-sidegate-consumer", "acme"),
        ("x-sidegate-plan", "business"),
        ("x-sidegate-usage", "hits=1"),
        ("x-sidegate-revision", "orders-1"),
    ] {
        assert_eq!(explained.header(name), Some(value), "{name}");
    }
    assert_eq!(explained.received("x-sidegate-debug"), None);
    for curious in
        [order(), order().header("x-sidegate-debug", ""), order().header("x-sidegate-debug", "show")]
    {
        let answer = gate.admitted(curious).await;
        assert!(answer.headers.iter().all(|(name, _)| !name.starts_with("x-sidegate-")), "{answer:?}");
    }

    let all = format!("{stats:?}{}{:?}", gate.envoy.log(), gate.envoy.access_log(10).await);
    for secret in ["acme-key", "acme-old-key", "tryout-key", "unknown-key", "show-me"] {
        assert!(!all.contains(secret), "{secret} is shown");
    }
}

#[tokio::test]
async fn large_and_strange_requests_harm_nothing() {
    let gate = Gate::start(&orders()).await;
    let vms = async || {
        let stats = gate.envoy.stats().await;
        let of_vms =
            stats.into_iter().filter(|(name, _)| name.contains("wasm.") && !name.starts_with("wasmcustom."));
        of_vms.collect::<Vec<_>>()
    };
    gate.admitted(get("/v1/health")).await;
    let before = vms().await;
    assert!(before.iter().any(|(name, value)| name.ends_with(".created") && *value > 0), "{before:?}");

    let long = "x".repeat(8 * 1024);
    let many = |request: Request, value: &[u8]| {
        (0..90).fold(request, |request, place| request.header(&format!("x-h-{place}"), value))
    };
    let every_byte: Vec<u8> = (0x20..=0xff).filter(|byte| *byte != 0x7f).collect();
    gate.admitted(many(get("/v1/health"), b"v")).await;
    gate.admitted(many(get("/v1/health"), &every_byte)).await;
    gate.admitted(many(get("/v1/orders/7").header("apikey", "acme-key"), &[b'v'; 500])).await;
    gate.refused("20", get(&format!("/v1/public/{long}"))).await;
    gate.refused("20", get(&format!("/v1/public/{}", "a/".repeat(4 * 1024)))).await;
    gate.admitted(get(&format!("/v1/public/{}", "x".repeat(8_000)))).await;
    gate.admitted(get(&format!("/v1/public/{}", "a/".repeat(4_000)))).await;
    let climbing = get(&format!("/v1/public/{}b", "a/../".repeat(1600)));
    assert_eq!(gate.admitted(climbing).await.json()["path"], "/v1/public/b");
    gate.admitted(get(&format!("/v1/public?{}", "a=b&".repeat(900)))).await;
    gate.refused("20", get(&format!("/v1/public?{}", "a=b&".repeat(2 * 1024)))).await;
    gate.admitted(get(&format!("/v1/public?a={long}"))).await;
    gate.refused("13", get("/v1/orders/7").header("apikey", &long)).await;
    gate.refused("13", get(&format!("/v1/orders/7?api_key={long}"))).await;
    gate.refused("20", get("/v1/health").host(&format!("{}.example.com", "a".repeat(4 * 1024)))).await;
    gate.refused("20", get("/v1/orders/7").header("apikey", &every_byte)).await;
    gate.refused("12", get("/v1/orders/7").header("cookie", &every_byte)).await;
    gate.refused("12", get("/v1/orders/7").header("cookie", "; =; ;;key").header("cookie", "=key=")).await;
    let strange = get("/v1/health")
        .header("x-request-id", b"\xff\xfe")
        .header("content-type", b"application/grpc\xff")
        .header("x-sidegate-debug", &every_byte);
    gate.admitted(strange).await;
    // Above Envoy's own limit.
    let too_many =
        (0..300).fold(get("/v1/health"), |request, place| request.header(&format!("x-{place}"), "v"));
    assert_eq!(gate.envoy.send(too_many).await.status, 431);

    gate.admitted(get("/v1/orders/7").header("apikey", "acme-key")).await;
    assert_eq!(vms().await, before);
    assert!(!gate.envoy.log().contains("panicked"));
}

#[tokio::test]
async fn callers_may_ask_for_problem_details_and_grpc_web() {
    let gate = Gate::with(&orders(), |listener| listener.access_log("%RESPONSE_CODE_DETAILS%")).await;
    let order = || get("/v1/orders/7").header("apikey", "tryout-key");
    gate.admitted(order()).await;
    let asking = || order().header("accept", "application/problem+json, application/json;q=0.5");
    let answer = gate.refused("14", asking()).await;
    assert_eq!(answer.header("content-type"), Some("application/problem+json"));
    assert_eq!(
        answer.json(),
        json!({
            "type": "https://docs.example.com/errors#14", "title": "A rate limit is exceeded.",
            "status": 429, "code": 14, "violated-policies": ["hits-eternity"],
        })
    );
    for (content_type, expected) in [
        ("application/grpc-web", "application/grpc-web+proto"),
        ("application/grpc-web-text", "application/grpc-web-text+proto"),
    ] {
        let answer = gate.refused("14", order().header("content-type", content_type)).await;
        assert_eq!((answer.status, answer.header("grpc-status")), (200, Some("8")), "{answer:?}");
        let types: Vec<_> = answer.headers.iter().filter(|(name, _)| name == "content-type").collect();
        assert_eq!(types, [&("content-type".to_owned(), expected.to_owned())]);
        let message = "The Api key you are using has exceeded its rate limit.";
        assert_eq!((answer.header("grpc-message"), answer.body.len()), (Some(message), 0));
    }
    gate.refused("14", order().header("content-type", "application/grpc")).await;
    let expected = [vec!["via_upstream"], vec!["sidegate_14"; 4]].concat();
    assert_eq!(gate.envoy.access_log(5).await, expected);
}
