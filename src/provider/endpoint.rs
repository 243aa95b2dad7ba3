//! The URL of an introspection endpoint, parsed strictly.

use url::Url;

/// An absolute `http` or `https` URL that a request can be sent to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint(Url);

/// Why a text is not an [`Endpoint`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidEndpoint {
    /// The text is not of the form `scheme://host…`.
    #[error("not an absolute URL")]
    NotAUrl,
    /// The scheme is neither `http` nor `https`.
    #[error("the scheme must be `http` or `https`")]
    Scheme,
    /// The URL contains `user:password@`, which would be logged.
    #[error("credentials belong in `authentication`, not in the URL")]
    UserInfo,
    /// The URL has a fragment, which is never sent to a server.
    #[error("the URL must not have a fragment")]
    Fragment,
}

impl Endpoint {
    /// Parses a URL. What browsers merely tolerate (backslashes, white space, one slash) is an error.
    pub fn parse(text: &str) -> Result<Self, InvalidEndpoint> {
        let is_odd = |c: char| c.is_whitespace() || c.is_control() || c == '\\';
        let after_scheme = text.split_once("://").map_or("", |(_, rest)| rest);
        if after_scheme.is_empty() || after_scheme.starts_with('/') || text.contains(is_odd) {
            return Err(InvalidEndpoint::NotAUrl);
        }
        let url = Url::parse(text).map_err(|_| InvalidEndpoint::NotAUrl)?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(InvalidEndpoint::Scheme);
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(InvalidEndpoint::UserInfo);
        }
        if url.fragment().is_some() {
            return Err(InvalidEndpoint::Fragment);
        }
        Ok(Self(url))
    }

    /// The URL in its canonical form.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// `http` or `https`.
    pub fn scheme(&self) -> &str {
        self.0.scheme()
    }

    /// Host, and the port unless it is the scheme's default.
    pub fn authority(&self) -> &str {
        self.0.authority()
    }

    /// Path and query.
    pub fn path(&self) -> String {
        match self.0.query() {
            Some(query) => format!("{}?{query}", self.0.path()),
            None => self.0.path().to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    #[cfg(all(target_family = "wasm", target_os = "unknown"))]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    fn urls_are_read_strictly() {
        let table = [
            ("", InvalidEndpoint::NotAUrl),
            ("/introspect", InvalidEndpoint::NotAUrl),
            ("http:as", InvalidEndpoint::NotAUrl),
            ("http:///as", InvalidEndpoint::NotAUrl),
            ("http://", InvalidEndpoint::NotAUrl),
            ("http://as\\x", InvalidEndpoint::NotAUrl),
            ("http://a s", InvalidEndpoint::NotAUrl),
            ("http://as:99999", InvalidEndpoint::NotAUrl),
            ("ftp://as", InvalidEndpoint::Scheme),
            ("http://a:b@as", InvalidEndpoint::UserInfo),
            ("http://as/#x", InvalidEndpoint::Fragment),
        ];
        for (text, error) in table {
            assert_eq!(Endpoint::parse(text), Err(error), "{text}");
        }
    }

    #[test]
    fn urls_are_taken_apart_for_a_request() {
        for (text, scheme, authority, path) in [
            ("https://as", "https", "as", "/"),
            ("https://as:443/a/b?c=d", "https", "as", "/a/b?c=d"),
            ("http://[::1]:4445/x", "http", "[::1]:4445", "/x"),
        ] {
            let endpoint = Endpoint::parse(text).unwrap();
            assert_eq!(
                (endpoint.scheme(), endpoint.authority(), endpoint.path().as_str()),
                (scheme, authority, path)
            );
        }
    }
}
