//! Header fields: those of a request as received from the host, and those that Sidegate writes.

use std::{borrow::Cow, ops::Range};

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
}

impl HeaderMap {
    /// The map in these bytes. Where they end too early, so does the map.
    pub const fn from_bytes(bytes: Vec<u8>) -> Self {
        Self { bytes }
    }

    /// A map of these fields. Names are in lower case.
    pub fn of_texts<'f>(fields: impl Iterator<Item = (&'f str, &'f str)> + Clone) -> Self {
        // Two lengths and two zeros.
        const AROUND: usize = 10;
        let (mut count, mut size) = (0_usize, size_of::<u32>());
        for (name, value) in fields.clone() {
            count = count.saturating_add(1);
            size = size.saturating_add(name.len()).saturating_add(value.len()).saturating_add(AROUND);
        }
        let mut bytes = vec![0; size];
        // The bytes suffice.
        let _all = write(&mut bytes, count, fields);
        Self { bytes }
    }

    /// The bytes in which the map came, or in which it can be handed over.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// All fields, name and value, one item per line of the request.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> + Clone {
        self.fields().map_while(|field| Some((self.text(field.name())?, self.text(field.value())?)))
    }

    /// The values of `name`, one item per line of the request.
    pub fn values<'m>(&'m self, name: &str) -> impl Iterator<Item = &'m [u8]> + Clone {
        let mut fields = self.fields();
        // A plain loop: it runs several times for each request.
        std::iter::from_fn(move || {
            for field in fields.by_ref() {
                if field.name_length == name.len() && self.text(field.name()) == Some(name.as_bytes()) {
                    return self.text(field.value());
                }
            }
            None
        })
    }

    fn text(&self, range: Range<usize>) -> Option<&[u8]> {
        // A zero follows.
        self.bytes.get(..=range.end)?.get(range.start..range.end)
    }

    /// Where the fields are, if the bytes are complete.
    fn fields(&self) -> impl Iterator<Item = Field> + Clone {
        let lengths = lengths(&self.bytes).unwrap_or_default();
        // Lengths that do not add up give ranges that are not in the bytes.
        let mut start = lengths.len().wrapping_mul(8).wrapping_add(4);
        lengths.iter().map(move |[name, value]| {
            let field = Field { start, name_length: number(*name), value_length: number(*value) };
            start = field.value().end.wrapping_add(1);
            field
        })
    }

    /// How many fields there are, if the bytes are complete.
    pub fn len(&self) -> usize {
        lengths(&self.bytes).map_or(0, <[_]>::len)
    }

    /// Whether there are no fields.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The total size of the fields, in bytes.
    pub const fn bytes(&self) -> usize {
        self.bytes.len()
    }
}

/// Where the texts of a field are.
struct Field {
    start: usize,
    name_length: usize,
    value_length: usize,
}

impl Field {
    const fn name(&self) -> Range<usize> {
        self.start..self.start.wrapping_add(self.name_length)
    }

    const fn value(&self) -> Range<usize> {
        let start = self.name().end.wrapping_add(1);
        start..start.wrapping_add(self.value_length)
    }
}

/// Writes `count` fields into bytes that are zero. `None` if there are too few bytes.
fn write<'f>(bytes: &mut [u8], count: usize, fields: impl Iterator<Item = (&'f str, &'f str)>) -> Option<()> {
    let (number, rest) = bytes.split_first_chunk_mut()?;
    *number = length(count);
    let (lengths, mut texts) = rest.split_at_mut_checked(count.checked_mul(8)?)?;
    for ((name, value), [of_name, of_value]) in fields.zip(lengths.as_chunks_mut().0.as_chunks_mut().0) {
        *of_name = length(name.len());
        *of_value = length(value.len());
        for text in [name, value] {
            let (room, rest) = texts.split_at_mut_checked(text.len())?;
            room.copy_from_slice(text.as_bytes());
            // A zero ends the text.
            texts = rest.get_mut(1..)?;
        }
    }
    Some(())
}

fn length(length: usize) -> [u8; 4] {
    u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes()
}

/// The pairs of lengths in the bytes of a map.
fn lengths(bytes: &[u8]) -> Option<&[[[u8; 4]; 2]]> {
    let (count, rest) = bytes.split_first_chunk()?;
    rest.get(..number(*count).checked_mul(8)?).map(|lengths| lengths.as_chunks().0.as_chunks().0)
}

fn number(bytes: [u8; 4]) -> usize {
    usize::try_from(u32::from_le_bytes(bytes)).unwrap_or(usize::MAX)
}

/// For tests, and for hosts that hand fields over one by one. Names become lower case.
impl From<Vec<(String, Vec<u8>)>> for HeaderMap {
    fn from(fields: Vec<(String, Vec<u8>)>) -> Self {
        let mut bytes = length(fields.len()).to_vec();
        for (name, value) in &fields {
            bytes.extend([length(name.len()), length(value.len())].concat());
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
pub struct HeaderList(Vec<(Cow<'static, str>, Cow<'static, str>)>);

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
    pub fn push(&mut self, name: impl Into<Cow<'static, str>>, value: impl Into<Cow<'static, str>>) {
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
        self.0.iter().map(|(name, value)| (name.as_ref(), value.as_ref()))
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
        let owned = |(name, value): (&'static str, &str)| (name.into(), value.to_owned().into());
        Self(fields.into_iter().map(owned).collect())
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
        let text = |name: &[u8]| String::from_utf8_lossy(name).into_owned();
        map.iter().map(|(name, value)| (text(name), value.to_vec())).collect()
    }

    #[test]
    fn a_map_is_read_in_the_bytes_in_which_it_came() {
        assert_eq!(read(&HeaderMap::from(fields())), fields());
        let bytes = b"\x01\0\0\0\x02\0\0\0\x03\0\0\0ab\0cde\0";
        assert_eq!(read(&HeaderMap::from_bytes(bytes.to_vec())), fields()[..1]);
        assert_eq!(read(&HeaderMap::default()), []);
    }

    #[test]
    fn texts_become_the_same_bytes() {
        let texts = [("ab", "cde"), ("f", ""), ("", "g")];
        let expected: Vec<_> = fields().into_iter().take(3).collect();
        assert_eq!(HeaderMap::of_texts(texts.into_iter()), HeaderMap::from(expected));
        assert_eq!(HeaderMap::of_texts([].into_iter()).as_bytes(), [0; 4]);
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
