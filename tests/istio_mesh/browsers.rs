//! Callers in browsers, with `istio/base/cors.yaml`: preflights, and headers on answers and refusals, for
//! Sidegate in a gateway.

use sidegate_harness::project;

use super::{delivery::gateway, *};

const PAGE: &str = "https://app.example.com";

/// The manifests of the file, for the gateway and the service of these tests.
fn manifests() -> Vec<Value> {
    let text = std::fs::read_to_string(project("istio/base/cors.yaml")).unwrap();
    let mut manifests = rendered::documents(&text);
    let spec = &mut manifests[0]["spec"];
    spec["hosts"] = json!(["orders.example.com"]);
    spec["gateways"] = json!(["ingress"]);
    spec["http"][0]["route"][0]["destination"] = json!({"host": "orders", "port": {"number": 80}});
    manifests
}

fn preflight() -> Request {
    Request::new("OPTIONS", "/orders/17")
        .host("orders.example.com")
        .header("origin", PAGE)
        .header("access-control-request-method", "GET")
        .header("access-control-request-headers", "apikey")
}

/// Asserts that the gateway answers preflights, and that a page reads answers and refusals.
async fn assert_pages_can_call(gateway: &Pod, service: &Upstream) {
    let before = service.requests();
    let answered = eventually("the preflight to be answered", async || {
        let answer = ask(gateway, preflight()).await;
        answer.header("access-control-allow-methods").is_some().then_some(answer)
    })
    .await;
    assert_eq!((answered.status, answered.code()), (200, None));
    assert_eq!(answered.header("access-control-allow-origin"), Some(PAGE));
    assert_eq!(service.requests(), before, "it ends at the gateway");
    for (key, status, code) in [(KEY, 200, None), ("a guess", 401, Some("13"))] {
        let answer = ask(gateway, order().header("origin", PAGE).header("apikey", key)).await;
        assert_eq!((answer.status, answer.code()), (status, code));
        assert_eq!(answer.header("access-control-allow-origin"), Some(PAGE), "{status}");
        let exposed = answer.header("access-control-expose-headers").unwrap_or_default();
        assert!(exposed.contains("x-sidegate-code") && exposed.contains("www-authenticate"), "{exposed}");
    }
}

#[tokio::test]
async fn in_the_gateway_itself_a_cors_filter_has_to_come_before_the_plugin() {
    let shop = Shop::open().await;
    let gateway = gateway(&shop.mesh).await;
    let kubernetes = shop.mesh.kubernetes();
    kubernetes.apply(&manifests()[0]);
    shop.apply(&policy(), &["--as", "wasmplugin", "--for", "gateway", "--image", &shop.image()]);
    guarded(&gateway).await;
    let refused = ask(&gateway, order().header("origin", PAGE).header("apikey", "a guess")).await;
    assert_eq!((refused.status, refused.header("access-control-allow-origin")), (401, None));

    kubernetes.apply(&manifests()[1]);
    eventually("the filter", async || {
        let answer = ask(&gateway, order().header("origin", PAGE).header("apikey", "a guess")).await;
        answer.header("access-control-allow-origin").is_some().then_some(())
    })
    .await;
    assert_pages_can_call(&gateway, &shop.service).await;
}

#[tokio::test]
async fn for_sidecars_the_virtual_service_is_enough() {
    let shop = Shop::open().await;
    let gateway = gateway(&shop.mesh).await;
    shop.mesh.kubernetes().apply(&manifests()[0]);
    shop.guard(&policy()).await;
    // The gateway's connection to the sidecar is older than the plugin.
    guarded(&gateway).await;
    assert_pages_can_call(&gateway, &shop.service).await;
}
