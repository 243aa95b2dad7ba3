//! Introspection that takes more than a question, in real Envoy with a real OAuth2 server: with an access
//! token of Sidegate's own, and with signed answers.
#![cfg(test)]
#![cfg(not(target_family = "wasm"))]

#[expect(dead_code, reason = "others use the rest")]
mod introspection;

use introspection::*;
use serde_json::{Value, json};
use sidegate_harness::{Client, Envoy, Listener, Oidc, Request, Setup, Upstream, Wasm, eventually, route};

fn clients() -> [Client; 5] {
    [
        Client::new("gateway", "g", "introspect"),
        Client::new("brief", "b", "introspect").ttl(3),
        Client::new("unscoped", "u", "other"),
        Client::new("signed", "s", "").signed(),
        Client::new("acme-web", "a", "orders.read"),
    ]
}

async fn start(policy: &Value, oidc: &Oidc) -> (Envoy, Upstream) {
    let upstream = Upstream::echo("orders").await;
    let wasm = Wasm::sidegate(policy).environment("GATEWAY_ID", "gateway").environment("GATEWAY_SECRET", "g");
    let listener = Listener::new("main").wasm(&wasm).route(route("orders"));
    let setup = Setup::new(listener).cluster("orders", upstream.address()).cluster("idp", oidc.address());
    (Envoy::start(setup.workers(2)).await, upstream)
}

/// An endpoint that asks for an access token. No answer is cached.
fn by_token(oidc: &Oidc, id: &Value, secret: &Value, scope: &str) -> Value {
    let credentials = json!({
        "cluster": "idp", "url": oidc.tokens(), "timeout": "1h", "scopes": [scope],
        "authentication": {"basic": {"id": id, "secret": secret}},
    });
    let changes = json!({"authentication": {"client_credentials": credentials}, "cache": {"ttl": "0s", "negative_ttl": "0s"}});
    introspection("idp", &oidc.introspection_by_token(), &changes)
}

#[tokio::test]
async fn a_token_of_our_own_is_fetched_renewed_and_replaced_when_it_is_rejected() {
    let oidc = Oidc::start(clients()).await;
    let providers = json!({
        "own": by_token(&oidc, &json!({"env": "GATEWAY_ID"}), &json!({"env": "GATEWAY_SECRET"}), "introspect"),
        "brief": by_token(&oidc, &json!("brief"), &json!("b"), "introspect"),
        "wrong": by_token(&oidc, &json!("gateway"), &json!("wr0ng"), "introspect"),
        "unscoped": by_token(&oidc, &json!("unscoped"), &json!("u"), "other"),
    });
    let rules =
        ["own", "brief", "wrong", "unscoped"].map(|name| token_rule(&format!("/{name}"), name, &json!({})));
    let (envoy, _upstream) = start(&policy(&providers, &rules), &oidc).await;
    let token = oidc.token("acme-web", "orders.read", None).await;
    let get = |path: &str, token: &str| Request::get(path).bearer(token);
    for _ in 0..5 {
        assert_eq!(verdict(&envoy.send(get("/own", &token)).await), ADMITTED);
    }
    assert_eq!(verdict(&envoy.send(get("/own", "made-up")).await), INVALID);
    assert_eq!(verdict(&envoy.send(get("/wrong", &token)).await), UNAVAILABLE);
    assert_eq!(verdict(&envoy.send(get("/unscoped", &token)).await), UNAVAILABLE);

    // Three threads have had a token of three seconds each, and then another one before it expired.
    eventually("tokens are renewed", async || {
        assert_eq!(verdict(&envoy.send(get("/brief", &token)).await), ADMITTED);
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        (calls(&envoy, "brief", "refused_us").await == 0 && calls(&envoy, "brief", "ok").await > 40)
            .then_some(())
    })
    .await;

    // The server forgets all tokens. The next question is answered with 401, and ours are replaced.
    let port = oidc.address().port();
    drop(oidc);
    assert_eq!(verdict(&envoy.send(get("/own", &token)).await), UNAVAILABLE);
    let oidc = Oidc::start_on(port, clients()).await;
    let newer = oidc.token("acme-web", "orders.read", None).await;
    // Each thread has a token of its own to replace.
    for (token, expected) in [(&newer, ADMITTED), (&token, INVALID)] {
        eventually("our token is replaced", async || {
            (verdict(&envoy.send(get("/own", token)).await) == expected).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn answers_that_a_real_server_signs_are_verified_and_others_are_refused() {
    let oidc = Oidc::start(clients()).await;
    let jwks = |issuer: &str| json!({"jwks": {"cluster": "idp", "url": oidc.keys(), "issuer": issuer, "timeout": "30s"}});
    let asks = |id: &str, secret: &str, signed: Value| {
        let changes = json!({"authentication": {"basic": {"id": id, "secret": secret}}, "signed": signed});
        introspection("idp", &oidc.introspection(), &changes)
    };
    // This endpoint does not sign, whatever it is asked for.
    let mut plain = by_token(&oidc, &json!("gateway"), &json!("g"), "introspect");
    plain["introspection"]["signed"] = json!({"provider": "keys"});
    let providers = json!({
        "keys": jwks(&oidc.issuer()),
        "others": jwks("https://other"),
        "signed": asks("signed", "s", json!({"provider": "keys"})),
        "audience": asks("signed", "s", json!({"provider": "keys", "audience": "other"})),
        "issuer": asks("signed", "s", json!({"provider": "others"})),
        "plain": plain,
    });
    let rules = ["signed", "audience", "issuer", "plain"]
        .map(|name| token_rule(&format!("/{name}"), name, &json!({"scopes": ["orders.read"]})));
    let mut policy = policy(&providers, &rules);
    policy["apis"][0]["forward"] = json!({"headers": {"x-client": "{client_id}"}});
    let (envoy, _upstream) = start(&policy, &oidc).await;
    let token = oidc.token("acme-web", "orders.read", None).await;
    for _ in 0..3 {
        let answer = envoy.send(Request::get("/signed").bearer(&token)).await;
        assert_eq!(verdict(&answer), ADMITTED);
        assert_eq!(answer.received("x-client").as_deref(), Some("acme-web"));
    }
    let verified = "wasmcustom.sidegate.provider=.=keys;.;result=.=valid;.;verifications";
    assert_eq!(envoy.stat(verified).await, 1, "the others are from the cache");
    assert_eq!(verdict(&envoy.send(Request::get("/signed").bearer("made-up")).await), INVALID);
    for (path, result) in [("audience", "unsigned"), ("issuer", "unsigned"), ("plain", "unsigned")] {
        let answer = envoy.send(Request::get(format!("/{path}")).bearer(&token)).await;
        assert_eq!(verdict(&answer), UNAVAILABLE, "{path}");
        assert_eq!(calls(&envoy, path, result).await, 1, "{path}");
    }
    oidc.revoke("acme-web", &token).await;
    assert_eq!(verdict(&envoy.send(Request::get("/signed").bearer(&token)).await), ADMITTED, "it is cached");
}
