//! What the tests of introspection in real Envoy share: how they write policies, and how they read answers
//! and metrics.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use sidegate_harness::{Answer, Envoy, Response};

/// An introspection endpoint at `cluster`. By default its timeout is long and answers are kept for an hour,
/// so that no test depends on the speed of the machine.
pub fn introspection(cluster: &str, url: &str, changes: &Value) -> Value {
    let settings = json!({"cluster": cluster, "url": url, "timeout": "1h", "cache": {"ttl": "1h", "negative_ttl": "1h"}});
    json!({"introspection": with(settings, changes)})
}

/// A rule that admits only tokens that `provider` vouches for. `demands` are scopes and the like.
pub fn token_rule(path: &str, provider: &str, demands: &Value) -> Value {
    json!({"path": path, "access": [{"introspection": with(json!({"provider": provider}), demands)}]})
}

/// A policy of one API, `orders`, for all hosts.
pub fn policy(providers: &Value, rules: &[Value]) -> Value {
    json!({"sidegate": "v1", "gate": {"realm": "api"}, "providers": providers, "apis": [{"name": "orders", "rules": rules}]})
}

/// `base` with the members of `changes` in place of its own.
pub fn with(mut base: Value, changes: &Value) -> Value {
    if let (Value::Object(base), Value::Object(changes)) = (&mut base, changes) {
        base.extend(changes.clone());
    }
    base
}

/// The moment this many seconds from now, as endpoints write it.
#[expect(clippy::disallowed_methods, reason = "an endpoint's times are compared with Envoy's clock")]
pub fn in_seconds(seconds: f64) -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |now| now.as_secs_f64()) + seconds
}

/// An endpoint's answer that a token is active, with these additional members.
pub fn active(members: &Value) -> Answer {
    Answer::json(&with(json!({"active": true}), members))
}

/// An endpoint's answer that a token is not active.
pub fn inactive() -> Answer {
    Answer::json(&json!({"active": false}))
}

/// Status and code of an answer; no code where the upstream gave it.
pub fn verdict(answer: &Response) -> (u16, Option<&str>) {
    (answer.status, answer.code())
}

/// Admitted.
pub const ADMITTED: (u16, Option<&str>) = (200, None);
/// Code 22.
pub const INVALID: (u16, Option<&str>) = (401, Some("22"));
/// Code 24.
pub const UNAVAILABLE: (u16, Option<&str>) = (503, Some("24"));

/// The number of calls to a provider with this result.
pub async fn calls(envoy: &Envoy, provider: &str, result: &str) -> u64 {
    envoy
        .stat(&format!("wasmcustom.sidegate.provider=.={provider};.;result=.={result};.;provider_calls"))
        .await
}

/// The number of identities that were obtained in this way.
pub async fn lookups(envoy: &Envoy, result: &str) -> u64 {
    envoy.stat(&format!("wasmcustom.sidegate.result=.={result};.;identity_lookups")).await
}
