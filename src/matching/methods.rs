//! The methods that a rule covers.

use crate::grammar::is_token;

/// All methods, or some of them by name. Names are case-sensitive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Methods(Option<Vec<String>>);

/// Why a list of methods is invalid.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidMethods {
    /// The list is empty.
    #[error("a list of methods must not be empty")]
    Empty,
    /// There are too many.
    #[error("there are more than {} methods", Methods::MOST)]
    TooMany,
    /// The name is not a token (RFC 9110, section 9.1).
    #[error("`{0}` is not a method")]
    NotAToken(String),
    /// The name appears twice.
    #[error("the method `{0}` is listed twice")]
    Duplicate(String),
}

impl Methods {
    /// The most methods in a list. A request's method is compared with each of them.
    pub const MOST: usize = 64;

    /// Every method.
    pub const ALL: Self = Self(None);

    /// Exactly these methods.
    ///
    /// # Errors
    ///
    /// The list is empty, or contains a duplicate or something that is not a method.
    pub fn named(names: Vec<String>) -> Result<Self, InvalidMethods> {
        if names.is_empty() {
            return Err(InvalidMethods::Empty);
        }
        if names.len() > Self::MOST {
            return Err(InvalidMethods::TooMany);
        }
        let mut earlier = names.iter();
        while let Some(name) = earlier.next_back() {
            if !is_token(name) {
                return Err(InvalidMethods::NotAToken(name.clone()));
            }
            if earlier.as_slice().contains(name) {
                return Err(InvalidMethods::Duplicate(name.clone()));
            }
        }
        Ok(Self(Some(names)))
    }

    /// Whether the list covers `method`; `GET` covers `HEAD`.
    #[inline]
    pub fn admit(&self, method: &str) -> bool {
        self.contain(method) || (method == "HEAD" && self.contain("GET"))
    }

    /// Whether the list names `method` itself.
    pub(super) fn contain(&self, method: &str) -> bool {
        self.0.as_ref().is_none_or(|names| names.iter().any(|name| name == method))
    }

    /// The names; empty for all methods.
    pub(super) fn names(&self) -> &[String] {
        self.0.as_deref().unwrap_or_default()
    }

    /// Adds `HEAD` if `GET` is named.
    pub(super) fn cover_head(&mut self) {
        if let Some(names) = &mut self.0
            && names.iter().any(|name| name == "GET")
        {
            names.push("HEAD".to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    #[cfg(all(target_family = "wasm", target_os = "unknown"))]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    fn named(names: &[&str]) -> Result<Methods, InvalidMethods> {
        Methods::named(names.iter().map(|&name| name.to_owned()).collect())
    }

    #[test]
    fn methods_are_case_sensitive_and_get_covers_head() {
        let methods = named(&["GET", "M-SEARCH"]).unwrap();
        assert!(methods.admit("GET") && methods.admit("HEAD") && methods.admit("M-SEARCH"));
        assert!(!methods.admit("get") && !methods.admit("POST") && !methods.admit(""));
        assert!(!named(&["POST"]).unwrap().admit("HEAD"));
        assert!(Methods::ALL.admit("anything"));
    }

    #[test]
    fn invalid_lists_are_errors() {
        assert_eq!(named(&[]), Err(InvalidMethods::Empty));
        let many: Vec<_> = (0..65).map(|name| name.to_string()).collect();
        assert!(Methods::named(many[1..].to_vec()).is_ok());
        assert_eq!(Methods::named(many), Err(InvalidMethods::TooMany));
        for name in ["", "GET POST", "GET,POST", "GÉT", "{any}"] {
            assert_eq!(named(&["PUT", name]), Err(InvalidMethods::NotAToken(name.to_owned())));
        }
        assert_eq!(named(&["GET", "PUT", "GET"]), Err(InvalidMethods::Duplicate("GET".to_owned())));
    }
}
