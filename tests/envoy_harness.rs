//! The harness itself, which the other tests in real Envoy rely on.
#![cfg(test)]
#![cfg(not(target_family = "wasm"))]

use std::{
    io::{BufRead as _, BufReader},
    process::{Command, Stdio},
};

use serde_json::json;
use sidegate_harness::{
    Answer, Authority, Client, Envoy, Listener, Oidc, Request, Setup, StubProvider, TlsRelay, Upstream, Wasm,
    direct_response, eventually, route, send,
};
use tempfile::TempDir;

#[tokio::test]
async fn a_plain_listener_answers() {
    let envoy = Envoy::start(Setup::new(Listener::new("plain").route(direct_response(200, "ok")))).await;
    let answer = envoy.send(Request::get("/")).await;
    assert_eq!((answer.status, answer.text().as_str()), (200, "ok"));
}

#[tokio::test]
async fn a_request_reaches_the_upstream_byte_for_byte_through_the_noop_filter() {
    let upstream = Upstream::echo("orders").await;
    let listener = Listener::new("main")
        .wasm(&Wasm::noop())
        .route(route("orders"))
        .access_log("%REQ(:PATH)% %RESPONSE_CODE%");
    let envoy = Envoy::start(Setup::new(listener).cluster("orders", upstream.address()).workers(4)).await;

    let request = Request::new("POST", "/a/../b//%2F?x=%zz")
        .host("Orders.Example.com:80")
        .header("x-a", "1")
        .header("x-a", "2")
        .body("hello");
    let answer = envoy.send(request).await;

    let received = answer.json();
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(received["method"], "POST");
    assert_eq!(received["path"], "/a/../b//%2F?x=%zz");
    assert_eq!(received["body"], "hello");
    assert_eq!(answer.received("x-a").as_deref(), Some("1, 2"));
    assert_eq!(answer.received("host").as_deref(), Some("Orders.Example.com:80"));
    assert_eq!(upstream.requests(), 1);
    assert_eq!(envoy.access_log(1).await, ["/a/../b//%2F?x=%zz 200"]);
    assert_eq!(
        envoy.stat("wasm.envoy.wasm.runtime.v8.active").await,
        6,
        "a base VM, one of the main thread, four of workers"
    );
}

#[tokio::test]
async fn a_new_listener_replaces_the_old_one_under_load() {
    let answering = |text: &str| Listener::new("main").route(direct_response(200, text));
    let mut envoy = Envoy::start(Setup::new(answering("old")).workers(4)).await;
    let address = envoy.address().await;

    let load =
        tokio::spawn(
            async move { sidegate_harness::send_all(address, 8, vec![Request::get("/"); 20_000]).await },
        );
    envoy.reload(answering("new")).await.unwrap();

    assert_eq!(envoy.address().await, address, "the port stays the same");
    for _ in 0..20 {
        assert_eq!(envoy.send(Request::get("/")).await.text(), "new");
    }
    let answers = load.await.unwrap();
    assert_eq!(answers.len(), 20_000);
    assert!(
        answers.iter().all(|answer| answer.status == 200 && ["old", "new"].contains(&answer.text().as_str()))
    );
}

#[tokio::test]
async fn a_refused_listener_leaves_the_old_one_and_says_why() {
    let listener = Listener::new("main").route(direct_response(200, "old"));
    let mut envoy = Envoy::start(Setup::new(listener.clone())).await;
    let rejected = envoy.reload(listener.manager("codec_type", json!("NONSENSE"))).await.unwrap_err();
    assert!(rejected.log.contains("NONSENSE"), "{rejected}");
    assert_eq!(envoy.send(Request::get("/")).await.text(), "old");
}

#[tokio::test]
async fn a_listener_that_is_refused_at_the_start_is_an_error() {
    let listener = Listener::new("main").route(route("no-such-cluster"));
    let rejected = Envoy::try_start(Setup::new(listener)).await.unwrap_err();
    assert!(rejected.details.contains("no-such-cluster"), "{rejected}");
}

#[tokio::test]
async fn upstreams_misbehave_as_configured() {
    for (upstream, status) in [(Upstream::closing().await, 503), (Upstream::garbage().await, 502)] {
        let listener = Listener::new("main").route(route("upstream"));
        let envoy = Envoy::start(Setup::new(listener).cluster("upstream", upstream.address())).await;
        assert_eq!(envoy.send(Request::get("/")).await.status, status);
        assert_eq!(upstream.requests(), 1);
    }
}

#[tokio::test]
async fn a_stub_provider_holds_calls_until_its_script_changes() {
    let provider = StubProvider::start(Answer::Hold).await;
    let (address, request) = (provider.address(), Request::new("POST", "/introspect").body("token=t"));
    let call = tokio::spawn(async move { send(address, &request).await });
    provider.called(1).await;
    provider.now(Answer::json(&json!({"active": true})));
    assert_eq!(call.await.unwrap().unwrap().json(), json!({"active": true}));
    assert_eq!(provider.calls()[0].body, "token=t");

    provider.now(Answer::close());
    assert!(send(address, &Request::get("/")).await.is_err());
    provider.now(Answer::Last(b"HTTP/1.1 429 Later\r\nretry-after: 7\r\n\r\n".to_vec()));
    assert_eq!(send(address, &Request::get("/")).await.unwrap().header("retry-after"), Some("7"));
}

#[tokio::test]
async fn tls_relays_connect_only_with_the_right_certificate() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    let upstream = Upstream::echo("orders").await;
    let server = TlsRelay::before(upstream.address(), &ours.certificate("orders.internal")).await;
    for (name, authority, reached) in [
        ("orders.internal", &ours, true),
        ("other.internal", &ours, false),
        ("orders.internal", &theirs, false),
    ] {
        let client = TlsRelay::to(server.address(), name, authority).await;
        let answer = send(client.address(), &Request::get("/")).await;
        assert_eq!(answer.is_ok_and(|answer| answer.status == 200), reached, "{name}");
    }
    assert_eq!(upstream.requests(), 1);
    assert!(send(server.address(), &Request::get("/")).await.is_err(), "plain text");
}

#[tokio::test]
async fn the_oauth2_server_issues_introspects_and_revokes_tokens() {
    let oidc =
        Oidc::start([Client::new("gateway", "g", ""), Client::new("acme", "a", "orders.read").ttl(60)]).await;
    let token = oidc.token("acme", "orders.read", Some(Oidc::ORDERS)).await;
    let introspect = async || {
        let request = Request::new("POST", "/token/introspection")
            .header("authorization", "Basic Z2F0ZXdheTpn")
            .header("content-type", "application/x-www-form-urlencoded")
            .body(format!("token={token}"));
        send(oidc.address(), &request).await.unwrap().json()
    };
    let reply = introspect().await;
    assert_eq!(reply["active"], true);
    assert_eq!(reply["aud"], "orders");
    assert_eq!(reply["scope"], "orders.read");
    assert_eq!(reply["exp"].as_u64().unwrap() - reply["iat"].as_u64().unwrap(), 60);

    oidc.revoke("acme", &token).await;
    assert_eq!(introspect().await, json!({"active": false}));
}

#[tokio::test]
async fn a_process_ends_when_its_holder_is_dropped() {
    let envoy = Envoy::start(Setup::new(Listener::new("plain").route(direct_response(200, "ok")))).await;
    let (id, address) = (envoy.process().id(), envoy.address().await);
    assert!(std::fs::exists(format!("/proc/{id}")).unwrap());
    drop(envoy);
    assert!(!std::fs::exists(format!("/proc/{id}")).unwrap());
    assert!(send(address, &Request::get("/")).await.is_err());
}

#[tokio::test]
async fn a_process_ends_when_the_test_is_killed() {
    // The killed process cannot remove its own files.
    let directory = TempDir::new().unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .env("TMPDIR", directory.path())
        .args(["--ignored", "--nocapture", "--exact", "holds_an_envoy_until_it_is_killed"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let id: u32 = lines.filter_map(|line| line.strip_prefix("envoy ")?.parse().ok()).next().unwrap();
    assert!(std::fs::exists(format!("/proc/{id}")).unwrap());

    child.kill().unwrap();
    child.wait().unwrap();
    eventually("Envoy to be gone", async || (!std::fs::exists(format!("/proc/{id}")).unwrap()).then_some(()))
        .await;
}

#[tokio::test]
#[ignore = "started by the test above"]
async fn holds_an_envoy_until_it_is_killed() {
    let envoy = Envoy::start(Setup::new(Listener::new("plain").route(direct_response(200, "ok")))).await;
    println!("\nenvoy {}", envoy.process().id());
    std::future::pending().await
}
