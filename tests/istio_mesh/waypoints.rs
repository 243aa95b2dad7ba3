//! Waypoints: which plugins they accept, and which servers they can call. Requests reach them through a
//! gateway.

use std::collections::BTreeSet;

use sidegate_mesh::CLUSTER;

use super::{delivery::gateway_with, introspection::Outside, places::witness, *};

const NAME: &str = "waypoint";
const LABEL: &str = "istio.io/use-waypoint";

/// A shop whose service is attached to a waypoint, and a gateway that routes through it.
struct Attached {
    waypoint: Pod,
    gateway: Pod,
    shop: Shop,
}

impl Attached {
    /// Opens one with changes to the waypoint's pod.
    async fn open_with(change: impl Fn(Plan) -> Plan) -> Self {
        let mesh = Mesh::start_ambient().await;
        let waypoint = change(Plan::waypoint(NAME)).start(&mesh).await;
        let attached = |plan: Plan| plan.label(LABEL, NAME).label("istio.io/ingress-use-waypoint", "true");
        let shop = Shop::open_in(mesh, attached).await;
        let gateway = gateway_with(&shop.mesh, |plan| {
            // One worker has one connection to the waypoint: so none is left from before a change.
            plan.configuration("concurrency", json!(1))
                .env("ISTIO_META_ENABLE_HBONE", "true")
                // It takes an extension that only Istio's own build of Envoy has.
                .env("PEER_METADATA_DISCOVERY", "false")
        });
        Self { waypoint, gateway: gateway.await, shop }
    }

    /// Applies the policy as a WasmPlugin for the waypoint.
    fn apply(&self, policy: &Value) {
        let plugin = manifest(policy, &["--as", "wasmplugin", "--image", &self.shop.image()]);
        self.shop.mesh.kubernetes().apply(targeted(plugin));
    }

    /// The names of all clusters of services that the waypoint's Envoy has.
    async fn clusters(&self) -> BTreeSet<String> {
        let text = self.waypoint.admin("/clusters").await.unwrap().text();
        let names = text.lines().filter_map(|line| line.split("::").next());
        names.filter(|name| name.contains('|')).map(Into::into).collect()
    }
}

/// The same plugin for the waypoint only.
fn targeted(mut plugin: Value) -> Value {
    let spec = plugin["spec"].as_object_mut().unwrap();
    spec.remove("selector");
    let target = json!({"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": NAME});
    spec.insert("targetRefs".into(), json!([target]));
    plugin
}

#[tokio::test]
async fn a_waypoint_takes_a_plugin_by_target_and_not_by_selector() {
    let mesh = Attached::open_with(|plan| plan).await;
    let kubernetes = mesh.shop.mesh.kubernetes();
    let mut selecting = manifest(&policy(), &["--as", "wasmplugin", "--image", &mesh.shop.image()]);
    selecting["spec"]["selector"]["matchLabels"] = json!({"gateway.networking.k8s.io/gateway-name": NAME});
    kubernetes.apply(selecting);
    kubernetes.apply(targeted(witness(&mesh.shop, json!({}))));
    eventually("the witness", async || discovered(&mesh.waypoint, "witness").await).await;
    assert_eq!(discovered(&mesh.waypoint, "sidegate").await, None);
    assert_eq!(ask(&mesh.gateway, order()).await.status, 200, "everything passes");

    mesh.apply(&policy());
    assert_guards(&mesh.gateway, &mesh.shop.service).await;
    let around = ask(&mesh.shop.orders, order()).await;
    assert_eq!(around.status, 200, "the waypoint refuses, not the pod behind it");
    assert_eq!(discovered(&mesh.gateway, "sidegate").await, None, "and not the gateway before it");
}

#[tokio::test]
async fn a_waypoint_has_clusters_of_what_is_attached_to_it_under_names_of_their_own() {
    let mesh = Attached::open_with(|plan| plan.env("IDP_SECRET", Outside::SECRET)).await;
    let mut outside = Outside::start(&mesh.shop.mesh).await;
    let kubernetes = mesh.shop.mesh.kubernetes();
    outside.manifests.iter().for_each(|manifest| kubernetes.apply(manifest));
    let known = async || {
        let clusters = mesh.shop.orders.admin("/clusters").await.ok()?.text();
        clusters.contains(CLUSTER).then_some(())
    };
    eventually("the cluster in a sidecar", known).await;
    let mut policy = outside.policy();
    mesh.apply(&policy);
    let asked = async || (ask(&mesh.gateway, order()).await.code() == Some("21")).then_some(());
    eventually("Sidegate to ask for a token", asked).await;
    let orders = "inbound-vip|80|http|orders.default.svc.cluster.local".to_owned();
    assert_eq!(mesh.clusters().await, [orders.clone()].into());
    let token = outside.token().await;
    let refused = ask(&mesh.gateway, order().bearer(&token)).await;
    assert_eq!((refused.status, refused.code()), (500, Some("09")));

    outside.manifests[0]["metadata"]["labels"] = json!({LABEL: NAME});
    kubernetes.apply(&outside.manifests[0]);
    let cluster = "inbound-vip|443|tcp|idp.example.com".to_owned();
    let attached = async || mesh.clusters().await.contains(&cluster).then_some(());
    eventually("the cluster in the waypoint", attached).await;
    assert_eq!(mesh.clusters().await, [orders, cluster.clone()].into());
    let refused = ask(&mesh.gateway, order().bearer(&token)).await;
    assert_eq!((refused.status, refused.code()), (500, Some("09")), "it has another name");

    policy["providers"]["idp"]["introspection"]["cluster"] = json!(cluster);
    mesh.apply(&policy);
    let admitted = eventually("the cluster by its name", async || {
        let answer = ask(&mesh.gateway, order().bearer(&token)).await;
        (answer.status == 200).then_some(answer)
    });
    assert_eq!(admitted.await.received("authorization"), None);
}
