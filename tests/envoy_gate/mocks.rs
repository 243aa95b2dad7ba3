//! Mocked responses: what a caller reads where there is no service yet.

use serde_json::json;
use sidegate_harness::{Request, Response};

use super::{Gate, get, orders};

/// Sends a request that must be answered by a mock, and must not reach the service.
async fn mocked(gate: &Gate, request: Request) -> Response {
    let answer = gate.envoy.send(request).await;
    assert_eq!(answer.code(), None, "{answer:?}");
    assert_eq!(gate.service.requests(), 0);
    answer
}

#[tokio::test]
async fn a_mock_answers_as_the_service_would_after_access_and_quota() {
    let mut policy = orders();
    policy["apis"][0]["metering"] = json!([{"path": "/**", "metric": "hits"}]);
    policy["apis"][0]["mock"] = json!({"responses": [
        {"path": "/orders/{id}", "methods": ["GET"], "status": 201,
         "headers": {"x-order": "{path:id}", "set-cookie": "a=b"},
         "body": r#"{"id":"{path:id}","who":"{consumer}"}"#},
        {"path": "/orders/{id}", "methods": ["PUT"], "status": 204},
        {"path": "/orders/{id}", "methods": ["POST"], "status": 503, "body": "down"},
        {"path": "/public/**", "body": "public"},
    ]});
    let gate = Gate::with(&policy, |listener| {
        let format = "%RESPONSE_CODE% %RESPONSE_CODE_DETAILS% %FILTER_STATE(wasm.sidegate.consumer:PLAIN)%";
        listener.access_log(format).kanali_replies()
    })
    .await;
    let order = |method: &str, key: &str| {
        Request::new(method, "/v1/orders/a%22b").host("orders.example.com").header("apikey", key)
    };
    let got = mocked(&gate, order("GET", "acme-key")).await;
    assert_eq!((got.status, got.text().as_str()), (201, r#"{"id":"a\"b","who":"acme"}"#));
    for (name, value) in [
        ("content-type", "application/json"),
        ("content-length", "26"),
        ("x-order", "a%22b"),
        ("set-cookie", "a=b"),
    ] {
        let lines: Vec<_> = got.headers.iter().filter(|(each, _)| each == name).collect();
        assert_eq!(lines, [&(name.to_owned(), value.to_owned())], "{got:?}");
    }
    let head = mocked(&gate, order("HEAD", "acme-key")).await;
    assert_eq!((head.status, head.body.len()), (201, 0));
    let empty = mocked(&gate, order("PUT", "acme-key")).await;
    assert_eq!((empty.status, empty.body.len(), empty.header("content-type")), (204, 0, None), "{empty:?}");
    // It is the service's 503, not one that Envoy made.
    let down = mocked(&gate, order("POST", "acme-key")).await;
    assert_eq!((down.status, down.text().as_str()), (503, "down"));
    let public = mocked(&gate, get("/v1/public/x")).await;
    assert_eq!((public.text().as_str(), public.header("content-type")), ("public", Some("text/plain")));

    gate.refused("12", get("/v1/orders/7")).await;
    gate.refused("13", order("GET", "unknown")).await;
    let missing = gate.refused("02", get("/v1/reports").header("apikey", "acme-key")).await;
    assert_eq!(missing.status, 404);
    let trial = mocked(&gate, order("GET", "tryout-key")).await;
    assert_eq!(trial.header("ratelimit"), Some("\"hits-eternity\";r=0"), "{trial:?}");
    gate.refused("14", order("GET", "tryout-key")).await;

    let grpc = |method| order(method, "acme-key").header("content-type", "application/grpc");
    for (method, status) in [("GET", "0"), ("POST", "14")] {
        let answer = mocked(&gate, grpc(method)).await;
        assert_eq!((answer.status, answer.header("grpc-status")), (200, Some(status)), "{answer:?}");
        assert_eq!((answer.header("content-type"), answer.body.len()), (Some("application/grpc"), 0));
    }
    let access = gate.envoy.access_log(12).await;
    assert_eq!(access.iter().filter(|line| *line == "201 sidegate_mock acme").count(), 2, "{access:?}");
    let stats = gate.envoy.stats().await;
    let counted = |name: &str| stats.get(&format!("wasmcustom.sidegate.api=.=orders;.;{name}")).copied();
    assert_eq!(counted("outcome=.=admitted;.;code=.=none;.;decisions"), Some(8));
    assert_eq!(counted("outcome=.=refused;.;code=.=02;.;decisions"), Some(1));
}

#[tokio::test]
async fn callers_can_ask_for_their_limits() {
    let mut policy = orders();
    policy["apis"][0]["rules"][5] = json!({"path": "/usage", "answer": "usage"});
    let gate = Gate::with(&policy, |listener| listener.access_log("%RESPONSE_CODE_DETAILS%")).await;
    let ask = || get("/v1/usage").header("apikey", "tryout-key");
    for used in [0, 0] {
        let answer = mocked(&gate, ask()).await;
        assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")));
        let body = answer.json();
        assert_eq!(body["limits"][0]["limit"], "hits-eternity");
        assert_eq!(
            (&body["limits"][0]["used"], &body["limits"][0]["max"]),
            (&json!(used), &json!(1)),
            "{body}"
        );
    }
    gate.admitted(get("/v1/orders/7").header("apikey", "tryout-key")).await;
    assert_eq!(gate.envoy.send(ask()).await.json()["limits"][0]["remaining"], 0);
    gate.refused("14", get("/v1/orders/7").header("apikey", "tryout-key")).await;
    gate.refused("12", get("/v1/usage")).await;
    let expected =
        ["sidegate_usage", "sidegate_usage", "via_upstream", "sidegate_usage", "sidegate_14", "sidegate_12"];
    assert_eq!(gate.envoy.access_log(6).await, expected);
}
