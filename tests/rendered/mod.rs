//! Everything that `sidegate render` can print.

use std::{
    io::Write as _,
    process::{Command, Stdio},
};

use serde::Deserialize as _;
use serde_json::{Value, json};

const IMAGE: &str = "oci://registry.example.com/sidegate/sidegate:0.1.0";
/// A placeholder for a digest.
pub const DIGEST: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// All ways to render a manifest.
pub fn ways() -> Vec<Vec<&'static str>> {
    let sidecar = &["--for", "sidecar", "--selector", "app=orders"][..];
    let gateway = &["--for", "gateway"][..];
    let url = &["--module", "https://modules.example.com/sidegate.wasm", "--sha256", DIGEST][..];
    let mut ways = vec![vec!["--as", "envoy"], vec!["--as", "envoy", "--module", "/opt/sidegate.wasm"]];
    for place in [sidecar, gateway] {
        for form in ["wasmplugin", "trafficextension"] {
            ways.push([&["--as", form, "--image", IMAGE], place].concat());
            let all =
                ["--sha256", DIGEST, "--pull-secret", "registry", "--namespace", "shop", "--name", "gate"];
            ways.push([&["--as", form, "--image", IMAGE], place, &all].concat());
        }
        ways.push([&["--as", "envoyfilter"], place].concat());
        ways.push([&["--as", "envoyfilter", "--namespace", "shop", "--name", "gate"], place, url].concat());
    }
    ways
}

/// What `sidegate render` prints for this policy.
pub fn render(policy: &Value, options: &[&str]) -> String {
    let mut child = Command::new(env!("CARGO_BIN_EXE_sidegate"))
        .args(["render", "--without-secrets", "--policy", "-"])
        .args(options)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(policy.to_string().as_bytes()).unwrap();
    let ended = child.wait_with_output().unwrap();
    assert!(ended.status.success(), "{options:?}");
    String::from_utf8(ended.stdout).unwrap()
}

/// The documents in a YAML file.
pub fn documents(text: &str) -> Vec<Value> {
    let documents = serde_norway::Deserializer::from_str(text);
    documents.map(|document| Value::deserialize(document).unwrap()).collect()
}

/// A policy with one consumer and a secret.
pub fn policy() -> Value {
    json!({
        "sidegate": "v1",
        "revision": "2026-11-20.1",
        "providers": {"idp": {"introspection": {
            "cluster": "outbound|443||idp.example.com",
            "url": "https://idp.example.com/introspect",
            "authentication": {"basic": {"id": "gateway", "secret": {"env": "IDP_SECRET"}}},
        }}},
        "plans": {"free": {"limits": [{"metric": "hits", "max": 2, "per": "eternity"}]}},
        "consumers": [{
            "name": "acme",
            "plan": "free",
            "keys": [{"sha256": "afacab3575137afa4e00d9cbcafcb14c9ae25f779d964eb0ea5b2c4eb5dfd163"}],
        }],
        "apis": [{
            "name": "orders",
            "access": [{"introspection": {"provider": "idp"}}, "api_key"],
            "rules": [{"path": "/health", "access": ["allow"]}, {"path": "/**"}],
        }],
    })
}
