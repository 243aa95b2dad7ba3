//! Many short texts in one allocation.

/// A list of texts. Each takes its bytes and four more.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Texts {
    joined: String,
    /// Where each text ends.
    ends: Vec<u32>,
}

impl Texts {
    /// Adds a text. Texts that end beyond 4 GiB are empty.
    pub fn push(&mut self, text: &str) {
        self.joined.push_str(text);
        self.ends.push(u32::try_from(self.joined.len()).unwrap_or(u32::MAX));
    }

    /// The text at an index.
    #[inline]
    pub fn get(&self, index: usize) -> Option<&str> {
        let end = *self.ends.get(index)?;
        let start = index.checked_sub(1).and_then(|before| self.ends.get(before)).copied().unwrap_or(0);
        Some(self.joined.get(usize::try_from(start).ok()?..usize::try_from(end).ok()?).unwrap_or_default())
    }

    /// All texts, in the order in which they were added.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        (0..self.ends.len()).filter_map(|index| self.get(index))
    }

    /// How many texts there are.
    pub const fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are no texts.
    pub const fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Gives back memory that was reserved for more texts.
    pub fn shrink_to_fit(&mut self) {
        self.joined.shrink_to_fit();
        self.ends.shrink_to_fit();
    }
}

#[cfg(test)]
mod tests {
    #[cfg(all(target_family = "wasm", target_os = "unknown"))]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    fn each_text_is_found_by_its_index() {
        let mut texts = Texts::default();
        assert!(texts.is_empty());
        for text in ["a", "", "ßc", ""] {
            texts.push(text);
        }
        assert_eq!(texts.iter().collect::<Vec<_>>(), ["a", "", "ßc", ""]);
        assert_eq!((texts.len(), texts.get(2), texts.get(4)), (4, Some("ßc"), None));
    }
}
