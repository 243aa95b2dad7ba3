//! Who claims to have issued a token, read from the token itself. Nothing verifies it, so it only serves to
//! refuse tokens that the provider cannot know.

use crate::identity::jwt::claimed_issuer;

/// Whether `token` has the shape of a JWS and names an issuer that is not in `issuers`. Tokens that are
/// opaque, or name no issuer, are left to the provider.
pub(super) fn is_foreign(token: &str, issuers: &[String]) -> bool {
    !issuers.is_empty()
        && claimed_issuer(token).is_some_and(|claimed| issuers.iter().all(|issuer| *issuer != claimed))
}

#[cfg(test)]
mod tests {
    #[cfg(all(target_family = "wasm", target_os = "unknown"))]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

    use super::*;

    fn token(payload: &str) -> String {
        format!("eyJhbGciOiJub25lIn0.{}.c2ln", URL_SAFE_NO_PAD.encode(payload))
    }

    #[test]
    fn only_a_jws_with_another_issuer_is_foreign() {
        let issuers = ["https://idp".to_owned(), "https://other".to_owned()];
        for (token, foreign) in [
            (token(r#"{"iss":"https://evil"}"#), true),
            (token(r#"{"sub":"a","iss":"https://idp/"}"#), true),
            (token(r#" {"iss":""}"#), true),
            (token(r#"{"iss":"https://idp"}"#), false),
            (token(r#"{"iss":"https:\/\/other"}"#), false),
            (token(r#"{"sub":"a"}"#), false),
            (token(r#"{"iss":7}"#), false),
            (token(r#"{"iss":"https://evil","iss":"https://idp"}"#), false),
            (token(r#"{"iss":"https://evil""#), false),
            (token(r#"["https://evil"]"#), false),
            (token(&"[".repeat(10_000)), false),
            (format!("{}.more", token(r#"{"iss":"https://evil"}"#)), false),
            ("opaque".to_owned(), false),
            ("a.b.c".to_owned(), false),
            ("..".to_owned(), false),
            (String::new(), false),
        ] {
            assert_eq!(is_foreign(&token, &issuers), foreign, "{token:.80}");
            assert!(!is_foreign(&token, &[]), "no issuer is known");
        }
    }
}
