//! Modules that cannot be fetched: what the agent does and logs.

use std::process::Command;

use sidegate_harness::debian;
use sidegate_mesh::{Node, tools};

use super::*;

/// A plugin that asks for this image.
pub fn plugin(url: &str, strategy: &str) -> Value {
    json!({
        "apiVersion": "extensions.istio.io/v1alpha1",
        "kind": "WasmPlugin",
        "metadata": {"name": "sidegate", "namespace": "default"},
        "spec": {
            "selector": {"matchLabels": {"app": "orders"}},
            "match": [{"mode": "SERVER"}],
            "phase": "AUTHN",
            "url": url,
            "failStrategy": strategy,
            "pluginConfig": policy(),
        },
    })
}

/// Closed: the agent's replacement for the module refuses everything. Open: everything passes.
pub async fn assert_unfetched(shop: &Shop, url: &str, why: &str) {
    let kubernetes = shop.mesh.kubernetes();
    for strategy in ["FAIL_CLOSE", "FAIL_RELOAD"] {
        let said = shop.orders.log().len();
        kubernetes.apply(plugin(url, strategy));
        let refused = eventually("everything to be refused", async || {
            let answer = ask(&shop.orders, order().header("apikey", KEY)).await;
            (answer.status != 200).then_some(answer)
        });
        let refused = refused.await;
        assert_eq!((refused.status, refused.code()), (403, None), "{strategy}: {}", refused.text());
        assert_eq!(refused.text(), "RBAC: access denied");
        eventually(why, async || shop.orders.log().split_off(said).contains(why).then_some(())).await;
        kubernetes.delete(plugin(url, strategy));
        eventually("the plugin to be gone", async || {
            (ask(&shop.orders, order()).await.status == 200).then_some(())
        })
        .await;
    }

    let said = shop.orders.log().len();
    kubernetes.apply(plugin(url, "FAIL_OPEN"));
    eventually(why, async || shop.orders.log().split_off(said).contains(why).then_some(())).await;
    // Until the sidecar has heard from its agent, Istio's own default refuses.
    eventually("everything to pass", async || (ask(&shop.orders, order()).await.status == 200).then_some(()))
        .await;
    kubernetes.delete(plugin(url, "FAIL_OPEN"));
}

#[tokio::test]
async fn a_tag_that_does_not_exist_follows_the_fail_strategy() {
    let shop = Shop::open().await;
    assert_unfetched(&shop, &format!("{}:missing", shop.url), "MANIFEST_UNKNOWN").await;
    shop.guard(&policy()).await;
}

#[tokio::test]
async fn a_wrong_digest_follows_the_fail_strategy() {
    let shop = Shop::open().await;
    let tampered = format!("{}@sha256:{}", shop.url, "0".repeat(64));
    assert_unfetched(&shop, &tampered, "MANIFEST_UNKNOWN").await;

    // Somebody changed what the registry keeps under the right digest.
    let manifest = shop.registry.as_ref().expect("it runs").blob(&format!("sha256:{}", shop.digest));
    let original = std::fs::read(&manifest).unwrap();
    let mut changed = original.clone();
    changed.push(b' ');
    std::fs::write(&manifest, changed).unwrap();
    assert_unfetched(&shop, &shop.image(), "sha256").await;

    std::fs::write(&manifest, original).unwrap();
    shop.guard(&policy()).await;
}

#[tokio::test]
async fn a_stopped_registry_follows_the_fail_strategy() {
    let mut shop = Shop::open().await;
    let address = shop.registry.take().expect("it runs").address();
    assert_unfetched(&shop, &shop.image(), "connection refused").await;

    shop.registry = Some(Shop::registry(&shop.mesh, address).await);
    shop.guard(&policy()).await;
}

#[tokio::test]
async fn a_registry_that_requires_a_password_follows_the_fail_strategy_without_it() {
    let shop = Shop::open().await;
    let kubernetes = shop.mesh.kubernetes();
    let locked = Registry::start_for(Some(("puller", "s3cret"))).await;
    let copied = copy(&shop, &locked);
    assert_unfetched(&shop, &copied, "UNAUTHORIZED").await;

    kubernetes.apply(pull_secret(&copied, "default"));
    shop.apply(&policy(), &["--as", "wasmplugin", "--image", &copied, "--pull-secret", "registry"]);
    assert_guards(&shop.orders, &shop.service).await;
}

/// Copies the image to a registry that asks for a password, and gives its URL there.
pub fn copy(shop: &Shop, locked: &Registry) -> String {
    let open = shop.registry.as_ref().expect("it runs").address();
    let name = |address| format!("docker://{address}/sidegate/sidegate:right");
    let mut copy = Command::new(debian("skopeo"));
    copy.args(["copy", "--insecure-policy", "--src-tls-verify=false", "--dest-tls-verify=false"]);
    copy.args(["--dest-creds", "puller:s3cret", &name(open), &name(locked.address())]);
    tools::must(&mut copy);
    let port = locked.address().port();
    format!("oci://{}:{port}/sidegate/sidegate@sha256:{}", Node::ADDRESS, shop.digest)
}

/// The secret `registry`, for the registry in this URL.
pub fn pull_secret(url: &str, namespace: &str) -> Value {
    let host = url.strip_prefix("oci://").unwrap().split('/').next().unwrap();
    let login = json!({"auths": {host: {"username": "puller", "password": "s3cret"}}});
    json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "registry", "namespace": namespace},
        "type": "kubernetes.io/dockerconfigjson",
        "stringData": {".dockerconfigjson": login.to_string()},
    })
}
