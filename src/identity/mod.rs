//! Who is calling: how each kind of credential is turned into an identity, and how long that may be remembered.
//!
//! * [`api_key`]: keys that the policy knows by digest
//! * [`introspection`]: access tokens that an endpoint vouches for (RFC 7662)
//! * [`IdentityCache`]: answers of providers, whatever their kind, shared by all workers
//! * [`check`]: whether a token satisfies a rule; it runs on every request, also on cached answers, because what a lax rule put into
//!   the cache must not open a strict one

pub mod api_key;
mod cache;
mod check;
mod encoding;
pub mod introspection;
mod record;

pub use cache::{IdentityCache, KeptAnswer, Lookup, Terms};
pub use check::{Requirement, TokenFault, check};
pub use record::{Audiences, Identity, Vouched};
