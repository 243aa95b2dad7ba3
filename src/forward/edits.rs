//! Changes to a request on its way to the service.

use std::{borrow::Cow, collections::BTreeSet, rc::Rc};

use super::{Field, HeaderTemplate};
use crate::{
    credential::{Locations, removal},
    headers::HeaderMap,
    matching::RequestPath,
    query::Query,
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
    /// The names of headers that the caller sent and only Sidegate may set.
    pub reserved: Option<&'a BTreeSet<&'a str>>,
    /// The places of credentials that the service must not see.
    pub credentials: Option<&'a Locations>,
}

/// Whether only Sidegate may set headers of this name: those under [`OWN_PREFIX`], and those that identify
/// callers to services.
pub fn is_reserved(name: &str, identity_headers: &BTreeSet<Rc<str>>) -> bool {
    name.starts_with(OWN_PREFIX) || (!identity_headers.is_empty() && identity_headers.contains(name))
}

impl Edits {
    /// The changes that apply to every request: credentials and reserved headers are removed, and the path
    /// becomes the one that was decided on.
    pub fn strip(
        stripping: Stripping<'_>,
        headers: &HeaderMap,
        target: Option<(&RequestPath<'_>, &Query<'_>)>,
    ) -> Self {
        let mut edits = Self::default();
        edits.remove.extend(stripping.reserved.into_iter().flatten().map(|name| (*name).to_owned()));
        let none = Query::default();
        let query = target.map_or(&none, |(_, query)| query);
        let mut rest = query.text().map(Cow::Borrowed);
        let mut changed = target.is_some_and(|(path, _)| path.is_changed());
        if let Some(credentials) = stripping.credentials {
            let removal = removal(credentials, headers, query);
            edits.remove.extend(removal.headers.into_iter().map(str::to_owned));
            if let Some(cookie) = removal.cookie {
                edits.set.push(("cookie".into(), cookie));
            }
            if let Some(kept) = removal.query {
                rest = Some(kept).filter(|kept| !kept.is_empty()).map(Cow::Owned);
                changed = true;
            }
        }
        if let Some((path, _)) = target.filter(|_| changed) {
            edits.set.push((":path".into(), path.forwarded_with(rest.as_deref()).into_bytes()));
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
