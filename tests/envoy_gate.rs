//! The gate in a real Envoy: how it changes requests, byte for byte, and what the service, the caller and the
//! operator see.
#![cfg(all(test, not(target_family = "wasm")))]

#[path = "envoy_gate/answers.rs"]
mod answers;
#[path = "envoy_gate/callers.rs"]
mod callers;
#[path = "support/header_lines.rs"]
mod header_lines;
#[path = "envoy_gate/mocks.rs"]
mod mocks;
#[path = "envoy_gate/targets.rs"]
mod targets;
#[path = "envoy_gate/threescale.rs"]
mod threescale;

use serde_json::{Value, json};
use sidegate::credential::Digest;
use sidegate_harness::{Envoy, Listener, Request, Response, Setup, Upstream, Wasm, route};

/// Sidegate in Envoy, in front of a service that reports what it received.
struct Gate {
    envoy: Envoy,
    service: Upstream,
}

impl Gate {
    async fn start(policy: &Value) -> Self {
        Self::with(policy, |listener| listener).await
    }

    async fn with(policy: &Value, change: impl FnOnce(Listener) -> Listener) -> Self {
        let service = Upstream::echo("orders").await;
        let listener = Listener::new("main").wasm(&Wasm::sidegate(policy)).route(route("orders"));
        let setup = Setup::new(change(listener)).component_log_level("wasm:debug");
        let envoy = Envoy::start(setup.cluster("orders", service.address())).await;
        Self { envoy, service }
    }

    /// Sends a request that must be admitted.
    async fn admitted(&self, request: Request) -> Response {
        let (before, shown) = (self.service.requests(), format!("{request:?}"));
        let answer = self.envoy.send(request).await;
        assert_eq!((answer.status, answer.code()), (200, None), "{shown}: {}", answer.text());
        assert_eq!(self.service.requests().checked_sub(before), Some(1), "{shown}");
        answer
    }

    /// Sends a request that must be refused with this code and must not reach the service.
    async fn refused(&self, code: &str, request: Request) -> Response {
        let (before, shown) = (self.service.requests(), format!("{request:?}"));
        let answer = self.envoy.send(request).await;
        assert_eq!(answer.code(), Some(code), "{shown}: {} {}", answer.status, answer.text());
        assert_eq!(self.service.requests(), before, "{shown}");
        let challenged = answer.header("www-authenticate").is_some();
        assert!(challenged || answer.status != 401, "{shown}: {answer:?}");
        answer
    }
}

fn sha256(text: &str) -> String {
    Digest::of(text.as_bytes()).to_hex()
}

/// A key that is always valid.
fn key(text: &str) -> Value {
    json!([{"sha256": sha256(text)}])
}

fn get(target: &str) -> Request {
    Request::get(target).host("orders.example.com")
}

fn orders() -> Value {
    json!({
        "sidegate": "v1",
        "revision": "orders-1",
        "gate": {"realm": "orders", "filter_state": "all", "debug": {"secret_sha256": sha256("show-me")}, "errors": {"details": "https://docs.example.com/errors#{code}"}},
        "metrics": {"hits": {}, "writes": {"parent": "hits"}},
        "plans": {
            "trial": {"environment": "staging", "limits": [
                {"metric": "hits", "max": 1, "per": "eternity"},
                {"metric": "writes", "max": 0, "per": "eternity"},
            ]},
            "business": {"environment": "production"},
        },
        "consumers": [
            {"name": "acme", "plan": "business", "keys": [
                {"id": "good", "sha256": sha256("acme-key")},
                {"id": "until", "sha256": sha256("acme-key-of-today"), "not_after": "2199-01-01T00:00:00Z"},
                {"id": "old", "sha256": sha256("acme-old-key"), "not_after": "2020-01-01T00:00:00Z"},
                {"id": "off", "sha256": sha256("acme-off-key"), "state": "inactive"},
            ]},
            {"name": "tryout", "plan": "trial", "keys": key("tryout-key")},
            {"name": "late", "state": "suspended", "keys": key("late-key")},
            {"name": "stranger", "keys": key("stranger-key")},
        ],
        "apis": [{
            "name": "orders",
            "hosts": ["orders.example.com"],
            "base_path": "/v1",
            "credentials": {"api_key": [{"header": "apikey"}, {"query": "api_key"}, {"cookie": "key"}]},
            "access": ["api_key"],
            "rules": [
                {"path": "/health", "methods": ["GET"], "access": ["allow"]},
                {"path": "/public/**", "access": ["allow"]},
                {"path": "/closed/**", "access": ["deny"]},
                {"path": "/orders/{id}"},
                {"path": "/admin/**"},
                {"path": "/reports", "methods": ["GET", "PUT"]},
            ],
            "metering": [
                {"path": "/**", "methods": ["POST"], "metric": "writes", "last": true},
                {"path": "/**", "metric": "hits"},
            ],
            "bindings": [
                {"consumer": "acme", "allow": {"methods": ["GET"]}, "paths": [
                    {"path": "/orders/**", "allow": "all"},
                    {"path": "/admin/**", "allow": "none"},
                ]},
                {"consumer": "tryout", "allow": "all"},
                {"consumer": "late", "allow": "all"},
            ],
            "forward": {"headers": {
                "x-consumer": "{consumer}", "x-plan": "{plan}", "x-environment": "{environment}",
                "x-where": "{api}:{rule}",
            }},
        }],
    })
}
