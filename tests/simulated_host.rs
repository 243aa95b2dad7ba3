//! Whole requests through the filter's own contexts, against a host of paper: calls that never come back, come back late or twice,
//! streams that vanish, policies that change under way.
#![cfg(not(target_family = "wasm"))]
#![expect(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "helpers of tests, outside of test functions"
)]

#[path = "simulated_host/calls.rs"]
mod calls;
#[path = "support/host.rs"]
mod host;
#[path = "simulated_host/policies.rs"]
mod policies;
mod support;
#[path = "simulated_host/traces.rs"]
mod traces;

use std::{collections::BTreeSet, rc::Rc, time::Duration};

use serde_json::{Value, json};
use sidegate::{
    filter::{
        flights::MOST_CALLS,
        host::StreamId,
        root::{load, unload},
    },
    provider::ProviderReply,
    store::{ABSENT, Disturbed, Store},
};

use host::{End, Envoy, Paper, Thread};
use support::{Ask, NOW, PROVIDER_SECRET, Shared, answer, ask, consumer, document, environment, get, sha256};

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

fn start<S: Store + 'static>(paper: &Rc<Paper>, store: S, policy: &Value) -> Rc<Thread<S>> {
    let worker = load(Envoy(Rc::clone(paper)), store, policy.to_string().as_bytes(), &environment);
    Thread::new(paper, worker.expect("the policy is good"))
}

/// One worker with the policy above.
fn thread() -> (Rc<Paper>, Rc<Thread<Shared>>) {
    let paper = Paper::new();
    let thread = start(&paper, Shared::default(), &policy());
    (paper, thread)
}

fn with_token(token: &str) -> Ask {
    get("/v1/x").token(token)
}

fn active() -> ProviderReply {
    answer(&json!({"active": true, "client_id": "acme-web"}))
}

/// Starts as many requests with one token; all wait.
fn waiting<S: Store + 'static>(thread: &Thread<S>, count: usize) -> Vec<StreamId> {
    let wait = |_| {
        let (id, outcome) = thread.request(with_token("t0ken"));
        assert_eq!(outcome, "waits");
        id
    };
    (0..count).map(wait).collect()
}

fn outcomes(paper: &Paper, streams: &[StreamId]) -> BTreeSet<String> {
    streams.iter().map(|stream| paper.outcome(*stream)).collect()
}

fn all(outcome: &str) -> BTreeSet<String> {
    BTreeSet::from([outcome.to_owned()])
}
