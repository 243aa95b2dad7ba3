//! The payload of a token that Envoy's `jwt_authn` filter has verified, from the request's dynamic metadata.
//! Filters write there, and callers cannot.
//!
//! Envoy hands out all metadata as one message. It has no encoding for a part of it.

use std::collections::BTreeMap;

use prost::Message as _;
use serde_json::{Map, Number, Value};

/// The namespace of the filter.
const FILTER: &str = "envoy.filters.http.jwt_authn";

/// The largest number up to which every whole number is exact, and so is written without a fraction.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// `envoy.config.core.v3.Metadata`.
#[derive(Clone, PartialEq, prost::Message)]
struct Metadata {
    #[prost(btree_map = "string, message", tag = "1")]
    filters: BTreeMap<String, Struct>,
}

/// `google.protobuf.Struct`.
#[derive(Clone, PartialEq, prost::Message)]
struct Struct {
    #[prost(btree_map = "string, message", tag = "1")]
    fields: BTreeMap<String, Item>,
}

/// `google.protobuf.Value`.
#[derive(Clone, PartialEq, prost::Message)]
struct Item {
    #[prost(oneof = "Kind", tags = "1, 2, 3, 4, 5, 6")]
    kind: Option<Kind>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum Kind {
    #[prost(int32, tag = "1")]
    Null(i32),
    #[prost(double, tag = "2")]
    Number(f64),
    #[prost(string, tag = "3")]
    Text(String),
    #[prost(bool, tag = "4")]
    Truth(bool),
    #[prost(message, tag = "5")]
    Struct(Struct),
    #[prost(message, tag = "6")]
    List(List),
}

/// `google.protobuf.ListValue`.
#[derive(Clone, PartialEq, prost::Message)]
struct List {
    #[prost(message, repeated, tag = "1")]
    items: Vec<Item>,
}

/// The payload that the filter left under `key`; `None` if it verified no token.
pub fn payload(metadata: &[u8], key: &str) -> Option<Value> {
    let mut fields = Metadata::decode(metadata).ok()?.filters.remove(FILTER)?.fields;
    match fields.remove(key)?.kind? {
        Kind::Struct(payload) => Some(object(payload)),
        _ => None,
    }
}

/// The same value as the filter would leave it: it keeps all numbers as floating point.
pub(super) fn normalised(value: Value) -> Value {
    match value {
        Value::Number(written) => number(written.as_f64().unwrap_or(f64::NAN)),
        Value::Array(items) => Value::Array(items.into_iter().map(normalised).collect()),
        Value::Object(mut members) => {
            for member in members.values_mut() {
                *member = normalised(member.take());
            }
            Value::Object(members)
        }
        value @ (Value::Null | Value::Bool(_) | Value::String(_)) => value,
    }
}

fn object(payload: Struct) -> Value {
    let mut members = Map::new();
    for (name, item) in payload.fields {
        members.insert(name, value(item));
    }
    Value::Object(members)
}

fn value(item: Item) -> Value {
    match item.kind {
        None | Some(Kind::Null(_)) => Value::Null,
        Some(Kind::Number(written)) => number(written),
        Some(Kind::Text(text)) => Value::String(text),
        Some(Kind::Truth(truth)) => Value::Bool(truth),
        Some(Kind::Struct(payload)) => object(payload),
        Some(Kind::List(list)) => Value::Array(list.items.into_iter().map(value).collect()),
    }
}

fn number(number: f64) -> Value {
    if number.fract() == 0.0 && number.abs() < EXACT {
        // It is exact: `as` only saturates where it would not be.
        Value::from(number as i64)
    } else {
        Number::from_f64(number).map_or(Value::Null, Value::Number)
    }
}

/// The metadata with this payload, as Envoy writes it. For tests.
#[cfg(any(test, not(target_family = "wasm")))]
pub fn with_payload(key: &str, payload: &Value) -> Vec<u8> {
    written_by(FILTER, key, payload)
}

/// The metadata that this filter leaves. For tests.
#[cfg(any(test, not(target_family = "wasm")))]
fn written_by(filter: &str, key: &str, payload: &Value) -> Vec<u8> {
    fn item(value: &Value) -> Item {
        let kind = match value {
            Value::Null => Kind::Null(0),
            Value::Bool(truth) => Kind::Truth(*truth),
            Value::Number(number) => Kind::Number(number.as_f64().unwrap_or(f64::NAN)),
            Value::String(text) => Kind::Text(text.clone()),
            Value::Array(items) => Kind::List(List { items: items.iter().map(item).collect() }),
            Value::Object(members) => Kind::Struct(Struct {
                fields: members.iter().map(|(name, member)| (name.clone(), item(member))).collect(),
            }),
        };
        Item { kind: Some(kind) }
    }

    let fields = BTreeMap::from([(key.to_owned(), item(payload))]);
    Metadata { filters: BTreeMap::from([(filter.to_owned(), Struct { fields })]) }.encode_to_vec()
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    #[cfg(all(target_family = "wasm", target_os = "unknown"))]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    fn a_payload_is_read_with_its_types() {
        let claims = json!({
            "iss": "https://idp", "exp": 1_795_176_000, "nbf": 0.5, "ok": true, "no": null, "big": 1e300,
            "aud": ["a", "b"], "org": {"id": "acme", "deep": [{"x": -3}]},
        });
        let metadata = with_payload("payload", &claims);
        assert_eq!(payload(&metadata, "payload").as_ref(), Some(&claims));
        assert_eq!(payload(&metadata, "other"), None);
        assert_eq!(payload(&with_payload("payload", &json!("text")), "payload"), None);
        // A filter such as this one writes what callers send.
        let forged = written_by("envoy.filters.http.header_to_metadata", "payload", &claims);
        assert_eq!(payload(&forged, "payload"), None);
        assert_eq!(payload(b"", "payload"), None);
        assert_eq!(payload(b"\xff", "payload"), None);
        for length in 1..metadata.len() {
            assert_eq!(payload(&metadata[..length], "payload"), None, "{length}");
        }
    }

    /// What Envoy 1.40 gave to a module after its filter had verified a token.
    const WRITTEN_BY_ENVOY: &str = concat!(
        "0acd010a1c656e766f792e66696c746572732e687474702e6a77745f617574686e12ac010aa9010a077061796c",
        "6f6164129d012a9a010a2b0a036f726712242a220a0c0a02696412061a0461636d650a120a056c6576656c1209",
        "1100000000000008400a080a026e6f120208000a080a026f6b120220010a100a03657870120911000000e0ca90",
        "ee410a1c0a03617564121532130a081a066f72646572730a071a0566696c65730a110a0468616c661209110000",
        "00000000e03f0a140a03697373120d1a0b68747470733a2f2f696470",
    );

    #[test]
    fn what_envoy_writes_is_read() {
        let metadata = hex::decode(WRITTEN_BY_ENVOY).unwrap();
        let claims = json!({
            "iss": "https://idp", "exp": 4_102_444_800_u64, "aud": ["orders", "files"], "org": {"id": "acme", "level": 3},
            "ok": true, "no": null, "half": 0.5,
        });
        assert_eq!(payload(&metadata, "payload"), Some(claims));
    }

    #[test]
    fn numbers_are_what_the_filter_makes_of_them() {
        assert_eq!(normalised(json!([1.0, {"a": 3}, 0.5])), json!([1, {"a": 3}, 0.5]));
        assert_eq!(normalised(json!(18_446_744_073_709_551_615_u64)), json!(18_446_744_073_709_551_616.0));
    }
}
