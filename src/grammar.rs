//! Grammar that several parts of HTTP share.

/// Whether a text is a `token` (RFC 9110 section 5.6.2): a method, a header name, a cookie name, an
/// authentication scheme.
pub fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(is_token_byte)
}

/// The value of a hexadecimal digit.
pub fn hex_digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

/// Whether a byte may be part of a `token`.
pub fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}
