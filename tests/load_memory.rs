//! Whatever strangers send, the store's memory is bounded, and they crowd out only each other.
#![cfg(not(target_family = "wasm"))]
#![expect(
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "helpers of tests, outside of test functions"
)]

#[path = "support/request.rs"]
mod request;
mod support;

use std::{collections::BTreeMap, net::Ipv4Addr, rc::Rc};

use serde_json::{Value, json};
use sidegate::{
    gate::{Ending, Request, drive::Driver},
    policy::Policy,
    provider::{CallFailure, CallResult},
};
use support::{NOW, Shared, answer, consumer, document, environment, get};

/// How many consumers pay.
const PAYING: u32 = 200;

fn gate(document: &Value) -> Driver<Shared> {
    let policy = Policy::load(document.to_string().as_bytes(), &environment);
    let policy = policy.unwrap_or_else(|problems| panic!("{problems}"));
    Driver::new(Rc::new(policy), Shared::default())
}

fn code(ending: &Ending) -> &'static str {
    match ending {
        Ending::Refused(refused) => refused.refusal().cause.code().digits(),
        Ending::Permit(_) | Ending::Answer(_) => "ok",
    }
}

/// Lets this many addresses call, then the consumers that pay. Returns how often each code came, for both,
/// and the size of the store.
fn crowd(
    addresses: u32,
    capacity: &Value,
) -> (BTreeMap<&'static str, u32>, BTreeMap<&'static str, u32>, usize) {
    let per_day = |of: &str| json!([{"metric": "hits", "max": 10, "per": "day", "of": of}]);
    let consumers: Vec<_> = (0..PAYING).map(|number| consumer(&format!("c{number}"))).collect();
    let api = |name: &str, access: &str, of: &str| {
        json!({"name": name, "base_path": format!("/{name}"), "access": [access],
               "rules": [{"path": "/**"}], "limits": per_day(of)})
    };
    let apis = json!([api("open", "allow", "address"), api("paid", "api_key", "consumer")]);
    let mut document = document(json!(consumers), apis);
    document["gate"]["capacity"] = capacity.clone();
    document["gate"]["rate_limit_headers"] = json!("none");
    let gate = gate(&document);
    let unasked = |_: &_| Err(CallFailure::Failed);
    let mut strangers = BTreeMap::new();
    let open = get("/open/x");
    for number in 0..addresses {
        let address = move || Some(Ipv4Addr::from_bits(number).to_string());
        let request = Request::new(open.headers.clone().into(), address, 1);
        *strangers.entry(code(&gate.decide(request, NOW, unasked))).or_default() += 1;
    }
    let mut paying = BTreeMap::new();
    for number in 0..PAYING {
        let ask = get("/paid/x").key(&format!("key-of-c{number}"));
        *paying.entry(code(&gate.decide(ask.request(1), ask.at, unasked))).or_default() += 1;
    }
    (strangers, paying, gate.ports().store().store().bytes())
}

#[test]
fn strangers_with_many_addresses_crowd_out_only_strangers() {
    let (strangers, paying, bytes) = crowd(20_000, &json!({"meters": 512, "addresses": 512}));
    assert_eq!(paying, BTreeMap::from([("ok", PAYING)]));
    assert_eq!(strangers, BTreeMap::from([("ok", 1024), ("25", 20_000 - 1024)]));
    assert!(bytes < (1024 + PAYING as usize) * 64, "{bytes}");
}

#[test]
#[ignore = "takes minutes: `make test-load`"]
fn three_million_addresses_crowd_out_only_strangers() {
    let (strangers, paying, bytes) = crowd(3_000_000, &json!({}));
    assert_eq!(paying, BTreeMap::from([("ok", PAYING)]));
    assert_eq!(strangers["ok"], 2 * 262_144);
    assert!(bytes < 33 << 20, "{bytes}");
}

/// Lets this many tokens call, whose subject has this many bytes; returns the size of the store.
fn cache(tokens: u32, subject: usize) -> (Driver<Shared>, usize) {
    let apis = json!([{"name": "a", "access": [{"introspection": {"provider": "hydra"}}],
                       "rules": [{"path": "/**"}]}]);
    let gate = gate(&document(json!([consumer("acme")]), apis));
    let active = answer(&json!({"active": true, "sub": "s".repeat(subject)}));
    for number in 0..tokens {
        let request = get("/x").token(&format!("token-{number}")).request(1);
        assert_eq!(code(&gate.decide(request, NOW, |_| active.clone())), "ok");
    }
    let bytes = gate.ports().store().store().bytes();
    (gate, bytes)
}

#[test]
fn cached_identities_are_bounded_in_bytes() {
    let (gate, bytes) = cache(16_384, 8_000);
    assert!((24 << 20..=32 << 20).contains(&bytes), "{bytes}");
    let last = || get("/x").token("token-16383").request(1);
    let unasked = |_: &_| -> CallResult { panic!("the answer is cached") };
    assert_eq!(code(&gate.decide(last(), NOW, unasked)), "ok");

    let (gate, bytes) = cache(10, 9_000);
    assert!(bytes <= 10 * 32, "of an answer beyond its slot, only that the token was active: {bytes}");
    assert_eq!(gate.ports().take_incidents().oversized, 10);
}
