//! SHA-256 digests: the only form in which credentials are stored, compared or used as keys.

mod recent;

use std::{cmp::Ordering, fmt};

use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq;

pub use recent::RecentDigests;

/// A SHA-256 digest. Comparison for equality takes constant time. The order is that of its words, which is
/// not the order of its bytes.
#[derive(Clone, Copy)]
pub struct Digest([u8; 32]);

/// The text is not a SHA-256 digest in hexadecimal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a SHA-256 digest: expected 64 hexadecimal digits")]
pub struct InvalidDigest;

impl Digest {
    /// The digest of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// The digest of several parts. Each is preceded by its length, so that different lists have different
    /// digests.
    pub fn of_parts(parts: &[&[u8]]) -> Self {
        let mut hasher = Sha256::new();
        for part in parts {
            hasher.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_le_bytes());
            hasher.update(part);
        }
        Self(hasher.finalize().into())
    }

    /// Combines two digests of independent parts, in any order. A part that many requests share is hashed
    /// only once.
    pub fn joined(&self, other: &Self) -> Self {
        let mut joined = self.0;
        joined.iter_mut().zip(other.0).for_each(|(byte, other)| *byte ^= other);
        Self(joined)
    }

    /// Parses 64 hexadecimal digits, in either case.
    pub fn from_hex(text: &str) -> Result<Self, InvalidDigest> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes).map_err(|_| InvalidDigest)?;
        Ok(Self(bytes))
    }

    /// 64 lower-case hexadecimal digits.
    pub fn to_hex(self) -> String {
        hex::encode(self.0)
    }

    /// The raw bytes.
    pub const fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The digest with exactly these bytes.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The digest as four numbers, which are faster to compare than bytes.
    fn words(&self) -> [u64; 4] {
        let mut words = [0; 4];
        for (word, bytes) in words.iter_mut().zip(self.0.as_chunks().0) {
            *word = u64::from_le_bytes(*bytes);
        }
        words
    }

    /// The first eight bytes as a number, which is evenly distributed.
    pub const fn number(&self) -> u64 {
        match self.0.first_chunk() {
            Some(bytes) => u64::from_le_bytes(*bytes),
            None => 0,
        }
    }
}

/// Makes the digest of bytes that come in parts.
#[derive(Clone, Default)]
pub struct Hasher(Sha256);

impl Hasher {
    /// Adds a part.
    pub fn update(&mut self, part: &[u8]) {
        self.0.update(part);
    }

    /// The digest of all parts, one after the other.
    pub fn finish(self) -> Digest {
        Digest(self.0.finalize().into())
    }
}

impl PartialEq for Digest {
    fn eq(&self, other: &Self) -> bool {
        self.words().ct_eq(&other.words()).into()
    }
}

impl Eq for Digest {}

impl Ord for Digest {
    fn cmp(&self, other: &Self) -> Ordering {
        // The first words differ for almost all of them.
        self.number().cmp(&other.number()).then_with(|| self.words().cmp(&other.words()))
    }
}

impl PartialOrd for Digest {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl std::hash::Hash for Digest {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        state.write_u64(self.number());
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({}…)", hex::encode(self.0.iter().take(4).copied().collect::<Vec<_>>()))
    }
}

#[cfg(test)]
mod tests {
    #[cfg(all(target_family = "wasm", target_os = "unknown"))]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    fn hex_is_read_in_either_case() {
        let digest = Digest::of(b"key");
        assert_eq!(Digest::from_hex(&digest.to_hex().to_uppercase()), Ok(digest));
        assert_eq!(Digest::from_hex("9f86"), Err(InvalidDigest));
    }

    #[test]
    fn joined_digests_depend_on_both() {
        let [a, b, c] = [b"a", b"b", b"c"].map(|part| Digest::of(part));
        assert_eq!(a.joined(&b), b.joined(&a));
        assert_ne!(a.joined(&b), a.joined(&c));
        assert_ne!(a.joined(&b), a);
    }

    #[test]
    fn different_lists_of_parts_have_different_digests() {
        assert_ne!(Digest::of_parts(&[b"ab", b"c"]), Digest::of_parts(&[b"a", b"bc"]));
    }
}
