//! Finds the credential of a request, and removes it from what the upstream receives.
//!
//! A credential that arrives twice is refused, because another reader of the request might choose the other
//! one. An empty value (`apikey:`, `?api_key=`) counts as absent.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

use crate::grammar::is_token_byte;

mod location;

use location::Place;
pub use location::{InvalidLocation, Location};

/// The longest credential that is read, in bytes after decoding.
pub const MAX_CREDENTIAL: usize = 16 * 1024;

/// A credential that is malformed or in the wrong place: the caller's fault (RFC 6750 section 3.1,
/// `invalid_request`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MisplacedCredential {
    /// In two places, or twice in one. Other lines of the header, and other elements of a list in it, count
    /// whatever scheme they have.
    #[error("the credential arrives twice")]
    Twice,
    /// Not UTF-8, or a malformed percent-escape.
    #[error("the credential cannot be decoded")]
    Undecodable,
    /// The scheme is right, but not exactly one `token68` follows it.
    #[error("no single token follows the authentication scheme")]
    NotOneToken,
    /// Longer than [`MAX_CREDENTIAL`].
    #[error("the credential is too long")]
    TooLong,
}

/// Finds the credential of a request in one of `locations`. It is borrowed unless it had to be decoded.
///
/// `headers` has one item per header line; `query` is the text after the first `?`, not decoded.
pub fn locate<'r>(
    locations: &[Location],
    headers: impl Iterator<Item = (&'r str, &'r [u8])> + Clone,
    query: Option<&'r str>,
) -> Result<Option<Cow<'r, str>>, MisplacedCredential> {
    let mut found = None;
    for Location(place) in locations {
        let here = match place {
            Place::Header { name, scheme } => {
                in_header(name, scheme.as_deref(), headers.clone())?.map(Cow::Borrowed)
            }
            Place::Query(name) => in_query(name, query)?,
            Place::Cookie(name) => in_cookies(name, headers.clone())?.map(Cow::Borrowed),
        };
        found = only_one(found, here)?;
    }
    Ok(found)
}

/// The changes after which a request has no credential. Everything else stays the same, byte for byte.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Removal<'l> {
    /// Headers to remove, all lines of each.
    pub headers: Vec<&'l str>,
    /// The new query, empty if nothing remains; `None` if it does not change.
    pub query: Option<String>,
    /// The new `cookie` header, a single line; `None` if the cookies do not change, or if all are removed
    /// (then `headers` has `cookie`).
    pub cookie: Option<Vec<u8>>,
}

/// What to remove from a request so that none of `locations` holds anything, even where [`locate`] refuses.
pub fn removal<'l, 'r>(
    locations: &'l [Location],
    headers: impl Iterator<Item = (&'r str, &'r [u8])> + Clone,
    query: Option<&'r str>,
) -> Removal<'l> {
    let mut removed = Vec::new();
    for Location(place) in locations {
        if let Place::Header { name, scheme } = place
            && lines(name, headers.clone()).any(|line| carries(line, scheme.as_deref()))
        {
            removed.push(name.as_str());
        }
    }

    let is_secret_parameter = |pair: &&str| {
        let (name, _) = parameter(pair);
        locations
            .iter()
            .any(|Location(place)| matches!(place, Place::Query(wanted) if is_named(name, wanted)))
    };
    let query = query.filter(|query| query.split('&').any(|pair| is_secret_parameter(&pair))).map(|query| {
        query.split('&').filter(|pair| !is_secret_parameter(pair)).collect::<Vec<_>>().join("&")
    });

    let is_secret_cookie = |pair: &&[u8]| {
        let (name, _) = cookie(pair);
        locations
            .iter()
            .any(|Location(place)| matches!(place, Place::Cookie(wanted) if wanted.as_bytes() == name))
    };
    let mut cookie = None;
    if cookies(headers.clone()).any(|pair| is_secret_cookie(&pair)) {
        let kept: Vec<_> = cookies(headers).filter(|pair| !is_secret_cookie(pair)).collect();
        if kept.is_empty() {
            removed.push("cookie");
        } else {
            cookie = Some(kept.join(b"; ".as_slice()));
        }
    }
    Removal { headers: removed, query, cookie }
}

fn in_header<'r>(
    name: &str,
    scheme: Option<&str>,
    headers: impl Iterator<Item = (&'r str, &'r [u8])> + Clone,
) -> Result<Option<&'r str>, MisplacedCredential> {
    let lines = lines(name, headers).filter(|line| !line.is_empty());
    let Some(line) = lines.clone().find(|line| carries(line, scheme)) else {
        return Ok(None);
    };
    if lines.count() > 1 {
        return Err(MisplacedCredential::Twice);
    }
    let credential = match scheme {
        Some(scheme) => only_token(line, scheme)?,
        None => line,
    };
    readable(credential).map(Some)
}

fn in_query<'r>(wanted: &str, query: Option<&'r str>) -> Result<Option<Cow<'r, str>>, MisplacedCredential> {
    let mut found = None;
    for pair in query.into_iter().flat_map(|query| query.split('&')) {
        let (name, value) = parameter(pair);
        if !value.is_empty() && is_named(name, wanted) {
            let value = form_decode(value).ok_or(MisplacedCredential::Undecodable)?;
            if value.len() > MAX_CREDENTIAL {
                return Err(MisplacedCredential::TooLong);
            }
            found = only_one(found, Some(value))?;
        }
    }
    Ok(found)
}

fn in_cookies<'r>(
    wanted: &str,
    headers: impl Iterator<Item = (&'r str, &'r [u8])>,
) -> Result<Option<&'r str>, MisplacedCredential> {
    let mut found = None;
    for pair in cookies(headers) {
        let (name, value) = cookie(pair);
        if !value.is_empty() && name == wanted.as_bytes() {
            found = only_one(found, Some(readable(value)?))?;
        }
    }
    Ok(found)
}

fn only_one<T>(first: Option<T>, second: Option<T>) -> Result<Option<T>, MisplacedCredential> {
    match (first, second) {
        (Some(_), Some(_)) => Err(MisplacedCredential::Twice),
        (first, second) => Ok(first.or(second)),
    }
}

fn readable(value: &[u8]) -> Result<&str, MisplacedCredential> {
    if value.len() > MAX_CREDENTIAL {
        return Err(MisplacedCredential::TooLong);
    }
    str::from_utf8(value).map_err(|_| MisplacedCredential::Undecodable)
}

/// The values of one header, without surrounding white space.
fn lines<'r>(
    name: &str,
    headers: impl Iterator<Item = (&'r str, &'r [u8])> + Clone,
) -> impl Iterator<Item = &'r [u8]> + Clone {
    headers.filter(move |(header, _)| header.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim_ascii())
}

/// Whether a line carries a credential, well-formed or not. Without a scheme every line does.
fn carries(line: &[u8], scheme: Option<&str>) -> bool {
    scheme.is_none_or(|scheme| elements(line).any(|element| after_scheme(element, scheme).is_some()))
}

/// The token of the only credential in a line that [`carries`] one.
fn only_token<'r>(line: &'r [u8], scheme: &str) -> Result<&'r [u8], MisplacedCredential> {
    let is_first = elements(line).take(1).any(|first| after_scheme(first, scheme).is_some());
    if !is_first || elements(line).skip(1).any(|other| names_scheme(other) || carries(other, Some(scheme))) {
        return Err(MisplacedCredential::Twice);
    }
    after_scheme(line, scheme).and_then(token68).ok_or(MisplacedCredential::NotOneToken)
}

/// The comma-separated elements of a line. Envoy joins several `authorization` lines into one with commas.
///
/// Commas in quoted strings separate too: a value that may hold two credentials is refused rather than
/// admitted.
fn elements(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(|byte| *byte == b',').map(<[u8]>::trim_ascii)
}

/// Whether an element reads like a credential of any scheme: a token, a space, and more.
fn names_scheme(element: &[u8]) -> bool {
    let end = element.iter().position(|byte| !is_token_byte(*byte));
    end.is_some_and(|end| end > 0 && element.get(end) == Some(&b' '))
}

/// What follows the scheme; `None` if the element has another scheme.
///
/// The scheme ends at the first byte that cannot belong to it: `Bearer;x` is a malformed bearer credential.
/// It is not an unknown scheme, which would be forwarded to a service that may read it leniently.
fn after_scheme<'r>(element: &'r [u8], scheme: &str) -> Option<&'r [u8]> {
    let (start, rest) = element.split_at_checked(scheme.len())?;
    let ends_here = !rest.first().copied().is_some_and(is_token_byte);
    (ends_here && start.eq_ignore_ascii_case(scheme.as_bytes())).then_some(rest)
}

/// The `token68` (RFC 9110 section 11.2; `b64token` in RFC 6750) after the scheme and at least one space.
fn token68(after_scheme: &[u8]) -> Option<&[u8]> {
    let token = after_scheme.strip_prefix(b" ")?.trim_ascii_start();
    let padding = token.iter().rev().take_while(|byte| **byte == b'=').count();
    let (text, _) = token.split_at_checked(token.len().saturating_sub(padding))?;
    let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~+/".contains(byte);
    (!text.is_empty() && text.iter().all(allowed)).then_some(token)
}

/// The name and value of a form-urlencoded parameter, not decoded.
fn parameter(pair: &str) -> (&str, &str) {
    pair.split_once('=').unwrap_or((pair, ""))
}

fn is_named(raw: &str, wanted: &str) -> bool {
    form_decode(raw).is_some_and(|name| name == wanted)
}

/// Decodes a form-urlencoded text. Unlike the `form_urlencoded` crate, it rejects malformed escapes and bytes
/// that are not UTF-8.
fn form_decode(raw: &str) -> Option<Cow<'_, str>> {
    if !raw.contains(['%', '+']) {
        return Some(Cow::Borrowed(raw));
    }
    let escapes_are_whole = raw.split('%').skip(1).all(|rest| {
        rest.as_bytes()
            .split_at_checked(2)
            .is_some_and(|(digits, _)| digits.iter().all(u8::is_ascii_hexdigit))
    });
    if !escapes_are_whole {
        return None;
    }
    let spaced = raw.replace('+', " ");
    percent_decode_str(&spaced).decode_utf8().ok().map(|text| Cow::Owned(text.into_owned()))
}

/// All cookies of a request, each `name=value` without surrounding white space (RFC 6265 section 4.2.1).
fn cookies<'r>(headers: impl Iterator<Item = (&'r str, &'r [u8])>) -> impl Iterator<Item = &'r [u8]> {
    headers
        .filter(|(name, _)| name.eq_ignore_ascii_case("cookie"))
        .flat_map(|(_, line)| line.split(|byte| *byte == b';'))
        .map(<[u8]>::trim_ascii)
        .filter(|pair| !pair.is_empty())
}

/// The name and value of a cookie, without double quotes around the value.
fn cookie(pair: &[u8]) -> (&[u8], &[u8]) {
    let mut parts = pair.splitn(2, |byte| *byte == b'=').map(<[u8]>::trim_ascii);
    let (name, value) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let unquoted = value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\""));
    (name, unquoted.unwrap_or(value))
}

#[cfg(test)]
mod tests;
