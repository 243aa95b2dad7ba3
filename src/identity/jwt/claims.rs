//! The claims of a token (RFC 7519 section 4): read strictly, and checked as far as the provider decides.

use serde::{Deserialize as _, de::IgnoredAny};
use serde_json::Value;

use super::{Settings, jws::object};
use crate::{
    identity::{AskedClaims, Identity, KeptClaims, TokenFault, claims::Claims},
    time::Timestamp,
};

/// The last second that claims may name: the end of the year 9999. Larger numbers are no moments, but
/// milliseconds or nonsense.
const LAST_SECOND: f64 = 253_402_300_799.0;

/// Reads the claims of a token that `settings` may accept, and those that are asked for.
///
/// # Errors
///
/// They are not valid claims, or the token is not one that the provider vouches for, whoever signed it.
pub(super) fn read(
    payload: &[u8],
    settings: &Settings,
    asked: &AskedClaims,
) -> Result<Identity<'static>, TokenFault> {
    let claims = object(payload).ok_or(TokenFault::Malformed)?;
    accept(claims, settings, || asked.keep_of(payload))
}

/// Reads the claims of a token that Envoy has verified, if `settings` accept it, and those that are asked
/// for.
///
/// # Errors
///
/// As for a token whose signature is verified here.
pub fn of_payload(
    payload: &Value,
    settings: &Settings,
    asked: &AskedClaims,
) -> Result<Identity<'static>, TokenFault> {
    let claims = Claims::deserialize(payload).map_err(|_| TokenFault::Malformed)?;
    accept(claims, settings, || asked.keep_of_value(payload))
}

fn accept(
    claims: Claims<Option<IgnoredAny>>,
    settings: &Settings,
    kept: impl FnOnce() -> Option<KeptClaims<'static>>,
) -> Result<Identity<'static>, TokenFault> {
    if claims.belongs_to_an_id_token() {
        return Err(TokenFault::NotAnAccessToken);
    }
    let mut identity = claims.into_identity(moment).ok_or(TokenFault::Malformed)?;
    if identity.iss.as_deref() != Some(settings.issuer.as_str()) {
        return Err(TokenFault::WrongIssuer);
    }
    let exp = identity.exp.ok_or(TokenFault::NoExpiry)?;
    if let Some(longest) = settings.max_lifetime {
        let lives = identity.iat.ok_or(TokenFault::NoIssuedAt).map(|iat| exp.since(iat))?;
        if lives > longest {
            return Err(TokenFault::LivesTooLong);
        }
    }
    if !settings.audience.as_ref().is_none_or(|audience| audience.accepts(identity.audiences.iter())) {
        return Err(TokenFault::WrongAudience);
    }
    identity.claims = kept().ok_or(TokenFault::Malformed)?;
    Ok(identity)
}

/// A `NumericDate` (RFC 7519): seconds, possibly with a fraction.
fn moment(seconds: f64) -> Option<Timestamp> {
    // `as` saturates; there is no fallible conversion from floating point.
    (0.0..=LAST_SECOND).contains(&seconds).then(|| Timestamp::from_millis((seconds * 1000.0) as u64))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    #[cfg(all(target_family = "wasm", target_os = "unknown"))]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::{super::provider::tests::settings, *};
    use crate::access::Audience;

    #[test]
    fn claims_are_read_strictly() {
        use TokenFault::*;
        for (payload, expected) in [
            (r#"{"iss":"https://idp","exp":2000}"#, None),
            (r#"{"iss":"https://idp","exp":2000.5,"active":"x","nonce":"n"}"#, None),
            ("", Some(Malformed)),
            ("[]", Some(Malformed)),
            ("null", Some(Malformed)),
            (r#"{"iss":"https://idp","exp":2000}x"#, Some(Malformed)),
            (r#"{"iss":"https://idp","exp":"2000"}"#, Some(Malformed)),
            (r#"{"iss":"https://idp","exp":1e300}"#, Some(Malformed)),
            (r#"{"iss":"https://idp","exp":1e400}"#, Some(Malformed)),
            (r#"{"iss":"https://idp","exp":-1}"#, Some(Malformed)),
            (r#"{"iss":"https://idp","exp":253402300800}"#, Some(Malformed)),
            (r#"{"iss":"https://idp","exp":NaN}"#, Some(Malformed)),
            (r#"{"iss":"https://idp","exp":2000,"exp":3000}"#, Some(Malformed)),
            (r#"{"iss":"https://idp","iss":"https://idp","exp":2000}"#, Some(Malformed)),
            (r#"{"iss":"https://idp","exp":2000,"iat":true}"#, Some(Malformed)),
            (r#"{"iss":"https://idp","exp":2000,"aud":{"a":1}}"#, Some(Malformed)),
            (r#"{"iss":"https://idp","exp":2000,"aud":"a\nb"}"#, Some(Malformed)),
            (r#"{"iss":["https://idp"],"exp":2000}"#, Some(Malformed)),
            (r#"{"iss":"https://idp"}"#, Some(NoExpiry)),
            (r#"{"iss":"https://idp","exp":null}"#, Some(NoExpiry)),
            (r#"{"iss":"https://idp/","exp":2000}"#, Some(WrongIssuer)),
            (r#"{"exp":2000}"#, Some(WrongIssuer)),
            (r#"{"iss":"https://idp","exp":2000,"at_hash":"x"}"#, Some(NotAnAccessToken)),
            (r#"{"iss":"https://idp","exp":2000,"c_hash":"x"}"#, Some(NotAnAccessToken)),
        ] {
            assert_eq!(
                read(payload.as_bytes(), &settings(), &AskedClaims::default()).err(),
                expected,
                "{payload}"
            );
        }
    }

    #[test]
    fn the_provider_may_ask_for_audiences_and_a_lifetime() {
        use TokenFault::{LivesTooLong, NoIssuedAt, WrongAudience};
        let audience = Audience::any(vec!["orders".to_owned(), "files".to_owned()]).ok();
        let strict = Settings { audience, max_lifetime: Some(Duration::from_secs(100)), ..settings() };
        let fault = |rest: &str| {
            let claims = format!(r#"{{"iss":"https://idp","exp":2000{rest}}}"#);
            read(claims.as_bytes(), &strict, &AskedClaims::default()).err()
        };
        assert_eq!(fault(r#","iat":1900,"aud":["x","files"]"#), None);
        assert_eq!(fault(r#","iat":1900,"aud":"other""#), Some(WrongAudience));
        assert_eq!(fault(r#","iat":1900"#), Some(WrongAudience));
        assert_eq!(fault(r#","iat":1899.9,"aud":"files""#), Some(LivesTooLong));
        assert_eq!(fault(r#","aud":"files""#), Some(NoIssuedAt));
    }
}
