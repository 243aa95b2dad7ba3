//! What docs/istio.md warns of, as far as Envoy alone shows it.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use sidegate::{policy::Policy, shell::telemetry::Measure};
use sidegate_harness::{
    Envoy, Listener, Request, Setup, direct_response, noop_module, project, send, sidegate_module,
};

use super::{documents, filters::with_filters, of_istio, policy, render};

const WASM: &str = "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm";

/// A Wasm filter as istiod makes it from a WasmPlugin, or with its own `vm_id`.
fn plugin(name: &str, vm_id: &str, module: &std::path::Path, policy: &Value) -> Value {
    let configuration =
        json!({"@type": "type.googleapis.com/google.protobuf.StringValue", "value": policy.to_string()});
    let vm =
        json!({"vm_id": vm_id, "runtime": "envoy.wasm.runtime.v8", "code": {"local": {"filename": module}}});
    let config = json!({"name": name, "root_id": name, "vm_config": vm, "configuration": configuration});
    json!({"name": name, "typed_config": {"@type": WASM, "config": config}})
}

/// [`policy`] without a provider: keys only.
fn keys_only() -> Value {
    let mut policy = policy();
    policy.as_object_mut().unwrap().remove("providers");
    policy["apis"][0]["access"] = json!(["api_key"]);
    policy
}

/// Istio's tag expressions, including those for the annotation's labels.
fn istios_tags(labels: &str) -> Value {
    let bootstrap = of_istio("envoy_bootstrap.json");
    let (_, rest) = bootstrap.split_once("\"stats_tags\": [").unwrap();
    let (before, rest) = rest.split_once("{{- range $a, $tag := .extraStatTags }}").unwrap();
    let (each, rest) = rest.split_once("{{- end }}").unwrap();
    let (after, _) = rest.split_once("],").unwrap();
    let extra: String = labels.split(',').map(|label| each.replace("{{ $tag }}", label)).collect();
    serde_json::from_str(&format!("[{before}{extra}{after}]")).unwrap()
}

fn annotation(name: &str) -> String {
    let pod = documents(&std::fs::read_to_string(project("istio/pod.yaml")).unwrap()).remove(0);
    pod["spec"]["template"]["metadata"]["annotations"][name].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn metrics_have_labels_once_the_annotation_names_them() {
    let labels = annotation("sidecar.istio.io/extraStatTags");
    let names = Measure::all().map(|measure| measure.name(None));
    let used: BTreeSet<_> = names
        .iter()
        .flat_map(|name| name.trim_start_matches("sidegate.").split(";.;"))
        .filter_map(|part| Some(part.split_once("=.=")?.0))
        .collect();
    assert_eq!(labels.split(',').collect::<BTreeSet<_>>(), used);

    for (labels, expected) in [
        (labels.as_str(), r#"sidegate_decisions{api="orders",outcome="refused",code="13"} 1"#),
        ("none", "sidegate_api___orders___outcome___refused___code___13___decisions{} 1"),
    ] {
        let filter = plugin("sidegate", "", &sidegate_module(), &keys_only());
        let mut bootstrap = with_filters(&[filter]);
        bootstrap["stats_config"] = json!({"use_all_default_tags": false, "stats_tags": istios_tags(labels)});
        let envoy = Envoy::run(bootstrap, |_| ()).await;
        assert_eq!(envoy.send(Request::get("/orders").header("apikey", "a guess")).await.code(), Some("13"));
        let metrics = envoy.admin("/stats/prometheus").await.text();
        let ours: Vec<_> = metrics.lines().filter(|line| line.starts_with("sidegate_")).collect();
        assert!(ours.contains(&expected), "{ours:?}");
        assert!(labels == "none" || ours.iter().all(|line| !line.contains("___")), "{ours:?}");
    }
}

/// Two listeners, each with the filter of one WasmPlugin. They share counters only if they share a `vm_id`.
#[tokio::test]
async fn gates_with_one_vm_id_count_together() {
    let of_two = async |first: &str, second: &str| {
        let listener = |name: &str, vm_id: &str| {
            let filter = plugin(name, vm_id, &sidegate_module(), &keys_only());
            Listener::new(name).filter(filter).route(direct_response(200, "served"))
        };
        let envoy = Envoy::start(Setup::new(listener("one", first)).listener(listener("two", second))).await;
        let mut codes = Vec::new();
        for name in ["one", "one", "two"] {
            let answer =
                send(envoy.address_of(name).await, &Request::get("/").header("apikey", "acme-key")).await;
            codes.push(answer.unwrap().code().map(str::to_owned));
        }
        codes
    };
    assert_eq!(of_two("", "").await, [None, None, Some("14".to_owned())]);
    assert_eq!(of_two("one", "two").await, [None, None, None]);
}

/// Every WasmPlugin of a proxy has the empty `vm_id`, and therefore sees the same keys.
#[tokio::test]
async fn neighbours_with_the_same_vm_id_do_not_collide_with_sidegates_keys() {
    let module = noop_module().with_file_name("sidegate_saboteur.wasm");
    assert!(module.is_file(), "{} is missing: run `make saboteur`", module.display());
    let filters = [
        plugin("neighbour", "", &module, &json!({})),
        plugin("sidegate", "", &sidegate_module(), &keys_only()),
    ];
    let envoy = Envoy::run(with_filters(&filters), |_| ()).await;
    let mut codes = Vec::new();
    for prefix in ["neighbour/", "meters/", "tokens/"] {
        let request = Request::get("/orders").header("apikey", "acme-key");
        let request = request.header("x-write", format!("{prefix} 70000 ff"));
        codes.push(envoy.send(request).await.code().map(str::to_owned));
    }
    assert_eq!(codes, [None, None, Some("14".to_owned())]);
    assert_eq!(envoy.stat("wasmcustom.sidegate.store_corrupt").await, 0);
}

/// A listener with the filter of `sidegate render --as envoyfilter`.
fn rendered(module: &str, policy: &Value) -> Listener {
    let options = ["--as", "envoyfilter", "--for", "gateway", "--module", module];
    let manifest = documents(&render(policy, &options)).remove(0);
    let filter = manifest["spec"]["configPatches"][0]["patch"]["value"].clone();
    Listener::new("main").filter(filter).route(direct_response(200, "served"))
}

#[tokio::test]
async fn a_file_that_is_not_mounted_is_a_listener_that_envoy_refuses() {
    let listener = rendered("/etc/sidegate/not-mounted.wasm", &keys_only());
    let rejected = Envoy::try_start(Setup::new(listener)).await.unwrap_err();
    assert!(rejected.details.contains("/etc/sidegate/not-mounted.wasm"), "{rejected}");
}

#[tokio::test]
async fn a_variable_that_the_proxy_lacks_is_named_and_the_policy_is_refused() {
    let listener = rendered(sidegate_module().to_str().unwrap(), &policy());
    let rejected = Envoy::try_start(Setup::new(listener)).await.unwrap_err();
    assert!(rejected.log.contains("the environment has no variable `IDP_SECRET`"), "{rejected}");
}

#[test]
fn the_file_is_mounted_where_the_manifest_looks_for_it() {
    let read = |name: &str| serde_json::from_str::<Value>(&annotation(name)).unwrap();
    let (volumes, mounts) = (read("sidecar.istio.io/userVolume"), read("sidecar.istio.io/userVolumeMount"));
    assert!(volumes["sidegate"].is_object());
    let directory = mounts["sidegate"]["mountPath"].as_str().unwrap();
    let text = std::fs::read_to_string(project("istio/base/envoyfilter-file.yaml")).unwrap();
    let manifest = documents(&text).remove(0);
    let vm = &super::filter(&manifest)["typed_config"]["config"]["vm_config"];
    assert_eq!(vm["code"]["local"]["filename"], format!("{directory}/sidegate.wasm"));
    // It is too large for a ConfigMap.
    assert!(std::fs::metadata(sidegate_module()).unwrap().len() > 1 << 20);
}

/// In sidecars, Istio leaves `use_remote_address` off. In gateways it is on, and `numTrustedProxies` is
/// `xff_num_trusted_hops`.
#[tokio::test]
async fn callers_can_forge_their_address_unless_the_proxy_is_an_edge() {
    let policy = json!({"sidegate": "v1", "apis": [{
        "name": "orders",
        "access": ["allow"],
        "rules": [{"path": "/**"}],
        "limits": [{"metric": "hits", "max": 1, "per": "eternity", "of": "address"}],
    }]});
    // Two callers with forged addresses, and the same behind a trusted proxy, which adds the real one.
    let said = ["192.0.2.1", "192.0.2.2", "192.0.2.1, 198.51.100.7", "192.0.2.2, 198.51.100.7"];
    for (edge, hops, admitted) in [
        (false, 0, [true, true, true, false]),
        (true, 0, [true, false, false, false]),
        (true, 1, [true, true, true, false]),
    ] {
        let listener = Listener::new("main")
            .filter(plugin("sidegate", "", &sidegate_module(), &policy))
            .route(direct_response(200, "served"))
            .manager("use_remote_address", json!(edge))
            .manager("xff_num_trusted_hops", json!(hops));
        let envoy = Envoy::start(Setup::new(listener)).await;
        let mut passed = Vec::new();
        for addresses in said {
            let answer = envoy.send(Request::get("/").header("x-forwarded-for", addresses)).await;
            passed.push(answer.status == 200);
        }
        assert_eq!(passed, admitted, "{edge} {hops}");
    }
}

/// As docs/istio.md says: the digest is that of the exact text, and Istio rewrites the text.
#[test]
fn the_digest_is_of_the_text_and_not_of_its_meaning() {
    let compact = keys_only().to_string();
    let spaced = format!("{:#}", keys_only());
    let digest = |text: &str| Policy::load(text.as_bytes(), &|_| None).map(|policy| policy.digest).unwrap();
    assert_ne!(digest(&compact), digest(&spaced));
}
