//! Identity: turns each kind of credential into an identity, and caches it.
//!
//! * [`api_key`]: keys that the policy holds as digests
//! * [`application`]: ids of applications, each with keys that confirm it
//! * [`introspection`]: access tokens that an endpoint vouches for (RFC 7662)
//! * [`jwt`]: access tokens that Sidegate verifies itself (RFC 7519)
//! * [`threescale`]: applications that 3scale's Service Management API vouches for
//! * [`IdentityCache`]: answers of all kinds of providers, shared by all workers
//! * [`check()`]: whether a token satisfies a rule. It runs on every request, including those with cached
//!   answers, because an answer that was cached for a lax rule must not satisfy a strict one.

pub mod api_key;
pub mod application;
mod asked;
mod cache;
mod check;
mod claim_path;
mod claims;
mod confirmation;
mod encoding;
pub mod introspection;
pub mod jwt;
mod recent;
mod record;
mod revoked;
pub mod threescale;

pub use asked::{AskedClaims, ClaimIndex, KeptClaims};
pub use cache::{Epoch, IdentityCache, KeptAnswer, Lookup, Terms};
pub use check::{RequiredClaim, Requirement, TokenFault, Tolerance, check};
use check::{check_kind, check_times};
pub use claim_path::{ClaimPath, InvalidClaimPath};
pub use confirmation::{Confirmation, forwarded_certificate};
pub use record::{Audiences, Identity, Vouched};
pub use revoked::{RevokedTokens, revoking_digest};
