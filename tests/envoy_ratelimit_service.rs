//! What the real rate limit service does, on which replicated limits rely. There is no Envoy here, only the
//! service with its Redis.
//!
//! Counters here are for years, so that no window ends during a test.
#![cfg(test)]
#![cfg(not(target_family = "wasm"))]
#![expect(clippy::arithmetic_side_effects, reason = "a test that overflows fails, as it should")]
#![expect(clippy::disallowed_methods, reason = "what is compared here is the clock of another program")]

use std::{
    io::Write as _,
    process::{Command, Stdio},
    rc::Rc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use prost::Message as _;
use serde_json::{Value, json};
use sidegate::{
    gate::{
        Request,
        drive::{Driver, Step},
    },
    policy::Policy,
    provider::Transport,
    quota::remote,
    store::Memory,
    time::Timestamp,
};
use sidegate_harness::{
    RateLimit, Redis, domain, eventually, project,
    rls::{Descriptor, Limit, OK, OVER_LIMIT, RateLimitRequest, RateLimitResponse, Unit},
};

/// A call that counts one hit in each of these descriptors, or as many as the descriptor says.
fn call(descriptors: impl Into<Vec<Descriptor>>) -> RateLimitRequest {
    RateLimitRequest { domain: "sidegate".into(), descriptors: descriptors.into(), hits_addend: 0 }
}

/// The counter of this name, of which `max` are admitted.
fn counter(name: &str, max: u32) -> Descriptor {
    Descriptor::new(&[("payer", name)], Some(Limit::new(max, Unit::Year)))
}

/// Codes and remaining hits, in the order of the descriptors.
fn standing(answer: &RateLimitResponse) -> Vec<(i32, u32)> {
    answer.statuses.iter().map(|status| (status.code, status.limit_remaining)).collect()
}

struct Counting {
    redis: Redis,
    service: RateLimit,
}

impl Counting {
    async fn start(settings: &[(&str, &str)]) -> Self {
        let redis = Redis::start().await;
        let service = RateLimit::start_with(redis.address(), &domain("sidegate"), settings).await;
        Self { redis, service }
    }

    /// Counts, and says how each descriptor stands.
    async fn count(&self, descriptors: impl Into<Vec<Descriptor>>) -> Vec<(i32, u32)> {
        standing(&self.service.ask(call(descriptors)).await.expect("an answer"))
    }

    /// What a counter has reached. Looking does not change it.
    async fn reached(&self, name: &str) -> u32 {
        const FAR: u32 = 1000;
        match *self.count([counter(name, FAR).hits(0)]).await {
            [(OK, remaining)] => FAR - remaining,
            ref other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn the_limit_of_a_call_holds_exactly() {
    let counting = Counting::start(&[]).await;
    for (hits, max, expected) in [
        (3, 5, (OK, 2)),
        (2, 5, (OK, 0)),
        (0, 5, (OK, 0)),
        (1, 5, (OVER_LIMIT, 0)),
        (0, 5, (OVER_LIMIT, 0)),
        (0, 6, (OK, 0)),
        (0, 9, (OK, 3)),
        (1, 0, (OVER_LIMIT, 0)),
    ] {
        let found = counting.count([counter("a", max).hits(hits)]).await;
        assert_eq!(found, [expected], "{hits} hits of at most {max}");
    }
    assert_eq!(counting.reached("a").await, 7, "refused hits are counted too");
}

#[tokio::test]
async fn a_lease_that_reaches_beyond_the_limit_loses_nothing_if_the_limit_of_the_call_is_raised_by_it() {
    let counting = Counting::start(&[]).await;
    let lease = |max: u32, hits: u32| counter("a", max + hits - 1).hits(hits.into());
    assert_eq!(counting.count([lease(10, 8)]).await, [(OK, 9)], "8 granted: the lease or less");
    assert_eq!(counting.count([lease(10, 8)]).await, [(OK, 1)], "2 granted: one more than remains");
    assert_eq!(counting.count([lease(10, 8)]).await, [(OVER_LIMIT, 0)], "none");
    assert_eq!(counting.count([lease(10, 1)]).await, [(OVER_LIMIT, 0)]);
}

#[tokio::test]
async fn all_counters_of_a_call_count_even_if_one_of_them_is_over() {
    let counting = Counting::start(&[]).await;
    let both = || [counter("full", 0), counter("wide", 9)];
    assert_eq!(counting.count(both()).await, [(OVER_LIMIT, 0), (OK, 8)]);
    assert_eq!(counting.reached("wide").await, 1);
    assert_eq!(counting.count([counter("wide", 9), counter("wide", 9).hits(3)]).await, [(OK, 7), (OK, 4)]);

    let looks_first = Counting::start(&[("STOP_CACHE_KEY_INCREMENT_WHEN_OVERLIMIT", "true")]).await;
    looks_first.count(both()).await;
    assert_eq!(looks_first.reached("wide").await, 0, "only if its settings say so");
    assert_eq!(looks_first.reached("full").await, 1);
}

#[tokio::test]
async fn what_was_taken_cannot_be_given_back() {
    let counting = Counting::start(&[]).await;
    counting.count([counter("a", 9).hits(3)]).await;
    let back = Descriptor { is_negative_hits: true, ..counter("a", 9).hits(1) };
    assert_eq!(counting.count([back]).await, [(OK, 5)], "it counts up");

    // The service prints unsigned numbers as signed ones. A counter below zero cannot be read any more.
    let below_zero = counter("b", 9).hits(u64::MAX);
    assert_eq!(counting.service.ask(call([below_zero])).await, Err(UNKNOWN));
    assert_eq!(counting.service.ask(call([counter("b", 9).hits(0)])).await, Err(UNKNOWN));
}

#[tokio::test]
async fn what_the_service_does_not_know_is_admitted_without_a_limit() {
    let counting = Counting::start(&[]).await;
    let elsewhere = RateLimitRequest { domain: "elsewhere".into(), ..call([counter("a", 0)]) };
    let no_limit = call([Descriptor::new(&[("payer", "a")], None)]);
    for request in [elsewhere, no_limit] {
        let answer = counting.service.ask(request).await.expect("an answer");
        assert_eq!(answer.overall_code, OK);
        assert_eq!(answer.statuses[0].current_limit, None, "only this shows that nothing was counted");
    }
    let known = counting.service.ask(call([counter("a", 7)])).await.expect("an answer");
    assert_eq!(known.statuses[0].current_limit, Some(Limit::new(7, Unit::Year)));

    let nameless = RateLimitRequest { domain: String::new(), ..call([counter("a", 0)]) };
    assert_eq!(counting.service.ask(nameless).await, Err(UNKNOWN));
    assert_eq!(counting.service.ask(call([])).await, Err(UNKNOWN));
}

#[tokio::test]
async fn a_unit_that_the_service_does_not_know_ends_it() {
    let mut counting = Counting::start(&[]).await;
    for unit in [0, 8] {
        let limit = Some(Limit { requests_per_unit: 9, unit });
        let answer = counting.service.ask(call([Descriptor::new(&[("payer", "a")], limit)])).await;
        assert!(answer.is_err(), "{answer:?}");
        let service = &mut counting.service;
        eventually("the service to end", async || service.ended().then_some(())).await;
        counting.service.restart().await;
    }
}

#[tokio::test]
async fn windows_are_multiples_of_their_length_since_the_epoch() {
    let counting = Counting::start(&[]).await;
    for (unit, length) in [
        (Unit::Second, 1),
        (Unit::Minute, 60),
        (Unit::Hour, 3600),
        (Unit::Day, 86_400),
        (Unit::Week, 7 * 86_400),
        (Unit::Month, 30 * 86_400),
        (Unit::Year, 365 * 86_400),
    ] {
        let request = call([Descriptor::new(&[("payer", "a")], Some(Limit::new(9, unit)))]);
        let (before, answer) = (seconds(), counting.service.ask(request).await.expect("an answer"));
        let reset = answer.statuses[0].duration_until_reset.expect("a duration").seconds;
        let expected = |now: i64| length - now % length;
        assert!(
            (expected(seconds())..=expected(before)).contains(&reset) || length == 1,
            "{unit:?}: {reset}"
        );
        assert!((1..=length).contains(&reset), "{unit:?}: {reset}");
    }
}

#[tokio::test]
async fn a_local_cache_remembers_who_is_over() {
    let counting = Counting::start(&[("LOCAL_CACHE_SIZE_IN_BYTES", "1000000")]).await;
    assert_eq!(counting.count([counter("a", 5).hits(6)]).await, [(OVER_LIMIT, 0)]);
    assert_eq!(counting.count([counter("a", 9)]).await, [(OVER_LIMIT, 0)], "whatever the limit is now");
}

#[tokio::test]
async fn a_call_waits_as_long_as_redis_is_silent_and_counts_afterwards() {
    let counting = Counting::start(&[("REDIS_TIMEOUT", "100ms")]).await;
    counting.count([counter("a", 9).hits(3)]).await;
    counting.redis.process().freeze();
    let unanswered =
        tokio::time::timeout(Duration::from_millis(500), counting.count([counter("a", 9)])).await;
    assert!(unanswered.is_err(), "REDIS_TIMEOUT is about connections: {unanswered:?}");
    counting.redis.process().thaw();
    eventually("the call to count", async || (counting.reached("a").await == 4).then_some(())).await;
}

#[tokio::test]
async fn without_redis_each_connection_fails_once_then_calls_wait_and_counts_are_as_durable_as_redis() {
    const CONNECTIONS: usize = 3;
    let settings = [("REDIS_POOL_SIZE", "3")];
    for (mut redis, remaining) in [(Redis::start().await, 9), (Redis::start_persistent().await, 6)] {
        let service = RateLimit::start_with(redis.address(), &domain("sidegate"), &settings).await;
        service.ask(call([counter("a", 9).hits(3)])).await.expect("an answer");
        redis.stop();
        let look = || service.ask(call([counter("a", 9).hits(0)]));
        for _ in 0..CONNECTIONS {
            assert_eq!(look().await, Err(UNKNOWN));
        }
        let unanswered = tokio::time::timeout(Duration::from_millis(500), look()).await;
        assert!(unanswered.is_err(), "it waits for a connection: {unanswered:?}");
        redis.restart().await;
        assert_eq!(standing(&look().await.expect("an answer, once it is connected")), [(OK, remaining)]);
    }
}

/// What is sent and read here, as JSON from the types that the protocol's authors publish.
fn published(arguments: [&str; 2], input: &[u8]) -> Vec<u8> {
    let program = project("target/tools/ratelimit/messages");
    assert!(program.is_file(), "{} is missing: run `make setup`", program.display());
    let piped = || Stdio::piped();
    let child = Command::new(program).args(arguments).stdin(piped()).stdout(piped()).spawn();
    let mut child = child.expect("a program");
    child.stdin.take().expect("it is piped").write_all(input).expect("it reads");
    let output = child.wait_with_output().expect("it ends");
    assert!(output.status.success(), "{arguments:?}");
    output.stdout
}

#[test]
fn messages_are_those_of_the_published_protocol() {
    let limits = json!([{"metric": "hits", "max": 300, "per": "hour", "across": "replicas"}]);
    let now = Timestamp::from_seconds(1_800_003_600);
    for (engine, expected) in [
        (
            "envoy",
            json!({"domain": "sidegate", "descriptors": [{
                "entries": [
                    {"key": "limit", "value": "api:all/api/hits/hour"}, {"key": "payer", "value": "…"},
                    {"key": "window", "value": "1800003600"},
                ],
                "limit": {"requestsPerUnit": 300, "unit": "DAY"}, "hitsAddend": "1",
            }]}),
        ),
        (
            "limitador",
            json!({"domain": "sidegate", "descriptors": [{
                "entries": [
                    {"key": "limit", "value": "api:all/api/hits/hour"}, {"key": "max", "value": "300"},
                    {"key": "payer", "value": "…"}, {"key": "window", "value": "1800003600"},
                ],
            }], "hitsAddend": 1}),
        ),
    ] {
        let mut limits = limits.clone();
        limits[0]["of"] = json!("api");
        let policy = json!({
            "sidegate": "v1",
            "providers": {"shared": {"rate_limit_service": {"cluster": "ratelimit", "engine": engine}}},
            "apis": [{"name": "all", "access": ["allow"], "rules": [{"path": "/**"}], "limits": limits}],
        });
        let policy = Policy::load(policy.to_string().as_bytes(), &|_| None).expect("a valid policy");
        let fields = [(":method", "GET"), (":path", "/"), (":authority", "example.com")];
        let headers = fields.map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec())).to_vec();
        let gate = Driver::new(policy.into(), Rc::new(Memory::new()));
        let step = gate.begin(Request::new(headers.into(), || None, 1), now);
        let Step::Waits(waiting) = step else { panic!("it waits for the service") };
        let Transport::Grpc(call) = &waiting.call().expect("a call").transport else { panic!("it is gRPC") };

        let mut json: Value =
            serde_json::from_slice(&published(["decode", "request"], &call.message)).expect("JSON");
        let entries = json["descriptors"][0]["entries"].as_array_mut().expect("entries");
        let payer = entries.iter_mut().find(|entry| entry["key"] == "payer").expect("a payer");
        assert_eq!(std::mem::replace(&mut payer["value"], json!("…")).as_str().map(str::len), Some(32));
        assert_eq!(json, expected, "{engine}");
    }

    // The numbers of all units. The last is not among those of the protocol's `RateLimitOverride`.
    for (unit, name) in (0..=6).zip(["UNKNOWN", "SECOND", "MINUTE", "HOUR", "DAY", "MONTH", "YEAR"]) {
        let limit = remote::Override { requests_per_unit: 1, unit };
        let descriptor =
            remote::Descriptor { entries: Vec::new(), limit: Some(limit), hits_addend: Some(u64::MAX) };
        let request =
            remote::RateLimitRequest { descriptors: vec![descriptor], ..remote::RateLimitRequest::default() };
        let json = published(["decode", "request"], &request.encode_to_vec());
        let json: Value = serde_json::from_slice(&json).expect("JSON");
        let limit = &json["descriptors"][0]["limit"];
        assert_eq!(limit["unit"].as_str().unwrap_or("UNKNOWN"), name);
        assert_eq!(json["descriptors"][0]["hitsAddend"], u64::MAX.to_string());
    }

    let answer = json!({
        "overallCode": "OVER_LIMIT",
        "statuses": [
            {
                "code": "OVER_LIMIT", "currentLimit": {"name": "n", "requestsPerUnit": 300, "unit": "DAY"},
                "limitRemaining": 7, "durationUntilReset": "30s",
            },
            {"code": "OK"},
        ],
        "responseHeadersToAdd": [{"key": "x-ratelimit-limit", "value": "300"}],
        "requestHeadersToAdd": [{"key": "a", "value": "b"}], "rawBody": "Ym9keQ==",
        "dynamicMetadata": {"a": "b"}, "quota": {"requests": 3, "id": "q"},
    });
    let bytes = published(["encode", "response"], answer.to_string().as_bytes());
    let read = remote::RateLimitResponse::decode(&*bytes).expect("an answer");
    let current_limit = Some(remote::Override { requests_per_unit: 300, unit: 4 });
    let first = remote::DescriptorStatus { code: remote::OVER_LIMIT, current_limit, limit_remaining: 7 };
    let second = remote::DescriptorStatus { code: remote::OK, ..remote::DescriptorStatus::default() };
    let header = remote::KeyValue { key: "x-ratelimit-limit".to_owned(), value: "300".to_owned() };
    let expected = remote::RateLimitResponse {
        overall_code: remote::OVER_LIMIT,
        statuses: vec![first, second],
        response_headers_to_add: vec![header],
    };
    assert_eq!(read, expected);
    let back: Value =
        serde_json::from_slice(&published(["decode", "response"], &read.encode_to_vec())).expect("JSON");
    assert_eq!(back["statuses"][0]["currentLimit"], json!({"requestsPerUnit": 300, "unit": "DAY"}));
    assert_eq!(back["responseHeadersToAdd"], answer["responseHeadersToAdd"]);
}

/// The gRPC status of a failure.
const UNKNOWN: u32 = 2;

fn seconds() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970");
    now.as_secs().try_into().expect("a small number")
}
