//! Token introspection in real Envoy: what a real OAuth2 server's answers mean for a request, how long they
//! are kept, and how many calls they cost. A stub replaces the server where calls are counted or held,
//! or where it would never give such an answer.
#![cfg(test)]
#![cfg(not(target_family = "wasm"))]
#![expect(clippy::arithmetic_side_effects, reason = "a test that overflows fails, as it should")]

#[path = "envoy_introspection/answers.rs"]
mod answers;
mod introspection;
#[path = "envoy_introspection/sharing.rs"]
mod sharing;
#[path = "envoy_introspection/times.rs"]
mod times;

use std::net::SocketAddr;

use introspection::*;
use serde_json::{Value, json};
use sidegate::credential::Digest;
use sidegate_harness::{
    Answer, Client, Envoy, Listener, Oidc, Request, Response, Setup, StubProvider, Upstream, Wasm,
    eventually, route, send,
};

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
