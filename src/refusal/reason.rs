//! Why exactly a request was refused, for logs: never part of what a stranger reads.

use std::{borrow::Cow, fmt::Display};

/// The particular reason behind a refusal, in the words of the log: lower case, no full stop, nothing of the request itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason(Cow<'static, str>);

impl Reason {
    /// The reason that a fault of ours names. Faults hold nothing that a caller sent.
    pub fn of(fault: &impl Display) -> Self {
        Self(Cow::Owned(fault.to_string()))
    }

    /// The words.
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
