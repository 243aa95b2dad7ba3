//! Documents that are written and read again.

use serde_json::{Value, json};
#[cfg(all(target_family = "wasm", target_os = "unknown"))]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;

/// Every attribute, with a value that is not its default.
pub(in crate::policy) fn everything() -> Value {
    json!({
        "sidegate": "v1",
        "revision": "r1",
        "epoch": 7,
        "revoked": ["9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"],
        "gate": {
            "realm": "example", "resource_metadata": "https://example.com/metadata", "unmatched": "pass",
            "preflight": "check", "max_path_length": 100, "errors": {"format": "problem", "details": "https://example.com/{code}"},
            "rate_limit_headers": "x_ratelimit", "filter_state": {"only": ["api", "code"]},
            "debug": {"secret_sha256": "00"}, "client_certificate": "xfcc", "capacity": {"meters": 1, "addresses": 3, "tokens": 2, "token_bytes": 256, "verifications": 9},
        },
        "providers": {
            "a": {"introspection": {
                "cluster": "c", "url": "http://idp/", "authentication": {"basic": {"id": "i", "secret": "s3cret"}},
                "timeout": "2s", "cache": {"ttl": "1m", "negative_ttl": "1ms", "stale_if_error": "1d"},
                "unavailable": {"allow_clients": ["c"]}, "cooldown": "0s", "issuers": ["https://idp"], "leeway": "0s",
            }},
            "b": {"introspection": {
                "cluster": "c", "url": "http://idp/", "authentication": {"post": {"id": "i", "secret": {"env": "S"}}},
                "timeout": "1s", "unavailable": "stale", "cooldown": "1s", "leeway": "1s",
            }},
            "j": {"jwks": {
                "cluster": "c", "url": "http://idp/", "issuer": "https://idp", "audiences": ["x"], "algorithms": ["RS256", "EdDSA"],
                "timeout": "1s", "refresh": {"every": "1h", "pause": "1s"}, "cache": {"ttl": "0s", "negative_ttl": "1s"},
                "leeway": "0s", "max_lifetime": "1d", "payload_in_metadata": "p",
            }},
            "k": {"jwks": {"keys": "{}", "issuer": "https://idp", "timeout": "1s", "leeway": "1s", "payload_in_metadata": "p"}},
            "c": {"introspection": {
                "cluster": "c", "url": "http://idp/", "authentication": {"bearer": {"token": {"env": "S"}}},
                "timeout": "1s", "cooldown": "1s", "leeway": "1s",
            }},
        },
        "metrics": {"reads": {"parent": "hits"}, "writes": {}},
        "plans": {
            "basic": {"environment": "staging", "limits": [
                {"metric": "hits", "max": 1, "per": "second", "window": "sliding", "of": "address"},
                {"metric": "hits", "max": 0, "per": "eternity"},
            ]},
            "gold": {},
        },
        "consumers": [
            {
                "name": "acme", "state": "suspended", "plan": "basic", "clients": ["w"], "referrers": ["*.a.example"],
                "application": {"id": "app", "keys": [
                    {"id": "1", "sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08", "state": "inactive"},
                    {"sha256": "60303ae22b998861bce3b28f33eec1be758a213c86c93c076dbe9f558c11c752", "not_after": "2027-01-01T00:00:00Z"},
                ]},
                "keys": [
                    {"id": "k", "sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08", "state": "inactive", "not_after": "2027-01-01T00:00:00Z"},
                    {"sha256": "60303ae22b998861bce3b28f33eec1be758a213c86c93c076dbe9f558c11c752"},
                ],
            },
            {"name": "globex", "application": {"id": "open"}},
            {"name": "initech"},
        ],
        "apis": [
            {
                "name": "orders", "hosts": ["a.example"], "base_path": "/v1",
                "credentials": {
                    "api_key": [{"header": "k"}, {"query": "k"}, {"cookie": "k"}],
                    "app_id": [{"basic": "user"}], "app_key": [{"basic": "password"}, {"query": "app_key"}],
                    "token": [{"header": "authorization", "scheme": "Bearer"}],
                },
                "default_credentials": {"app_id": "app", "app_key": "s3cret"},
                "access": ["api_key"],
                "rules": [
                    {"path": "/a", "methods": ["GET"], "access": ["allow"]},
                    {"regex": "/b", "access": ["deny"]},
                    {"path": "/e", "access": ["application"]},
                    {"path": "/c", "access": [{"introspection": {
                        "provider": "a", "scopes": ["s"], "scope_strategy": "wildcard", "audience": {"all": ["x"]},
                        "issuers": ["https://idp"],
                    }}]},
                    {"path": "/d", "access": [{"introspection": {"provider": "a", "audience": {"any": ["x"]}}}]},
                    {"path": "/j", "access": [{"jwt": {"provider": "j", "scopes": ["s"], "claims": {"org.id": ["a"]}, "verified_by": "envoy"}}]},
                ],
                "metering": [
                    {"path": "/", "match": "prefix", "query": {"q": "{v}"}, "methods": ["GET"], "metric": "hits",
                     "by": 0, "last": true},
                    {"path": "/**", "metric": "hits", "by": 1},
                    {"path": "/x", "metrics": {"hits": 1, "reads": 0}},
                ],
                "unmetered": "refuse",
                "bindings": [
                    {
                        "consumer": "acme", "plan": "basic", "allow": {"methods": ["GET"]},
                        "paths": [{"path": "/a", "allow": "all"}, {"regex": "/b", "allow": "none"}],
                        "limits": [{"metric": "hits", "max": 1, "per": "day"}],
                    },
                    {"consumer": "globex", "allow": "all"},
                ],
                "limits": [{"metric": "hits", "max": 1, "per": "minute", "of": "api"}],
                "forward": {"remove_credentials": false, "headers": {"x-a": "{api}", "x-b": {"env": "S"}}},
                "errors": {
                    "missing_credentials": {"status": 401}, "refused_credentials": {"content_type": "text/plain"},
                    "limits_exceeded": {"body": "b"}, "no_match": {"status": 404, "content_type": "text/html", "body": "b"},
                },
                "shadow": true,
            },
            {
                "name": "open", "credentials": {"api_key": [{"basic": "either"}]},
                "default_credentials": {"api_key": {"env": "S"}}, "rules": [],
            },
        ],
    })
}

#[test]
fn what_is_written_is_what_was_read() {
    let json = everything();
    let document: Document = serde_json::from_value(json.clone()).unwrap();
    let written = serde_json::to_value(&document).unwrap();
    assert_eq!(written, json);
    assert_eq!(serde_json::from_value::<Document>(written).unwrap(), document);
}

#[test]
fn absent_attributes_and_defaults_stay_absent() {
    let json = json!({"sidegate": "v1", "apis": [{"name": "a", "rules": [{"path": "/"}]}]});
    let document: Document = serde_json::from_value(json.clone()).unwrap();
    assert_eq!(serde_json::to_value(&document).unwrap(), json);
}

#[test]
fn debug_does_not_show_inline_secrets() {
    let document: Document = serde_json::from_value(everything()).unwrap();
    assert!(!format!("{document:?}").contains("s3cret"));
}
