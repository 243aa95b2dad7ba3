//! The members that are read of a token's claims, and of an endpoint's answer about a token.

use std::borrow::Cow;

use serde::{Deserialize, de::IgnoredAny};

use super::{Audiences, Confirmation, Identity, KeptClaims};
use crate::time::Timestamp;

/// The members that are read. `null` means absent, and unknown members are skipped. None of these may appear
/// twice. `A` is what `active` means: answers must have it, and in claims it has no meaning.
#[derive(Deserialize)]
pub(super) struct Claims<A> {
    pub(super) active: A,
    exp: Option<f64>,
    nbf: Option<f64>,
    iat: Option<f64>,
    sub: Option<String>,
    client_id: Option<String>,
    azp: Option<String>,
    username: Option<String>,
    iss: Option<String>,
    token_type: Option<String>,
    token_use: Option<String>,
    typ: Option<String>,
    aud: Option<OneOrMany>,
    scope: Option<OneOrMany>,
    scp: Option<OneOrMany>,
    scopes: Option<OneOrMany>,
    cnf: Option<Confirmation>,
    at_hash: Option<IgnoredAny>,
    c_hash: Option<IgnoredAny>,
}

/// A text, or a list of texts.
#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl<A> Claims<A> {
    /// What only ID tokens have: the hash of an access token or of a code.
    pub(super) const fn belongs_to_an_id_token(&self) -> bool {
        self.at_hash.is_some() || self.c_hash.is_some()
    }

    /// The identity that they describe; `None` if they are invalid. `moment` reads a `NumericDate`.
    pub(super) fn into_identity(self, moment: fn(f64) -> Option<Timestamp>) -> Option<Identity<'static>> {
        let scope = match self.scope.or(self.scp).or(self.scopes) {
            Some(OneOrMany::One(scopes)) => scopes,
            Some(OneOrMany::Many(scopes)) => joined(scopes),
            None => String::new(),
        };
        let audiences = match self.aud {
            Some(OneOrMany::One(audience)) => vec![audience],
            Some(OneOrMany::Many(audiences)) => audiences,
            None => Vec::new(),
        };
        let time = |seconds: Option<f64>| match seconds {
            Some(seconds) => moment(seconds).map(Some),
            None => Some(None),
        };
        Some(Identity {
            exp: time(self.exp)?,
            nbf: time(self.nbf)?,
            iat: time(self.iat)?,
            sub: self.sub.map(Cow::Owned),
            client_id: self.client_id.or(self.azp).map(Cow::Owned),
            username: self.username.map(Cow::Owned),
            iss: self.iss.map(Cow::Owned),
            token_type: self.token_type.map(Cow::Owned),
            token_use: self.token_use.map(Cow::Owned),
            typ: self.typ.map(Cow::Owned),
            scope: Cow::Owned(scope),
            audiences: Audiences::new(&audiences)?,
            confirmation: self.cnf.unwrap_or_default(),
            claims: KeptClaims::default(),
        })
    }
}

/// Joins a list of scopes. An entry with a space is left out: no rule can require it, and it must not be read
/// as two scopes.
fn joined(mut scopes: Vec<String>) -> String {
    scopes.retain(|scope| !scope.contains(' '));
    scopes.join(" ")
}
