//! Leases that a real Envoy has in hand when the real rate limit service ends.
#![cfg(test)]
#![cfg(not(target_family = "wasm"))]
#![expect(clippy::arithmetic_side_effects, reason = "a test that overflows fails, as it should")]

use std::time::Duration;

use serde_json::{Value, json};
use sidegate::credential::Digest;
use sidegate_harness::{
    Envoy, Listener, RateLimit, Redis, Request, Response, Setup, Wasm, direct_response, eventually,
};

/// How many are admitted in a second.
const MAX: usize = 400;

/// How many a caller sends before the outage. The last leases are about as large.
const BEFORE: usize = 60;

/// A limit per second, and the key `brief`.
fn policy() -> Value {
    // Long enough for leases to grow on a busy machine.
    let lease = json!({"up_to": {"share": 50, "lasts": "10s"}});
    let service = json!({"cluster": "ratelimit", "lease": lease, "timeout": "2s", "cooldown": "100ms"});
    let limit = json!({"metric": "hits", "max": MAX, "per": "second", "across": "replicas"});
    let key = json!({"sha256": Digest::of(b"brief").to_hex()});
    json!({
        "sidegate": "v1",
        "providers": {"counter": {"rate_limit_service": service}},
        "plans": {"brief": {"limits": [limit]}},
        "consumers": [{"name": "brief", "plan": "brief", "keys": [key]}],
        "apis": [{"name": "all", "access": ["api_key"], "rules": [{"path": "/**"}]}],
    })
}

struct Running {
    redis: Redis,
    service: RateLimit,
    envoy: Envoy,
}

impl Running {
    async fn start() -> Self {
        let redis = Redis::start().await;
        let service = RateLimit::start(redis.address()).await;
        let listener =
            Listener::new("main").wasm(&Wasm::sidegate(&policy())).route(direct_response(200, "ok"));
        let setup = Setup::new(listener).http2_cluster("ratelimit", &[service.address()]);
        Self { envoy: Envoy::start(setup).await, redis, service }
    }

    /// Sends requests of a caller, and waits until no lease is on its way.
    async fn send(&self, caller: &str, requests: usize) -> Vec<Response> {
        let answers =
            self.envoy.send_all(4, vec![Request::get("/").header("apikey", caller); requests]).await;
        eventually("all calls to be answered", async || {
            (self.envoy.stat("cluster.ratelimit.upstream_rq_active").await == 0).then_some(())
        })
        .await;
        answers
    }

    /// How many of a new caller's requests are admitted, and how much the service granted for them.
    async fn spend(&self, caller: &str, requests: usize) -> (usize, usize) {
        let before = self.redis.counted().await;
        let admitted = count(&self.send(caller, requests).await, 200);
        (admitted, usize::try_from(self.redis.counted().await - before).unwrap())
    }
}

/// The number of answers with this status.
fn count(answers: &[Response], status: u16) -> usize {
    answers.iter().filter(|answer| answer.status == status).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lease_is_not_spent_after_its_window() {
    let mut running = Running::start().await;
    let (admitted, granted) = running.spend("brief", BEFORE).await;
    assert!(admitted == BEFORE && granted > BEFORE, "{admitted} of {granted}");
    running.service.stop();
    tokio::time::sleep(Duration::from_millis(1100)).await;
    assert_eq!(count(&running.send("brief", BEFORE).await, 503), BEFORE);
}
