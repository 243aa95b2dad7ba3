//! Reads the policy document's JSON and, if it is wrong, finds everything that is wrong with its shape.
//!
//! The happy path is one typed pass over the parts of the text. Only a document that fails it is read as a
//! whole and taken apart. Its entries (a consumer, a
//! rule, a plan) are read one by one: a faulty part of an entry is reported and removed, and the entry is
//! read again. So a fault costs as much as reading its entry, however large the document is; and after
//! [`Problems::MOST`](super::Problems::MOST) faults it stops.

mod diagnosis;
mod entries;
mod fault;
mod json;
mod names;
mod path;
mod removed;
mod text;
mod value;

use std::borrow::Cow;

use diagnosis::{check, diagnose};
use names::Names;
use removed::Removed;
use serde_json::{Map, Value};
pub use text::Text;

use text::Unexpected;

use super::{
    Problem,
    compile::{Finding, Owners},
    document::{self, Document},
};
use crate::digest::{Digest, Hasher};

/// Why a document could not be read.
pub struct Unreadable {
    /// Everything that is wrong with its shape, in the order found.
    pub problems: Vec<Problem>,
    /// What is left of it; nothing if it is hopeless, or if not everything was looked at.
    pub rest: Option<Rest>,
    /// Whether everything was looked at.
    pub is_complete: bool,
}

/// A document without its faulty parts, good only for finding further problems.
pub struct Rest {
    /// What is left.
    pub document: Document,
    /// The document that it is left of.
    pub whole: Whole,
}

/// A document that could not be read as a whole.
pub struct Whole {
    removed: Removed,
    names: Names,
    owners: Owners,
}

/// The most bytes of a document: some 200,000 consumers with bindings.
const MOST_BYTES: usize = 64 << 20;

/// Reads a document from JSON. Also returns the digest of the text.
pub fn read(text: &(impl Text + ?Sized)) -> (Result<Document, Box<Unreadable>>, Digest) {
    let (mut digest, mut size) = (Hasher::default(), 0_usize);
    let bounded = Bounded(text);
    let entries = entries::read(&bounded, &mut |part| {
        digest.update(part);
        size = size.saturating_add(part.len());
    });
    if size > MOST_BYTES {
        let message = format!("the document has more than {MOST_BYTES} bytes");
        return (Err(Box::new(hopeless("", message))), digest.finish());
    }
    match entries {
        Ok(document) => (Ok(document), digest.finish()),
        Err(Unexpected) => {
            let json = whole(&bounded);
            let document = serde_json::from_slice(&json).map_err(|error| Box::new(unreadable(&json, &error)));
            (document, Digest::of(&json))
        }
    }
}

/// A text of which no more is read than a document may have, and one part.
struct Bounded<'t, T: ?Sized>(&'t T);

impl<T: Text + ?Sized> Text for Bounded<'_, T> {
    fn part(&self, offset: usize) -> Cow<'_, [u8]> {
        if offset > MOST_BYTES { Cow::Borrowed(&[]) } else { self.0.part(offset) }
    }
}

/// All of a text.
fn whole(text: &(impl Text + ?Sized)) -> Cow<'_, [u8]> {
    let mut whole = text.part(0);
    loop {
        let part = text.part(whole.len());
        if part.is_empty() {
            return whole;
        }
        whole.to_mut().extend_from_slice(&part);
    }
}

// === impl Whole ===

impl Whole {
    /// Of what was found in the rest, the problems that the whole document has as well, at its own paths.
    pub fn problems(&self, findings: Vec<Finding>) -> impl Iterator<Item = Problem> {
        findings.into_iter().filter_map(|finding| self.problem(finding))
    }

    fn problem(&self, finding: Finding) -> Option<Problem> {
        if finding.unknown.is_some_and(|(kind, name)| self.names.may_define(kind, &name)) {
            return None;
        }
        let path = self.removed.original(&finding.path);
        let rests_on_removed =
            finding.rests_on.iter().any(|path| self.removed.is_within(&self.removed.original(path)));
        if rests_on_removed || self.removed.is_within(&path) {
            return None;
        }
        Some(Problem { owner: self.owners.of(&path), path, message: finding.message })
    }
}

fn unreadable(json: &[u8], error: &serde_json::Error) -> Unreadable {
    if json.iter().all(u8::is_ascii_whitespace) {
        return hopeless(
            "",
            "the configuration is empty: it must hold the policy document as JSON".to_owned(),
        );
    }
    let (value, duplicates) = match json::parse(json) {
        Ok(parsed) => parsed,
        Err(error) => return hopeless("", json::explain(json, &error)),
    };
    let document = match value {
        Value::Object(document) => document,
        other => {
            let fault =
                check::<Document>(&other).map_or_else(|| error.to_string(), |fault| fault.to_string());
            return hopeless("", fault);
        }
    };
    if let Some(object) = foreign_object(&document) {
        return hopeless("", object);
    }
    if let Some(version @ Value::String(_)) = document.get("sidegate")
        && let Some(fault) = check::<document::SchemaVersion>(version)
    {
        // Everything else may have another meaning in another version.
        return hopeless("sidegate", fault.to_string());
    }
    diagnose(document, duplicates, error)
}

fn hopeless(path: &str, message: String) -> Unreadable {
    Unreadable { problems: vec![Problem::new(path, message)], rest: None, is_complete: true }
}

/// What to do with an object of Kubernetes that was passed instead of the policy.
fn foreign_object(document: &Map<String, Value>) -> Option<String> {
    document.get("apiVersion")?;
    let kind = document.get("kind")?.as_str()?;
    let part = match kind {
        "WasmPlugin" => "what is under its `spec.pluginConfig`",
        "TrafficExtension" => "what is under its `spec.wasm.pluginConfig`",
        "EnvoyFilter" => "what is in its `configuration.value`",
        "ConfigMap" => "what is in its `data`",
        _ => "the policy that is in it",
    };
    Some(format!("this is a Kubernetes object of kind `{kind}`, not a policy: pass {part}"))
}

#[cfg(test)]
mod tests;
