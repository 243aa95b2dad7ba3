//! What the operator writes: the policy document, as it stands in YAML or JSON.
//!
//! These types only say which shapes are legal; what the shapes mean is decided in `compile/`. Unknown fields
//! and names written twice are errors. The JSON Schema in `docs/policy.schema.json` is generated from here.

use serde::{Deserialize, Deserializer};

#[cfg(not(target_family = "wasm"))]
use schemars::JsonSchema;

use crate::quota::{HeaderStyle, Shape, Window};

use super::value::{Instant, MapOnly, Named, Secret, Span, given};

/// `field?: Type` may be left out, but not be `null`: a list whose entries are all commented out must not mean "anything goes".
macro_rules! document {
    ($($(#[$meta:meta])* pub struct $name:ident {
        $($(#[$fmeta:meta])* pub $field:ident $(? : $given:ty)? $(: $type:ty)?,)*
    })*) => { $(
        $(#[$meta])*
        #[derive(Clone, Debug, Deserialize)]
        #[cfg_attr(not(target_family = "wasm"), derive(JsonSchema))]
        #[serde(deny_unknown_fields, remote = "Self")]
        pub struct $name { $(
            $(#[$fmeta])*
            $(#[serde(default, deserialize_with = "given")] pub $field: Option<$given>)?
            $(pub $field: $type)?,
        )* }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                $name::deserialize(MapOnly(deserializer))
            }
        }
    )* };
}

macro_rules! choice {
    ($($(#[$meta:meta])* pub enum $name:ident { $($body:tt)* })*) => { $(
        $(#[$meta])*
        #[derive(Clone, Debug, Deserialize)]
        #[cfg_attr(not(target_family = "wasm"), derive(JsonSchema))]
        #[serde(rename_all = "snake_case")]
        pub enum $name { $($body)* }
    )* };
}

document! {
    /// The whole policy.
    pub struct Document {
        /// Version of this document's schema.
        pub sidegate: SchemaVersion,
        /// The operator's name for this state of the policy; shown in metrics and debug headers.
        pub revision?: String,
        /// What holds for every request.
        #[serde(default)]
        pub gate: Gate,
        /// Services that vouch for credentials, by name.
        #[serde(default)]
        pub providers: Named<Provider>,
        /// What is counted, by name. `hits` is always there.
        #[serde(default)]
        pub metrics: Named<Metric>,
        /// Named sets of limits.
        #[serde(default)]
        pub plans: Named<Plan>,
        /// Known callers.
        pub consumers?: Vec<Consumer>,
        /// The APIs behind the gate.
        pub apis: Vec<Api>,
    }

    /// What holds for every request.
    pub struct Gate {
        /// The realm named in challenges.
        #[serde(default = "default_realm")]
        pub realm: String,
        /// URL of the protected resource metadata (RFC 9728), named in Bearer challenges.
        pub resource_metadata?: String,
        /// What becomes of a request that matches no API.
        #[serde(default)]
        pub unmatched: Unmatched,
        /// Whether a CORS preflight needs credentials.
        #[serde(default)]
        pub preflight: Preflight,
        /// How refusals look.
        #[serde(default)]
        pub errors: Errors,
        /// Which rate-limit headers callers see.
        #[serde(default)]
        pub rate_limit_headers: HeaderStyle,
        /// What access logs are given, as `wasm.sidegate.<name>` in filter state. Each takes about a microsecond of a request.
        #[serde(default)]
        pub filter_state: FilterState,
        /// Who may ask for explanation headers.
        pub debug?: Debug,
        /// How much the shared store holds.
        #[serde(default)]
        pub capacity: Capacity,
    }

    /// How refusals look.
    #[derive(Default)]
    pub struct Errors {
        /// The form of the body.
        #[serde(default)]
        pub format: ErrorFormat,
        /// URL of the page that explains a code; `{code}` stands for its two digits.
        pub details?: String,
    }

    /// Who may ask for explanation headers.
    pub struct Debug {
        /// SHA-256 of the secret that a caller sends in `x-sidegate-debug`, in hexadecimal.
        pub secret_sha256: String,
    }

    /// How much the shared store holds, in entries. Changing a capacity starts its table afresh.
    pub struct Capacity {
        /// Meters: 1 to 16,777,216.
        #[cfg_attr(not(target_family = "wasm"), schemars(range(min = 1, max = 16_777_216)))]
        #[serde(default = "default_meters")]
        pub meters: u32,
        /// Cached identities: 1 to 16,777,216.
        #[cfg_attr(not(target_family = "wasm"), schemars(range(min = 1, max = 16_777_216)))]
        #[serde(default = "default_tokens")]
        pub tokens: u32,
    }

    /// An OAuth2 introspection endpoint (RFC 7662).
    pub struct Introspection {
        /// The Envoy cluster that leads to it.
        pub cluster: String,
        /// Its URL.
        pub url: String,
        /// How Sidegate authenticates itself there.
        #[serde(default)]
        pub authentication: Authentication,
        /// How long an answer may take.
        #[serde(default = "default_timeout")]
        pub timeout: Span,
        /// How long answers are kept.
        #[serde(default)]
        pub cache: Cache,
        /// What happens when it gives no usable answer.
        #[serde(default)]
        pub unavailable: Unavailable,
        /// Tolerated clock difference for `nbf` and `iat`.
        #[serde(default = "default_leeway")]
        pub leeway: Span,
    }

    /// A client id with its secret.
    pub struct Client {
        /// The client id.
        pub id: String,
        /// Its secret.
        pub secret: Secret,
    }

    /// A bearer token of Sidegate's own.
    pub struct BearerToken {
        /// The token.
        pub token: Secret,
    }

    /// How long answers are kept.
    pub struct Cache {
        /// An active token's answer; never beyond its `exp`. `0s` keeps none.
        #[serde(default = "default_ttl")]
        pub ttl: Span,
        /// An inactive token's answer.
        #[serde(default = "default_negative_ttl")]
        pub negative_ttl: Span,
        /// How long past its time an answer may serve where `unavailable` is `stale` or `allow_clients`.
        #[serde(default)]
        pub stale_if_error: Span,
    }

    /// Something that is counted.
    pub struct Metric {
        /// The metric that usage of this one counts for as well.
        pub parent?: String,
    }

    /// A named set of limits.
    pub struct Plan {
        /// Name of the environment that callers on this plan are routed to.
        pub environment?: String,
        /// The limits.
        pub limits?: Vec<Limit>,
    }

    /// At most `max` of a metric per window.
    pub struct Limit {
        /// What is counted.
        pub metric: String,
        /// How many are admitted per window; 0 disables the metric.
        pub max: u64,
        /// The window.
        pub per: Window,
        /// How the window moves.
        #[serde(default)]
        pub window: Shape,
        /// Whose usage is counted together.
        #[serde(default)]
        pub of: Of,
    }

    /// A known caller.
    pub struct Consumer {
        /// Its name, unique.
        pub name: String,
        /// Whether it may call at all.
        #[serde(default)]
        pub state: ConsumerState,
        /// Its plan, where no binding names another.
        pub plan?: String,
        /// Its API keys.
        pub keys?: Vec<Key>,
        /// OAuth2 client ids that are this consumer.
        pub clients?: Vec<String>,
    }

    /// One API key, as a digest.
    pub struct Key {
        /// The operator's name for the key.
        pub id?: String,
        /// SHA-256 of the key, in hexadecimal.
        pub sha256: String,
        /// Whether the key is accepted.
        #[serde(default)]
        pub state: KeyState,
        /// From this moment on the key is refused (RFC 3339).
        pub not_after?: Instant,
    }

    /// Hosts and a base path that belong together.
    pub struct Api {
        /// Its name, unique.
        pub name: String,
        /// Hosts it answers for; any host if absent. `*.example.com` covers every name below.
        pub hosts?: Vec<String>,
        /// The path that all its rules are under.
        pub base_path?: String,
        /// Where credentials sit.
        #[serde(default)]
        pub credentials: Credentials,
        /// The ways in, for rules that name none.
        pub access?: Vec<Access>,
        /// Its rules.
        pub rules: Vec<Rule>,
        /// What requests count; one of `hits` each if absent.
        pub metering?: Vec<Metering>,
        /// Who may call it; every consumer if absent.
        pub bindings?: Vec<Binding>,
        /// Limits on top of those of plans.
        pub limits?: Vec<Limit>,
        /// What the service behind sees.
        #[serde(default)]
        pub forward: Forward,
        /// Decide, log and count, but never refuse.
        #[serde(default)]
        pub shadow: bool,
    }

    /// Where credentials sit.
    #[derive(Default)]
    pub struct Credentials {
        /// API keys; the header `apikey` if absent.
        pub api_key?: Vec<Location>,
        /// Access tokens; `authorization: Bearer` if absent.
        pub token?: Vec<Location>,
    }

    /// One place: exactly one of `header`, `query`, `cookie`.
    pub struct Location {
        /// A header, by name.
        pub header?: String,
        /// The authentication scheme that precedes the credential in the header.
        pub scheme?: String,
        /// A query parameter, by name.
        pub query?: String,
        /// A cookie, by name.
        pub cookie?: String,
    }

    /// A path with methods, and the ways in.
    pub struct Rule {
        /// The path below the base path: literals, `{parameter}`, a last `/**`. Exactly one of `path`, `regex`.
        pub path?: String,
        /// The path as a regular expression, anchored at both ends.
        pub regex?: String,
        /// Methods; all if absent. `GET` covers `HEAD`.
        pub methods?: Vec<String>,
        /// The ways in, in order: the first whose credential is present decides.
        pub access?: Vec<Access>,
    }

    /// What a rule asks of an introspected token.
    pub struct IntrospectionAccess {
        /// Name of the introspection provider.
        pub provider: String,
        /// Scopes that must all be granted.
        pub scopes?: Vec<String>,
        /// How granted scopes cover required ones.
        #[serde(default)]
        pub scope_strategy: ScopeStrategy,
        /// Audiences the token must be for.
        pub audience?: Audience,
        /// Issuers that are trusted; any if absent.
        pub issuers?: Vec<String>,
    }

    /// Which requests count how much of a metric.
    pub struct Metering {
        /// The path below the base path.
        pub path: String,
        /// How the path is read: as a rule's path, or as a 3scale mapping rule's pattern.
        #[serde(default)]
        pub r#match: MeteringMatch,
        /// Query parameters that must be there; a value `{anything}` stands for any.
        #[serde(default)]
        pub query: Named<String>,
        /// Methods; all if absent.
        pub methods?: Vec<String>,
        /// What is counted.
        pub metric: String,
        /// How much, at least 1.
        #[cfg_attr(not(target_family = "wasm"), schemars(range(min = 1)))]
        #[serde(default = "default_by")]
        pub by: u64,
        /// No rule after this one counts, where this one does.
        #[serde(default)]
        pub last: bool,
    }

    /// Permission of one consumer on one API.
    pub struct Binding {
        /// The consumer's name.
        pub consumer: String,
        /// The plan that applies here instead of the consumer's own.
        pub plan?: String,
        /// What is granted where no entry of `paths` matches; nothing if absent.
        #[serde(default)]
        pub allow: Grant,
        /// Grants by path inside the API; the first that matches decides.
        pub paths?: Vec<PathGrant>,
        /// Limits of this binding, on top of the plan's.
        pub limits?: Vec<Limit>,
    }

    /// A grant for some paths.
    pub struct PathGrant {
        /// The path inside the API, as in rules.
        pub path?: String,
        /// The path as a regular expression, anchored at both ends.
        pub regex?: String,
        /// What is granted there.
        pub allow: Grant,
    }

    /// What the service behind sees.
    pub struct Forward {
        /// Whether credentials are taken out of the request.
        #[serde(default = "default_true")]
        pub remove_credentials: bool,
        /// Headers to set, by name. Values may hold `{api}` `{rule}` `{consumer}` `{plan}` `{environment}` `{client_id}` `{subject}` `{scope}`.
        #[serde(default)]
        pub headers: Named<String>,
    }
}

choice! {
    /// Version of the document's schema.
    pub enum SchemaVersion {
        /// The first.
        V1,
    }

    /// What becomes of a request that matches no API.
    #[derive(Copy, Default, PartialEq, Eq)]
    pub enum Unmatched {
        /// Refused with code 00.
        #[default]
        Deny,
        /// Forwarded without a decision.
        Pass,
    }

    /// Whether a CORS preflight needs credentials.
    #[derive(Copy, Default, PartialEq, Eq)]
    pub enum Preflight {
        /// It needs none and costs no quota, where the rule for the requested method exists and does not say `deny`.
        #[default]
        Pass,
        /// It is a request like any other.
        Check,
    }

    /// The form of a refusal's body.
    #[derive(Copy, Default, PartialEq, Eq)]
    pub enum ErrorFormat {
        /// `{"status", "message", "code", "details"}`.
        #[default]
        Kanali,
        /// RFC 9457 problem details.
        Problem,
    }

    /// What access logs are given.
    #[derive(Default, PartialEq, Eq)]
    pub enum FilterState {
        /// Everything that is known.
        #[default]
        All,
        /// Nothing.
        None,
        /// These.
        Only(Vec<StateName>),
    }

    /// What can be put in filter state.
    #[derive(Copy, PartialEq, Eq)]
    pub enum StateName {
        /// The API's name.
        Api,
        /// The rule's path.
        Rule,
        /// The consumer's name.
        Consumer,
        /// The plan's name.
        Plan,
        /// How the caller's identity was come by: `hit`, `miss` or `stale`.
        Cache,
        /// The code of the refusal, in two digits.
        Code,
    }

    /// A service that vouches for credentials.
    pub enum Provider {
        /// An OAuth2 introspection endpoint.
        Introspection(Introspection),
    }

    /// How Sidegate authenticates itself to a provider.
    #[derive(Default)]
    pub enum Authentication {
        /// HTTP Basic with client id and secret (`client_secret_basic`).
        Basic(Client),
        /// Client id and secret in the form (`client_secret_post`).
        Post(Client),
        /// A bearer token.
        Bearer(BearerToken),
        /// Not at all.
        #[default]
        None,
    }

    /// What happens when a provider gives no usable answer.
    #[derive(Default)]
    pub enum Unavailable {
        /// The request is refused.
        #[default]
        Deny,
        /// The last good answer serves, for `cache.stale_if_error` beyond its time.
        Stale,
        /// The same, for tokens of these client ids only.
        AllowClients(Vec<String>),
    }

    /// Whose usage is counted together. Where a request has none of the kind, it falls to the next of consumer, client, subject, address.
    #[derive(Copy, Default, PartialEq, Eq)]
    pub enum Of {
        /// The consumer's.
        #[default]
        Consumer,
        /// The OAuth2 client's.
        Client,
        /// The token subject's (`sub`).
        Subject,
        /// The network address's.
        Address,
        /// Everybody's on the API.
        Api,
    }

    /// Whether a consumer may call at all.
    #[derive(Copy, Default, PartialEq, Eq)]
    pub enum ConsumerState {
        /// It may.
        #[default]
        Active,
        /// It may not.
        Suspended,
    }

    /// Whether a key is accepted.
    #[derive(Copy, Default, PartialEq, Eq)]
    pub enum KeyState {
        /// It is.
        #[default]
        Active,
        /// It is not.
        Inactive,
    }

    /// One way in.
    pub enum Access {
        /// Everybody, without credentials.
        Allow,
        /// Nobody.
        Deny,
        /// Consumers with an API key.
        ApiKey,
        /// Callers with an access token that a provider vouches for.
        Introspection(IntrospectionAccess),
    }

    /// How granted scopes cover required ones (as in ORY Oathkeeper).
    #[derive(Copy, Default, PartialEq, Eq)]
    pub enum ScopeStrategy {
        /// Equal.
        #[default]
        Exact,
        /// `a` covers `a` and everything under `a.`.
        Hierarchic,
        /// `a.*` covers everything under `a.`.
        Wildcard,
    }

    /// Audiences a token must be for.
    pub enum Audience {
        /// At least one of these.
        Any(Vec<String>),
        /// Every one of these.
        All(Vec<String>),
    }

    /// How a metering path is read.
    #[derive(Copy, Default, PartialEq, Eq)]
    pub enum MeteringMatch {
        /// As a rule's path.
        #[default]
        Template,
        /// As a 3scale mapping rule's pattern: a prefix, `$` ends it.
        Prefix,
    }

    /// What a binding grants.
    #[derive(Default)]
    pub enum Grant {
        /// Every method.
        All,
        /// Nothing.
        #[default]
        None,
        /// Some methods. `GET` covers `HEAD`.
        Methods(Vec<String>),
    }
}

impl StateName {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::Api, Self::Rule, Self::Consumer, Self::Plan, Self::Cache, Self::Code];
}

impl Default for Gate {
    fn default() -> Self {
        Self {
            realm: default_realm(),
            resource_metadata: None,
            unmatched: Unmatched::default(),
            preflight: Preflight::default(),
            errors: Errors::default(),
            rate_limit_headers: HeaderStyle::default(),
            filter_state: FilterState::default(),
            debug: None,
            capacity: Capacity::default(),
        }
    }
}

impl Default for Capacity {
    fn default() -> Self {
        Self { meters: default_meters(), tokens: default_tokens() }
    }
}

impl Default for Cache {
    fn default() -> Self {
        Self { ttl: default_ttl(), negative_ttl: default_negative_ttl(), stale_if_error: Span::default() }
    }
}

impl Default for Forward {
    fn default() -> Self {
        Self { remove_credentials: true, headers: Named::default() }
    }
}

fn default_realm() -> String {
    "sidegate".to_owned()
}

const fn default_meters() -> u32 {
    65_536
}

const fn default_tokens() -> u32 {
    16_384
}

const fn default_timeout() -> Span {
    Span::from_millis(200)
}

const fn default_ttl() -> Span {
    Span::from_millis(30_000)
}

const fn default_negative_ttl() -> Span {
    Span::from_millis(5_000)
}

const fn default_leeway() -> Span {
    Span::from_millis(30_000)
}

const fn default_by() -> u64 {
    1
}

const fn default_true() -> bool {
    true
}
