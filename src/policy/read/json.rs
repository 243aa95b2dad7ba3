//! Parses JSON, and finds the members that appear twice.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use super::path::Step;

/// The most lists and maps inside each other, which `serde_json` decides.
const DEEPEST: usize = 127;

/// Parses JSON; also returns the paths of all members that appear twice, of which the last value is kept.
///
/// # Errors
///
/// The text is not JSON, or not one that can be held.
pub fn parse(json: &[u8]) -> serde_json::Result<(Value, Vec<String>)> {
    let mut duplicates = Vec::new();
    let mut deserializer = serde_json::Deserializer::from_slice(json);
    let value = Parser { path: String::new(), duplicates: &mut duplicates }.deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok((value, duplicates))
}

struct Parser<'d> {
    path: String,
    duplicates: &'d mut Vec<String>,
}

impl<'de> DeserializeSeed<'de> for Parser<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Parser<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Value, E> {
        Ok(number.into())
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Value, E> {
        Ok(number.into())
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Value, E> {
        Ok(Number::from_f64(number).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Value, E> {
        Ok(text.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        loop {
            let path = Step::Item(items.len()).join(&self.path);
            match access.next_element_seed(Parser { path, duplicates: self.duplicates })? {
                Some(item) => items.push(item),
                None => return Ok(Value::Array(items)),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut members = Map::new();
        while let Some(name) = access.next_key::<String>()? {
            let path = Step::Member(name.clone()).join(&self.path);
            if members.contains_key(&name) {
                self.duplicates.push(path.clone());
            }
            let value = access.next_value_seed(Parser { path, duplicates: self.duplicates })?;
            members.insert(name, value);
        }
        Ok(Value::Object(members))
    }
}

/// Why text that does not parse is no document.
pub fn explain(json: &[u8], error: &serde_json::Error) -> String {
    // A google.protobuf.Struct reaches the module in protobuf's wire format: entries, each of which begins
    // with its key.
    if first_field(json).and_then(first_field).is_some_and(|key| std::str::from_utf8(key).is_ok()) {
        return "the configuration is not JSON text but a binary google.protobuf.Struct: \
                pass it as a google.protobuf.StringValue that holds the JSON"
            .to_owned();
    }
    // `serde_json` has no other way to tell this error from others.
    if error.to_string().starts_with("recursion limit exceeded") {
        let (line, column) = (error.line(), error.column());
        return format!(
            "the document is nested too deeply at line {line} column {column}: at most {DEEPEST} levels are possible"
        );
    }
    format!("the configuration is not JSON; `sidegate convert` turns YAML into JSON: {error}")
}

/// The content of field 1, if a protobuf message begins with it and it is length-delimited.
fn first_field(message: &[u8]) -> Option<&[u8]> {
    let rest = message.strip_prefix(&[0x0a])?;
    let last = rest.iter().take(4).position(|byte| *byte < 0x80)?;
    let (length, rest) = rest.split_at_checked(last.checked_add(1)?)?;
    let length =
        length.iter().rev().fold(0_usize, |length, byte| length.wrapping_shl(7) | usize::from(byte & 0x7f));
    rest.get(..length)
}

#[cfg(test)]
mod tests {
    #[cfg(all(target_family = "wasm", target_os = "unknown"))]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    fn values_are_those_of_serde_json() {
        let json = r#"{"a":[null,true,1,-1,1.5,18446744073709551615,"\u00e9"],"b":{}}"#;
        let (value, duplicates) = parse(json.as_bytes()).unwrap();
        assert_eq!(value, serde_json::from_str::<Value>(json).unwrap());
        assert!(duplicates.is_empty());
        assert!(parse(b"{} {}").is_err());
        assert!(parse("[".repeat(100_000).as_bytes()).is_err());
    }

    #[test]
    fn members_that_appear_twice_are_found_with_their_paths() {
        let (value, duplicates) = parse(br#"{"a":[{"b":1,"c":{"d":1,"d":2}},{"b":1,"b":2}],"a":0}"#).unwrap();
        assert_eq!(duplicates, ["a[0].c.d", "a[1].b", "a"]);
        assert_eq!(value["a"], 0);
    }
}
