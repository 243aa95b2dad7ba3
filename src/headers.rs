//! Header fields: those of a request as received from the host, and those that Sidegate writes.

use std::borrow::Cow;

/// The header map of a request: pseudo-headers included, names in lower case, in the order received.
///
/// The texts stay in the bytes in which proxy-wasm hands the map over. All numbers are little-endian:
///
/// ```text
/// count (4) | name length (4) value length (4) | …     a pair of lengths for each field
///           | name 0 value 0 | …                       two texts for each field, each ended by a zero
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeaderMap {
    bytes: Vec<u8>,
    fields: Vec<Field>,
}

/// Where the texts of a field are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Field {
    name: Span,
    value: Span,
}

/// A part of the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Span {
    start: usize,
    end: usize,
}

impl HeaderMap {
    /// The map in these bytes. Where they end too early, so does the map.
    pub fn from_bytes(bytes: Vec<u8>) -> Self {
        let fields = index(&bytes).unwrap_or_default();
        Self { bytes, fields }
    }

    /// All fields as bytes, one item per line of the request.
    pub fn lines(&self) -> impl Iterator<Item = (&[u8], &[u8])> + Clone {
        self.fields.iter().map(|field| (self.text(field.name), self.text(field.value)))
    }

    /// All fields, one item per line of the request. A name that is not UTF-8 is empty.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> + Clone {
        self.lines().map(|(name, value)| (str::from_utf8(name).unwrap_or_default(), value))
    }

    /// The values of `name`, one item per line of the request.
    pub fn values(&self, name: &str) -> impl Iterator<Item = &[u8]> + Clone {
        self.fields
            .iter()
            .filter(move |field| self.text(field.name) == name.as_bytes())
            .map(|field| self.text(field.value))
    }

    fn text(&self, span: Span) -> &[u8] {
        self.bytes.get(span.start..span.end).unwrap_or_default()
    }

    /// How many fields there are.
    pub const fn len(&self) -> usize {
        self.fields.len()
    }

    /// Whether there are no fields.
    pub const fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }

    /// The total size of the fields, in bytes.
    pub const fn bytes(&self) -> usize {
        self.bytes.len()
    }
}

/// Where the fields are in the bytes of a map.
fn index(bytes: &[u8]) -> Option<Vec<Field>> {
    let number = |bytes: &[u8; 4]| usize::try_from(u32::from_le_bytes(*bytes)).ok();
    let (count, rest) = bytes.split_first_chunk()?;
    let lengths = number(count)?.checked_mul(8)?;
    let (pairs, _) = rest.split_at_checked(lengths)?.0.as_chunks::<8>();
    let mut fields = Vec::with_capacity(pairs.len());
    let mut next = lengths.checked_add(4)?;
    let mut text = |length: &[u8; 4]| {
        let span = Span { start: next, end: next.checked_add(number(length)?)? };
        next = span.end.checked_add(1)?;
        (next <= bytes.len()).then_some(span)
    };
    for pair in pairs {
        let (name, value) = (pair.first_chunk()?, pair.last_chunk()?);
        let Some(field) = text(name).zip(text(value)) else { break };
        fields.push(Field { name: field.0, value: field.1 });
    }
    Some(fields)
}

/// For tests, and for hosts that hand fields over one by one. Names become lower case.
impl From<Vec<(String, Vec<u8>)>> for HeaderMap {
    fn from(fields: Vec<(String, Vec<u8>)>) -> Self {
        let number = |length: usize| u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes();
        let mut bytes = number(fields.len()).to_vec();
        for (name, value) in &fields {
            bytes.extend([number(name.len()), number(value.len())].concat());
        }
        for (name, value) in &fields {
            bytes.extend_from_slice(name.to_ascii_lowercase().as_bytes());
            bytes.push(0);
            bytes.extend_from_slice(value);
            bytes.push(0);
        }
        Self::from_bytes(bytes)
    }
}

/// Header fields that Sidegate writes, in order: of a reply, of a response, or of a call to a provider. Names
/// are in lower case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeaderList(Vec<(Cow<'static, str>, String)>);

impl HeaderList {
    /// An empty list.
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// An empty list with room for `capacity` fields.
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

    fn fields() -> Vec<(String, Vec<u8>)> {
        [("ab", "cde"), ("f", ""), ("", "g"), ("ab", "\u{0}h")]
            .map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec()))
            .to_vec()
    }

    fn read(map: &HeaderMap) -> Vec<(String, Vec<u8>)> {
        map.iter().map(|(name, value)| (name.to_owned(), value.to_vec())).collect()
    }

    #[test]
    fn a_map_is_read_in_the_bytes_in_which_it_came() {
        assert_eq!(read(&HeaderMap::from(fields())), fields());
        let bytes = b"\x01\0\0\0\x02\0\0\0\x03\0\0\0ab\0cde\0";
        assert_eq!(read(&HeaderMap::from_bytes(bytes.to_vec())), fields()[..1]);
        assert_eq!(read(&HeaderMap::default()), []);
        let name = b"\x01\0\0\0\x01\0\0\0\x01\0\0\0\xff\0v\0";
        assert_eq!(read(&HeaderMap::from_bytes(name.to_vec())), [(String::new(), b"v".to_vec())]);
    }

    #[test]
    fn a_map_that_ends_too_early_is_read_as_far_as_it_goes() {
        let whole = HeaderMap::from(fields());
        for length in 0..whole.bytes() {
            let cut = HeaderMap::from_bytes(whole.bytes[..length].to_vec());
            let read = read(&cut);
            assert!(fields().starts_with(&read) && read.len() < 4, "{length}: {read:?}");
        }
        let huge = HeaderMap::from_bytes(vec![0xff; 64]);
        assert_eq!(read(&huge), []);
    }
}
