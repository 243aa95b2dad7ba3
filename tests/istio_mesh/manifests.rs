//! Everything under `istio/` and everything that `sidegate render` prints, checked by Istio's own command and
//! a real API server.

use std::{path::Path, process::Command};

use sidegate_harness::project;
use sidegate_mesh::{Kubernetes, tools};

use super::{
    delivery::opened,
    rendered::{documents, ways},
    *,
};

/// Runs `istioctl`, and returns its output.
fn istioctl(kubernetes: &Kubernetes, arguments: &[&str]) -> Result<String, String> {
    let mut command = Command::new(tools::istio("istioctl"));
    command.arg("--kubeconfig").arg(kubernetes.kubeconfig()).args(arguments);
    tools::run(&mut command, "")
}

/// Asserts that Istio's command and the API server with its schemas and rules accept the text, and that the
/// analysis of this cluster finds nothing wrong with it.
fn assert_valid(mesh: &Mesh, name: &str, namespace: &str, text: &str) {
    let file = mesh.directory().join("manifest.yaml");
    std::fs::write(&file, text).unwrap();
    let path = file.to_str().unwrap();
    let kubernetes = mesh.kubernetes();
    let validated = istioctl(kubernetes, &["validate", "--filename", path]);
    assert!(validated.is_ok(), "{name}: {validated:?}");
    kubernetes.ask(&["apply", "--dry-run=server", "--namespace", namespace, "--filename", path]);
    assert_eq!(findings(kubernetes, namespace, path), Vec::<String>::new(), "{name}: {text}");
}

/// The findings of `istioctl analyze` for the file and the namespace together.
fn findings(kubernetes: &Kubernetes, namespace: &str, path: &str) -> Vec<String> {
    let analyze =
        ["analyze", "--failure-threshold", "Error", "--output", "json", "--namespace", namespace, path];
    let (Ok(said) | Err(said)) = istioctl(kubernetes, &analyze);
    let messages: Value = serde_json::from_str(said.split("\nError: ").next().unwrap_or(&said))
        .unwrap_or_else(|error| panic!("{error}: {said}"));
    let messages = messages.as_array().into_iter().flatten();
    let findings = messages.map(|message| format!("{} {}", message["code"], message["message"]));
    // Every EnvoyFilter has this finding, just because it is an EnvoyFilter.
    findings.filter(|finding| !finding.contains("IST0133")).collect()
}

/// A namespace with the objects that the manifests select, and the secrets that they name.
fn create_objects(kubernetes: &Kubernetes, namespace: &str) {
    let pod = |name: &str, labels: Value| {
        json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": name,
                "namespace": namespace,
                "labels": labels,
                "annotations": {"sidecar.istio.io/status": "{}"},
            },
            "spec": {"containers": [
                {"name": "application", "image": "application"},
                {"name": "istio-proxy", "image": "proxy"},
            ]},
        })
    };
    let service = |name: &str, selector: Value, port: u16| {
        json!({
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": name, "namespace": namespace},
            "spec": {"selector": selector, "ports": [{"name": "http", "port": port}]},
        })
    };
    let login = json!({"auths": {}}).to_string();
    let items = json!([
        {
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {"name": namespace, "labels": {"istio-injection": "enabled"}},
        },
        pod("orders", json!({"app": "orders"})),
        pod("ingressgateway", json!({"istio": "ingressgateway"})),
        service("orders", json!({"app": "orders"}), 8080),
        service("ingressgateway", json!({"istio": "ingressgateway"}), 80),
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "registry", "namespace": namespace},
            "type": "kubernetes.io/dockerconfigjson",
            "stringData": {".dockerconfigjson": login},
        },
    ]);
    kubernetes.apply(json!({"apiVersion": "v1", "kind": "List", "items": items}));
}

#[tokio::test]
async fn istio_finds_nothing_wrong_with_any_manifest() {
    let mesh = Mesh::start().await;
    let kubernetes = mesh.kubernetes();
    for namespace in ["default", "shop", "istio-ingress"] {
        create_objects(kubernetes, namespace);
    }
    // That which `istio/base/cors.yaml` names.
    kubernetes.apply(opened("api", "istio-ingress", "api.example.com"));

    let mut seen = 0;
    for entry in std::fs::read_dir(project("istio/base")).unwrap() {
        let path = entry.unwrap().path();
        if path.ends_with("kustomization.yaml") {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        assert_valid(&mesh, &path.display().to_string(), "default", &text);
        seen += documents(&text).len();
    }
    assert!(seen >= 7, "{seen}");

    for (overlay, namespace) in
        [("base", "default"), ("overlays/sidecar", "shop"), ("overlays/gateway", "istio-ingress")]
    {
        let folder = project(Path::new("istio").join(overlay));
        let built = kubernetes.ask(&["kustomize", folder.to_str().unwrap()]);
        assert_valid(&mesh, overlay, namespace, &built);
    }

    kubernetes.ask(&["create", "deployment", "orders", "--image=orders"]);
    let patch = project("istio/pod.yaml");
    let patched = ["patch", "deployment", "orders", "--patch-file", patch.to_str().unwrap()];
    assert!(kubernetes.ask(&patched).contains("patched"));
}

#[tokio::test]
async fn istio_finds_nothing_wrong_with_what_is_rendered() {
    let mesh = Mesh::start().await;
    for namespace in ["default", "shop"] {
        create_objects(mesh.kubernetes(), namespace);
    }
    let ways = ways();
    let for_istio: Vec<_> = ways.iter().filter(|way| !way.contains(&"envoy")).collect();
    assert!(for_istio.len() >= 12, "{for_istio:?}");
    for way in for_istio {
        let namespace = if way.contains(&"shop") { "shop" } else { "default" };
        let text = rendered::render(&rendered::policy(), way);
        assert_valid(&mesh, &format!("{way:?}"), namespace, &text);
    }
}

#[tokio::test]
async fn istio_finds_what_is_wrong() {
    let mesh = Mesh::start().await;
    create_objects(mesh.kubernetes(), "default");
    let right = render(&policy(), &["--as", "wasmplugin", "--image", "oci://registry.example.com/sidegate"]);
    let wrong: [(&str, Value, &str); 4] = [
        ("url", json!("ftp://registry.example.com/sidegate"), "validate"),
        ("phase", json!("BEFORE"), "apply"),
        ("failStrategy", json!("FAIL_SOMEHOW"), "apply"),
        ("sha256", json!("no digest"), "analyze"),
    ];
    let kubernetes = mesh.kubernetes();
    for (attribute, value, finder) in wrong {
        let mut manifest = documents(&right).remove(0);
        manifest["spec"][attribute] = value;
        let file = mesh.directory().join("wrong.yaml");
        std::fs::write(&file, manifest.to_string()).unwrap();
        let path = file.to_str().unwrap();
        let found = match finder {
            "validate" => istioctl(kubernetes, &["validate", "--filename", path]).is_err(),
            "apply" => kubernetes.try_apply(&manifest.to_string()).is_err(),
            _ => findings(kubernetes, "default", path).iter().any(|finding| finding.contains("IST0106")),
        };
        assert!(found, "{attribute}: not found by {finder}");
    }
}
