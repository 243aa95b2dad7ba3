//! Signature algorithms (RFC 7518 section 3.1, RFC 8037). There is no `none` and no HMAC.

use sha2::{Digest as _, Sha256, Sha384, Sha512};

/// A signature algorithm of JWTs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Algorithm {
    /// RSASSA-PKCS1-v1_5.
    Rs(Hash),
    /// RSASSA-PSS, with a salt as long as the hash.
    Ps(Hash),
    /// ECDSA, on the curve that belongs to the hash.
    Es(Hash),
    /// EdDSA with Ed25519.
    EdDsa,
}

/// A hash function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Hash {
    /// SHA-256.
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
}

impl Algorithm {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Rs(Hash::Sha256),
        Self::Rs(Hash::Sha384),
        Self::Rs(Hash::Sha512),
        Self::Ps(Hash::Sha256),
        Self::Ps(Hash::Sha384),
        Self::Ps(Hash::Sha512),
        Self::Es(Hash::Sha256),
        Self::Es(Hash::Sha384),
        Self::Es(Hash::Sha512),
        Self::EdDsa,
    ];

    /// The algorithm with this value of `alg`. EdDSA has a second name (RFC 9864).
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "Ed25519" => Some(Self::EdDsa),
            _ => Self::ALL.into_iter().find(|algorithm| algorithm.as_str() == name),
        }
    }

    /// The value of `alg`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rs(Hash::Sha256) => "RS256",
            Self::Rs(Hash::Sha384) => "RS384",
            Self::Rs(Hash::Sha512) => "RS512",
            Self::Ps(Hash::Sha256) => "PS256",
            Self::Ps(Hash::Sha384) => "PS384",
            Self::Ps(Hash::Sha512) => "PS512",
            Self::Es(Hash::Sha256) => "ES256",
            Self::Es(Hash::Sha384) => "ES384",
            Self::Es(Hash::Sha512) => "ES512",
            Self::EdDsa => "EdDSA",
        }
    }
}

impl Hash {
    /// The digest of all parts, one after the other.
    pub(super) fn of(self, parts: &[&[u8]]) -> Vec<u8> {
        fn digest<D: sha2::Digest>(parts: &[&[u8]]) -> Vec<u8> {
            let mut hasher = D::new();
            parts.iter().for_each(|part| hasher.update(part));
            hasher.finalize().to_vec()
        }
        match self {
            Self::Sha256 => digest::<Sha256>(parts),
            Self::Sha384 => digest::<Sha384>(parts),
            Self::Sha512 => digest::<Sha512>(parts),
        }
    }

    /// The length of a digest, in bytes.
    pub(super) fn length(self) -> usize {
        match self {
            Self::Sha256 => Sha256::output_size(),
            Self::Sha384 => Sha384::output_size(),
            Self::Sha512 => Sha512::output_size(),
        }
    }
}

#[cfg(test)]
mod tests {
    #[cfg(all(target_family = "wasm", target_os = "unknown"))]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    fn only_signatures_by_private_keys_are_algorithms() {
        for algorithm in Algorithm::ALL {
            assert_eq!(Algorithm::named(algorithm.as_str()), Some(algorithm));
        }
        for name in ["none", "None", "HS256", "HS384", "HS512", "ES256K", "Ed448", "rs256", "RSA-OAEP", ""] {
            assert_eq!(Algorithm::named(name), None, "{name}");
        }
    }
}
