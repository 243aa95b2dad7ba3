//! What Istio and Envoy receive: the manifests under `istio/`, and everything that `sidegate render`
//! prints.
#![cfg(test)]
#![cfg(not(target_family = "wasm"))]

#[path = "envoy_manifests/filters.rs"]
mod filters;
#[path = "envoy_manifests/gotchas.rs"]
mod gotchas;
mod rendered;
#[path = "envoy_manifests/schemas.rs"]
mod schemas;
#[path = "envoy_manifests/services.rs"]
mod services;

use std::{
    fs,
    path::{Path, PathBuf},
};

use rendered::{DIGEST, documents, policy, render, ways};
use serde_json::Value;
use sidegate_harness::project;

/// The files under `istio/`, with their contents.
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

/// The Wasm configuration in a manifest that contains Envoy's own configuration.
fn filter(manifest: &Value) -> &Value {
    let places = ["/spec/configPatches/0/patch/value", "/spec/configPatches/1/patch/value", "/resources/0"];
    let found = places.iter().filter_map(|place| manifest.pointer(place));
    found.into_iter().find(|filter| filter.get("typed_config").is_some()).unwrap()
}

/// The plugin configuration in a manifest of any form.
fn embedded(manifest: &Value) -> Value {
    let object = ["/spec/pluginConfig", "/spec/wasm/pluginConfig"].iter().find_map(|at| manifest.pointer(at));
    object.cloned().unwrap_or_else(|| {
        let configuration = &filter(manifest)["typed_config"]["config"]["configuration"];
        assert_eq!(configuration["@type"], "type.googleapis.com/google.protobuf.StringValue");
        serde_json::from_str(configuration["value"].as_str().unwrap()).unwrap()
    })
}
