//! What the operator writes: the policy document in YAML or JSON.
//!
//! These types say which shapes are legal; `compile/` decides what they mean. Unknown fields and duplicate
//! names are errors. A document can also be written: reading what was written gives the same document, and
//! attributes that are absent stay absent. Inline secrets are written as they are; `Debug` redacts them.
//!
//! The JSON Schema in `docs/policy.schema.json` is generated from these types.

/// Structures of the document. `field?: Type` may be left out, but must not be `null`: a list whose entries
/// are all commented out must not mean "anything goes". `field = default: Type` may be left out, and is not
/// written if it is the default.
macro_rules! document {
    ($($(#[$meta:meta])* pub struct $name:ident {
        $($(#[$fmeta:meta])* pub $field:ident $(? : $given:ty)? $(= default: $defaulted:ty)? $(: $type:ty)?,)*
    })*) => { $(
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
        #[cfg_attr(not(target_family = "wasm"), derive(schemars::JsonSchema))]
        #[serde(deny_unknown_fields, remote = "Self")]
        pub struct $name { $(
            $(#[$fmeta])*
            $(
                #[serde(
                    default,
                    deserialize_with = "crate::policy::document::value::given",
                    skip_serializing_if = "Option::is_none"
                )]
                pub $field: Option<$given>
            )?
            $(
                #[serde(default, skip_serializing_if = "crate::policy::document::is_default")]
                #[cfg_attr(not(target_family = "wasm"), schemars(!skip_serializing_if))]
                pub $field: $defaulted
            )?
            $(pub $field: $type)?,
        )* }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                $name::deserialize(crate::policy::document::value::MapOnly(deserializer))
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                $name::serialize(self, serializer)
            }
        }
    )* };
}

/// Choices of the document: a name, or a map with one entry.
macro_rules! choice {
    ($($(#[$meta:meta])* pub enum $name:ident { $($body:tt)* })*) => { $(
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
        #[cfg_attr(not(target_family = "wasm"), derive(schemars::JsonSchema))]
        #[serde(rename_all = "snake_case")]
        pub enum $name { $($body)* }
    )* };
}

mod apis;
mod bindings;
mod consumers;
mod errors;
mod forms;
mod forward;
mod gate;
mod lists;
mod metering;
mod mocks;
mod plans;
mod providers;
mod rules;
pub mod value;

pub use apis::{Api, BasicPart, Credentials, DefaultCredentials, Location};
pub use bindings::{Binding, Grant, PathGrant};
pub use consumers::{Application, Consumer, ConsumerState, Key, KeyState};
pub use errors::{ApiErrors, ErrorText};
pub(super) use forms::form;
pub use forward::Forward;
pub use gate::{
    Capacity, CertificateSource, Debug, ErrorFormat, Errors, FilterState, Gate, Preflight, StateName,
    Unmatched,
};
pub use lists::{Bindings, Building, BuildingBindings, BuildingConsumers, Consumers, Given, Terms};
pub use metering::{Metering, MeteringMatch, Unmetered};
pub use mocks::{Mock, MockResponse};
pub use plans::{Across, Limit, Metric, Plan};
pub use providers::{
    Algorithm, Authentication, BearerToken, Cache, Client, ClientAuthentication, ClientCredentials,
    DecisionCaching, Introspection, Jwks, JwtCache, Lease, LeaseTerms, Provider, QuotaUnavailable,
    RateLimitService, Refresh, Reporting, ServiceManagement, SignedAnswers, Unavailable, UsageCounting,
    WithoutDecision,
};
pub use rules::{
    Access, Audience, Rule, RuleAnswer, ScopeStrategy, ThreescaleAccess, TokenAccess, VerifiedBy,
};
use value::{Named, Sha256};

document! {
    /// The whole policy.
    pub struct Document {
        /// Version of this document's schema.
        pub sidegate: SchemaVersion,
        /// The operator's name for this state of the policy; shown in metrics and debug headers.
        pub revision?: String,
        /// A number. With another one, no identity is used that was cached before.
        pub epoch = default: u32,
        /// SHA-256 of tokens that are refused, in hexadecimal; of a JWT, that of its first two parts.
        pub revoked?: Vec<Sha256>,
        /// What holds for every request.
        pub gate = default: Gate,
        /// Services that vouch for credentials or count, by name.
        pub providers = default: Named<Provider>,
        /// What is counted, by name. `hits` is always there.
        pub metrics = default: Named<Metric>,
        /// Named sets of limits.
        pub plans = default: Named<Plan>,
        /// Known callers.
        pub consumers?: Consumers,
        /// The APIs behind the gate.
        pub apis: Vec<Api>,
    }
}

choice! {
    /// Version of the document's schema.
    #[derive(Copy)]
    pub enum SchemaVersion {
        /// The first.
        V1,
    }
}

const fn default_true() -> bool {
    true
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

#[cfg(test)]
pub(in crate::policy) mod tests;
