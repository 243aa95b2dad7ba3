//! The parts of manifests that are Envoy's own configuration, in a real Envoy. Istio's schemas do not cover
//! them.

use serde_json::{Value, json};
use sidegate_harness::{Envoy, Request, eventually, project, sidegate_module, validate};
use tempfile::TempDir;

use super::{documents, files, filter, policy, render};

const MANAGER: &str =
    "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager";

/// A connection manager that has these filters before its router, and answers itself.
fn manager(filters: &[Value]) -> Value {
    let router = json!({
        "name": "envoy.filters.http.router",
        "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"},
    });
    let route = json!({"match": {"prefix": "/"}, "direct_response": {"status": 200, "body": {"inline_string": "served"}}});
    json!({
        "@type": MANAGER,
        "stat_prefix": "main",
        "http_filters": filters.iter().cloned().chain([router]).collect::<Vec<_>>(),
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route]}]},
    })
}

/// A bootstrap with one listener that has this connection manager.
pub fn bootstrap(manager: &Value) -> Value {
    let filter = json!({"name": "envoy.filters.network.http_connection_manager", "typed_config": manager});
    json!({
        "node": {"id": "manifests", "cluster": "manifests"},
        "static_resources": {"listeners": [{
            "name": "main",
            "address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}},
            "filter_chains": [{"filters": [filter]}],
        }]},
    })
}

/// A bootstrap with these filters before the router.
pub fn with_filters(filters: &[Value]) -> Value {
    bootstrap(&manager(filters))
}

/// An Envoy whose environment has the policy's secret.
async fn start(bootstrap: Value) -> Envoy {
    Envoy::run(bootstrap, |envoy| {
        envoy.env("IDP_SECRET", "hunter2");
    })
    .await
}

/// Asserts that the policy is in force: the open path is open, acme is admitted twice, and strangers are
/// refused.
async fn assert_guarded(envoy: &Envoy) {
    let answer = async |path: &str, key: &str| {
        let answer = envoy.send(Request::get(path).header("apikey", key)).await;
        answer.code().map_or_else(|| answer.text(), str::to_owned)
    };
    assert_eq!(answer("/health", "").await, "served");
    assert_eq!(answer("/orders", "a guess").await, "13");
    for expected in ["served", "served", "14"] {
        assert_eq!(answer("/orders", "acme-key").await, expected);
    }
}

#[tokio::test]
async fn an_envoyfilter_with_a_file_guards() {
    let module = sidegate_module();
    let options = ["--as", "envoyfilter", "--for", "gateway", "--module", module.to_str().unwrap()];
    let manifest = documents(&render(&policy(), &options)).remove(0);
    let envoy = start(with_filters(&[manifest["spec"]["configPatches"][0]["patch"]["value"].clone()])).await;
    assert_guarded(&envoy).await;
}

/// Istio's agent fetches the module and puts a file in its place. Envoy does the rest.
#[tokio::test]
async fn an_envoyfilter_by_extension_discovery_guards() {
    let directory = TempDir::new().unwrap();
    let url = "https://modules.example.com/sidegate.wasm";
    let options = ["--as", "envoyfilter", "--for", "gateway", "--module", url, "--sha256", super::DIGEST];
    let manifest = documents(&render(&policy(), &options)).remove(0);
    let patches = manifest["spec"]["configPatches"].as_array().unwrap();

    let mut extension = patches[1]["patch"]["value"].clone();
    extension["typed_config"]["config"]["vm_config"]["code"] =
        json!({"local": {"filename": sidegate_module()}});
    extension["@type"] = json!("type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig");
    let file = directory.path().join("filter.json");
    std::fs::write(&file, json!({"resources": [extension]}).to_string()).unwrap();

    let mut filter = patches[0]["patch"]["value"].clone();
    let source = &mut filter["config_discovery"]["config_source"];
    assert_eq!(source.as_object_mut().unwrap().remove("ads"), Some(json!({})));
    source["path_config_source"] = json!({"path": file});
    let envoy = start(with_filters(&[filter])).await;
    assert_guarded(&envoy).await;
}

/// A filter that Envoy takes from a watched file, as `envoy/demo.yaml` has it.
fn watched(directory: &TempDir) -> Value {
    json!({"name": "sidegate", "config_discovery": {
        "config_source": {
            "resource_api_version": "V3",
            "path_config_source": {
                "path": directory.path().join("filter.yaml"),
                "watched_directory": {"path": directory.path()},
            },
        },
        "type_urls": ["type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm"],
    }})
}

#[tokio::test]
async fn the_file_for_a_standalone_envoy_guards_and_is_replaced_in_place() {
    let directory = TempDir::new().unwrap();
    let module = sidegate_module();
    let write = |policy: &Value| {
        let printed = render(policy, &["--as", "envoy", "--module", module.to_str().unwrap()]);
        std::fs::write(directory.path().join("filter.new"), printed).unwrap();
        std::fs::rename(directory.path().join("filter.new"), directory.path().join("filter.yaml")).unwrap();
    };
    write(&policy());
    let envoy = start(with_filters(&[watched(&directory)])).await;
    assert_guarded(&envoy).await;

    let mut open = policy();
    open["apis"][0]["access"] = json!(["allow"]);
    write(&open);
    eventually("the new policy", async || {
        let answer = envoy.send(Request::get("/orders")).await;
        (answer.status == 200).then_some(())
    })
    .await;
}

/// Each Wasm configuration in the manifests, and each part of a connection manager.
#[test]
fn envoy_accepts_the_configuration_in_the_manifests() {
    let mut seen = 0;
    for (path, text) in files() {
        for manifest in documents(&text).iter().filter(|manifest| manifest["kind"] == "EnvoyFilter") {
            let patches = manifest["spec"]["configPatches"].as_array().unwrap();
            let mut manager = manager(&[]);
            for patch in patches {
                let value = &patch["patch"]["value"];
                match patch["applyTo"].as_str().unwrap() {
                    "NETWORK_FILTER" => {
                        let typed = value["typed_config"].as_object().unwrap().clone();
                        manager.as_object_mut().unwrap().extend(typed);
                    }
                    "HTTP_FILTER" if value.get("typed_config").is_none() => {}
                    "HTTP_FILTER" | "EXTENSION_CONFIG" => {
                        assert_eq!(value["name"], patches[0]["patch"]["value"]["name"], "{}", path.display());
                        let mut filter = filter(manifest).clone();
                        if filter["typed_config"].get("config").is_some() {
                            filter["typed_config"]["config"]["vm_config"]["code"] =
                                json!({"local": {"filename": sidegate_module()}});
                        }
                        manager["http_filters"].as_array_mut().unwrap().insert(0, filter);
                    }
                    other => panic!("{}: {other}", path.display()),
                }
            }
            let file = tempfile::Builder::new().suffix(".json").tempfile().unwrap();
            std::fs::write(file.path(), bootstrap(&manager).to_string()).unwrap();
            assert_eq!(validate(file.path()), Ok(()), "{}", path.display());
            seen += 1;
        }
    }
    assert_eq!(seen, 4);
}

/// The tests of `envoy/cors.yaml` show that these settings are right.
#[test]
fn the_gateway_lets_pages_do_what_the_standalone_envoy_lets_them_do() {
    let read = |path: &str| documents(&std::fs::read_to_string(project(path)).unwrap()).remove(0);
    let at = "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config/route_config/virtual_hosts/0/\
              typed_per_filter_config/envoy.filters.http.cors";
    let cors = read("envoy/cors.yaml").pointer(at).unwrap().clone();
    let policy = read("istio/base/cors.yaml")["spec"]["http"][0]["corsPolicy"].clone();
    let list = |value: &Value| {
        let items = value.as_array().unwrap().iter().map(|item| item.as_str().unwrap());
        items.collect::<Vec<_>>().join(", ")
    };
    for (standalone, istios) in [
        ("allow_methods", "allowMethods"),
        ("allow_headers", "allowHeaders"),
        ("expose_headers", "exposeHeaders"),
    ] {
        assert_eq!(cors[standalone], list(&policy[istios]));
    }
    assert_eq!(cors["allow_origin_string_match"], policy["allowOrigins"]);
}

/// The tests of `envoy/demo.yaml` show that the replies are right.
#[test]
fn local_replies_are_those_of_the_demo() {
    let read = |path: &str| documents(&std::fs::read_to_string(project(path)).unwrap()).remove(0);
    let demo = read("envoy/demo.yaml");
    let at = "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config/local_reply_config";
    let manifest = read("istio/base/local-replies.yaml");
    let patched = manifest.pointer("/spec/configPatches/0/patch/value/typed_config/local_reply_config");
    assert_eq!(patched, demo.pointer(at));
}
