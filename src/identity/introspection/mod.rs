//! Access tokens that an authorization server vouches for: token introspection (RFC 7662).
//!
//! [`introspect`] does all of it: the cache, the call, and what happens when the endpoint is unavailable.

mod ask;
mod client;
mod issuer;
mod own_token;
mod provider;
mod reply;
mod request;
mod signed;
mod token_endpoint;

pub use ask::{Consulted, introspect};
pub use client::ClientAuthentication;
pub use own_token::{OwnToken, keep_renewed};
pub use provider::{Authentication, InvalidProvider, Provider, Settings};
pub use reply::{MAX_REPLY, Read, read};
pub use signed::{Signature, Signed, Signer};
pub use token_endpoint::TokenEndpoint;
