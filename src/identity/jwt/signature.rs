//! Verifies signatures.

use p256::ecdsa::signature::hazmat::PrehashVerifier;

use super::{
    Algorithm, Jws,
    algorithm::Hash,
    key::{Key, Material},
};

/// Whether `key` signed the token. The key must [fit](Key::fits) the algorithm.
pub(super) fn is_valid(jws: &Jws<'_>, key: &Key) -> bool {
    let (signed, signature) = (jws.signed, jws.signature.as_slice());
    match (&key.material, jws.algorithm) {
        (Material::Rsa(key), Algorithm::Rs(hash)) => key.verify_pkcs1(hash, signed, signature),
        (Material::Rsa(key), Algorithm::Ps(hash)) => key.verify_pss(hash, signed, signature),
        (Material::P256(key), Algorithm::Es(hash @ Hash::Sha256)) => {
            p256::ecdsa::Signature::from_slice(signature)
                .is_ok_and(|signature| key.verify_prehash(&hash.of(&[signed]), &signature).is_ok())
        }
        (Material::P384(key), Algorithm::Es(hash @ Hash::Sha384)) => {
            p384::ecdsa::Signature::from_slice(signature)
                .is_ok_and(|signature| key.verify_prehash(&hash.of(&[signed]), &signature).is_ok())
        }
        (Material::P521(key), Algorithm::Es(hash @ Hash::Sha512)) => {
            p521::ecdsa::Signature::from_slice(signature)
                .is_ok_and(|signature| key.verify_prehash(&hash.of(&[signed]), &signature).is_ok())
        }
        (Material::Ed25519(key), Algorithm::EdDsa) => ed25519_dalek::Signature::from_slice(signature)
            .is_ok_and(|signature| key.verify_strict(signed, &signature).is_ok()),
        _ => false,
    }
}
