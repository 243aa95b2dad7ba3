//! Access tokens that an authorization server vouches for: token introspection (RFC 7662).
//!
//! [`introspect`] does all of it: the cache, the call, and what happens when the endpoint is unavailable.

mod ask;
mod issuer;
mod provider;
mod reply;
mod request;

pub use ask::{Consulted, introspect};
pub use provider::{Authentication, InvalidProvider, Provider, Settings};
pub use reply::{MAX_REPLY, Read, read};
