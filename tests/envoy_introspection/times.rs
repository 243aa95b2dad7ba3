//! How long answers count: until they expire, or until the next policy drops them.

use super::*;

#[tokio::test]
async fn a_revoked_token_is_refused_after_its_time_in_the_cache_and_an_expired_one_at_once() {
    let oidc = oidc().await;
    let brief_cache = with(gateway(), &json!({"cache": {"ttl": "300ms", "negative_ttl": "1h"}}));
    let providers = json!({
        "forgetful": introspection("idp", &oidc.introspection(), &brief_cache),
        "oidc": introspection("idp", &oidc.introspection(), &gateway()),
        "stub": introspection("stub", "http://stub/", &json!({})),
    });
    let rules = ["forgetful", "oidc", "stub"].map(|name| token_rule(&format!("/{name}"), name, &json!({})));
    let server = StubProvider::start(inactive()).await;
    let clusters = [("idp", oidc.address()), ("stub", server.address())];
    let (envoy, _upstream) = start(&policy(&providers, &rules), &clusters, 2).await;

    let token = oidc.token("acme-web", "orders.read", None).await;
    let request = Request::get("/forgetful").bearer(&token);
    assert_eq!(verdict(&envoy.send(request.clone()).await), ADMITTED);
    oidc.revoke("acme-web", &token).await;
    admitted_until_invalid(&envoy, &request).await;
    let asked = calls(&envoy, "forgetful", "ok").await;
    for _ in 0..10 {
        assert_eq!(verdict(&envoy.send(request.clone()).await), INVALID);
    }
    assert_eq!(calls(&envoy, "forgetful", "ok").await, asked, "the inactive answer is cached");

    let token = oidc.token("brief", "orders.read", None).await;
    let request = Request::get("/oidc").bearer(&token);
    assert_eq!(verdict(&envoy.send(request.clone()).await), ADMITTED);
    admitted_until_invalid(&envoy, &request).await;
    assert_eq!(calls(&envoy, "oidc", "ok").await, 2, "one while it was valid, one after it expired");

    // A server that prolongs a token. A new call at its expiry shows this. By the old answer, the request
    // would be refused.
    let expiring_in = |seconds| active(&json!({"exp": in_seconds(seconds)}));
    let request = Request::get("/stub").bearer("t");
    server.now(expiring_in(1.0));
    envoy.send(request.clone()).await;
    server.now(expiring_in(3600.0));
    eventually("a second call", async || {
        assert_eq!(verdict(&envoy.send(request.clone()).await), ADMITTED);
        (server.calls().len() == 2).then_some(())
    })
    .await;
}

/// What the caches hold lasts for an hour here, and yet the next policy is in force at once, in all workers.
#[tokio::test]
async fn the_next_policy_revokes_tokens_and_drops_what_is_cached_whatever_its_time() {
    let oidc = oidc().await;
    let hour = json!({"cache": {"ttl": "1h", "negative_ttl": "1h"}});
    let jwks =
        json!({"jwks": with(json!({"cluster": "idp", "url": oidc.keys(), "issuer": oidc.issuer()}), &hour)});
    let opaque = introspection("idp", &oidc.introspection(), &with(gateway(), &hour));
    let providers = json!({"oidc": opaque, "corp": jwks});
    let rules = [
        token_rule("/opaque", "oidc", &json!({})),
        json!({"path": "/jwt", "access": [{"jwt": {"provider": "corp"}}]}),
    ];
    let first = policy(&providers, &rules);
    let clusters = [("idp", oidc.address())];
    let (mut envoy, _upstream) = start(&first, &clusters, 4).await;
    let opaque = oidc.token("acme-web", "orders.read", None).await;
    let kept = oidc.token("billing", "orders.read", None).await;
    let jwt = oidc.token("acme-web", "orders.read", Some(Oidc::ORDERS_JWT)).await;
    let other = oidc.token("billing", "orders.read", Some(Oidc::ORDERS_JWT)).await;
    let all = |expected: [(u16, Option<&'static str>); 4]| {
        let requests = [("/opaque", &opaque), ("/opaque", &kept), ("/jwt", &jwt), ("/jwt", &other)];
        requests.map(|(path, token)| Request::get(path).bearer(token)).into_iter().zip(expected)
    };
    let assert_all = async |envoy: &Envoy, expected| {
        for (request, expected) in all(expected) {
            for answer in envoy.send_all(16, vec![request.clone(); 64]).await {
                assert_eq!(verdict(&answer), expected);
            }
        }
    };
    let reload = async |envoy: &mut Envoy, name: &str, value: Value| {
        let mut next = first.clone();
        next[name] = value;
        let listener = Listener::new("main").wasm(&Wasm::sidegate(&next)).route(route("orders"));
        envoy.reload(listener).await.expect("a valid policy");
    };
    assert_all(&envoy, [ADMITTED; 4]).await;
    let asked = calls(&envoy, "oidc", "ok").await;

    let (signed, _) = jwt.rsplit_once('.').expect("a JWT");
    let revoked = [&*opaque, signed].map(|text| Digest::of(text.as_bytes()).to_hex());
    reload(&mut envoy, "revoked", json!(revoked)).await;
    assert_all(&envoy, [INVALID, ADMITTED, INVALID, ADMITTED]).await;
    assert_eq!(calls(&envoy, "oidc", "ok").await, asked, "nobody is asked");

    // The server revokes another token. Nobody notices until the epoch changes.
    oidc.revoke("billing", &kept).await;
    reload(&mut envoy, "revision", json!("none is revoked")).await;
    assert_all(&envoy, [ADMITTED; 4]).await;
    let verified = async |envoy: &Envoy| {
        envoy.stat("wasmcustom.sidegate.provider=.=corp;.;result=.=valid;.;verifications").await
    };
    let before = verified(&envoy).await;
    reload(&mut envoy, "epoch", json!(1)).await;
    assert_all(&envoy, [ADMITTED, INVALID, ADMITTED, ADMITTED]).await;
    assert!(verified(&envoy).await >= before + 2, "JWTs are verified once more");
}
