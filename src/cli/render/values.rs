//! The values of options that must have a certain form.

/// A name of a Kubernetes object.
///
/// # Errors
///
/// It is not one, in words.
pub fn name(text: &str) -> Result<String, String> {
    let is_part =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'.';
    let is_end = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = text.as_bytes();
    if bytes.len() <= 253
        && bytes.iter().copied().all(is_part)
        && is_end(bytes.first())
        && is_end(bytes.last())
    {
        Ok(text.to_owned())
    } else {
        Err("a name is lower-case letters, digits, `-` and `.`, with a letter or digit at both ends"
            .to_owned())
    }
}

/// A label as key and value.
///
/// # Errors
///
/// It is not one, in words.
pub fn label(text: &str) -> Result<(String, String), String> {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let (key, value) = text.split_once('=').ok_or("a label is KEY=VALUE")?;
    let is_key = !key.is_empty() && key.bytes().all(|byte| is_part(byte) || byte == b'/');
    if is_key && value.len() <= 63 && value.bytes().all(is_part) {
        Ok((key.to_owned(), value.to_owned()))
    } else {
        Err("keys and values of labels are letters, digits, `-`, `_` and `.`".to_owned())
    }
}

/// The digits of a SHA-256.
///
/// # Errors
///
/// It is not one, in words.
pub fn digest(text: &str) -> Result<String, String> {
    let digits = text.strip_prefix("sha256:").unwrap_or(text);
    if digits.len() == 64 && digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
        Ok(digits.to_owned())
    } else {
        Err("a digest is 64 hexadecimal digits in lower case".to_owned())
    }
}
