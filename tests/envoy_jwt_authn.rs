//! Tokens that Envoy's `jwt_authn` filter verifies before Sidegate decides, as `envoy/jwt.yaml` has it, and
//! tokens that are bound to a client certificate. The tokens are those of a real OAuth2 server, or of a stub
//! where they need other claims.
#![cfg(test)]
#![cfg(not(target_family = "wasm"))]

use base64::prelude::{BASE64_URL_SAFE_NO_PAD as BASE64, Engine as _};
use serde_json::{Value, json};
use sidegate::credential::Digest;
use sidegate_harness::{
    Answer, Authority, Client, Envoy, Listener, Oidc, Request, Response, Setup, StubProvider, TlsRelay,
    Upstream, Wasm, route, send, yaml,
};

const ADMITTED: (u16, Option<&str>) = (200, None);

fn verdict(answer: &Response) -> (u16, Option<&str>) {
    (answer.status, answer.code())
}

/// The filter of `envoy/jwt.yaml`, for this issuer.
fn jwt_authn(issuer: &str, keys: &str) -> Value {
    let bootstrap = yaml("envoy/jwt.yaml");
    let filters = "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config/http_filters/0";
    let mut filter = bootstrap.pointer(filters).cloned().expect("the filter jwt_authn");
    let provider = &mut filter["typed_config"]["providers"]["corp"];
    provider["issuer"] = json!(issuer);
    provider["remote_jwks"]["http_uri"]["uri"] = json!(keys);
    filter
}

fn policy(issuer: &str, changes: &Value) -> Value {
    let way = |more: Value| {
        let mut way = json!({"provider": "corp", "verified_by": "envoy"});
        if let (Some(way), Some(more)) = (way.as_object_mut(), more.as_object()) {
            way.extend(more.clone());
        }
        json!([{"jwt": way}])
    };
    let rules = json!([
        {"path": "/lax", "access": way(json!({}))},
        {"path": "/read", "access": way(json!({"scopes": ["orders.read"]}))},
        {"path": "/admin", "access": way(json!({"scopes": ["admin"]}))},
        {"path": "/orders", "access": way(json!({"claims": {"aud": ["orders"], "client_id": ["acme-web"]}}))},
        {"path": "/files", "access": way(json!({"claims": {"aud": ["files"]}}))},
        {"path": "/open", "access": ["allow"]},
        {"path": "/once", "access": way(json!({}))},
    ]);
    let headers = json!({"x-client": "{client_id}", "x-audience": "{claim:aud}", "x-expires": "{claim:exp}"});
    let limits = json!([{"metric": "once", "max": 1, "per": "hour", "of": "client"}]);
    let metering = json!([{"path": "/once", "metric": "once"}, {"path": "/**", "metric": "hits"}]);
    let api = json!({"name": "orders", "rules": rules, "forward": {"headers": headers}, "limits": limits, "metering": metering});
    let mut policy = json!({
        "sidegate": "v1", "metrics": {"once": {}}, "apis": [api],
        "providers": {"corp": {"jwks": {"issuer": issuer}}},
    });
    for (name, value) in changes.as_object().into_iter().flatten() {
        policy[name] = value.clone();
    }
    policy
}

#[tokio::test]
async fn what_jwt_authn_verified_is_taken_and_nothing_that_callers_send() {
    let oidc = Oidc::start([Client::new("acme-web", "a", "orders.read orders.write")]).await;
    let issuer = oidc.issuer();
    let upstream = Upstream::echo("orders").await;
    let filter = jwt_authn(&issuer, &oidc.keys());
    let listener = |filter: &Value, changes: &Value| {
        Listener::new("main")
            .filter(filter.clone())
            .wasm(&Wasm::sidegate(&policy(&issuer, changes)))
            .route(route("orders"))
    };
    let setup = Setup::new(listener(&filter, &json!({})))
        .cluster("orders", upstream.address())
        .cluster("idp", oidc.address());
    let mut envoy = Envoy::start(setup.workers(2)).await;
    let token = oidc.token("acme-web", "orders.read", Some(Oidc::ORDERS_JWT)).await;

    let answer = envoy.send(Request::get("/read").bearer(&token).header("x-client", "spoofed")).await;
    assert_eq!(verdict(&answer), ADMITTED, "{}", answer.text());
    assert_eq!(answer.received("x-client").as_deref(), Some("acme-web"));
    assert_eq!(answer.received("x-audience").as_deref(), Some("orders"));
    let expires = answer.received("x-expires").expect("a moment");
    assert!(expires.bytes().all(|byte| byte.is_ascii_digit()), "a whole number: {expires}");
    assert_eq!(answer.received("authorization"), None);
    for (path, expected) in [
        ("/admin", (403, Some("23"))),
        ("/orders", ADMITTED),
        ("/files", (403, Some("23"))),
        ("/once", ADMITTED),
        ("/once", (429, Some("14"))),
    ] {
        let answer = envoy.send(Request::get(path).bearer(&token)).await;
        assert_eq!(verdict(&answer), expected, "{path}");
    }

    let payload = BASE64.decode(token.split('.').nth(1).expect("a payload")).expect("base64url");
    let payload = String::from_utf8(payload).expect("JSON");
    let mut forged = Request::get("/lax");
    for name in
        ["x-jwt-payload", "envoy.filters.http.jwt_authn", "filter_metadata", "x-envoy-metadata", "payload"]
    {
        forged = forged.header(name, &payload).header(name, BASE64.encode(&payload));
    }
    assert_eq!(verdict(&envoy.send(forged).await), (401, Some("21")));
    assert_eq!(verdict(&envoy.send(Request::get("/lax")).await), (401, Some("21")));
    assert_eq!(verdict(&envoy.send(Request::get("/open")).await), ADMITTED);
    let (signed, _) = token.rsplit_once('.').expect("a JWT");
    let unsigned = format!("{signed}.{}", BASE64.encode([1; 256]));
    let answer = envoy.send(Request::get("/lax").bearer(&unsigned)).await;
    assert_eq!(verdict(&answer), (401, None), "Envoy answers for itself");

    // Istio has the filter split these texts into lists, so the payload is not quite what the token says.
    let mut splitting = filter.clone();
    splitting["typed_config"]["providers"]["corp"]["normalize_payload_in_metadata"] =
        json!({"space_delimited_claims": ["permission", "scope"]});
    let digest = Digest::of(signed.as_bytes()).to_hex();
    let other = oidc.token("acme-web", "orders.read orders.write", Some(Oidc::ORDERS_JWT)).await;
    for (epoch, filter) in [(1, &filter), (2, &splitting)] {
        let changes = json!({"revoked": [digest], "epoch": epoch});
        envoy.reload(listener(filter, &changes)).await.expect("a valid policy");
        let answer = envoy.send(Request::get("/read").bearer(&token)).await;
        assert_eq!(verdict(&answer), (401, Some("22")));
        let answer = envoy.send(Request::get("/read").bearer(&other)).await;
        assert_eq!(verdict(&answer), ADMITTED, "{epoch}: {}", answer.text());
    }
}

/// RFC 8705: the token names the certificate of its client.
#[tokio::test]
async fn a_token_that_is_bound_to_a_client_certificate_is_for_that_client() {
    let authority = Authority::new();
    let [server, mine, another] = ["gate.test", "mine", "another"].map(|name| authority.certificate(name));
    let thumbprint = BASE64.encode(Digest::of(&mine.der()).bytes());
    let bound = json!({"active": true, "client_id": "acme-web", "cnf": {"x5t#S256": thumbprint}});
    let endpoint = StubProvider::start(Answer::json(&bound)).await;
    let policy = |source: &str| {
        json!({
            "sidegate": "v1", "gate": {"client_certificate": source},
            "providers": {"idp": {"introspection": {"cluster": "idp", "url": "http://idp/introspect", "timeout": "10s"}}},
            "apis": [{"name": "a", "rules": [{"path": "/**", "access": [{"introspection": {"provider": "idp"}}]}]}],
        })
    };
    let listener = |source: &str| {
        Listener::new("main")
            .tls(&server, &authority)
            .manager("forward_client_cert_details", json!("ALWAYS_FORWARD_ONLY"))
            .wasm(&Wasm::sidegate(&policy(source)))
            .route(route("orders"))
    };
    let upstream = Upstream::echo("orders").await;
    let setup = Setup::new(listener("connection"))
        .cluster("orders", upstream.address())
        .cluster("idp", endpoint.address());
    let mut envoy = Envoy::start(setup.workers(1)).await;
    let xfcc = format!("By=spiffe://gateway;Hash={};Subject=\"\"", Digest::of(&mine.der()).to_hex());
    let ask = || Request::get("/").bearer("bound");
    for source in ["connection", "xfcc"] {
        envoy.reload(listener(source)).await.expect("a valid policy");
        let address = envoy.address().await;
        let nobody = TlsRelay::to(address, "gate.test", &authority).await;
        let with_mine = TlsRelay::to_as(address, "gate.test", &authority, &mine).await;
        let with_another = TlsRelay::to_as(address, "gate.test", &authority, &another).await;
        for (relay, forwarded, by_connection, by_xfcc) in [
            (&with_mine, false, true, false),
            (&with_another, false, false, false),
            (&nobody, false, false, false),
            (&with_another, true, false, true),
            (&nobody, true, false, true),
        ] {
            let request = if forwarded { ask().header("x-forwarded-client-cert", &xfcc) } else { ask() };
            let answer = send(relay.address(), &request).await.expect("an answer");
            let passes = if source == "xfcc" { by_xfcc } else { by_connection };
            let expected = if passes { ADMITTED } else { (401, Some("22")) };
            assert_eq!(verdict(&answer), expected, "{source} {forwarded}: {}", answer.text());
        }
    }
}
