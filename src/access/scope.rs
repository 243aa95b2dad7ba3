//! Scopes: what a rule requires, and whether a token's scopes cover it, compared by one of Ory's three
//! strategies.

/// How a granted scope is compared with a required one. Dots separate segments.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ScopeStrategy {
    /// A scope covers only itself.
    #[default]
    Exact,
    /// `foo` covers `foo`, `foo.bar` and deeper, but not `foobar`.
    Hierarchic,
    /// A `*` in the granted scope matches one segment that is not empty; as the last segment, it matches all
    /// that follow. `foo.*` covers `foo.bar` and deeper, but not `foo`.
    Wildcard,
}

/// Scopes that must all be granted. At least one, without duplicates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequiredScopes {
    strategy: ScopeStrategy,
    scopes: Vec<String>,
}

/// Why a list of required scopes is invalid.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidScopes {
    /// The list is empty. To require no scope, leave it out.
    #[error("a list of required scopes must not be empty")]
    Empty,
    /// There are too many.
    #[error("there are more than {} required scopes", RequiredScopes::MOST)]
    TooMany,
    /// Not a `scope-token` (RFC 6749 section 3.3).
    #[error("`{0}` is not a scope: expected visible ASCII characters without quotes and backslashes")]
    NotAScope(String),
    /// A scope appears twice.
    #[error("scope `{0}` is listed twice")]
    Twice(String),
}

impl RequiredScopes {
    /// The most scopes that a rule requires. A token's scopes are compared with each of them.
    pub const MOST: usize = 16;

    /// Requires all of `scopes`.
    ///
    /// # Errors
    ///
    /// The list is empty, or contains a duplicate or something that is not a scope.
    pub fn new(strategy: ScopeStrategy, scopes: Vec<String>) -> Result<Self, InvalidScopes> {
        if scopes.is_empty() {
            return Err(InvalidScopes::Empty);
        }
        if scopes.len() > Self::MOST {
            return Err(InvalidScopes::TooMany);
        }
        for (index, scope) in scopes.iter().enumerate() {
            if !is_scope_token(scope) {
                return Err(InvalidScopes::NotAScope(scope.clone()));
            }
            if scopes.iter().take(index).any(|earlier| earlier == scope) {
                return Err(InvalidScopes::Twice(scope.clone()));
            }
        }
        Ok(Self { strategy, scopes })
    }

    /// The required scopes, in the order in which they were listed.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.scopes.iter().map(String::as_str)
    }

    /// Whether a granted scope covers each required one. Reads the granted scopes once.
    pub fn are_granted<'g>(&self, granted: impl Iterator<Item = &'g str>) -> bool {
        let mut missing: [Option<&str>; Self::MOST] = [None; Self::MOST];
        for (missing, required) in missing.iter_mut().zip(self.iter()) {
            *missing = Some(required);
        }
        let mut count = self.scopes.len();
        for granted in granted {
            for missing in missing.iter_mut().take(self.scopes.len()) {
                if missing.is_some_and(|required| self.strategy.covers(granted, required)) {
                    *missing = None;
                    count = count.saturating_sub(1);
                }
            }
            if count == 0 {
                return true;
            }
        }
        false
    }
}

impl ScopeStrategy {
    fn covers(self, granted: &str, required: &str) -> bool {
        match self {
            Self::Exact => granted == required,
            Self::Hierarchic => {
                required.strip_prefix(granted).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
            }
            Self::Wildcard => {
                granted == required || (granted.contains('*') && wildcard_covers(granted, required))
            }
        }
    }
}

fn wildcard_covers(granted: &str, required: &str) -> bool {
    let mut granted = granted.split('.').peekable();
    let mut required = required.split('.');
    loop {
        match (granted.next(), required.next()) {
            (None, None) => return true,
            (Some("*"), Some(segment)) if !segment.is_empty() => {
                if granted.peek().is_none() {
                    return true;
                }
            }
            (Some(literal), Some(segment)) if literal == segment => {}
            _ => return false,
        }
    }
}

fn is_scope_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\'))
}

#[cfg(test)]
mod tests {
    #[cfg(all(target_family = "wasm", target_os = "unknown"))]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    fn required(strategy: ScopeStrategy, scopes: &[&str]) -> Result<RequiredScopes, InvalidScopes> {
        RequiredScopes::new(strategy, scopes.iter().map(|scope| (*scope).to_owned()).collect())
    }

    #[test]
    fn required_scopes_are_validated() {
        let exact = |scopes: &[&str]| required(ScopeStrategy::Exact, scopes).unwrap_err();
        assert_eq!(exact(&[]), InvalidScopes::Empty);
        assert_eq!(exact(&["a", "b", "a"]), InvalidScopes::Twice("a".to_owned()));
        assert_eq!(exact(&["a"; 17]), InvalidScopes::TooMany);
        for wrong in ["", "a b", "a\"", "a\\", "é", "a\u{7f}"] {
            assert_eq!(exact(&[wrong]), InvalidScopes::NotAScope(wrong.to_owned()));
        }
    }

    #[test]
    fn all_required_scopes_must_be_granted() {
        let both = required(ScopeStrategy::Exact, &["read", "write"]).unwrap();
        assert!(both.are_granted("write read more".split(' ')));
        assert!(!both.are_granted("read".split(' ')));
        assert!(!both.are_granted(std::iter::empty()));
        assert_eq!(both.iter().collect::<Vec<_>>(), ["read", "write"]);
    }

    #[test]
    fn strategies_compare_as_ory_does() {
        use ScopeStrategy::{Exact, Hierarchic, Wildcard};
        let table = [
            (Exact, "foo", "foo", true),
            (Exact, "foo", "foo.bar", false),
            (Exact, "foo.*", "foo.bar", false),
            (Exact, "Foo", "foo", false),
            (Hierarchic, "foo", "foo", true),
            (Hierarchic, "foo", "foo.bar.baz", true),
            (Hierarchic, "foo", "foobar", false),
            (Hierarchic, "foo.bar", "foo", false),
            (Hierarchic, "foo.*", "foo.bar", false),
            (Wildcard, "foo", "foo", true),
            (Wildcard, "foo", "foo.bar", false),
            (Wildcard, "foo.*", "foo.bar", true),
            (Wildcard, "foo.*", "foo.bar.baz", true),
            (Wildcard, "foo.*", "foo", false),
            (Wildcard, "foo.*", "foo.", false),
            (Wildcard, "foo.*", "foobar", false),
            (Wildcard, "*", "foo.bar", true),
            (Wildcard, "foo.*.baz", "foo.bar.baz", true),
            (Wildcard, "foo.*.baz", "foo.bar.bar.baz", false),
            (Wildcard, "foo.*.baz", "foo..baz", false),
            (Wildcard, "foo.*.baz", "foo.bar", false),
            (Wildcard, "foo.*.*", "foo.bar", false),
            (Wildcard, "fo*", "foo", false),
        ];
        for (strategy, granted, wanted, covered) in table {
            let wanted = required(strategy, &[wanted]).unwrap();
            assert_eq!(
                wanted.are_granted([granted].into_iter()),
                covered,
                "{strategy:?} {granted} {wanted:?}"
            );
        }
    }
}
