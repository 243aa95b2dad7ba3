//! Applications that 3scale's Service Management API vouches for.
//!
//! ```text
//! Question ── call ──▶ authorize.xml ── read ──▶ Answer: authorized, or rejected for a reason; plan, limits
//! ```
//!
//! A [`Provider`] is one service of an account there. What a reply means is decided by one table, in
//! [`Rejection`].

mod provider;
mod rejection;
mod reply;
mod request;
mod xml;

pub use provider::{Account, Caching, InvalidProvider, Provider, Settings};
pub use rejection::{Meaning, Rejection};
pub use reply::{Answer, MAX_REPLY, MOST_LIMITS, Read, UsageLimit, read};
pub use request::{Applicant, Question, Transaction};
