//! `providers`: services that vouch for credentials or count. Each kind has a file of its own.

mod introspection;
mod jwks;
mod rate_limit_service;

pub use introspection::{Authentication, BearerToken, Cache, Client, Introspection, Unavailable};
pub use jwks::{Algorithm, Jwks, JwtCache, Refresh};
pub use rate_limit_service::{Lease, LeaseTerms, QuotaUnavailable, RateLimitService};

choice! {
    /// A service that vouches for credentials or counts.
    pub enum Provider {
        /// An OAuth2 introspection endpoint.
        Introspection(Introspection),
        /// A service that counts for all replicas.
        RateLimitService(RateLimitService),
        /// An issuer of JWTs, with the keys that it signs them with.
        Jwks(Jwks),
    }
}
