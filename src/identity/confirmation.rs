//! Who may use a token (`cnf`, RFC 7800), and the client certificate that a caller presented.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::{credential::Digest, headers::HeaderMap};

/// Who may use a token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Confirmation {
    /// Whoever has it.
    #[default]
    None,
    /// Who presents the client certificate with this SHA-256 (`x5t#S256`, RFC 8705).
    Certificate(Digest),
    /// The holder of a key, which is not verified here.
    Other,
}

/// The header in which a proxy passes on the certificate of its client.
const FORWARDED: &str = "x-forwarded-client-cert";

/// The SHA-256 of the certificate of the first client, as the proxies in front of this one say it. Envoy
/// removes what clients themselves say, unless it is configured to pass it on.
pub fn forwarded_certificate(headers: &HeaderMap) -> Option<Digest> {
    let mut lines = headers.values(FORWARDED);
    let (line, None) = (lines.next()?, lines.next()) else { return None };
    let mut hashes = pairs(str::from_utf8(line).ok()?).filter(|(name, _)| name.eq_ignore_ascii_case("hash"));
    let ((_, hash), None) = (hashes.next()?, hashes.next()) else { return None };
    Digest::from_hex(hash).ok()
}

/// The pairs of the first element of an `x-forwarded-client-cert`. Values in quotes may have anything.
fn pairs(line: &str) -> impl Iterator<Item = (&str, &str)> {
    let (mut is_quoted, mut is_escaped) = (false, false);
    let mut is_outside = move |c: char| {
        let is_literal = std::mem::take(&mut is_escaped);
        match c {
            '\\' if is_quoted && !is_literal => is_escaped = true,
            '"' if !is_literal => is_quoted = !is_quoted,
            _ => {}
        }
        !is_quoted
    };
    let mut ends =
        line.char_indices().filter(move |(_, c)| is_outside(*c) && matches!(c, ';' | ',')).peekable();
    let mut rest = Some(0);
    std::iter::from_fn(move || {
        let start = rest?;
        let end = ends.next();
        rest = end.filter(|(_, c)| *c == ';').map(|(at, _)| at.saturating_add(1));
        line.get(start..end.map_or(line.len(), |(at, _)| at))
    })
    .filter_map(|pair| pair.split_once('='))
    .map(|(name, value)| (name.trim(), value.trim()))
}

impl<'de> Deserialize<'de> for Confirmation {
    /// Reads the value of `cnf`. What is not understood is [`Confirmation::Other`], never nothing.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;

        impl<'de> Visitor<'de> for Members {
            type Value = Confirmation;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a confirmation")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Confirmation, A::Error> {
                let mut confirmation = None;
                while let Some(name) = members.next_key::<String>()? {
                    let own = if name == "x5t#S256" {
                        thumbprint(&members.next_value::<serde_json::Value>()?)
                    } else {
                        members.next_value::<IgnoredAny>()?;
                        Confirmation::Other
                    };
                    // Of several, each would have to be verified.
                    confirmation = Some(if confirmation.is_none() { own } else { Confirmation::Other });
                }
                Ok(confirmation.unwrap_or(Confirmation::Other))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Confirmation, A::Error> {
                while items.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Confirmation::Other)
            }

            fn visit_str<E: Error>(self, _: &str) -> Result<Confirmation, E> {
                Ok(Confirmation::Other)
            }

            fn visit_bool<E: Error>(self, _: bool) -> Result<Confirmation, E> {
                Ok(Confirmation::Other)
            }

            fn visit_u64<E: Error>(self, _: u64) -> Result<Confirmation, E> {
                Ok(Confirmation::Other)
            }

            fn visit_i64<E: Error>(self, _: i64) -> Result<Confirmation, E> {
                Ok(Confirmation::Other)
            }

            fn visit_f64<E: Error>(self, _: f64) -> Result<Confirmation, E> {
                Ok(Confirmation::Other)
            }
        }

        deserializer.deserialize_any(Members)
    }
}

/// The SHA-256 in base64url, as RFC 8705 writes it.
fn thumbprint(value: &serde_json::Value) -> Confirmation {
    let bytes = value.as_str().and_then(|text| URL_SAFE_NO_PAD.decode(text).ok());
    let bytes = bytes.and_then(|bytes| bytes.try_into().ok());
    bytes.map_or(Confirmation::Other, |bytes| Confirmation::Certificate(Digest::from_bytes(bytes)))
}

#[cfg(test)]
mod tests {
    #[cfg(all(target_family = "wasm", target_os = "unknown"))]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    /// The example of RFC 8705, section 3.1.
    const EXAMPLE: &str = "bwcK0esc3ACC3DB2Y5_lESsXE8o9ltc05O89jdN-dg2";

    fn digest() -> Digest {
        Digest::of(b"a certificate")
    }

    #[test]
    fn only_a_thumbprint_alone_can_be_verified() {
        let encoded = URL_SAFE_NO_PAD.encode(digest().bytes());
        for (cnf, expected) in [
            (format!(r#"{{"x5t#S256":"{encoded}"}}"#), Some(Confirmation::Certificate(digest()))),
            ("null".to_owned(), None),
            ("{}".to_owned(), Some(Confirmation::Other)),
            (r#"{"jkt":"x"}"#.to_owned(), Some(Confirmation::Other)),
            (format!(r#"{{"x5t#S256":"{encoded}","jkt":"x"}}"#), Some(Confirmation::Other)),
            (format!(r#"{{"jkt":"x","x5t#S256":"{encoded}"}}"#), Some(Confirmation::Other)),
            (format!(r#"{{"x5t#S256":"{encoded}","x5t#S256":"{encoded}"}}"#), Some(Confirmation::Other)),
            (format!(r#"{{"x5t#S256":"{encoded}="}}"#), Some(Confirmation::Other)),
            (r#"{"x5t#S256":"AA"}"#.to_owned(), Some(Confirmation::Other)),
            (r#"{"x5t#S256":7}"#.to_owned(), Some(Confirmation::Other)),
            ("[]".to_owned(), Some(Confirmation::Other)),
            (r#""x""#.to_owned(), Some(Confirmation::Other)),
            ("false".to_owned(), Some(Confirmation::Other)),
            ("1".to_owned(), Some(Confirmation::Other)),
            ("-1".to_owned(), Some(Confirmation::Other)),
            ("0.5".to_owned(), Some(Confirmation::Other)),
        ] {
            assert_eq!(serde_json::from_str::<Option<Confirmation>>(&cnf).unwrap(), expected, "{cnf}");
        }
        assert_eq!(EXAMPLE.len(), encoded.len());
    }

    #[test]
    fn the_first_client_of_a_forwarded_certificate_counts() {
        let hash = digest().to_hex();
        let other = Digest::of(b"other").to_hex();
        let found = |lines: &[&str]| {
            let lines = lines.iter().map(|line| (FORWARDED.to_owned(), line.as_bytes().to_vec()));
            forwarded_certificate(&HeaderMap::from(lines.collect::<Vec<_>>()))
        };
        for (line, expected) in [
            (format!("Hash={hash}"), true),
            (format!("By=spiffe://a;Hash={hash};Subject=\"CN=a,O=b;c\";URI=x"), true),
            (format!("hash={}", hash.to_uppercase()), true),
            (format!("Hash={hash},By=x;Hash={other}"), true),
            (format!("By=x,Hash={hash}"), false),
            (format!("Subject=\"a;Hash={hash};\";By=x"), false),
            (format!(r#"Subject="a\";Hash={hash};";By=x"#), false),
            (format!(r#"Subject="a\\";Hash={hash};By=x"#), true),
            (format!("Hash={hash};Hash={hash}"), false),
            (format!("Hash={hash}0"), false),
            ("Hash=".to_owned(), false),
            (String::new(), false),
        ] {
            assert_eq!(found(&[&line]), expected.then(digest), "{line}");
        }
        assert_eq!(found(&[]), None);
        assert_eq!(found(&[&format!("Hash={hash}"), &format!("Hash={other}")]), None);
    }
}
