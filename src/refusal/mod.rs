//! Why a request did not pass, and what its caller is told.
//!
//! [`Refusal`] is the whole catalogue: codes 00 to 14 are Kanali's and keep their meaning, ours begin at 20. [`Refusal::row`] is the
//! one table that gives each its code, status and wording; [`render`] is the one function that makes a reply of it. What a stranger
//! reads is constant text; why exactly a request was refused is for logs and metrics, as a [`Reason`].

mod catalogue;
mod reason;
mod render;

pub use catalogue::{Blame, Refusal, Row};
pub use reason::Reason;
pub use render::{ErrorFormat, Reply, Style, Ways, render};
