//! What compiling finds wrong with a document, and what is probably a mistake in it.

use std::{
    borrow::Borrow,
    collections::{HashMap, HashSet},
    fmt::Display,
    hash::Hash,
};

use serde_json::{Map, Value};

use crate::policy::{Problem, Problems, problem::Kind};

/// Something that is wrong or probably a mistake, with what is to be known if the document is not whole.
pub(in crate::policy) struct Finding {
    /// The attribute at fault.
    pub(in crate::policy) path: String,
    /// What is wrong with it.
    pub(in crate::policy) message: String,
    /// The name that nothing in the document has.
    pub(in crate::policy) unknown: Option<(Kind, String)>,
    /// Other attributes that make it wrong: if they were faulty and are left out, it may be right.
    pub(in crate::policy) rests_on: Vec<String>,
}

/// The names of the entries of lists, which people know better than their indexes.
#[derive(Default)]
pub(in crate::policy) struct Owners {
    pub(in crate::policy) apis: Vec<String>,
    pub(in crate::policy) consumers: Vec<String>,
}

/// Collects what is wrong, and what is probably a mistake.
#[derive(Default)]
pub(super) struct Diagnostics {
    findings: Vec<Finding>,
    doubts: Doubts,
}

/// What is probably a mistake.
#[derive(Default)]
pub(in crate::policy) struct Doubts {
    /// No more than are shown.
    pub(in crate::policy) list: Vec<Finding>,
    /// The number of those that are not in the list.
    pub(in crate::policy) further: usize,
}

// === impl Finding ===

impl Finding {
    /// The problem that it is in a whole document.
    pub(in crate::policy) fn into_problem(self, owners: &Owners) -> Problem {
        Problem { owner: owners.of(&self.path), path: self.path, message: self.message }
    }
}

// === impl Owners ===

impl Owners {
    /// The names in a document that may be faulty.
    pub(in crate::policy) fn of_value(document: &Map<String, Value>) -> Self {
        let names = |list: &str| {
            let items = document.get(list).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
            let name = |item: &Value| item.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
            items.iter().map(name).collect()
        };
        Self { apis: names("apis"), consumers: names("consumers") }
    }

    /// The name of the entry that the path leads into.
    pub(in crate::policy) fn of(&self, path: &str) -> Option<String> {
        let (list, rest) = path.split_once('[')?;
        let names = match list {
            "apis" => &self.apis,
            "consumers" => &self.consumers,
            _ => return None,
        };
        let (index, _) = rest.split_once(']')?;
        names.get(index.parse::<usize>().ok()?).filter(|name| !name.is_empty()).cloned()
    }
}

// === impl Diagnostics ===

impl Diagnostics {
    /// Notes a problem at `path`.
    pub(super) fn add(&mut self, path: &str, message: impl ToString) {
        self.add_resting_on(path, message, Vec::new());
    }

    /// Notes a problem at `path` that exists only because of other attributes as well.
    pub(super) fn add_resting_on(&mut self, path: &str, message: impl ToString, rests_on: Vec<String>) {
        let (path, message) = (path.to_owned(), message.to_string());
        self.findings.push(Finding { path, message, unknown: None, rests_on });
    }

    /// Notes that nothing of this kind has the name that is at `path`.
    pub(super) fn add_unknown(&mut self, path: &str, kind: Kind, name: &str) {
        self.add_unknown_because(path, kind, name, format!("there is no {kind} `{name}`"));
    }

    /// The same in other words.
    pub(super) fn add_unknown_because(&mut self, path: &str, kind: Kind, name: &str, message: impl ToString) {
        self.findings.push(Finding {
            path: path.to_owned(),
            message: message.to_string(),
            unknown: Some((kind, name.to_owned())),
            rests_on: Vec::new(),
        });
    }

    /// Notes what is probably a mistake at `path`. The path is made only if it is shown.
    pub(super) fn warn(&mut self, path: impl FnOnce() -> String, message: impl ToString) {
        self.warn_resting_on(path, message, Vec::new);
    }

    /// The same about what may be right if other attributes are faulty.
    pub(super) fn warn_resting_on(
        &mut self,
        path: impl FnOnce() -> String,
        message: impl ToString,
        rests_on: impl FnOnce() -> Vec<String>,
    ) {
        if self.doubts.list.len() < Problems::MOST {
            let (path, message, rests_on) = (path(), message.to_string(), rests_on());
            self.doubts.list.push(Finding { path, message, unknown: None, rests_on });
        } else {
            self.doubts.further = self.doubts.further.saturating_add(1);
        }
    }

    /// How many things are wrong.
    pub(super) const fn len(&self) -> usize {
        self.findings.len()
    }

    /// Whether nothing is wrong.
    pub(super) fn is_empty(&self) -> bool {
        self.findings.is_empty()
    }

    /// Whether there is nothing to tell.
    pub(super) fn is_silent(&self) -> bool {
        self.is_empty() && self.doubts.list.is_empty()
    }

    /// Everything that is wrong, and what is probably a mistake.
    pub(super) fn into_parts(self) -> (Vec<Finding>, Doubts) {
        (self.findings, self.doubts)
    }

    /// The value, or none and a problem at `path`.
    pub(super) fn take<T>(&mut self, path: &str, result: Result<T, impl Display>) -> Option<T> {
        result.map_err(|error| self.add(path, error)).ok()
    }

    /// The same. The path is made only if it is needed.
    pub(super) fn take_at<T>(
        &mut self,
        path: impl FnOnce() -> String,
        result: Result<T, impl Display>,
    ) -> Option<T> {
        result.map_err(|error| self.add(&path(), error)).ok()
    }

    /// The index under which `name` is known, or none and a problem at `path`. The path is made only if it is
    /// needed: there may be a hundred thousand names.
    pub(super) fn find<N: Borrow<str> + Eq + Hash>(
        &mut self,
        path: impl FnOnce() -> String,
        kind: Kind,
        name: &str,
        known: &HashMap<N, usize>,
    ) -> Option<usize> {
        let index = known.get(name).copied();
        if index.is_none() {
            self.add_unknown(&path(), kind, name);
        }
        index
    }

    /// Whether there are not too many of something. Otherwise, that is a problem.
    pub(super) fn at_most(&mut self, most: usize, what: &str, count: usize, path: &str) -> bool {
        if count > most {
            self.add(path, format!("has {count} {what}, but at most {most} are possible"));
        }
        count <= most
    }

    /// Notes that a list is empty.
    pub(super) fn add_empty(&mut self, path: &str) {
        self.add(path, "the list is empty: leave it out, or give it an entry");
    }

    /// An optional list, empty if absent. A list that is present must not be empty.
    pub(super) fn list<T>(&mut self, path: &str, list: Option<Vec<T>>) -> Vec<T> {
        if list.as_ref().is_some_and(Vec::is_empty) {
            self.add_empty(path);
        }
        list.unwrap_or_default()
    }

    /// Notes texts of a list that are empty or listed twice.
    pub(super) fn distinct(&mut self, path: &str, texts: &[String]) {
        let mut known = HashSet::with_capacity(texts.len());
        for (place, text) in texts.iter().enumerate() {
            if text.is_empty() {
                self.add(&format!("{path}[{place}]"), "must not be empty");
            } else if !known.insert(text) {
                self.add(&format!("{path}[{place}]"), format!("`{text}` is listed twice"));
            }
        }
    }

    /// Notes a text that cannot be sent to a provider.
    pub(super) fn text(&mut self, path: &str, text: &str) {
        self.take(path, check_text(text));
    }

    /// Notes a name that headers or logs could not carry.
    pub(super) fn name(&mut self, path: &str, name: &str) {
        self.take(path, check_name(name));
    }
}

/// Whether headers and logs can carry the name.
pub(super) fn check_name(name: &str) -> Result<(), InvalidName> {
    let fits =
        (1..=InvalidName::MOST).contains(&name.len()) && !name.chars().any(|c| c.is_control() || c == '"');
    if fits { Ok(()) } else { Err(InvalidName) }
}

/// Whether the text can be sent to a provider and compared with what it sends.
pub(super) fn check_text(text: &str) -> Result<(), InvalidText> {
    match text {
        "" => Err(InvalidText::Empty),
        _ if text.len() > InvalidText::MOST => Err(InvalidText::TooLong),
        _ if text.chars().any(char::is_control) => Err(InvalidText::Control),
        _ => Ok(()),
    }
}

/// The text can be in no message.
#[derive(Clone, Copy, Debug, thiserror::Error)]
pub(super) enum InvalidText {
    #[error("must not be empty")]
    Empty,
    #[error("is longer than {} bytes", Self::MOST)]
    TooLong,
    #[error("has a control character")]
    Control,
}

impl InvalidText {
    const MOST: usize = 4096;
}

/// The text is not a name.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("not a name: 1 to {} bytes without quotes and control characters", Self::MOST)]
pub(super) struct InvalidName;

impl InvalidName {
    const MOST: usize = 256;
}
