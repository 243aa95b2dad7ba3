//! Secrets, and where they come from.

use std::fmt;

use serde::{
    Serialize, Serializer,
    de::{Deserialize, Deserializer, Error, MapAccess, Visitor},
    ser::SerializeMap as _,
};

/// A secret of Sidegate's own: inline text, or `{env: NAME}` for a variable of the VM's environment.
#[derive(Clone, PartialEq, Eq)]
pub enum Secret {
    /// The secret itself.
    Inline(String),
    /// The name of the variable that holds it.
    Env(String),
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inline(_) => f.write_str("Inline(redacted)"),
            Self::Env(name) => write!(f, "Env({name})"),
        }
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Form;

        impl<'de> Visitor<'de> for Form {
            type Value = Secret;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a secret: text, or `{env: NAME}`")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Secret::Inline(text.to_owned()))
            }

            // Errors must not quote anything else: a mistyped secret is still a secret.
            fn visit_u64<E: Error>(self, _: u64) -> Result<Self::Value, E> {
                Err(unquoted())
            }

            fn visit_i64<E: Error>(self, _: i64) -> Result<Self::Value, E> {
                Err(unquoted())
            }

            fn visit_f64<E: Error>(self, _: f64) -> Result<Self::Value, E> {
                Err(unquoted())
            }

            fn visit_bool<E: Error>(self, _: bool) -> Result<Self::Value, E> {
                Err(unquoted())
            }

            fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Self::Value, A::Error> {
                let Some((key, name)) = access.next_entry::<String, String>()? else {
                    return Err(A::Error::custom("expected `{env: NAME}`"));
                };
                if key != "env" || access.next_entry::<String, String>()?.is_some() {
                    return Err(A::Error::custom("expected `{env: NAME}` and nothing else"));
                }
                Ok(Secret::Env(name))
            }
        }

        fn unquoted<E: Error>() -> E {
            E::custom("a secret is text: put it in quotes")
        }

        deserializer.deserialize_any(Form)
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Inline(text) => serializer.serialize_str(text),
            Self::Env(name) => {
                let mut map = serializer.serialize_map(Some(1))?;
                map.serialize_entry("env", name)?;
                map.end()
            }
        }
    }
}

#[cfg(not(target_family = "wasm"))]
mod schema {
    use std::borrow::Cow;

    use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

    use super::Secret;

    impl JsonSchema for Secret {
        fn schema_name() -> Cow<'static, str> {
            "Secret".into()
        }

        fn json_schema(_: &mut SchemaGenerator) -> Schema {
            json_schema!({
                "description": "A secret: inline text, or the name of a variable of the VM's environment.",
                "oneOf": [
                    {"type": "string"},
                    {
                        "type": "object",
                        "properties": {"env": {"type": "string"}},
                        "required": ["env"],
                        "additionalProperties": false,
                    },
                ]
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
    fn secrets_are_text_or_a_variable_and_never_quoted() {
        assert!(matches!(serde_json::from_str(r#""s3cret""#), Ok(Secret::Inline(text)) if text == "s3cret"));
        assert!(matches!(serde_json::from_str(r#"{"env":"NAME"}"#), Ok(Secret::Env(name)) if name == "NAME"));
        for text in ["4711", "-4711", "47.11", r#"{"file":"4711"}"#, r#"{"env":"A","x":"4711"}"#, "{}"] {
            let error = serde_json::from_str::<Secret>(text).unwrap_err().to_string();
            assert!(!error.contains("4711") && !error.contains("47.11"), "{error}");
        }
        assert_eq!(format!("{:?}", Secret::Inline("s3cret".to_owned())), "Inline(redacted)");
    }
}
