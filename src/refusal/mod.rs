//! Why a request was refused, and the reply that its caller gets.
//!
//! A [`Refusal`] has a [`Cause`], which is one row of the catalogue, and a [`Reason`], which is for logs
//! only. Codes 00 to 14 are Kanali's and keep their meaning; our own begin at 20. [`Cause::row`] is the only
//! table that assigns code, status and wording. [`render()`] is the only function that turns a refusal into a
//! reply. Callers see only constant text.

mod catalogue;
mod reason;
mod render;
mod texts;

pub use catalogue::{Blame, Cause, Code, Row};
pub use reason::Reason;
pub use render::{CORRELATION, Challenges, ErrorFormat, Recipient, Replies, Style, Wording, render};
pub use texts::{Text, Texts};

/// Why a request was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The row in the catalogue.
    pub cause: Cause,
    /// The specific reason, for the log.
    pub reason: Reason,
}

impl Cause {
    /// A refusal with this cause and a specific `reason`.
    pub fn because(self, reason: impl Into<Reason>) -> Refusal {
        Refusal { cause: self, reason: reason.into() }
    }
}
