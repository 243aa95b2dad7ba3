//! The place of a module and its neighbours: sides of the proxy, other plugins, other filters, and files.

use super::{delivery::gateway, *};

/// A plugin that takes effect after everything that was applied before it. It refuses only requests to its
/// own host.
pub fn witness(shop: &Shop, selector: Value) -> Value {
    let policy = json!({"sidegate": "v1", "gate": {"unmatched": "pass"}, "apis": [{
        "name": "witness", "hosts": ["witness.example.com"], "access": ["deny"], "rules": [{"path": "/**"}],
    }]});
    let arguments = ["--as", "wasmplugin", "--image", &shop.image(), "--name", "witness"];
    let mut witness = manifest(&policy, &arguments);
    witness["spec"]["selector"]["matchLabels"] = selector;
    witness["spec"].as_object_mut().unwrap().remove("match");
    witness
}

#[tokio::test]
async fn a_match_on_servers_leaves_a_gateway_open() {
    let shop = Shop::open().await;
    let gateway = gateway(&shop.mesh).await;
    let arguments = ["--as", "wasmplugin", "--image", &shop.image()];
    let mut plugin = manifest(&policy(), &arguments);
    let selector = json!({"istio": "ingressgateway"});
    plugin["spec"]["selector"]["matchLabels"] = selector.clone();
    assert_eq!(plugin["spec"]["match"], json!([{"mode": "SERVER"}]));
    shop.mesh.kubernetes().apply(plugin);
    shop.mesh.kubernetes().apply(witness(&shop, selector));
    eventually("the witness", async || discovered(&gateway, "witness").await).await;
    assert_eq!(discovered(&gateway, "sidegate").await, None);
    assert_eq!(ask(&gateway, order()).await.status, 200, "everything passes");

    shop.apply(&policy(), &[&arguments[..], &["--for", "gateway"]].concat());
    assert_guards(&gateway, &shop.service).await;
}

#[tokio::test]
async fn without_a_match_a_sidecar_asks_its_own_service_for_a_key() {
    let shop = Shop::open().await;
    let stock = Plan::sidecar("stock").start(&shop.mesh).await;
    let _service = Upstream::echo_on(stock.listen(APPLICATION), "stock");
    let call = async || {
        let request = Request::get("/orders/17").host("stock");
        shop.orders.send_from_inside(stock.address(80), request).await.ok()
    };
    let passed =
        eventually("a call to stock", async || call().await.filter(|answer| answer.status == 200)).await;
    assert_eq!(passed.json()["name"], "stock");

    let mut plugin = manifest(&policy(), &["--as", "wasmplugin", "--image", &shop.image()]);
    plugin["spec"].as_object_mut().unwrap().remove("match");
    shop.mesh.kubernetes().apply(plugin);
    let refused = eventually("a refusal", async || call().await.filter(|answer| answer.status != 200)).await;
    assert_eq!((refused.status, refused.code()), (403, Some("12")));

    shop.apply(&policy(), &["--as", "wasmplugin", "--image", &shop.image()]);
    eventually("a call to stock", async || call().await.filter(|answer| answer.status == 200)).await;
    assert_guards(&shop.orders, &shop.service).await;
}

/// Two policies, each for a host of its own, with a limit on the same consumer.
#[tokio::test]
async fn two_plugins_in_a_proxy_count_together_and_an_envoy_filter_counts_alone() {
    let shop = Shop::open().await;
    let of_host = |host: &str| {
        let mut policy = policy();
        policy["gate"] = json!({"unmatched": "pass"});
        policy["plans"] = json!({"trial": {"limits": [{"metric": "hits", "max": 5, "per": "eternity"}]}});
        policy["consumers"][0]["plan"] = json!("trial");
        policy["apis"][0]["hosts"] = json!([host]);
        policy
    };
    let left = async |host: &str| {
        let request = Request::get("/orders/17").host(host).header("apikey", KEY);
        let answer = ask(&shop.orders, request).await;
        answer.remaining()
    };
    let refuses = async |host: &str| {
        let answer = async || ask(&shop.orders, Request::get("/orders/17").host(host)).await;
        eventually(host, async || (answer().await.code() == Some("12")).then_some(())).await;
    };
    let image = shop.image();
    let plugin = ["--as", "wasmplugin", "--image", &image, "--name"];
    shop.apply(&of_host("one.example.com"), &[&plugin[..], &["one"]].concat());
    shop.apply(&of_host("two.example.com"), &[&plugin[..], &["two"]].concat());
    refuses("one.example.com").await;
    refuses("two.example.com").await;
    assert_eq!(left("one.example.com").await, Some(4));
    assert_eq!(left("two.example.com").await, Some(3), "counted together");

    let module = shop.module();
    let filter = ["--as", "envoyfilter", "--module", &module, "--name", "three"];
    shop.apply(&of_host("three.example.com"), &filter);
    refuses("three.example.com").await;
    assert_eq!(left("three.example.com").await, Some(4), "counted alone");
    assert_eq!(left("one.example.com").await, Some(2));
}

/// An authorization policy of Istio that denies requests to these paths.
fn denying(paths: Value, condition: Option<Value>) -> Value {
    let mut rule = json!({"to": [{"operation": {"paths": paths}}]});
    if let Some(condition) = condition {
        rule["when"] = json!([condition]);
    }
    json!({
        "apiVersion": "security.istio.io/v1",
        "kind": "AuthorizationPolicy",
        "metadata": {"name": "orders", "namespace": "default"},
        "spec": {"selector": {"matchLabels": {"app": "orders"}}, "action": "DENY", "rules": [rule]},
    })
}

#[tokio::test]
async fn istios_authorization_sees_what_a_plugin_made_of_the_request_and_comes_before_an_envoy_filter() {
    let shop = Shop::open().await;
    let kubernetes = shop.mesh.kubernetes();
    let acme = json!({"key": "request.headers[x-consumer]", "values": ["acme"]});
    kubernetes.apply(denying(json!(["/orders/secret"]), None));
    let to = |path: &str| Request::get(path).host("orders.example.com").header("apikey", KEY);
    let denied = async |path: &str| {
        let answer = ask(&shop.orders, to(path)).await;
        (answer.status == 403 && answer.text() == "RBAC: access denied").then_some(())
    };
    eventually("Istio to refuse", async || denied("/orders/secret").await).await;
    let around = ask(&shop.orders, to("/orders//secret")).await;
    assert_eq!(around.status, 200, "Istio's own normalisation leaves double slashes");

    let mut limited = policy();
    limited["plans"] = json!({"trial": {"limits": [{"metric": "hits", "max": 100_000, "per": "eternity"}]}});
    limited["consumers"][0]["plan"] = json!("trial");
    let plugin = render(&limited, &["--as", "wasmplugin", "--image", &shop.image()]);
    kubernetes.apply(&plugin);
    guarded(&shop.orders).await;
    assert_eq!(denied("/orders//secret").await, Some(()), "it sees the path as Sidegate made it");
    kubernetes.apply(denying(json!(["/orders/17"]), Some(acme)));
    eventually("Istio to use the header", async || denied("/orders/17").await).await;
    let left = async || {
        let answer = ask(&shop.orders, to("/orders/18")).await;
        answer.remaining()
    };
    let before = left().await.unwrap();
    assert_eq!(denied("/orders/17").await, Some(()));
    assert_eq!(left().await, Some(before - 2), "Sidegate charged what Istio refused");
    kubernetes.delete(plugin);

    let module = shop.module();
    shop.apply(&limited, &["--as", "envoyfilter", "--module", &module, "--name", "last"]);
    let admitted = async || {
        let answer = ask(&shop.orders, to("/orders/17")).await;
        (answer.status == 200 && answer.remaining().is_some()).then_some(())
    };
    eventually("the header to come too late for Istio", admitted).await;
    kubernetes.apply(denying(json!(["/orders/secret"]), None));
    eventually("Istio to refuse", async || denied("/orders/secret").await).await;
    let before = left().await.unwrap();
    assert_eq!(denied("/orders/secret").await, Some(()));
    assert_eq!(left().await, Some(before - 1), "what Istio refuses costs no quota");
}

/// An EnvoyFilter with another source of the module.
fn with_code(policy: &Value, code: Value) -> Value {
    let mut filter = manifest(policy, &["--as", "envoyfilter"]);
    *filter.pointer_mut("/spec/configPatches/0/patch/value/typed_config/config/vm_config/code").unwrap() =
        code;
    filter
}

#[tokio::test]
async fn an_envoy_filter_with_a_missing_file_leaves_old_pods_as_they_were_and_new_ones_unready() {
    let shop = Shop::open().await;
    let module = shop.module();
    shop.mesh.kubernetes().apply(with_code(&policy(), json!({"local": {"filename": module}})));
    assert_guards(&shop.orders, &shop.service).await;

    let missing = with_code(&policy(), json!({"local": {"filename": "/etc/sidegate/sidegate.wasm"}}));
    shop.mesh.kubernetes().apply(&missing);
    let refused = "'virtualInbound' config rejected: Invalid path: /etc/sidegate/sidegate.wasm";
    logged(&shop.orders, refused).await;
    assert_guards(&shop.orders, &shop.service).await;

    let mut missing = missing;
    missing["metadata"]["name"] = json!("late");
    missing["spec"]["workloadSelector"]["labels"] = json!({"app": "late"});
    shop.mesh.kubernetes().apply(missing);
    let late = Plan::sidecar("late").launch(&shop.mesh).await;
    logged(&late, refused).await;
    let health = async || {
        let ask = Request::get("/healthz/ready");
        late.send_from_inside(late.address(15021), ask).await.ok()
    };
    assert_eq!(eventually("the agent to say whether it is ready", health).await.status, 503);
    let nobody = sidegate_harness::send(late.address(APPLICATION), &order()).await;
    assert!(nobody.is_err(), "{nobody:?}");
}

#[tokio::test]
async fn remote_code_in_the_http_filter_itself_is_left_to_envoy() {
    let shop = Shop::open().await;
    let remote = json!({"remote": {
        "http_uri": {"uri": "http://10.77.0.1/sidegate.wasm", "timeout": "30s", "cluster": "_"},
        "sha256": "0".repeat(64),
    }});
    shop.mesh.kubernetes().apply(with_code(&policy(), remote));
    let refused = eventually("everything to be refused", async || {
        let answer = ask(&shop.orders, order().header("apikey", KEY)).await;
        (answer.status != 200).then_some(answer)
    })
    .await;
    assert_eq!((refused.status, refused.code()), (503, None), "{}", refused.text());
    logged(&shop.orders, "failed to load").await;
}
