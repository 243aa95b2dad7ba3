//! Paths to claims, such as `realm_access.roles`, and reading what a token has there.

use std::fmt;

use serde::de::{
    Deserialize, DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor,
};

/// The path to a claim: names of members, from the outside to the inside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimPath(Box<[Box<str>]>);

/// Why a text is not the path to a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidClaimPath {
    /// A name is empty, or has a control character.
    #[error("not a path to a claim: expected names separated by dots, such as `org.id`")]
    Name,
    /// A backslash before anything else.
    #[error("a backslash in a path to a claim must be followed by a dot or another backslash")]
    Escape,
    /// There are too many names, or too many bytes.
    #[error(
        "a path to a claim must not have more than {} names or {} bytes",
        ClaimPath::MOST_NAMES,
        ClaimPath::MOST_BYTES
    )]
    TooLong,
}

/// What a token says in a claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ClaimValue {
    /// One value.
    One(String),
    /// A list of values.
    Many(Vec<String>),
}

impl ClaimPath {
    const MOST_NAMES: usize = 8;
    const MOST_BYTES: usize = 256;

    /// Parses names that are separated by dots. `\.` is a dot in a name, and `\\` a backslash.
    ///
    /// # Errors
    ///
    /// The text is not a path, or too long.
    pub fn parse(text: &str) -> Result<Self, InvalidClaimPath> {
        if text.len() > Self::MOST_BYTES {
            return Err(InvalidClaimPath::TooLong);
        }
        let mut names = vec![String::new()];
        let mut rest = text.chars();
        while let Some(c) = rest.next() {
            let c = match c {
                '.' => {
                    names.push(String::new());
                    continue;
                }
                '\\' => rest.next().filter(|c| matches!(c, '.' | '\\')).ok_or(InvalidClaimPath::Escape)?,
                c if c.is_control() => return Err(InvalidClaimPath::Name),
                c => c,
            };
            if let Some(name) = names.last_mut() {
                name.push(c);
            }
        }
        if names.iter().any(String::is_empty) {
            return Err(InvalidClaimPath::Name);
        }
        if names.len() > Self::MOST_NAMES {
            return Err(InvalidClaimPath::TooLong);
        }
        Ok(Self(names.into_iter().map(String::into_boxed_str).collect()))
    }

    /// The names, from the outside to the inside.
    pub(super) fn names(&self) -> &[Box<str>] {
        &self.0
    }
}

/// Reads what a token has at each of `paths`; `None` where that is no value and no list of values. Numbers
/// and truth values count as the texts that they are written with.
///
/// # Errors
///
/// The claims are not an object, or a member that leads to a claim appears twice.
pub(super) fn collect<'de, 'p, D: Deserializer<'de>>(
    claims: D,
    paths: impl ExactSizeIterator<Item = &'p ClaimPath>,
) -> Result<Vec<Option<ClaimValue>>, D::Error> {
    let mut found = Vec::new();
    found.resize_with(paths.len(), || None);
    let wanted = paths.enumerate().map(|(index, path)| Wanted { index, rest: path.names() }).collect();
    Member { wanted, found: &mut found }.deserialize(claims)?;
    Ok(found)
}

/// A claim that is wanted, and the names that lead to it from here.
#[derive(Clone, Copy)]
struct Wanted<'p> {
    index: usize,
    rest: &'p [Box<str>],
}

/// A member of the claims, and what is wanted there.
struct Member<'p, 'f> {
    wanted: Vec<Wanted<'p>>,
    found: &'f mut [Option<ClaimValue>],
}

impl Member<'_, '_> {
    /// Records the value for those claims whose path ends here.
    fn take(self, value: &ClaimValue) {
        for wanted in self.wanted.iter().filter(|wanted| wanted.rest.is_empty()) {
            if let Some(found) = self.found.get_mut(wanted.index) {
                *found = Some(value.clone());
            }
        }
    }

    fn take_text(self, text: impl ToString) {
        self.take(&ClaimValue::One(text.to_string()));
    }
}

impl<'de> DeserializeSeed<'de> for Member<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Member<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a claim")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        let mut seen: Vec<Box<str>> = Vec::new();
        while let Some(name) = members.next_key::<Box<str>>()? {
            let inside = |wanted: &Wanted<'_>| match wanted.rest.split_first() {
                Some((first, _)) => *first == name,
                None => false,
            };
            let wanted: Vec<_> = self
                .wanted
                .iter()
                .filter(|wanted| inside(wanted))
                .map(|wanted| Wanted { rest: wanted.rest.get(1..).unwrap_or_default(), ..*wanted })
                .collect();
            if wanted.is_empty() {
                members.next_value::<IgnoredAny>()?;
                continue;
            }
            if seen.contains(&name) {
                return Err(A::Error::custom("a claim appears twice"));
            }
            seen.push(name);
            members.next_value_seed(Member { wanted, found: self.found })?;
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element::<Item>()? {
            list.extend(item.0);
        }
        self.take(&ClaimValue::Many(list));
        Ok(())
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        self.take_text(text);
        Ok(())
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<(), E> {
        self.take_text(value);
        Ok(())
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<(), E> {
        self.take_text(number);
        Ok(())
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<(), E> {
        self.take_text(number);
        Ok(())
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<(), E> {
        self.take_text(number);
        Ok(())
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }
}

/// An item of a list, if it is a value.
struct Item(Option<String>);

impl<'de> Deserialize<'de> for Item {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Value;

        impl<'de> Visitor<'de> for Value {
            type Value = Item;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an item of a claim")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Item, E> {
                Ok(Item(Some(text.to_owned())))
            }

            fn visit_bool<E: Error>(self, value: bool) -> Result<Item, E> {
                Ok(Item(Some(value.to_string())))
            }

            fn visit_u64<E: Error>(self, number: u64) -> Result<Item, E> {
                Ok(Item(Some(number.to_string())))
            }

            fn visit_i64<E: Error>(self, number: i64) -> Result<Item, E> {
                Ok(Item(Some(number.to_string())))
            }

            fn visit_f64<E: Error>(self, number: f64) -> Result<Item, E> {
                Ok(Item(Some(number.to_string())))
            }

            fn visit_unit<E: Error>(self) -> Result<Item, E> {
                Ok(Item(None))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Item, A::Error> {
                while items.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Item(None))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Item, A::Error> {
                while members.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(Item(None))
            }
        }

        deserializer.deserialize_any(Value)
    }
}

#[cfg(test)]
mod tests {
    #[cfg(all(target_family = "wasm", target_os = "unknown"))]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    fn one(text: &str) -> Option<ClaimValue> {
        Some(ClaimValue::One(text.to_owned()))
    }

    fn many(texts: &[&str]) -> Option<ClaimValue> {
        Some(ClaimValue::Many(texts.iter().map(ToString::to_string).collect()))
    }

    fn read(claims: &str, paths: &[&str]) -> Option<Vec<Option<ClaimValue>>> {
        let paths: Vec<_> = paths.iter().map(|path| ClaimPath::parse(path).unwrap()).collect();
        collect(&mut serde_json::Deserializer::from_str(claims), paths.iter()).ok()
    }

    #[test]
    fn a_path_leads_into_objects_and_a_dot_in_a_name_is_escaped() {
        let claims = r#"{"a":{"b":{"c":"x"},"l":["y",1,true,-2,0.5,null,{"z":1},["w"],3e0]},"a.b":"dotted","n":null,
            "https://example.com/team":"blue","f":1e2,"e":""}"#;
        let paths = [
            "a.b.c",
            "a.l",
            r"a\.b",
            "a",
            "a.b",
            "n",
            r"https://example\.com/team",
            "f",
            "e",
            "a.b.c.d",
            "x",
        ];
        let values = [
            one("x"),
            many(&["y", "1", "true", "-2", "0.5", "3"]),
            one("dotted"),
            None,
            None,
            None,
            one("blue"),
            one("100"),
            one(""),
            None,
            None,
        ];
        assert_eq!(read(claims, &paths).unwrap(), values);
        assert_eq!(read(claims, &[]).unwrap(), []);
    }

    #[test]
    fn members_that_lead_to_a_claim_appear_once() {
        assert_eq!(read(r#"{"a":"x","a":"y"}"#, &["a"]), None);
        assert_eq!(read(r#"{"a":{"b":"x"},"a":{"c":"y"}}"#, &["a.b"]), None);
        assert_eq!(read(r#"{"a":{"b":1,"b":2}}"#, &["a.b"]), None);
        assert_eq!(read(r#"{"a":{"c":1,"c":2,"b":"x"},"d":1,"d":2}"#, &["a.b"]), Some(vec![one("x")]));
        assert_eq!(read(&"[".repeat(10_000), &["a"]), None);
    }

    #[test]
    fn invalid_paths_are_errors() {
        use InvalidClaimPath::{Escape, Name, TooLong};
        for (text, expected) in [
            ("", Name),
            (".", Name),
            ("a..b", Name),
            ("a.", Name),
            ("a\n", Name),
            (r"a\b", Escape),
            (r"a\", Escape),
            ("a.b.c.d.e.f.g.h.i", TooLong),
            (&"a".repeat(257), TooLong),
        ] {
            assert_eq!(ClaimPath::parse(text), Err(expected), "{text}");
        }
        assert_eq!(ClaimPath::parse(r"a\\.b").unwrap().names().len(), 2);
    }
}
