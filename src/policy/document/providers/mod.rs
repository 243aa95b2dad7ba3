//! `providers`: services that vouch for credentials or count. Each kind has a file of its own.

mod introspection;
mod jwks;
mod rate_limit_service;
mod service_management;

pub use introspection::{
    Authentication, BearerToken, Cache, Client, ClientAuthentication, ClientCredentials, Introspection,
    SignedAnswers, Unavailable,
};
pub use jwks::{Algorithm, Jwks, JwtCache, Refresh};
pub use rate_limit_service::{Lease, LeaseTerms, QuotaUnavailable, RateLimitService};
pub use service_management::{DecisionCaching, Reporting, ServiceManagement, UsageCounting, WithoutDecision};

choice! {
    /// A service that vouches for credentials or counts.
    pub enum Provider {
        /// An OAuth2 introspection endpoint.
        Introspection(Introspection),
        /// A service that counts for all replicas.
        RateLimitService(RateLimitService),
        /// An issuer of JWTs, with the keys that it signs them with.
        Jwks(Jwks),
        /// A service at 3scale's Service Management API.
        ServiceManagement(ServiceManagement),
    }
}
