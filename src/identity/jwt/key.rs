//! Public keys (RFC 7517, RFC 7518 section 6, RFC 8037).

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::Deserialize;

use super::{Algorithm, algorithm::Hash, rsa::RsaKey};

/// A public key that verifies signatures.
#[derive(Clone, Debug)]
pub(super) struct Key {
    /// Its name.
    pub(super) kid: Option<String>,
    /// The only algorithm that it is for, if it says so.
    pub(super) algorithm: Option<Algorithm>,
    /// The key itself.
    pub(super) material: Material,
}

/// A key without what is said about it.
#[derive(Clone, Debug)]
pub(super) enum Material {
    Rsa(RsaKey),
    P256(p256::ecdsa::VerifyingKey),
    P384(Box<p384::ecdsa::VerifyingKey>),
    P521(Box<p521::ecdsa::VerifyingKey>),
    Ed25519(ed25519_dalek::VerifyingKey),
}

/// The members of a JWK that are read.
#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<String>,
    #[serde(rename = "use")]
    usage: Option<String>,
    key_ops: Option<Vec<String>>,
    alg: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

impl Key {
    /// The key in a JWK; `None` if it is of an unknown kind, not for verifying signatures, or invalid.
    pub(super) fn from_jwk(jwk: serde_json::Value) -> Option<Self> {
        let jwk: Jwk = serde_json::from_value(jwk).ok()?;
        let is_for_signatures = jwk.usage.as_deref().is_none_or(|usage| usage == "sig")
            && jwk.key_ops.as_ref().is_none_or(|ops| ops.iter().any(|op| op == "verify"));
        if !is_for_signatures {
            return None;
        }
        let algorithm = match jwk.alg.as_deref() {
            Some(name) => Some(Algorithm::named(name)?),
            None => None,
        };
        let number = |text: Option<String>| URL_SAFE_NO_PAD.decode(text?).ok();
        let material = match (jwk.kty.as_str(), jwk.crv.as_deref()) {
            ("RSA", None) => Material::rsa(&number(jwk.n)?, &number(jwk.e)?)?,
            ("EC", Some(curve)) => {
                let (x, y) = (number(jwk.x)?, number(jwk.y)?);
                let length = match curve {
                    "P-256" => 32,
                    "P-384" => 48,
                    "P-521" => 66,
                    _ => return None,
                };
                if x.len() != length || y.len() != length {
                    return None;
                }
                Material::point(curve, &[&[4], x.as_slice(), &y].concat())?
            }
            ("OKP", Some("Ed25519")) => Material::ed25519(&number(jwk.x)?)?,
            _ => return None,
        };
        let fits = algorithm.is_none_or(|algorithm| material.fits(algorithm));
        fits.then_some(Self { kid: jwk.kid, algorithm, material })
    }

    /// Whether the key may verify signatures of this algorithm.
    pub(super) fn fits(&self, algorithm: Algorithm) -> bool {
        self.algorithm.is_none_or(|only| only == algorithm) && self.material.fits(algorithm)
    }
}

impl Material {
    pub(super) fn rsa(modulus: &[u8], exponent: &[u8]) -> Option<Self> {
        RsaKey::new(modulus, exponent).map(Self::Rsa)
    }

    /// The key with this point, which must be on its curve.
    pub(super) fn point(curve: &str, point: &[u8]) -> Option<Self> {
        match curve {
            "P-256" => p256::ecdsa::VerifyingKey::from_sec1_bytes(point).ok().map(Self::P256),
            "P-384" => p384::ecdsa::VerifyingKey::from_sec1_bytes(point).ok().map(Box::new).map(Self::P384),
            "P-521" => p521::ecdsa::VerifyingKey::from_sec1_bytes(point).ok().map(Box::new).map(Self::P521),
            _ => None,
        }
    }

    /// The key with this point, which must not be a weak one.
    pub(super) fn ed25519(point: &[u8]) -> Option<Self> {
        let key = ed25519_dalek::VerifyingKey::try_from(point).ok()?;
        (!key.is_weak()).then_some(Self::Ed25519(key))
    }

    fn fits(&self, algorithm: Algorithm) -> bool {
        match self {
            Self::Rsa(_) => matches!(algorithm, Algorithm::Rs(_) | Algorithm::Ps(_)),
            Self::P256(_) => algorithm == Algorithm::Es(Hash::Sha256),
            Self::P384(_) => algorithm == Algorithm::Es(Hash::Sha384),
            Self::P521(_) => algorithm == Algorithm::Es(Hash::Sha512),
            Self::Ed25519(_) => algorithm == Algorithm::EdDsa,
        }
    }

    /// The length of its signatures, in bytes.
    pub(super) fn signature_length(&self) -> usize {
        match self {
            Self::Rsa(key) => key.signature_length(),
            Self::P256(_) | Self::Ed25519(_) => 64,
            Self::P384(_) => 96,
            Self::P521(_) => 132,
        }
    }
}
