//! `gate`: what holds for every request.

use super::value::AlertAt;
use crate::{identity::jwt::Verifications, quota::HeaderStyle};

document! {
    /// What holds for every request.
    pub struct Gate {
        /// The realm named in challenges.
        #[serde(default = "default_realm")]
        pub realm: String,
        /// URL of the protected resource metadata (RFC 9728), named in Bearer challenges.
        pub resource_metadata?: String,
        /// What happens to a request that matches no API.
        pub unmatched = default: Unmatched,
        /// Whether a CORS preflight needs credentials.
        pub preflight = default: Preflight,
        /// The longest path of a request in bytes, without its query: 1 to 16,384. Longer ones are refused
        /// with code 20.
        #[cfg_attr(not(target_family = "wasm"), schemars(range(min = 1, max = 16_384)))]
        #[serde(default = "default_max_path_length")]
        pub max_path_length: u16,
        /// How refusals look.
        pub errors = default: Errors,
        /// Which rate-limit headers callers see.
        pub rate_limit_headers = default: HeaderStyle,
        /// The percentage of a limit at which one log line and a metric say that it is nearly used up, for
        /// each payer and window. With `none`, nothing does.
        pub quota_alert_at = default: AlertAt,
        /// What access logs can show, as `wasm.sidegate.<name>` in filter state: by default `consumer` and
        /// `code`. Each value adds about a microsecond to a request.
        pub filter_state = default: FilterState,
        /// Who may ask for explanation headers.
        pub debug?: Debug,
        /// Which client certificate counts where a token is bound to one.
        pub client_certificate = default: CertificateSource,
        /// How much the shared store holds.
        pub capacity = default: Capacity,
    }

    /// How refusals look.
    #[derive(Default)]
    pub struct Errors {
        /// The form of the body.
        pub format = default: ErrorFormat,
        /// URL of the page that explains a code; `{code}` stands for its two digits.
        pub details?: String,
    }

    /// Who may ask for explanation headers.
    pub struct Debug {
        /// SHA-256 of the secret that a caller sends in `x-sidegate-debug`, in hexadecimal.
        pub secret_sha256: String,
    }

    /// How much the shared store holds, in entries. Changing a capacity empties its table.
    pub struct Capacity {
        /// Meters of consumers, clients, subjects and APIs: 1 to 16,777,216.
        #[cfg_attr(not(target_family = "wasm"), schemars(range(min = 1, max = 16_777_216)))]
        #[serde(default = "default_meters")]
        pub meters: u32,
        /// Meters of network addresses: 1 to 16,777,216. The table never holds more than twice as many.
        #[cfg_attr(not(target_family = "wasm"), schemars(range(min = 1, max = 16_777_216)))]
        #[serde(default = "default_addresses")]
        pub addresses: u32,
        /// Cached identities: 1 to 16,777,216.
        #[cfg_attr(not(target_family = "wasm"), schemars(range(min = 1, max = 16_777_216)))]
        #[serde(default = "default_tokens")]
        pub tokens: u32,
        /// Bytes for each cached identity: 256 to 65,536. Four identities share their room; one that needs
        /// more than that is not cached.
        #[cfg_attr(not(target_family = "wasm"), schemars(range(min = 256, max = 65_536)))]
        #[serde(default = "default_token_bytes")]
        pub token_bytes: u32,
        /// Signatures of JWTs that each worker verifies in a second: 1 to 10,000, in verifications of RSA
        /// with 2,048 bits. Ed25519 counts 1 as well, RSA with 4,096 bits 4, P-256 6, P-521 16 and P-384 20.
        #[cfg_attr(not(target_family = "wasm"), schemars(range(min = 1, max = 10_000)))]
        #[serde(default = "default_verifications")]
        pub verifications: u32,
    }
}

choice! {
    /// What happens to a request that matches no API.
    #[derive(Copy, Default)]
    pub enum Unmatched {
        /// It is refused with code 00.
        #[default]
        Deny,
        /// It is forwarded without a decision.
        Pass,
    }

    /// Whether a CORS preflight needs credentials.
    #[derive(Copy, Default)]
    pub enum Preflight {
        /// It needs none and costs no quota, if the requested method has a rule that does not say `deny`.
        #[default]
        Pass,
        /// It is treated like any other request.
        Check,
    }

    /// Where the client certificate of a caller is found.
    #[derive(Copy, Default)]
    pub enum CertificateSource {
        /// It is that of the connection.
        #[default]
        Connection,
        /// It is the first that the header `x-forwarded-client-cert` names. Only for an Envoy that receives
        /// requests from proxies which set this header.
        Xfcc,
    }

    /// The form of a refusal's body.
    #[derive(Copy, Default)]
    pub enum ErrorFormat {
        /// `{"status", "message", "code", "details"}`.
        #[default]
        Kanali,
        /// RFC 9457 problem details.
        Problem,
    }

    /// What access logs can show.
    pub enum FilterState {
        /// Everything that is known.
        All,
        /// Nothing.
        None,
        /// Only these values.
        Only(Vec<StateName>),
    }

    /// A value in filter state.
    #[derive(Copy)]
    pub enum StateName {
        /// The API's name.
        Api,
        /// The rule's path.
        Rule,
        /// The consumer's name.
        Consumer,
        /// The `id` of the presented API key.
        Key,
        /// The plan's name.
        Plan,
        /// How the caller's identity was obtained: `hit`, `miss` or `stale`.
        Cache,
        /// The code of a refusal that was not sent because of shadow mode, in two digits. One that is sent
        /// has it in the details of the response code and in `x-sidegate-code`.
        Code,
    }
}

impl StateName {
    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::Api, Self::Rule, Self::Consumer, Self::Key, Self::Plan, Self::Cache, Self::Code];
}

impl Default for FilterState {
    fn default() -> Self {
        Self::Only(vec![StateName::Consumer, StateName::Code])
    }
}

impl Default for Gate {
    fn default() -> Self {
        Self {
            realm: default_realm(),
            resource_metadata: None,
            unmatched: Unmatched::default(),
            preflight: Preflight::default(),
            max_path_length: default_max_path_length(),
            errors: Errors::default(),
            rate_limit_headers: HeaderStyle::default(),
            quota_alert_at: AlertAt::default(),
            filter_state: FilterState::default(),
            debug: None,
            client_certificate: CertificateSource::default(),
            capacity: Capacity::default(),
        }
    }
}

impl Default for Capacity {
    fn default() -> Self {
        Self {
            meters: default_meters(),
            addresses: default_addresses(),
            tokens: default_tokens(),
            token_bytes: default_token_bytes(),
            verifications: default_verifications(),
        }
    }
}

fn default_realm() -> String {
    "api".to_owned()
}

const fn default_max_path_length() -> u16 {
    8_192
}

const fn default_meters() -> u32 {
    65_536
}

const fn default_addresses() -> u32 {
    262_144
}

const fn default_token_bytes() -> u32 {
    2_048
}

const fn default_tokens() -> u32 {
    16_384
}

const fn default_verifications() -> u32 {
    Verifications::DEFAULT.get()
}
