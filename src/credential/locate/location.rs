//! The places where a policy says that credentials sit.

/// One place where a credential may sit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location(pub(super) Place);

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Header { name: String, scheme: Option<String> },
    Query(String),
    Cookie(String),
}

/// Why a place cannot hold a credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidLocation {
    /// Not a `token` of RFC 9110 section 5.6.2; pseudo headers such as `:path` are none.
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
    /// A header, of any case. With a scheme only `<scheme> <token68>` (RFC 9110 section 11.4) is a credential and other
    /// schemes are somebody else's; without one the whole value is.
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

    /// A query parameter, named as it reads after decoding; case matters.
    pub fn query(name: &str) -> Result<Self, InvalidLocation> {
        if name.is_empty() {
            return Err(InvalidLocation::QueryName);
        }
        Ok(Self(Place::Query(name.to_owned())))
    }

    /// A cookie; case matters.
    pub fn cookie(name: &str) -> Result<Self, InvalidLocation> {
        if !is_token(name) {
            return Err(InvalidLocation::CookieName);
        }
        Ok(Self(Place::Cookie(name.to_owned())))
    }

    /// Whether one credential could sit in both places at once, so that naming both would refuse every request.
    pub fn overlaps(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Place::Header { name: a, scheme: s }, Place::Header { name: b, scheme: t }) => {
                a == b && s.as_ref().zip(t.as_ref()).is_none_or(|(s, t)| s.eq_ignore_ascii_case(t))
            }
            (a, b) => a == b,
        }
    }
}

fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(is_token_byte)
}

pub(super) fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}
