//! `envoy/cors.yaml` with a browser's requests: pages can read what the gate answers, also if it refuses.
#![cfg(test)]
#![cfg(not(target_family = "wasm"))]

use std::os::unix::fs::symlink;

use serde_json::{Value, json};
use sidegate_harness::{Envoy, Request, Response, Upstream, set_host, sidegate_module, yaml};
use tempfile::TempDir;

const PAGE: &str = "https://app.example.com";
const KEY: &str = "acme-k3y";
const KEY_SHA256: &str = "4c60eec09d2f656c6e6a237a32170672e4424e080952f5aa167021877b3bd733";

struct Parts {
    envoy: Envoy,
    service: Upstream,
    _directory: TempDir,
}

/// Envoy with `envoy/cors.yaml` and this policy.
async fn start(policy: &Value) -> Parts {
    start_with(policy, |_| ()).await
}

/// The same with changes to the list of filters: CORS, Sidegate, router.
async fn start_with(policy: &Value, change: impl Fn(&mut Vec<Value>)) -> Parts {
    let directory = TempDir::with_prefix("sidegate-cors-").unwrap();
    let here = |name: &str| -> Value {
        let text = yaml(&format!("envoy/{name}")).to_string();
        text.replace("/etc/sidegate", directory.path().to_str().unwrap()).parse().unwrap()
    };
    symlink(sidegate_module(), directory.path().join("sidegate.wasm")).unwrap();
    let mut filter = here("filter.yaml");
    filter["resources"][0]["typed_config"]["config"]["configuration"]["value"] = json!(policy.to_string());
    std::fs::write(directory.path().join("filter.yaml"), filter.to_string()).unwrap();
    let service = Upstream::echo("orders").await;
    let mut bootstrap = here("cors.yaml");
    set_host(&mut bootstrap, "orders", service.address());
    bootstrap["static_resources"]["listeners"][0]["address"]["socket_address"]["port_value"] = json!(0);
    let filters = bootstrap
        .pointer_mut("/static_resources/listeners/0/filter_chains/0/filters/0/typed_config/http_filters")
        .and_then(Value::as_array_mut)
        .unwrap();
    change(filters);
    let envoy = Envoy::run(bootstrap, |envoy| {
        envoy.args(["--concurrency", "1"]);
    })
    .await;
    Parts { envoy, service, _directory: directory }
}

fn policy() -> Value {
    json!({
        "sidegate": "v1",
        "gate": {"realm": "api", "rate_limit_headers": "both"},
        "consumers": [{"name": "acme", "keys": [{"sha256": KEY_SHA256}]}],
        "apis": [{
            "name": "orders",
            "access": ["api_key"],
            "rules": [{"path": "/orders/**"}],
            "limits": [{"metric": "hits", "max": 1, "per": "day"}],
        }],
    })
}

/// What a browser sends before a request that a page could not make without CORS.
fn preflight(page: &str) -> Request {
    Request::new("OPTIONS", "/orders/7")
        .header("origin", page)
        .header("access-control-request-method", "DELETE")
        .header("access-control-request-headers", "apikey")
}

fn of_page(page: &str, key: &str) -> Request {
    Request::new("DELETE", "/orders/7").header("origin", page).header("apikey", key)
}

/// The names of the headers that a page may read.
fn exposed(answer: &Response) -> Vec<&str> {
    let exposed = answer.header("access-control-expose-headers").unwrap_or_default();
    exposed.split(',').map(str::trim).filter(|name| !name.is_empty()).collect()
}

#[tokio::test]
async fn a_page_reads_answers_and_refusals_with_limits_and_challenges() {
    let Parts { envoy, service, .. } = start(&policy()).await;

    let answer = envoy.send(preflight(PAGE)).await;
    assert_eq!((answer.status, answer.code()), (200, None));
    assert_eq!(answer.header("access-control-allow-origin"), Some(PAGE));
    assert!(answer.header("access-control-allow-methods").is_some_and(|methods| methods.contains("DELETE")));
    assert!(answer.header("access-control-allow-headers").is_some_and(|headers| headers.contains("apikey")));
    assert_eq!(answer.header("access-control-max-age"), Some("600"));
    assert_eq!(service.requests(), 0);

    for (key, status, code, headers) in [
        (KEY, 200, None, &["ratelimit", "ratelimit-policy", "x-ratelimit-remaining"][..]),
        (KEY, 429, Some("14"), &["ratelimit", "ratelimit-policy", "retry-after", "x-sidegate-code"]),
        ("wr0ng", 401, Some("13"), &["www-authenticate", "x-sidegate-code", "x-sidegate-correlation"]),
    ] {
        let answer = envoy.send(of_page(PAGE, key)).await;
        assert_eq!((answer.status, answer.code()), (status, code));
        assert_eq!(answer.header("access-control-allow-origin"), Some(PAGE), "{status}");
        for header in headers {
            assert!(answer.header(header).is_some(), "{status} has {header}");
            assert!(exposed(&answer).contains(header), "{status} exposes {header}");
        }
    }
    assert_eq!(service.requests(), 1);
}

#[tokio::test]
async fn a_page_of_others_reads_nothing_and_its_preflight_ends_at_the_gate() {
    let Parts { envoy, service, .. } = start(&policy()).await;
    for page in ["https://evil.example.com", "https://app.example.com.evil.com", "null"] {
        let answer = envoy.send(preflight(page)).await;
        assert_eq!(answer.header("access-control-allow-origin"), None, "{page}");
        assert_eq!(service.requests(), 0, "{page}");
        let answer = envoy.send(of_page(page, "wr0ng")).await;
        assert_eq!((answer.status, answer.header("access-control-allow-origin")), (401, None), "{page}");
    }
    // CORS does not keep requests away: only browsers obey it.
    assert_eq!(envoy.send(of_page("https://evil.example.com", KEY)).await.status, 200);
    assert_eq!(service.requests(), 1);
}

#[tokio::test]
async fn behind_the_gate_the_filter_answers_no_preflight_and_marks_no_refusal() {
    let checked = {
        let mut policy = policy();
        policy["gate"]["preflight"] = json!("check");
        policy
    };
    let Parts { envoy, service, .. } = start_with(&checked, |filters| filters.swap(0, 1)).await;
    assert_eq!(envoy.send(preflight(PAGE)).await.code(), Some("12"));
    let answer = envoy.send(of_page(PAGE, "wr0ng")).await;
    assert_eq!((answer.status, answer.header("access-control-allow-origin")), (401, None));
    assert_eq!(service.requests(), 0);

    // As in Istio's gateways: its own filter is behind plugins, and `istio/base/cors.yaml` puts one first.
    let before_and_behind = |filters: &mut Vec<Value>| filters.insert(2, filters[0].clone());
    let Parts { envoy, service, .. } = start_with(&checked, before_and_behind).await;
    assert_eq!(envoy.send(preflight(PAGE)).await.status, 200);
    for key in ["wr0ng", KEY] {
        let answer = envoy.send(of_page(PAGE, key)).await;
        assert_eq!(answer.header("access-control-allow-origin"), Some(PAGE), "{}", answer.status);
    }
    assert_eq!(service.requests(), 1);
}
