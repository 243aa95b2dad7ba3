//! The ways in: each guards a pod, in the sidecar and in a gateway.

use sidegate::credential::Digest;
use sidegate_harness::sidegate_module;
use sidegate_mesh::Node;

use super::*;

/// An ingress gateway that leads to `orders`.
pub async fn gateway(mesh: &Mesh) -> Pod {
    gateway_with(mesh, |plan| plan).await
}

/// A Gateway object, which opens port 80 of the gateway for a host.
pub fn opened(name: &str, namespace: &str, host: &str) -> Value {
    json!({
        "apiVersion": "networking.istio.io/v1",
        "kind": "Gateway",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "selector": {"istio": "ingressgateway"},
            "servers": [{"port": {"number": 80, "name": "http", "protocol": "HTTP"}, "hosts": [host]}],
        },
    })
}

/// [`gateway`] with changes to the pod.
pub async fn gateway_with(mesh: &Mesh, change: impl Fn(Plan) -> Plan) -> Pod {
    let gateway = change(Plan::gateway("ingressgateway")).start(mesh).await;
    mesh.kubernetes().apply(json!({"apiVersion": "v1", "kind": "List", "items": [
        opened("ingress", "default", "*"),
        {
            "apiVersion": "networking.istio.io/v1",
            "kind": "VirtualService",
            "metadata": {"name": "orders", "namespace": "default"},
            "spec": {
                "hosts": ["orders.example.com"],
                "gateways": ["ingress"],
                "http": [{"route": [{"destination": {"host": "orders", "port": {"number": 80}}}]}],
            },
        },
    ]}));
    let open = async || {
        let answer = sidegate_harness::send(gateway.address(APPLICATION), &order()).await;
        answer.is_ok_and(|answer| answer.status == 200).then_some(())
    };
    eventually("the gateway to lead to orders", open).await;
    gateway
}

#[tokio::test]
async fn a_wasm_plugin_guards_a_sidecar() {
    let shop = Shop::open().await;
    shop.apply(&policy(), &["--as", "wasmplugin", "--image", &shop.image()]);
    assert_guards(&shop.orders, &shop.service).await;
}

#[tokio::test]
async fn a_wasm_plugin_guards_a_gateway() {
    let shop = Shop::open().await;
    let gateway = gateway(&shop.mesh).await;
    shop.apply(&policy(), &["--as", "wasmplugin", "--for", "gateway", "--image", &shop.image()]);
    assert_guards(&gateway, &shop.service).await;
}

#[tokio::test]
async fn a_traffic_extension_guards_sidecar_and_gateway() {
    let shop = Shop::open().await;
    let gateway = gateway(&shop.mesh).await;
    let arguments = ["--as", "trafficextension", "--image", &shop.image(), "--for"];
    shop.apply(&policy(), &[&arguments[..], &["gateway", "--name", "sidegate-gateway"]].concat());
    assert_guards(&gateway, &shop.service).await;
    shop.apply(&policy(), &[&arguments[..], &["sidecar"]].concat());
    assert_guards(&shop.orders, &shop.service).await;
}

#[tokio::test]
async fn an_envoy_filter_with_a_mounted_file_guards_sidecar_and_gateway() {
    let shop = Shop::open().await;
    let gateway = gateway(&shop.mesh).await;
    let module = shop.module();
    let arguments = ["--as", "envoyfilter", "--module", &module, "--for"];
    shop.apply(&policy(), &[&arguments[..], &["gateway", "--name", "sidegate-gateway"]].concat());
    assert_guards(&gateway, &shop.service).await;
    shop.apply(&policy(), &[&arguments[..], &["sidecar"]].concat());
    assert_guards(&shop.orders, &shop.service).await;
}

#[tokio::test]
async fn an_envoy_filter_with_remote_code_guards_sidecar_and_gateway() {
    let shop = Shop::open().await;
    let gateway = gateway(&shop.mesh).await;
    let (_modules, url, sha256) = module_by_http().await;
    let arguments = ["--as", "envoyfilter", "--module", &url, "--sha256", &sha256, "--for"];
    shop.apply(&policy(), &[&arguments[..], &["gateway", "--name", "sidegate-gateway"]].concat());
    assert_guards(&gateway, &shop.service).await;
    shop.apply(&policy(), &[&arguments[..], &["sidecar"]].concat());
    assert_guards(&shop.orders, &shop.service).await;
}

#[tokio::test]
async fn an_agent_that_must_not_fetch_modules_opens_no_gate() {
    let left_alone = |plan: Plan| plan.env("ISTIO_AGENT_ENABLE_WASM_REMOTE_LOAD_CONVERSION", "false");
    let shop = Shop::open_with(left_alone).await;
    assert_eq!(ask(&shop.orders, order()).await.status, 200);
    let (_modules, url, sha256) = module_by_http().await;
    shop.apply(&policy(), &["--as", "envoyfilter", "--module", &url, "--sha256", &sha256]);
    let refused = async || {
        let answer = sidegate_harness::send(shop.orders.address(APPLICATION), &order()).await;
        answer.is_ok_and(|answer| answer.status == 500).then_some(())
    };
    eventually("the gate to close", refused).await;
    logged(&shop.orders, "TypedExtensionConfig rejected: Unable to create Wasm plugin sidegate").await;
    assert_eq!(ask(&shop.orders, order()).await.status, 500, "and it stays closed");
}

/// A server that has the module, its URL, and the digest of its bytes.
async fn module_by_http() -> (Upstream, String, String) {
    let module = std::fs::read(sidegate_module()).unwrap();
    let sha256 = Digest::of(&module).to_hex();
    let modules = Upstream::file(module).await;
    let url = format!("http://{}:{}/sidegate.wasm", Node::ADDRESS, modules.address().port());
    (modules, url, sha256)
}
