//! Tokens that the policy revokes. They are refused whatever an authorization server or a signature says.

use rustc_hash::FxHashSet;

use crate::credential::Digest;

/// The digests of the tokens that a policy revokes.
#[derive(Clone, Debug, Default)]
pub struct RevokedTokens(FxHashSet<Digest>);

impl RevokedTokens {
    /// The most tokens that a policy revokes. Whoever must revoke more of them raises the epoch and revokes
    /// them where they were issued.
    pub const MOST: usize = 10_000;

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether `token` is among them. `digest_of` makes the digest of a whole token, and may remember it.
    pub fn contain(&self, token: &str, digest_of: impl FnOnce(&str) -> Digest) -> bool {
        !self.0.is_empty()
            && (self.0.contains(&digest_of(token))
                || signed_part(token).is_some_and(|part| self.0.contains(&Digest::of(part.as_bytes()))))
    }
}

impl FromIterator<Digest> for RevokedTokens {
    fn from_iter<T: IntoIterator<Item = Digest>>(digests: T) -> Self {
        Self(digests.into_iter().collect())
    }
}

/// The digest that revokes `token`. For a JWT it is that of its first two parts: anybody can turn an ECDSA
/// signature into another valid one, and the token would have another digest as a whole.
pub fn revoking_digest(token: &str) -> Digest {
    Digest::of(signed_part(token).unwrap_or(token).as_bytes())
}

/// What the signature of a JWT is for: the first two of its three parts.
fn signed_part(token: &str) -> Option<&str> {
    let (signed, _) = token.rsplit_once('.')?;
    (signed.bytes().filter(|byte| *byte == b'.').count() == 1).then_some(signed)
}

#[cfg(test)]
mod tests {
    #[cfg(all(target_family = "wasm", target_os = "unknown"))]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    fn contains(revoked: &RevokedTokens, token: &str) -> bool {
        revoked.contain(token, |token| Digest::of(token.as_bytes()))
    }

    #[test]
    fn a_jwt_is_revoked_with_every_signature_and_any_other_token_as_a_whole() {
        let revoked: RevokedTokens = ["opaque", "a.b.c", "d.e"].map(revoking_digest).into_iter().collect();
        for (token, expected) in [
            ("opaque", true),
            ("Opaque", false),
            ("a.b.c", true),
            ("a.b.other", true),
            ("a.b.", true),
            ("a.x.c", false),
            ("a.b", true),
            ("a.b.c.d", false),
            ("d.e", true),
            ("d.f", false),
            ("", false),
        ] {
            assert_eq!(contains(&revoked, token), expected, "{token}");
        }
        let whole: RevokedTokens = [Digest::of(b"a.b.c")].into_iter().collect();
        assert!(contains(&whole, "a.b.c") && !contains(&whole, "a.b.d"));
        assert!(!contains(&RevokedTokens::default(), "opaque"));
    }
}
