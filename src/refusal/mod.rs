//! Why a request did not pass, and what its caller reads.
//!
//! A [`Refusal`] has a [`Cause`], which is one row of the catalogue, and a [`Reason`], which is for logs only. Codes 00 to 14 are
//! Kanali's and keep their meaning; ours begin at 20. [`Cause::row`] is the one table that gives each its code, status and wording;
//! [`render`] is the one function that makes a reply of it. What a stranger reads is constant text.

mod catalogue;
mod reason;
mod render;

pub use catalogue::{Blame, Cause, Code, Row};
pub use reason::Reason;
pub use render::{Challenges, ErrorFormat, Style, render};

/// Why a request did not pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Its row in the catalogue.
    pub cause: Cause,
    /// Why exactly, for the log.
    pub reason: Reason,
}

impl Cause {
    /// A refusal for this cause and in particular for `reason`.
    pub fn because(self, reason: impl Into<Reason>) -> Refusal {
        Refusal { cause: self, reason: reason.into() }
    }
}
