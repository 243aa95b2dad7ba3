//! The percentage of a limit at which operators are alerted.

use std::fmt;

use serde::{
    Serialize, Serializer,
    de::{Deserialize, Deserializer, Error, Visitor},
};

/// The percentage of a limit at which operators are alerted: 1 to 100, or `none`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AlertAt(pub Option<u8>);

const FORMS: &str = "neither a percentage from 1 to 100 nor `none`";

impl Default for AlertAt {
    fn default() -> Self {
        Self(Some(80))
    }
}

impl<'de> Deserialize<'de> for AlertAt {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Form;

        impl Visitor<'_> for Form {
            type Value = AlertAt;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a percentage, or `none`")
            }

            fn visit_u64<E: Error>(self, number: u64) -> Result<Self::Value, E> {
                match u8::try_from(number) {
                    Ok(percent @ 1..=100) => Ok(AlertAt(Some(percent))),
                    _ => Err(E::custom(FORMS)),
                }
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
                match text {
                    "none" => Ok(AlertAt(None)),
                    _ => Err(E::custom(FORMS)),
                }
            }
        }

        deserializer.deserialize_any(Form)
    }
}

impl Serialize for AlertAt {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Some(percent) => serializer.serialize_u8(percent),
            None => serializer.serialize_str("none"),
        }
    }
}

#[cfg(not(target_family = "wasm"))]
mod schema {
    use std::borrow::Cow;

    use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

    use super::AlertAt;

    impl JsonSchema for AlertAt {
        fn schema_name() -> Cow<'static, str> {
            "AlertAt".into()
        }

        fn json_schema(_: &mut SchemaGenerator) -> Schema {
            json_schema!({
                "description": "A percentage of a limit, or `none`.",
                "oneOf": [{"type": "integer", "minimum": 1, "maximum": 100}, {"const": "none"}],
            })
        }
    }
}

#[cfg(test)]
mod tests {
    #[cfg(all(target_family = "wasm", target_os = "unknown"))]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    fn a_percentage_or_none() {
        for (text, percent) in [("1", Some(1)), ("100", Some(100)), (r#""none""#, None)] {
            assert_eq!(serde_json::from_str::<AlertAt>(text).unwrap(), AlertAt(percent));
            assert_eq!(serde_json::to_string(&AlertAt(percent)).unwrap(), text);
        }
        for text in ["0", "101", "256", "80.5", "-1", "null", "[]", r#""80""#, r#""never""#] {
            assert!(serde_json::from_str::<AlertAt>(text).is_err(), "{text}");
        }
    }
}
