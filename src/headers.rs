//! Header fields: those of a request as the host hands them over, and those that Sidegate writes itself.

use std::borrow::Cow;

/// The header map of a request: pseudo-headers included, names in lower case, in the order received.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeaderMap(Vec<(String, Vec<u8>)>);

impl HeaderMap {
    /// All fields, one item per line of the request.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> + Clone {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_slice()))
    }

    /// How much memory the fields take, in bytes.
    pub fn bytes(&self) -> usize {
        self.iter().fold(0, |sum, (name, value)| sum.saturating_add(name.len()).saturating_add(value.len()))
    }
}

impl From<Vec<(String, Vec<u8>)>> for HeaderMap {
    fn from(fields: Vec<(String, Vec<u8>)>) -> Self {
        Self(fields)
    }
}

/// Header fields that Sidegate writes, in order: of a reply, of a response, or of a call to a provider. Names are in lower case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeaderList(Vec<(Cow<'static, str>, String)>);

impl HeaderList {
    /// No fields.
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// No fields, and room for `capacity` of them.
    pub fn with_capacity(capacity: usize) -> Self {
        Self(Vec::with_capacity(capacity))
    }

    /// Adds a field; earlier ones of the same name stay.
    pub fn push(&mut self, name: impl Into<Cow<'static, str>>, value: impl Into<String>) {
        self.0.push((name.into(), value.into()));
    }

    /// Adds all fields of `other`.
    pub fn append(&mut self, mut other: Self) {
        if self.0.is_empty() {
            *self = other;
        } else {
            self.0.append(&mut other.0);
        }
    }

    /// All fields.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> + Clone {
        self.0.iter().map(|(name, value)| (name.as_ref(), value.as_str()))
    }

    /// The first value of `name`.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter().find(|(other, _)| *other == name).map(|(_, value)| value)
    }

    /// All values of `name`.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.iter().filter(move |(other, _)| *other == name).map(|(_, value)| value)
    }

    /// Whether there are no fields.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<const N: usize> From<[(&'static str, &str); N]> for HeaderList {
    fn from(fields: [(&'static str, &str); N]) -> Self {
        Self(fields.into_iter().map(|(name, value)| (Cow::Borrowed(name), value.to_owned())).collect())
    }
}

#[cfg(test)]
mod tests {
    #[cfg(all(target_family = "wasm", target_os = "unknown"))]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    fn a_list_keeps_order_and_repeated_names() {
        let mut list = HeaderList::from([("a", "1"), ("b", "2")]);
        list.append(HeaderList::from([("a", "3")]));
        assert_eq!(list.iter().collect::<Vec<_>>(), [("a", "1"), ("b", "2"), ("a", "3")]);
        assert_eq!((list.get("a"), list.get("c")), (Some("1"), None));
        assert_eq!(list.all("a").collect::<Vec<_>>(), ["1", "3"]);
    }

    #[test]
    fn the_size_of_a_map_is_that_of_its_names_and_values() {
        let map = HeaderMap::from(vec![("ab".to_owned(), b"cde".to_vec()), ("f".to_owned(), Vec::new())]);
        assert_eq!(map.bytes(), 6);
    }
}
