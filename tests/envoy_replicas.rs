//! One quota over three real Envoys: limits across replicas, counted by the real rate limit service in a real
//! Redis, also while these fail.
//!
//! Envoys take long to start, so a test goes through several cases with the same three. Each case has callers
//! of its own. Limits here are per day, so that no window ends during a test, except where one must.
#![cfg(test)]
#![cfg(not(target_family = "wasm"))]
#![expect(clippy::arithmetic_side_effects, reason = "a test that overflows fails, as it should")]
#![expect(clippy::disallowed_methods, reason = "what is measured here is how long real requests take")]

use std::{
    net::SocketAddr,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use serde_json::{Value, json};
use sidegate::credential::Digest;
use sidegate_harness::{
    Callers, Envoy, GrpcAnswer, GrpcServer, Listener, RateLimit, Redis, Request, Response, Setup, Wasm,
    direct_response, eventually, send_all,
};

/// The number of Envoys.
const REPLICAS: usize = 3;

/// How many each caller is admitted.
const MAX: usize = 60;

/// The number of callers of each kind.
const CALLERS: usize = 30;

/// How many each caller with leases is admitted.
const LEASED: usize = 600;

/// The largest lease of such a caller.
const LEASE: usize = 20;

/// How many callers with a limit per second are admitted in each.
const BRIEF: usize = 5;

/// The same with leases.
const SWIFT: usize = 60;

/// Kinds of callers, with the window and size of their limit, and what their provider says about it.
const KINDS: [(&str, &str, usize, &str, &str); 7] = [
    // Longer than anything takes on a busy machine.
    ("patient", "day", MAX, "30s", "deny"),
    ("brief", "second", BRIEF, "30s", "deny"),
    ("swift", "second", SWIFT, "30s", "deny"),
    ("leased", "day", LEASED, "30s", "deny"),
    // Shorter than a test may take, and long enough for an answer on a busy machine.
    ("deny", "day", MAX, "2s", "deny"),
    ("local", "day", MAX, "2s", "local"),
    ("allow", "day", MAX, "2s", "allow"),
];

/// Callers such as `patient-7`. The key of each is its name.
fn policy() -> Value {
    let (mut providers, mut plans, mut consumers) = (json!({}), json!({}), Vec::new());
    for (kind, per, max, timeout, unavailable) in KINDS {
        let is_leased = ["leased", "swift"].contains(&kind);
        let lease = if is_leased { json!({"up_to": {"most": LEASE}}) } else { json!("none") };
        providers[kind] = json!({"rate_limit_service": {
            "cluster": "ratelimit", "lease": lease,
            "timeout": timeout, "unavailable": unavailable, "cooldown": "100ms",
        }});
        let limit = json!({"metric": "hits", "max": max, "per": per, "across": "replicas", "provider": kind});
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

/// Three Envoys whose cluster `ratelimit` is the given service.
struct Fleet {
    addresses: Vec<SocketAddr>,
    envoys: Vec<Envoy>,
}

impl Fleet {
    async fn start(service: SocketAddr) -> Self {
        let (mut envoys, mut addresses) = (Vec::new(), Vec::new());
        let listener =
            Listener::new("main").wasm(&Wasm::sidegate(&policy())).route(direct_response(200, "ok"));
        for _ in 0..REPLICAS {
            let setup = Setup::new(listener.clone()).http2_cluster("ratelimit", &[service]).workers(2);
            let envoy = Envoy::start(setup).await;
            addresses.push(envoy.address().await);
            envoys.push(envoy);
        }
        Self { addresses, envoys }
    }

    /// Sends so many requests of a caller to each replica, all at the same time.
    async fn send(&self, caller: &str, requests: [usize; REPLICAS]) -> Vec<Response> {
        let replicas = self.addresses.iter().zip(requests);
        let sending: Vec<_> = replicas
            .map(|(address, requests)| {
                let (address, request) = (*address, by(caller));
                tokio::spawn(async move { send_all(address, 8, vec![request; requests]).await })
            })
            .collect();
        let mut answers = Vec::new();
        for each in sending {
            answers.extend(each.await.unwrap());
        }
        answers
    }

    /// Waits until no call is on its way, nor is about to be made.
    async fn settle(&self) {
        let (mut calls, mut steady) = (0, 0);
        eventually("the last call to be answered", async || {
            let now = self.calls().await;
            let mut active = 0;
            for envoy in &self.envoys {
                active += envoy.stat("cluster.ratelimit.upstream_rq_active").await;
            }
            steady = if active == 0 && now == calls { steady + 1 } else { 0 };
            calls = now;
            (steady == 5).then_some(())
        })
        .await;
    }

    /// How often a limit was said to be nearly used up.
    async fn alerts(&self) -> u64 {
        let mut alerts = 0;
        for envoy in &self.envoys {
            alerts += envoy.stat("wasmcustom.sidegate.api=.=all;.;quota_alerts").await;
        }
        alerts
    }

    /// The number of calls to the service so far.
    async fn calls(&self) -> u64 {
        let mut calls = 0;
        for envoy in &self.envoys {
            calls += envoy.stat("cluster.ratelimit.upstream_rq_total").await;
        }
        calls
    }
}

fn by(caller: &str) -> Request {
    Request::get("/").header("apikey", caller)
}

/// The number of answers with this status.
fn count(answers: &[Response], status: u16) -> usize {
    answers.iter().filter(|answer| answer.status == status).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_replicas_admit_together_exactly_as_many_as_the_limit_says() {
    let mut redis = Redis::start_persistent().await;
    let mut service = RateLimit::start(redis.address()).await;
    let fleet = Fleet::start(service.address()).await;
    exactly_the_limit(&fleet, 2).await;
    windows_change(&fleet, &redis, "brief", 1).await;

    // A service that is restarted counts on, and so does a Redis that writes to disk.
    let mut admitted = count(&fleet.send("patient-20", [MAX / 6; REPLICAS]).await, 200);
    assert_eq!(admitted, MAX / 2);
    service.restart().await;
    redis.restart().await;
    eventually("all to be connected again", async || {
        (count(&fleet.send("patient-21", [2; REPLICAS]).await, 200) == 2 * REPLICAS).then_some(())
    })
    .await;
    admitted += count(&fleet.send("patient-20", [MAX; REPLICAS]).await, 200);
    assert_eq!(admitted, MAX);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "the same twenty times"]
async fn three_replicas_admit_as_many_every_time() {
    let redis = Redis::start().await;
    let service = RateLimit::start(redis.address()).await;
    let fleet = Fleet::start(service.address()).await;
    exactly_the_limit(&fleet, 20).await;
    almost_the_limit(&fleet, 20).await;
    windows_change(&fleet, &redis, "brief", 20).await;
    windows_change(&fleet, &redis, "swift", 20).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_leases_they_never_admit_more_and_most_requests_need_no_call() {
    let redis = Redis::start().await;
    let service = RateLimit::start(redis.address()).await;
    let mut fleet = Fleet::start(service.address()).await;
    almost_the_limit(&fleet, 2).await;
    windows_change(&fleet, &redis, "swift", 1).await;

    // An Envoy that is killed takes what it was granted and did not spend, and nothing else.
    redis.clear().await;
    let killed = count(&fleet.send("leased-20", [LEASED / 6, 0, 0]).await, 200);
    fleet.settle().await;
    let lost = usize::try_from(redis.counted().await).unwrap() - killed;
    assert!(killed == LEASED / 6 && lost > 0 && lost < 2 * LEASE, "{killed} admitted, {lost} lost");
    let mut others = count(&fleet.send("leased-20", [0, LEASED / 6, LEASED / 6]).await, 200);
    fleet.envoys.remove(0);
    fleet.addresses.remove(0);
    others += count(&fleet.send("leased-20", [2 * LEASED; REPLICAS]).await, 200);
    // What was granted to one of them after its last request.
    fleet.settle().await;
    others += count(&fleet.send("leased-20", [2 * LEASE; REPLICAS]).await, 200);
    println!("{killed} admitted by the killed one, {lost} lost with it, {others} admitted by the others");
    assert_eq!(killed + lost + others, LEASED, "{killed}, {lost} and {others}");
}

/// Ten times the limit, shared out in different ways. What an Envoy holds of its last lease may remain.
async fn almost_the_limit(fleet: &Fleet, runs: usize) {
    let evenly = [10 * LEASED / 3; REPLICAS];
    let skewed = [9 * LEASED, LEASED / 2, LEASED / 2];
    for run in 0..runs {
        let requests = if run % 2 == 0 { evenly } else { skewed };
        let (calls, alerts) = (fleet.calls().await, fleet.alerts().await);
        let answers = fleet.send(&format!("leased-{run}"), requests).await;
        let (admitted, calls) = (count(&answers, 200), fleet.calls().await - calls);
        fleet.settle().await;
        assert_eq!(fleet.alerts().await - alerts, 1, "run {run}: one of them says that the limit is near");
        println!("run {run}: {admitted} of at most {LEASED} admitted by {calls} calls");
        assert!(admitted <= LEASED, "run {run}: {admitted}");
        assert!(admitted >= LEASED - REPLICAS * 2 * LEASE, "run {run}: {admitted}");
        assert_eq!(count(&answers, 429), 10 * LEASED - admitted, "run {run}");
        let calls = usize::try_from(calls).unwrap();
        assert!(calls < LEASED, "run {run}: {calls} calls");
    }
}

/// Ten times the limit, from callers who share it out to the replicas in different ways.
async fn exactly_the_limit(fleet: &Fleet, runs: usize) {
    let evenly = [10 * MAX / 3; REPLICAS];
    let skewed = [9 * MAX, MAX / 2, MAX / 2];
    for run in 0..runs {
        let requests = if run % 2 == 0 { evenly } else { skewed };
        let alerts = fleet.alerts().await;
        let answers = fleet.send(&format!("patient-{run}"), requests).await;
        assert_eq!(fleet.alerts().await - alerts, 1, "run {run}: one of them says that the limit is near");
        assert_eq!((count(&answers, 200), count(&answers, 429)), (MAX, 9 * MAX), "run {run}: {requests:?}");
        let mut refused = answers.iter().filter(|answer| answer.status == 429);
        assert!(refused.all(|answer| answer.code() == Some("14") && answer.header("retry-after").is_some()));
    }
}

/// Callers send more than their limit admits per second, for some seconds. Each window admits what the
/// service counted in it, up to the limit; with leases, less by what was not spent.
async fn windows_change(fleet: &Fleet, redis: &Redis, kind: &str, runs: usize) {
    const SECONDS: usize = 4;
    let (max, unspent) = if kind == "swift" { (SWIFT, SWIFT / 2) } else { (BRIEF, 0) };
    for run in 0..runs {
        redis.clear().await;
        let request = by(&format!("{kind}-{run}"));
        let (mut callers, first) = (Vec::new(), second());
        for address in &fleet.addresses {
            callers.push(Callers::start(2, *address, &request));
        }
        eventually("some seconds to pass", async || (second() >= first + SECONDS).then_some(())).await;
        let (mut admitted, mut refused) = (0, 0);
        for each in callers {
            let tally = each.stop().await;
            assert_eq!(tally.lost, 0);
            admitted += tally.answered.get(&200).copied().unwrap_or_default();
            refused += tally.answered.get(&429).copied().unwrap_or_default();
        }
        fleet.settle().await;
        let windows = usize::try_from(redis.keys().await).unwrap();
        let granted = usize::try_from(redis.counted_up_to(max.try_into().unwrap()).await).unwrap();
        println!("{kind}, run {run}: {admitted} of {granted} in {windows} windows, {refused} refused");
        assert!(windows >= SECONDS && refused > 0, "{windows} windows, {refused} refused");
        // All but the first and the last window are whole.
        assert!(granted >= max * (windows - 2) && granted <= max * windows, "{granted} in {windows}");
        assert!(admitted <= granted && admitted >= granted - unspent * windows, "{admitted} of {granted}");
    }
}

fn second() -> usize {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs().try_into().unwrap()
}

#[derive(Clone, Copy, Debug)]
enum Outage {
    ServiceEnds,
    ServiceHangs,
    RedisEnds,
    RedisHangs,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_an_outage_requests_get_at_once_what_the_policy_says() {
    let mut redis = Redis::start().await;
    let mut service = RateLimit::start(redis.address()).await;
    let fleet = Fleet::start(service.address()).await;
    let outages = [Outage::ServiceEnds, Outage::ServiceHangs, Outage::RedisEnds, Outage::RedisHangs];
    for (number, outage) in outages.into_iter().enumerate() {
        // Each caller has used a third of its quota, at the first replica.
        for kind in ["deny", "local", "allow"] {
            let answers = fleet.send(&format!("{kind}-{number}"), [MAX / 3, 0, 0]).await;
            assert_eq!(count(&answers, 200), MAX / 3, "before {outage:?}");
        }
        match outage {
            Outage::ServiceEnds => service.stop(),
            Outage::ServiceHangs => service.process().freeze(),
            Outage::RedisEnds => redis.stop(),
            Outage::RedisHangs => redis.process().freeze(),
        }
        // A timeout for each of them would take a minute.
        let many = 4 * MAX;
        for (kind, admitted) in [("deny", 0), ("local", REPLICAS * MAX - MAX / 3), ("allow", REPLICAS * many)]
        {
            let began = Instant::now();
            let answers = fleet.send(&format!("{kind}-{number}"), [many; REPLICAS]).await;
            let took = began.elapsed();
            assert!(took < Duration::from_secs(20), "one timeout, not one for each request: {took:?}");
            assert_eq!(count(&answers, 200), admitted, "{kind} in {outage:?}");
            let refused = if kind == "deny" { 503 } else { 429 };
            assert_eq!(count(&answers, refused), REPLICAS * many - admitted, "{kind} in {outage:?}");
            let mut lost = answers.iter().filter(|answer| answer.status == 503);
            assert!(lost.all(|answer| answer.code() == Some("25")));
        }
        redis.restart().await;
        service.restart().await;
        eventually("the quota to be counted again", async || {
            let answers = fleet.send("deny-20", [1; REPLICAS]).await;
            (count(&answers, 503) == 0).then_some(())
        })
        .await;
        let again = format!("deny-{}", 10 + number);
        assert_eq!(count(&fleet.send(&again, [MAX; REPLICAS]).await, 200), MAX, "after {outage:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nonsense_admits_nobody() {
    let service = GrpcServer::start(GrpcAnswer::Garbled).await;
    let fleet = Fleet::start(service.address()).await;
    // The last is `OK` without a word about any limit.
    for answer in [
        GrpcAnswer::Garbled,
        GrpcAnswer::NoMessage,
        GrpcAnswer::Nonsense(200),
        GrpcAnswer::Status(2),
        GrpcAnswer::Break,
        GrpcAnswer::Close,
        GrpcAnswer::Message(b"\xff".to_vec()),
        GrpcAnswer::Message(b"\x08\x01".to_vec()),
    ] {
        service.now(answer.clone());
        let answers = fleet.send("deny-0", [3; REPLICAS]).await;
        assert_eq!(count(&answers, 503), 3 * REPLICAS, "{answer:?}: {answers:?}");
    }
}
