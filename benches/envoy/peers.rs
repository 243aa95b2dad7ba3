//! Envoy's own filters that do a part of the gate's work, for comparison.

use std::net::SocketAddr;

use serde_json::{Value, json};
use sidegate_harness::Listener;

use crate::policy;

/// The cluster of the service that [`ext_authz`] asks.
pub const AUTHORIZER: &str = "authorizer";

/// The headers that the service answers with, for the upstream.
pub const GRANTED: [(&str, &str); 2] = [("x-consumer", "consumer-7"), ("x-plan", "basic")];

const CONSUMERS: usize = 10;

/// The configuration of the rate limit service: the limits of [`ratelimit`]. Those of Sidegate come with the
/// calls.
pub const LIMITS: &str = "
domain: sidegate
descriptors:
  - {key: per_hour, rate_limit: {unit: hour, requests_per_unit: 1000000000}}
  - {key: per_day, rate_limit: {unit: day, requests_per_unit: 1000000000}}
";

/// `api_key_auth` with ten keys.
fn keys(listener: Listener) -> Listener {
    let credentials: Vec<Value> = (0..CONSUMERS)
        .map(|index| json!({"key": policy::key(index), "client": format!("consumer-{index}")}))
        .collect();
    listener.filter(json!({
        "name": "envoy.filters.http.api_key_auth",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.api_key_auth.v3.ApiKeyAuth",
            "credentials": credentials,
            "key_sources": [{"header": "apikey"}],
        },
    }))
}

/// `api_key_auth` with ten keys, then `local_ratelimit` with one token bucket.
pub fn keys_and_limit(listener: Listener) -> Listener {
    keys(listener).filter(json!({
        "name": "envoy.filters.http.local_ratelimit",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit",
            "stat_prefix": "bench",
            "token_bucket": {"max_tokens": 1_000_000_000, "tokens_per_fill": 1_000_000_000, "fill_interval": "1s"},
            "filter_enabled": {"default_value": {"numerator": 100}},
            "filter_enforced": {"default_value": {"numerator": 100}},
        },
    }))
}

/// `api_key_auth` with ten keys, then `ratelimit`, which counts each key in two limits of the service.
///
/// The filter does nothing where a route has no cluster, so this route has one, and `fault` answers in its
/// place.
pub fn ratelimit(listener: Listener) -> Listener {
    let counted = |name: &str| json!({"actions": [{"request_headers": {"header_name": "apikey", "descriptor_key": name}}]});
    keys(listener)
        .filter(json!({
            "name": "envoy.filters.http.ratelimit",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.http.ratelimit.v3.RateLimit",
                "domain": "sidegate",
                "timeout": "10s",
                "failure_mode_deny": true,
                "enable_x_ratelimit_headers": "DRAFT_VERSION_03",
                "rate_limit_service": {
                    "transport_api_version": "V3",
                    "grpc_service": {"envoy_grpc": {"cluster_name": policy::COUNTER}},
                },
            },
        }))
        .filter(json!({
            "name": "envoy.filters.http.fault",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.http.fault.v3.HTTPFault",
                "abort": {"http_status": 200, "percentage": {"numerator": 100}},
            },
        }))
        .route(json!({
            "match": {"prefix": "/"},
            "route": {"cluster": policy::COUNTER, "rate_limits": [counted("per_hour"), counted("per_day")]},
        }))
}

/// `ext_authz` that asks a service over HTTP, and forwards two headers of its answer.
pub fn ext_authz(service: SocketAddr) -> Value {
    let exactly = |names: &[&str]| {
        let patterns: Vec<_> = names.iter().map(|name| json!({"exact": name})).collect();
        json!({"patterns": patterns})
    };
    json!({
        "name": "envoy.filters.http.ext_authz",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.ext_authz.v3.ExtAuthz",
            "allowed_headers": exactly(&["apikey"]),
            "http_service": {
                "server_uri": {"uri": format!("http://{service}"), "cluster": AUTHORIZER, "timeout": "10s"},
                "authorization_response": {
                    "allowed_upstream_headers": exactly(&GRANTED.map(|(name, _)| name)),
                },
            },
        },
    })
}

/// A script that reads what the gate reads, compares a key with ten, and sets and removes the same headers.
/// It makes no digest and counts nothing.
pub fn lua() -> Value {
    let consumers: String = (0..CONSUMERS)
        .map(|index| format!("[\"{}\"] = \"consumer-{index}\", ", policy::key(index)))
        .collect();
    let script = format!(
        r#"
local consumers = {{ {consumers} }}
local methods = {{ GET = true, POST = true }}

function envoy_on_request(handle)
  local headers = handle:headers()
  local consumer = consumers[headers:get("apikey") or ""]
  local path = headers:get(":path")
  local allowed = headers:get(":authority") == "orders.example.com"
    and methods[headers:get(":method")]
    and path:sub(1, 11) == "/v1/orders/"
  if not consumer or not allowed then
    handle:respond({{ [":status"] = "401" }}, "refused")
    return
  end
  headers:replace("x-consumer", consumer)
  headers:replace("x-plan", "basic")
  headers:remove("apikey")
end
"#
    );
    json!({
        "name": "envoy.filters.http.lua",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua",
            "default_source_code": {"inline_string": script},
        },
    })
}

/// Envoy's filter that verifies JWTs of `issuer` with the keys at `keys`, as `envoy/jwt.yaml` has it.
pub fn jwt_authn(issuer: &str, keys: &str) -> Value {
    json!({
        "name": "envoy.filters.http.jwt_authn",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication",
            "providers": {"oidc": {
                "issuer": issuer,
                "audiences": ["orders"],
                "remote_jwks": {
                    "http_uri": {"uri": keys, "cluster": "oidc", "timeout": "2s"},
                    "cache_duration": "600s",
                    "async_fetch": {"fast_listener": false},
                },
                "payload_in_metadata": "payload",
                "forward": true,
            }},
            "rules": [{"match": {"prefix": "/"}, "requires": {"provider_name": "oidc"}}],
        },
    })
}
