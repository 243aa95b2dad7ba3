//! `jwks`: an issuer of JWTs.

use crate::policy::document::value::DurationText;

document! {
    /// An issuer of JWTs, with the keys that it signs them with: either `cluster` and `url`, or `keys`.
    /// Without keys, only Envoy can verify its tokens.
    pub struct Jwks {
        /// The Envoy cluster that leads to its keys.
        pub cluster?: String,
        /// The URL of its keys, a JSON Web Key Set.
        pub url?: String,
        /// The keys themselves: a JSON Web Key Set, or public keys in PEM.
        pub keys?: String,
        /// Where Envoy's `jwt_authn` filter puts the payload of a token that it has verified:
        /// `payload_in_metadata` there.
        #[serde(default = "default_payload")]
        pub payload_in_metadata: String,
        /// The value that `iss` must have.
        pub issuer: String,
        /// Audiences of which a token must name at least one.
        pub audiences?: Vec<String>,
        /// The algorithms that tokens may be signed with; all of these if absent.
        pub algorithms?: Vec<Algorithm>,
        /// How long the keys may take.
        #[serde(default = "default_timeout")]
        pub timeout: DurationText,
        /// When the keys are fetched again.
        pub refresh = default: Refresh,
        /// How long verified tokens are kept.
        pub cache = default: JwtCache,
        /// Tolerated clock difference for `exp`, `nbf` and `iat`.
        #[serde(default = "default_leeway")]
        pub leeway: DurationText,
        /// The longest time from `iat` to `exp`; any if absent.
        pub max_lifetime?: DurationText,
    }

    /// When keys are fetched again.
    pub struct Refresh {
        /// The longest time until then. The `max-age` of the response may shorten it.
        #[serde(default = "default_every")]
        pub every: DurationText,
        /// The shortest time until then, also for a key that is unknown.
        #[serde(default = "default_pause")]
        pub pause: DurationText,
    }

    /// How long verified tokens are kept.
    pub struct JwtCache {
        /// A valid token; never beyond its `exp`. `0s` keeps none.
        #[serde(default = "default_ttl")]
        pub ttl: DurationText,
        /// A token with an invalid signature.
        #[serde(default = "default_negative_ttl")]
        pub negative_ttl: DurationText,
    }
}

choice! {
    /// An algorithm for signatures (RFC 7518 section 3.1, RFC 8037).
    #[derive(Copy)]
    pub enum Algorithm {
        /// RSA PKCS #1 with SHA-256.
        #[serde(rename = "RS256")]
        Rs256,
        /// RSA PKCS #1 with SHA-384.
        #[serde(rename = "RS384")]
        Rs384,
        /// RSA PKCS #1 with SHA-512.
        #[serde(rename = "RS512")]
        Rs512,
        /// RSA PSS with SHA-256.
        #[serde(rename = "PS256")]
        Ps256,
        /// RSA PSS with SHA-384.
        #[serde(rename = "PS384")]
        Ps384,
        /// RSA PSS with SHA-512.
        #[serde(rename = "PS512")]
        Ps512,
        /// ECDSA on P-256.
        #[serde(rename = "ES256")]
        Es256,
        /// ECDSA on P-384.
        #[serde(rename = "ES384")]
        Es384,
        /// ECDSA on P-521.
        #[serde(rename = "ES512")]
        Es512,
        /// Ed25519.
        #[serde(rename = "EdDSA")]
        EdDsa,
    }
}

impl Default for Refresh {
    fn default() -> Self {
        Self { every: default_every(), pause: default_pause() }
    }
}

impl Default for JwtCache {
    fn default() -> Self {
        Self { ttl: default_ttl(), negative_ttl: default_negative_ttl() }
    }
}

const fn default_timeout() -> DurationText {
    DurationText::from_millis(2_000)
}

const fn default_every() -> DurationText {
    DurationText::from_millis(600_000)
}

const fn default_pause() -> DurationText {
    DurationText::from_millis(10_000)
}

const fn default_ttl() -> DurationText {
    DurationText::from_millis(300_000)
}

const fn default_negative_ttl() -> DurationText {
    DurationText::from_millis(5_000)
}

const fn default_leeway() -> DurationText {
    DurationText::from_millis(30_000)
}

fn default_payload() -> String {
    "payload".to_owned()
}
