//! Changes to a request on its way to the service.

use std::{collections::BTreeSet, rc::Rc};

use super::{Field, HeaderTemplate};
use crate::{
    credential::{Location, removal},
    headers::HeaderMap,
    matching::RequestPath,
};

/// Changes to a request on its way to the service. Names are lower case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Edits {
    /// Headers to remove.
    pub remove: Vec<String>,
    /// Headers to set, replacing what the caller sent.
    pub set: Vec<(Rc<str>, Vec<u8>)>,
}

/// The prefix of names that are Sidegate's own: never taken from a caller.
pub const OWN_PREFIX: &str = "x-sidegate-";

/// What is taken out of a request, whoever sent it.
#[derive(Clone, Copy, Debug)]
pub struct Stripping<'a> {
    /// Headers by which services know their callers, beside those under [`OWN_PREFIX`].
    pub identity_headers: &'a BTreeSet<Rc<str>>,
    /// The places whose credentials the service must not see.
    pub credentials: &'a [Location],
}

impl Edits {
    /// The changes that hold for every request: credentials and names that are ours are removed, and the path is the one that was
    /// decided on.
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

    /// Sets the headers by which the service knows its caller; one whose fields have no value is left out.
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
