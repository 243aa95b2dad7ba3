//! Applications that 3scale's Service Management API vouches for.
//!
//! ```text
//! Question ── call ──▶ authorize.xml ── read ──▶ Answer ──▶ Decision ──▶ cache
//!                                                              │
//!                  transactions.xml ◀── report ◀── Ledger ◀────┘ usage of admitted requests
//! ```
//!
//! A [`Provider`] is one service of an account there. [`consult`] asks about a request: the cache, the call,
//! and what happens when the backend is unavailable. [`report()`] sends what was used. What a reply means is
//! decided by one table, in [`Rejection`].

mod ask;
mod decision;
mod provider;
mod rejection;
mod reply;
mod report;
mod request;
mod xml;

pub use ask::{Consulted, Decided, Memory, account, consult};
pub use decision::{Authorization, Decision, Decisions, Kept, Rejected};
pub use provider::{Account, Caching, InvalidProvider, Provider, Settings};
pub use rejection::{Meaning, Rejection};
pub use reply::{Answer, MAX_REPLY, MOST_LIMITS, Read, UsageLimit, read};
pub use report::report;
pub use request::{Applicant, Question, Transaction};
