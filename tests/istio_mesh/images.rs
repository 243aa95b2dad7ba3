//! Which module a pod runs: tags, digests, what was fetched before, and registries that ask for a password.

use sidegate_harness::noop_module;
use sidegate_mesh::push_module;

use super::{
    fetching::{copy, plugin, pull_secret},
    *,
};

/// Pushes another image, of the module that does nothing, under an existing tag.
fn push_another(shop: &Shop, tag: &str) -> String {
    let directory = shop.mesh.directory().join("another");
    let registry = shop.registry.as_ref().expect("it runs");
    push_module(&noop_module(), registry, tag, &directory).1
}

/// The digest of the image whose module the pod runs: the agent names its file so.
async fn running(pod: &Pod, plugin: &str) -> Option<String> {
    let filter = discovered(pod, plugin).await?;
    let file = filter.pointer("/typed_config/config/vm_config/code/local/filename")?.as_str()?;
    Some(std::path::Path::new(file).file_stem()?.to_str()?.to_owned())
}

/// A plugin with a revised policy that takes an image by its tag, and with this `imagePullPolicy`.
fn tagged(shop: &Shop, tag: &str, policy: Option<&str>, revision: &str) -> Value {
    let url = format!("{}:{tag}", shop.url);
    let mut plugin = manifest(&revised(revision), &["--as", "wasmplugin", "--image", &url]);
    plugin["spec"]["imagePullPolicy"] = json!(policy);
    plugin
}

/// The tag names another image now, and pods that start later get that one.
#[tokio::test]
async fn a_tag_that_was_fetched_is_not_fetched_again() {
    let shop = Shop::open().await;
    let tagged = format!("{}:right", shop.url);
    let arguments = ["--as", "wasmplugin", "--image", &tagged];
    shop.apply(&revised("first"), &arguments);
    in_force(&shop.orders, "first").await;
    let another = push_another(&shop, "right");
    assert_ne!(another, shop.digest);

    shop.apply(&revised("second"), &arguments);
    in_force(&shop.orders, "second").await;
    assert_eq!(running(&shop.orders, "sidegate").await.as_ref(), Some(&shop.digest));

    let late = Plan::sidecar("late").start(&shop.mesh).await;
    let mut plugin = manifest(&revised("second"), &[&arguments[..], &["--name", "late-sidegate"]].concat());
    plugin["spec"]["selector"]["matchLabels"] = json!({"app": "late"});
    shop.mesh.kubernetes().apply(plugin);
    let fetched = eventually("a module", async || running(&late, "late-sidegate").await).await;
    assert_eq!(fetched, another);

    // The remedy.
    shop.apply(&revised("third"), &[&arguments[..], &["--sha256", &shop.digest]].concat());
    in_force(&shop.orders, "third").await;
    shop.apply(&revised("fourth"), &[&arguments[..], &["--sha256", &another]].concat());
    eventually("what the digest says", async || {
        (running(&shop.orders, "sidegate").await.as_ref() == Some(&another)).then_some(())
    })
    .await;
}

/// Even a change of only the policy fetches the image that the tag names at that time.
#[tokio::test]
async fn an_image_that_is_always_pulled_is_pulled_with_each_change_of_the_plugin() {
    for (tag, policy) in [("right", Some("Always")), ("latest", None)] {
        let shop = Shop::open().await;
        let first =
            push(shop.registry.as_ref().expect("it runs"), tag, &shop.mesh.directory().join("first")).1;
        let plugin = |revision: &str| tagged(&shop, tag, policy, revision);
        shop.mesh.kubernetes().apply(plugin("first"));
        in_force(&shop.orders, "first").await;
        let another = push_another(&shop, tag);

        // Changes of other plugins do not count.
        let mut witness = plugin("witness");
        witness["metadata"]["name"] = json!("witness");
        witness["spec"]["url"] = json!(shop.image());
        witness["spec"]["pluginConfig"] = json!({"sidegate": "v1", "gate": {"unmatched": "pass"}, "apis": [{
            "name": "witness", "hosts": ["witness.example.com"], "access": ["deny"], "rules": [{"path": "/**"}],
        }]});
        shop.mesh.kubernetes().apply(witness);
        eventually("the witness", async || discovered(&shop.orders, "witness").await).await;
        assert_eq!(running(&shop.orders, "sidegate").await.as_ref(), Some(&first));

        shop.mesh.kubernetes().apply(plugin("second"));
        eventually("the other image", async || {
            (running(&shop.orders, "sidegate").await.as_ref() == Some(&another)).then_some(())
        })
        .await;
        assert_eq!(ask(&shop.orders, order()).await.status, 200, "{tag}: the module that does nothing");
    }
}

#[tokio::test]
async fn a_fetched_module_keeps_serving_without_the_registry() {
    let mut shop = Shop::open().await;
    let arguments = ["--as", "wasmplugin", "--image", &shop.image()];
    shop.apply(&revised("first"), &arguments);
    in_force(&shop.orders, "first").await;
    shop.registry = None;

    shop.apply(&revised("second"), &arguments);
    in_force(&shop.orders, "second").await;

    // Pods that start have fetched nothing yet.
    let late = Plan::sidecar("late").launch(&shop.mesh).await;
    let mut plugin = manifest(&revised("second"), &[&arguments[..], &["--name", "late-sidegate"]].concat());
    plugin["spec"]["selector"]["matchLabels"] = json!({"app": "late"});
    shop.mesh.kubernetes().apply(plugin);
    logged(&late, "applying deny RBAC filter").await;
    eventually("everything to be refused", async || {
        let answer = sidegate_harness::send(late.address(APPLICATION), &order().header("apikey", KEY)).await;
        answer.is_ok_and(|answer| answer.text() == "RBAC: access denied").then_some(())
    })
    .await;
    in_force(&shop.orders, "second").await;
}

#[tokio::test]
async fn an_image_that_is_always_pulled_is_lost_when_the_policy_changes_without_the_registry() {
    let mut shop = Shop::open().await;
    shop.mesh.kubernetes().apply(tagged(&shop, "right", Some("Always"), "first"));
    in_force(&shop.orders, "first").await;
    shop.registry = None;
    shop.mesh.kubernetes().apply(tagged(&shop, "right", Some("Always"), "second"));
    let refused = eventually("the failed pull", async || {
        let answer = ask(&shop.orders, order().header("apikey", KEY)).await;
        (answer.status != 200).then_some(answer)
    })
    .await;
    assert_eq!((refused.status, refused.text().as_str()), (403, "RBAC: access denied"));
    logged(&shop.orders, "connection refused").await;
}

/// Istio looks for the secret only in the plugin's namespace, and updates pods once it exists.
#[tokio::test]
async fn a_pull_secret_that_is_missing_or_elsewhere_is_an_image_that_cannot_be_fetched() {
    let shop = Shop::open().await;
    let locked = Registry::start_for(Some(("puller", "s3cret"))).await;
    let copied = copy(&shop, &locked);
    shop.mesh.kubernetes().apply(pull_secret(&copied, "istio-system"));
    shop.apply(&policy(), &["--as", "wasmplugin", "--image", &copied, "--pull-secret", "registry"]);
    logged(&shop.orders, "missing image pulling secret").await;
    let answer = eventually("everything to be refused", async || {
        let answer = ask(&shop.orders, order().header("apikey", KEY)).await;
        (answer.status != 200).then_some(answer)
    })
    .await;
    assert_eq!((answer.status, answer.text().as_str()), (403, "RBAC: access denied"));

    shop.mesh.kubernetes().apply(pull_secret(&copied, "default"));
    assert_guards(&shop.orders, &shop.service).await;
}

/// This is so even if the agent does not need the realm, because the registry uses name and password.
#[tokio::test]
async fn a_registry_whose_realm_is_no_public_url_is_refused() {
    let shop = Shop::open().await;
    for (realm, why) in
        [("Registry", "scheme \"\" not allowed"), ("http://10.77.0.1/token", "targets private/loopback")]
    {
        let locked = Registry::start_with_realm(Some(("puller", "s3cret")), realm).await;
        let copied = copy(&shop, &locked);
        shop.mesh.kubernetes().apply(pull_secret(&copied, "default"));
        let said = shop.orders.log().len();
        let mut plugin = plugin(&copied, "FAIL_CLOSE");
        plugin["spec"]["imagePullSecret"] = json!("registry");
        shop.mesh.kubernetes().apply(&plugin);
        let log = eventually("the realm to be refused", async || {
            let log = shop.orders.log().split_off(said);
            log.contains("rejected unsafe bearer realm").then_some(log)
        });
        let log = log.await.replace('\\', "");
        assert!(log.contains(why), "{log}");
        shop.mesh.kubernetes().delete(&plugin);
    }
}

/// The registry is back, but everything is refused until istiod sends the plugin again.
#[tokio::test]
async fn a_failed_fetch_is_tried_again_with_the_next_change() {
    let mut shop = Shop::open().await;
    let kubernetes = shop.mesh.kubernetes();
    let address = shop.registry.take().expect("it runs").address();
    shop.apply(&policy(), &["--as", "wasmplugin", "--image", &shop.image()]);
    logged(&shop.orders, "error in converting the wasm config to local").await;
    let tried = || shop.orders.log().matches("fetching image sidegate/sidegate").count();
    let refused =
        async || ask(&shop.orders, order().header("apikey", KEY)).await.text() == "RBAC: access denied";
    eventually("everything to be refused", async || refused().await.then_some(())).await;
    let before = tried();

    shop.registry = Some(Shop::registry(&shop.mesh, address).await);
    // Another change that istiod has to send to the pod.
    kubernetes.apply(json!({
        "apiVersion": "security.istio.io/v1",
        "kind": "AuthorizationPolicy",
        "metadata": {"name": "update", "namespace": "default"},
        "spec": {"action": "DENY", "rules": [{"to": [{"operation": {"paths": ["/update"]}}]}]},
    }));
    eventually("istiod's update", async || {
        shop.orders.admin("/config_dump").await.ok()?.text().contains("/update").then_some(())
    })
    .await;
    assert!(refused().await);
    assert_eq!(tried(), before);

    kubernetes.ask(&["annotate", "wasmplugin", "sidegate", "example.com/again=1"]);
    assert_guards(&shop.orders, &shop.service).await;
}
