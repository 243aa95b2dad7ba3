//! The claims that a policy asks for, beside those that are read of every token: which are kept in a token's
//! record, and what the record says about them.
//!
//! A claim is kept if a rule requires a value of it, or a header holds it. If only rules require it, no more
//! than the required values are kept, so that a token with hundreds of groups takes little room.

use std::{borrow::Cow, collections::BTreeSet};

use serde::Deserializer;
use serde_json::Value;

use super::claim_path::{ClaimPath, ClaimValue, collect};
use crate::credential::Digest;

/// The claims that a policy asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AskedClaims(Vec<AskedClaim>);

/// A claim among those that a policy asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClaimIndex(usize);

#[derive(Clone, Debug, PartialEq, Eq)]
struct AskedClaim {
    path: ClaimPath,
    /// Whether a header holds the claim.
    is_shown: bool,
    /// The values that rules require.
    required: BTreeSet<String>,
}

/// The claims of a token that the policy asks for: a line for each. Its first character says what follows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeptClaims<'a>(pub(super) Cow<'a, str>);

/// A claim with one value.
const ONE: char = '=';
/// A claim with a list of values.
const MANY: char = '[';
/// Those values of a claim that rules require.
const REQUIRED: char = '~';
/// Between claims.
const LINE: char = '\n';
/// Between values.
const VALUE: char = '\t';

impl AskedClaims {
    /// The most claims that a policy asks for.
    pub const MOST: usize = 64;
    /// The most bytes that are kept of a token's claims for headers. A claim beyond is not cut but left out.
    pub const MOST_SHOWN: usize = 4096;

    /// Asks for these values of a claim.
    pub fn require(&mut self, path: ClaimPath, values: &[String]) -> ClaimIndex {
        let index = self.index_or_new(path);
        if let Some(claim) = self.0.get_mut(index) {
            claim.required.extend(values.iter().cloned());
        }
        ClaimIndex(index)
    }

    /// Asks for a whole claim.
    pub fn show(&mut self, path: ClaimPath) {
        let index = self.index_or_new(path);
        if let Some(claim) = self.0.get_mut(index) {
            claim.is_shown = true;
        }
    }

    /// The claim at a path.
    pub fn index(&self, path: &ClaimPath) -> Option<ClaimIndex> {
        self.0.iter().position(|claim| claim.path == *path).map(ClaimIndex)
    }

    /// How many there are.
    pub const fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A digest that differs if something else is asked for.
    pub(super) fn digest(&self) -> Digest {
        Digest::of(format!("{:?}", self.0).as_bytes())
    }

    /// What is kept of the claims in a JSON object; `None` if a member that leads to one appears twice.
    pub(super) fn keep_of(&self, json: &[u8]) -> Option<KeptClaims<'static>> {
        if self.is_empty() {
            return Some(KeptClaims::default());
        }
        self.keep(&mut serde_json::Deserializer::from_slice(json))
    }

    /// The same of the object that a member of a JSON object is. Somebody who is trusted has signed it, so it
    /// is not read as strictly.
    pub(super) fn keep_of_member(&self, json: &[u8], name: &str) -> Option<KeptClaims<'static>> {
        if self.is_empty() {
            return Some(KeptClaims::default());
        }
        let object: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(json).ok()?;
        self.keep(object.get(name)?)
    }

    /// The same for an object that is read already.
    pub(super) fn keep_of_value(&self, claims: &Value) -> Option<KeptClaims<'static>> {
        if self.is_empty() { Some(KeptClaims::default()) } else { self.keep(claims) }
    }

    fn keep<'de>(&self, claims: impl Deserializer<'de>) -> Option<KeptClaims<'static>> {
        let found = collect(claims, self.0.iter().map(|claim| &claim.path)).ok()?;
        let mut kept = String::new();
        let mut room = Self::MOST_SHOWN;
        for (claim, value) in self.0.iter().zip(found) {
            claim.keep(value, &mut kept, &mut room);
            kept.push(LINE);
        }
        Some(KeptClaims(Cow::Owned(kept)))
    }

    fn index_or_new(&mut self, path: ClaimPath) -> usize {
        self.index(&path).map_or_else(
            || {
                self.0.push(AskedClaim { path, is_shown: false, required: BTreeSet::new() });
                self.0.len().saturating_sub(1)
            },
            |ClaimIndex(index)| index,
        )
    }
}

impl AskedClaim {
    fn keep(&self, value: Option<ClaimValue>, kept: &mut String, room: &mut usize) {
        let (kind, mut values) = match value {
            None => return,
            Some(ClaimValue::One(value)) => (ONE, vec![value]),
            Some(ClaimValue::Many(values)) => (MANY, values),
        };
        // No header can hold control characters, and no rule can require them.
        values.retain(|value| !value.is_empty() && !value.chars().any(char::is_control));
        let size = values.iter().map(|value| value.len().saturating_add(1)).sum();
        if self.is_shown
            && let Some(left) = room.checked_sub(size)
        {
            *room = left;
            kept.push(kind);
        } else {
            values.retain(|value| self.required.contains(value));
            kept.push(REQUIRED);
        }
        for (place, value) in values.iter().enumerate() {
            if place > 0 {
                kept.push(VALUE);
            }
            kept.push_str(value);
        }
    }
}

impl KeptClaims<'_> {
    /// Whether the claim has one of `values`.
    pub fn have(&self, ClaimIndex(index): ClaimIndex, values: &[String]) -> bool {
        let line = self.0.split(LINE).nth(index).unwrap_or_default();
        let own = line.strip_prefix([ONE, MANY, REQUIRED]).unwrap_or_default();
        own.split(VALUE).any(|own| values.iter().any(|value| value == own))
    }

    /// The claim as text, with commas between the values of a list; `None` if the token does not have it, or
    /// if it is too long. Values with commas are left out of a list, where they would look like several.
    pub fn shown(&self, ClaimIndex(index): ClaimIndex) -> Option<Cow<'_, str>> {
        let line = self.0.split(LINE).nth(index)?;
        if let Some(value) = line.strip_prefix(ONE) {
            return Some(Cow::Borrowed(value));
        }
        let list: Vec<_> =
            line.strip_prefix(MANY)?.split(VALUE).filter(|value| !value.contains(',')).collect();
        match list.as_slice() {
            [] => None,
            [one] => Some(Cow::Borrowed(one)),
            _ => Some(Cow::Owned(list.join(","))),
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    #[cfg(all(target_family = "wasm", target_os = "unknown"))]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    fn path(text: &str) -> ClaimPath {
        ClaimPath::parse(text).unwrap()
    }

    fn keep<'a>(asked: &AskedClaims, claims: &str) -> KeptClaims<'a> {
        asked.keep(&mut serde_json::Deserializer::from_str(claims)).unwrap()
    }

    fn texts(values: &[&str]) -> Vec<String> {
        values.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_rules_require_is_kept_and_nothing_more() {
        let mut asked = AskedClaims::default();
        let org = asked.require(path("org.id"), &texts(&["acme", "globex"]));
        let roles = asked.require(path("roles"), &texts(&["writer"]));
        assert_eq!(asked.require(path("roles"), &texts(&["admin"])), roles);
        let kept = keep(&asked, r#"{"org":{"id":"acme"},"roles":["reader","writer","a,b"],"email":"x"}"#);
        assert_eq!(kept.0, "~acme\n~writer\n");
        assert!(kept.have(org, &texts(&["x", "acme"])) && kept.have(roles, &texts(&["writer"])));
        assert!(!kept.have(org, &texts(&["globex"])) && !kept.have(roles, &texts(&["admin"])));
        assert_eq!((kept.shown(org), kept.shown(roles)), (None, None), "only a part of it may be here");
        let kept = keep(&asked, r#"{"org":{"id":"initech"},"roles":{"writer":true}}"#);
        assert!(!kept.have(org, &texts(&["acme", "globex"])) && !kept.have(roles, &texts(&["writer"])));
        let kept = keep(&asked, "{}");
        assert!(!kept.have(org, &texts(&["acme"])) && !kept.have(roles, &texts(&["writer"])));
        assert!(!KeptClaims::default().have(org, &texts(&["acme"])));
    }

    #[test]
    fn headers_show_whole_claims_and_lists_with_commas() {
        let mut asked = AskedClaims::default();
        for claim in ["name", "roles", "empty", "level"] {
            asked.show(path(claim));
        }
        let claims = r#"{"name":"Doe, Jane","roles":["a","b,c","d\r\nx","e"],"empty":[],"level":3}"#;
        let kept = keep(&asked, claims);
        let shown = |claim| kept.shown(asked.index(&path(claim)).unwrap());
        assert_eq!(shown("name").as_deref(), Some("Doe, Jane"));
        assert_eq!(shown("roles").as_deref(), Some("a,e"));
        assert_eq!(shown("empty").as_deref(), Some(""), "which leaves a header out");
        assert_eq!(shown("level").as_deref(), Some("3"));
        assert_eq!(asked.index(&path("other")), None);
    }

    #[test]
    fn a_claim_beyond_the_room_is_left_out_and_rules_can_still_require_it() {
        let mut asked = AskedClaims::default();
        asked.show(path("long"));
        asked.show(path("short"));
        asked.require(path("long"), &texts(&["wanted"]));
        let claims = |length: usize| format!(r#"{{"long":["wanted","{}"],"short":"s"}}"#, "x".repeat(length));
        let index = |claim| asked.index(&path(claim)).unwrap();
        for (length, is_shown) in [(4088, true), (4089, false)] {
            let kept = keep(&asked, &claims(length));
            assert_eq!(kept.shown(index("long")).is_some(), is_shown, "{length}");
            assert!(kept.have(index("long"), &texts(&["wanted"])));
            assert!(kept.0.len() <= AskedClaims::MOST_SHOWN + 8);
        }
        assert_eq!(keep(&asked, &claims(4089)).shown(index("short")).as_deref(), Some("s"));
    }

    #[test]
    fn whoever_asks_for_something_else_has_another_digest() {
        let mut asked = AskedClaims::default();
        let mut digests = vec![asked.digest()];
        asked.require(path("a"), &texts(&["x"]));
        digests.push(asked.digest());
        asked.require(path("a"), &texts(&["y"]));
        digests.push(asked.digest());
        asked.show(path("a"));
        digests.push(asked.digest());
        asked.show(path("a.b"));
        digests.push(asked.digest());
        let distinct: BTreeSet<_> = digests.iter().map(|digest| digest.to_hex()).collect();
        assert_eq!(distinct.len(), digests.len());
    }
}
