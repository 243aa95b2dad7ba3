//! A provider that is slow, unreachable, or sends nonsense, in real Envoy. Each failure has its documented
//! code, nothing hangs, and requests are admitted again once the provider works again.
#![cfg(test)]
#![cfg(not(target_family = "wasm"))]

mod introspection;

use std::time::Duration;

use introspection::*;
use serde_json::{Value, json};
use sidegate_harness::{
    Answer, Client, Envoy, Listener, Oidc, Request, Setup, StubProvider, Upstream, Wasm, eventually, route,
};

/// What every secret of these tests contains.
const SECRET: &str = "s3cret";

fn setup(policy: &Value, upstream: &Upstream) -> Setup {
    let listener = Listener::new("main").wasm(&Wasm::sidegate(policy)).route(route("orders"));
    Setup::new(listener).cluster("orders", upstream.address())
}

fn last(bytes: &str) -> Answer {
    Answer::Last(bytes.as_bytes().to_vec())
}

fn text(status: u16, body: &str) -> Answer {
    Answer::with(status, "application/json", body)
}

#[tokio::test]
async fn every_invalid_answer_of_the_endpoint_is_code_24() {
    let server = StubProvider::start(Answer::Never).await;
    let hasty = json!({"timeout": "200ms"});
    let providers = json!({
        "patient": introspection("idp", "http://idp/", &json!({})),
        "hasty": introspection("idp", "http://idp/", &hasty),
        "nowhere": introspection("no-such-cluster", "http://idp/", &json!({})),
        "nobody": introspection("nobody", "http://idp/", &json!({})),
    });
    let rules = ["patient", "hasty", "nowhere", "nobody"]
        .map(|name| token_rule(&format!("/{name}"), name, &json!({})));
    let policy = policy(&providers, &rules);
    let upstream = Upstream::echo("orders").await;
    let setup = setup(&policy, &upstream).cluster("idp", server.address()).cluster_of("nobody", &[]);
    let envoy = Envoy::start(setup).await;

    let padded = |megabytes: usize| {
        text(200, &format!(r#"{{"active":true,"padding":"{}"}}"#, "a".repeat(megabytes << 20)))
    };
    let cut =
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 99\r\n\r\n{\"active\":true}";
    let good = r#"{"active":true}"#;
    let table = [
        ("status", text(500, good)),
        ("status", text(404, good)),
        ("status", text(302, good)),
        ("status", text(201, good)),
        ("status", text(504, good)),
        ("status", last("HTTP/1.1 504 Gateway Timeout\r\n\r\nthe provider's own")),
        ("refused_us", text(401, good)),
        ("refused_us", text(403, good)),
        ("nonsense", Answer::with(200, "text/html", "<html>Sign in</html>")),
        ("nonsense", Answer::with(200, "text/html", good)),
        ("nonsense", last("HTTP/1.1 200 OK\r\n\r\n{\"active\":true}")),
        ("nonsense", text(200, "")),
        ("nonsense", text(200, "null")),
        ("nonsense", text(200, "true")),
        ("nonsense", text(200, "[true]")),
        ("nonsense", text(200, "{}")),
        ("nonsense", text(200, r#"{"active":"true"}"#)),
        ("nonsense", text(200, r#"{"active":1}"#)),
        ("nonsense", text(200, r#"{"active":null}"#)),
        ("nonsense", text(200, r#"{"Active":true}"#)),
        ("nonsense", text(200, r#"{"active":true"#)),
        ("nonsense", text(200, r#"{"active":true}{"active":true}"#)),
        ("nonsense", text(200, r#"{"active":false,"active":true}"#)),
        ("nonsense", text(200, r#"{"active":true,"scope":"a","scope":"b"}"#)),
        ("nonsense", text(200, r#"{"active":true,"exp":"9999999999"}"#)),
        ("nonsense", padded(10)),
        // More than Envoy buffers.
        ("failed", padded(40)),
        ("failed", last(cut)),
        ("failed", last("HTTP/1.1 200 OK\r\ncontent-type: appli")),
        ("failed", last("this is not HTTP\r\n\r\n")),
        ("failed", Answer::close()),
    ];
    for (number, (result, answer)) in table.into_iter().enumerate() {
        let shown: String = format!("{answer:?}").chars().take(500).collect();
        let request = Request::get("/patient").bearer(&format!("t{number}"));
        let before = calls(&envoy, "patient", result).await;
        server.now(answer);
        let answer = envoy.send(request.clone()).await;
        assert_eq!(verdict(&answer), UNAVAILABLE, "{shown}");
        assert_eq!(answer.header("retry-after"), None, "{shown}");
        assert_eq!(answer.header("www-authenticate"), None, "{shown}");
        assert_eq!(calls(&envoy, "patient", result).await, before + 1, "{result}: {shown}");
        server.now(text(200, good));
        assert_eq!(verdict(&envoy.send(request).await), ADMITTED, "it works again after {shown}");
    }

    for (status, patience, promised) in [
        ("429 Later", "retry-after: 7\r\ndate: Sat, 21 Nov 2026 04:17:36 GMT", Some("7")),
        ("503 Later", "retry-after: 7\r\ncontent-type: text/plain", Some("7")),
        ("429 Later", "retry-after: 0", Some("1")),
        ("429 Later", "retry-after: Sat, 21 Nov 2026 04:17:36 GMT", None),
        ("429 Later", "x-retry-after: 7", None),
        ("500 Broken", "retry-after: 7", None),
    ] {
        server.now(last(&format!("HTTP/1.1 {status}\r\n{patience}\r\n\r\nlater")));
        let answer = envoy.send(Request::get("/patient").bearer("later")).await;
        assert_eq!(verdict(&answer), UNAVAILABLE, "{status} {patience}");
        assert_eq!(answer.header("retry-after"), promised, "{status} {patience}");
    }

    let never = [Answer::Never, Answer::After(Duration::from_secs(3600), Box::new(text(200, good)))];
    for (number, answer) in never.into_iter().enumerate() {
        server.now(answer);
        let request = Request::get("/hasty").bearer(&format!("t{number}"));
        assert_eq!(verdict(&envoy.send(request.clone()).await), UNAVAILABLE);
        server.now(text(200, good));
        // On a busy machine, a good answer may be late, too.
        eventually("an answer in time", async || {
            (verdict(&envoy.send(request.clone()).await) == ADMITTED).then_some(())
        })
        .await;
    }
    assert!(calls(&envoy, "hasty", "timeout").await >= 2);

    let asked = server.calls().len();
    for (path, expected, result) in
        [("nowhere", (500, Some("09")), "unknown_cluster"), ("nobody", (500, Some("10")), "no_healthy_host")]
    {
        for _ in 0..2 {
            let answer = envoy.send(Request::get(format!("/{path}")).bearer("t")).await;
            assert_eq!(verdict(&answer), expected, "{path}");
        }
        assert_eq!(calls(&envoy, path, result).await, 2);
    }
    assert_eq!(server.calls().len(), asked);
}

#[tokio::test]
async fn a_real_server_that_freezes_dies_and_comes_back_is_noticed_each_time() {
    let start_oidc = |port: u16| {
        let clients = [Client::new("gateway", SECRET, ""), Client::new("acme-web", "a", "orders.read")];
        Oidc::start_on(port, clients)
    };
    let oidc = start_oidc(0).await;
    let settings = json!({
        "authentication": {"basic": {"id": "gateway", "secret": SECRET}},
        "timeout": "1s",
        "cache": {"ttl": "0s", "negative_ttl": "0s"},
    });
    let providers = json!({"oidc": introspection("idp", &oidc.introspection(), &settings)});
    let policy = policy(&providers, &[token_rule("/**", "oidc", &json!({}))]);
    let upstream = Upstream::echo("orders").await;
    let envoy = Envoy::start(setup(&policy, &upstream).cluster("idp", oidc.address())).await;
    let admitted = async |token: &str| {
        eventually("an answer in time", async || {
            let answer = envoy.send(Request::get("/").bearer(token)).await;
            (verdict(&answer) == ADMITTED).then_some(())
        })
        .await;
    };

    let token = oidc.token("acme-web", "orders.read", None).await;
    admitted(&token).await;

    oidc.process().freeze();
    let timeouts = calls(&envoy, "oidc", "timeout").await;
    assert_eq!(verdict(&envoy.send(Request::get("/").bearer(&token)).await), UNAVAILABLE);
    assert_eq!(calls(&envoy, "oidc", "timeout").await, timeouts + 1);
    oidc.process().thaw();
    admitted(&token).await;

    let port = oidc.address().port();
    drop(oidc);
    for answer in envoy.send_all(4, vec![Request::get("/").bearer(&token); 20]).await {
        assert_eq!(verdict(&answer), UNAVAILABLE);
    }
    assert!(calls(&envoy, "oidc", "failed").await > 0);

    let oidc = start_oidc(port).await;
    admitted(&oidc.token("acme-web", "orders.read", None).await).await;
    assert_eq!(
        verdict(&envoy.send(Request::get("/").bearer(&token)).await),
        INVALID,
        "it has forgotten its tokens"
    );
}

#[tokio::test]
async fn without_the_provider_an_earlier_answer_is_used_only_as_the_mode_says() {
    let server = StubProvider::start(Answer::Never).await;
    let cached = |unavailable: Value, negative_ttl: &str, stale: &str| {
        let cache = json!({"ttl": "200ms", "negative_ttl": negative_ttl, "stale_if_error": stale});
        introspection("idp", "http://idp/", &json!({"cache": cache, "unavailable": unavailable}))
    };
    let providers = json!({
        "deny": cached(json!("deny"), "1h", "1h"),
        "stale": cached(json!("stale"), "200ms", "1h"),
        "short": cached(json!("stale"), "1h", "300ms"),
        "unkept": cached(json!("stale"), "0s", "1h"),
        "clients": cached(json!({"allow_clients": ["billing"]}), "1h", "1h"),
        "certain": introspection("idp", "http://idp/", &json!({})),
    });
    let rules = ["deny", "stale", "short", "unkept", "clients", "certain"]
        .map(|name| token_rule(&format!("/{name}"), name, &json!({})));
    let strict = token_rule("/strict", "stale", &json!({"scopes": ["orders.read"]}));
    let mut policy = policy(&providers, &[&rules[..], &[strict]].concat());
    policy["gate"]["filter_state"] = json!({"only": ["cache"]});
    let upstream = Upstream::echo("orders").await;
    let listener = Listener::new("main")
        .wasm(&Wasm::sidegate(&policy))
        .route(route("orders"))
        .access_log("%REQ(x-token)% %FILTER_STATE(wasm.sidegate.cache:PLAIN)%");
    let setup = Setup::new(listener).cluster("orders", upstream.address()).cluster("idp", server.address());
    let envoy = Envoy::start(setup).await;
    let ask = async |path: &str, token: &str| {
        let answer = envoy.send(Request::get(path).bearer(token).header("x-token", token)).await;
        (answer.status, answer.code().map(str::to_owned))
    };
    let owned = |(status, code): (u16, Option<&str>)| (status, code.map(str::to_owned));
    // Repeats the request until the answer is `last`. Every answer before that must be `meanwhile`.
    let settles = async |path: &str, token: &str, meanwhile, last| {
        eventually(&format!("{last:?} for {token} at {path}"), async || {
            let found = ask(path, token).await;
            if found == owned(last) {
                return Some(());
            }
            assert_eq!(found, owned(meanwhile), "{token} at {path}");
            None
        })
        .await;
    };

    // The answers for all tokens are cached, and two tokens turn out to be revoked.
    for (path, token, members) in [
        ("/stale", "expiring", json!({"exp": in_seconds(3.0)})),
        ("/deny", "t1", json!({})),
        ("/stale", "t2", json!({"scope": "read"})),
        ("/clients", "t3", json!({"client_id": "billing"})),
        ("/clients", "t4", json!({"client_id": "other"})),
        ("/clients", "t5", json!({})),
        ("/short", "t6", json!({})),
        ("/stale", "revoked", json!({})),
        ("/unkept", "revoked", json!({})),
        ("/certain", "t7", json!({})),
    ] {
        server.now(active(&members));
        assert_eq!(ask(path, token).await, owned(ADMITTED), "{token} at {path}");
    }
    server.now(inactive());
    settles("/stale", "revoked", ADMITTED, INVALID).await;
    settles("/unkept", "revoked", ADMITTED, INVALID).await;
    assert_eq!(ask("/certain", "bad").await, owned(INVALID));

    server.now(text(500, "{}"));
    assert_eq!(
        ask("/unkept", "revoked").await,
        owned(UNAVAILABLE),
        "the answer before the revocation is gone"
    );
    settles("/stale", "revoked", INVALID, UNAVAILABLE).await;
    settles("/deny", "t1", ADMITTED, UNAVAILABLE).await;
    settles("/clients", "t4", ADMITTED, UNAVAILABLE).await;
    settles("/clients", "t5", ADMITTED, UNAVAILABLE).await;
    settles("/short", "t6", ADMITTED, UNAVAILABLE).await;
    settles("/stale", "expiring", ADMITTED, UNAVAILABLE).await;
    assert_eq!(ask("/stale", "never-seen").await, owned(UNAVAILABLE));
    // Fresh answers need no provider.
    assert_eq!(ask("/certain", "t7").await, owned(ADMITTED));
    assert_eq!(ask("/certain", "bad").await, owned(INVALID));
    for answer in [text(500, "{}"), text(401, "{}"), text(200, r#"{"active":"true"}"#), Answer::close()] {
        let (before, shown) = (lookups(&envoy, "stale").await, format!("{answer:?}"));
        server.now(answer);
        assert_eq!(ask("/stale", "t2").await, owned(ADMITTED), "{shown}");
        assert_eq!(ask("/clients", "t3").await, owned(ADMITTED), "{shown}");
        assert_eq!(
            ask("/strict", "t2").await,
            (403, Some("23".to_owned())),
            "stale answers are checked, too"
        );
        assert_eq!(lookups(&envoy, "stale").await, before + 3, "{shown}");
    }
    server.now(inactive());
    assert_eq!(ask("/stale", "t2").await, owned(INVALID), "a new answer of the provider counts at once");

    eventually("the log line of a stale answer", async || {
        envoy.access_log(1).await.contains(&"t2 stale".to_owned()).then_some(())
    })
    .await;
}

#[tokio::test]
async fn the_log_of_the_module_contains_no_credential() {
    let server = StubProvider::start(active(&json!({"client_id": "acme-web"}))).await;
    let providers = json!({
        "basic": introspection("idp", "http://idp/", &json!({"authentication": {"basic": {"id": "gateway", "secret": SECRET}}})),
        "post": introspection("idp", "http://idp/", &json!({"authentication": {"post": {"id": "gateway", "secret": {"env": "SECRET"}}}})),
        "bearer": introspection("idp", "http://idp/", &json!({"authentication": {"bearer": {"token": SECRET}}})),
    });
    let mut rules = vec![json!({"path": "/key", "access": ["api_key"]})];
    rules.extend(["basic", "post", "bearer"].map(|name| token_rule(&format!("/{name}"), name, &json!({}))));
    let policy = policy(&providers, &rules);
    let upstream = Upstream::echo("orders").await;
    let listener = |policy: &Value| {
        let wasm = Wasm::sidegate(policy).environment("SECRET", SECRET);
        Listener::new("main").wasm(&wasm).route(route("orders"))
    };
    let setup =
        Setup::new(listener(&policy)).cluster("orders", upstream.address()).cluster("idp", server.address());
    let mut envoy = Envoy::start(setup.workers(1).log_level("debug")).await;

    let token = |number: usize| format!("{SECRET}-{number}");
    for (number, answer) in [
        active(&json!({"client_id": "acme-web", "sub": SECRET})),
        inactive(),
        text(500, SECRET),
        text(401, SECRET),
        text(200, &format!(r#"{{"active":"{SECRET}"}}"#)),
        last(&format!("{SECRET}\r\n\r\n")),
    ]
    .into_iter()
    .enumerate()
    {
        server.now(answer);
        for provider in ["basic", "post", "bearer"] {
            envoy.send(Request::get(format!("/{provider}")).bearer(&token(number))).await;
        }
    }
    envoy.send(Request::get("/basic").bearer(&token(9)).bearer(&token(9))).await;
    envoy.send(Request::get("/key").header("apikey", SECRET)).await;
    envoy.send(Request::get(format!("/none/{SECRET}?access_token={SECRET}"))).await;
    // A mistyped secret is still a secret.
    let mut mistyped = policy.clone();
    mistyped["providers"]["basic"]["introspection"]["authentication"]["basic"]["secret"] =
        json!({"file": SECRET});
    let rejected = envoy.reload(listener(&mistyped)).await.unwrap_err();
    assert!(!rejected.details.contains(SECRET), "{}", rejected.details);

    // Envoy's own loggers print headers and configurations at this level. Only the module's entries are
    // checked, with all their lines.
    let log = envoy.log();
    let mut of_the_module = false;
    let mut entries = String::new();
    for line in log.lines() {
        if line.starts_with("[20") {
            of_the_module = line.contains("][wasm]");
        }
        if of_the_module {
            entries.extend([line, "\n"]);
        }
    }
    assert!(log.contains(SECRET), "the level is low enough to show secrets");
    for expected in ["code=13", "code=20", "code=22", "code=24", "the policy is rejected"] {
        assert!(entries.contains(expected), "{expected}");
    }
    assert!(!entries.contains(SECRET), "{entries}");
}
