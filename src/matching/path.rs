//! The request target. It is normalised once, before every decision, and the normalised path is forwarded.

use std::borrow::Cow;

use memchr::memchr;
use percent_encoding::percent_decode_str;

use crate::grammar::{Classes, each, hex_digit};

const HEX: &[u8; 16] = b"0123456789ABCDEF";

/// The target of a request, after [`normalise`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target<'a> {
    /// `*`, as in `OPTIONS *`: the server as a whole. It belongs to no API.
    Asterisk,
    /// A path, with its query.
    Path(RequestPath<'a>),
}

/// The normalised path of a request, with the query as received.
///
/// The path starts with `/`, is ASCII, and has no empty, `.` or `..` segments. It has only one spelling:
/// unreserved characters are not escaped, everything that RFC 3986 does not allow in a path is, and escapes
/// are upper case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestPath<'a> {
    path: Cow<'a, str>,
    query: Option<&'a str>,
    changed: bool,
}

/// Why a request target is refused. The caller does not see the reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MalformedTarget {
    /// It does not start with `/`.
    #[error("the path does not start with a slash")]
    NoLeadingSlash,
    /// `%` without two hexadecimal digits after it.
    #[error("the path has a malformed percent-escape")]
    Escape,
    /// `%2F`: servers disagree on whether it separates segments.
    #[error("the path has an escaped slash")]
    EscapedSlash,
    /// `\` or `%5C`: some servers read it as a slash.
    #[error("the path has a backslash")]
    Backslash,
    /// A control character, escaped or not. In the query only unescaped ones count.
    #[error("the target has a control character")]
    Control,
    /// Escapes that do not decode to UTF-8.
    #[error("the escapes in the path are not UTF-8")]
    NotUtf8,
    /// An unescaped `#`, in the path or the query.
    #[error("the target has a fragment")]
    Fragment,
    /// A segment `.;…` or `..;…`, which some servers read as `.` or `..`.
    #[error("the path has a dot segment with a parameter")]
    DotParameter,
    /// A `..` without a segment before it.
    #[error("the path leads above the root")]
    AboveRoot,
    /// The path is longer than the policy allows.
    #[error("the path is too long")]
    TooLong,
}

/// [`normalise`] for a path of at most `longest` bytes, both as received and normalised. The query does not
/// count.
#[inline]
pub fn normalise_within(target: &str, longest: usize) -> Result<Target<'_>, MalformedTarget> {
    // What is too long is refused before it is read as a path.
    if let Some(start) = target.as_bytes().get(..=longest)
        && memchr(b'?', start).is_none()
    {
        return Err(MalformedTarget::TooLong);
    }
    match normalise(target)? {
        Target::Path(path) if path.path().len() > longest => Err(MalformedTarget::TooLong),
        target => Ok(target),
    }
}

/// Normalises the value of `:path`: cuts the query at the first `?`, decodes escapes of unreserved characters
/// once, collapses `//`, and resolves `.` and `..` (RFC 3986, section 6.2.2). A path that is normal already
/// is not copied.
pub fn normalise(target: &str) -> Result<Target<'_>, MalformedTarget> {
    if target == "*" {
        return Ok(Target::Asterisk);
    }
    let end = memchr(b'?', target.as_bytes()).unwrap_or(target.len());
    let (path, rest) = target.split_at_checked(end).unwrap_or_default();
    let query = rest.strip_prefix('?');
    if !path.starts_with('/') {
        return Err(MalformedTarget::NoLeadingSlash);
    }
    match query.and_then(|query| first_refused(query.as_bytes())) {
        Some(b'#') => return Err(MalformedTarget::Fragment),
        Some(_) => return Err(MalformedTarget::Control),
        None => {}
    }
    if !is_surely_normal(path) {
        let normal = resolve(&canonical(path)?)?;
        if normal != path {
            return Ok(Target::Path(RequestPath { path: Cow::Owned(normal), query, changed: true }));
        }
    }
    Ok(Target::Path(RequestPath { path: Cow::Borrowed(path), query, changed: false }))
}

impl<'a> RequestPath<'a> {
    /// The normalised path. A trailing slash is kept.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The text after the first `?`, not decoded.
    pub const fn query(&self) -> Option<&'a str> {
        self.query
    }

    /// Whether [`Self::forwarded`] differs from the `:path` received.
    pub fn is_changed(&self) -> bool {
        self.changed
    }

    /// The value of `:path` to forward.
    pub fn forwarded(&self) -> String {
        match self.query() {
            Some(query) => format!("{}?{query}", self.path),
            None => self.path.to_string(),
        }
    }
}

/// The first byte that a query must not have.
fn first_refused(query: &[u8]) -> Option<u8> {
    let is_refused = |byte: u8| (byte == b'#') | byte.is_ascii_control();
    if each(query, |byte| !is_refused(byte)) {
        return None;
    }
    query.iter().find(|byte| is_refused(**byte)).copied()
}

/// Normalises every character of `path` to its only spelling. Does not resolve segments.
pub(super) fn canonical(path: &str) -> Result<String, MalformedTarget> {
    let mut out = Vec::with_capacity(path.len());
    let mut has_escapes = false;
    let mut bytes = path.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'%' => {
                let mut digit = || bytes.next().and_then(hex_digit).ok_or(MalformedTarget::Escape);
                let decoded = digit()? << 4 | digit()?;
                match decoded {
                    b'/' => return Err(MalformedTarget::EscapedSlash),
                    b'\\' => return Err(MalformedTarget::Backslash),
                    decoded if is_unreserved(decoded) => out.push(decoded),
                    decoded => {
                        has_escapes = true;
                        push_escape(&mut out, decoded);
                    }
                }
            }
            b'\\' => return Err(MalformedTarget::Backslash),
            b'#' => return Err(MalformedTarget::Fragment),
            byte if is_plain(byte) => out.push(byte),
            byte => {
                has_escapes = true;
                push_escape(&mut out, byte);
            }
        }
    }
    let out = String::from_utf8(out).map_err(|_| MalformedTarget::NotUtf8)?;
    // Only escapes can stand for anything else than plain ASCII.
    if has_escapes {
        let decoded = percent_decode_str(&out).decode_utf8().map_err(|_| MalformedTarget::NotUtf8)?;
        if decoded.chars().any(char::is_control) {
            return Err(MalformedTarget::Control);
        }
    }
    Ok(out)
}

/// Whether a server that ignores path parameters would read this canonical segment as `.` or `..`.
pub(super) fn is_dot_parameter(segment: &str) -> bool {
    segment
        .strip_prefix("..")
        .or_else(|| segment.strip_prefix('.'))
        .is_some_and(|rest| rest.starts_with(';') || rest.starts_with("%3B"))
}

/// Whether the path is normal. A path in which a segment starts with a dot may be normal nevertheless.
fn is_surely_normal(path: &str) -> bool {
    // A loop without branches: it runs for each request.
    let (mut odd, mut last) = (0, 0);
    for class in path.bytes().map(|byte| CLASSES.of(byte)) {
        odd |= (class & REFUSED) | (class & last & AFTER_SLASH);
        last = class << 1;
    }
    odd == 0
}

/// The classes of bytes in paths, as bits.
const REFUSED: u8 = 1;
/// A slash. Its bit, shifted by one, is [`AFTER_SLASH`].
const SLASH: u8 = 2;
/// What must not follow a slash.
const AFTER_SLASH: u8 = 4;

/// The class of each byte (RFC 3986, section 3.3); 0 for what is normal everywhere.
const CLASSES: Classes = Classes::all(REFUSED)
    .with(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_~:@!$&'()*+,;=", 0)
    .with(b"/", SLASH | AFTER_SLASH)
    .with(b".", AFTER_SLASH);

fn resolve(path: &str) -> Result<String, MalformedTarget> {
    let mut out = String::with_capacity(path.len());
    let mut ends_in_slash = true;
    // What stays is copied in runs: from `start` to `end` are the slashes and segments that were not copied.
    let (mut start, mut end) = (0, 0);
    let mut place = 0;
    while let Some(rest) = path.get(place..).and_then(|rest| rest.strip_prefix('/')) {
        let length = rest.bytes().position(|byte| byte == b'/').unwrap_or(rest.len());
        let segment = rest.get(..length).unwrap_or_default();
        let next = place.saturating_add(length).saturating_add(1);
        ends_in_slash = matches!(segment, "" | "." | "..");
        if ends_in_slash {
            out.push_str(path.get(start..end).unwrap_or_default());
            start = next;
            if segment == ".." {
                out.truncate(out.rfind('/').ok_or(MalformedTarget::AboveRoot)?);
            }
        } else if is_dot_parameter(segment) {
            return Err(MalformedTarget::DotParameter);
        }
        (place, end) = (next, next);
    }
    out.push_str(path.get(start..end).unwrap_or_default());
    if ends_in_slash {
        out.push('/');
    }
    Ok(out)
}

fn push_escape(out: &mut Vec<u8>, byte: u8) {
    out.push(b'%');
    for digit in [byte >> 4, byte & 0xF] {
        out.extend(HEX.get(usize::from(digit)));
    }
}

/// RFC 3986, section 2.3.
const fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// Whether RFC 3986, section 3.3, allows the byte in a path without an escape. The slash is allowed too.
fn is_plain(byte: u8) -> bool {
    CLASSES.of(byte) & REFUSED == 0
}

#[cfg(test)]
mod tests {
    #[cfg(all(target_family = "wasm", target_os = "unknown"))]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    fn path(target: &str) -> RequestPath<'_> {
        match normalise(target) {
            Ok(Target::Path(path)) => path,
            other => panic!("`{target}` gave {other:?}"),
        }
    }

    #[test]
    fn paths_are_normalised() {
        for (came, forwarded) in [
            ("//a", "/a"),
            ("/a//b///", "/a/b/"),
            ("/a/./b", "/a/b"),
            ("/a/.", "/a/"),
            ("/a/../b", "/b"),
            ("/a/..", "/"),
            ("/a/b/..", "/a/"),
            ("/a//../b", "/b"),
            ("/a/%2e%2E/b", "/b"),
            ("/a/.%2e/b", "/b"),
            ("/a/%2e/b", "/a/b"),
            ("/%61%7Eb%2d%5F", "/a~b-_"),
            ("/%252e%252e/a", "/%252e%252e/a"),
            ("/%c3%a9", "/%C3%A9"),
            ("/é", "/%C3%A9"),
            ("/a b|\"<>^`{}", "/a%20b%7C%22%3C%3E%5E%60%7B%7D"),
            ("/%21%3b%3F%23%25", "/%21%3B%3F%23%25"),
            ("/a/b/../../c", "/c"),
            ("/a?b?c//../%2f\\é%zz", "/a?b?c//../%2f\\é%zz"),
            ("/a/..?", "/?"),
            ("/...;x/.x/..x/a;b/;", "/...;x/.x/..x/a;b/;"),
        ] {
            assert_eq!(path(came).forwarded(), forwarded, "{came}");
            assert_eq!(path(came).is_changed(), came != forwarded, "{came}");
        }
    }

    #[test]
    fn what_servers_interpret_differently_is_refused() {
        use MalformedTarget::*;
        for (target, reason) in [
            ("", NoLeadingSlash),
            ("a", NoLeadingSlash),
            ("?a", NoLeadingSlash),
            ("*/a", NoLeadingSlash),
            ("http://example.com/a", NoLeadingSlash),
            ("/%zz", Escape),
            ("/%2", Escape),
            ("/%", Escape),
            ("/%2?f", Escape),
            ("/%+1", Escape),
            ("/%é", Escape),
            ("/a%2Fb", EscapedSlash),
            ("/a%2f..", EscapedSlash),
            ("/a\\b", Backslash),
            ("/a%5cb", Backslash),
            ("/a%5C..", Backslash),
            ("/a\0", Control),
            ("/a%00", Control),
            ("/a\tb", Control),
            ("/a%0d%0ab", Control),
            ("/a\x7f", Control),
            ("/a%7f", Control),
            ("/a%c2%85", Control),
            ("/a\u{85}", Control),
            ("/a?b\n", Control),
            ("/%ff", NotUtf8),
            ("/%c3", NotUtf8),
            ("/%c3é", NotUtf8),
            ("/%c0%ae%c0%ae/a", NotUtf8),
            ("/%ed%a0%80", NotUtf8),
            ("/a#b", Fragment),
            ("/a?b#c", Fragment),
            ("/a/..;x/b", DotParameter),
            ("/a/..;/b", DotParameter),
            ("/a/.;x/b", DotParameter),
            ("/a/%2e%2e;x/b", DotParameter),
            ("/a/..%3bx", DotParameter),
            ("/a/..;x/../b", DotParameter),
            ("/..", AboveRoot),
            ("/../a", AboveRoot),
            ("/%2e%2e/a", AboveRoot),
            ("/a/../../b", AboveRoot),
            ("//../a", AboveRoot),
            ("/./../a", AboveRoot),
        ] {
            assert_eq!(normalise(target), Err(reason), "{target:?}");
        }
    }

    #[test]
    fn a_normal_path_is_borrowed() {
        for clean in ["/", "/a/b", "/a/", "/.well-known/x", "/a%20b", "/%C3%A9?q=%zz", "/a;v=1/b,c@d:e"] {
            let path = path(clean);
            assert!(matches!(path.path, Cow::Borrowed(_)), "{clean}");
            assert!(!path.is_changed(), "{clean}");
        }
    }

    #[test]
    fn a_path_that_is_too_long_is_refused_whatever_its_query() {
        let within = |target: &str| normalise_within(target, 8).map(|_| ());
        for target in ["/1234567", "/1234567?", "/1234567?890", "/?1234567890", "/%61%7e", "*"] {
            assert_eq!(within(target), Ok(()), "{target}");
        }
        for target in ["/12345678", "/12345678?", "/1234/../", "/\u{e9}\u{e9}\u{e9}", "12345678#"] {
            assert_eq!(within(target), Err(MalformedTarget::TooLong), "{target}");
        }
    }

    #[test]
    fn the_asterisk_is_not_a_path() {
        assert_eq!(normalise("*"), Ok(Target::Asterisk));
    }

    #[test]
    fn the_query_is_cut_at_the_first_question_mark() {
        assert_eq!(path("/a?b=/../?").query(), Some("b=/../?"));
        assert_eq!(path("/a?").query(), Some(""));
        assert_eq!(path("/a").query(), None);
    }
}
