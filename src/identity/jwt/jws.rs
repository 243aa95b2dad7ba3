//! The outer form of a token: three parts in base64url, and a header that says how it was signed.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Deserializer, de::IgnoredAny};
use serde_json::Value;

use super::{Algorithm, metadata::normalised};
use crate::identity::TokenFault;

/// The longest token, in bytes.
pub const MAX_TOKEN: usize = 16 * 1024;

/// A token in its parts. Nothing is verified yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Jws<'t> {
    /// How it was signed, as it says.
    pub algorithm: Algorithm,
    /// The name of the key, as it says.
    pub kid: Option<String>,
    /// The claims, in JSON.
    pub payload: Vec<u8>,
    /// What the signature is for.
    pub signed: &'t [u8],
    /// The signature.
    pub signature: Vec<u8>,
}

/// The members of the header that are read. None of these may appear twice. Keys and links to keys (`jwk`,
/// `jku`, `x5c`, `x5u`) are not among them: who signs does not choose the key.
#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    typ: Option<String>,
    #[serde(default, deserialize_with = "present")]
    crit: bool,
}

impl<'t> Jws<'t> {
    /// Takes a token apart.
    ///
    /// # Errors
    ///
    /// It is not a compact JWS, its header is invalid, or it is another kind of token.
    pub fn parse(token: &'t str) -> Result<Self, TokenFault> {
        Self::parse_as(token, MAX_TOKEN, |typ| typ.is_none_or(is_access_token))
    }

    /// Takes a statement apart that is no token. Its `typ` says what it is, with or without `application/`.
    pub(super) fn parse_statement(text: &'t str, typ: &str, longest: usize) -> Result<Self, TokenFault> {
        Self::parse_as(text, longest, |given| given.is_some_and(|given| subtype(given) == typ))
    }

    fn parse_as(
        token: &'t str,
        longest: usize,
        is_right: impl FnOnce(Option<&str>) -> bool,
    ) -> Result<Self, TokenFault> {
        if token.len() > longest {
            return Err(TokenFault::Malformed);
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(TokenFault::Malformed)?;
        let (header, payload) = signed.split_once('.').ok_or(TokenFault::Malformed)?;
        let [header, payload, signature] = [header, payload, signature].map(decoded);
        let header: Header = object(&header?).ok_or(TokenFault::Malformed)?;
        if header.crit {
            return Err(TokenFault::CriticalHeader);
        }
        if !is_right(header.typ.as_deref()) {
            return Err(TokenFault::NotAnAccessToken);
        }
        let algorithm = Algorithm::named(&header.alg).ok_or(TokenFault::WrongAlgorithm)?;
        Ok(Self {
            algorithm,
            kid: header.kid,
            payload: payload?,
            signed: signed.as_bytes(),
            signature: signature?,
        })
    }
}

/// The `iss` of a token with three parts, whose second part is a JSON object. `None` for any other token, and
/// where `iss` is missing, no text, or appears twice. Nothing verifies it.
pub fn claimed_issuer(token: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Claims {
        iss: String,
    }

    let mut parts = token.split('.');
    let (Some(_), Some(payload), Some(_), None) = (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return None;
    };
    object::<Claims>(&decoded(payload).ok()?).map(|claims| claims.iss)
}

/// Whether Envoy's `jwt_authn` filter leaves `payload` of a token with three parts, which nothing verifies
/// here. The filter may split texts at spaces into lists, as Istio has it do with `scope`.
pub fn has_payload(token: &str, payload: &Value) -> bool {
    let claimed = token.split_once('.').and_then(|(_, rest)| {
        let (claims, _) = rest.split_once('.')?;
        serde_json::from_slice(&decoded(claims).ok()?).ok().map(normalised)
    });
    let (Some(Value::Object(claimed)), Value::Object(left)) = (claimed, payload) else { return false };
    let is_claimed = |(name, left): (&String, &Value)| {
        claimed.get(name).is_some_and(|claimed| claimed == left || is_split(claimed, left))
    };
    claimed.len() == left.len() && left.iter().all(is_claimed)
}

/// Whether the words of a text are the entries of a list.
fn is_split(text: &Value, list: &Value) -> bool {
    let (Some(text), Some(list)) = (text.as_str(), list.as_array()) else { return false };
    text.split(' ').filter(|word| !word.is_empty()).map(Some).eq(list.iter().map(Value::as_str))
}

/// Base64url as RFC 7515 has it: no padding, no white space, no bits left over.
fn decoded(part: &str) -> Result<Vec<u8>, TokenFault> {
    let bytes = URL_SAFE_NO_PAD.decode(part).map_err(|_| TokenFault::Malformed)?;
    if bytes.is_empty() { Err(TokenFault::Malformed) } else { Ok(bytes) }
}

/// A JSON object. Serde would also accept an array of all members.
pub(in crate::identity) fn object<'d, T: Deserialize<'d>>(json: &'d [u8]) -> Option<T> {
    json.trim_ascii_start().starts_with(b"{").then(|| serde_json::from_slice(json).ok()).flatten()
}

/// `JWT`, or that of RFC 9068. Others are for tokens that only look like access tokens: those of logout,
/// security events, proofs of possession, introspection.
fn is_access_token(typ: &str) -> bool {
    matches!(subtype(typ).as_str(), "jwt" | "at+jwt")
}

/// The media type that a `typ` names, in lower case and without `application/`, which may be left out.
fn subtype(typ: &str) -> String {
    let typ = typ.to_ascii_lowercase();
    typ.strip_prefix("application/").map_or_else(|| typ.clone(), str::to_owned)
}

/// Whether a member is there, whatever its value.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    IgnoredAny::deserialize(deserializer).map(|_| true)
}

#[cfg(test)]
mod tests {
    #[cfg(all(target_family = "wasm", target_os = "unknown"))]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;
    use crate::identity::jwt::algorithm::Hash;

    fn token(header: &str) -> String {
        format!("{}.e30.c2ln", URL_SAFE_NO_PAD.encode(header))
    }

    #[test]
    fn a_token_is_taken_apart() {
        let token =
            token(r#"{"alg":"RS256","kid":"k","typ":"at+jwt","jwk":{"kty":"oct"},"x5u":"http://evil"}"#);
        let jws = Jws::parse(&token).unwrap();
        assert_eq!((jws.algorithm, jws.kid.as_deref()), (Algorithm::Rs(Hash::Sha256), Some("k")));
        assert_eq!((jws.payload.as_slice(), jws.signature.as_slice()), (&b"{}"[..], &b"sig"[..]));
        assert_eq!(jws.signed, token.rsplit_once('.').unwrap().0.as_bytes());
    }

    #[test]
    fn headers_that_are_not_of_an_access_token_are_refused() {
        use TokenFault::{CriticalHeader, Malformed, NotAnAccessToken, WrongAlgorithm};
        for (header, fault) in [
            ("", Malformed),
            ("{}", Malformed),
            (r#"["RS256"]"#, Malformed),
            (r#"{"alg":"RS256""#, Malformed),
            (r#"{"alg":["RS256"]}"#, Malformed),
            (r#"{"alg":"RS256","alg":"RS256"}"#, Malformed),
            (r#"{"alg":"RS256","kid":"a","kid":"b"}"#, Malformed),
            (r#"{"alg":"RS256","kid":7}"#, Malformed),
            (r#"{"alg":"RS256","typ":"JWT","typ":"JWT"}"#, Malformed),
            (r#"{"alg":"RS256","crit":[],"crit":[]}"#, Malformed),
            (r#"{"alg":"RS256","crit":["exp"]}"#, CriticalHeader),
            (r#"{"alg":"RS256","crit":null}"#, CriticalHeader),
            (r#"{"alg":"RS256","typ":"dpop+jwt"}"#, NotAnAccessToken),
            (r#"{"alg":"RS256","typ":"logout+jwt"}"#, NotAnAccessToken),
            (r#"{"alg":"RS256","typ":"application/secevent+jwt"}"#, NotAnAccessToken),
            (r#"{"alg":"RS256","typ":""}"#, NotAnAccessToken),
            (r#"{"alg":"none"}"#, WrongAlgorithm),
            (r#"{"alg":"HS256"}"#, WrongAlgorithm),
        ] {
            assert_eq!(Jws::parse(&token(header)), Err(fault), "{header}");
        }
        for typ in ["JWT", "jwt", "at+jwt", "AT+JWT", "application/at+jwt"] {
            assert!(Jws::parse(&token(&format!(r#"{{"alg":"ES256","typ":"{typ}"}}"#))).is_ok(), "{typ}");
        }
    }

    #[test]
    fn only_three_parts_of_strict_base64url_are_a_token() {
        let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"RS256"}"#);
        for token in [
            String::new(),
            "opaque".to_owned(),
            format!("{header}.e30"),
            format!("{header}.e30."),
            format!("{header}..c2ln"),
            format!("{header}.e30.c2ln."),
            format!("{header}.e30.c2ln.c2ln"),
            format!("{header}.e30=.c2ln"),
            format!("{header}.e30.c2ln\n"),
            format!("{header}.e31.c2ln"),
            format!("{header}.e30.c2l+"),
            format!("{header}.e30.{}", "A".repeat(MAX_TOKEN)),
        ] {
            assert_eq!(Jws::parse(&token), Err(TokenFault::Malformed), "{token:.80}");
        }
    }

    #[test]
    fn a_statement_is_no_token_and_says_what_it_is() {
        let kind = "token-introspection+jwt";
        let parse = |text: &str| Jws::parse_statement(text, kind, 100).map(|_| ());
        for typ in ["token-introspection+jwt", "application/Token-Introspection+JWT"] {
            let statement = token(&format!(r#"{{"alg":"ES256","typ":"{typ}"}}"#));
            assert_eq!(parse(&statement), Ok(()));
            assert_eq!(Jws::parse(&statement), Err(TokenFault::NotAnAccessToken));
            let longer = format!("{statement}{}", "A".repeat(100));
            assert_eq!(parse(&longer), Err(TokenFault::Malformed));
        }
        for header in
            [r#"{"alg":"ES256"}"#, r#"{"alg":"ES256","typ":"JWT"}"#, r#"{"alg":"ES256","typ":"at+jwt"}"#]
        {
            assert_eq!(parse(&token(header)), Err(TokenFault::NotAnAccessToken), "{header}");
        }
    }

    #[test]
    fn the_claimed_issuer_is_that_of_a_jws() {
        let token = |payload: &str| format!("eyJhbGciOiJub25lIn0.{}.c2ln", URL_SAFE_NO_PAD.encode(payload));
        for (token, issuer) in [
            (token(r#"{"sub":"a","iss":"https://idp/"}"#), Some("https://idp/")),
            (token(r#" {"iss":""}"#), Some("")),
            (token(r#"{"iss":"https:\/\/other"}"#), Some("https://other")),
            (token(r#"{"sub":"a"}"#), None),
            (token(r#"{"iss":7}"#), None),
            (token(r#"{"iss":"https://evil","iss":"https://idp"}"#), None),
            (token(r#"{"iss":"https://evil""#), None),
            (token(r#"["https://evil"]"#), None),
            (token(&"[".repeat(10_000)), None),
            (format!("{}.more", token(r#"{"iss":"https://evil"}"#)), None),
            ("opaque".to_owned(), None),
            ("a.b.c".to_owned(), None),
            ("..".to_owned(), None),
            (String::new(), None),
        ] {
            assert_eq!(claimed_issuer(&token).as_deref(), issuer, "{token:.80}");
        }
    }
}
