//! Checks whether a token satisfies a rule. This runs on every request, whether the answer was cached or not.

use std::time::Duration;

use super::{ClaimIndex, Confirmation, Identity, Vouched};
use crate::{
    access::{Audience, RequiredScopes},
    credential::Digest,
    time::Timestamp,
};

/// A rule's requirements for tokens.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Requirement {
    /// Trusted issuers, compared byte by byte. If the list is not empty, a token must name one of them.
    pub issuers: Vec<String>,
    /// The audiences that the token must name.
    pub audience: Option<Audience>,
    /// The scopes that must have been granted.
    pub scopes: Option<RequiredScopes>,
    /// Claims that the token must have.
    pub claims: Vec<RequiredClaim>,
}

/// A claim that a token must have. A list has a value if it contains it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequiredClaim {
    /// The claim.
    pub claim: ClaimIndex,
    /// The values of which it must have one.
    pub values: Vec<String>,
}

/// Why a token does not satisfy a rule. The caller's fault; all but the last two are `invalid_token` in RFC
/// 6750.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenFault {
    /// Envoy was to verify the token, and has not.
    #[error("Envoy has not verified the token")]
    NotVerified,
    /// The policy revokes tokens, and the request does not have the one that Envoy has verified.
    #[error("the token that Envoy verified is not in the request, so it may be revoked")]
    Hidden,
    /// The policy revokes the token.
    #[error("the policy revokes the token")]
    Revoked,
    /// The server says that the token is inactive.
    #[error("the token is not active")]
    Inactive,
    /// `token_use` is neither `access_token` nor `access`; or only `typ` is present, and names a refresh
    /// token or an ID token.
    #[error("the token is not an access token")]
    NotAnAccessToken,
    /// `token_type` is neither `Bearer` nor `access_token`.
    #[error("the token is not a bearer token")]
    NotABearerToken,
    /// `exp` has been reached.
    #[error("the token has expired")]
    Expired,
    /// `nbf` is in the future.
    #[error("the token is not valid yet")]
    NotYetValid,
    /// `iat` is in the future.
    #[error("the token was issued in the future")]
    IssuedInFuture,
    /// `iss` is missing or not a trusted issuer.
    #[error("the issuer of the token is not trusted")]
    WrongIssuer,
    /// `aud` is missing, or does not contain a required audience.
    #[error("the token is meant for another audience")]
    WrongAudience,
    /// `cnf`: the token is for whoever presents a client certificate, and the caller presented no such one.
    #[error("the token is bound to a client certificate that the caller did not present")]
    WrongCertificate,
    /// `cnf`: only the holder of a key may use the token, and we cannot verify that the caller is the holder.
    #[error("the token is bound to a key, which is not verified")]
    SenderConstrained,
    /// The token is not a compact JWS, or its claims cannot be read.
    #[error("the token is not a valid JWT")]
    Malformed,
    /// `crit`: the token must not be accepted by who does not understand an extension.
    #[error("the header of the token names critical extensions")]
    CriticalHeader,
    /// `alg` is not one of the provider's algorithms.
    #[error("the token is signed with an algorithm that is not allowed")]
    WrongAlgorithm,
    /// A JWT without `exp`.
    #[error("the token does not say when it expires")]
    NoExpiry,
    /// A JWT without `iat`, where its lifetime is limited.
    #[error("the token does not say when it was issued")]
    NoIssuedAt,
    /// From `iat` to `exp` it is longer than the provider's `max_lifetime`.
    #[error("the lifetime of the token is too long")]
    LivesTooLong,
    /// No key has the name that the token gives.
    #[error("the key of the token is unknown")]
    UnknownKey,
    /// The key that the token names is not for its algorithm; or it names none, and several fit.
    #[error("no key or more than one fits the token")]
    NoFittingKey,
    /// The signature is not that of the key.
    #[error("the signature of the token is invalid")]
    BadSignature,
    /// A required scope is not granted (`insufficient_scope` in RFC 6750).
    #[error("the token lacks a required scope")]
    InsufficientScope,
    /// A claim does not have a required value (`insufficient_scope` as well).
    #[error("the token lacks a required claim")]
    InsufficientClaims,
}

/// How far the clock of whoever issued a token may differ from ours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tolerance {
    /// When `nbf` and `iat` are checked.
    pub start: Duration,
    /// When `exp` is checked. Nothing for an introspected token: the server that says "active" has already
    /// checked it, and an answer must not outlive the token (RFC 7662 section 4).
    pub end: Duration,
}

/// Runs the checks in a fixed order and returns the first failure. Scopes and claims come last, so that only
/// valid tokens get a 403.
///
/// `certificate` returns the digest of the caller's client certificate.
///
/// # Errors
///
/// The token does not satisfy the rule.
pub fn check(
    vouched: &Vouched<'_>,
    requirement: &Requirement,
    now: Timestamp,
    tolerance: Tolerance,
    certificate: impl FnOnce() -> Option<Digest>,
) -> Result<(), TokenFault> {
    let Vouched::Active(claims) = vouched else {
        return Err(TokenFault::Inactive);
    };
    check_kind(claims)?;
    check_times(claims, now, tolerance)?;
    holds(is_trusted(claims, &requirement.issuers), TokenFault::WrongIssuer)?;
    holds(
        requirement.audience.as_ref().is_none_or(|audience| audience.accepts(claims.audiences.iter())),
        TokenFault::WrongAudience,
    )?;
    match claims.confirmation {
        Confirmation::None => {}
        Confirmation::Certificate(digest) => {
            holds(certificate() == Some(digest), TokenFault::WrongCertificate)?;
        }
        Confirmation::Other => return Err(TokenFault::SenderConstrained),
    }
    holds(
        requirement.scopes.as_ref().is_none_or(|scopes| scopes.are_granted(claims.scopes())),
        TokenFault::InsufficientScope,
    )?;
    let has = |required: &RequiredClaim| claims.claims.have(required.claim, &required.values);
    holds(requirement.claims.iter().all(has), TokenFault::InsufficientClaims)
}

/// Checks whether the token is an access token.
pub(super) fn check_kind(claims: &Identity<'_>) -> Result<(), TokenFault> {
    holds(
        claims.token_use.as_deref().is_none_or(|found| matches!(found, "access_token" | "access")),
        TokenFault::NotAnAccessToken,
    )?;
    holds(
        claims.token_type.as_deref().is_none_or(|found| is_one_of(found, &["Bearer", "access_token"])),
        TokenFault::NotABearerToken,
    )?;
    let is_named = claims.token_use.is_some() || claims.token_type.is_some();
    holds(
        is_named || claims.typ.as_deref().is_none_or(|found| is_one_of(found, &["Bearer", "JWT", "at+jwt"])),
        TokenFault::NotAnAccessToken,
    )
}

/// Checks whether the token is valid now.
pub(super) fn check_times(
    claims: &Identity<'_>,
    now: Timestamp,
    tolerance: Tolerance,
) -> Result<(), TokenFault> {
    let soon = now.saturating_add(tolerance.start);
    holds(claims.exp.is_none_or(|exp| now < exp.saturating_add(tolerance.end)), TokenFault::Expired)?;
    holds(claims.nbf.is_none_or(|nbf| nbf <= soon), TokenFault::NotYetValid)?;
    holds(claims.iat.is_none_or(|iat| iat <= soon), TokenFault::IssuedInFuture)
}

fn holds(condition: bool, fault: TokenFault) -> Result<(), TokenFault> {
    if condition { Ok(()) } else { Err(fault) }
}

fn is_one_of(found: &str, names: &[&str]) -> bool {
    names.iter().any(|name| found.eq_ignore_ascii_case(name))
}

fn is_trusted(claims: &Identity<'_>, issuers: &[String]) -> bool {
    issuers.is_empty()
        || claims.iss.as_deref().is_some_and(|iss| issuers.iter().any(|trusted| trusted == iss))
}

#[cfg(test)]
mod tests {
    #[cfg(all(target_family = "wasm", target_os = "unknown"))]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::{
        super::{Audiences, record::tests::full},
        *,
    };
    use crate::access::ScopeStrategy;

    const NOW: Timestamp = Timestamp::from_seconds(1_500);
    const LEEWAY: Tolerance = Tolerance { start: Duration::from_secs(30), end: Duration::ZERO };

    fn strict() -> Requirement {
        Requirement {
            issuers: vec!["https://other".to_owned(), "https://idp".to_owned()],
            audience: Some(Audience::all(vec!["orders".to_owned()]).unwrap()),
            scopes: Some(RequiredScopes::new(ScopeStrategy::Exact, vec!["orders.read".to_owned()]).unwrap()),
            claims: Vec::new(),
        }
    }

    fn checked(claims: Identity<'_>, requirement: &Requirement) -> Result<(), TokenFault> {
        check(&Vouched::Active(claims), requirement, NOW, LEEWAY, presented)
    }

    /// The client certificate of every caller.
    fn presented() -> Option<Digest> {
        Some(Digest::of(b"certificate"))
    }

    fn at(millis: u64) -> Option<Timestamp> {
        Some(Timestamp::from_millis(millis))
    }

    #[test]
    fn a_full_token_satisfies_a_strict_rule_and_a_minimal_token_a_lax_rule() {
        assert_eq!(checked(full(), &strict()), Ok(()));
        assert_eq!(checked(Identity::default(), &Requirement::default()), Ok(()));
        assert_eq!(checked(Identity { token_type: Some("bEARER".into()), ..full() }, &strict()), Ok(()));
    }

    #[test]
    fn each_check_fails_on_its_own() {
        use TokenFault::*;
        let audiences = |value: &str| Audiences::new(&[value.to_owned()]).unwrap();
        let table = [
            (Identity { token_use: Some("refresh_token".into()), ..full() }, NotAnAccessToken),
            (Identity { token_type: Some("DPoP".into()), ..full() }, NotABearerToken),
            (Identity { token_type: Some("refresh_token".into()), ..full() }, NotABearerToken),
            (Identity { token_type: Some("".into()), ..full() }, NotABearerToken),
            (typed("Refresh"), NotAnAccessToken),
            (typed("Offline"), NotAnAccessToken),
            (typed("ID"), NotAnAccessToken),
            (typed(""), NotAnAccessToken),
            (typed("at"), NotAnAccessToken),
            (Identity { iss: Some("https://idp/".into()), ..full() }, WrongIssuer),
            (Identity { iss: None, ..full() }, WrongIssuer),
            (Identity { audiences: audiences("files"), ..full() }, WrongAudience),
            (Identity { audiences: Audiences::default(), ..full() }, WrongAudience),
            (Identity { confirmation: Confirmation::Other, ..full() }, SenderConstrained),
            (Identity { confirmation: bound_to("another"), ..full() }, WrongCertificate),
            (Identity { scope: "orders.write".into(), ..full() }, InsufficientScope),
            (Identity { scope: "".into(), ..full() }, InsufficientScope),
        ];
        for (claims, fault) in table {
            assert_eq!(checked(claims.clone(), &strict()), Err(fault), "{claims:?}");
        }
        assert_eq!(check(&Vouched::Inactive, &Requirement::default(), NOW, LEEWAY, presented), Err(Inactive));
    }

    fn bound_to(certificate: &str) -> Confirmation {
        Confirmation::Certificate(Digest::of(certificate.as_bytes()))
    }

    #[test]
    fn a_token_that_is_bound_to_a_certificate_is_for_who_presents_it() {
        let bound = Vouched::Active(Identity { confirmation: bound_to("certificate"), ..full() });
        let with = |certificate| check(&bound, &strict(), NOW, LEEWAY, || certificate);
        assert_eq!(with(presented()), Ok(()));
        assert_eq!(with(Some(Digest::of(b"another"))), Err(TokenFault::WrongCertificate));
        assert_eq!(with(None), Err(TokenFault::WrongCertificate));
        let free = Vouched::Active(full());
        let asked = || panic!("the certificate is asked for");
        assert_eq!(check(&free, &strict(), NOW, LEEWAY, asked), Ok(()));
    }

    /// A token whose kind is given only by `typ`, as Keycloak 22 does.
    fn typed(typ: &'static str) -> Identity<'static> {
        Identity { token_type: None, token_use: None, typ: Some(typ.into()), ..full() }
    }

    #[test]
    fn typ_decides_if_nothing_else_gives_the_kind_of_token() {
        for typ in ["Bearer", "bearer", "JWT", "at+jwt", "AT+JWT"] {
            assert_eq!(checked(typed(typ), &strict()), Ok(()), "{typ}");
        }
        let lax = Requirement::default();
        assert_eq!(
            checked(Identity { typ: Some("Refresh".into()), ..Identity::default() }, &lax),
            Err(TokenFault::NotAnAccessToken)
        );
        for named in [Identity { token_use: None, ..full() }, Identity { token_type: None, ..full() }] {
            assert_eq!(checked(Identity { typ: Some("Refresh".into()), ..named }, &strict()), Ok(()));
        }
    }

    #[test]
    fn a_token_type_may_say_access_token() {
        for token_type in ["access_token", "Access_Token", "bearer", "BEARER"] {
            assert_eq!(
                checked(Identity { token_type: Some(token_type.into()), ..full() }, &strict()),
                Ok(()),
                "{token_type}"
            );
        }
    }

    #[test]
    fn moments_are_exact_to_the_millisecond() {
        let lax = Requirement::default();
        assert_eq!(checked(Identity { exp: at(1_500_001), ..Identity::default() }, &lax), Ok(()));
        assert_eq!(
            checked(Identity { exp: at(1_500_000), ..Identity::default() }, &lax),
            Err(TokenFault::Expired)
        );
        assert_eq!(checked(Identity { nbf: at(1_530_000), ..Identity::default() }, &lax), Ok(()));
        assert_eq!(
            checked(Identity { nbf: at(1_530_001), ..Identity::default() }, &lax),
            Err(TokenFault::NotYetValid)
        );
        assert_eq!(checked(Identity { iat: at(1_530_000), ..Identity::default() }, &lax), Ok(()));
        assert_eq!(
            checked(Identity { iat: at(1_530_001), ..Identity::default() }, &lax),
            Err(TokenFault::IssuedInFuture)
        );
    }

    #[test]
    fn a_token_may_outlive_its_expiry_by_a_tolerance() {
        let tolerant = Tolerance { end: Duration::from_secs(30), ..LEEWAY };
        let ends = |millis| {
            let vouched = Vouched::Active(Identity { exp: at(millis), ..Identity::default() });
            check(&vouched, &Requirement::default(), NOW, tolerant, presented)
        };
        assert_eq!([ends(1_470_001), ends(1_470_000)], [Ok(()), Err(TokenFault::Expired)]);
    }

    #[test]
    fn the_order_of_checks_is_fixed() {
        use TokenFault::*;
        let mut claims = Identity {
            token_use: Some("id_token".into()),
            token_type: Some("mac".into()),
            typ: Some("ID".into()),
            exp: at(0),
            nbf: Some(Timestamp::MAX),
            iat: Some(Timestamp::MAX),
            confirmation: Confirmation::Other,
            ..Identity::default()
        };
        let mut mend = |fault, mend: fn(&mut Identity<'static>)| {
            assert_eq!(checked(claims.clone(), &strict()), Err(fault));
            mend(&mut claims);
        };
        mend(NotAnAccessToken, |claims| claims.token_use = None);
        mend(NotABearerToken, |claims| claims.token_type = None);
        mend(NotAnAccessToken, |claims| claims.typ = None);
        mend(Expired, |claims| claims.exp = None);
        mend(NotYetValid, |claims| claims.nbf = None);
        mend(IssuedInFuture, |claims| claims.iat = None);
        mend(WrongIssuer, |claims| claims.iss = Some("https://idp".into()));
        mend(WrongAudience, |claims| claims.audiences = full().audiences);
        mend(SenderConstrained, |claims| claims.confirmation = bound_to("another"));
        mend(WrongCertificate, |claims| claims.confirmation = bound_to("certificate"));
        mend(InsufficientScope, |claims| claims.scope = "orders.read".into());
        assert_eq!(checked(claims, &strict()), Ok(()));
    }
}
