//! JWTs in real Envoy: a real OAuth2 server's tokens, its keys while they change, and the server while it is
//! down. A stub publishes keys where calls are counted.
#![cfg(test)]
#![cfg(not(target_family = "wasm"))]

use std::{
    net::SocketAddr,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use base64::prelude::{BASE64_URL_SAFE_NO_PAD as BASE64, Engine as _};
use serde_json::{Value, json};
use sidegate_harness::{
    Answer, Client, Envoy, Listener, Oidc, Request, Response, Setup, StubProvider, Upstream, Wasm,
    eventually, route, send,
};

/// Admitted.
const ADMITTED: (u16, Option<&str>) = (200, None);
/// Code 22.
const INVALID: (u16, Option<&str>) = (401, Some("22"));
/// Code 24.
const UNAVAILABLE: (u16, Option<&str>) = (503, Some("24"));

/// Status and code of an answer; no code where the upstream gave it.
fn verdict(answer: &Response) -> (u16, Option<&str>) {
    (answer.status, answer.code())
}

/// The code of the answer to a request with this token; its status where the upstream answered.
async fn read(envoy: &Envoy, token: &str) -> String {
    let answer = envoy.send(Request::get("/read").bearer(token)).await;
    answer.code().map_or_else(|| answer.status.to_string(), str::to_owned)
}

/// `base` with the members of `changes` in place of its own.
fn with(mut base: Value, changes: &Value) -> Value {
    if let (Value::Object(base), Value::Object(changes)) = (&mut base, changes) {
        base.extend(changes.clone());
    }
    base
}

#[expect(clippy::disallowed_methods, reason = "an issuer's times are compared with Envoy's clock")]
fn tomorrow() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs()).saturating_add(86_400)
}

async fn calls(envoy: &Envoy, result: &str) -> u64 {
    envoy.stat(&format!("wasmcustom.sidegate.provider=.=corp;.;result=.={result};.;provider_calls")).await
}

fn clients() -> [Client; 1] {
    [Client::new("acme-web", "a", "orders.read orders.write")]
}

/// An issuer of tokens. What is verified is kept for a second, so that keys matter.
fn jwks(issuer: &str, url: &str, changes: &Value) -> Value {
    let settings = json!({
        "cluster": "idp", "url": url, "issuer": issuer, "timeout": "30s", "refresh": {"every": "1d", "pause": "1s"},
        "cache": {"ttl": "0s", "negative_ttl": "0s"}
    });
    json!({"jwks": with(settings, changes)})
}

fn rule(path: &str, demands: &Value) -> Value {
    json!({"path": path, "access": [{"jwt": with(json!({"provider": "corp"}), demands)}]})
}

async fn start(provider: &Value, address: SocketAddr, workers: usize) -> (Envoy, Upstream) {
    let rules = [
        rule("/read", &json!({"scopes": ["orders.read"]})),
        rule("/admin", &json!({"scopes": ["admin"]})),
        rule("/orders", &json!({"audience": {"all": ["orders"]}})),
    ];
    let api = json!({"name": "orders", "rules": rules, "forward": {"headers": {"x-client": "{client_id}"}}});
    let policy = json!({"sidegate": "v1", "providers": {"corp": provider}, "apis": [api]});
    let upstream = Upstream::echo("orders").await;
    let listener = Listener::new("main").wasm(&Wasm::sidegate(&policy)).route(route("orders"));
    let setup = Setup::new(listener).cluster("orders", upstream.address()).cluster("idp", address);
    (Envoy::start(setup.workers(workers)).await, upstream)
}

async fn verifications(envoy: &Envoy, result: &str) -> u64 {
    envoy.stat(&format!("wasmcustom.sidegate.provider=.=corp;.;result=.={result};.;verifications")).await
}

/// What `tests/jwt/make.mjs` made.
fn keys() -> Value {
    let fixtures: Value = serde_json::from_str(include_str!("jwt/fixtures.json")).expect("JSON");
    fixtures["keys"].clone()
}

/// The name of the key in the header of a token.
fn kid(token: &str) -> String {
    let header = token.split('.').next().expect("a header");
    let header: Value = serde_json::from_slice(&BASE64.decode(header).expect("base64url")).expect("JSON");
    header["kid"].as_str().expect("a name").to_owned()
}

/// A token with which nothing is wrong but its signature.
fn unsigned(kid: &str) -> String {
    let header = json!({"alg": "RS256", "kid": kid});
    let claims = json!({"iss": "https://idp", "exp": tomorrow()});
    let [header, claims] = [&header, &claims].map(|part| BASE64.encode(part.to_string()));
    format!("{header}.{claims}.{}", BASE64.encode([1; 256]))
}

#[tokio::test]
async fn tokens_of_a_real_server_are_verified_while_its_keys_change_and_while_it_is_down() {
    let oidc = Oidc::start(clients()).await;
    let (issuer, address) = (oidc.issuer(), oidc.address());
    let provider = jwks(&issuer, &oidc.keys(), &json!({"audiences": ["orders"]}));
    let (envoy, _upstream) = start(&provider, address, 2).await;
    let token = oidc.token("acme-web", "orders.read", Some(Oidc::ORDERS_JWT)).await;

    let answer = envoy.send(Request::get("/read").bearer(&token).header("x-client", "spoofed")).await;
    assert_eq!(verdict(&answer), ADMITTED);
    assert_eq!(answer.received("x-client").as_deref(), Some("acme-web"));
    assert_eq!(answer.received("authorization"), None);
    assert_eq!(verdict(&envoy.send(Request::get("/admin").bearer(&token)).await), (403, Some("23")));
    assert_eq!(verdict(&envoy.send(Request::get("/orders").bearer(&token)).await), ADMITTED);
    let (signed, _) = token.rsplit_once('.').expect("a JWT");
    let forged = format!("{signed}.{}", BASE64.encode([1; 256]));
    assert_eq!(verdict(&envoy.send(Request::get("/read").bearer(&forged)).await), INVALID);
    let opaque = oidc.token("acme-web", "orders.read", None).await;
    assert_eq!(verdict(&envoy.send(Request::get("/read").bearer(&opaque)).await), INVALID);
    assert_eq!(calls(&envoy, "ok").await, 1, "one call for both workers");
    assert_eq!(verifications(&envoy, "invalid").await, 1);

    drop(oidc);
    assert_eq!(
        verdict(&envoy.send(Request::get("/read").bearer(&token)).await),
        ADMITTED,
        "its keys are known"
    );

    // It has another key now, and the old one is withdrawn.
    let oidc = Oidc::start_on(address.port(), clients()).await;
    let newer = oidc.token("acme-web", "orders.read", Some(Oidc::ORDERS_JWT)).await;
    eventually("the new key is known", async || {
        let answer = envoy.send(Request::get("/read").bearer(&newer)).await;
        (verdict(&answer) == ADMITTED).then_some(())
    })
    .await;
    assert_eq!(verdict(&envoy.send(Request::get("/read").bearer(&token)).await), INVALID);
}

#[tokio::test]
async fn keys_that_change_while_the_server_runs_are_followed_and_those_withdrawn_verify_nothing() {
    let oidc = Oidc::start(clients()).await;
    // Keys are fetched for a token with an unknown one only.
    let provider = jwks(&oidc.issuer(), &oidc.keys(), &json!({}));
    let (envoy, _upstream) = start(&provider, oidc.address(), 2).await;
    let token = async || oidc.token("acme-web", "orders.read", Some(Oidc::ORDERS_JWT)).await;
    let ask = async |token: &str| read(&envoy, token).await;
    let admitted = async |token: &str| {
        let known = async || (ask(token).await == "200").then_some(());
        eventually("the key is known", known).await;
    };
    let first = token().await;
    admitted(&first).await;
    assert_eq!(calls(&envoy, "ok").await, 1);

    oidc.rotate_keys().await;
    let second = token().await;
    assert_ne!(kid(&first), kid(&second));
    admitted(&second).await;
    assert_eq!(ask(&first).await, "200", "its key is still published");
    assert_eq!(calls(&envoy, "ok").await, 2, "one call for the new key");

    oidc.withdraw_keys().await;
    let third = token().await;
    admitted(&third).await;
    for (withdrawn, which) in [(&first, "first"), (&second, "second")] {
        assert_eq!(ask(withdrawn).await, "22", "the {which} key is gone");
    }
    assert_eq!(ask(&third).await, "200");
}

#[tokio::test]
async fn without_its_server_keys_stay_in_use_while_they_are_due_again_and_again() {
    let oidc = Oidc::start(clients()).await;
    let (issuer, address) = (oidc.issuer(), oidc.address());
    let provider = jwks(&issuer, &oidc.keys(), &json!({"refresh": {"every": "1s", "pause": "1s"}}));
    let (envoy, _upstream) = start(&provider, address, 2).await;
    let token = oidc.token("acme-web", "orders.read", Some(Oidc::ORDERS_JWT)).await;
    let ask = async || read(&envoy, &token).await;
    assert_eq!(ask().await, "200");
    drop(oidc);
    eventually("calls fail", async || {
        assert_eq!(ask().await, "200");
        (calls(&envoy, "failed").await >= 3).then_some(())
    })
    .await;

    // It comes back with another key.
    let _oidc = Oidc::start_on(address.port(), clients()).await;
    eventually("the key is withdrawn", async || (ask().await == "22").then_some(())).await;
}

#[tokio::test]
async fn a_storm_of_unknown_keys_makes_one_call_for_each_pause() {
    let oidc = Oidc::start(clients()).await;
    let provider = jwks(&oidc.issuer(), &oidc.keys(), &json!({"issuer": "https://idp"}));
    let (envoy, _upstream) = start(&provider, oidc.address(), 2).await;
    let begun = tokio::time::Instant::now();
    let mut sent = 0;
    while begun.elapsed() < Duration::from_secs(4) {
        let storm: Vec<_> =
            (sent..sent + 64).map(|kid| Request::get("/read").bearer(&unsigned(&kid.to_string()))).collect();
        sent += storm.len();
        for answer in envoy.send_all(16, storm).await {
            assert_eq!(verdict(&answer), INVALID);
        }
    }
    let fetched = calls(&envoy, "ok").await;
    // The pause is a second. The first call is that of the start.
    let most = begun.elapsed().as_secs() + 2;
    assert!((2..=most).contains(&fetched), "{fetched} calls for {sent} unknown keys, of at most {most}");
    assert_eq!(verifications(&envoy, "invalid").await, 0, "and no signature is verified");
}

#[tokio::test]
async fn the_servers_cache_headers_say_when_keys_are_fetched_again_and_304_keeps_them() {
    let oidc = Oidc::start(clients()).await;
    let published = send(oidc.address(), &Request::get("/jwks")).await.expect("an answer").json();
    let keys = |tag, control| Answer::json(&published).header("etag", tag).header("cache-control", control);
    // Three quarters of the time count.
    let idp = StubProvider::start(keys("\"1\"", "public, max-age=2")).await;
    let provider = jwks(&oidc.issuer(), "http://idp/keys", &json!({}));
    let (envoy, _upstream) = start(&provider, idp.address(), 2).await;
    let token = oidc.token("acme-web", "orders.read", Some(Oidc::ORDERS_JWT)).await;
    let ask = async || read(&envoy, &token).await;
    assert_eq!(ask().await, "200");
    let unchanged = |control| Answer::with(304, "application/json", "").header("cache-control", control);
    idp.now(unchanged("max-age=2"));
    idp.called(3).await;
    assert_eq!(ask().await, "200");
    idp.now(unchanged("max-age=86400"));
    idp.called(4).await;
    assert_eq!(ask().await, "200");
    tokio::time::sleep(Duration::from_secs(3)).await;
    let validators: Vec<_> = idp.calls().into_iter().map(|call| call.if_none_match).collect();
    assert_eq!(validators[0], None);
    assert!(validators[1..].iter().all(|tag| tag.as_deref() == Some("\"1\"")), "{validators:?}");
    assert_eq!(validators.len(), 4, "none before a day is over");
    assert_eq!(calls(&envoy, "ok").await, 4, "304 is an answer");
}

#[tokio::test]
async fn a_storm_of_unknown_keys_makes_one_call_and_a_request_waits_for_the_first_keys() {
    let idp = StubProvider::start(Answer::Hold).await;
    let provider =
        jwks("https://idp", "http://idp/keys", &json!({"refresh": {"every": "1d", "pause": "1h"}}));
    let (envoy, _upstream) = start(&provider, idp.address(), 2).await;
    idp.called(1).await;
    let answers = async {
        let requests = (0..40).map(|kid| Request::get("/read").bearer(&unsigned(&format!("unknown-{kid}"))));
        let mut answers = Vec::new();
        for request in requests {
            answers.push(verdict(&envoy.send(request).await) == INVALID);
        }
        answers
    };
    let released = async {
        tokio::task::yield_now().await;
        idp.now(Answer::json(&keys()));
    };
    let (answers, ()) = tokio::join!(answers, released);
    assert!(answers.into_iter().all(|refused| refused));
    assert_eq!(idp.calls().len(), 1, "one call for 40 unknown keys, in two workers");
    assert_eq!(idp.calls()[0].path, "/keys");
    assert_eq!(verifications(&envoy, "invalid").await, 0);
}

#[tokio::test]
async fn without_keys_the_answer_says_when_to_try_again() {
    let idp = StubProvider::start(Answer::with(500, "text/plain", "")).await;
    let provider =
        jwks("https://idp", "http://idp/keys", &json!({"refresh": {"every": "1d", "pause": "1h"}}));
    let (envoy, _upstream) = start(&provider, idp.address(), 1).await;
    let answer = envoy.send(Request::get("/read").bearer(&unsigned("rsa"))).await;
    assert_eq!(verdict(&answer), UNAVAILABLE);
    assert!(answer.header("retry-after").is_some());
    idp.called(1).await;
}
