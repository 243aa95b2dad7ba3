//! Sets of public keys (RFC 7517 section 5), and which key of a set a token names.

use serde::Deserialize;
use serde_json::Value;

use super::{Algorithm, Jws, jws::object, key::Key, pem};
use crate::identity::TokenFault;

/// The longest key set that is read, in bytes.
pub const MAX_KEY_SET: usize = 256 * 1024;

/// The most keys in a set, with those that are not used.
const MOST_KEYS: usize = 100;

/// Public keys that verify tokens. There is at least one.
#[derive(Clone, Debug)]
pub struct KeySet(Vec<Key>);

/// Why a text is not a key set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidKeySet {
    /// Neither JSON with `keys`, nor PEM.
    #[error("neither a JSON Web Key Set nor public keys in PEM")]
    Unreadable,
    /// The text is too long.
    #[error("a key set must not be longer than {MAX_KEY_SET} bytes")]
    TooLong,
    /// There are too many keys.
    #[error("a key set must not have more than {MOST_KEYS} keys")]
    TooMany,
    /// No key can be used.
    #[error(
        "no key can verify signatures: expected RSA with 2,048 to 4,096 bits, P-256, P-384, P-521 or Ed25519"
    )]
    NoKey,
}

impl KeySet {
    /// Reads a JSON Web Key Set. Keys of other kinds, and those for other purposes, are skipped.
    ///
    /// # Errors
    ///
    /// It is not a key set, it is too large, or no key is left.
    pub fn parse(json: &[u8]) -> Result<Self, InvalidKeySet> {
        #[derive(Deserialize)]
        struct Set {
            keys: Vec<Value>,
        }

        if json.len() > MAX_KEY_SET {
            return Err(InvalidKeySet::TooLong);
        }
        let Set { keys } = object(json).ok_or(InvalidKeySet::Unreadable)?;
        if keys.len() > MOST_KEYS {
            return Err(InvalidKeySet::TooMany);
        }
        Self::of(keys.into_iter().filter_map(Key::from_jwk).collect())
    }

    /// Reads what an operator wrote: a JSON Web Key Set, or public keys in PEM, which have no names.
    ///
    /// # Errors
    ///
    /// As for [`Self::parse`].
    pub fn parse_written(text: &str) -> Result<Self, InvalidKeySet> {
        if text.trim_start().starts_with('{') {
            return Self::parse(text.as_bytes());
        }
        if text.len() > MAX_KEY_SET {
            return Err(InvalidKeySet::TooLong);
        }
        let keys = pem::keys(text).ok_or(InvalidKeySet::Unreadable)?;
        if keys.len() > MOST_KEYS {
            return Err(InvalidKeySet::TooMany);
        }
        let key = |material| Some(Key { kid: None, algorithm: None, material: material? });
        Self::of(keys.into_iter().filter_map(key).collect())
    }

    fn of(keys: Vec<Key>) -> Result<Self, InvalidKeySet> {
        if keys.is_empty() { Err(InvalidKeySet::NoKey) } else { Ok(Self(keys)) }
    }

    /// The one key that may have signed the token: that of its name, or else, if only one without a name fits
    /// the algorithm, that one. A token without a name may be of any key, if only one fits.
    pub(super) fn find(&self, jws: &Jws<'_>) -> Result<&Key, TokenFault> {
        let Some(kid) = &jws.kid else { return self.one(jws.algorithm, |_| true) };
        if self.0.iter().any(|key| key.kid.as_ref() == Some(kid)) {
            self.one(jws.algorithm, |key| key.kid.as_ref() == Some(kid))
        } else if self.0.iter().any(|key| key.kid.is_none()) {
            self.one(jws.algorithm, |key| key.kid.is_none())
        } else {
            Err(TokenFault::UnknownKey)
        }
    }

    fn one(&self, algorithm: Algorithm, may: impl Fn(&Key) -> bool) -> Result<&Key, TokenFault> {
        let mut fitting = self.0.iter().filter(|key| may(key) && key.fits(algorithm));
        match (fitting.next(), fitting.next()) {
            (Some(key), None) => Ok(key),
            _ => Err(TokenFault::NoFittingKey),
        }
    }
}
