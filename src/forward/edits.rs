//! Changes to a request on its way to the service.

use std::{collections::BTreeSet, rc::Rc};

use super::{Field, HeaderTemplate};
use crate::{
    credential::{Locations, removal},
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
    pub credentials: Option<&'a Locations>,
}

/// Whether Sidegate removes every header of this name that a caller sends.
pub fn is_reserved(name: &str, identity_headers: &BTreeSet<Rc<str>>) -> bool {
    name.starts_with(OWN_PREFIX) || identity_headers.contains(name)
}

impl Edits {
    /// The changes that apply to every request: credentials and reserved headers are removed, and the path
    /// becomes the one that was decided on.
    pub fn strip(stripping: Stripping<'_>, headers: &HeaderMap, path: Option<&RequestPath<'_>>) -> Self {
        let mut edits = Self::default();
        let names = headers.iter().map(|(name, _)| name);
        let mut ours = names.filter(|name| is_reserved(name, stripping.identity_headers));
        if let Some(first) = ours.next() {
            let names: BTreeSet<&str> = ours.chain([first]).collect();
            edits.remove.extend(names.into_iter().map(str::to_owned));
        }
        let mut query = path.and_then(RequestPath::query).map(str::to_owned);
        let mut changed = path.is_some_and(RequestPath::is_changed);
        if let Some(credentials) = stripping.credentials {
            let removal = removal(credentials, headers, path.and_then(RequestPath::query));
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
