//! A service of 3scale without its backend: applications, mapping rules, texts, referrers and debug headers.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use sidegate_harness::{Envoy, Listener, Request, Setup, Upstream, Wasm, route};

use super::{Gate, get, sha256};

const SECRET: &str = "between-gate-and-service";

fn policy() -> Value {
    let text = |status: u16, body: &str| json!({"status": status, "content_type": "text/plain; charset=us-ascii", "body": body});
    json!({
        "sidegate": "v1",
        "gate": {"realm": "contacts", "debug": {"secret_sha256": sha256("show-me")}},
        "metrics": {"hits": {}, "list": {"parent": "hits"}, "off": {}},
        "plans": {"basic": {"limits": [
            {"metric": "list", "max": 2, "per": "eternity"}, {"metric": "off", "max": 0, "per": "eternity"},
        ]}},
        "consumers": [
            {"name": "acme", "plan": "basic", "application": {"id": "4f2e", "keys": [{"sha256": sha256("app-key-1")}, {"sha256": sha256("app-key-2")}]}},
            {"name": "open", "application": {"id": "no-keys"}, "referrers": ["*.acme.com"]},
        ],
        "apis": [{
            "name": "contacts", "hosts": ["orders.example.com"], "access": ["application"], "rules": [{"path": "/**"}],
            "credentials": {
                "app_id": [{"query": "app_id"}, {"header": "app-id"}, {"cookie": "app_id"}, {"basic": "user"}],
                "app_key": [{"query": "app_key"}, {"header": "app-key"}, {"cookie": "app_key"}, {"basic": "password"}],
            },
            "metering": [
                {"path": "/", "match": "prefix", "methods": ["GET"], "metric": "hits"},
                {"path": "/list$", "match": "prefix", "query": {"page": "{n}"}, "metrics": {"list": 1, "hits": 0}},
                {"path": "/off", "match": "prefix", "metric": "off"},
            ],
            "unmetered": "refuse",
            "forward": {"headers": {"x-consumer": "{consumer}", "x-proxy-secret": {"env": "PROXY_SECRET"}}},
            "errors": {
                "missing_credentials": text(401, "Authentication parameters missing"),
                "refused_credentials": text(403, "Authentication failed"),
                "limits_exceeded": text(429, "Limits exceeded"),
                "no_match": text(404, "No Mapping Rule matched"),
            },
        }],
    })
}

async fn start() -> Gate {
    let service = Upstream::echo("orders").await;
    let wasm =
        Wasm::sidegate(&policy()).environment("PROXY_SECRET", SECRET).environment("HOSTNAME", "gateway-7");
    let setup = Setup::new(Listener::new("main").wasm(&wasm).route(route("orders")));
    let envoy =
        Envoy::start(setup.component_log_level("wasm:debug").cluster("orders", service.address())).await;
    Gate { envoy, service }
}

fn basic(request: Request, text: &str) -> Request {
    request.header("authorization", format!("Basic {}", STANDARD.encode(text)))
}

#[tokio::test]
async fn a_service_of_3scale_is_served_without_its_backend() {
    let gate = start().await;
    for (request, path) in [
        (get("/a?app_id=4f2e&app_key=app-key-1&x=1"), "/a?x=1"),
        (get("/a").header("app-id", "4f2e").header("app-key", "app-key-2"), "/a"),
        (get("/a").header("cookie", "app_id=4f2e; app_key=app-key-1"), "/a"),
        (basic(get("/a"), "4f2e:app-key-1"), "/a"),
        (basic(get("/a"), "no-keys:").header("referer", "https://www.acme.com/x"), "/a"),
    ] {
        let answer = gate.admitted(request.header("x-proxy-secret", "guess")).await;
        assert_eq!(answer.json()["path"], path);
        assert_eq!(answer.received("x-proxy-secret").as_deref(), Some(SECRET));
        for credential in ["4f2e", "app-key", "guess", "Basic", "no-keys"] {
            assert!(!answer.text().contains(credential), "{credential}: {}", answer.text());
        }
    }
    for (request, code, status, body) in [
        (get("/a"), "12", 401, "Authentication parameters missing"),
        (get("/a?app_key=app-key-1"), "12", 401, "Authentication parameters missing"),
        (get("/a?app_id=4f2e&app_key=forged-key"), "13", 403, "Authentication failed"),
        (get("/a?app_id=4f2e"), "13", 403, "Authentication failed"),
        (get("/a?app_id=unknown"), "13", 403, "Authentication failed"),
        (basic(get("/a"), "4f2e:forged-key"), "13", 403, "Authentication failed"),
        (get("/a?app_id=no-keys"), "27", 403, "Authentication failed"),
        (get("/a?app_id=no-keys").header("referer", "*"), "27", 403, "Authentication failed"),
        (get("/off?app_id=4f2e&app_key=app-key-1"), "27", 403, "Authentication failed"),
        (Request::new("HEAD", "/x").host("orders.example.com"), "00", 404, ""),
        (Request::new("PUT", "/x").host("orders.example.com"), "00", 404, "No Mapping Rule matched"),
    ] {
        let shown = format!("{request:?}");
        let answer = gate.refused(code, request).await;
        assert_eq!((answer.status, answer.text().as_str()), (status, body), "{shown}");
        assert_eq!(answer.header("content-type"), Some("text/plain; charset=us-ascii"), "{shown}");
        assert!(answer.header("x-sidegate-correlation").is_some(), "{shown}");
    }
    gate.refused("20", get("/a?app_id=4f2e&app_key=app-key-1").header("app-id", "4f2e")).await;

    let list = || get("/list?page=1&app_id=4f2e&app_key=app-key-1").header("x-sidegate-debug", "show-me");
    let explained = [
        ("x-sidegate-credential", "query app_id"),
        ("x-sidegate-consumer", "acme"),
        ("x-3scale-matched-rules", "/, /list$?page={n}"),
        ("x-3scale-usage", "usage%5Bhits%5D=1&usage%5Blist%5D=1"),
        ("x-3scale-hostname", "gateway-7"),
    ];
    for answer in [gate.admitted(list()).await, gate.admitted(list()).await, gate.refused("14", list()).await]
    {
        for (name, value) in explained {
            assert_eq!(answer.header(name), Some(value), "{name}: {answer:?}");
        }
        assert!(!format!("{:?}", answer.headers).contains("app-key"));
    }
    gate.admitted(get("/list?app_id=4f2e&app_key=app-key-1")).await;

    let log = gate.envoy.log();
    for secret in ["app-key-1", "app-key-2", "forged-key", SECRET, "show-me"] {
        assert!(!log.contains(secret), "{secret} is shown");
    }
}
