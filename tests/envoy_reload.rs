//! Policies in a real Envoy: loaded, replaced, refused. An invalid one never replaces a valid one, and the
//! log says why.
#![cfg(all(test, not(target_family = "wasm")))]
#![expect(clippy::indexing_slicing, reason = "policies are changed as JSON values, in helpers too")]

use serde_json::{Value, json};
use sidegate::credential::Digest;
use sidegate_harness::{Envoy, Listener, Rejected, Request, Setup, Stats, Upstream, Wasm, eventually, route};

/// A policy that admits everybody and sends its revision to the service.
fn policy(revision: &str) -> Value {
    json!({
        "sidegate": "v1",
        "revision": revision,
        "apis": [{
            "name": "api", "access": ["allow"], "rules": [{"path": "/**"}],
            "forward": {"headers": {"x-served-by": revision}},
        }],
    })
}

fn digest(policy: &Value) -> String {
    Digest::of(policy.to_string().as_bytes()).to_hex().chars().take(16).collect()
}

fn main(wasm: &Wasm) -> Listener {
    Listener::new("main").wasm(wasm).route(route("service"))
}

/// Policies that do not load, each with the expected messages.
fn wrong() -> Vec<(Wasm, Vec<&'static str>)> {
    let with = |change: &dyn Fn(&mut Value)| {
        let mut policy = policy("wrong");
        change(&mut policy);
        Wasm::sidegate(&policy)
    };
    let provider = json!({"introspection": {
        "cluster": "oidc", "url": "http://oidc/introspect",
        "authentication": {"basic": {"id": "gateway", "secret": {"env": "NO_SUCH_SECRET"}}},
    }});
    vec![
        (
            with(&|policy| {
                policy["apis"][0]["rules"][0]["acces"] = json!([]);
                policy["apis"][0]["metering"] = json!([{"path": "/**", "metric": "nothing"}]);
                policy["plans"] =
                    json!({"p": {"limits": [{"metric": "hits", "max": 1, "per": "fortnight"}]}});
            }),
            vec![
                "apis[0] (api).rules[0].acces: unknown field `acces`",
                "apis[0] (api).metering[0].metric: ",
                "plans.p.limits[0].per: ",
            ],
        ),
        (
            with(&|policy| policy["apis"][0]["rules"] = json!([{"path": "/{a}"}, {"path": "/{b}"}])),
            vec!["apis[0] (api).rules[1]: "],
        ),
        (
            with(&|policy| policy["sidegate"] = json!("v2")),
            vec!["sidegate: unsupported schema version `v2`, expected `v1`"],
        ),
        (
            with(&|policy| policy["providers"] = json!({"oidc": provider})),
            vec!["providers.oidc.introspection.authentication.basic.secret", "`NO_SUCH_SECRET`"],
        ),
        (
            with(&|policy| {
                policy["apis"][0]["limits"] = json!([{"metric": "nothing", "max": 1, "per": "day"}]);
                policy["apis"][0]["bindings"] = json!([{"consumer": "nobody", "allow": "all"}]);
            }),
            vec!["apis[0] (api).limits[0].metric: ", "apis[0] (api).bindings[0].consumer: "],
        ),
        (
            Wasm::sidegate_with_struct(&policy("struct")),
            vec!["google.protobuf.Struct", "google.protobuf.StringValue"],
        ),
        (Wasm::sidegate_unconfigured(), vec!["the configuration is empty"]),
        (Wasm::sidegate_with_bytes(b""), vec!["the configuration is empty"]),
        (Wasm::sidegate_with_bytes(b" \n"), vec!["the configuration is empty"]),
        (Wasm::sidegate_with_bytes(b"sidegate: v1\n"), vec!["the configuration is not JSON"]),
        (
            Wasm::sidegate_with_bytes(b"{\"sidegate\": \"v1\""),
            vec!["the configuration is not JSON", "line 1"],
        ),
        (Wasm::sidegate_with_bytes(b"\xff\xfe\x00"), vec!["the configuration is not JSON"]),
        (Wasm::sidegate_with_bytes(b"null"), vec!["expected"]),
    ]
}

fn assert_logged(rejected: &Rejected, messages: &[&str]) {
    for part in messages {
        assert!(rejected.log.contains(part), "{part}: {rejected}");
    }
    assert!(rejected.log.contains("the policy is rejected:"), "{rejected}");
    assert!(!rejected.log.contains("panicked"), "{rejected}");
}

fn loads(stats: &Stats, result: &str) -> u64 {
    stats.get(&format!("wasmcustom.sidegate.result=.={result};.;policy_loads")).copied().unwrap_or_default()
}

/// The gauge of a policy; none if it never was in force.
fn in_force(stats: &Stats, policy: &Value) -> Option<u64> {
    let (revision, digest) = (policy["revision"].as_str()?, digest(policy));
    stats.get(&format!("wasmcustom.sidegate.revision=.={revision};.;digest=.={digest};.;policy")).copied()
}

#[tokio::test]
async fn an_invalid_policy_is_refused_at_the_start() {
    let service = Upstream::echo("service").await;
    let (wasm, messages) = wrong().swap_remove(0);
    let setup = Setup::new(main(&wasm)).cluster("service", service.address());
    assert_logged(&Envoy::try_start(setup).await.unwrap_err(), &messages);
}

#[tokio::test]
async fn an_invalid_policy_leaves_the_last_good_one_in_force() {
    let service = Upstream::echo("service").await;
    let good = policy("good");
    let mut envoy =
        Envoy::start(Setup::new(main(&Wasm::sidegate(&good))).cluster("service", service.address())).await;
    let served_by = async |envoy: &Envoy| envoy.send(Request::get("/")).await.received("x-served-by");

    for (times, (wasm, messages)) in (1..).zip(wrong()) {
        assert_logged(&envoy.reload(main(&wasm)).await.unwrap_err(), &messages);
        assert_eq!(served_by(&envoy).await.as_deref(), Some("good"), "{messages:?}");
        let stats = envoy.stats().await;
        assert_eq!((loads(&stats, "accepted"), loads(&stats, "rejected")), (1, times), "{messages:?}");
        assert_eq!(in_force(&stats, &good), Some(1));
    }

    let better = policy("better");
    envoy.reload(main(&Wasm::sidegate(&better))).await.unwrap();
    assert_eq!(served_by(&envoy).await.as_deref(), Some("better"));
}

#[tokio::test]
async fn a_new_policy_serves_and_is_logged() {
    let service = Upstream::echo("service").await;
    let policies = [policy("2026-11-20.1"), policy("2026-11-20.2")];
    let [old, new] = policies.each_ref().map(|policy| main(&Wasm::sidegate(policy)));
    let mut envoy =
        Envoy::start(Setup::new(old.clone()).cluster("service", service.address()).workers(4)).await;
    let gauges = async |envoy: &Envoy, expected: [Option<u64>; 2], accepted: u64| {
        // Workers drop the old policy after its last request.
        eventually(&format!("the gauges are {expected:?} and {accepted} loads"), async || {
            let stats = envoy.stats().await;
            let gauges = policies.each_ref().map(|policy| in_force(&stats, policy));
            (gauges == expected && loads(&stats, "accepted") == accepted).then_some(())
        })
        .await;
    };
    gauges(&envoy, [Some(1), None], 1).await;
    assert!(
        envoy.log().contains(&format!("policy loaded revision=2026-11-20.1 digest={}", digest(&policies[0])))
    );

    envoy.reload(new).await.unwrap();
    gauges(&envoy, [Some(0), Some(1)], 2).await;
    for _ in 0..8 {
        assert_eq!(
            envoy.send(Request::get("/")).await.received("x-served-by").as_deref(),
            Some("2026-11-20.2")
        );
    }
    envoy.reload(old).await.unwrap();
    gauges(&envoy, [Some(1), Some(0)], 3).await;
    assert_eq!(loads(&envoy.stats().await, "rejected"), 0);
}

#[tokio::test]
async fn a_secret_comes_from_the_environment_and_is_never_shown() {
    let service = Upstream::echo("service").await;
    let mut policy = policy("secret");
    policy["providers"] = json!({"oidc": {"introspection": {
        "cluster": "oidc", "url": "http://oidc/introspect",
        "authentication": {"basic": {"id": "gateway", "secret": {"env": "OIDC_SECRET"}}},
    }}});
    let wasm = Wasm::sidegate(&policy);
    let setup = |wasm: &Wasm| {
        Setup::new(main(wasm)).component_log_level("wasm:debug").cluster("service", service.address())
    };
    let rejected = Envoy::try_start(setup(&wasm.clone().environment("OTHER", "hunter2"))).await.unwrap_err();
    assert_logged(&rejected, &["`OIDC_SECRET`"]);
    assert!(!rejected.to_string().contains("hunter2"));

    let envoy = Envoy::start(setup(&wasm.environment("OIDC_SECRET", "hunter2"))).await;
    assert_eq!(envoy.send(Request::get("/")).await.status, 200);
    assert!(!envoy.log().contains("hunter2"));
}
