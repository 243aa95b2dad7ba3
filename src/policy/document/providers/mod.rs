//! `providers`: services that vouch for credentials. Each kind has a file of its own.

mod introspection;

pub use introspection::{Authentication, BearerToken, Cache, Client, Introspection, Unavailable};

choice! {
    /// A service that vouches for credentials.
    pub enum Provider {
        /// An OAuth2 introspection endpoint.
        Introspection(Introspection),
    }
}
