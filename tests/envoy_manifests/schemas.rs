//! The manifests against the schemas of Istio's own custom resource definitions.

use serde_json::{Value, json};
use sidegate::policy::Policy;

use super::{documents, embedded, files, filter, of_istio, policy, project, render, ways};

/// The schemas of Istio's resources, by group, version and kind.
struct Schemas(Vec<(String, String, jsonschema::Validator)>);

impl Schemas {
    fn read() -> Self {
        let mut schemas = Vec::new();
        for definition in documents(&of_istio("crds.yaml")) {
            let spec = &definition["spec"];
            for version in spec["versions"].as_array().into_iter().flatten() {
                let api =
                    format!("{}/{}", spec["group"].as_str().unwrap(), version["name"].as_str().unwrap());
                let kind = spec["names"]["kind"].as_str().unwrap().to_owned();
                let mut schema = version["schema"]["openAPIV3Schema"].clone();
                close(&mut schema);
                for attribute in ["apiVersion", "kind", "metadata"] {
                    schema["properties"][attribute] = json!({});
                }
                schemas.push((api, kind, jsonschema::validator_for(&schema).unwrap()));
            }
        }
        assert!(schemas.len() > 10);
        Self(schemas)
    }

    /// What is wrong with a manifest.
    fn problems(&self, manifest: &Value) -> Vec<String> {
        let found = self
            .0
            .iter()
            .find(|(api, kind, _)| manifest["apiVersion"] == **api && manifest["kind"] == **kind);
        let Some((_, _, validator)) = found else {
            return vec![format!("Istio has no {} {}", manifest["apiVersion"], manifest["kind"])];
        };
        validator.iter_errors(manifest).map(|error| format!("{}: {error}", error.instance_path())).collect()
    }
}

/// Makes a schema refuse attributes that it does not name, which Kubernetes would drop silently.
fn close(schema: &mut Value) {
    let Some(members) = schema.as_object_mut() else { return };
    let open = members.get("x-kubernetes-preserve-unknown-fields") == Some(&json!(true));
    if let Some(properties) = members.get_mut("properties").and_then(Value::as_object_mut) {
        properties.values_mut().for_each(close);
        if !open {
            members.insert("additionalProperties".to_owned(), json!(false));
        }
    } else if let Some(values) = members.get_mut("additionalProperties") {
        close(values);
    }
    if let Some(items) = members.get_mut("items") {
        close(items);
    }
}

fn is_istios(manifest: &Value) -> bool {
    manifest["apiVersion"].as_str().is_some_and(|api| api.contains(".istio.io/"))
}

#[test]
fn every_manifest_fits_istios_schemas() {
    let schemas = Schemas::read();
    let mut kinds = Vec::new();
    for (path, text) in files() {
        for manifest in documents(&text).into_iter().filter(is_istios) {
            assert_eq!(schemas.problems(&manifest), [""; 0], "{}", path.display());
            kinds.push(manifest["kind"].as_str().unwrap().to_owned());
        }
    }
    kinds.sort();
    kinds.dedup();
    assert_eq!(
        kinds,
        [
            "DestinationRule",
            "EnvoyFilter",
            "RequestAuthentication",
            "ServiceEntry",
            "TrafficExtension",
            "VirtualService",
            "WasmPlugin"
        ]
    );
}

#[test]
fn everything_that_render_prints_fits_istios_schemas() {
    let schemas = Schemas::read();
    let mut seen = 0;
    for options in ways() {
        let manifest = documents(&render(&policy(), &options)).remove(0);
        if is_istios(&manifest) {
            assert_eq!(schemas.problems(&manifest), [""; 0], "{options:?}");
            seen += 1;
        }
        assert_eq!(embedded(&manifest), policy(), "{options:?}");
    }
    assert_eq!(seen, 12);
}

#[test]
fn attributes_that_istio_does_not_know_are_found() {
    let schemas = Schemas::read();
    let options = ["--as", "wasmplugin", "--image", "registry.example.com/a/b", "--selector", "app=orders"];
    let right = documents(&render(&policy(), &options)).remove(0);
    assert_eq!(schemas.problems(&right), [""; 0]);
    for (at, wrong) in [
        ("/spec/failStrategy", json!("FAIL_OVER")),
        ("/spec/match", json!([{"mode": "SERVER", "port": 80}])),
        ("/spec/selector", json!({"labels": {"app": "orders"}})),
        ("/spec/vmConfig", json!({"env": [{"name": "A", "valueFrom": "SECRET"}]})),
        ("/spec/sha256", json!("sha256:0")),
        ("/spec/wasm", json!({"url": "x"})),
        ("/kind", json!("WasmPlug")),
        ("/apiVersion", json!("extensions.istio.io/v1")),
    ] {
        let mut manifest = right.clone();
        let (parent, attribute) = at.rsplit_once('/').unwrap();
        manifest.pointer_mut(parent).unwrap()[attribute] = wrong;
        assert_ne!(schemas.problems(&manifest), [""; 0], "{at}");
    }
}

/// A value in the WasmPlugin itself can be read by everybody and must be short. Neither is true of a value
/// from HOST.
#[test]
fn a_value_for_a_variable_is_at_most_2048_bytes_long() {
    let schemas = Schemas::read();
    let options = ["--as", "wasmplugin", "--image", "a/b", "--selector", "app=orders"];
    let mut manifest = documents(&render(&policy(), &options)).remove(0);
    for (length, is_right) in [(2048, true), (2049, false)] {
        let value = "x".repeat(length);
        manifest["spec"]["vmConfig"]["env"] =
            json!([{"name": "IDP_SECRET", "valueFrom": "INLINE", "value": value}]);
        assert_eq!(schemas.problems(&manifest).is_empty(), is_right, "{length}");
    }
}

#[test]
fn every_policy_in_a_manifest_loads_with_the_variables_that_the_manifest_passes_on() {
    let mut seen = 0;
    for (path, text) in files() {
        for manifest in documents(&text) {
            let of_plugin = ["/spec", "/spec/wasm"].into_iter().find_map(|at| {
                let plugin = manifest.pointer(at)?;
                plugin.get("pluginConfig")?;
                let env = plugin["vmConfig"]["env"].as_array().into_iter().flatten();
                Some(env.map(|entry| entry["name"].clone()).collect())
            });
            let is_filter = text.contains("filters.http.wasm.v3.Wasm\n");
            let of_filter = || {
                let vm = &filter(&manifest)["typed_config"]["config"]["vm_config"];
                vm["environment_variables"]["host_env_keys"].as_array().cloned().unwrap()
            };
            let Some(variables) = of_plugin.or_else(|| is_filter.then(of_filter)) else { continue };
            let variables: Vec<Value> = variables;
            let environment =
                |name: &str| variables.iter().any(|known| known == name).then(|| "secret".to_owned());
            let policy = embedded(&manifest).to_string();
            if let Err(problems) = Policy::load(policy.as_bytes(), &environment) {
                panic!("{}: {problems}", path.display());
            }
            seen += 1;
        }
    }
    assert_eq!(seen, 5);
}

#[test]
fn kustomizations_name_what_is_there_and_leave_nothing_out() {
    let read = |path: &str| std::fs::read_to_string(project("istio").join(path)).unwrap();
    for (folder, kustomization) in ["base", "overlays/sidecar", "overlays/gateway"]
        .map(|folder| (folder, read(&format!("{folder}/kustomization.yaml"))))
    {
        let folder = project("istio").join(folder);
        let document = documents(&kustomization).remove(0);
        let resources = document["resources"].as_array().unwrap().iter();
        let patches =
            document["patches"].as_array().into_iter().flatten().filter_map(|patch| patch.get("path"));
        for file in resources.chain(patches).map(|file| file.as_str().unwrap()) {
            assert!(folder.join(file).exists(), "{}: {file}", folder.display());
        }
        for file in std::fs::read_dir(&folder).unwrap().map(|file| file.unwrap().file_name()) {
            let file = file.into_string().unwrap();
            let named = kustomization.lines().any(|line| line.ends_with(&format!(" {file}")));
            assert!(named || file == "kustomization.yaml", "{}: {file}", folder.display());
        }
    }
}
