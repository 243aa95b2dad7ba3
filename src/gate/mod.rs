//! The gate: decides about one request, without host, clock or I/O.
//!
//! ```text
//!  headers ──▶ match ──▶ credential ──▶ identify ──▶ authorize ──▶ charge ──▶ Permit ──▶ forward | Answer
//!                │            │           │    ▲          │           │
//!                ▼            ▼           ▼    │ response ▼           ▼
//!             Refusal      Refusal      Call ──┘       Refusal     Refusal
//!                └────────────┴───────────┴───────────────┴───────────┘
//!                         one rendering ──▶ Refused: status, headers, body
//! ```
//!
//! [`decide`] takes a request from its headers to its [`Ending`]. The flow itself is `admit` in `flow.rs`, to
//! be read from top to bottom. What it finds out is recorded in the [`Trail`]. It waits only for the
//! [`ports`](crate::ports), so anything that can poll a future can run it: the shell in Envoy, and [`drive`]
//! everywhere else.
//!
//! Only a [`Permit`] lets a request go on, and only this module creates one.

mod authorize;
mod backing;
mod charge;
pub mod drive;
mod ending;
mod explain;
mod flow;
mod identify;
mod mock;
mod place;
mod request;
mod surroundings;
mod token;
mod trail;
mod usage;

pub use backing::Coded;
pub use ending::{Answer, Ending, Permit, Refused};
pub use flow::decide;
pub use request::Request;
pub use surroundings::Surroundings;
pub use trail::{CredentialPlace, PresentedKey, ProviderCall, Trail};
