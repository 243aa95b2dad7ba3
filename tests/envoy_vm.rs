//! What filters of one `vm_id` share, and what a change of `vm_config` keeps.
#![cfg(test)]
#![cfg(not(target_family = "wasm"))]

use serde_json::{Value, json};
use sidegate::credential::Digest;
use sidegate_harness::{
    Answer, Envoy, Listener, Request, Response, Setup, StubProvider, Upstream, Wasm, direct_response,
    noop_module, route, send,
};

/// Consumers that may each call once, and tokens that the server behind `cluster` vouches for.
fn policy(consumers: &[(&str, &str)], cluster: &str) -> Value {
    let consumer = |(name, key): &(&str, &str)| json!({"name": name, "plan": "one", "keys": [{"sha256": Digest::of(key.as_bytes()).to_hex()}]});
    json!({
        "sidegate": "v1",
        "revision": cluster,
        "providers": {"idp": {"introspection": {
            "cluster": cluster, "url": format!("http://{cluster}/"), "timeout": "1h", "cache": {"ttl": "1h", "negative_ttl": "1h"},
            "authentication": {"bearer": {"token": "not-looked-at"}},
        }}},
        "plans": {"one": {"limits": [{"metric": "hits", "max": 1, "per": "eternity"}]}},
        "metrics": {"hits": {}},
        "consumers": consumers.iter().map(consumer).collect::<Vec<_>>(),
        "apis": [{
            "name": "api", "access": ["api_key"],
            "credentials": {"api_key": [{"header": "apikey"}], "token": [{"header": "authorization", "scheme": "Bearer"}]},
            "rules": [{"path": "/**"}, {"path": "/tokens", "access": [{"introspection": {"provider": "idp"}}]}],
    "metering": [{"path": "/", "metric": "hits", "by": 1}],
        }],
    })
}

fn by(key: &str) -> Request {
    Request::get("/").header("apikey", key)
}

fn verdict(answer: &Response) -> (u16, Option<&str>) {
    (answer.status, answer.code())
}

#[tokio::test]
async fn two_gates_on_one_store_share_only_what_has_the_same_name() {
    let service = Upstream::echo("service").await;
    let yes = StubProvider::start(Answer::json(&json!({"active": true}))).await;
    let no = StubProvider::start(Answer::json(&json!({"active": false}))).await;
    let first = policy(&[("acme", "key-1")], "yes");
    let second = policy(&[("acme", "key-2"), ("other", "key-3")], "no");
    for (ids, of_the_same_name) in [(["", ""], (429, Some("14"))), (["one", "two"], (200, None))] {
        let listener = |name: &str, policy: &Value, id: &'static str| {
            Listener::new(name).wasm(&Wasm::sidegate(policy).vm_id(id)).route(route("service"))
        };
        // Another kind of filter in the store without a name.
        let saboteur = json!({"local": {"filename": noop_module().with_file_name("sidegate_saboteur.wasm")}});
        let neighbour = Listener::new("neighbour").wasm(&Wasm::noop().code(saboteur).vm_id(""));
        let setup = Setup::new(listener("first", &first, ids[0]))
            .listener(listener("second", &second, ids[1]))
            .listener(neighbour.route(direct_response(200, "")))
            .cluster("service", service.address())
            .cluster("yes", yes.address())
            .cluster("no", no.address());
        let envoy = Envoy::start(setup).await;
        let ask = async |listener: &str, request: Request| {
            send(envoy.address_of(listener).await, &request).await.unwrap()
        };
        let written = Request::get("/").header("x-write", "neighbour/ 100 00");
        assert_eq!(ask("neighbour", written).await.status, 200);

        // Each knows its own callers, and calls its own provider, although the names are the same.
        assert_eq!(verdict(&ask("first", by("key-1")).await), (200, None));
        assert_eq!(verdict(&ask("second", by("key-1")).await), (401, Some("13")));
        let token = || Request::get("/tokens").bearer("t");
        let calls = (yes.calls().len(), no.calls().len());
        for _ in 0..2 {
            assert_eq!(verdict(&ask("first", token()).await), (200, None));
            assert_eq!(verdict(&ask("second", token()).await), (401, Some("22")));
        }
        assert_eq!((yes.calls().len() - calls.0, no.calls().len() - calls.1), (1, 1));
        // Consumers with the same name share their counters.
        assert_eq!(verdict(&ask("second", by("key-2")).await), of_the_same_name, "{ids:?}");
        assert_eq!(verdict(&ask("second", by("key-3")).await), (200, None));
        // In one store, a load is counted again after the other gate's policy was recorded.
        let loads = envoy.stat("wasmcustom.sidegate.result=.=accepted;.;policy_loads").await;
        assert!(loads == 2 || (ids[0] == ids[1] && loads > 2), "{loads}");
    }
}

#[tokio::test]
async fn a_policy_may_come_with_a_new_variable_and_keeps_its_counters() {
    let service = Upstream::echo("service").await;
    let listener = |wasm: &Wasm| Listener::new("main").wasm(wasm).route(route("service"));
    let mut policy = policy(&[("acme", "key-1")], "idp");
    let setup = Setup::new(listener(&Wasm::sidegate(&policy))).cluster("service", service.address());
    let mut envoy = Envoy::start(setup).await;
    assert_eq!(verdict(&envoy.send(by("key-1")).await), (200, None));

    policy["providers"]["idp"]["introspection"]["authentication"] =
        json!({"bearer": {"token": {"env": "NEW_SECRET"}}});
    let refused = envoy.reload(listener(&Wasm::sidegate(&policy))).await.unwrap_err();
    assert!(refused.log.contains("`NEW_SECRET`"), "{refused}");
    envoy.reload(listener(&Wasm::sidegate(&policy).environment("NEW_SECRET", "it-is-there"))).await.unwrap();
    assert_eq!(verdict(&envoy.send(by("key-1")).await), (429, Some("14")));
}

/// Admitted requests as Envoy's metrics have them; `None` where there is no such metric.
async fn admitted(envoy: &Envoy) -> Option<u64> {
    envoy
        .stats()
        .await
        .get("wasmcustom.sidegate.api=.=api;.;outcome=.=admitted;.;code=.=none;.;decisions")
        .copied()
}

#[tokio::test]
async fn metrics_start_again_when_a_variable_is_added_and_go_on_when_it_was_there_from_the_start() {
    let service = Upstream::echo("service").await;
    let listener = |wasm: Wasm| Listener::new("main").wasm(&wasm).route(route("service"));
    let without_secret = policy(&[("acme", "key-1"), ("globex", "key-2")], "idp");
    let mut with_secret = without_secret.clone();
    with_secret["revision"] = json!("with-secret");
    with_secret["providers"]["idp"]["introspection"]["authentication"] =
        json!({"bearer": {"token": {"env": "SECRET"}}});
    for (complete, counted) in [(false, None), (true, Some(1))] {
        let wasm = Wasm::sidegate(&without_secret);
        let wasm = if complete { wasm.environment("SECRET", "it-is-there") } else { wasm };
        let setup = Setup::new(listener(wasm)).cluster("service", service.address());
        let mut envoy = Envoy::start(setup).await;
        assert_eq!(verdict(&envoy.send(by("key-1")).await), (200, None));
        assert_eq!(admitted(&envoy).await, Some(1));

        let wasm = Wasm::sidegate(&with_secret).environment("SECRET", "it-is-there");
        envoy.reload(listener(wasm)).await.unwrap();
        assert_eq!(admitted(&envoy).await, counted, "the requests before the reload");
        assert_eq!(verdict(&envoy.send(by("key-2")).await), (200, None));
        assert_eq!(admitted(&envoy).await, Some(counted.unwrap_or_default() + 1));
        // A new VM loads its policy while the old one still exists, so the count of loads goes on. So do
        // quotas.
        assert_eq!(envoy.stat("wasmcustom.sidegate.result=.=accepted;.;policy_loads").await, 2);
        assert_eq!(verdict(&envoy.send(by("key-1")).await), (429, Some("14")));
    }
}
