//! `introspection`: an OAuth2 introspection endpoint.

use crate::policy::document::value::{DurationText, Named, Secret, Setting};

document! {
    /// An OAuth2 introspection endpoint (RFC 7662).
    pub struct Introspection {
        /// The Envoy cluster that leads to it.
        pub cluster: String,
        /// Its URL.
        pub url: String,
        /// How Sidegate authenticates itself there.
        pub authentication = default: Authentication,
        /// Further header fields of the requests.
        pub headers = default: Named<Secret>,
        /// Who signs its answers (RFC 9701). Without it, they are plain JSON.
        pub signed?: SignedAnswers,
        /// How long an answer may take.
        #[serde(default = "default_timeout")]
        pub timeout: DurationText,
        /// How long answers are kept.
        pub cache = default: Cache,
        /// What happens when it gives no usable answer.
        pub unavailable = default: Unavailable,
        /// How long it is left alone after it timed out, could not be reached or answered with 5xx; meanwhile
        /// one request at a time tries it. `0s` is no rest.
        #[serde(default = "default_cooldown")]
        pub cooldown: DurationText,
        /// The issuers of the tokens that it knows. A token that names another issuer is refused without a
        /// call.
        pub issuers?: Vec<String>,
        /// Tolerated clock difference for `nbf` and `iat`.
        #[serde(default = "default_leeway")]
        pub leeway: DurationText,
    }

    /// Who signs the answers of an introspection endpoint.
    pub struct SignedAnswers {
        /// A `jwks` provider: the issuer, its keys and their algorithms.
        pub provider: String,
        /// Who the answers must be for. By default the client id that Sidegate authenticates itself with.
        pub audience?: String,
    }

    /// A client id with its secret.
    pub struct Client {
        /// The client id.
        pub id: Setting,
        /// Its secret.
        pub secret: Secret,
    }

    /// A bearer token of Sidegate's own.
    pub struct BearerToken {
        /// The token.
        pub token: Secret,
    }

    /// An access token of Sidegate's own, by the client credentials grant.
    pub struct ClientCredentials {
        /// The Envoy cluster of the token endpoint.
        pub cluster: String,
        /// Its URL.
        pub url: String,
        /// How Sidegate authenticates itself there.
        pub authentication: ClientAuthentication,
        /// The scopes to ask for.
        pub scopes?: Vec<String>,
        /// The audience to ask for.
        pub audience?: String,
        /// How long an answer may take.
        #[serde(default = "default_token_timeout")]
        pub timeout: DurationText,
    }

    /// How long answers are kept.
    pub struct Cache {
        /// An active token's answer; never beyond its `exp`. `0s` keeps none.
        #[serde(default = "default_ttl")]
        pub ttl: DurationText,
        /// An inactive token's answer.
        #[serde(default = "default_negative_ttl")]
        pub negative_ttl: DurationText,
        /// How long after it expired an answer may still be used where `unavailable` is `stale` or
        /// `allow_clients`.
        pub stale_if_error = default: DurationText,
    }
}

choice! {
    /// How Sidegate authenticates itself to a provider.
    #[derive(Default)]
    pub enum Authentication {
        /// HTTP Basic with client id and secret (`client_secret_basic`).
        Basic(Client),
        /// Client id and secret in the form (`client_secret_post`).
        Post(Client),
        /// A bearer token.
        Bearer(BearerToken),
        /// A bearer token that Sidegate fetches by the client credentials grant.
        ClientCredentials(ClientCredentials),
        /// Not at all.
        #[default]
        None,
    }

    /// How Sidegate authenticates itself as an OAuth2 client.
    pub enum ClientAuthentication {
        /// HTTP Basic with client id and secret (`client_secret_basic`).
        Basic(Client),
        /// Client id and secret in the form (`client_secret_post`).
        Post(Client),
    }

    /// What happens when a provider gives no usable answer.
    #[derive(Default)]
    pub enum Unavailable {
        /// The request is refused.
        #[default]
        Deny,
        /// The last good answer is used, for `cache.stale_if_error` after it expired.
        Stale,
        /// The same, for tokens of these client ids only.
        AllowClients(Vec<String>),
    }
}

impl Default for Cache {
    fn default() -> Self {
        Self {
            ttl: default_ttl(),
            negative_ttl: default_negative_ttl(),
            stale_if_error: DurationText::default(),
        }
    }
}

const fn default_timeout() -> DurationText {
    DurationText::from_millis(200)
}

const fn default_token_timeout() -> DurationText {
    DurationText::from_millis(2_000)
}

const fn default_ttl() -> DurationText {
    DurationText::from_millis(30_000)
}

const fn default_negative_ttl() -> DurationText {
    DurationText::from_millis(5_000)
}

const fn default_cooldown() -> DurationText {
    DurationText::from_millis(1_000)
}

const fn default_leeway() -> DurationText {
    DurationText::from_millis(30_000)
}
