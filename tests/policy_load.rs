//! What a policy document may say: one valid document, and a row for each thing that can be wrong with it.
#![cfg(not(target_family = "wasm"))]
#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that panics fails, as it should"
)]

#[path = "policy_load/bounds.rs"]
mod bounds;
#[path = "policy_load/configuration.rs"]
mod configuration;
#[path = "policy_load/credentials.rs"]
mod credentials;
#[path = "policy_load/fields.rs"]
mod fields;
#[path = "policy_load/headers.rs"]
mod headers;
#[path = "policy_load/jwks.rs"]
mod jwks;
#[path = "policy_load/limits.rs"]
mod limits;
#[path = "policy_load/lists.rs"]
mod lists;
#[path = "policy_load/mocks.rs"]
mod mocks;
#[path = "policy_load/names.rs"]
mod names;
#[path = "policy_load/paths.rs"]
mod paths;
#[path = "policy_load/providers.rs"]
mod providers;
#[path = "policy_load/replicas.rs"]
mod replicas;
#[path = "policy_load/rules.rs"]
mod rules;
#[path = "policy_load/scale.rs"]
mod scale;
#[path = "policy_load/together.rs"]
mod together;
#[path = "policy_load/types.rs"]
mod types;
#[path = "policy_load/warnings.rs"]
mod warnings;

use std::{fmt::Write as _, time::Duration};

use serde_json::{Value, json};
use sidegate::{credential::Digest, policy::Policy, time::Timestamp};

/// The secret in the environment. It must never be in a message.
const SECRET: &str = "hunter2";

fn base() -> Value {
    let sha256 = |key: &str| Digest::of(key.as_bytes()).to_hex();
    json!({
        "sidegate": "v1",
        "revision": "r1",
        "gate": {"realm": "example", "capacity": {"meters": 64, "tokens": 64}},
        "providers": {
            "p": {"introspection": {
                "cluster": "c", "url": "http://idp/introspect", "timeout": "200ms",
                "authentication": {"basic": {"id": "gateway", "secret": {"env": "SECRET"}}},
                "cache": {"ttl": "30s", "negative_ttl": "5s", "stale_if_error": "60s"}, "unavailable": "deny"
            }}
        },
        "metrics": {"reads": {"parent": "hits"}, "writes": {}},
        "plans": {
            "basic": {"environment": "staging", "limits": [
                {"metric": "hits", "max": 10, "per": "second", "window": "sliding"},
                {"metric": "writes", "max": 0, "per": "eternity"}
            ]},
            "gold": {}
        },
        "consumers": [
            {"name": "acme", "plan": "basic", "keys": [{"id": "k1", "sha256": sha256("one")}], "clients": ["acme-web"]},
            {"name": "globex", "keys": [{"sha256": sha256("two"), "not_after": "2027-01-01T00:00:00Z"}]}
        ],
        "apis": [
            {
                "name": "orders", "hosts": ["orders.example.com"], "base_path": "/v1",
                "credentials": {"api_key": [{"header": "apikey"}], "token": [{"header": "authorization", "scheme": "Bearer"}]},
                "access": ["api_key"],
                "rules": [
                    {"path": "/orders/{id}", "methods": ["GET"], "access": [
                        {"introspection": {"provider": "p", "scopes": ["read"], "audience": {"any": ["orders"]}, "issuers": ["https://idp"]}},
                        "api_key"
                    ]},
                    {"path": "/orders/**"},
                    {"regex": "/r/[0-9]+"}
                ],
                "metering": [{"path": "/**", "metric": "hits", "by": 1}],
                "bindings": [{"consumer": "acme", "allow": {"methods": ["GET"]}, "paths": [{"path": "/orders/**", "allow": "all"}]}],
                "limits": [{"metric": "hits", "max": 50, "per": "minute", "of": "api"}],
                "forward": {"headers": {"x-consumer": "{consumer}"}}
            },
            {"name": "open", "rules": [{"path": "/**", "access": ["allow"]}]}
        ]
    })
}

/// The base with changes: `"/a/0/b": value` sets, `"/a/-": value` appends, `"-/a/b": null` removes.
fn changed(changes: &str) -> Value {
    let mut document = base();
    let changes: Value = serde_json::from_str(changes).unwrap_or_else(|error| panic!("{changes}: {error}"));
    for (pointer, value) in changes.as_object().unwrap() {
        let (pointer, removes) =
            pointer.strip_prefix('-').map_or((pointer.as_str(), false), |rest| (rest, true));
        let (parent, last) = pointer.rsplit_once('/').unwrap();
        match document.pointer_mut(parent).unwrap_or_else(|| panic!("the base has no {parent}")) {
            Value::Array(items) if last == "-" => items.push(value.clone()),
            Value::Array(items) => items[last.parse::<usize>().unwrap()] = value.clone(),
            Value::Object(members) if removes => drop(members.remove(last).unwrap()),
            Value::Object(members) => drop(members.insert(last.to_owned(), value.clone())),
            other => panic!("{parent} is {other}"),
        }
    }
    document
}

fn environment(name: &str) -> Option<String> {
    match name {
        "SECRET" => Some(SECRET.to_owned()),
        "EMPTY" => Some(String::new()),
        "CONTROL" => Some(format!("{SECRET}\r\n")),
        _ => None,
    }
}

fn problems(json: &[u8]) -> Vec<String> {
    let problems = Policy::load(json, &environment).err();
    let lines: Vec<_> =
        problems.iter().flat_map(|problems| &problems.list).map(ToString::to_string).collect();
    assert!(!lines.iter().any(|line| line.contains(SECRET)), "a secret is reported: {lines:?}");
    lines
}

/// Checks rows of changes and messages, and reports all rows that differ.
fn check(rows: &[(&str, &[&str])]) {
    let mut differences = String::new();
    for (changes, expected) in rows {
        let reported = problems(changed(changes).to_string().as_bytes());
        if reported != *expected {
            writeln!(differences, "{changes}\n  expected {expected:#?}\n  reported {reported:#?}").unwrap();
        }
    }
    assert!(differences.is_empty(), "{differences}");
}

#[test]
fn the_base_is_valid() {
    assert_eq!(problems(base().to_string().as_bytes()), Vec::<String>::new());
}
