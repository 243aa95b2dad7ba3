//! What is wrong with a policy document, each thing with the path of the attribute at fault.

use std::fmt::{self, Write as _};

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The attribute at fault, such as `apis[0].rules[2].path`; empty for the whole document.
    pub path: String,
    /// What is wrong with it: lower case, one sentence.
    pub message: String,
    /// It names something that is not there, which may be so only because that has problems of its own.
    pub dangling: bool,
}

/// Everything that is wrong with a document; at least one thing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", lines(.0))]
pub struct Problems(pub Vec<Problem>);

impl Problem {
    /// A problem at `path`.
    pub fn new(path: &str, message: impl ToString) -> Self {
        Self { path: path.to_owned(), message: message.to_string(), dangling: false }
    }

    /// The attribute at `path` names a `kind` that is not there.
    pub fn dangling(path: &str, kind: &str, name: &str) -> Self {
        Self { path: path.to_owned(), message: format!("there is no {kind} `{name}`"), dangling: true }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.path.is_empty() {
            on_one_line(&self.path, f)?;
            f.write_str(": ")?;
        }
        on_one_line(&self.message, f)
    }
}

/// Writes text that may quote the document: a line break in it must not look like another problem.
fn on_one_line(text: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for c in text.chars() {
        if c.is_control() { write!(f, "{}", c.escape_default())? } else { f.write_char(c)? }
    }
    Ok(())
}

fn lines(problems: &[Problem]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}
