//! Changes to a request on its way to the service.

use std::{collections::BTreeSet, rc::Rc};

use super::{Field, HeaderTemplate};
use crate::{
    credential::{Location, removal},
    headers::HeaderMap,
    matching::RequestPath,
};

/// Changes to a request on its way to the service. Header names are in lower case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Edits {
    /// Headers to remove.
    pub remove: Vec<String>,
    /// Headers to set, replacing what the caller sent.
    pub set: Vec<(Rc<str>, Vec<u8>)>,
}

/// The prefix of header names that are reserved for Sidegate. Such headers are never accepted from a caller.
pub const OWN_PREFIX: &str = "x-sidegate-";

/// What is removed from every request.
#[derive(Clone, Copy, Debug)]
pub struct Stripping<'a> {
    /// Headers that identify callers to services, in addition to those under [`OWN_PREFIX`].
    pub identity_headers: &'a BTreeSet<Rc<str>>,
    /// The places of credentials that the service must not see.
    pub credentials: &'a [Location],
}

impl Edits {
    /// The changes that apply to every request: credentials and reserved headers are removed, and the path
    /// becomes the one that was decided on.
    pub fn strip(stripping: Stripping<'_>, headers: &HeaderMap, path: Option<&RequestPath<'_>>) -> Self {
        let mut edits = Self::default();
        for (name, _) in headers.iter() {
            let ours = name.starts_with(OWN_PREFIX) || stripping.identity_headers.contains(name);
            if ours && !edits.remove.iter().any(|removed| removed == name) {
                edits.remove.push(name.to_owned());
            }
        }
        let mut query = path.and_then(RequestPath::query).map(str::to_owned);
        let mut changed = path.is_some_and(RequestPath::is_changed);
        if !stripping.credentials.is_empty() {
            let removal = removal(stripping.credentials, headers, path.and_then(RequestPath::query));
            edits.remove.extend(removal.headers.into_iter().map(str::to_owned));
            if let Some(cookie) = removal.cookie {
                edits.set.push(("cookie".into(), cookie));
            }
            if let Some(rest) = removal.query {
                query = Some(rest).filter(|rest| !rest.is_empty());
                changed = true;
            }
        }
        if let Some(path) = path.filter(|_| changed) {
            edits.set.push((":path".into(), path.forwarded_with(query.as_deref()).into_bytes()));
        }
        edits
    }

    /// Sets the headers that identify the caller to the service. A header is left out if one of its fields
    /// has no value.
    pub fn identify<'a>(
        &mut self,
        headers: &[(Rc<str>, HeaderTemplate)],
        value: impl Fn(Field) -> Option<&'a str>,
    ) {
        for (name, template) in headers {
            if let Some(value) = template.fill(&value) {
                self.remove.retain(|removed| **removed != **name);
                self.set.push((Rc::clone(name), value.into_bytes()));
            }
        }
    }
}
