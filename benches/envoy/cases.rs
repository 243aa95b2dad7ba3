//! The cases. Each has its own Envoy with one worker, one listener, and a route that Envoy answers itself.

use std::{error::Error, net::SocketAddr};

use serde_json::{Value, json};
use sidegate_harness::{Client, Envoy, Listener, Oidc, Request, Setup, Wasm, direct_response};

use crate::policy;

/// All cases, in the order of the table.
pub const NAMES: [&str; 7] = [
    "plain",
    "noop",
    "native",
    "key_binding_limits",
    "key_binding_limits_100k",
    "introspection_cached",
    "refused_key",
];

const GATEWAY_SECRET: &str = "bench-gateway-secret";

/// A running case.
pub struct Case {
    name: &'static str,
    envoy: Envoy,
    address: SocketAddr,
    request: Vec<u8>,
    status: u16,
    _oidc: Option<Oidc>,
}

impl Case {
    /// Starts the named cases. `many` is the number of consumers in the case with many.
    pub async fn start_all(names: &[&'static str], many: usize) -> Result<Vec<Self>, Box<dyn Error>> {
        let mut cases = Vec::new();
        for name in names {
            cases.push(Self::start(name, many).await?);
        }
        Ok(cases)
    }

    async fn start(name: &'static str, many: usize) -> Result<Self, Box<dyn Error>> {
        let listener = Listener::new("bench");
        let with_key = request().header("apikey", policy::key(7));
        Ok(match name {
            "plain" => Self::of(name, listener, request(), 200).await,
            "noop" => Self::of(name, listener.wasm(&Wasm::noop()), request(), 200).await,
            "native" => Self::of(name, native(listener), with_key, 200).await,
            "key_binding_limits" => Self::of(name, listener.wasm(&with_consumers(10)), with_key, 200).await,
            "key_binding_limits_100k" => {
                Self::of(name, listener.wasm(&with_consumers(many)), with_key, 200).await
            }
            "refused_key" => {
                let with_guess = request().header("apikey", "a-guess");
                Self::of(name, listener.wasm(&with_consumers(10)), with_guess, 401).await
            }
            "introspection_cached" => Self::introspection(name, listener).await,
            other => return Err(format!("no case {other}").into()),
        })
    }

    async fn of(name: &'static str, listener: Listener, request: Request, status: u16) -> Self {
        let setup = Setup::new(listener.route(direct_response(200, "ok")));
        Self::running(name, setup, request, status, None).await
    }

    async fn introspection(name: &'static str, listener: Listener) -> Self {
        let clients =
            [Client::new("gateway", GATEWAY_SECRET, ""), Client::new("acme-web", "acme", "orders.read")];
        let oidc = Oidc::start(clients).await;
        let token = oidc.token("acme-web", "orders.read", Some(Oidc::ORDERS)).await;
        let filter = Wasm::sidegate(&policy::of_tokens(&oidc.introspection()))
            .environment("OIDC_SECRET", GATEWAY_SECRET);
        let setup = Setup::new(listener.wasm(&filter).route(direct_response(200, "ok")))
            .cluster("oidc", oidc.address());
        Self::running(name, setup, request().bearer(&token), 200, Some(oidc)).await
    }

    async fn running(
        name: &'static str,
        setup: Setup,
        request: Request,
        status: u16,
        oidc: Option<Oidc>,
    ) -> Self {
        let envoy = Envoy::start(setup.workers(1).log_level("warning")).await;
        let address = envoy.address().await;
        Self { name, envoy, address, request: request.bytes(), status, _oidc: oidc }
    }

    /// Its name.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// The id of its Envoy process.
    pub fn process(&self) -> u32 {
        self.envoy.process().id()
    }

    /// Its listener.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The request it is measured with, as bytes.
    pub fn request(&self) -> Vec<u8> {
        self.request.clone()
    }

    /// The status that every answer must have.
    pub fn status(&self) -> u16 {
        self.status
    }
}

fn request() -> Request {
    Request::get("/v1/orders/17?expand=items")
        .host("orders.example.com")
        .header("user-agent", "bench/1.0")
        .header("accept", "application/json")
        .header("accept-encoding", "gzip")
}

fn with_consumers(consumers: usize) -> Wasm {
    Wasm::sidegate(&policy::of_consumers(consumers))
}

/// Envoy's own filters for keys and limits: ten keys, one token bucket.
fn native(listener: Listener) -> Listener {
    let credentials: Vec<Value> = (0..10)
        .map(|index| json!({"key": policy::key(index), "client": format!("consumer-{index}")}))
        .collect();
    listener
        .filter(json!({
            "name": "envoy.filters.http.api_key_auth",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.http.api_key_auth.v3.ApiKeyAuth",
                "credentials": credentials,
                "key_sources": [{"header": "apikey"}],
            },
        }))
        .filter(json!({
            "name": "envoy.filters.http.local_ratelimit",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit",
                "stat_prefix": "bench",
                "token_bucket": {"max_tokens": 1_000_000_000, "tokens_per_fill": 1_000_000_000, "fill_interval": "1s"},
                "filter_enabled": {"default_value": {"numerator": 100}},
                "filter_enforced": {"default_value": {"numerator": 100}},
            },
        }))
}
