//! Policies at the bounds of what a document may have.
#![cfg(not(target_family = "wasm"))]

use serde_json::{Value, json};
use sidegate::{credential::Digest, policy::Policy};

/// What is wrong with a document.
fn problems(document: &Value) -> String {
    let loaded = Policy::load(document.to_string().as_bytes(), &|_| None);
    loaded.err().map_or(String::new(), |problems| problems.to_string())
}

/// An API for everybody.
fn open() -> Value {
    json!({"name": "open", "rules": [{"path": "/", "access": ["allow"]}]})
}

/// Loads a document at the bound and one above it.
fn check(most: usize, what: &str, document: impl Fn(usize) -> Value) {
    assert_eq!(problems(&document(most)), "");
    let above = most.saturating_add(1);
    let message = format!("has {above} {what}, but at most {most} are possible");
    let reported = problems(&document(above));
    assert!(reported.lines().any(|line| line.ends_with(&message)), "{reported}");
}

#[test]
#[ignore = "takes a minute"]
fn a_quarter_of_a_million_rules_load_and_no_more() {
    check(250_000, "rules", |count| {
        let rules: Vec<_> = (0..count).map(|number| json!({"path": format!("/{number}")})).collect();
        json!({"sidegate": "v1", "apis": [{"name": "a", "access": ["allow"], "rules": rules}]})
    });
}

#[test]
#[ignore = "takes a minute"]
fn a_quarter_of_a_million_apis_load_and_no_more() {
    check(250_000, "APIs", |count| {
        let api = |number| json!({"name": format!("{number}"), "base_path": format!("/{number}"), "rules": [{"path": "/", "access": ["allow"]}]});
        json!({"sidegate": "v1", "apis": (0..count).map(api).collect::<Vec<_>>()})
    });
}

#[test]
#[ignore = "takes a minute"]
fn a_quarter_of_a_million_consumers_load_and_no_more() {
    check(250_000, "consumers", |count| {
        let consumer = |number: usize| {
            let sha256 = Digest::of(&number.to_le_bytes()).to_hex();
            json!({"name": format!("c{number}"), "keys": [{"sha256": sha256}]})
        };
        json!({"sidegate": "v1", "apis": [open()], "consumers": (0..count).map(consumer).collect::<Vec<_>>()})
    });
}

#[test]
#[ignore = "takes a minute"]
fn a_hundred_thousand_plans_load_and_no_more() {
    check(100_000, "plans", |count| {
        let plans: serde_json::Map<_, _> =
            (0..count).map(|number| (format!("p{number}"), json!({}))).collect();
        json!({"sidegate": "v1", "apis": [open()], "plans": plans})
    });
}
