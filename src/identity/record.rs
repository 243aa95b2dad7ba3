//! What an authorization server says about a token.

use std::borrow::Cow;

use super::{Confirmation, KeptClaims};
use crate::time::Timestamp;

/// A provider's answer about a credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Vouched<'a> {
    /// The token is not active; the server does not say why.
    Inactive,
    /// The token is active, with what is known about it.
    Active(Identity<'a>),
}

/// What is known about an active token (RFC 7662 section 2.2). Texts are as the server wrote them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity<'a> {
    /// When the token expires.
    pub exp: Option<Timestamp>,
    /// The moment before which the token is not valid.
    pub nbf: Option<Timestamp>,
    /// When the token was issued.
    pub iat: Option<Timestamp>,
    /// The subject that the token represents.
    pub sub: Option<Cow<'a, str>>,
    /// The OAuth2 client that the token was issued to: `client_id`, or else `azp`.
    pub client_id: Option<Cow<'a, str>>,
    /// The user's readable name.
    pub username: Option<Cow<'a, str>>,
    /// The issuer of the token.
    pub iss: Option<Cow<'a, str>>,
    /// `Bearer`, `DPoP`, …
    pub token_type: Option<Cow<'a, str>>,
    /// `access_token` or `refresh_token`, as Ory Hydra reports it.
    pub token_use: Option<Cow<'a, str>>,
    /// The kind of token, as Keycloak reports it: `Bearer`, `Refresh`, `ID`, ….
    pub typ: Option<Cow<'a, str>>,
    /// Granted scopes, separated by ASCII spaces.
    pub scope: Cow<'a, str>,
    /// The audiences that the token was issued for.
    pub audiences: Audiences<'a>,
    /// Who may use the token.
    pub confirmation: Confirmation,
    /// The claims that the policy asks for beside these.
    pub claims: KeptClaims<'a>,
}

/// The audiences of a token, possibly none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Audiences<'a>(pub(super) Cow<'a, str>);

impl Audiences<'_> {
    const SEPARATOR: char = '\n';

    /// The audiences in `values`, in order and without empty ones; `None` if one contains a line break, which
    /// valid audiences never do.
    pub fn new(values: &[String]) -> Option<Audiences<'static>> {
        if values.iter().any(|value| value.contains(Self::SEPARATOR)) {
            return None;
        }
        let values: Vec<_> = values.iter().map(String::as_str).filter(|value| !value.is_empty()).collect();
        Some(Audiences(Cow::Owned(values.join("\n"))))
    }

    /// The audiences, in order.
    pub fn iter(&self) -> impl Iterator<Item = &str> + Clone {
        self.0.split(Self::SEPARATOR).filter(|value| !value.is_empty())
    }
}

impl Identity<'_> {
    /// The total size of all texts, in bytes.
    pub(super) fn bytes(&self) -> usize {
        let Self {
            exp: _,
            nbf: _,
            iat: _,
            sub,
            client_id,
            username,
            iss,
            token_type,
            token_use,
            typ,
            scope,
            audiences,
            confirmation: _,
            claims,
        } = self;
        let optional = [sub, client_id, username, iss, token_type, token_use, typ].into_iter().flatten();
        optional.chain([scope, &audiences.0, &claims.0]).map(|text| text.len()).fold(0, usize::saturating_add)
    }

    /// The granted scopes.
    pub fn scopes(&self) -> impl Iterator<Item = &str> + Clone {
        let mut rest: &str = &self.scope;
        std::iter::from_fn(move || {
            // Scopes are short and there may be thousands: `str::split` would take three times as long.
            let start = rest.bytes().position(|byte| byte != b' ')?;
            let from_start = rest.get(start..)?;
            let end = from_start.bytes().position(|byte| byte == b' ').unwrap_or(from_start.len());
            let (scope, after) = from_start.split_at_checked(end)?;
            rest = after;
            Some(scope)
        })
    }
}

impl Vouched<'_> {
    /// The same answer, independent of the bytes it was decoded from.
    pub fn into_owned(self) -> Vouched<'static> {
        match self {
            Self::Inactive => Vouched::Inactive,
            Self::Active(claims) => Vouched::Active(claims.into_owned()),
        }
    }
}

impl Identity<'_> {
    /// The same identity, independent of the bytes it was decoded from.
    pub fn into_owned(self) -> Identity<'static> {
        let owned = |text: Cow<'_, str>| Cow::Owned(text.into_owned());
        let Self {
            exp,
            nbf,
            iat,
            sub,
            client_id,
            username,
            iss,
            token_type,
            token_use,
            typ,
            scope,
            audiences,
            confirmation,
            claims,
        } = self;
        Identity {
            exp,
            nbf,
            iat,
            sub: sub.map(owned),
            client_id: client_id.map(owned),
            username: username.map(owned),
            iss: iss.map(owned),
            token_type: token_type.map(owned),
            token_use: token_use.map(owned),
            typ: typ.map(owned),
            scope: owned(scope),
            audiences: Audiences(owned(audiences.0)),
            confirmation,
            claims: KeptClaims(owned(claims.0)),
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    #[cfg(all(target_family = "wasm", target_os = "unknown"))]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    pub fn full() -> Identity<'static> {
        Identity {
            exp: Some(Timestamp::from_seconds(2_000)),
            nbf: Some(Timestamp::from_seconds(1_000)),
            iat: Some(Timestamp::from_seconds(1_000)),
            sub: Some("alice".into()),
            client_id: Some("acme-web".into()),
            username: Some("Alice Ö".into()),
            iss: Some("https://idp".into()),
            token_type: Some("Bearer".into()),
            token_use: Some("access_token".into()),
            typ: Some("Bearer".into()),
            scope: "orders.read orders.write".into(),
            audiences: Audiences::new(&["orders".to_owned(), "files".to_owned()]).unwrap(),
            confirmation: Confirmation::None,
            claims: KeptClaims("=alice@example.com\n[reader\twriter\n".into()),
        }
    }

    #[test]
    fn scopes_are_split_at_spaces_only() {
        let claims = Identity { scope: " a  b\tc ".into(), ..Identity::default() };
        assert_eq!(claims.scopes().collect::<Vec<_>>(), ["a", "b\tc"]);
        assert_eq!(Identity::default().scopes().count(), 0);
    }

    #[test]
    fn audiences_are_kept_as_listed() {
        let audiences =
            |values: &[&str]| Audiences::new(&values.iter().map(ToString::to_string).collect::<Vec<_>>());
        assert_eq!(audiences(&["b c", "", "a"]).unwrap().iter().collect::<Vec<_>>(), ["b c", "a"]);
        assert_eq!(audiences(&[]).unwrap().iter().count(), 0);
        assert_eq!(audiences(&["a\nb"]), None);
    }
}
