//! A gate whose flows and tasks tests define, to test the ports in a real Envoy.
//!
//! A request's `x-probe` header lists steps, separated by spaces. They are done one after the other. Then the
//! gate decides about the request. An admitted request is answered with one line for each step.
//!
//! | step | what is done |
//! |---|---|
//! | `http:CLUSTER/PATH` | an HTTP call |
//! | `joined:CLUSTER/PATH` | an HTTP call, shared with other requests that make the same |
//! | `grpc:CLUSTER` | a unary gRPC call |
//! | `sleep:MILLIS` | a sleep |
//! | `read:KEY` | the text under a key of the store |
//!
//! Calls have ten seconds, or as many milliseconds as `x-probe-timeout` says.
//!
//! Only a policy with a revision has tasks. With other policies, only requests wake the root.

mod steps;
mod tasks;

use std::rc::Rc;

use sidegate::{
    hosts::proxy_wasm::{EnvoyWorker, Plugin, root},
    shell::worker::{Action, Stream},
};

proxy_wasm::main! {{
    proxy_wasm::set_log_level(proxy_wasm::types::LogLevel::Info);
    proxy_wasm::set_root_context(root::<Probe>);
}}

struct Probe;

impl Plugin for Probe {
    fn start(worker: &EnvoyWorker) {
        let Some(revision) = worker.policy().revision.clone() else { return };
        worker.spawn(|ports| tasks::tick(ports, revision));
        worker.spawn(tasks::lead);
    }

    fn on_request(worker: &EnvoyWorker, stream: &Rc<Stream>) -> Action {
        worker.run(stream, steps::run)
    }
}
