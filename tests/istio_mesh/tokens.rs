//! JWTs that Istio verifies before Sidegate decides, as `istio/base/jwt.yaml` has it.

use base64::prelude::{BASE64_URL_SAFE_NO_PAD as BASE64, Engine as _};
use sidegate::credential::Digest;
use sidegate_harness::{Client, Oidc, project};

use super::*;

/// The RequestAuthentication of the manifest, for this server.
fn request_authentication(oidc: &Oidc) -> Value {
    let text = std::fs::read_to_string(project("istio/base/jwt.yaml")).unwrap();
    let mut manifest = rendered::documents(&text).remove(0);
    assert_eq!(manifest["kind"], "RequestAuthentication");
    let rule = &mut manifest["spec"]["jwtRules"][0];
    rule["issuer"] = json!(oidc.issuer());
    rule["jwksUri"] = json!(oidc.keys());
    manifest
}

fn verified_by_envoy(issuer: &str) -> Value {
    let way = |more: Value| {
        let mut way = json!({"provider": "corp", "verified_by": "envoy"});
        way.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({"jwt": way})
    };
    json!({
        "sidegate": "v1",
        "providers": {"corp": {"jwks": {"issuer": issuer, "audiences": ["orders"]}}},
        "consumers": [{
            "name": "acme", "clients": ["acme-web"],
            "keys": [{"sha256": "afacab3575137afa4e00d9cbcafcb14c9ae25f779d964eb0ea5b2c4eb5dfd163"}],
        }],
        "apis": [{
            "name": "orders",
            "rules": [
                {"path": "/health", "access": ["allow"]},
                {"path": "/orders/**", "access": [way(json!({"scopes": ["orders.read"]}))]},
                {"path": "/admin", "access": [way(json!({"scopes": ["admin"]}))]},
                {"path": "/key", "access": [way(json!({})), "api_key"]},
            ],
            "forward": {"headers": {"x-consumer": "{consumer}", "x-audience": "{claim:aud}"}},
        }],
    })
}

#[tokio::test]
async fn istio_verifies_tokens_before_a_plugin_and_nothing_that_callers_send_is_taken_for_one() {
    let shop = Shop::open().await;
    let kubernetes = shop.mesh.kubernetes();
    let oidc = Oidc::start([Client::new("acme-web", "s3cret", "orders.read")]).await;
    let policy = verified_by_envoy(&oidc.issuer());
    let image = shop.image();
    let plugin = manifest(&policy, &["--as", "wasmplugin", "--image", &image]);
    assert_eq!(plugin["spec"]["phase"], "AUTHZ");
    let authentication = request_authentication(&oidc);
    let token = oidc.token("acme-web", "orders.read", Some(Oidc::ORDERS_JWT)).await;
    let to = |path: &str| Request::get(path).host("orders.example.com");
    let verdict = async |request: Request| {
        let answer = ask(&shop.orders, request).await;
        (answer.status, answer.code().map(str::to_owned))
    };
    let code = |status: u16, code: &str| (status, Some(code.to_owned()));

    kubernetes.apply(&plugin);
    let guards = async || (verdict(to("/orders/1")).await == code(401, "21")).then_some(());
    eventually("Sidegate to ask for a token", guards).await;
    assert_eq!(verdict(to("/orders/1").bearer(&token)).await, code(401, "22"), "nobody has verified it");

    kubernetes.apply(&authentication);
    let admitted = eventually("Istio to verify tokens", async || {
        let answer = ask(&shop.orders, to("/orders/1").bearer(&token).header("x-consumer", "root")).await;
        (answer.status == 200).then_some(answer)
    })
    .await;
    assert_eq!(admitted.received("x-consumer").as_deref(), Some("acme"));
    assert_eq!(admitted.received("x-audience").as_deref(), Some("orders"));
    assert_eq!(admitted.received("authorization"), None);
    assert_eq!(verdict(to("/admin").bearer(&token)).await, code(403, "23"));
    assert_eq!(verdict(to("/orders/1")).await, code(401, "21"));
    assert_eq!(verdict(to("/health")).await, (200, None));
    assert_eq!(verdict(to("/key").header("apikey", KEY)).await, (200, None));

    let (signed, _) = token.rsplit_once('.').unwrap();
    let forged = format!("{signed}.{}", BASE64.encode([1; 256]));
    assert_eq!(verdict(to("/orders/1").bearer(&forged)).await, (401, None), "Istio answers for itself");
    let payload = BASE64.decode(token.split('.').nth(1).unwrap()).unwrap();
    let mut pretends = to("/orders/1");
    for name in ["x-jwt-payload", "envoy.filters.http.jwt_authn", "filter_metadata", "payload"] {
        pretends = pretends.header(name, &payload);
        pretends = pretends.header(name, BASE64.encode(&payload));
    }
    assert_eq!(verdict(pretends).await, code(401, "21"));
    let in_the_query = format!("/orders/1?access_token={token}");
    assert_eq!(verdict(to(&in_the_query)).await, code(401, "21"), "tokens are in the header only");

    // The token of a policy that revokes some is compared with the payload, in which Istio splits `scope`.
    let other = oidc.token("acme-web", "orders.read", Some(Oidc::ORDERS_JWT)).await;
    let mut revoking = plugin.clone();
    revoking["spec"]["pluginConfig"]["revoked"] = json!([Digest::of(signed.as_bytes()).to_hex()]);
    kubernetes.apply(&revoking);
    let refused = async || (verdict(to("/orders/1").bearer(&token)).await == code(401, "22")).then_some(());
    eventually("the token to be revoked", refused).await;
    assert_eq!(verdict(to("/orders/1").bearer(&other)).await, (200, None));

    // Before Istio's authentication there is no payload yet.
    let mut early = plugin;
    early["spec"]["phase"] = json!("AUTHN");
    kubernetes.apply(&early);
    let refused = async || (verdict(to("/orders/1").bearer(&other)).await == code(401, "22")).then_some(());
    eventually("the plugin to come too early", refused).await;
    logged(&shop.orders, "Envoy has not verified the token").await;
}
