//! The places in a request where a policy looks for credentials.

use std::fmt;

use super::basic::BasicPart;
use crate::grammar::is_token;

/// The header that carries Basic credentials, and their scheme.
pub(super) const AUTHORIZATION: &str = "authorization";
pub(super) const BASIC: &str = "Basic";

/// A place in a request that may hold a credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location(pub(super) Place);

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Header { name: String, scheme: Option<String> },
    Query(String),
    Cookie(String),
    Basic(BasicPart),
}

/// Why a place is invalid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidLocation {
    /// Not a header name (RFC 9110 section 5.1); pseudo-headers such as `:path` are not allowed.
    #[error("not a header name")]
    HeaderName,
    /// `cookie` as a plain header.
    #[error("the `cookie` header is read through a cookie location, by cookie name")]
    CookieHeader,
    /// Not an authentication scheme of RFC 9110 section 11.1.
    #[error("not an authentication scheme")]
    Scheme,
    /// An empty parameter name.
    #[error("the name of a query parameter must not be empty")]
    QueryName,
    /// Not a cookie name of RFC 6265 section 4.1.1.
    #[error("not a cookie name")]
    CookieName,
}

impl Location {
    /// A header, in any case. With a scheme, only `<scheme> <token68>` (RFC 9110 section 11.4) is a
    /// credential, and values of other schemes are ignored. Without one, the whole value is the credential.
    pub fn header(name: &str, scheme: Option<&str>) -> Result<Self, InvalidLocation> {
        if !is_token(name) {
            return Err(InvalidLocation::HeaderName);
        }
        if name.eq_ignore_ascii_case("cookie") {
            return Err(InvalidLocation::CookieHeader);
        }
        if !scheme.is_none_or(is_token) {
            return Err(InvalidLocation::Scheme);
        }
        Ok(Self(Place::Header { name: name.to_ascii_lowercase(), scheme: scheme.map(str::to_owned) }))
    }

    /// A query parameter, by decoded name; case-sensitive.
    pub fn query(name: &str) -> Result<Self, InvalidLocation> {
        if name.is_empty() {
            return Err(InvalidLocation::QueryName);
        }
        Ok(Self(Place::Query(name.to_owned())))
    }

    /// A cookie; case-sensitive.
    pub fn cookie(name: &str) -> Result<Self, InvalidLocation> {
        if !is_token(name) {
            return Err(InvalidLocation::CookieName);
        }
        Ok(Self(Place::Cookie(name.to_owned())))
    }

    /// A part of what `Authorization: Basic` carries (RFC 7617).
    pub const fn basic(part: BasicPart) -> Self {
        Self(Place::Basic(part))
    }

    /// Whether the place is in `Authorization: Basic`.
    pub const fn is_basic(&self) -> bool {
        matches!(self.0, Place::Basic(_))
    }

    /// Whether one credential could be in both places at once. Naming both would then refuse every request.
    pub fn overlaps(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Place::Header { name: a, scheme: s }, Place::Header { name: b, scheme: t }) => {
                a == b && s.as_ref().zip(t.as_ref()).is_none_or(|(s, t)| s.eq_ignore_ascii_case(t))
            }
            (Place::Basic(a), Place::Basic(b)) => a.overlaps(*b),
            (Place::Header { name, scheme }, Place::Basic(_))
            | (Place::Basic(_), Place::Header { name, scheme }) => {
                name == AUTHORIZATION
                    && scheme.as_ref().is_none_or(|scheme| scheme.eq_ignore_ascii_case(BASIC))
            }
            (a, b) => a == b,
        }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Place::Header { name, scheme: None } => write!(f, "header {name}"),
            Place::Header { name, scheme: Some(scheme) } => write!(f, "header {name} ({scheme})"),
            Place::Query(name) => write!(f, "query {}", name.escape_default()),
            Place::Cookie(name) => write!(f, "cookie {name}"),
            Place::Basic(part) => write!(f, "header authorization (Basic, {part})"),
        }
    }
}
