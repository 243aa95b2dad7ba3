//! The parameters of a query, and names that are looked for in a request.

use std::collections::HashMap;

use rustc_hash::FxBuildHasher;

/// A parameter of a query in form encoding, not decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parameter<'q> {
    /// The whole text between two `&`.
    pub pair: &'q str,
    /// What comes before the first `=`.
    pub name: &'q str,
    /// What comes after it.
    pub value: &'q str,
}

/// The parameters of a query, in order. Two `&` in a row have an empty one between them.
pub fn parameters(query: &str) -> impl Iterator<Item = Parameter<'_>> {
    let mut rest = Some(query);
    std::iter::from_fn(move || {
        let text = rest?;
        let end = text.bytes().position(|byte| byte == b'&').unwrap_or(text.len());
        let (pair, after) = text.split_at_checked(end)?;
        rest = after.get(1..);
        let end = pair.bytes().position(|byte| byte == b'=').unwrap_or(pair.len());
        let (name, value) = pair.split_at_checked(end)?;
        Some(Parameter { pair, name, value: value.get(1..).unwrap_or_default() })
    })
}

/// Whether the escapes of a text are well-formed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Escapes {
    /// All are.
    Whole,
    /// One is not, and stays as it is.
    Broken,
}

/// Decodes a form-encoded name or value into `decoded`, which need not be empty before. Bytes that are not
/// UTF-8 stay as they are.
pub fn decode(raw: &str, decoded: &mut Vec<u8>) -> Escapes {
    decoded.clear();
    let mut escapes = Escapes::Whole;
    let mut rest = raw.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        decoded.push(match byte {
            b'+' => b' ',
            b'%' => {
                let digits = after.split_first_chunk::<2>();
                match digits.and_then(|([high, low], after)| Some((digit(*high)? << 4 | digit(*low)?, after)))
                {
                    Some((byte, after)) => {
                        rest = after;
                        byte
                    }
                    None => {
                        escapes = Escapes::Broken;
                        b'%'
                    }
                }
            }
            byte => *byte,
        });
    }
    escapes
}

fn digit(byte: u8) -> Option<u8> {
    u8::try_from(char::from(byte).to_digit(16)?).ok()
}

/// Names that are looked for, each with a number. The hash has no key: strangers do not choose these names.
#[derive(Clone, Debug, Default)]
pub struct Names {
    numbers: HashMap<Box<[u8]>, usize, FxBuildHasher>,
    longest: usize,
}

impl Names {
    /// These names with their numbers. Of two equal names, the first counts.
    pub fn new<'n>(names: impl IntoIterator<Item = (&'n str, usize)>) -> Self {
        let mut all = Self::default();
        for (name, number) in names {
            all.longest = all.longest.max(name.len());
            all.numbers.entry(name.as_bytes().into()).or_insert(number);
        }
        all
    }

    /// Whether no name is looked for.
    pub fn is_empty(&self) -> bool {
        self.numbers.is_empty()
    }

    /// The number of a name.
    pub fn find(&self, name: &[u8]) -> Option<usize> {
        if name.len() > self.longest {
            return None;
        }
        self.numbers.get(name).copied()
    }

    /// The number of a form-encoded name. `decoded` is room for the decoded one.
    pub fn find_encoded(&self, name: &str, decoded: &mut Vec<u8>) -> Option<(usize, Escapes)> {
        // An escape has three bytes.
        if name.len() > self.longest.saturating_mul(3) {
            return None;
        }
        if !name.bytes().any(|byte| matches!(byte, b'%' | b'+')) {
            return self.find(name.as_bytes()).map(|number| (number, Escapes::Whole));
        }
        let escapes = decode(name, decoded);
        self.find(decoded).map(|number| (number, escapes))
    }
}

#[cfg(test)]
mod tests {
    #[cfg(all(target_family = "wasm", target_os = "unknown"))]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    fn a_query_is_split_at_ampersands_and_the_first_equals_sign() {
        let split = |query| {
            parameters(query).map(|Parameter { pair: _, name, value }| (name, value)).collect::<Vec<_>>()
        };
        assert_eq!(
            split("a=b&c&=d&e=f=g&&"),
            [("a", "b"), ("c", ""), ("", "d"), ("e", "f=g"), ("", ""), ("", "")]
        );
        assert_eq!(split(""), [("", "")]);
        assert_eq!(parameters("a=b&é").map(|parameter| parameter.pair).collect::<Vec<_>>(), ["a=b", "é"]);
    }

    #[test]
    fn names_are_found_decoded() {
        let names = Names::new([("a b", 0), ("é", 1), ("%zz", 2), ("a b", 3)]);
        let mut room = Vec::new();
        for (name, found) in [
            ("a+b", Some((0, Escapes::Whole))),
            ("%61%20b", Some((0, Escapes::Whole))),
            ("%C3%a9", Some((1, Escapes::Whole))),
            ("é", Some((1, Escapes::Whole))),
            ("%zz", Some((2, Escapes::Broken))),
            ("a", None),
            ("%61%20%62%00", None),
            ("", None),
        ] {
            assert_eq!(names.find_encoded(name, &mut room), found, "{name}");
        }
        assert!(Names::default().is_empty() && !names.is_empty());
    }
}
