//! Token introspection in real Envoy: what a real OAuth2 server's answers mean for a request, how long they
//! are kept, and how many calls they cost. A stub replaces the server where calls are counted or held,
//! or where it would never give such an answer.
#![cfg(test)]
#![cfg(not(target_family = "wasm"))]
#![expect(clippy::arithmetic_side_effects, reason = "a test that overflows fails, as it should")]

mod introspection;

use std::net::SocketAddr;

use introspection::*;
use serde_json::{Value, json};
use sidegate::credential::Digest;
use sidegate_harness::{
    Answer, Client, Envoy, Listener, Oidc, Request, Response, Setup, StubProvider, Upstream, Wasm,
    eventually, route, send,
};
use tokio::task::JoinHandle;

/// A secret that Basic authentication must encode (RFC 6749 section 2.3.1).
const GATEWAY_SECRET: &str = "g4te +%:/=s3cret";
const KEY: &str = "acme-k3y";
const KEY_SHA256: &str = "4c60eec09d2f656c6e6a237a32170672e4424e080952f5aa167021877b3bd733";

async fn oidc() -> Oidc {
    Oidc::start([
        Client::new("gateway", GATEWAY_SECRET, ""),
        Client::new("poster", "p0st-s3cret", "").post(),
        Client::new("acme-web", "a", "orders.read orders.write"),
        Client::new("billing", "b", "orders.read"),
        Client::new("brief", "c", "orders.read").ttl(3),
        Client::new("stranger", "d", ""),
    ])
    .await
}

fn gateway() -> Value {
    json!({"authentication": {"basic": {"id": "gateway", "secret": GATEWAY_SECRET}}})
}

async fn start(policy: &Value, clusters: &[(&str, SocketAddr)], workers: usize) -> (Envoy, Upstream) {
    let upstream = Upstream::echo("orders").await;
    let listener = Listener::new("main").wasm(&Wasm::sidegate(policy)).route(route("orders"));
    let setup = Setup::new(listener).cluster("orders", upstream.address()).workers(workers);
    let setup = clusters.iter().fold(setup, |setup, (name, address)| setup.cluster(name, *address));
    (Envoy::start(setup).await, upstream)
}

/// Repeats the request, which must be admitted until the answer is code 22.
async fn admitted_until_invalid(envoy: &Envoy, request: &Request) {
    eventually("the token is refused", async || {
        let answer = envoy.send(request.clone()).await;
        if verdict(&answer) != INVALID {
            assert_eq!(verdict(&answer), ADMITTED);
            return None;
        }
        Some(())
    })
    .await;
}

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

#[tokio::test]
async fn a_revoked_token_is_refused_after_its_time_in_the_cache_and_an_expired_one_at_once() {
    let oidc = oidc().await;
    let brief_cache = with(gateway(), &json!({"cache": {"ttl": "300ms", "negative_ttl": "1h"}}));
    let providers = json!({
        "forgetful": introspection("idp", &oidc.introspection(), &brief_cache),
        "oidc": introspection("idp", &oidc.introspection(), &gateway()),
        "stub": introspection("stub", "http://stub/", &json!({})),
    });
    let rules = ["forgetful", "oidc", "stub"].map(|name| token_rule(&format!("/{name}"), name, &json!({})));
    let server = StubProvider::start(inactive()).await;
    let clusters = [("idp", oidc.address()), ("stub", server.address())];
    let (envoy, _upstream) = start(&policy(&providers, &rules), &clusters, 2).await;

    let token = oidc.token("acme-web", "orders.read", None).await;
    let request = Request::get("/forgetful").bearer(&token);
    assert_eq!(verdict(&envoy.send(request.clone()).await), ADMITTED);
    oidc.revoke("acme-web", &token).await;
    admitted_until_invalid(&envoy, &request).await;
    let asked = calls(&envoy, "forgetful", "ok").await;
    for _ in 0..10 {
        assert_eq!(verdict(&envoy.send(request.clone()).await), INVALID);
    }
    assert_eq!(calls(&envoy, "forgetful", "ok").await, asked, "the inactive answer is cached");

    let token = oidc.token("brief", "orders.read", None).await;
    let request = Request::get("/oidc").bearer(&token);
    assert_eq!(verdict(&envoy.send(request.clone()).await), ADMITTED);
    admitted_until_invalid(&envoy, &request).await;
    assert_eq!(calls(&envoy, "oidc", "ok").await, 2, "one while it was valid, one after it expired");

    // A server that prolongs a token. A new call at its expiry shows this. By the old answer, the request
    // would be refused.
    let expiring_in = |seconds| active(&json!({"exp": in_seconds(seconds)}));
    let request = Request::get("/stub").bearer("t");
    server.now(expiring_in(1.0));
    envoy.send(request.clone()).await;
    server.now(expiring_in(3600.0));
    eventually("a second call", async || {
        assert_eq!(verdict(&envoy.send(request.clone()).await), ADMITTED);
        (server.calls().len() == 2).then_some(())
    })
    .await;
}

/// What the caches hold lasts for an hour here, and yet the next policy is in force at once, in all workers.
#[tokio::test]
async fn the_next_policy_revokes_tokens_and_drops_what_is_cached_whatever_its_time() {
    let oidc = oidc().await;
    let hour = json!({"cache": {"ttl": "1h", "negative_ttl": "1h"}});
    let jwks =
        json!({"jwks": with(json!({"cluster": "idp", "url": oidc.keys(), "issuer": oidc.issuer()}), &hour)});
    let opaque = introspection("idp", &oidc.introspection(), &with(gateway(), &hour));
    let providers = json!({"oidc": opaque, "corp": jwks});
    let rules = [
        token_rule("/opaque", "oidc", &json!({})),
        json!({"path": "/jwt", "access": [{"jwt": {"provider": "corp"}}]}),
    ];
    let first = policy(&providers, &rules);
    let clusters = [("idp", oidc.address())];
    let (mut envoy, _upstream) = start(&first, &clusters, 4).await;
    let opaque = oidc.token("acme-web", "orders.read", None).await;
    let kept = oidc.token("billing", "orders.read", None).await;
    let jwt = oidc.token("acme-web", "orders.read", Some(Oidc::ORDERS_JWT)).await;
    let other = oidc.token("billing", "orders.read", Some(Oidc::ORDERS_JWT)).await;
    let all = |expected: [(u16, Option<&'static str>); 4]| {
        let requests = [("/opaque", &opaque), ("/opaque", &kept), ("/jwt", &jwt), ("/jwt", &other)];
        requests.map(|(path, token)| Request::get(path).bearer(token)).into_iter().zip(expected)
    };
    let assert_all = async |envoy: &Envoy, expected| {
        for (request, expected) in all(expected) {
            for answer in envoy.send_all(16, vec![request.clone(); 64]).await {
                assert_eq!(verdict(&answer), expected);
            }
        }
    };
    let reload = async |envoy: &mut Envoy, name: &str, value: Value| {
        let mut next = first.clone();
        next[name] = value;
        let listener = Listener::new("main").wasm(&Wasm::sidegate(&next)).route(route("orders"));
        envoy.reload(listener).await.expect("a valid policy");
    };
    assert_all(&envoy, [ADMITTED; 4]).await;
    let asked = calls(&envoy, "oidc", "ok").await;

    let (signed, _) = jwt.rsplit_once('.').expect("a JWT");
    let revoked = [&*opaque, signed].map(|text| Digest::of(text.as_bytes()).to_hex());
    reload(&mut envoy, "revoked", json!(revoked)).await;
    assert_all(&envoy, [INVALID, ADMITTED, INVALID, ADMITTED]).await;
    assert_eq!(calls(&envoy, "oidc", "ok").await, asked, "nobody is asked");

    // The server revokes another token. Nobody notices until the epoch changes.
    oidc.revoke("billing", &kept).await;
    reload(&mut envoy, "revision", json!("none is revoked")).await;
    assert_all(&envoy, [ADMITTED; 4]).await;
    let verified = async |envoy: &Envoy| {
        envoy.stat("wasmcustom.sidegate.provider=.=corp;.;result=.=valid;.;verifications").await
    };
    let before = verified(&envoy).await;
    reload(&mut envoy, "epoch", json!(1)).await;
    assert_all(&envoy, [ADMITTED, INVALID, ADMITTED, ADMITTED]).await;
    assert!(verified(&envoy).await >= before + 2, "JWTs are verified once more");
}

#[tokio::test]
async fn four_workers_share_one_answer() {
    let server = StubProvider::start(Answer::Hold).await;
    let providers = json!({"idp": introspection("idp", "http://idp/", &json!({}))});
    let policy = policy(&providers, &[token_rule("/**", "idp", &json!({}))]);
    let (envoy, _upstream) = start(&policy, &[("idp", server.address())], 4).await;
    let request = |token: &str| Request::get("/").bearer(token);

    let cold = send_on_connections(&envoy, &request("cold"), 64).await;
    server.now(active(&json!({})));
    for answer in answers(cold).await {
        assert_eq!(verdict(&answer), ADMITTED);
    }
    let asked = server.calls().len();
    assert!((1..=4).contains(&asked), "{asked} calls: at most one for each worker");
    let mut workers = 0;
    for (name, value) in envoy.stats().await {
        workers +=
            usize::from(name.contains(".worker_") && name.ends_with("downstream_cx_total") && value > 0);
    }
    assert!(workers > 1, "several workers took part");

    for (token, answer, expected) in [("good", active(&json!({})), ADMITTED), ("bad", inactive(), INVALID)] {
        server.now(answer);
        let asked = server.calls().len();
        envoy.send(request(token)).await;
        for answer in envoy.send_all(32, vec![request(token); 640]).await {
            assert_eq!(verdict(&answer), expected, "{token}");
        }
        assert_eq!(server.calls().len(), asked + 1, "{token}");
    }
}

#[tokio::test]
async fn requests_that_wait_for_the_same_answer_make_one_call_and_none_hangs_when_others_go() {
    let server = StubProvider::start(Answer::Hold).await;
    let providers = json!({"idp": introspection("idp", "http://idp/", &json!({}))});
    let policy = policy(&providers, &[token_rule("/**", "idp", &json!({}))]);
    let (envoy, upstream) = start(&policy, &[("idp", server.address())], 1).await;

    let waiting = send_on_connections(&envoy, &Request::get("/").bearer("t"), 200).await;
    server.now(active(&json!({"client_id": "portal"})));
    for answer in answers(waiting).await {
        assert_eq!(verdict(&answer), ADMITTED);
    }
    assert_eq!((server.calls().len(), upstream.requests()), (1, 200));
    assert_eq!((lookups(&envoy, "miss").await, calls(&envoy, "idp", "ok").await), (200, 1));

    // Some of the waiting requests go away.
    server.now(Answer::Hold);
    let request = Request::get("/").bearer("t2");
    let leader = send_on_connections(&envoy, &request, 1).await;
    let mut others = send_on_connections(&envoy, &request, 100).await;
    disconnect(&envoy, others.split_off(50), 51).await;
    server.now(inactive());
    for answer in answers(others).await.into_iter().chain(answers(leader).await) {
        assert_eq!(verdict(&answer), INVALID);
    }
    assert_eq!(server.calls().len(), 2);

    // The request that made the call goes away, and the reply to its call is lost.
    server.now(Answer::Hold);
    let request = Request::get("/").bearer("t3");
    let leader = send_on_connections(&envoy, &request, 1).await;
    server.called(3).await;
    let others = send_on_connections(&envoy, &request, 200).await;
    disconnect(&envoy, leader, 200).await;
    server.called(4).await;
    // Later requests join the waiting ones.
    let later = send_on_connections(&envoy, &request, 10).await;
    server.now(active(&json!({})));
    for answer in answers(others).await.into_iter().chain(answers(later).await) {
        assert_eq!(verdict(&answer), ADMITTED);
    }
    assert_eq!(server.calls().len(), 4);

    // All of them go away. No call is made for them, and the next request makes its own.
    server.now(Answer::Hold);
    let request = Request::get("/").bearer("t4");
    let all = send_on_connections(&envoy, &request, 20).await;
    server.called(5).await;
    disconnect(&envoy, all, 0).await;
    let next = send_on_connections(&envoy, &request, 1).await;
    server.called(6).await;
    server.now(active(&json!({})));
    for answer in answers(next).await {
        assert_eq!(verdict(&answer), ADMITTED);
    }
    assert_eq!(server.calls().len(), 6);
}

#[tokio::test]
async fn a_flood_of_made_up_tokens_leaves_calls_for_known_tokens_and_other_addresses() {
    let server = StubProvider::start(active(&json!({}))).await;
    let settings = json!({"cache": {"ttl": "0s"}, "issuers": ["https://idp"]});
    let providers = json!({"idp": introspection("idp", "http://idp/", &settings)});
    let policy = policy(&providers, &[token_rule("/**", "idp", &json!({}))]);
    let (envoy, _upstream) = start(&policy, &[("idp", server.address())], 1).await;
    let from =
        |address: &str, token: &str| Request::get("/").header("x-forwarded-for", address).bearer(token);
    assert_eq!(verdict(&envoy.send(from("192.0.2.1", "known")).await), ADMITTED);

    server.now(Answer::Hold);
    let address = envoy.address().await;
    let flood: Vec<_> = (0..700)
        .map(|number| {
            let request = from("192.0.2.1", &format!("made-up-{number}"));
            tokio::spawn(async move { send(address, &request).await.unwrap() })
        })
        .collect();
    let refused = "wasmcustom.sidegate.api=.=orders;.;outcome=.=refused;.;code=.=24;.;decisions";
    eventually("188 tokens are refused", async || {
        (envoy.stats().await.get(refused) == Some(&188)).then_some(())
    })
    .await;
    wait_for_in_flight(&envoy, 512).await;
    let known = send_on_connections(&envoy, &from("192.0.2.1", "known"), 1).await;
    let new = send_on_connections(&envoy, &from("192.0.2.2", "new"), 1).await;
    // A token whose payload is {"iss":"https://evil"}.
    let foreign = from("192.0.2.3", "eyJhbGciOiJub25lIn0.eyJpc3MiOiJodHRwczovL2V2aWwifQ.c2ln");
    assert_eq!(verdict(&envoy.send(foreign).await), INVALID);
    assert_eq!((lookups(&envoy, "foreign").await, server.calls().len()), (1, 1 + 512 + 2));

    server.now(active(&json!({})));
    for answer in answers(known).await.into_iter().chain(answers(new).await) {
        assert_eq!(verdict(&answer), ADMITTED);
    }
    let flood = answers(flood).await;
    assert_eq!(flood.iter().filter(|answer| verdict(answer) == UNAVAILABLE).count(), 188);
}

#[tokio::test]
async fn requests_that_wait_while_the_policy_is_replaced_end_under_the_old_one() {
    let server = StubProvider::start(Answer::Hold).await;
    let providers = json!({"idp": introspection("idp", "http://idp/", &json!({}))});
    let policy = |access: Value| {
        with(
            policy(&providers, &[json!({"path": "/**", "access": [access]})]),
            &json!({"revision": access.to_string().replace('"', "")}),
        )
    };
    let upstream = Upstream::echo("orders").await;
    let listener =
        |policy: &Value| Listener::new("main").wasm(&Wasm::sidegate(policy)).route(route("orders"));
    let setup = Setup::new(listener(&policy(json!({"introspection": {"provider": "idp"}}))))
        .cluster("orders", upstream.address())
        .cluster("idp", server.address());
    // Longer than the test may take: the old listener keeps its requests.
    let mut envoy = Envoy::start(setup.workers(1).drain_seconds(3600)).await;
    let address = envoy.address().await;

    let leader = send_on_connections(&envoy, &Request::get("/").bearer("t"), 1).await;
    let others = send_on_connections(&envoy, &Request::get("/").bearer("t"), 20).await;
    let second = send_on_connections(&envoy, &Request::get("/").bearer("t2"), 20).await;
    let replaced = async {
        eventually("the new policy", async || {
            let answer = send(address, &Request::get("/")).await.unwrap();
            (verdict(&answer) == (403, Some("27"))).then_some(())
        })
        .await;
        // Under the old policy, too, a new call is made for requests whose leader is gone.
        leader.into_iter().for_each(|leader| leader.abort());
        server.called(3).await;
        server.now(active(&json!({})));
        answers(others).await.into_iter().chain(answers(second).await).collect::<Vec<_>>()
    };
    let denying = listener(&policy(json!("deny")));
    let answers = tokio::select! {
        result = envoy.reload(denying) => panic!("the old listener is gone too early: {result:?}"),
        answers = replaced => answers,
    };
    assert_eq!(answers.len(), 40);
    for answer in answers {
        assert_eq!(verdict(&answer), ADMITTED);
    }
}

/// Sends the request over this many new connections, and waits until Envoy has received all.
async fn send_on_connections(envoy: &Envoy, request: &Request, size: u64) -> Vec<JoinHandle<Response>> {
    let (address, before) = (envoy.address().await, in_flight(envoy).await);
    let send = |_| {
        let request = request.clone();
        tokio::spawn(async move { send(address, &request).await.unwrap() })
    };
    let requests = (0..size).map(send).collect();
    wait_for_in_flight(envoy, before + size).await;
    requests
}

/// Closes the connections of waiting requests, and waits until Envoy has noticed.
async fn disconnect(envoy: &Envoy, leaving: Vec<JoinHandle<Response>>, remaining: u64) {
    leaving.into_iter().for_each(|request| request.abort());
    wait_for_in_flight(envoy, remaining).await;
}

async fn answers(requests: Vec<JoinHandle<Response>>) -> Vec<Response> {
    let mut answers = Vec::new();
    for request in requests {
        answers.push(request.await.unwrap());
    }
    answers
}

async fn in_flight(envoy: &Envoy) -> u64 {
    envoy.stat("http.main.downstream_rq_active").await
}

async fn wait_for_in_flight(envoy: &Envoy, requests: u64) {
    eventually(&format!("{requests} requests in flight"), async || {
        (in_flight(envoy).await == requests).then_some(())
    })
    .await;
}

fn challenges(answer: &Response) -> Vec<&str> {
    let lines = answer.headers.iter().filter(|(name, _)| name == "www-authenticate");
    lines.map(|(_, value)| value.as_str()).collect()
}
