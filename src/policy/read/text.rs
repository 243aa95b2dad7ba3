//! The text of a document, read part by part: a large document need not be in memory as a whole.

use std::borrow::Cow;

use serde::de::{DeserializeOwned, IgnoredAny};

/// The text of a policy document.
pub trait Text {
    /// The part that begins at `offset`, of any length; empty if there is no more.
    fn part(&self, offset: usize) -> Cow<'_, [u8]>;
}

impl Text for [u8] {
    fn part(&self, offset: usize) -> Cow<'_, [u8]> {
        Cow::Borrowed(self.get(offset..).unwrap_or_default())
    }
}

impl<const N: usize> Text for [u8; N] {
    fn part(&self, offset: usize) -> Cow<'_, [u8]> {
        self.as_slice().part(offset)
    }
}

impl Text for Vec<u8> {
    fn part(&self, offset: usize) -> Cow<'_, [u8]> {
        self.as_slice().part(offset)
    }
}

/// The text is not as expected. Those who want to know more read it as a whole.
#[derive(Clone, Copy, Debug)]
pub struct Unexpected;

/// Reads JSON from a text, value by value.
pub struct Cursor<'t, T: Text + ?Sized> {
    text: &'t T,
    /// Where the part after the window begins.
    next: usize,
    /// A part of the text, or several.
    window: Cow<'t, [u8]>,
    /// What was read of the window.
    read: usize,
    seen: &'t mut dyn FnMut(&[u8]),
}

impl<'t, T: Text + ?Sized> Cursor<'t, T> {
    /// A cursor at the start of the text. `seen` is called with each part of it, in order.
    pub fn new(text: &'t T, seen: &'t mut dyn FnMut(&[u8])) -> Self {
        Self { text, next: 0, window: Cow::Borrowed(&[]), read: 0, seen }
    }

    /// Reads a value.
    pub fn value<V: DeserializeOwned>(&mut self) -> Result<V, Unexpected> {
        self.value_with(|value, _| value)
    }

    /// Copies a value of any kind.
    pub fn copy(&mut self, copy: &mut Vec<u8>) -> Result<(), Unexpected> {
        self.value_with(|IgnoredAny, bytes| copy.extend_from_slice(bytes))
    }

    /// Reads a list, item by item.
    pub fn list(
        &mut self,
        mut item: impl FnMut(&mut Self) -> Result<(), Unexpected>,
    ) -> Result<(), Unexpected> {
        self.expect(b'[')?;
        if self.takes(b']') {
            return Ok(());
        }
        loop {
            item(self)?;
            if !self.takes(b',') {
                return self.expect(b']');
            }
        }
    }

    /// Reads a map, member by member. `member` gets the name, and reads the value.
    pub fn map(
        &mut self,
        mut member: impl FnMut(&mut Self, String) -> Result<(), Unexpected>,
    ) -> Result<(), Unexpected> {
        self.expect(b'{')?;
        if self.takes(b'}') {
            return Ok(());
        }
        loop {
            let name = self.value()?;
            self.expect(b':')?;
            member(self, name)?;
            if !self.takes(b',') {
                return self.expect(b'}');
            }
        }
    }

    /// Whether the next value is a list.
    pub fn is_at_list(&mut self) -> bool {
        self.peek() == Some(b'[')
    }

    /// Nothing but white space may follow.
    pub fn end(&mut self) -> Result<(), Unexpected> {
        if self.peek().is_none() { Ok(()) } else { Err(Unexpected) }
    }

    /// Reads a value. `with` gets it together with its text.
    fn value_with<V: DeserializeOwned, R>(
        &mut self,
        with: impl FnOnce(V, &[u8]) -> R,
    ) -> Result<R, Unexpected> {
        loop {
            let rest = self.rest();
            let mut values = serde_json::Deserializer::from_slice(rest).into_iter::<V>();
            let value = values.next();
            let length = values.byte_offset();
            match value {
                // A number that ends with the window may go on after it.
                Some(Ok(value)) if length < rest.len() => {
                    let result = with(value, rest.get(..length).unwrap_or_default());
                    self.read = self.read.saturating_add(length);
                    return Ok(result);
                }
                Some(Ok(value)) => {
                    if !self.more() {
                        let rest = self.rest();
                        let (result, length) = (with(value, rest), rest.len());
                        self.read = self.read.saturating_add(length);
                        return Ok(result);
                    }
                }
                Some(Err(error)) if !error.is_eof() => return Err(Unexpected),
                Some(Err(_)) | None if self.more() => {}
                Some(Err(_)) | None => return Err(Unexpected),
            }
        }
    }

    fn expect(&mut self, byte: u8) -> Result<(), Unexpected> {
        if self.takes(byte) { Ok(()) } else { Err(Unexpected) }
    }

    /// Reads this byte, if it comes next.
    fn takes(&mut self, byte: u8) -> bool {
        let is_next = self.peek() == Some(byte);
        if is_next {
            self.read = self.read.saturating_add(1);
        }
        is_next
    }

    /// The next byte that is not white space, which is skipped.
    fn peek(&mut self) -> Option<u8> {
        loop {
            let rest = self.rest();
            let space = rest.iter().take_while(|byte| matches!(byte, b' ' | b'\n' | b'\t' | b'\r')).count();
            let next = rest.get(space).copied();
            self.read = self.read.saturating_add(space);
            if next.is_some() || !self.more() {
                return next;
            }
        }
    }

    fn rest(&self) -> &[u8] {
        self.window.get(self.read..).unwrap_or_default()
    }

    /// Adds to the window at least as much as is left of it, so that reading a value again and again takes
    /// no longer than reading it twice. Nothing is added if the text ends.
    fn more(&mut self) -> bool {
        let left = self.rest().len();
        let mut is_more = false;
        loop {
            let part = self.text.part(self.next);
            if part.is_empty() {
                return is_more;
            }
            is_more = true;
            (self.seen)(&part);
            self.next = self.next.saturating_add(part.len());
            if self.rest().is_empty() {
                self.window = part;
            } else {
                let mut window = self.rest().to_vec();
                window.extend_from_slice(&part);
                self.window = Cow::Owned(window);
            }
            self.read = 0;
            if self.rest().len() >= left.saturating_mul(2) {
                return true;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;
    #[cfg(all(target_family = "wasm", target_os = "unknown"))]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    /// A text in parts of this many bytes.
    struct Parts<'t>(&'t str, usize);

    impl Text for Parts<'_> {
        fn part(&self, offset: usize) -> Cow<'_, [u8]> {
            self.0
                .as_bytes()
                .get(offset..)
                .unwrap_or_default()
                .chunks(self.1)
                .next()
                .unwrap_or_default()
                .into()
        }
    }

    /// What is read of a map whose lists are read item by item; nothing if it is refused.
    fn read(text: &str, size: usize) -> Option<(Value, Vec<u8>)> {
        let mut seen = Vec::new();
        let mut note = |part: &[u8]| seen.extend_from_slice(part);
        let text = Parts(text, size);
        let mut cursor = Cursor::new(&text, &mut note);
        let mut members = serde_json::Map::new();
        let result = cursor.map(|cursor, name| {
            if cursor.is_at_list() {
                let mut items = Vec::new();
                cursor.list(|cursor| {
                    items.push(cursor.value::<Value>()?);
                    Ok(())
                })?;
                members.insert(name, Value::Array(items));
            } else {
                let mut copy = Vec::new();
                cursor.copy(&mut copy)?;
                members.insert(name, serde_json::from_slice(&copy).map_err(|_| Unexpected)?);
            }
            Ok(())
        });
        result.and_then(|()| cursor.end()).ok()?;
        Some((Value::Object(members), seen))
    }

    #[test]
    fn a_text_means_the_same_in_parts_of_any_size() {
        let texts = [
            "{}",
            " { } \n",
            r#"{"a":1}"#,
            r#"{"a" : 123456 , "b":[ ] , "c":[1234,-5.5e3 ,"x\"]",[1,{"d":null}]],"e":"\u00df ß"}  "#,
            r#"{"a":{"b":[1,2]},"c":[{"d":"{["},{}]}"#,
        ];
        for text in texts {
            let whole: Value = serde_json::from_str(text).unwrap();
            for size in 1..=text.len() {
                let (value, seen) = read(text, size).unwrap_or_else(|| panic!("{text} in parts of {size}"));
                assert_eq!(value, whole, "{text} in parts of {size}");
                assert_eq!(seen, text.as_bytes());
            }
        }
    }

    #[test]
    fn what_is_not_json_is_refused_in_parts_of_any_size() {
        let texts = [
            "",
            "{",
            "{}}",
            "{} x",
            "[]",
            r#"{"a"}"#,
            r#"{"a":}"#,
            r#"{"a":1,}"#,
            r#"{,"a":1}"#,
            r#"{a:1}"#,
            r#"{"a":[1,]}"#,
            r#"{"a":[,1]}"#,
            r#"{"a":[1 2]}"#,
            r#"{"a":[1}"#,
            r#"{"a":1 2}"#,
            r#"{"a":1x}"#,
            r#"{"a":[01]}"#,
            r#"{"a":["x]}"#,
            r#"{"a":[nul]}"#,
            r#"{1:2}"#,
            r#"{"a":[1]"#,
            r#"{"a":"b""c":1}"#,
        ];
        for text in texts {
            assert!(
                serde_json::from_str::<std::collections::BTreeMap<String, Value>>(text).is_err(),
                "{text}"
            );
            for size in 1..=text.len().max(1) {
                assert!(read(text, size).is_none(), "{text} in parts of {size}");
            }
        }
    }
}
