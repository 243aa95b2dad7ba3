//! A request that did not pass, with the reply it gets.

use crate::refusal::{Reason, Refusal, Reply};

use super::Facts;

/// A refusal, rendered. Only the gate can make one.
#[derive(Debug)]
pub struct Refused {
    pub(super) refusal: Refusal,
    pub(super) reason: Reason,
    pub(super) reply: Reply,
    pub(super) grpc: bool,
    pub(super) correlation: String,
    pub(super) facts: Facts,
}

impl Refused {
    /// Why, by the catalogue.
    pub const fn refusal(&self) -> &Refusal {
        &self.refusal
    }

    /// Why exactly, for the log.
    pub const fn reason(&self) -> &Reason {
        &self.reason
    }

    /// What the caller gets.
    pub const fn reply(&self) -> &Reply {
        &self.reply
    }

    /// Whether the caller speaks gRPC.
    pub const fn grpc(&self) -> bool {
        self.grpc
    }

    /// What the request is found by in logs.
    pub fn correlation(&self) -> &str {
        &self.correlation
    }

    /// What was found out about the request.
    pub const fn facts(&self) -> &Facts {
        &self.facts
    }
}
