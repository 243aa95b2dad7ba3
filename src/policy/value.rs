//! Small values of the policy document that need reading: maps without duplicates, spans of time, moments, secrets.

use std::{collections::BTreeMap, fmt, marker::PhantomData, time::Duration};

use serde::{
    de::{Deserialize, Deserializer, Error, MapAccess, Visitor},
    forward_to_deserialize_any,
};

use crate::time::Timestamp;

/// A map by name in which no name may stand twice.
#[derive(Clone, Debug)]
pub struct Named<T>(pub BTreeMap<String, T>);

impl<T> Default for Named<T> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Named<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Entries<T> {
            type Value = Named<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map by name")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Self::Value, A::Error> {
                let mut entries = BTreeMap::new();
                while let Some((name, value)) = access.next_entry::<String, T>()? {
                    if entries.contains_key(&name) {
                        return Err(A::Error::custom(format!("duplicate name `{name}`")));
                    }
                    entries.insert(name, value);
                }
                Ok(Named(entries))
            }
        }

        deserializer.deserialize_map(Entries(PhantomData))
    }
}

/// Reads structures from maps only: serde would also take a list of the values of their fields.
pub(super) struct MapOnly<T>(pub(super) T);

impl<'de, D: Deserializer<'de>> Deserializer<'de> for MapOnly<D> {
    type Error = D::Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.0.deserialize_map(MapOnly(visitor))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct newtype_struct
        seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

impl<'de, V: Visitor<'de>> Visitor<'de> for MapOnly<V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map")
    }

    fn visit_map<A: MapAccess<'de>>(self, access: A) -> Result<V::Value, A::Error> {
        self.0.visit_map(access)
    }
}

/// A value that is there, and not `null`.
pub(super) fn given<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// A span of time as text: a whole number and one of `ms`, `s`, `m`, `h`, `d`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span(Duration);

impl Span {
    /// A span of so many milliseconds.
    pub const fn from_millis(millis: u64) -> Self {
        Self(Duration::from_millis(millis))
    }

    /// The span as a duration.
    pub const fn duration(self) -> Duration {
        self.0
    }

    fn parse(text: &str) -> Option<Self> {
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at_checked(digits)?;
        let factor = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return None,
        };
        number.parse::<u64>().ok()?.checked_mul(factor).map(Self::from_millis)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| {
            D::Error::custom(format!(
                "`{text}` is not a span of time such as `200ms`, `30s`, `5m`, `1h` or `1d`"
            ))
        })
    }
}

/// A moment in RFC 3339, such as `2027-01-01T00:00:00Z`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instant(pub Timestamp);

impl<'de> Deserialize<'de> for Instant {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse::<jiff::Timestamp>()
            .ok()
            .and_then(|moment| u64::try_from(moment.as_millisecond()).ok())
            .map(|millis| Self(Timestamp::from_millis(millis)))
            .ok_or_else(|| {
                D::Error::custom(format!(
                    "`{text}` is not a moment in RFC 3339 such as `2027-01-01T00:00:00Z`"
                ))
            })
    }
}

/// A secret of Sidegate's own: inline text, or `{env: NAME}` for a variable of the VM's environment.
#[derive(Clone)]
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

            // Anything else must not be quoted in an error: a mistyped secret is a secret all the same.
            fn visit_u64<E: Error>(self, _: u64) -> Result<Self::Value, E> {
                Err(E::custom("a secret is text: put it in quotes"))
            }

            fn visit_i64<E: Error>(self, _: i64) -> Result<Self::Value, E> {
                Err(E::custom("a secret is text: put it in quotes"))
            }

            fn visit_f64<E: Error>(self, _: f64) -> Result<Self::Value, E> {
                Err(E::custom("a secret is text: put it in quotes"))
            }

            fn visit_bool<E: Error>(self, _: bool) -> Result<Self::Value, E> {
                Err(E::custom("a secret is text: put it in quotes"))
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

        deserializer.deserialize_any(Form)
    }
}

#[cfg(not(target_family = "wasm"))]
mod schema {
    //! How these values look in the JSON Schema.

    use std::borrow::Cow;

    use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

    use super::{Instant, Named, Secret, Span};

    impl<T: JsonSchema> JsonSchema for Named<T> {
        fn schema_name() -> Cow<'static, str> {
            format!("NamedOf{}", T::schema_name()).into()
        }

        fn inline_schema() -> bool {
            true
        }

        fn json_schema(generator: &mut SchemaGenerator) -> Schema {
            let value = generator.subschema_for::<T>();
            json_schema!({"type": "object", "additionalProperties": value})
        }
    }

    impl JsonSchema for Span {
        fn schema_name() -> Cow<'static, str> {
            "Span".into()
        }

        fn json_schema(_: &mut SchemaGenerator) -> Schema {
            json_schema!({"type": "string", "pattern": "^[0-9]+(ms|s|m|h|d)$", "description": "A span of time: `200ms`, `30s`, `5m`, `1h`, `1d`."})
        }
    }

    impl JsonSchema for Instant {
        fn schema_name() -> Cow<'static, str> {
            "Instant".into()
        }

        fn json_schema(_: &mut SchemaGenerator) -> Schema {
            json_schema!({"type": "string", "format": "date-time", "description": "A moment in RFC 3339."})
        }
    }

    impl JsonSchema for Secret {
        fn schema_name() -> Cow<'static, str> {
            "Secret".into()
        }

        fn json_schema(_: &mut SchemaGenerator) -> Schema {
            json_schema!({
                "description": "A secret: inline text, or the name of a variable of the VM's environment.",
                "oneOf": [
                    {"type": "string"},
                    {"type": "object", "properties": {"env": {"type": "string"}}, "required": ["env"], "additionalProperties": false},
                ]
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(all(target_family = "wasm", target_os = "unknown"))]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn spans_are_a_whole_number_and_a_unit() {
        for (text, millis) in [
            ("200ms", 200),
            ("30s", 30_000),
            ("5m", 300_000),
            ("1h", 3_600_000),
            ("2d", 172_800_000),
            ("0s", 0),
        ] {
            assert_eq!(Span::parse(text), Some(Span::from_millis(millis)), "{text}");
        }
        for text in [
            "",
            "5",
            "s",
            "1.5s",
            "-1s",
            " 1s",
            "1 s",
            "1w",
            "99999999999999999999s",
            "18446744073709551615d",
        ] {
            assert_eq!(Span::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_name_may_not_stand_twice() {
        let error = serde_json::from_str::<Named<u8>>(r#"{"a":1,"a":2}"#).unwrap_err();
        assert!(error.to_string().contains("duplicate name `a`"), "{error}");
    }

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

    #[test]
    fn moments_are_rfc_3339() {
        let moment: Instant = serde_json::from_str(r#""2027-01-01T00:00:00Z""#).unwrap();
        assert_eq!(moment.0.seconds(), 1_798_761_600);
        assert!(serde_json::from_str::<Instant>(r#""2027-01-01""#).is_err());
    }
}
