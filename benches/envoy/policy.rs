//! The policies that are measured.

use serde_json::{Value, json};
use sidegate::credential::Digest;

/// The cluster of the rate limit service.
pub const COUNTER: &str = "ratelimit";

/// The key of the caller in every case.
pub fn key(consumer: usize) -> String {
    format!("bench-key-{consumer}")
}

/// This many consumers. Each has a key, a binding with methods and paths, and a plan of three limits that are
/// never reached.
pub fn of_consumers(consumers: usize) -> Value {
    let mut policy = base(json!(["api_key"]));
    let known = (0..consumers).map(|index| {
        let sha256 = Digest::of(key(index).as_bytes()).to_hex();
        json!({"name": format!("consumer-{index}"), "plan": "basic", "keys": [{"id": "only", "sha256": sha256}]})
    });
    let bindings = (0..consumers).map(|index| {
        json!({"consumer": format!("consumer-{index}"), "allow": "none", "paths": [
            {"path": "/admin/**", "allow": "none"}, {"path": "/orders/**", "allow": {"methods": ["GET", "POST"]}}]})
    });
    set(&mut policy, "/consumers", known.collect());
    set(&mut policy, "/apis/0/bindings", bindings.collect());
    policy
}

/// [`of_consumers`] without what callers and access logs can do without: rate-limit headers and filter state.
pub fn bare(consumers: usize) -> Value {
    let mut policy = of_consumers(consumers);
    set(&mut policy, "/gate", json!({"rate_limit_headers": "none", "filter_state": "none"}));
    policy
}

/// [`of_consumers`] with a mocked response in the service's place.
pub fn mocked(consumers: usize) -> Value {
    let mut policy = of_consumers(consumers);
    let responses = json!([{"path": "/orders/{id}", "headers": {"x-order": "{path:id}"}, "body": "{\"id\":\"{path:id}\"}"}]);
    if let Some(Value::Object(api)) = policy.pointer_mut("/apis/0") {
        api.insert("mock".to_owned(), json!({"responses": responses}));
    }
    policy
}

/// [`of_consumers`] with a limit per day in the place of that per month, which not every engine can count.
pub fn daily(consumers: usize) -> Value {
    let mut policy = of_consumers(consumers);
    set(&mut policy, "/plans/basic/limits/2/per", json!("day"));
    policy
}

/// [`daily`], with its two fixed limits counted by a rate limit service.
pub fn replicated(consumers: usize, lease: &Value) -> Value {
    let mut policy = daily(consumers);
    let service = json!({"cluster": COUNTER, "lease": lease, "timeout": "10s"});
    set(&mut policy, "/providers", json!({"counter": {"rate_limit_service": service}}));
    for limit in ["/plans/basic/limits/1", "/plans/basic/limits/2"] {
        if let Some(Value::Object(limit)) = policy.pointer_mut(limit) {
            limit.insert("across".to_owned(), json!("replicas"));
        }
    }
    policy
}

/// Tokens of one OAuth2 client, introspected at `url` through the cluster `oidc`, kept for an hour.
pub fn of_tokens(url: &str) -> Value {
    let access = json!([{"introspection": {"provider": "oidc", "scopes": ["orders.read"], "audience": {"all": ["orders"]}}}]);
    let mut policy = base(access);
    set(
        &mut policy,
        "/providers",
        json!({"oidc": {"introspection": {
            "cluster": "oidc", "url": url, "timeout": "2s", "cache": {"ttl": "60m"},
            "authentication": {"basic": {"id": "gateway", "secret": {"env": "OIDC_SECRET"}}},
        }}}),
    );
    set(&mut policy, "/consumers", json!([{"name": "acme", "plan": "basic", "clients": ["acme-web"]}]));
    set(&mut policy, "/apis/0/bindings", json!([{"consumer": "acme", "allow": {"methods": ["GET"]}}]));
    policy
}

/// The user key of the application in [`of_applications`].
pub const USER_KEY: &str = "bench-user-key";

/// An application that 3scale's backend at the cluster `su1` knows by its user key. The backend has the
/// limits; decisions are kept for an hour.
pub fn of_applications() -> Value {
    let mut policy = base(json!([{"threescale": {"provider": "su1"}}]));
    set(
        &mut policy,
        "/providers",
        json!({"su1": {"service_management": {
            "cluster": "su1", "url": "http://su1", "service_id": "1", "service_token": "t0ken", "ttl": "60m",
            "timeout": "20s",
        }}}),
    );
    set(&mut policy, "/plans", json!({"basic": {"environment": "production"}}));
    set(
        &mut policy,
        "/apis/0/forward/headers",
        json!({"x-environment": "{environment}", "x-plan": "{plan}"}),
    );
    // The backend knows the application, so the policy has neither consumers nor bindings.
    if let Some(policy) = policy.as_object_mut() {
        policy.remove("consumers");
    }
    if let Some(Value::Object(api)) = policy.pointer_mut("/apis/0") {
        api.remove("bindings");
    }
    policy
}

/// JWTs of one OAuth2 client, verified by Sidegate with the keys at `keys` through the cluster `oidc` and
/// kept for an hour, or verified by Envoy.
pub fn of_jwts(issuer: &str, keys: Option<&str>) -> Value {
    let verified_by = if keys.is_some() { "sidegate" } else { "envoy" };
    let access = json!([{"jwt": {
        "provider": "oidc", "verified_by": verified_by, "scopes": ["orders.read"], "audience": {"all": ["orders"]},
    }}]);
    let mut policy = base(access);
    let provider = match keys {
        Some(url) => json!({"issuer": issuer, "cluster": "oidc", "url": url, "cache": {"ttl": "60m"}}),
        None => json!({"issuer": issuer}),
    };
    set(&mut policy, "/providers", json!({"oidc": {"jwks": provider}}));
    set(&mut policy, "/consumers", json!([{"name": "acme", "plan": "basic", "clients": ["acme-web"]}]));
    set(&mut policy, "/apis/0/bindings", json!([{"consumer": "acme", "allow": {"methods": ["GET"]}}]));
    policy
}

fn base(access: Value) -> Value {
    json!({
        "sidegate": "v1",
        "revision": "bench",
        "gate": {},
        "providers": {},
        "metrics": {"hits": {}, "reads": {"parent": "hits"}},
        "plans": {"basic": {"environment": "production", "limits": [
            {"metric": "reads", "max": 1_000_000_000, "per": "second", "window": "sliding"},
            {"metric": "hits", "max": 1_000_000_000, "per": "hour"},
            {"metric": "hits", "max": 1_000_000_000, "per": "month"},
        ]}},
        "consumers": [],
        "apis": [{
            "name": "orders",
            "hosts": ["orders.example.com"],
            "base_path": "/v1",
            "access": access,
            "rules": [
                {"path": "/health", "methods": ["GET"], "access": ["allow"]},
                {"path": "/orders"},
                {"path": "/orders/{id}"},
                {"path": "/orders/{id}/items/**"},
                {"path": "/admin/**", "access": ["deny"]},
            ],
            "metering": [{"path": "/orders/**", "methods": ["GET"], "metric": "reads"}],
            "bindings": [],
            "forward": {"headers": {"x-consumer": "{consumer}", "x-plan": "{plan}"}},
        }],
    })
}

fn set(policy: &mut Value, pointer: &str, value: Value) {
    if let Some(place) = policy.pointer_mut(pointer) {
        *place = value;
    }
}
