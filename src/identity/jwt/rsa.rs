//! RSA signatures (RFC 8017). Only what is public is computed with, so nothing has to take constant time.
//!
//! The arithmetic is that of `crypto-bigint`. With the public exponent it takes seventeen multiplications,
//! where a general exponentiation takes twice as many.

use crypto_bigint::{
    BoxedUint, Odd,
    modular::{BoxedMontyForm, BoxedMontyParams},
};

use super::algorithm::Hash;

/// The length of a modulus, in bits: shorter ones are weak, and longer ones cost too much.
const BITS: std::ops::RangeInclusive<u32> = 2048..=4096;

/// A public key.
#[derive(Clone, Debug)]
pub(super) struct RsaKey {
    modulus: BoxedMontyParams,
    /// The length of the modulus, and so of every signature.
    bytes: usize,
    exponent: u32,
}

impl RsaKey {
    /// The key with this modulus and exponent, both big-endian; `None` if it is not one to be used.
    pub(super) fn new(modulus: &[u8], exponent: &[u8]) -> Option<Self> {
        let modulus = without_zeros(modulus);
        let bytes = modulus.len();
        let bits = u32::try_from(bytes).ok()?.checked_mul(8)?;
        // The first bit is set: signatures are as long as the modulus.
        if !BITS.contains(&bits) || *modulus.first()? < 0x80 {
            return None;
        }
        let exponent = without_zeros(exponent);
        let exponent = (exponent.len() <= 4)
            .then(|| exponent.iter().fold(0_u32, |e, byte| e << 8 | u32::from(*byte)))?;
        if exponent < 3 || exponent & 1 == 0 {
            return None;
        }
        let modulus = Odd::new(BoxedUint::from_be_slice(modulus, bits).ok()?).into_option()?;
        Some(Self { modulus: BoxedMontyParams::new_vartime(modulus), bytes, exponent })
    }

    /// The length of a signature, in bytes.
    pub(super) const fn signature_length(&self) -> usize {
        self.bytes
    }

    /// Whether this is the signature of a message with PKCS #1 v1.5 (section 8.2.2): the padding that is
    /// expected is made and compared as a whole.
    pub(super) fn verify_pkcs1(&self, hash: Hash, message: &[u8], signature: &[u8]) -> bool {
        let digest = hash.of(&[message]);
        let info = info(hash);
        let rest = info.len().saturating_add(digest.len()).saturating_add(3);
        let Some(padding) = self.bytes.checked_sub(rest) else { return false };
        let expected = [&[0, 1][..], &vec![0xff; padding], &[0], info, &digest].concat();
        self.open(signature).is_some_and(|opened| *opened == *expected)
    }

    /// Whether this is the signature of a message with PSS (section 9.1.2), with a salt as long as the hash
    /// (RFC 7518 section 3.5).
    pub(super) fn verify_pss(&self, hash: Hash, message: &[u8], signature: &[u8]) -> bool {
        let Some(opened) = self.open(signature) else { return false };
        is_pss(hash, message, &opened).unwrap_or(false)
    }

    /// The signature raised to the exponent, as many bytes as the modulus has.
    fn open(&self, signature: &[u8]) -> Option<Box<[u8]>> {
        if signature.len() != self.bytes {
            return None;
        }
        let bits = self.modulus.bits_precision();
        let signature = BoxedUint::from_be_slice(signature, bits).ok()?;
        if signature >= *self.modulus.modulus().as_ref() {
            return None;
        }
        let base = BoxedMontyForm::new(signature, &self.modulus);
        let mut power = base.clone();
        // The exponent's bits after the first, from the left.
        for bit in (0..self.exponent.ilog2()).rev() {
            power = power.square();
            if self.exponent.checked_shr(bit).is_some_and(|rest| rest & 1 == 1) {
                power = power.mul(&base);
            }
        }
        let opened = power.retrieve().to_be_bytes();
        let excess = opened.len().checked_sub(self.bytes)?;
        opened.get(excess..).map(Into::into)
    }
}

/// What PKCS #1 puts before a digest (section 9.2).
const fn info(hash: Hash) -> &'static [u8] {
    match hash {
        Hash::Sha256 => b"\x30\x31\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01\x05\x00\x04\x20",
        Hash::Sha384 => b"\x30\x41\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x02\x05\x00\x04\x30",
        Hash::Sha512 => b"\x30\x51\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x03\x05\x00\x04\x40",
    }
}

/// Section 9.1.2. `None` if the parts do not have their lengths. The modulus has whole bytes, so only the
/// first bit of the encoded message is no part of it.
fn is_pss(hash: Hash, message: &[u8], encoded: &[u8]) -> Option<bool> {
    let length = hash.length();
    let (masked, digest_and_end) =
        encoded.split_at_checked(encoded.len().checked_sub(length)?.checked_sub(1)?)?;
    let (digest, end) = digest_and_end.split_at_checked(length)?;
    if end != [0xbc] || *masked.first()? & 0x80 != 0 {
        return Some(false);
    }
    let mask = mask(hash, digest, masked.len());
    let mut block: Vec<u8> = masked.iter().zip(&mask).map(|(byte, mask)| byte ^ mask).collect();
    if let Some(first) = block.first_mut() {
        *first &= 0x7f;
    }
    let (padding, salt) = block.split_at_checked(block.len().checked_sub(length)?)?;
    let (one, zeros) = padding.split_last()?;
    let is_padded = *one == 1 && zeros.iter().all(|byte| *byte == 0);
    Some(is_padded && hash.of(&[&[0; 8], &hash.of(&[message]), salt]) == digest)
}

/// MGF1 (appendix B.2.1).
fn mask(hash: Hash, seed: &[u8], length: usize) -> Vec<u8> {
    let mut mask = Vec::with_capacity(length.saturating_add(hash.length()));
    for counter in 0_u32.. {
        if mask.len() >= length {
            break;
        }
        mask.extend(hash.of(&[seed, &counter.to_be_bytes()]));
    }
    mask.truncate(length);
    mask
}

fn without_zeros(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    number.get(zeros..).unwrap_or_default()
}
