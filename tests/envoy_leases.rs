//! Leases that a real Envoy has in hand when the real rate limit service, or its Redis, ends, hangs or
//! answers nonsense: they are spent first, and what the policy says about an outage comes then.
#![cfg(test)]
#![cfg(not(target_family = "wasm"))]
#![expect(clippy::arithmetic_side_effects, reason = "a test that overflows fails, as it should")]
#![expect(clippy::disallowed_methods, reason = "what is measured here is how long real requests take")]

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use sidegate::credential::Digest;
use sidegate_harness::{
    Envoy, GrpcAnswer, GrpcServer, Listener, RateLimit, Redis, Request, Response, Setup, Wasm,
    direct_response, eventually,
};

/// How many each caller is admitted in a window.
const MAX: usize = 400;

/// How many a caller sends before the outage. The last leases are about as large.
const BEFORE: usize = 60;

/// The number of callers of each kind.
const CALLERS: usize = 10;

/// Kinds of callers, with the window of their limit and what their provider says about an outage.
const KINDS: [(&str, &str, &str); 4] = [
    ("deny", "day", "deny"),
    ("local", "day", "local"),
    ("allow", "day", "allow"),
    ("brief", "second", "deny"),
];

/// Callers such as `deny-0`. The key of each is its name.
fn policy() -> Value {
    let (mut providers, mut plans, mut consumers) = (json!({}), json!({}), Vec::new());
    for (kind, per, unavailable) in KINDS {
        // Long enough for leases to grow on a busy machine.
        let lease = json!({"up_to": {"share": 50, "lasts": "10s"}});
        providers[kind] = json!({"rate_limit_service": {
            "cluster": "ratelimit", "lease": lease, "timeout": "2s", "unavailable": unavailable, "cooldown": "100ms",
        }});
        let limit = json!({"metric": "hits", "max": MAX, "per": per, "across": "replicas", "provider": kind});
        plans[kind] = json!({"limits": [limit]});
        consumers.extend((0..CALLERS).map(|number| {
            let name = format!("{kind}-{number}");
            json!({"name": name, "plan": kind, "keys": [{"sha256": Digest::of(name.as_bytes()).to_hex()}]})
        }));
    }
    json!({
        "sidegate": "v1", "providers": providers, "plans": plans, "consumers": consumers,
        "apis": [{"name": "all", "access": ["api_key"], "rules": [{"path": "/**"}]}],
    })
}

struct Running {
    redis: Redis,
    service: RateLimit,
    impostor: Option<GrpcServer>,
    envoy: Envoy,
}

#[derive(Clone, Copy, Debug)]
enum Outage {
    ServiceEnds,
    ServiceHangs,
    RedisEnds,
    RedisHangs,
    /// Something else listens where the service was. It says `OK` to all calls, and counts nothing.
    Nonsense,
}

impl Running {
    async fn start() -> Self {
        let redis = Redis::start_persistent().await;
        let service = RateLimit::start(redis.address()).await;
        let listener =
            Listener::new("main").wasm(&Wasm::sidegate(&policy())).route(direct_response(200, "ok"));
        let setup = Setup::new(listener).http2_cluster("ratelimit", &[service.address()]).workers(2);
        Self { envoy: Envoy::start(setup).await, redis, service, impostor: None }
    }

    async fn send(&self, caller: &str, requests: usize) -> Vec<Response> {
        self.envoy.send_all(4, vec![Request::get("/").header("apikey", caller); requests]).await
    }

    /// How many of a new caller's requests are admitted, and how much the service granted for them. Waits
    /// until no lease is on its way.
    async fn spend(&self, caller: &str, requests: usize) -> (usize, usize) {
        let before = self.redis.counted().await;
        let admitted = count(&self.send(caller, requests).await, 200);
        // A lease is asked for a moment after the request that made it due.
        let (mut calls, mut steady) = (0, 0);
        eventually("the last lease to arrive", async || {
            let now = self.envoy.stat("cluster.ratelimit.upstream_rq_total").await;
            let active = self.envoy.stat("cluster.ratelimit.upstream_rq_active").await;
            steady = if active == 0 && now == calls { steady + 1 } else { 0 };
            calls = now;
            (steady == 5).then_some(())
        })
        .await;
        (admitted, usize::try_from(self.redis.counted().await - before).unwrap())
    }

    async fn begin(&mut self, outage: Outage) {
        match outage {
            Outage::ServiceEnds => self.service.stop(),
            Outage::ServiceHangs => self.service.process().freeze(),
            Outage::RedisEnds => self.redis.stop(),
            Outage::RedisHangs => self.redis.process().freeze(),
            Outage::Nonsense => {
                self.service.stop();
                let ok = GrpcAnswer::Message(b"\x08\x01".to_vec());
                self.impostor = Some(GrpcServer::start_at(self.service.address(), ok).await);
            }
        }
    }

    /// Ends the outage, and waits until a new caller is counted again.
    async fn recover(&mut self, caller: &str) {
        self.impostor = None;
        self.redis.restart().await;
        self.service.restart().await;
        eventually("the service to be asked again", async || {
            (count(&self.send(caller, 1).await, 200) == 1).then_some(())
        })
        .await;
    }
}

/// The number of answers with this status.
fn count(answers: &[Response], status: u16) -> usize {
    answers.iter().filter(|answer| answer.status == status).count()
}

async fn leases_are_spent_before_the_policy_decides(outages: &[Outage]) {
    let mut running = Running::start().await;
    for (number, outage) in outages.iter().copied().enumerate() {
        let [deny, local, allow] = ["deny", "local", "allow"].map(|kind| format!("{kind}-{number}"));
        let (admitted, granted) = running.spend(&deny, BEFORE).await;
        assert!(admitted == BEFORE && granted > BEFORE && granted <= MAX, "{admitted} of {granted}");
        for caller in [&local, &allow] {
            assert_eq!(running.spend(caller, BEFORE).await.0, BEFORE);
        }
        running.begin(outage).await;

        let began = Instant::now();
        let answers = running.send(&deny, MAX).await;
        assert_eq!(count(&answers, 200), granted - BEFORE, "all that was granted, in {outage:?}");
        let mut refused = answers.iter().filter(|answer| answer.status != 200);
        assert!(refused.all(|answer| answer.status == 503 && answer.code() == Some("25")), "{outage:?}");
        let answers = running.send(&local, MAX).await;
        assert_eq!((count(&answers, 200), count(&answers, 429)), (MAX - BEFORE, BEFORE), "{outage:?}");
        assert_eq!(count(&running.send(&allow, MAX).await, 200), MAX, "{outage:?}");
        let took = began.elapsed();
        assert!(took < Duration::from_secs(20), "{outage:?}: some timeouts, not one a request: {took:?}");
        println!("{outage:?}: {granted} granted of which {BEFORE} were spent before; the rest took {took:?}");
        running.recover(&format!("deny-{}", CALLERS - 1 - number)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_the_service_or_redis_ends_leases_are_spent_before_the_policy_says_what_happens() {
    leases_are_spent_before_the_policy_decides(&[Outage::ServiceEnds, Outage::RedisEnds]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_when_the_service_or_redis_hangs_or_answers_nonsense() {
    leases_are_spent_before_the_policy_decides(&[Outage::ServiceHangs, Outage::RedisHangs, Outage::Nonsense])
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leases_outlive_a_restart_of_the_service_and_of_redis() {
    let mut running = Running::start().await;
    let (admitted, granted) = running.spend("deny-0", BEFORE).await;
    assert!(admitted == BEFORE && granted > BEFORE, "{admitted} of {granted}");
    running.recover("deny-1").await;
    assert_eq!(count(&running.send("deny-0", MAX).await, 200), MAX - BEFORE, "all of it, and no more");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lease_is_not_spent_after_its_window() {
    let mut running = Running::start().await;
    let (admitted, granted) = running.spend("brief-0", BEFORE).await;
    assert!(admitted == BEFORE && granted > BEFORE, "{admitted} of {granted}");
    running.begin(Outage::ServiceEnds).await;
    let window = second();
    eventually("the window to end", async || (second() > window).then_some(())).await;
    assert_eq!(count(&running.send("brief-0", BEFORE).await, 503), BEFORE);
}

fn second() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}
