//! Grammar that several parts of HTTP share.

/// Whether a text is a `token` (RFC 9110 section 5.6.2): a method, a header name, a cookie name, an
/// authentication scheme.
pub fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(is_token_byte)
}

/// The value of a hexadecimal digit.
pub const fn hex_digit(byte: u8) -> Option<u8> {
    const LETTERS: u8 = 10;
    let (digit, letter) = (byte.wrapping_sub(b'0'), (byte | 0x20).wrapping_sub(b'a'));
    match (digit, letter) {
        (0..LETTERS, _) => Some(digit),
        (_, 0..6) => Some(letter.wrapping_add(LETTERS)),
        _ => None,
    }
}

/// Whether a byte may be part of a `token`.
pub fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// Whether each byte `is` so. Runs of bytes are looked at without a branch, which the compiler turns into a
/// few instructions. So `is` should have no branches either: `|` and `&` in place of `||` and `&&`.
#[inline]
pub(crate) fn each(bytes: &[u8], is: impl Fn(u8) -> bool) -> bool {
    const RUN: usize = 16;
    const YES: u8 = 1;
    let (runs, rest) = bytes.as_chunks::<RUN>();
    let mut lanes = [YES; RUN];
    for run in runs {
        lanes.iter_mut().zip(run).for_each(|(lane, byte)| *lane &= u8::from(is(*byte)));
    }
    lanes == [YES; RUN] && rest.iter().all(|byte| is(*byte))
}

/// A class for each byte, as bits. Looking it up takes fewer instructions than comparing with ranges.
pub(crate) struct Classes([u8; 256]);

impl Classes {
    /// All bytes in the same class.
    pub(crate) const fn all(class: u8) -> Self {
        Self([class; 256])
    }

    /// The same with `bytes` in another class.
    pub(crate) const fn with(mut self, mut bytes: &[u8], class: u8) -> Self {
        while let Some((byte, rest)) = bytes.split_first() {
            if let Some((_, from)) = self.0.split_at_mut_checked(*byte as usize)
                && let Some(place) = from.first_mut()
            {
                *place = class;
            }
            bytes = rest;
        }
        self
    }

    /// The class of a byte.
    pub(crate) fn of(&self, byte: u8) -> u8 {
        self.0.get(usize::from(byte)).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    #[cfg(all(target_family = "wasm", target_os = "unknown"))]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    fn each_byte_is_looked_at() {
        let is_digit = |byte: u8| byte.is_ascii_digit();
        for length in 0..40 {
            let digits = vec![b'7'; length];
            assert!(each(&digits, is_digit), "{length}");
            for place in 0..length {
                let mut other = digits.clone();
                other[place] = b'x';
                assert!(!each(&other, is_digit), "{place} of {length}");
            }
        }
    }

    #[test]
    fn a_byte_is_the_hexadecimal_digit_that_it_looks_like() {
        for byte in 0..=u8::MAX {
            assert_eq!(hex_digit(byte).map(u32::from), char::from(byte).to_digit(16), "{byte}");
        }
    }
}
