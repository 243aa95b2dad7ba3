//! One quota over three real Envoys, counted by the engine of Limitador, which reads the limits that
//! `sidegate render` prints. `tests/limitador` says what of that service is real.
#![cfg(test)]
#![cfg(not(target_family = "wasm"))]
#![expect(clippy::arithmetic_side_effects, reason = "a test that overflows fails, as it should")]

#[expect(dead_code, reason = "one function is enough here")]
mod rendered;

use std::net::SocketAddr;

use serde_json::{Value, json};
use sidegate::credential::Digest;
use sidegate_harness::{
    Envoy, Limitador, Listener, Request, Response, Setup, Wasm, direct_response, send_all,
};

/// The number of Envoys, and of connections to each.
const REPLICAS: usize = 3;
const CONNECTIONS: usize = 4;

/// How many each caller is admitted.
const MAX: usize = 60;

/// How many callers with leases are admitted, and their largest lease.
const LEASED: usize = 600;
const LEASE: usize = 20;

/// Callers such as `exact`, whose key is their name. Those called `lost` have limits that Limitador does not
/// know.
fn policy() -> Value {
    let lease = json!({"up_to": {"most": LEASE}});
    let service = |domain: &str, lease: &Value| {
        json!({"rate_limit_service": {
            "cluster": "limitador", "engine": "limitador", "domain": domain, "lease": lease, "timeout": "30s",
        }})
    };
    let plan = |provider: &str, max: usize, per: &str| {
        let limit =
            json!({"metric": "hits", "max": max, "per": per, "across": "replicas", "provider": provider});
        json!({"limits": [limit]})
    };
    let consumer = |name: &str| json!({"name": name, "plan": name, "keys": [{"sha256": Digest::of(name.as_bytes()).to_hex()}]});
    let consumers = ["one", "many", "leased", "lost"].map(consumer);
    json!({
        "sidegate": "v1",
        "providers": {
            "known": service("sidegate", &lease),
            "exact": service("exact", &json!("none")),
            "lost": service("elsewhere", &json!("none")),
        },
        "plans": {
            "one": plan("exact", MAX, "month"),
            "many": plan("exact", MAX, "week"),
            "leased": plan("known", LEASED, "month"),
            "lost": plan("lost", MAX, "day"),
        },
        "consumers": consumers,
        "apis": [{"name": "all", "access": ["api_key"], "rules": [{"path": "/**"}]}],
    })
}

/// The number of answers with this status.
fn count(answers: &[Response], status: u16) -> usize {
    answers.iter().filter(|answer| answer.status == status).count()
}

struct Fleet {
    envoys: Vec<Envoy>,
    addresses: Vec<SocketAddr>,
    _service: Limitador,
}

impl Fleet {
    async fn start() -> Self {
        let known = rendered::render(&policy(), &["--as", "limitador", "--provider", "known"]);
        let exact = rendered::render(&policy(), &["--as", "limitador", "--provider", "exact"]);
        let service = Limitador::start(&format!("{known}{exact}")).await;
        let (mut envoys, mut addresses) = (Vec::new(), Vec::new());
        let listener =
            Listener::new("main").wasm(&Wasm::sidegate(&policy())).route(direct_response(200, "ok"));
        for _ in 0..REPLICAS {
            let setup = Setup::new(listener.clone()).http2_cluster("limitador", &[service.address()]);
            let envoy = Envoy::start(setup.workers(2)).await;
            addresses.push(envoy.address().await);
            envoys.push(envoy);
        }
        Self { envoys, addresses, _service: service }
    }

    /// Sends so many requests of a caller to each replica, over so many connections at the same time.
    async fn send(&self, caller: &str, requests: usize, connections: usize) -> Vec<Response> {
        let sending: Vec<_> = self
            .addresses
            .iter()
            .map(|address| {
                let (address, request) = (*address, Request::get("/").header("apikey", caller));
                tokio::spawn(async move { send_all(address, connections, vec![request; requests]).await })
            })
            .collect();
        let mut answers = Vec::new();
        for each in sending {
            answers.extend(each.await.unwrap());
        }
        answers
    }

    /// The number of calls to the service so far.
    async fn calls(&self) -> u64 {
        let mut calls = 0;
        for envoy in &self.envoys {
            calls += envoy.stat("cluster.limitador.upstream_rq_total").await;
        }
        calls
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limitador_counts_for_three_replicas_what_render_told_it() {
    let fleet = Fleet::start().await;

    // One request after the other.
    let mut admitted = Vec::new();
    for turn in 0..2 * MAX {
        let address = fleet.addresses[turn % REPLICAS];
        let answers = send_all(address, 1, [Request::get("/").header("apikey", "one")]).await;
        admitted.push(answers[0].status == 200);
    }
    assert!(admitted[..MAX].iter().all(|admitted| *admitted), "{admitted:?}");
    assert!(!admitted[MAX..].iter().any(|admitted| *admitted), "{admitted:?}");

    // Limitador looks before it counts, so calls in the same instant may all be admitted.
    let answers = fleet.send("many", 5 * MAX, CONNECTIONS).await;
    let over = count(&answers, 200).checked_sub(MAX);
    assert!(over.is_some_and(|over| over < REPLICAS * CONNECTIONS), "{over:?} more than {MAX}");
    let mut refused = answers.iter().filter(|answer| answer.status != 200);
    assert!(refused.all(|answer| answer.status == 429
        && answer.code() == Some("14")
        && answer.header("retry-after").is_some()));

    let calls = fleet.calls().await;
    let answers = fleet.send("leased", LEASED, CONNECTIONS).await;
    let (admitted, calls) = (count(&answers, 200), fleet.calls().await - calls);
    println!("{admitted} of {LEASED} admitted with leases by {calls} calls");
    let racing = REPLICAS * (CONNECTIONS + LEASE);
    assert!((LEASED - 2 * REPLICAS * LEASE..LEASED + racing).contains(&admitted), "{admitted}");
    assert!(usize::try_from(calls).unwrap() < LEASED, "{calls} calls");

    let answers = fleet.send("lost", 2, 1).await;
    assert_eq!(count(&answers, 503), 2 * REPLICAS, "a limit that it does not know is an outage");
    assert!(answers.iter().all(|answer| answer.code() == Some("25")));
}
