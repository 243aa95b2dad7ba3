//! Paths inside a document.

use serde_json::Value;

/// One step down into a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// To the item of a list with this index.
    Item(usize),
    /// To the member of a map with this name.
    Member(String),
}

impl Step {
    /// What the step leads to.
    pub fn enter<'v>(&self, value: &'v mut Value) -> Option<&'v mut Value> {
        match self {
            Self::Item(index) => value.get_mut(index),
            Self::Member(name) => value.get_mut(name),
        }
    }

    /// The path of what the step leads to from what is at `path`.
    pub fn join(&self, path: &str) -> String {
        match self {
            Self::Item(index) => format!("{path}[{index}]"),
            Self::Member(name) => join(path, name),
        }
    }
}

/// The path of what is at `rest` below what is at `path`.
pub fn join(path: &str, rest: &str) -> String {
    match (path, rest) {
        ("", _) => rest.to_owned(),
        (_, "") => path.to_owned(),
        _ if rest.starts_with('[') => format!("{path}{rest}"),
        _ => format!("{path}.{rest}"),
    }
}

/// Whether `path` is `whole` or a part of it.
pub fn is_within(path: &str, whole: &str) -> bool {
    path.strip_prefix(whole)
        .is_some_and(|rest| whole.is_empty() || rest.is_empty() || rest.starts_with(['.', '[']))
}
