//! Moments as text.

use serde::{
    Serialize, Serializer,
    de::{self, Deserialize, Deserializer},
    ser,
};

use crate::time::Timestamp;

/// A moment in RFC 3339, such as `2027-01-01T00:00:00Z`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment(pub Timestamp);

impl<'de> Deserialize<'de> for Moment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse::<jiff::Timestamp>()
            .ok()
            .and_then(|moment| u64::try_from(moment.as_millisecond()).ok())
            .map(|millis| Self(Timestamp::from_millis(millis)))
            .ok_or_else(|| {
                de::Error::custom(format!(
                    "`{text}` is not a moment in RFC 3339 such as `2027-01-01T00:00:00Z`"
                ))
            })
    }
}

impl Serialize for Moment {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let millis = i64::try_from(self.0.millis()).map_err(ser::Error::custom)?;
        let moment = jiff::Timestamp::from_millisecond(millis).map_err(ser::Error::custom)?;
        serializer.collect_str(&moment)
    }
}

#[cfg(not(target_family = "wasm"))]
mod schema {
    use std::borrow::Cow;

    use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

    use super::Moment;

    impl JsonSchema for Moment {
        fn schema_name() -> Cow<'static, str> {
            "Moment".into()
        }

        fn json_schema(_: &mut SchemaGenerator) -> Schema {
            json_schema!({"type": "string", "format": "date-time", "description": "A moment in RFC 3339."})
        }
    }
}

#[cfg(test)]
mod tests {
    #[cfg(all(target_family = "wasm", target_os = "unknown"))]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    fn moments_are_rfc_3339() {
        let moment: Moment = serde_json::from_str(r#""2027-01-01T01:00:00.5+01:00""#).unwrap();
        assert_eq!(moment.0.seconds(), 1_798_761_600);
        assert_eq!(serde_json::to_string(&moment).unwrap(), r#""2027-01-01T00:00:00.5Z""#);
        assert!(serde_json::from_str::<Moment>(r#""2027-01-01""#).is_err());
    }
}
