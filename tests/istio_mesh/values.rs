//! What reaches the proxy from a manifest: invalid policies, numbers, digests, sizes, variables, addresses,
//! and Envoy's own replies.

use std::process::Command;

use sidegate::credential::Digest;
use sidegate_harness::project;
use sidegate_mesh::tools;

use super::{delivery::gateway_with, *};

/// The digest of a policy as `sidegate render` prints it.
fn digest(rendered: &str) -> &str {
    let (first, _) = rendered.split_once('\n').unwrap();
    first.strip_prefix("# sidegate render, policy digest ").unwrap()
}

#[tokio::test]
async fn an_invalid_first_policy_is_accepted_by_kubernetes_and_answers_500() {
    let shop = Shop::open().await;
    let mut plugin = manifest(&policy(), &["--as", "wasmplugin", "--image", &shop.image()]);
    plugin["spec"]["pluginConfig"]["apis"][0]["acces"] = json!(["deny"]);
    shop.mesh.kubernetes().apply(&plugin);
    logged(&shop.orders, "apis[0] (orders).acces: unknown field `acces`").await;
    let refused = eventually("a refusal", async || {
        let answer = ask(&shop.orders, order()).await;
        (answer.status != 200).then_some(answer)
    })
    .await;
    assert_eq!((refused.status, refused.code()), (500, None));

    plugin["metadata"]["name"] = json!("late");
    plugin["spec"]["selector"]["matchLabels"] = json!({"app": "late"});
    shop.mesh.kubernetes().apply(&plugin);
    let late = Plan::sidecar("late").launch(&shop.mesh).await;
    logged(&late, "apis[0] (orders).acces: unknown field `acces`").await;
    let refused = eventually("a refusal", async || {
        sidegate_harness::send(late.address(APPLICATION), &order()).await.ok()
    })
    .await;
    assert_eq!((refused.status, refused.code()), (500, None));
    late.ready().await;

    shop.apply(&policy(), &["--as", "wasmplugin", "--image", &shop.image()]);
    assert_guards(&shop.orders, &shop.service).await;
}

#[tokio::test]
async fn a_number_above_53_bits_arrives_changed_unless_the_policy_is_text() {
    const MAX: u64 = (1 << 53) + 1;
    let shop = Shop::open().await;
    let limited = |max: u64| {
        let mut policy = policy();
        policy["plans"] = json!({"trial": {"limits": [{"metric": "hits", "max": max, "per": "eternity"}]}});
        policy["consumers"][0]["plan"] = json!("trial");
        // Numbers in `RateLimit` have 15 digits at most.
        policy["gate"] = json!({"rate_limit_headers": "x_ratelimit"});
        policy
    };
    let limit = async || {
        let answer = ask(&shop.orders, order().header("apikey", KEY)).await;
        answer.header("x-ratelimit-limit").map(str::to_owned)
    };
    let mut plugin = manifest(&limited(1), &["--as", "wasmplugin", "--image", &shop.image()]);
    plugin["spec"]["pluginConfig"] = limited(MAX);
    shop.mesh.kubernetes().apply(&plugin);
    guarded(&shop.orders).await;
    assert_eq!(limit().await, Some((MAX - 1).to_string()));
    shop.mesh.kubernetes().delete(&plugin);

    shop.apply(&limited(MAX), &["--as", "envoyfilter", "--module", &shop.module()]);
    eventually("the text", async || (limit().await == Some(MAX.to_string())).then_some(())).await;
}

#[tokio::test]
async fn the_digest_in_the_mesh_is_that_of_the_text_that_istio_writes() {
    let shop = Shop::open().await;
    let arguments = ["--as", "wasmplugin", "--image", &shop.image()];
    for (revision, same) in [("plain", true), ("1 < 2 & 3", false)] {
        let mut policy = policy();
        policy["revision"] = json!(revision);
        let rendered = render(&policy, &arguments);
        shop.mesh.kubernetes().apply(&rendered);
        let loaded = eventually(revision, async || {
            let log = shop.orders.log();
            let line = log.lines().rfind(|line| line.contains("policy loaded") && line.contains(revision))?;
            line.split_once("digest=")?.1.get(..16).map(str::to_owned)
        })
        .await;
        assert_eq!(loaded == digest(&rendered), same, "{loaded}: {rendered}");
        let mut check = Command::new(env!("CARGO_BIN_EXE_sidegate"));
        let yaml = shop.mesh.directory().join("policy.yaml");
        std::fs::write(&yaml, serde_norway::to_string(&policy).unwrap()).unwrap();
        let checked = tools::must(check.arg("check").arg(&yaml));
        assert_eq!(checked.contains(&loaded), same, "{checked}");
    }
}

/// Real digests, as keys have them.
fn of_consumers(number: usize) -> Value {
    let mut policy = policy();
    let consumers = policy["consumers"].as_array_mut().unwrap();
    for number in 0..number {
        let sha256 = Digest::of(format!("key {number}").as_bytes()).to_hex();
        consumers.push(json!({"name": format!("consumer-{number}"), "keys": [{"sha256": sha256}]}));
    }
    policy
}

#[tokio::test]
async fn kubectl_keeps_256_kib_of_its_own_and_the_api_server_one_and_a_half_mib() {
    let shop = Shop::open().await;
    let kubernetes = shop.mesh.kubernetes();
    let arguments = ["--as", "wasmplugin", "--image", &shop.image()];
    let server_side = |manifest: &str| {
        tools::run(kubernetes.kubectl().args(["apply", "--server-side", "-f", "-"]), manifest)
    };
    for (consumers, fits, fits_server_side) in
        [(2_000, true, true), (2_500, false, true), (12_000, false, true), (16_000, false, false)]
    {
        let rendered = render(&of_consumers(consumers), &arguments);
        let applied = kubernetes.try_apply(&rendered);
        assert_eq!(applied.is_ok(), fits, "{consumers}: {:.300}", applied.unwrap_err());
        let applied = server_side(&rendered);
        assert_eq!(applied.is_ok(), fits_server_side, "{consumers}: {:.300}", applied.unwrap_err());
        if fits {
            kubernetes.delete(rendered);
        }
    }
    assert_guards(&shop.orders, &shop.service).await;
}

#[tokio::test]
async fn a_variable_comes_from_the_proxys_own_environment() {
    let shop = Shop::open().await;
    let mut policy = policy();
    policy["providers"] = json!({"idp": {"introspection": {
        "cluster": "outbound|443||idp.example.com",
        "url": "https://idp.example.com/introspect",
        "authentication": {"basic": {"id": "gateway", "secret": {"env": "IDP_SECRET"}}},
    }}});
    let mut plugin = manifest(&policy, &["--as", "wasmplugin", "--image", &shop.image()]);
    assert_eq!(plugin["spec"]["vmConfig"]["env"], json!([{"name": "IDP_SECRET", "valueFrom": "HOST"}]));
    shop.mesh.kubernetes().apply(&plugin);
    logged(&shop.orders, "the environment has no variable `IDP_SECRET`").await;

    plugin["metadata"]["name"] = json!("stock");
    plugin["spec"]["selector"]["matchLabels"] = json!({"app": "stock"});
    shop.mesh.kubernetes().apply(&plugin);
    let stock = Plan::sidecar("stock").env("IDP_SECRET", "s3cret").start(&shop.mesh).await;
    let service = Upstream::echo_on(stock.listen(APPLICATION), "stock");
    assert_guards(&stock, &service).await;

    plugin["metadata"]["name"] = json!("sidegate");
    plugin["spec"]["selector"]["matchLabels"] = json!({"app": "orders"});
    plugin["spec"]["vmConfig"]["env"] =
        json!([{"name": "IDP_SECRET", "valueFrom": "INLINE", "value": "s3cret"}]);
    shop.mesh.kubernetes().apply(&plugin);
    assert_guards(&shop.orders, &shop.service).await;
    let read = shop.mesh.kubernetes().ask(&["get", "wasmplugin", "sidegate", "--output", "yaml"]);
    assert!(read.contains("s3cret"), "everybody can read it");
}

#[tokio::test]
async fn callers_can_forge_their_address_in_a_sidecar_and_not_in_a_gateway() {
    let by_address = json!({"sidegate": "v1", "apis": [{
        "name": "orders",
        "access": ["allow"],
        "rules": [{"path": "/orders/**"}],
        "limits": [{"metric": "hits", "max": 1, "per": "eternity", "of": "address"}],
    }]});
    let passed = async |pod: &Pod| {
        let elsewhere = Request::get("/elsewhere").host("orders.example.com");
        let guarded = async || ask(pod, elsewhere.clone()).await.code().map(|_| ());
        eventually("Sidegate", guarded).await;
        let mut passed = Vec::new();
        // Two callers with forged addresses, and the same behind a trusted proxy, which adds the real one.
        for said in ["192.0.2.1", "192.0.2.2", "192.0.2.1, 198.51.100.7", "192.0.2.2, 198.51.100.7"] {
            passed.push(ask(pod, order().header("x-forwarded-for", said)).await.status == 200);
        }
        passed
    };
    for (proxies, admitted) in [(0, [true, false, false, false]), (1, [true, true, true, false])] {
        let shop = Shop::open().await;
        let behind =
            |plan: Plan| plan.configuration("gatewayTopology", json!({"numTrustedProxies": proxies}));
        let gateway = gateway_with(&shop.mesh, behind).await;
        let arguments = ["--as", "wasmplugin", "--image", &shop.image(), "--for"];
        shop.apply(&by_address, &[&arguments[..], &["gateway", "--name", "edge"]].concat());
        assert_eq!(passed(&gateway).await, admitted, "a gateway behind {proxies}");
        shop.apply(&by_address, &[&arguments[..], &["sidecar"]].concat());
        assert_eq!(passed(&shop.orders).await, [true, true, true, false], "a sidecar");
    }
}

#[tokio::test]
async fn an_unreachable_service_is_code_08_with_local_replies() {
    let mut shop = Shop::open().await;
    shop.guard(&policy()).await;
    shop.mesh.kubernetes().apply(std::fs::read_to_string(project("istio/base/local-replies.yaml")).unwrap());
    drop(std::mem::replace(&mut shop.service, Upstream::echo("elsewhere").await));
    let answer = eventually("local replies", async || {
        let answer = ask(&shop.orders, order().header("apikey", KEY)).await;
        answer.code().is_some().then_some(answer)
    })
    .await;
    assert_eq!((answer.status, answer.code()), (503, Some("08")));
    assert_eq!(answer.json()["code"], 8);
    assert_eq!(answer.json()["status"], 503);
}
