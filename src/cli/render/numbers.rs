//! Numbers that Istio would change.
//!
//! Istio reads a plugin's configuration into a `google.protobuf.Struct`, which holds all numbers as
//! floating-point: whole numbers beyond 2^53 are rounded.

use std::fmt;

use serde_json::Value;

const EXACT: u64 = 1 << 53;

/// A number that would not keep its value.
pub struct Rounded {
    /// The path of the number.
    pub path: String,
}

impl fmt::Display for Rounded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: Istio rounds numbers above 2^53, so this one would change", self.path)
    }
}

/// The numbers that would not keep their value.
pub fn rounded(policy: &Value) -> Vec<Rounded> {
    let mut found = Vec::new();
    collect(policy, String::new(), &mut found);
    found
}

fn collect(value: &Value, path: String, found: &mut Vec<Rounded>) {
    match value {
        Value::Number(number) => {
            let size = number.as_u64().or_else(|| number.as_i64().map(i64::unsigned_abs));
            if size.is_some_and(|size| size > EXACT) {
                found.push(Rounded { path });
            }
        }
        Value::Array(list) => {
            for (index, entry) in list.iter().enumerate() {
                collect(entry, format!("{path}[{index}]"), found);
            }
        }
        Value::Object(map) => {
            for (key, entry) in map {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                collect(entry, path, found);
            }
        }
        Value::Null | Value::Bool(_) | Value::String(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_whole_numbers_beyond_two_to_the_53_are_found() {
        let rounded = |policy| -> Vec<_> { rounded(&policy).into_iter().map(|number| number.path).collect() };
        let exact = 1_u64 << 53;
        let policy = json!({"a": [exact, exact + 1], "b": {"c": -9_007_199_254_740_993_i64, "d": 0.1, "e": "9007199254740993"}});
        assert_eq!(rounded(policy), ["a[1]", "b.c"]);
        assert_eq!(rounded(json!({"a": u64::MAX, "b": 1e300, "c": i64::MIN})), ["a", "c"]);
    }
}
