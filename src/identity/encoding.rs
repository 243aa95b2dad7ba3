//! The compact encoding of answers that all workers share.
//!
//! Every request with a cached answer decodes it, so decoding borrows all texts and allocates nothing.

use std::borrow::Cow;

use super::{Audiences, Confirmation, Identity, KeptClaims, Vouched};
use crate::{credential::Digest, time::Timestamp};

/// The version of the encoding; bytes with any other version are not decoded.
const VERSION: u8 = 3;
const INACTIVE: u8 = 0;
const ACTIVE: u8 = 1;
const ACTIVE_SENDER_CONSTRAINED: u8 = 2;
const ACTIVE_WITH_CERTIFICATE: u8 = 3;

impl<'a> Vouched<'a> {
    /// Appends the encoding: version, kind, the certificate of one kind, three times, seven texts, scopes,
    /// audiences and the claims that the policy asks for, in that order.
    pub(super) fn encode(&self, bytes: &mut Vec<u8>) {
        bytes.push(VERSION);
        let Self::Active(identity) = self else {
            bytes.push(INACTIVE);
            return;
        };
        let Identity {
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
        } = identity;
        match confirmation {
            Confirmation::None => bytes.push(ACTIVE),
            Confirmation::Other => bytes.push(ACTIVE_SENDER_CONSTRAINED),
            Confirmation::Certificate(digest) => {
                bytes.push(ACTIVE_WITH_CERTIFICATE);
                bytes.extend(digest.bytes());
            }
        }
        for time in [exp, nbf, iat] {
            bytes.push(u8::from(time.is_some()));
            bytes.extend(time.iter().flat_map(|time| time.millis().to_le_bytes()));
        }
        for text in [sub, client_id, username, iss, token_type, token_use, typ] {
            bytes.push(u8::from(text.is_some()));
            if let Some(text) = text {
                encode_text(text, bytes);
            }
        }
        encode_text(scope, bytes);
        encode_text(&audiences.0, bytes);
        encode_text(&claims.0, bytes);
    }

    /// Decodes exactly what [`Self::encode`] writes; every byte must be consumed.
    pub(super) fn decode(bytes: &'a [u8]) -> Option<Self> {
        let mut bytes = Bytes(bytes);
        if bytes.byte()? != VERSION {
            return None;
        }
        let introspected = match bytes.byte()? {
            INACTIVE => Self::Inactive,
            kind @ (ACTIVE | ACTIVE_SENDER_CONSTRAINED | ACTIVE_WITH_CERTIFICATE) => Self::Active(Identity {
                confirmation: match kind {
                    ACTIVE => Confirmation::None,
                    ACTIVE_WITH_CERTIFICATE => {
                        Confirmation::Certificate(bytes.array().map(Digest::from_bytes)?)
                    }
                    _ => Confirmation::Other,
                },
                exp: bytes.optional(Bytes::time)?,
                nbf: bytes.optional(Bytes::time)?,
                iat: bytes.optional(Bytes::time)?,
                sub: bytes.optional(Bytes::text)?,
                client_id: bytes.optional(Bytes::text)?,
                username: bytes.optional(Bytes::text)?,
                iss: bytes.optional(Bytes::text)?,
                token_type: bytes.optional(Bytes::text)?,
                token_use: bytes.optional(Bytes::text)?,
                typ: bytes.optional(Bytes::text)?,
                scope: bytes.text()?,
                audiences: Audiences(bytes.text()?),
                claims: KeptClaims(bytes.text()?),
            }),
            _ => return None,
        };
        bytes.0.is_empty().then_some(introspected)
    }
}

fn encode_text(text: &str, bytes: &mut Vec<u8>) {
    bytes.extend(u32::try_from(text.len()).unwrap_or(u32::MAX).to_le_bytes());
    bytes.extend(text.as_bytes());
}

/// The bytes that remain to be decoded.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (array, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*array)
    }

    fn byte(&mut self) -> Option<u8> {
        self.array().map(|[byte]| byte)
    }

    fn time(&mut self) -> Option<Timestamp> {
        self.array().map(u64::from_le_bytes).map(Timestamp::from_millis)
    }

    fn text(&mut self) -> Option<Cow<'a, str>> {
        let length = usize::try_from(u32::from_le_bytes(self.array()?)).ok()?;
        let (text, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        str::from_utf8(text).ok().map(Cow::Borrowed)
    }

    /// The outer `None` means that the bytes are invalid, the inner one that the value is absent.
    fn optional<T>(&mut self, value: impl FnOnce(&mut Self) -> Option<T>) -> Option<Option<T>> {
        match self.byte()? {
            0 => Some(None),
            1 => value(self).map(Some),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    #[cfg(all(target_family = "wasm", target_os = "unknown"))]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::{super::record::tests::full, *};

    fn encoded(introspected: &Vouched<'_>) -> Vec<u8> {
        let mut bytes = Vec::new();
        introspected.encode(&mut bytes);
        bytes
    }

    #[test]
    fn what_is_encoded_is_decoded() {
        let bound = |confirmation| Identity { confirmation, ..full() };
        let certificate = Confirmation::Certificate(Digest::of(b"certificate"));
        for claims in [full(), Identity::default(), bound(Confirmation::Other), bound(certificate)] {
            let introspected = Vouched::Active(claims);
            let bytes = encoded(&introspected);
            let decoded = Vouched::decode(&bytes).unwrap();
            assert_eq!(decoded, introspected);
            assert_eq!(decoded.into_owned(), introspected);
        }
        assert_eq!(Vouched::decode(&encoded(&Vouched::Inactive)), Some(Vouched::Inactive));
    }

    #[test]
    fn decoding_borrows_every_text() {
        let bytes = encoded(&Vouched::Active(full()));
        let Some(Vouched::Active(claims)) = Vouched::decode(&bytes) else { panic!("not active") };
        assert!(matches!(claims.sub, Some(Cow::Borrowed("alice"))));
        assert!(matches!((claims.scope, claims.audiences.0), (Cow::Borrowed(_), Cow::Borrowed(_))));
    }

    #[test]
    fn truncated_extended_and_other_versions_are_rejected() {
        let bytes = encoded(&Vouched::Active(full()));
        for length in 0..bytes.len() {
            assert_eq!(Vouched::decode(&bytes[..length]), None, "{length}");
        }
        assert_eq!(Vouched::decode(&[bytes.as_slice(), &[0]].concat()), None);
        assert_eq!(Vouched::decode(&[VERSION + 1, INACTIVE]), None);
        assert_eq!(Vouched::decode(&[VERSION, 4]), None);
    }
}
