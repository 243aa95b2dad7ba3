//! Durations as text.

use std::{fmt, time::Duration};

use serde::{
    Serialize, Serializer,
    de::{Deserialize, Deserializer, Error, Visitor},
};

/// A duration as text: a whole number and one of `ms`, `s`, `m`, `h`, `d`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DurationText(Duration);

/// The units with their length in milliseconds, the longest first.
const UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

impl DurationText {
    /// A duration of this many milliseconds.
    pub const fn from_millis(millis: u64) -> Self {
        Self(Duration::from_millis(millis))
    }

    /// The duration.
    pub const fn duration(self) -> Duration {
        self.0
    }

    fn parse(text: &str) -> Option<Self> {
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at_checked(digits)?;
        let (_, factor) = UNITS.iter().find(|(name, _)| *name == unit)?;
        number.parse::<u64>().ok()?.checked_mul(*factor).map(Self::from_millis)
    }
}

impl fmt::Display for DurationText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = self.0.as_millis();
        let whole = |(unit, factor): (&'static str, u64)| {
            let factor = u128::from(factor);
            Some((unit, millis.checked_div(factor).filter(|_| millis.is_multiple_of(factor))?))
        };
        // Nothing is a whole number of days, but everybody writes `0s`.
        let written = UNITS.into_iter().filter_map(whole).find(|(unit, _)| millis > 0 || *unit == "s");
        let (unit, number) = written.unwrap_or(("ms", millis));
        write!(f, "{number}{unit}")
    }
}

impl<'de> Deserialize<'de> for DurationText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;

        impl Visitor<'_> for Text {
            type Value = DurationText;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a duration such as `200ms`, `30s`, `5m`, `1h` or `1d`")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
                DurationText::parse(text).ok_or_else(|| {
                    // A whole number lacks nothing but its unit.
                    text.parse().map_or_else(
                        |_| {
                            E::custom(format!(
                                "`{text}` is not a duration such as `200ms`, `30s`, `5m`, `1h` or `1d`"
                            ))
                        },
                        without_unit,
                    )
                })
            }

            fn visit_u64<E: Error>(self, number: u64) -> Result<Self::Value, E> {
                Err(without_unit(number))
            }
        }

        fn without_unit<E: Error>(number: u64) -> E {
            E::custom(format!("a duration needs a unit: write `{number}s` or `{number}ms`"))
        }

        deserializer.deserialize_str(Text)
    }
}

impl Serialize for DurationText {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(not(target_family = "wasm"))]
mod schema {
    use std::borrow::Cow;

    use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

    use super::DurationText;

    impl JsonSchema for DurationText {
        fn schema_name() -> Cow<'static, str> {
            "DurationText".into()
        }

        fn json_schema(_: &mut SchemaGenerator) -> Schema {
            json_schema!({
                "type": "string",
                "pattern": "^[0-9]+(ms|s|m|h|d)$",
                "description": "A duration: `200ms`, `30s`, `5m`, `1h`, `1d`.",
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
    fn durations_are_a_whole_number_and_a_unit() {
        for (text, millis) in [
            ("200ms", 200),
            ("30s", 30_000),
            ("5m", 300_000),
            ("1h", 3_600_000),
            ("2d", 172_800_000),
            ("0s", 0),
            ("18446744073709551615ms", u64::MAX),
        ] {
            let duration = DurationText::from_millis(millis);
            assert_eq!(DurationText::parse(text), Some(duration), "{text}");
            assert_eq!(duration.to_string(), text);
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
            assert_eq!(DurationText::parse(text), None, "{text}");
        }
    }

    #[test]
    fn durations_are_written_in_the_longest_unit_that_fits() {
        for (text, written) in
            [("60s", "1m"), ("90s", "90s"), ("24h", "1d"), ("0ms", "0s"), ("1001ms", "1001ms")]
        {
            assert_eq!(DurationText::parse(text).unwrap().to_string(), written);
        }
    }
}
