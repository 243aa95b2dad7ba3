//! Access tokens: introspected by an authorization server outside of the mesh, in a cluster that Istio makes
//! for a ServiceEntry.

use sidegate_harness::{Authority, Client, Oidc, TlsRelay};
use sidegate_mesh::{AUTHORIZATION_SERVER, CLUSTER, authorization_server};

use super::*;

/// An authorization server with TLS, and the manifests that make it known.
pub struct Outside {
    oidc: Oidc,
    pub manifests: Vec<Value>,
    _tls: TlsRelay,
}

impl Outside {
    /// The secret with which the pod authenticates itself.
    pub const SECRET: &str = "gateway-secret";

    pub async fn start(mesh: &Mesh) -> Self {
        let clients =
            [Client::new("gateway", Self::SECRET, ""), Client::new("acme-web", "s3cret", "orders.read")];
        let oidc = Oidc::start(clients).await;
        let authority = Authority::new();
        let certificate = authority.certificate(AUTHORIZATION_SERVER);
        let tls = TlsRelay::before(oidc.address(), &certificate).await;
        let manifests = authorization_server(mesh, tls.address(), authority.pem());
        Self { oidc, manifests, _tls: tls }
    }

    pub fn policy(&self) -> Value {
        let mut policy = policy();
        policy["providers"] = json!({"idp": {"introspection": {
            "cluster": CLUSTER,
            "url": format!("https://{AUTHORIZATION_SERVER}/token/introspection"),
            "authentication": {"basic": {"id": "gateway", "secret": {"env": "IDP_SECRET"}}},
            "timeout": "5s",
            "cache": {"ttl": "1s", "negative_ttl": "1s"},
        }}});
        policy["apis"][0]["access"] = json!([{"introspection": {"provider": "idp"}}, "api_key"]);
        policy
    }

    pub async fn token(&self) -> String {
        self.oidc.token("acme-web", "orders.read", Some(Oidc::ORDERS)).await
    }
}

/// A shop whose pod has the secret, guarded by the policy that calls the server outside.
async fn shop(known: impl Fn(&mut Vec<Value>)) -> (Shop, Outside) {
    let shop = Shop::open_with(|plan| plan.env("IDP_SECRET", Outside::SECRET)).await;
    let mut outside = Outside::start(&shop.mesh).await;
    known(&mut outside.manifests);
    for manifest in &outside.manifests {
        shop.mesh.kubernetes().apply(manifest);
    }
    shop.apply(&outside.policy(), &["--as", "wasmplugin", "--image", &shop.image()]);
    let asked = async || (ask(&shop.orders, order()).await.code() == Some("21")).then_some(());
    eventually("Sidegate to ask for a token", asked).await;
    (shop, outside)
}

#[tokio::test]
async fn a_service_entry_makes_the_cluster_and_a_destination_rule_its_tls() {
    let (shop, outside) = shop(|_| ()).await;
    let token = outside.token().await;
    let admitted = eventually("the cluster", async || {
        let answer = ask(&shop.orders, order().bearer(&token)).await;
        (answer.status == 200).then_some(answer)
    });
    assert_eq!(admitted.await.received("authorization"), None);
    let refused = ask(&shop.orders, order().bearer("made-up")).await;
    assert_eq!((refused.status, refused.code()), (401, Some("22")));
}

#[tokio::test]
async fn a_sidecar_resource_hides_the_cluster() {
    let (shop, outside) = shop(|_| ()).await;
    let token = outside.token().await;
    let admitted = async || (ask(&shop.orders, order().bearer(&token)).await.status == 200).then_some(());
    eventually("the cluster", admitted).await;

    let sidecar = json!({
        "apiVersion": "networking.istio.io/v1",
        "kind": "Sidecar",
        "metadata": {"name": "default", "namespace": "default"},
        "spec": {"egress": [{"hosts": ["./orders.default.svc.cluster.local"]}]},
    });
    shop.mesh.kubernetes().apply(&sidecar);
    let token = outside.token().await;
    let refused = eventually("the cluster to be hidden", async || {
        // Another token each time: what was cached needs no cluster.
        let token = outside.token().await;
        let answer = ask(&shop.orders, order().bearer(&token)).await;
        // Calls in flight fail in another way when the cluster disappears.
        (answer.code() == Some("09")).then_some(answer)
    })
    .await;
    assert_eq!(refused.status, 500);
    logged(&shop.orders, "the provider's cluster is unknown").await;
    assert_eq!(ask(&shop.orders, order().header("apikey", KEY)).await.status, 200, "keys need no cluster");

    shop.mesh.kubernetes().delete(&sidecar);
    let admitted = async || (ask(&shop.orders, order().bearer(&token)).await.status == 200).then_some(());
    eventually("the cluster to be back", admitted).await;
}

#[tokio::test]
async fn a_service_entry_that_is_not_exported_here_makes_no_cluster() {
    let elsewhere = |manifests: &mut Vec<Value>| {
        for manifest in manifests {
            manifest["metadata"]["namespace"] = json!("istio-system");
        }
    };
    let (shop, outside) = shop(elsewhere).await;
    let token = outside.token().await;
    let refused = ask(&shop.orders, order().bearer(&token)).await;
    assert_eq!((refused.status, refused.code()), (500, Some("09")));
}

#[tokio::test]
async fn without_the_destination_rule_calls_arrive_in_plain_text() {
    let (shop, outside) = shop(|manifests| manifests.truncate(1)).await;
    let cluster = async || {
        let clusters = shop.orders.admin("/clusters").await.ok()?.text();
        clusters.contains(CLUSTER).then_some(())
    };
    eventually("the cluster", cluster).await;
    let token = outside.token().await;
    let refused = ask(&shop.orders, order().bearer(&token)).await;
    assert_eq!((refused.status, refused.code()), (503, Some("24")));
}
