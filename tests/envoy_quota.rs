//! Quota in a real Envoy: several workers count in one store, exactly, whatever happens to configurations and
//! VMs.
//!
//! Limits here are per year or per eternity, so that no window ends during a test.
#![cfg(all(test, not(target_family = "wasm")))]

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use serde_json::{Value, json};
use sidegate::credential::Digest;
use sidegate_harness::{
    Envoy, Listener, Request, Response, Setup, Upstream, Wasm, direct_response, eventually, noop_module,
    route, send, send_all,
};

fn sha256(text: &str) -> String {
    Digest::of(text.as_bytes()).to_hex()
}

/// Consumers, each on the plan of its name where `planned`; the key of each is its name.
fn consumers(planned: bool, names: &[&str]) -> Vec<Value> {
    let consumer = |name: &&str| {
        let keys = json!([{"sha256": sha256(name)}]);
        if planned {
            json!({"name": name, "plan": name, "keys": keys})
        } else {
            json!({"name": name, "keys": keys})
        }
    };
    names.iter().map(consumer).collect()
}

fn listener(policy: &Value) -> Listener {
    Listener::new("main").wasm(&Wasm::sidegate(policy)).route(route("service"))
}

fn by(key: &str) -> Request {
    Request::get("/").header("apikey", key)
}

/// The number of answers with this status.
fn count(answers: &[Response], status: u16) -> usize {
    answers.iter().filter(|answer| answer.status == status).count()
}

/// The value of a parameter of the limit in the `ratelimit` header.
fn parameter(answer: &Response, header: &str, limit: &str, name: &str) -> Option<u64> {
    let value = answer.header(header)?;
    let item = value.split(", ").find_map(|item| item.strip_prefix(&format!("\"{limit}\"")))?;
    item.split(';').find_map(|parameter| parameter.strip_prefix(&format!("{name}=")))?.parse().ok()
}

fn remaining(answer: &Response, limit: &str) -> Option<u64> {
    parameter(answer, "ratelimit", limit, "r")
}

const WORKERS: usize = 4;

/// The number of meters beside those under test.
const NEIGHBOURS: usize = 28;

/// A limit of `max`, and three limits of which the first is `max`.
///
/// All meters share one value of the store. Neighbours make it long, so that an update takes longer and
/// workers interfere with each other.
fn exact(revision: &str, max: u64) -> Value {
    let above = |by: u64| max.saturating_add(by);
    let names: Vec<_> = (0..NEIGHBOURS).map(neighbour).collect();
    let neighbours =
        names.iter().map(|name| json!({"name": name, "plan": "wide", "keys": [{"sha256": sha256(name)}]}));
    let windows = ["hour", "day", "week", "month", "year", "eternity"].into_iter();
    let wide = windows
        .flat_map(|per| ["hits", "reads"].map(|metric| json!({"metric": metric, "max": 9, "per": per})));
    let watched = consumers(true, &["one", "three", "reloaded"]);
    json!({
        "sidegate": "v1",
        "revision": revision,
        "gate": {"capacity": {"meters": 1}, "debug": {"secret_sha256": sha256("show")}},
        "metrics": {"hits": {}, "reads": {"parent": "hits"}},
        "plans": {
            "one": {"limits": [{"metric": "hits", "max": max, "per": "eternity"}]},
            "three": {"limits": [
                {"metric": "hits", "max": max, "per": "eternity"},
                {"metric": "reads", "max": above(10), "per": "year"},
                {"metric": "hits", "max": above(20), "per": "year"},
            ]},
            "reloaded": {"limits": [{"metric": "hits", "max": 1000, "per": "eternity"}]},
            "wide": {"limits": wide.collect::<Vec<_>>()},
        },
        "consumers": watched.into_iter().chain(neighbours).collect::<Vec<_>>(),
        "apis": [{
            "name": "api", "access": ["api_key"], "rules": [{"path": "/**"}],
            "metering": [{"path": "/**", "metric": "reads"}],
        }],
    })
}

fn neighbour(number: usize) -> String {
    format!("neighbour-{number}")
}

#[tokio::test]
async fn limits_of_the_service_stay_in_lists_of_limits() {
    const OWN: &[(&str, &str)] = &[("ratelimit", "\"own\";r=5;t=9"), ("x-ratelimit-limit", "5")];
    let service = Upstream::granting(OWN).await;
    let policy = json!({
        "sidegate": "v1",
        "gate": {"rate_limit_headers": "both"},
        "plans": {"acme": {"limits": [{"metric": "hits", "max": 3, "per": "eternity"}]}},
        "metrics": {"hits": {}},
        "consumers": consumers(true, &["acme"]),
        "apis": [{"name": "all", "access": ["api_key"], "metering": [{"path": "/**", "metric": "hits"}],
            "rules": [{"path": "/**"}]}],
    });
    let envoy = Envoy::start(Setup::new(listener(&policy)).cluster("service", service.address())).await;
    let answer = envoy.send(by("acme")).await;
    let values = |name: &str| -> Vec<&str> {
        answer.headers.iter().filter(|(each, _)| each == name).map(|(_, value)| value.as_str()).collect()
    };
    assert_eq!(values("ratelimit"), ["\"own\";r=5;t=9", "\"hits-eternity\";r=2"]);
    assert_eq!(values("x-ratelimit-limit"), ["3"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exactly_as_many_are_admitted_as_the_limits_say() {
    let listener = |policy: &Value| {
        Listener::new("main").wasm(&Wasm::sidegate(policy)).route(direct_response(200, "ok"))
    };
    let mut envoy = Envoy::start(Setup::new(listener(&exact("one", 1000))).workers(WORKERS)).await;
    let neighbours = envoy.send_all(4, (0..NEIGHBOURS).map(|number| by(&neighbour(number)))).await;
    assert_eq!(count(&neighbours, 200), NEIGHBOURS);

    for consumer in ["one", "three"] {
        let answers = envoy.send_all(32, vec![by(consumer); 10_000]).await;
        assert_eq!((count(&answers, 200), count(&answers, 429)), (1000, 9000), "{consumer}");
        let mut refused = answers.iter().filter(|answer| answer.status == 429);
        assert!(refused.all(|answer| answer.code() == Some("14")));
    }
    let stats = envoy.stats().await;
    let connections =
        stats.iter().filter(|(name, _)| name.contains(".worker_") && name.ends_with(".downstream_cx_total"));
    assert!(
        connections.clone().filter(|(_, count)| **count > 0).count() >= 3,
        "several workers: {connections:?}"
    );

    // Admitted requests were counted once in every limit, refused ones in none.
    envoy.reload(listener(&exact("two", 9000))).await.unwrap();
    let answer = envoy.send(by("three")).await;
    for (limit, left) in [("hits-eternity", 7999), ("reads-year", 8009), ("hits-year", 8019)] {
        assert_eq!(remaining(&answer, limit), Some(left), "{limit}: {:?}", answer.headers);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workers_agree_on_the_slot_of_each_meter() {
    let names: Vec<_> = (0..8).map(neighbour).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let policy = json!({
        "sidegate": "v1", "consumers": consumers(false, &names),
        "apis": [{
            "name": "api", "access": ["api_key"], "rules": [{"path": "/**"}],
            "limits": [{"metric": "hits", "max": 20, "per": "eternity"}],
        }],
    });
    let listener = Listener::new("main").wasm(&Wasm::sidegate(&policy)).route(direct_response(200, "ok"));
    let envoy = Envoy::start(Setup::new(listener).workers(WORKERS)).await;
    for name in names {
        let answers = envoy.send_all(8, vec![by(name); 80]).await;
        assert_eq!((count(&answers, 200), count(&answers, 429)), (20, 60), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exactly_as_many_are_admitted_across_a_reload_under_load() {
    let service = Upstream::delayed_echo("service", Duration::from_millis(10)).await;
    let mut envoy = Envoy::start(
        Setup::new(listener(&exact("old", 1))).cluster("service", service.address()).workers(WORKERS),
    )
    .await;
    let address = envoy.address().await;
    let request = || by("reloaded").header("x-sidegate-debug", "show");

    // Until the reload is over, or three quarters of the limit are used up.
    let over = Arc::new(AtomicBool::new(false));
    let load = tokio::spawn({
        let over = over.clone();
        async move {
            let mut answers = Vec::new();
            while !over.load(Ordering::SeqCst) && answers.len() < 750 {
                answers.extend(send_all(address, 8, vec![request(); 30]).await);
            }
            answers
        }
    });
    eventually("some requests before the reload", async || (service.requests() >= 50).then_some(())).await;
    envoy.reload(listener(&exact("new", 1))).await.unwrap();
    over.store(true, Ordering::SeqCst);
    let mut answers = load.await.unwrap();

    answers.extend(send_all(address, 32, vec![request(); 10_000]).await);
    let (admitted, refused) = (count(&answers, 200), count(&answers, 429));
    assert_eq!((admitted, refused), (1000, answers.len() - 1000), "every request is admitted or refused");
    assert_eq!(service.requests(), 1000);
    for revision in ["old", "new"] {
        let mut admitted = answers.iter().filter(|answer| answer.status == 200);
        let by_it = |answer: &Response| answer.header("x-sidegate-revision") == Some(revision);
        assert!(admitted.any(by_it), "{revision} admitted some");
    }
}

/// APIs by host, each with limits of its own kind.
fn kinds() -> Value {
    let api = |name: &str, limits: Value| {
        json!({
            "name": name, "hosts": [name], "access": ["api_key"], "limits": limits,
            "rules": [{"path": "/**"}, {"path": "/open", "access": ["allow"]}],
            "metering": [
                {"path": "/free", "metric": "free", "last": true},
                {"path": "/bulk", "metric": "hits", "by": 2, "last": true},
                {"path": "/**", "methods": ["POST"], "metric": "writes", "last": true},
                {"path": "/**", "metric": "hits"},
            ],
        })
    };
    let consumers =
        [consumers(true, &["yearly", "good", "roomy"]), consumers(false, &["a", "b", "c"])].concat();
    json!({
        "sidegate": "v1",
        "metrics": {"hits": {}, "writes": {"parent": "hits"}, "free": {}},
        "plans": {
            "yearly": {"limits": [
                {"metric": "hits", "max": 3, "per": "year"},
                {"metric": "hits", "max": 9, "per": "eternity"},
                {"metric": "writes", "max": 0, "per": "eternity"},
            ]},
            "good": {"limits": [{"metric": "hits", "max": 2, "per": "eternity"}]},
            "roomy": {"limits": [{"metric": "hits", "max": 9, "per": "eternity"}]},
        },
        "consumers": consumers,
        "apis": [
            api("plain", json!([{"metric": "free", "max": 100, "per": "eternity"}])),
            api("shared", json!([{"metric": "hits", "max": 4, "per": "eternity", "of": "api"}])),
            api("address", json!([{"metric": "hits", "max": 2, "per": "eternity", "of": "address"}])),
            api("consumer", json!([{"metric": "hits", "max": 2, "per": "eternity"}])),
        ],
    })
}

#[tokio::test]
async fn callers_see_their_limits_and_each_kind_has_its_own_counter() {
    let service = Upstream::echo("service").await;
    let mut policy = kinds();
    policy["gate"] = json!({"rate_limit_headers": "both"});
    let trusting = listener(&policy)
        .manager("use_remote_address", json!(true))
        .manager("xff_num_trusted_hops", json!(1));
    let envoy = Envoy::start(Setup::new(trusting).cluster("service", service.address())).await;
    let send = async |host: &str, target: &str, key: &str| {
        envoy.send(Request::get(target).host(host).header("apikey", key)).await
    };

    // Headers on admitted and on refused requests.
    for left in [2, 1, 0] {
        let answer = send("plain", "/", "yearly").await;
        assert_eq!(answer.status, 200);
        assert_eq!(
            (remaining(&answer, "hits-year"), remaining(&answer, "hits-eternity")),
            (Some(left), Some(left + 6))
        );
        assert_eq!(parameter(&answer, "ratelimit-policy", "hits-year", "q"), Some(3));
        assert_eq!(parameter(&answer, "ratelimit-policy", "hits-eternity", "q"), Some(9));
        assert_eq!(answer.header("x-ratelimit-limit"), Some("3"));
        assert_eq!(answer.header("x-ratelimit-remaining"), Some(left.to_string().as_str()));
        assert_eq!(answer.header("retry-after"), None);
    }
    let refused = send("plain", "/", "yearly").await;
    assert_eq!((refused.status, refused.code()), (429, Some("14")));
    assert_eq!(refused.header("x-ratelimit-remaining"), Some("0"));
    let wait: u64 = refused.header("retry-after").expect("the year will end").parse().unwrap();
    assert!((1..=366 * 86_400).contains(&wait), "{wait}");
    assert_eq!(refused.header("x-ratelimit-reset"), refused.header("retry-after"));
    assert_eq!(parameter(&refused, "ratelimit", "hits-year", "t"), Some(wait));
    // A request that touches no exhausted limit passes. A disabled metric is forbidden, without a time to
    // retry.
    let free = send("plain", "/free", "yearly").await;
    assert_eq!((free.status, remaining(&free, "free-eternity")), (200, Some(99)));
    let never = envoy.send(Request::new("POST", "/").host("plain").header("apikey", "yearly")).await;
    assert_eq!((never.status, never.code(), never.header("retry-after")), (403, Some("27"), None));
    // A limit per eternity has no end to wait for. A request that needs more than is left uses nothing.
    assert_eq!(send("plain", "/", "good").await.status, 200);
    assert_eq!(send("plain", "/bulk", "good").await.code(), Some("14"));
    assert_eq!(remaining(&send("plain", "/", "good").await, "hits-eternity"), Some(0));
    let good = send("plain", "/", "good").await;
    assert_eq!(
        (good.status, good.header("retry-after"), good.header("x-ratelimit-reset")),
        (429, None, None)
    );

    // An API's limit is shared by all callers. A request that is refused for another reason uses nothing of
    // it, and a request that it refuses uses nothing of other limits.
    assert_eq!(send("shared", "/", "unknown").await.code(), Some("13"));
    assert_eq!(envoy.send(Request::get("/").host("shared")).await.code(), Some("12"));
    for (key, left) in [("a", 3), ("roomy", 2), ("b", 1), ("roomy", 0)] {
        assert_eq!(remaining(&send("shared", "/", key).await, "api-hits-eternity"), Some(left), "{key}");
    }
    for key in ["a", "roomy", "c"] {
        assert_eq!(send("shared", "/", key).await.code(), Some("14"), "{key}");
    }
    assert_eq!(
        remaining(&send("plain", "/", "roomy").await, "hits-eternity"),
        Some(6),
        "2 admitted, 1 refused, 1 now"
    );

    // A consumer's limit is each consumer's own.
    for (key, status) in [("a", 200), ("b", 200), ("a", 200), ("a", 429), ("b", 200), ("b", 429), ("c", 200)]
    {
        assert_eq!(send("consumer", "/", key).await.status, status, "{key}");
    }

    // A limit by address holds for all requests from that address. It is the address that Envoy trusts, not
    // the one that the caller claims.
    let from = async |address: &str, key: &str| {
        envoy
            .send(
                Request::get("/open")
                    .host("address")
                    .header("x-forwarded-for", address)
                    .header("apikey", key),
            )
            .await
    };
    for (address, key, status) in [
        ("192.0.2.1", "a", 200),
        ("192.0.2.1", "", 200),
        ("192.0.2.1", "b", 429),
        ("198.51.100.7, 192.0.2.1", "b", 429),
        ("192.0.2.2", "a", 200),
        ("2001:db8::1", "a", 200),
        ("2001:db8::2", "a", 200),
        ("2001:db8::3", "a", 429),
    ] {
        assert_eq!(from(address, key).await.status, status, "{address} {key}");
    }
    let stats = envoy.stats().await;
    let refused = |api: &str| stats[&format!("wasmcustom.sidegate.api=.={api};.;quota_refusals")];
    assert_eq!(["plain", "shared", "consumer", "address"].map(refused), [3, 3, 2, 3]);
}

#[tokio::test]
async fn counters_outlive_configurations_and_vms() {
    let policy = |revision: &str, max: u64| {
        json!({
            "sidegate": "v1", "revision": revision,
            "plans": {"acme": {"limits": [{"metric": "hits", "max": max, "per": "eternity"}]}},
            "consumers": consumers(true, &["acme"]),
            "apis": [{"name": "api", "access": ["api_key"], "rules": [{"path": "/**"}]}],
        })
    };
    let service = Upstream::echo("service").await;
    let mut envoy =
        Envoy::start(Setup::new(listener(&policy("1", 10))).cluster("service", service.address())).await;
    let spend = async |envoy: &Envoy, left: u64| {
        let answer = envoy.send(by("acme")).await;
        assert_eq!(remaining(&answer, "hits-eternity"), Some(left), "{answer:?}");
    };
    spend(&envoy, 9).await;

    envoy.reload(listener(&policy("2", 20))).await.unwrap();
    spend(&envoy, 18).await;

    // Another environment means new VMs with the same vm_id.
    let vms = "wasm.envoy.wasm.runtime.v8.created";
    let before = envoy.stat(vms).await;
    let restarted = |value| {
        Listener::new("main")
            .wasm(&Wasm::sidegate(&policy("2", 20)).environment("RESTART", value))
            .route(route("service"))
    };
    envoy.reload(restarted("1")).await.unwrap();
    assert!(envoy.stat(vms).await >= before + 3, "a base VM and one of each worker are new");
    spend(&envoy, 17).await;
    envoy.reload(restarted("2")).await.unwrap();
    spend(&envoy, 16).await;

    // A limit that is removed and added again finds its counter.
    let mut without = policy("3", 20);
    without["plans"]["acme"]["limits"][0]["per"] = json!("year");
    envoy.reload(listener(&without)).await.unwrap();
    let answer = envoy.send(by("acme")).await;
    assert_eq!(remaining(&answer, "hits-year"), Some(19));
    envoy.reload(listener(&policy("4", 5))).await.unwrap();
    spend(&envoy, 0).await;
    assert_eq!(envoy.send(by("acme")).await.code(), Some("14"));
}

/// A listener whose requests overwrite shared data of Sidegate's VM.
fn saboteur() -> Listener {
    let module = noop_module().with_file_name("sidegate_saboteur.wasm");
    assert!(module.is_file(), "{} is missing: run `make saboteur`", module.display());
    Listener::new("saboteur").route(direct_response(200, "done")).filter(json!({
        "name": "saboteur",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm",
            "config": {
                "name": "saboteur",
                "root_id": "saboteur",
                "vm_config": {
                    "vm_id": "sidegate",
                    "runtime": "envoy.wasm.runtime.v8",
                    "code": {"local": {"filename": module}},
                },
            },
        },
    }))
}

#[tokio::test]
async fn corrupt_counters_are_ignored_and_reported() {
    let policy = json!({
        "sidegate": "v1",
        "gate": {"capacity": {"meters": 4}},
        "plans": {"acme": {"limits": [{"metric": "hits", "max": 2, "per": "eternity"}]}},
        "consumers": consumers(true, &["acme"]),
        "apis": [{"name": "api", "access": ["api_key"], "rules": [{"path": "/**"}]}],
    });
    let service = Upstream::echo("service").await;
    let setup = Setup::new(listener(&policy)).listener(saboteur()).cluster("service", service.address());
    let envoy = Envoy::start(setup).await;
    let (corrupt, sabotage) = ("wasmcustom.sidegate.store_corrupt", envoy.address_of("saboteur").await);

    let use_up = async || {
        for (status, left) in [(200, 1), (200, 0), (429, 0)] {
            let answer = envoy.send(by("acme")).await;
            assert_eq!((answer.status, remaining(&answer, "hits-eternity")), (status, Some(left)));
        }
    };
    use_up().await;
    let another_version = [&[2_u8][..], &[0; 40]].concat();
    for (times, garbage) in (1..).zip([b"garbage".as_slice(), b"\x01short", b"\xff", &another_version]) {
        let hex: String = garbage.iter().map(|byte| format!("{byte:02x}")).collect();
        let order = Request::get("/").header("x-write", format!("sidegate/meters/ 4 {hex}"));
        assert_eq!(send(sabotage, &order).await.unwrap().status, 200);
        use_up().await;
        assert_eq!(envoy.stat(corrupt).await, times, "{}", garbage.escape_ascii());
    }
}

#[tokio::test]
async fn a_full_store_refuses_new_consumers_and_forgets_none() {
    let names: Vec<_> = (0..33).map(|number| format!("c{number}")).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let policy = json!({
        "sidegate": "v1",
        "gate": {"capacity": {"meters": 1}},
        "consumers": consumers(false, &names),
        "apis": [{
            "name": "api", "access": ["api_key"], "rules": [{"path": "/**"}],
            "limits": [{"metric": "hits", "max": 2, "per": "eternity"}],
        }],
    });
    let service = Upstream::echo("service").await;
    let envoy = Envoy::start(Setup::new(listener(&policy)).cluster("service", service.address())).await;
    for left in [1, 0] {
        for name in &names[..32] {
            assert_eq!(remaining(&envoy.send(by(name)).await, "hits-eternity"), Some(left), "{name}");
        }
        let refused = envoy.send(by("c32")).await;
        assert_eq!((refused.status, refused.code(), refused.header("retry-after")), (503, Some("25"), None));
        assert_eq!(refused.json()["message"], "The quota service is not available.");
    }
    assert_eq!(envoy.send(by("c0")).await.code(), Some("14"));
    assert_eq!(service.requests(), 64);
}
