//! Applications that 3scale's Service Management API vouches for.
//!
//! ```text
//! Question ── call ──▶ authorize.xml ── read ──▶ Answer ──▶ Decision ──▶ cache
//!                                                              │
//!                  transactions.xml ◀── report ◀── Ledger ◀────┘ usage of admitted requests
//! ```
//!
//! A [`Provider`] is one service of an account there. [`consult`] asks about a request: the cache, the call,
//! and what happens when the backend is unavailable. [`report()`] sends what was used, and [`log()`] adds the
//! status of an answer to it; where each request has to be counted at once, [`count`] calls `authrep.xml`
//! instead. What a reply means is decided by one table, in [`Rejection`].

mod ask;
mod cache;
mod codes;
mod decision;
mod kept;
mod provider;
mod rejection;
mod reply;
mod report;
mod request;
mod xml;

pub use ask::{Consulted, Counted, Decided, Memory, account, consult, count};
pub use cache::Decisions;
pub use codes::log;
pub use decision::{Authorization, Decision, Rejected};
pub use kept::Kept;
pub use provider::{Account, Caching, InvalidProvider, Provider, Reckoning, Settings};
pub use rejection::{Meaning, Rejection};
pub use reply::{Answer, MAX_REPLY, MOST_LIMITS, Read, UsageLimit, read};
pub use report::report;
pub use request::{Applicant, Question, Transaction};
