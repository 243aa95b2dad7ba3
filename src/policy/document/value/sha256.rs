//! Digests as text.

use std::fmt;

use serde::{
    Serialize, Serializer,
    de::{Deserialize, Deserializer, Error, Visitor},
};

use crate::credential::Digest;

/// A SHA-256 digest in hexadecimal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sha256(pub Digest);

impl<'de> Deserialize<'de> for Sha256 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;

        impl Visitor<'_> for Text {
            type Value = Sha256;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
                Digest::from_hex(text).map(Sha256).map_err(E::custom)
            }
        }

        deserializer.deserialize_str(Text)
    }
}

impl Serialize for Sha256 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0.to_hex())
    }
}

#[cfg(not(target_family = "wasm"))]
mod schema {
    use std::borrow::Cow;

    use schemars::{JsonSchema, Schema, SchemaGenerator};

    use super::Sha256;

    impl JsonSchema for Sha256 {
        fn schema_name() -> Cow<'static, str> {
            String::schema_name()
        }

        fn inline_schema() -> bool {
            true
        }

        fn json_schema(generator: &mut SchemaGenerator) -> Schema {
            String::json_schema(generator)
        }
    }
}
