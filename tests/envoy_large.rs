//! Large policies in a real Envoy.
#![cfg(all(test, not(target_family = "wasm")))]

use std::time::Duration;

use serde_json::{Value, json};
use sidegate::credential::Digest;
use sidegate_harness::{Envoy, Listener, Setup, Wasm, direct_response};

/// How long an Envoy may take to load the policy.
const PATIENCE: Duration = Duration::from_secs(300);

/// Consumers with a key and a binding each.
fn policy(consumers: usize) -> Value {
    let known = (0..consumers).map(|index| {
        let sha256 = Digest::of(&index.to_le_bytes()).to_hex();
        json!({"name": format!("consumer-{index}"), "plan": "basic", "keys": [{"id": "only", "sha256": sha256}]})
    });
    let bindings = (0..consumers).map(|index| {
        json!({"consumer": format!("consumer-{index}"), "allow": "none", "paths": [
            {"path": "/admin/**", "allow": "none"}, {"path": "/orders/**", "allow": {"methods": ["GET", "POST"]}}]})
    });
    let api = json!({"name": "orders", "access": ["api_key"], "rules": [{"path": "/**"}], "bindings": bindings.collect::<Vec<_>>()});
    json!({
        "sidegate": "v1", "consumers": known.collect::<Vec<_>>(), "apis": [api],
        "plans": {"basic": {"limits": [{"metric": "hits", "max": 10, "per": "second"}]}},
    })
}

/// The memory of one worker more, in bytes.
async fn per_worker(consumers: usize) -> u64 {
    let wasm = Wasm::sidegate(&policy(consumers));
    let memory = async |workers| {
        let listener = Listener::new("main").wasm(&wasm).route(direct_response(200, ""));
        Envoy::start(Setup::new(listener).workers(workers).under([], PATIENCE)).await.process().memory()
    };
    memory(5).await.saturating_sub(memory(1).await) / 4
}

#[tokio::test]
#[ignore = "takes a minute"]
async fn a_hundred_thousand_consumers_take_30_megabytes_of_each_worker() {
    let (few, many) = (per_worker(10).await, per_worker(100_000).await);
    let added = many.saturating_sub(few);
    assert!((5_000_000..=30_000_000).contains(&added), "{added} bytes: {many} instead of {few}");
}
