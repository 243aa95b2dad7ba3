//! Public keys in PEM (RFC 7468 section 13), as operators have them in files.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use spki::{
    ObjectIdentifier, SubjectPublicKeyInfoRef,
    der::{Decode as _, Reader as _, SliceReader, asn1::UintRef},
};

use super::key::Material;

const BEGIN: &str = "-----BEGIN PUBLIC KEY-----";
const END: &str = "-----END PUBLIC KEY-----";

const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");
const CURVES: [(ObjectIdentifier, &str); 3] = [
    (ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7"), "P-256"),
    (ObjectIdentifier::new_unwrap("1.3.132.0.34"), "P-384"),
    (ObjectIdentifier::new_unwrap("1.3.132.0.35"), "P-521"),
];

/// The keys in a text. A key of an unknown kind is `None`. The whole is `None` if the text is not public keys
/// in PEM and nothing else.
pub(super) fn keys(text: &str) -> Option<Vec<Option<Material>>> {
    let mut keys = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        let (body, after) = rest.strip_prefix(BEGIN)?.split_once(END)?;
        let base64: String = body.split_ascii_whitespace().collect();
        keys.push(key(&STANDARD.decode(base64).ok()?));
        rest = after.trim_start();
    }
    (!keys.is_empty()).then_some(keys)
}

/// The key in a `SubjectPublicKeyInfo` (RFC 5280).
fn key(der: &[u8]) -> Option<Material> {
    let info = SubjectPublicKeyInfoRef::from_der(der).ok()?;
    let bytes = info.subject_public_key.as_bytes()?;
    match info.algorithm.oid {
        RSA => {
            let mut reader = SliceReader::new(bytes).ok()?;
            let (modulus, exponent) = reader
                .sequence(|parts| {
                    Ok::<_, spki::der::Error>((UintRef::decode(parts)?, UintRef::decode(parts)?))
                })
                .ok()?;
            Material::rsa(modulus.as_bytes(), exponent.as_bytes())
        }
        EC => {
            let curve = info.algorithm.parameters_oid().ok()?;
            let (_, curve) = CURVES.iter().find(|(oid, _)| *oid == curve)?;
            Material::point(curve, bytes)
        }
        ED25519 => Material::ed25519(bytes),
        _ => None,
    }
}
