//! The parameters of a query, and names that are looked for in a request.

use std::{borrow::Cow, cell::OnceCell, collections::HashMap};

use memchr::{memchr, memchr_iter, memchr2};
use rustc_hash::FxBuildHasher;

use crate::grammar::hex_digit;

/// The query of a request: the text after the first `?`. Everyone who needs its parameters shares one list,
/// which is made when it is first asked for.
#[derive(Debug, Default)]
pub struct Query<'q> {
    text: Option<&'q str>,
    parameters: OnceCell<Vec<Parameter<'q>>>,
}

/// A parameter of a query in form encoding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameter<'q> {
    /// The whole text between two `&`.
    pub pair: &'q str,
    /// What comes before the first `=`, decoded. Bytes that are not UTF-8 stay as they are.
    pub name: Cow<'q, [u8]>,
    /// Whether the escapes of the name are well-formed.
    pub escapes: Escapes,
    /// What comes after the first `=`, not decoded.
    pub value: &'q str,
}

// === impl Query ===

impl<'q> Query<'q> {
    /// The query in this text; `None` if the request has no `?`.
    pub const fn new(text: Option<&'q str>) -> Self {
        Self { text, parameters: OnceCell::new() }
    }

    /// The text.
    pub const fn text(&self) -> Option<&'q str> {
        self.text
    }

    /// Whether there are more than `most` parameters. Empty ones count.
    pub fn has_more_than(&self, most: usize) -> bool {
        memchr_iter(b'&', self.text.unwrap_or_default().as_bytes()).count() >= most.max(1)
    }

    /// The parameters, in order. Two `&` in a row have an empty one between them.
    pub fn parameters(&self) -> &[Parameter<'q>] {
        self.parameters.get_or_init(|| self.text.map(split).unwrap_or_default())
    }
}

fn split(mut text: &str) -> Vec<Parameter<'_>> {
    let mut parameters = Vec::new();
    loop {
        let end = memchr(b'&', text.as_bytes()).unwrap_or(text.len());
        let (pair, after) = text.split_at_checked(end).unwrap_or((text, ""));
        let equals = memchr(b'=', pair.as_bytes()).unwrap_or(end);
        let (name, value) = pair.split_at_checked(equals).unwrap_or((pair, ""));
        let (name, escapes) = if memchr2(b'%', b'+', name.as_bytes()).is_none() {
            (Cow::Borrowed(name.as_bytes()), Escapes::Whole)
        } else {
            let mut decoded = Vec::with_capacity(name.len());
            let escapes = decode(name, &mut decoded);
            (Cow::Owned(decoded), escapes)
        };
        parameters.push(Parameter { pair, name, escapes, value: value.get(1..).unwrap_or_default() });
        match after.get(1..) {
            Some(rest) => text = rest,
            None => return parameters,
        }
    }
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
    decoded.reserve(raw.len());
    let mut escapes = Escapes::Whole;
    let mut rest = raw.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        decoded.push(match byte {
            b'+' => b' ',
            b'%' => {
                let digits = after.split_first_chunk::<2>();
                match digits
                    .and_then(|([high, low], after)| Some((hex_digit(*high)? << 4 | hex_digit(*low)?, after)))
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

    /// The number of a form-encoded name, as [`decode`] reads it. `decoded` is room for the decoded one.
    pub fn find_encoded(&self, name: &str, decoded: &mut Vec<u8>) -> Option<usize> {
        // An escape has three bytes.
        if name.len() > self.longest.saturating_mul(3) {
            return None;
        }
        if memchr2(b'%', b'+', name.as_bytes()).is_none() {
            return self.find(name.as_bytes());
        }
        let _any = decode(name, decoded);
        self.find(decoded)
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
            let query = Query::new(Some(query));
            let text = |name: &[u8]| str::from_utf8(name).unwrap().to_owned();
            query.parameters().iter().map(|each| (text(&each.name), each.value)).collect::<Vec<_>>()
        };
        let owned = |pairs: &[(&str, &'static str)]| {
            pairs.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect::<Vec<_>>()
        };
        assert_eq!(
            split("a=b&c&=d&e=f=g&&"),
            owned(&[("a", "b"), ("c", ""), ("", "d"), ("e", "f=g"), ("", ""), ("", "")])
        );
        assert_eq!(split(""), owned(&[("", "")]));
        assert_eq!(split("a%20b=%20&+=+&%C3%A9"), owned(&[("a b", "%20"), (" ", "+"), ("é", "")]));
        let query = Query::new(Some("a=b&é"));
        assert_eq!(query.parameters().iter().map(|each| each.pair).collect::<Vec<_>>(), ["a=b", "é"]);
        assert!(Query::new(None).parameters().is_empty());
        let broken = Query::new(Some("%6=%zz&a=%zz"));
        let escapes: Vec<_> = broken.parameters().iter().map(|each| each.escapes).collect();
        assert_eq!(escapes, [Escapes::Broken, Escapes::Whole]);
    }

    #[test]
    fn empty_parameters_count() {
        for (query, count) in [(Some("a"), 1), (Some(""), 1), (Some("a&b"), 2), (Some("&&"), 3)] {
            let query = Query::new(query);
            assert_eq!(query.parameters().len(), count);
            assert!(query.has_more_than(count - 1) || count == 1);
            assert!(!query.has_more_than(count));
        }
        assert!(!Query::new(None).has_more_than(1));
    }

    #[test]
    fn names_are_found_decoded() {
        let names = Names::new([("a b", 0), ("é", 1), ("%zz", 2), ("a b", 3)]);
        let mut room = Vec::new();
        for (name, found) in [
            ("a+b", Some(0)),
            ("%61%20b", Some(0)),
            ("%C3%a9", Some(1)),
            ("é", Some(1)),
            ("%zz", Some(2)),
            ("a", None),
            ("%61%20%62%00", None),
            ("", None),
        ] {
            assert_eq!(names.find_encoded(name, &mut room), found, "{name}");
        }
        assert!(Names::default().is_empty() && !names.is_empty());
    }
}
