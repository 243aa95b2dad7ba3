//! Policies and requests that are made to cost as much as they can. The budget is one millisecond.

use serde_json::{Value, json};
use sidegate_harness::{Listener, Request};

/// A listener that lets far more through than Envoy does by default: 60 KiB and 100 headers.
pub fn roomy(listener: Listener) -> Listener {
    listener
        .manager("max_request_headers_kb", json!(160))
        .manager("common_http_protocol_options", json!({"max_headers_count": 6_000}))
}

/// 1,000 expressions that read the whole path, 1,000 conditions on queries, and 20 places in queries.
pub fn matching() -> Value {
    let rules = (0..1_000).map(|n| json!({"regex": format!("/.*/x{n}")}));
    let metering =
        (0..1_000).map(|n| json!({"path": "/**", "metric": "hits", "query": {"ab": n.to_string()}}));
    let places = (0..20).map(|n| json!({"query": format!("k{n:02}")}));
    json!({
        "sidegate": "v1",
        "apis": [{
            "name": "worst",
            "access": ["allow"],
            "credentials": {"api_key": places.collect::<Vec<_>>()},
            "rules": rules.collect::<Vec<_>>(),
            "metering": metering.collect::<Vec<_>>(),
        }],
    })
}

/// The longest path, and a query of 50 kB with 1,000 parameters, the most that are read. Their names are
/// almost those that are looked for, or have many escapes.
pub fn target() -> String {
    // 8,191 bytes before the `?`.
    let parameters = format!("ab=99%39%39&{}=y", "%61".repeat(28));
    format!("/{}/x999?{}", "x/".repeat(4_092), vec![parameters; 500].join("&"))
}

/// As many headers as are let through, of which as many as are let through only Sidegate may set.
pub fn many_headers(request: Request) -> Request {
    (0..980).fold(request, |request, n| {
        let prefix = if n < 32 { "x-sidegate" } else { "x-sidegatf" };
        request.header(&format!("{prefix}-{n}"), "a")
    })
}

/// What a provider says about a token with 9,000 scopes, of which the last is required.
pub fn token() -> Value {
    let scopes: String = (0..9_000).map(|n| format!("s{n} ")).collect();
    json!({
        "active": true,
        // The year 2100.
        "exp": 4_102_444_800_u64,
        "client_id": "acme-web",
        "aud": ["orders"],
        "scope": format!("{scopes}orders.read"),
    })
}
