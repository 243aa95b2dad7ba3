//! Access tokens that an authorization server vouches for: token introspection, RFC 7662.
//!
//! ```text
//! token ─▶ Provider::cache_key ─▶ cached bytes ─▶ Entry::decode ─▶ Entry::state ─ Fresh ──────────────┐
//!                                                                    │ Stale, Expired, absent         ▼
//!                                                                    ▼                              check
//!                              Provider::request ─▶ (the shell) ─▶ read ─ Ok ─▶ Entry::kept_until ────▲
//!                                                                    │ Err                            │
//!                                                                    └─▶ Entry::despite_fault ────────┘
//! ```
//!
//! [`check`] runs on every request, also on a cached answer: what a lax rule put into the cache must not open a strict one.

mod cache;
mod check;
mod claims;
mod encoding;
mod endpoint;
mod provider;
mod reply;
mod request;

pub use cache::{Entry, State};
pub use check::{Requirement, TokenFault, check};
pub use claims::{Audiences, Claims, Introspected};
pub use endpoint::{Endpoint, InvalidEndpoint};
pub use provider::{Authentication, CacheSettings, InvalidProvider, Provider, Settings, Unavailable};
pub use reply::{MAX_REPLY, ProviderFault, read};
