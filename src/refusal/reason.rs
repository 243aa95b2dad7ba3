//! The specific reason of a refusal, for logs. It is never part of a reply.

use std::{borrow::Cow, fmt::Display};

/// The specific reason of a refusal, as written to the log: lower case, no full stop, and without any part of
/// the request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason(Cow<'static, str>);

impl Reason {
    /// The message of one of our own errors. Those contain nothing that a caller sent.
    pub fn of(fault: &impl Display) -> Self {
        Self(Cow::Owned(fault.to_string()))
    }

    /// The text of the reason.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&'static str> for Reason {
    fn from(text: &'static str) -> Self {
        Self(Cow::Borrowed(text))
    }
}

impl From<String> for Reason {
    fn from(text: String) -> Self {
        Self(Cow::Owned(text))
    }
}
