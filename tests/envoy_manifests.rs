//! What Istio and Envoy are given: the manifests under `istio/`, and everything that `sidegate render` prints.
#![cfg(test)]
#![cfg(not(target_family = "wasm"))]

#[path = "envoy_manifests/filters.rs"]
mod filters;
#[path = "envoy_manifests/gotchas.rs"]
mod gotchas;
#[path = "envoy_manifests/schemas.rs"]
mod schemas;

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde::Deserialize as _;
use serde_json::{Value, json};
use sidegate_harness::project;

const IMAGE: &str = "oci://registry.example.com/sidegate/sidegate:0.1.0";
const DIGEST: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// All ways to render a manifest.
fn ways() -> Vec<Vec<&'static str>> {
    let sidecar = &["--for", "sidecar", "--selector", "app=orders"][..];
    let gateway = &["--for", "gateway"][..];
    let url = &["--module", "https://modules.example.com/sidegate.wasm", "--sha256", DIGEST][..];
    let mut ways = vec![vec!["--as", "envoy"], [&["--as", "envoy"], url].concat()];
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

/// What `sidegate render` prints of this policy.
fn render(policy: &Value, options: &[&str]) -> String {
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
fn documents(text: &str) -> Vec<Value> {
    let documents = serde_norway::Deserializer::from_str(text);
    documents.map(|document| Value::deserialize(document).unwrap()).collect()
}

/// The files under `istio/`, with what is in them.
fn files() -> Vec<(PathBuf, String)> {
    fn collect(folder: &Path, files: &mut Vec<(PathBuf, String)>) {
        for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                collect(&path, files);
            } else {
                let text = fs::read_to_string(&path).unwrap();
                files.push((path, text));
            }
        }
    }
    let mut files = Vec::new();
    collect(&project("istio"), &mut files);
    files
}

/// A file of Istio's own, as `make setup` installs it.
fn of_istio(name: &str) -> String {
    let path = project("target/tools/istio").join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}: run `make setup`", path.display()))
}

/// The Wasm configuration in a manifest that Envoy's own form is in.
fn filter(manifest: &Value) -> &Value {
    let places = ["/spec/configPatches/0/patch/value", "/spec/configPatches/1/patch/value", "/resources/0"];
    let found = places.iter().filter_map(|place| manifest.pointer(place));
    found.into_iter().find(|filter| filter.get("typed_config").is_some()).unwrap()
}

/// The plugin configuration in a manifest of any form: as bytes, if they are the very ones that the module gets.
fn embedded(manifest: &Value) -> Value {
    let object = ["/spec/pluginConfig", "/spec/wasm/pluginConfig"].iter().find_map(|at| manifest.pointer(at));
    object.cloned().unwrap_or_else(|| {
        let configuration = &filter(manifest)["typed_config"]["config"]["configuration"];
        assert_eq!(configuration["@type"], "type.googleapis.com/google.protobuf.StringValue");
        serde_json::from_str(configuration["value"].as_str().unwrap()).unwrap()
    })
}

/// A policy with one consumer and a secret.
fn policy() -> Value {
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
