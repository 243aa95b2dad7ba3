//! Texts that may come from the environment although they are not secret.

use std::fmt;

use serde::{
    Serialize, Serializer,
    de::{Deserialize, Deserializer, Error, MapAccess, Visitor},
    ser::SerializeMap as _,
};

/// A text: inline, or `{env: NAME}` for a variable of the VM's environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Setting {
    /// The text itself.
    Inline(String),
    /// The name of the variable that holds it.
    Env(String),
}

impl<'de> Deserialize<'de> for Setting {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Form;

        impl<'de> Visitor<'de> for Form {
            type Value = Setting;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text, or `{env: NAME}`")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Setting::Inline(text.to_owned()))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Self::Value, A::Error> {
                let entry = access.next_entry::<String, String>()?.filter(|(key, _)| key == "env");
                match (entry, access.next_entry::<String, String>()) {
                    (Some((_, name)), Ok(None)) => Ok(Setting::Env(name)),
                    _ => Err(A::Error::custom("expected `{env: NAME}` and nothing else")),
                }
            }
        }

        deserializer.deserialize_any(Form)
    }
}

impl Serialize for Setting {
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

    use super::Setting;

    impl JsonSchema for Setting {
        fn schema_name() -> Cow<'static, str> {
            "Setting".into()
        }

        fn json_schema(_: &mut SchemaGenerator) -> Schema {
            json_schema!({
                "description": "A text, or the name of a variable of the VM's environment.",
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
    fn settings_are_text_or_a_variable() {
        assert!(
            matches!(serde_json::from_str(r#""gateway""#), Ok(Setting::Inline(text)) if text == "gateway")
        );
        assert!(matches!(serde_json::from_str(r#"{"env":"ID"}"#), Ok(Setting::Env(name)) if name == "ID"));
        for text in ["4711", "null", "[]", "{}", r#"{"file":"a"}"#, r#"{"env":"A","x":"b"}"#] {
            assert!(serde_json::from_str::<Setting>(text).is_err(), "{text}");
        }
        for text in [r#""gateway""#, r#"{"env":"ID"}"#] {
            let setting: Setting = serde_json::from_str(text).unwrap();
            assert_eq!(serde_json::to_string(&setting).unwrap(), text);
        }
    }
}
