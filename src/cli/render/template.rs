//! Fills in the manifests of `istio/` and `envoy/`, so that the output matches what users read there.

use std::io;

use serde_json::{Value, json};

use super::{
    Contents,
    arguments::{Manifest, Module, Object, Place},
};
use crate::{cli::input::from_yaml, policy::Policy};

const WASM_PLUGIN: &str = include_str!("../../../istio/base/wasmplugin.yaml");
const TRAFFIC_EXTENSION: &str = include_str!("../../../istio/base/trafficextension.yaml");
const ENVOY_FILTER_FILE: &str = include_str!("../../../istio/base/envoyfilter-file.yaml");
const ENVOY_FILTER_REMOTE: &str = include_str!("../../../istio/base/envoyfilter-remote.yaml");
const ENVOY: &str = include_str!("../../../envoy/filter.yaml");

/// The parts that differ for gateways.
const GATEWAY_EXTENSION: &str = include_str!("../../../istio/overlays/gateway/extension.yaml");
const GATEWAY_ENVOY_FILTER: &str = include_str!("../../../istio/overlays/gateway/envoyfilter.yaml");

/// The manifest with everything filled in, as YAML.
///
/// # Errors
///
/// A part that has to be filled in is missing from the template. The tests rule that out.
pub fn fill(manifest: &Manifest, contents: Contents) -> io::Result<String> {
    let digest = Policy::digest_of(contents.text.as_bytes());
    let template = match manifest {
        Manifest::Extension { traffic, object, image, sha256, pull_secret } => {
            let text = if *traffic { TRAFFIC_EXTENSION } else { WASM_PLUGIN };
            let mut template =
                ManifestTemplate::of(object, text, GATEWAY_EXTENSION, "/spec/selector/matchLabels")?;
            let plugin = if *traffic { "/spec/wasm" } else { "/spec" };
            if contents.takes_verified_tokens {
                // Istio's authentication must come first.
                template.set("/spec", "phase", json!("AUTHZ"))?;
            }
            let names = contents.variables.iter();
            let env: Vec<_> = names.map(|name| json!({"name": name, "valueFrom": "HOST"})).collect();
            template.set(plugin, "url", json!(image))?;
            template.set_or_remove(plugin, "sha256", sha256.as_ref().map(|digest| json!(digest)))?;
            template.set_or_remove(
                plugin,
                "imagePullSecret",
                pull_secret.as_ref().map(|name| json!(name)),
            )?;
            template.set_or_remove(plugin, "vmConfig", (!env.is_empty()).then(|| json!({"env": env})))?;
            template.set(plugin, "pluginName", json!(object.name))?;
            template.set(plugin, "pluginConfig", contents.policy)?;
            template
        }
        Manifest::EnvoyFilter { object, module } => {
            let (text, patch, code) = match module {
                Module::File(path) => (
                    ENVOY_FILTER_FILE,
                    "/spec/configPatches/0/patch/value",
                    json!({"local": {"filename": path}}),
                ),
                Module::Remote { url, sha256 } => (
                    ENVOY_FILTER_REMOTE,
                    "/spec/configPatches/1/patch/value",
                    // Istio's agent fetches the module and needs no cluster, but Envoy's schema requires one.
                    json!({"remote": {"http_uri": {"uri": url, "timeout": "30s", "cluster": "_"}, "sha256": sha256}}),
                ),
            };
            let mut template =
                ManifestTemplate::of(object, text, GATEWAY_ENVOY_FILTER, "/spec/workloadSelector/labels")?;
            template.set("/spec/configPatches/0/patch/value", "name", json!(object.name))?;
            template.set_filter(patch, &object.name, code, contents)?;
            template
        }
        Manifest::Envoy { name, module } => {
            let mut template = ManifestTemplate::read(ENVOY)?;
            template.set_filter("/resources/0", name, json!({"local": {"filename": module}}), contents)?;
            template
        }
    };
    // Proxies show the same digest.
    Ok(format!("# sidegate render, policy digest {digest}\n{}", to_yaml(&template.0)?))
}

/// A manifest that is being filled in.
struct ManifestTemplate(Value);

impl ManifestTemplate {
    fn read(text: &str) -> io::Result<Self> {
        from_yaml(text.as_bytes()).map(Self).map_err(broken)
    }

    /// The template of an object, for its kind of proxy.
    fn of(object: &Object, text: &str, gateway: &str, selector: &str) -> io::Result<Self> {
        let mut template = Self::read(text)?;
        if object.place == Place::Gateway {
            let patch: json_patch::Patch = serde_json::from_value(Self::read(gateway)?.0)?;
            json_patch::patch(&mut template.0, &patch).map_err(broken)?;
        }
        template.set("/metadata", "name", json!(object.name))?;
        template.set_or_remove(
            "/metadata",
            "namespace",
            object.namespace.as_ref().map(|name| json!(name)),
        )?;
        if !object.selector.is_empty() {
            let (parent, attribute) = selector.rsplit_once('/').unwrap_or_default();
            let labels = object.selector.iter().map(|(key, value)| (key.clone(), json!(value)));
            template.set(parent, attribute, labels.collect())?;
        }
        Ok(template)
    }

    /// Fills in an Envoy filter.
    fn set_filter(&mut self, at: &str, name: &str, code: Value, contents: Contents) -> io::Result<()> {
        let config = format!("{at}/typed_config/config");
        let vm = format!("{config}/vm_config");
        self.set(at, "name", json!(name))?;
        self.set(&config, "name", json!(name))?;
        self.set(&config, "root_id", json!(name))?;
        self.set(&vm, "vm_id", json!(name))?;
        self.set(&vm, "code", code)?;
        let variables = contents.variables;
        let environment = (!variables.is_empty()).then(|| json!({"host_env_keys": variables}));
        self.set_or_remove(&vm, "environment_variables", environment)?;
        self.set(&format!("{config}/configuration"), "value", json!(contents.text))
    }

    fn set(&mut self, parent: &str, attribute: &str, value: Value) -> io::Result<()> {
        self.set_or_remove(parent, attribute, Some(value))
    }

    fn set_or_remove(&mut self, parent: &str, attribute: &str, value: Option<Value>) -> io::Result<()> {
        let members = self.0.pointer_mut(parent).and_then(Value::as_object_mut);
        let members = members.ok_or_else(|| broken(format!("no map at {parent}")))?;
        match value {
            Some(value) => members.insert(attribute.to_owned(), value),
            None => members.remove(attribute),
        };
        Ok(())
    }
}

fn broken(error: impl std::fmt::Display) -> io::Error {
    io::Error::other(format!("the template of the manifest is broken: {error}"))
}

/// YAML that YAML 1.1 readers, such as Kubernetes, read as the same values. No line is folded.
pub fn to_yaml(value: &Value) -> io::Result<String> {
    let options = serde_saphyr::ser_options! { folded_wrap_chars: usize::MAX };
    serde_saphyr::to_string_with_options(value, options).map_err(io::Error::other)
}

#[cfg(test)]
mod tests;
