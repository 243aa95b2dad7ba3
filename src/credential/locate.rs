//! Finds the credential of a request, and removes it from what the upstream receives.
//!
//! A credential that arrives twice is refused, because the service might read the other one. An empty value
//! (`apikey:`, `?api_key=`) counts as absent.

use std::borrow::Cow;

use memchr::memchr;
use smallvec::SmallVec;

use crate::{
    grammar::{each, is_token_byte},
    headers::HeaderMap,
    query::{Escapes, Parameter, Query, decode},
};

mod application;
mod basic;
mod location;
mod locations;

pub use application::{PresentedApplication, locate_application};
pub use basic::BasicPart;
use location::{AUTHORIZATION, BASIC, Place};
pub use location::{InvalidLocation, Location};
pub use locations::{InvalidLocations, Locations};

/// The longest credential that is read, in bytes after decoding.
pub const MAX_CREDENTIAL: usize = 16 * 1024;

/// The most elements of a list in a header that are searched for a scheme. A longer list is refused.
const MOST_ELEMENTS: usize = 64;

/// A credential that is malformed or in the wrong place: the caller's fault (RFC 6750 section 3.1,
/// `invalid_request`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MisplacedCredential {
    /// In two places, or twice in one place. Other lines of the same header count, and so do other elements
    /// of a list in it, with any scheme.
    #[error("the credential appears twice")]
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

/// A credential that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Located<'r> {
    /// The credential, borrowed unless it had to be decoded.
    pub credential: Cow<'r, str>,
    /// Where it was found: an index into the locations.
    pub location: usize,
}

/// Finds the credential of a request in one of `locations`. Query and cookies are read once, by name,
/// whatever the number of locations, and not at all if no location is in them.
///
/// # Errors
///
/// The credential appears twice, cannot be decoded, is too long, or is not a single token after its scheme.
pub fn locate<'r>(
    locations: &Locations,
    headers: &'r HeaderMap,
    query: &'r Query<'_>,
) -> Result<Option<Located<'r>>, MisplacedCredential> {
    let mut found = None;
    for (location, Location(place)) in locations.iter().enumerate() {
        let credential = match place {
            Place::Header { name, scheme } => in_header(name, scheme.as_deref(), headers)?.map(Cow::Borrowed),
            Place::Basic(part) => match in_header(AUTHORIZATION, Some(BASIC), headers)? {
                Some(token) => part.of(token)?.map(Cow::Owned),
                None => None,
            },
            Place::Query(_) | Place::Cookie(_) => None,
        };
        if let Some(credential) = credential {
            found = only_one(found, Located { credential, location })?;
        }
    }
    if locations.reads_query() {
        for parameter in query.parameters() {
            if !parameter.value.is_empty()
                && let Some(location) = locations.query(parameter)
            {
                let credential = form_decode(parameter.value).ok_or(MisplacedCredential::Undecodable)?;
                if credential.len() > MAX_CREDENTIAL {
                    return Err(MisplacedCredential::TooLong);
                }
                found = only_one(found, Located { credential, location })?;
            }
        }
    }
    if locations.reads_cookies() {
        for pair in cookies(headers) {
            if let Some(location) = locations.cookies.find(cookie_name(pair)) {
                let value = cookie_value(pair);
                if !value.is_empty() {
                    found =
                        only_one(found, Located { credential: Cow::Borrowed(readable(value)?), location })?;
                }
            }
        }
    }
    Ok(found)
}

/// Whether there are more than `most` cookies. Empty ones count.
pub fn has_more_cookies_than(headers: &HeaderMap, most: usize) -> bool {
    let cookies = headers.values("cookie").flat_map(|line| line.split(|byte| *byte == b';'));
    cookies.take(most.saturating_add(1)).count() > most
}

/// The changes that remove the credential from a request. Everything else stays the same, byte for byte.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Removal<'l> {
    /// Headers to remove, all lines of each.
    pub headers: SmallVec<[&'l str; 2]>,
    /// The new query, empty if nothing remains; `None` if it does not change.
    pub query: Option<String>,
    /// The new `cookie` header, a single line; `None` if the cookies do not change, or if all are removed
    /// (then `headers` has `cookie`).
    pub cookie: Option<Vec<u8>>,
}

/// What to remove from a request so that none of `locations` holds a credential, even if [`locate`] refuses
/// it.
pub fn removal<'l>(locations: &'l Locations, headers: &HeaderMap, query: &Query<'_>) -> Removal<'l> {
    let mut removal = Removal::default();
    for Location(place) in locations.iter() {
        let (name, scheme) = match place {
            Place::Header { name, scheme } => (name.as_str(), scheme.as_deref()),
            Place::Basic(_) => (AUTHORIZATION, Some(BASIC)),
            Place::Query(_) | Place::Cookie(_) => continue,
        };
        if !removal.headers.contains(&name) && lines(name, headers).any(|line| carries(line, scheme)) {
            removal.headers.push(name);
        }
    }
    if locations.reads_query() {
        let is_secret = |parameter: &&Parameter<'_>| locations.query(parameter).is_some();
        if query.parameters().iter().any(|parameter| is_secret(&parameter)) {
            let kept = query.parameters().iter().filter(|parameter| !is_secret(parameter));
            removal.query = Some(kept.map(|parameter| parameter.pair).collect::<Vec<_>>().join("&"));
        }
    }
    if locations.reads_cookies() {
        let is_secret = |pair: &&[u8]| locations.cookies.find(cookie_name(pair)).is_some();
        if cookies(headers).any(|pair| is_secret(&pair)) {
            let kept: Vec<_> = cookies(headers).filter(|pair| !is_secret(pair)).collect();
            if kept.is_empty() {
                removal.headers.push("cookie");
            } else {
                removal.cookie = Some(kept.join(b"; ".as_slice()));
            }
        }
    }
    removal
}

fn in_header<'r>(
    name: &str,
    scheme: Option<&str>,
    headers: &'r HeaderMap,
) -> Result<Option<&'r str>, MisplacedCredential> {
    let (mut found, mut count) = (None, 0_usize);
    for line in lines(name, headers).filter(|line| !line.is_empty()) {
        count = count.saturating_add(1);
        if found.is_none() && carries(line, scheme) {
            found = Some(line);
        }
    }
    let Some(line) = found else { return Ok(None) };
    if count > 1 {
        return Err(MisplacedCredential::Twice);
    }
    let credential = match scheme {
        Some(scheme) => only_token(line, scheme)?,
        None => line,
    };
    readable(credential).map(Some)
}

fn only_one<T>(first: Option<T>, second: T) -> Result<Option<T>, MisplacedCredential> {
    match first {
        Some(_) => Err(MisplacedCredential::Twice),
        None => Ok(Some(second)),
    }
}

fn readable(value: &[u8]) -> Result<&str, MisplacedCredential> {
    if value.len() > MAX_CREDENTIAL {
        return Err(MisplacedCredential::TooLong);
    }
    str::from_utf8(value).map_err(|_| MisplacedCredential::Undecodable)
}

/// The values of one header, without surrounding white space.
fn lines<'r>(name: &str, headers: &'r HeaderMap) -> impl Iterator<Item = &'r [u8]> + Clone {
    headers.values(name).map(<[u8]>::trim_ascii)
}

/// Whether a line carries a credential, well-formed or not. Without a scheme every line does, and so does a
/// list that is too long to be searched.
fn carries(line: &[u8], scheme: Option<&str>) -> bool {
    scheme.is_none_or(|scheme| {
        if memchr(b',', line).is_none() {
            return after_scheme(line.trim_ascii(), scheme).is_some();
        }
        let mut list = elements(line);
        list.by_ref().take(MOST_ELEMENTS).any(|element| after_scheme(element, scheme).is_some())
            || list.next().is_some()
    })
}

/// The token of the only credential in a line that [`carries`] one.
fn only_token<'r>(line: &'r [u8], scheme: &str) -> Result<&'r [u8], MisplacedCredential> {
    let only = |line| after_scheme(line, scheme).and_then(token68).ok_or(MisplacedCredential::NotOneToken);
    if memchr(b',', line).is_none() {
        return only(line);
    }
    let is_first = elements(line).take(1).any(|first| after_scheme(first, scheme).is_some());
    if !is_first
        || elements(line).nth(MOST_ELEMENTS).is_some()
        || elements(line).skip(1).any(|other| names_scheme(other) || carries(other, Some(scheme)))
    {
        return Err(MisplacedCredential::Twice);
    }
    only(line)
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
    let scheme = scheme.as_bytes();
    (ends_here && (start == scheme || start.eq_ignore_ascii_case(scheme))).then_some(rest)
}

/// The `token68` (RFC 9110 section 11.2; `b64token` in RFC 6750) after the scheme and at least one space.
fn token68(after_scheme: &[u8]) -> Option<&[u8]> {
    let token = after_scheme.strip_prefix(b" ")?.trim_ascii_start();
    let padding = token.iter().rev().take_while(|byte| **byte == b'=').count();
    let (text, _) = token.split_at_checked(token.len().saturating_sub(padding))?;
    let is_allowed = |byte: u8| {
        let is_letter = (byte | 0x20).wrapping_sub(b'a') < 26;
        // Digits and `-`, `.`, `/` are next to each other.
        let is_digit_or_mark = byte.wrapping_sub(b'-') < 13;
        is_letter | is_digit_or_mark | (byte == b'+') | (byte == b'_') | (byte == b'~')
    };
    (!text.is_empty() && each(text, is_allowed)).then_some(token)
}

/// Decodes a form-urlencoded text. Unlike the `form_urlencoded` crate, it rejects malformed escapes and bytes
/// that are not UTF-8.
fn form_decode(raw: &str) -> Option<Cow<'_, str>> {
    if !raw.contains(['%', '+']) {
        return Some(Cow::Borrowed(raw));
    }
    let mut decoded = Vec::with_capacity(raw.len());
    match decode(raw, &mut decoded) {
        Escapes::Whole => String::from_utf8(decoded).ok().map(Cow::Owned),
        Escapes::Broken => None,
    }
}

/// All cookies of a request, each `name=value` without surrounding white space (RFC 6265 section 4.2.1).
fn cookies(headers: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    headers
        .values("cookie")
        .flat_map(|line| line.split(|byte| *byte == b';'))
        .map(<[u8]>::trim_ascii)
        .filter(|pair| !pair.is_empty())
}

/// The name of a cookie.
fn cookie_name(pair: &[u8]) -> &[u8] {
    pair.split(|byte| *byte == b'=').next().unwrap_or_default().trim_ascii()
}

/// The value of a cookie, without double quotes around it.
fn cookie_value(pair: &[u8]) -> &[u8] {
    let value = pair.splitn(2, |byte| *byte == b'=').nth(1).unwrap_or_default().trim_ascii();
    let unquoted = value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\""));
    unquoted.unwrap_or(value)
}

#[cfg(test)]
mod tests;
