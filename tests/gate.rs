//! The decision core through its public API: policy in, request in, step out; no host, no clock, no I/O.
#![cfg(not(target_family = "wasm"))]
#![expect(
    clippy::arithmetic_side_effects,
    clippy::panic,
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "helpers of tests, outside of test functions"
)]

#[path = "gate/access.rs"]
mod access;
#[path = "gate/applications.rs"]
mod applications;
#[path = "gate/bindings.rs"]
mod bindings;
#[path = "gate/certificates.rs"]
mod certificates;
#[path = "gate/claims.rs"]
mod claims;
#[path = "gate/credentials.rs"]
mod credentials;
#[path = "support/engine.rs"]
mod engine;
#[path = "gate/envoy_verified.rs"]
mod envoy_verified;
#[path = "gate/forward.rs"]
mod forward;
#[path = "gate/introspection.rs"]
mod introspection;
#[path = "gate/jwt.rs"]
mod jwt;
#[path = "gate/kanali.rs"]
mod kanali;
#[path = "gate/leases.rs"]
mod leases;
#[path = "gate/limits.rs"]
mod limits;
#[path = "gate/metering.rs"]
mod metering;
#[path = "gate/mocks.rs"]
mod mocks;
#[path = "gate/needs.rs"]
mod needs;
#[path = "gate/own_token.rs"]
mod own_token;
#[path = "gate/refusals.rs"]
mod refusals;
#[path = "gate/replicas.rs"]
mod replicas;
#[path = "support/request.rs"]
mod request;
#[path = "gate/revocation.rs"]
mod revocation;
#[path = "gate/service_management.rs"]
mod service_management;
#[path = "gate/shadow.rs"]
mod shadow;
#[path = "gate/signed_answers.rs"]
mod signed_answers;
#[path = "gate/strategies.rs"]
mod strategies;
mod support;
#[path = "gate/threescale.rs"]
mod threescale;
#[path = "gate/traps.rs"]
mod traps;

use std::rc::Rc;

use serde_json::Value;
use sidegate::{
    gate::{
        Ending, Permit, Refused, Trail,
        drive::{Driver, Step, Waiting},
    },
    identity::Lookup,
    policy::Policy,
    provider::CallResult,
    store::Store,
};
use support::{Ask, Shared, environment};

/// Compiles a policy that must be valid.
fn load(document: &Value) -> Rc<Policy> {
    Policy::load(document.to_string().as_bytes(), &environment)
        .map_or_else(|problems| panic!("{problems}\n{document:#}"), Rc::new)
}

/// A gate with its own store.
fn gate(document: &Value) -> Driver<Shared> {
    Driver::new(load(document), Shared::default())
}

fn begin<S: Store + 'static>(gate: &Driver<S>, ask: &Ask) -> Step<S> {
    gate.begin(ask.request(7), ask.at)
}

/// Takes the request to its end. Calls return `result`.
fn through<S: Store + 'static>(gate: &Driver<S>, ask: &Ask, result: &CallResult) -> Step<S> {
    match begin(gate, ask) {
        Step::Waits(waiting) => waiting.answer(result.clone(), ask.at),
        ended => ended,
    }
}

/// `ok`, `call`, or the code of the refusal.
fn verdict<S: Store>(step: &Step<S>) -> &'static str {
    match step {
        Step::Ended(Ending::Permit(_)) => "ok",
        Step::Ended(Ending::Refused(refused)) => refused.refusal().cause.code().digits(),
        Step::Ended(Ending::Answer(_)) => "answer",
        Step::Waits(_) => "call",
    }
}

fn asked<S: Store + 'static>(gate: &Driver<S>, ask: &Ask) -> &'static str {
    verdict(&begin(gate, ask))
}

/// The trail of a request that has ended.
fn trail<S: Store>(step: &Step<S>) -> &Trail {
    let Step::Ended(ending) = step else { panic!("it waits: {step:?}") };
    ending.trail()
}

/// How the identity was obtained, where the request has ended.
fn lookup<S: Store>(step: &Step<S>) -> Option<Lookup> {
    match step {
        Step::Ended(ending) => ending.trail().lookup,
        Step::Waits(_) => None,
    }
}

/// The code of the refusal that shadow mode suppressed.
fn shadowed(permit: &Permit) -> Option<&'static str> {
    permit.trail().refusal.as_ref().map(|refusal| refusal.cause.code().digits())
}

fn code(refused: &Refused) -> &'static str {
    refused.refusal().cause.code().digits()
}

fn permit<S: Store>(step: Step<S>) -> Permit {
    let Step::Ended(Ending::Permit(permit)) = step else { panic!("no permit: {step:?}") };
    permit
}

fn refused<S: Store>(step: Step<S>) -> Refused {
    let Step::Ended(Ending::Refused(refused)) = step else { panic!("not refused: {step:?}") };
    *refused
}

fn waiting<S: Store>(step: Step<S>) -> Waiting<S> {
    let Step::Waits(waiting) = step else { panic!("no call: {step:?}") };
    waiting
}

/// The values of a reply's header.
fn headers<'a>(refused: &'a Refused, name: &str) -> Vec<&'a str> {
    let headers = refused.reply().headers.iter();
    headers.filter(|(header, _)| *header == name).map(|(_, value)| value).collect()
}

/// What the service behind the gate receives.
fn forwarded(ask: &Ask, permit: &Permit) -> Vec<(String, String)> {
    let edits = permit.edits();
    let mut headers = ask.headers.clone();
    headers.retain(|(name, _)| !edits.remove.contains(name));
    for (name, value) in &edits.set {
        headers.retain(|(other, _)| **other != **name);
        headers.push((name.to_string(), value.clone()));
    }
    let text = |value: Vec<u8>| String::from_utf8(value).expect("tests send text");
    headers.into_iter().map(|(name, value)| (name, text(value))).collect()
}

/// One header of what the service receives.
fn sees(ask: &Ask, permit: &Permit, name: &str) -> Option<String> {
    let found = forwarded(ask, permit).into_iter().filter(|(header, _)| header == name);
    let values: Vec<_> = found.map(|(_, value)| value).collect();
    (!values.is_empty()).then(|| values.join(", "))
}
