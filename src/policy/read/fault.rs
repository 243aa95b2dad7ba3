//! The first thing that is wrong with the shape of a value, and where.

use std::fmt;

use serde::de::{self, Expected, Unexpected};

use super::path::Step;

/// What is wrong, and where below the value that was read.
#[derive(Debug)]
pub struct Fault {
    /// From the fault up to the value that was read.
    steps: Vec<Step>,
    kind: FaultKind,
}

/// What is wrong.
#[derive(Debug)]
pub enum FaultKind {
    /// A field is missing.
    Missing(&'static str),
    /// A map should have one entry, and has this many.
    Entries(usize),
    /// Anything else, in words.
    Other(String),
}

impl Fault {
    /// A fault of the value itself.
    pub fn new(kind: FaultKind) -> Self {
        Self { steps: Vec::new(), kind }
    }

    /// A fault of the value itself, in words.
    pub fn other(message: impl Into<String>) -> Self {
        Self::new(FaultKind::Other(message.into()))
    }

    /// The same fault, seen from the value that `step` leads down from.
    pub fn below(mut self, step: Step) -> Self {
        self.steps.push(step);
        self
    }

    /// What is wrong.
    pub fn kind(&self) -> &FaultKind {
        &self.kind
    }

    /// Where it is, from the value that was read down.
    pub fn path(&self) -> Vec<Step> {
        self.steps.iter().rev().cloned().collect()
    }
}

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(field) => write!(f, "missing field `{field}`"),
            Self::Entries(count) => write!(f, "invalid value: map with {count} entries, expected one entry"),
            Self::Other(message) => f.write_str(message),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.kind.fmt(f)
    }
}

impl std::error::Error for Fault {}

/// Values that were found are not repeated: they may be secrets.
impl de::Error for Fault {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::other(message.to_string())
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::other(format!("invalid type: {}, expected {}", kind_of(found), in_words(expected)))
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::other(format!("invalid value: {}, expected {}", kind_of(found), in_words(expected)))
    }

    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        Self::other(format!("unknown field `{field}`, expected {}", alternatives(expected)))
    }

    fn missing_field(field: &'static str) -> Self {
        Self::new(FaultKind::Missing(field))
    }
}

/// The alternatives in backticks: `a`, `a` or `b`, one of `a`, `b`, `c`.
pub fn alternatives(names: &[impl AsRef<str>]) -> String {
    let quoted: Vec<_> = names.iter().map(|name| format!("`{}`", name.as_ref())).collect();
    match quoted.as_slice() {
        [] => "nothing".to_owned(),
        [one] => one.clone(),
        [one, other] => format!("{one} or {other}"),
        all => format!("one of {}", all.join(", ")),
    }
}

fn kind_of(found: Unexpected<'_>) -> &'static str {
    match found {
        Unexpected::Unit | Unexpected::Option => "null",
        Unexpected::Bool(_) => "boolean",
        Unexpected::Unsigned(_) | Unexpected::Signed(_) => "integer",
        Unexpected::Float(_) => "fraction",
        Unexpected::Str(_) | Unexpected::Char(_) => "string",
        Unexpected::Seq => "list",
        _ => "map",
    }
}

/// What serde expected, without the names of Rust's types.
fn in_words(expected: &dyn Expected) -> String {
    let expected = expected.to_string();
    match expected.as_str() {
        "a sequence" => "a list".to_owned(),
        "u32" => "a whole number from 0 to 4294967295".to_owned(),
        "u64" => "a whole number from 0 on".to_owned(),
        "unit" => "null".to_owned(),
        _ => expected,
    }
}

#[cfg(test)]
mod tests {
    #[cfg(all(target_family = "wasm", target_os = "unknown"))]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    fn alternatives_read_as_a_sentence() {
        for (names, words) in [
            (&["a"][..], "`a`"),
            (&["a", "b"], "`a` or `b`"),
            (&["a", "b", "c"], "one of `a`, `b`, `c`"),
            (&[], "nothing"),
        ] {
            assert_eq!(alternatives(names), words);
        }
    }
}
