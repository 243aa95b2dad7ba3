//! The places of a document's attributes in its text.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{Location, Spanned};

use super::input::options;

/// A line and a column, counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The line.
    pub line: u64,
    /// The column, in characters.
    pub column: u64,
}

/// The places of all values in a document, in YAML or JSON.
pub struct Places(Node);

struct Node {
    place: Place,
    content: Content,
}

enum Content {
    Scalar,
    List(Vec<Node>),
    /// The names, each with its own place.
    Map(Vec<(Place, String, Node)>),
}

impl Places {
    /// The places in a text; `None` if it cannot be read.
    pub fn of(text: &[u8]) -> Option<Self> {
        serde_saphyr::from_slice_with_options(text, options()).ok().map(Self)
    }

    /// The place of the attribute at a path such as `apis[0].rules[2].path`. If the attribute is missing, the
    /// place of the closest parent.
    pub fn find(&self, path: &str) -> Option<Place> {
        if path.is_empty() {
            return None;
        }
        let (mut node, mut place, mut rest) = (&self.0, self.0.place, path);
        while !rest.is_empty() {
            let step = match &node.content {
                Content::List(items) => item(items, rest),
                Content::Map(members) => member(members, rest),
                Content::Scalar => None,
            };
            let Some(step) = step else { break };
            (place, node, rest) = step;
        }
        Some(place)
    }
}

/// The item at the start of the path: its place, the item, and the rest of the path.
fn item<'n, 'p>(items: &'n [Node], path: &'p str) -> Option<(Place, &'n Node, &'p str)> {
    let (index, rest) = path.strip_prefix('[')?.split_once(']')?;
    let node = items.get(index.parse::<usize>().ok()?)?;
    Some((node.place, node, rest))
}

/// The same for a member. Names may contain dots and brackets, so the longest matching name wins.
fn member<'n, 'p>(members: &'n [(Place, String, Node)], path: &'p str) -> Option<(Place, &'n Node, &'p str)> {
    let path = path.strip_prefix('.').unwrap_or(path);
    let fitting = members.iter().filter_map(|(place, name, node)| {
        let rest = path.strip_prefix(name.as_str())?;
        (rest.is_empty() || rest.starts_with(['.', '['])).then_some((*place, node, rest))
    });
    fitting.min_by_key(|(_, _, rest)| rest.len())
}

impl From<Location> for Place {
    fn from(location: Location) -> Self {
        Self { line: location.line(), column: location.column() }
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Spanned { value, referenced, .. } = Spanned::<Content>::deserialize(deserializer)?;
        Ok(Self { place: referenced.into(), content: value })
    }
}

impl<'de> Deserialize<'de> for Content {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Contents)
    }
}

struct Contents;

impl<'de> Visitor<'de> for Contents {
    type Value = Content;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E: Error>(self) -> Result<Content, E> {
        Ok(Content::Scalar)
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Content, E> {
        Ok(Content::Scalar)
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<Content, E> {
        Ok(Content::Scalar)
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<Content, E> {
        Ok(Content::Scalar)
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Content, E> {
        Ok(Content::Scalar)
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<Content, E> {
        Ok(Content::Scalar)
    }

    fn visit_none<E: Error>(self) -> Result<Content, E> {
        Ok(Content::Scalar)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Content, D::Error> {
        IgnoredAny::deserialize(deserializer).map(|_| Content::Scalar)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Content, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element()? {
            items.push(item);
        }
        Ok(Content::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Content, A::Error> {
        let mut members = Vec::new();
        while let Some(Spanned { value, referenced, .. }) = access.next_key::<Spanned<String>>()? {
            members.push((referenced.into(), value, access.next_value()?));
        }
        Ok(Content::Map(members))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const YAML: &str = "\
# a policy
sidegate: v1
plans:
  a.b: {limits: 5}
  a: {x: 1}
apis:
  - name: orders
    rules:
    - path: /a
    - {path: /b, methods: [GET, PUT]}
";

    #[test]
    fn attributes_are_found_by_their_names_and_items_by_themselves() {
        let places = Places::of(YAML.as_bytes()).unwrap();
        for (path, expected) in [
            ("sidegate", (2, 1)),
            ("plans.a.b.limits", (4, 9)),
            ("plans.a.b", (4, 3)),
            ("plans.a.x", (5, 7)),
            ("apis[0]", (7, 5)),
            ("apis[0].rules[0].path", (9, 7)),
            ("apis[0].rules[1].methods[1]", (10, 33)),
            // A missing attribute has the place of its parent.
            ("apis[0].rules[1].access[3].introspection", (10, 7)),
        ] {
            let Place { line, column } = places.find(path).unwrap();
            assert_eq!((line, column), expected, "{path}");
        }
        assert_eq!(places.find(""), None);
    }

    #[test]
    fn json_has_places_as_well() {
        let places =
            Places::of(b"{\n\t\"sidegate\": \"v1\",\n\t\"apis\": [\n\t\t{\"name\": \"a\"}\n\t]\n}\n")
                .unwrap();
        assert_eq!(places.find("apis[0].name"), Some(Place { line: 4, column: 4 }));
        assert!(Places::of(b"{").is_none());
    }

    #[test]
    fn aliases_and_merged_maps_are_where_they_are_used() {
        let places = Places::of(b"a: &x {k: 1}\nb: *x\nc:\n  <<: *x\n").unwrap();
        assert_eq!(places.find("b.k").map(|place| place.line), Some(2));
        assert_eq!(places.find("c.k").map(|place| place.line), Some(4));
    }
}
