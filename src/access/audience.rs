//! Audiences: the services that a token must have been issued for.

/// Audiences of which a token must name at least one, or all. The list is not empty and has no duplicates.
/// Values are compared byte by byte.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Audience {
    needs: Needs,
    values: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Needs {
    Any,
    All,
}

/// Why a list of audiences is invalid.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidAudience {
    /// The list is empty. To accept tokens for any audience, leave it out.
    #[error("a list of audiences must not be empty")]
    Empty,
    /// There are too many.
    #[error("there are more than {} audiences", Audience::MOST)]
    TooMany,
    /// A value is empty.
    #[error("an audience must not be empty")]
    EmptyValue,
    /// An audience appears twice.
    #[error("audience `{0}` is listed twice")]
    Twice(String),
}

impl Audience {
    /// The most audiences in a list. A token's audiences are compared with each of them.
    pub const MOST: usize = 16;

    /// Tokens must name at least one of `values`.
    ///
    /// # Errors
    ///
    /// The list is empty, or contains a duplicate or an empty audience.
    pub fn any(values: Vec<String>) -> Result<Self, InvalidAudience> {
        Self::new(Needs::Any, values)
    }

    /// Tokens must name every one of `values`.
    ///
    /// # Errors
    ///
    /// As for [`Self::any`].
    pub fn all(values: Vec<String>) -> Result<Self, InvalidAudience> {
        Self::new(Needs::All, values)
    }

    fn new(needs: Needs, values: Vec<String>) -> Result<Self, InvalidAudience> {
        if values.is_empty() {
            return Err(InvalidAudience::Empty);
        }
        if values.len() > Self::MOST {
            return Err(InvalidAudience::TooMany);
        }
        for (index, value) in values.iter().enumerate() {
            if value.is_empty() {
                return Err(InvalidAudience::EmptyValue);
            }
            if values.iter().take(index).any(|earlier| earlier == value) {
                return Err(InvalidAudience::Twice(value.clone()));
            }
        }
        Ok(Self { needs, values })
    }

    /// Whether a token with the audiences `named` is meant for us. A token without audiences is not. Reads
    /// them once.
    pub fn accepts<'n>(&self, named: impl Iterator<Item = &'n str>) -> bool {
        let mut is_named = [false; Self::MOST];
        let wanted = self.values.len();
        for name in named {
            for (is_named, wanted) in is_named.iter_mut().zip(&self.values) {
                *is_named |= name == wanted;
            }
        }
        let mut is_named = is_named.into_iter().take(wanted);
        match self.needs {
            Needs::Any => is_named.any(|is_named| is_named),
            Needs::All => is_named.all(|is_named| is_named),
        }
    }
}

#[cfg(test)]
mod tests {
    #[cfg(all(target_family = "wasm", target_os = "unknown"))]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    fn list(values: &[&str]) -> Vec<String> {
        values.iter().map(|value| (*value).to_owned()).collect()
    }

    #[test]
    fn audiences_are_validated() {
        assert_eq!(Audience::any(list(&[])), Err(InvalidAudience::Empty));
        assert_eq!(Audience::all(list(&["a", ""])), Err(InvalidAudience::EmptyValue));
        assert_eq!(Audience::any(list(&["a"; 17])), Err(InvalidAudience::TooMany));
        assert_eq!(Audience::all(list(&["a", "a"])), Err(InvalidAudience::Twice("a".to_owned())));
    }

    #[test]
    fn any_and_all_differ() {
        let table = [
            (&[][..], false, false),
            (&["a"], true, false),
            (&["b", "c", "a"], true, true),
            (&["A"], false, false),
        ];
        for (named, any, all) in table {
            assert_eq!(
                Audience::any(list(&["a", "b"])).unwrap().accepts(named.iter().copied()),
                any,
                "{named:?}"
            );
            assert_eq!(
                Audience::all(list(&["a", "b"])).unwrap().accepts(named.iter().copied()),
                all,
                "{named:?}"
            );
        }
    }
}
