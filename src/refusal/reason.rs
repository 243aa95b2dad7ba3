//! Why exactly a request was refused, for logs and debug headers: never part of what a stranger reads.

/// The particular reason behind a refusal. Constant text, so that no part of a request can get into a log through it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reason(&'static str);

impl Reason {
    /// A reason in the words of the log: lower case, no full stop.
    pub const fn new(text: &'static str) -> Self {
        Self(text)
    }

    /// The words.
    pub const fn as_str(self) -> &'static str {
        self.0
    }
}
