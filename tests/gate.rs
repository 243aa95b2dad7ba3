//! The decision core through its public API: policy in, request in, step out; no host, no clock, no I/O.
#![cfg(not(target_family = "wasm"))]
#![expect(
    clippy::panic,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "helpers of tests, outside of test functions"
)]

#[path = "gate/access.rs"]
mod access;
#[path = "gate/bindings.rs"]
mod bindings;
#[path = "gate/credentials.rs"]
mod credentials;
#[path = "gate/forward.rs"]
mod forward;
#[path = "gate/introspection.rs"]
mod introspection;
#[path = "gate/limits.rs"]
mod limits;
#[path = "gate/refusals.rs"]
mod refusals;
#[path = "gate/shadow.rs"]
mod shadow;
mod support;

use std::rc::Rc;

use serde_json::Value;
use sidegate::{
    gate::{Call, Gate, Permit, Refused, Request, Step},
    policy::Policy,
    provider::ProviderReply,
    store::Store,
};

use support::{Ask, Shared, environment};

/// Compiles a policy that must be good.
fn load(document: &Value) -> Rc<Policy> {
    Policy::load(document.to_string().as_bytes(), &environment)
        .map_or_else(|problems| panic!("{problems}\n{document:#}"), Rc::new)
}

/// A gate over a store of its own.
fn gate(document: &Value) -> Gate<Shared> {
    Gate::new(load(document), Shared::default())
}

fn begin<S: Store>(gate: &Gate<S>, ask: &Ask) -> Step {
    let address = || ask.address.map(str::to_owned);
    gate.begin(&Request { headers: &ask.headers, address: &address, stream: 7 }, ask.at)
}

/// Begins, and resumes with `reply` where the step is a call.
fn through<S: Store>(gate: &Gate<S>, ask: &Ask, reply: &ProviderReply) -> Step {
    match begin(gate, ask) {
        Step::Call(call) => call.then.resume(gate, reply, ask.at, true),
        step => step,
    }
}

/// `ok`, `call`, or the code of the refusal.
fn verdict(step: &Step) -> &'static str {
    match step {
        Step::Permit(_) => "ok",
        Step::Call(_) => "call",
        Step::Refuse(refused) => refused.refusal().row().digits,
    }
}

fn asked<S: Store>(gate: &Gate<S>, ask: &Ask) -> &'static str {
    verdict(&begin(gate, ask))
}

fn permit(step: Step) -> Permit {
    let Step::Permit(permit) = step else { panic!("no permit: {step:?}") };
    permit
}

fn refused(step: Step) -> Refused {
    let Step::Refuse(refused) = step else { panic!("not refused: {step:?}") };
    *refused
}

fn call(step: Step) -> Call {
    let Step::Call(call) = step else { panic!("no call: {step:?}") };
    *call
}

/// The values of a reply's header.
fn headers<'a>(refused: &'a Refused, name: &str) -> Vec<&'a str> {
    let headers = refused.reply().headers.iter();
    headers.filter(|(header, _)| *header == name).map(|(_, value)| value.as_str()).collect()
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
