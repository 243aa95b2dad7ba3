//! Whole requests through the filter's own contexts, against a scripted host: calls that never come back,
//! come back late or twice, streams that vanish, policies that change during requests.
#![cfg(not(target_family = "wasm"))]
#![expect(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "helpers of tests, outside of test functions"
)]

#[path = "simulated_host/calls.rs"]
mod calls;
#[path = "simulated_host/codes.rs"]
mod codes;
#[path = "support/engine.rs"]
mod engine;
#[path = "simulated_host/flows.rs"]
mod flows;
#[path = "support/host.rs"]
mod host;
#[path = "simulated_host/keys.rs"]
mod keys;
#[path = "simulated_host/policies.rs"]
mod policies;
#[path = "simulated_host/replicas.rs"]
mod replicas;
mod support;
#[path = "simulated_host/tasks.rs"]
mod tasks;
#[path = "simulated_host/traces.rs"]
mod traces;

use std::{
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
    time::Duration,
};

use host::{End, ROOT, Script, Scripted, Thread, seed};
use serde_json::{Value, json};
use sidegate::{
    provider::{CallFailure, CallResult, Transport},
    shell::{
        calls::{MOST_FOR_STRANGERS, SHARED_OUT_FROM},
        host::{CallId, ContextId},
        loading::{load, unload},
    },
    store::{ABSENT, Disturbed, Store},
};
use support::{
    Ask, NOW, PROVIDER_SECRET, Shared, answer, ask, consumer, document, environment, get, http, sha256,
};

const DEBUG_SECRET: &str = "let-me-see-everything";

fn policy() -> Value {
    let api = json!({
        "name": "orders", "base_path": "/v1",
        "access": ["api_key", {"introspection": {"provider": "hydra"}}],
        "rules": [{"path": "/**"}, {"path": "/scoped", "access": [{"introspection": {"provider": "hydra", "scopes": ["admin"]}}]}],
        "limits": [{"metric": "hits", "max": 200, "per": "day"}],
        "forward": {"headers": {"x-consumer": "{consumer}"}},
    });
    let mut acme = consumer("acme");
    acme["plan"] = json!("basic");
    let mut document = document(json!([acme, consumer("globex")]), json!([api]));
    document["plans"] = json!({"basic": {}});
    document["gate"]["debug"] = json!({"secret_sha256": sha256(DEBUG_SECRET)});
    document
}

fn start<S: Store + 'static>(script: &Rc<Script>, store: S, policy: &Value) -> Rc<Thread<S>> {
    let worker =
        load(Scripted(Rc::clone(script)), store, seed(), ROOT, policy.to_string().as_bytes(), &environment);
    Thread::new(script, worker.expect("the policy is valid"))
}

/// One worker with the policy above.
fn thread() -> (Rc<Script>, Rc<Thread<Shared>>) {
    let script = Script::new();
    let thread = start(&script, Shared::default(), &policy());
    (script, thread)
}

fn with_token(token: &str) -> Ask {
    get("/v1/x").token(token)
}

fn active() -> CallResult {
    answer(&json!({"active": true, "client_id": "acme-web"}))
}

/// Starts this many requests with the same token. All wait.
fn waiting<S: Store + 'static>(thread: &Thread<S>, count: usize) -> Vec<ContextId> {
    let wait = |_| {
        let (id, outcome) = thread.request(with_token("t0ken"));
        assert_eq!(outcome, "waits");
        id
    };
    (0..count).map(wait).collect()
}

fn outcomes(script: &Script, streams: &[ContextId]) -> BTreeSet<String> {
    streams.iter().map(|stream| script.outcome(*stream)).collect()
}

fn all(outcome: &str) -> BTreeSet<String> {
    BTreeSet::from([outcome.to_owned()])
}
