//! Changes to a request on its way to the service.

use std::{borrow::Cow, collections::BTreeSet, rc::Rc};

use rustc_hash::FxHashSet;

use super::{Field, HeaderValue};
use crate::{
    credential::{Locations, Removal, removal},
    headers::HeaderMap,
    matching::{BasePath, RequestPath},
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

/// How many headers most requests get, so that there is room for them at once.
const USUALLY_SET: usize = 4;

/// The prefix of header names that are reserved for Sidegate. Such headers are never accepted from a caller.
pub const OWN_PREFIX: &str = "x-sidegate-";

/// Names of headers that are never accepted from a caller: those that identify callers to services, and all
/// under [`OWN_PREFIX`].
#[derive(Clone, Debug)]
pub struct ReservedNames {
    names: FxHashSet<Box<[u8]>>,
    /// The bytes that a name starts with. They rule out most names of a request.
    first_bytes: [bool; 256],
    /// A bit for each length that a name has, up to [`MOST_LENGTH`]. They rule out most of the rest.
    lengths: u64,
}

/// The length from which on names have the same bit.
const MOST_LENGTH: usize = 63;

/// What is removed from every request.
#[derive(Clone, Copy, Debug)]
pub struct Stripping<'a> {
    /// The names of headers that the caller sent and only Sidegate may set.
    pub reserved: Option<&'a BTreeSet<&'a [u8]>>,
    /// The places of credentials that the service must not see.
    pub credentials: Option<&'a Locations>,
}

impl ReservedNames {
    /// Whether `name`, in lower case, is one of them.
    pub fn contain(&self, name: &[u8]) -> bool {
        name.first().and_then(|first| self.first_bytes.get(usize::from(*first))) == Some(&true)
            && (name.starts_with(OWN_PREFIX.as_bytes())
                || self.lengths & length_bit(name) != 0 && self.names.contains(name))
    }
}

impl<'a> FromIterator<&'a str> for ReservedNames {
    fn from_iter<T: IntoIterator<Item = &'a str>>(names: T) -> Self {
        let names: FxHashSet<Box<[u8]>> = names.into_iter().map(|name| name.as_bytes().into()).collect();
        let mut first_bytes = [false; 256];
        let own = std::iter::once(OWN_PREFIX.as_bytes());
        for first in own.chain(names.iter().map(|name| &**name)).filter_map(<[u8]>::first) {
            if let Some(starts) = first_bytes.get_mut(usize::from(*first)) {
                *starts = true;
            }
        }
        let lengths = names.iter().fold(0, |lengths, name| lengths | length_bit(name));
        Self { names, first_bytes, lengths }
    }
}

fn length_bit(name: &[u8]) -> u64 {
    1 << name.len().min(MOST_LENGTH)
}

impl Edits {
    /// The changes that apply to every request: credentials and reserved headers are removed, and the path
    /// becomes the one that was decided on, below the service's base path.
    pub fn strip(
        stripping: Stripping<'_>,
        headers: &HeaderMap,
        target: Option<(&RequestPath<'_>, &Query<'_>)>,
        rebased: Option<(&BasePath, usize)>,
    ) -> Self {
        let none = Query::default();
        let query = target.map_or(&none, |(_, query)| query);
        let removal = stripping.credentials.map(|credentials| removal(credentials, headers, query));
        let Removal { headers, query: rest, cookie } = removal.unwrap_or_default();
        let reserved = stripping.reserved.into_iter().flatten();
        let reserved = reserved.map(|name| String::from_utf8_lossy(name).into_owned());
        let mut edits = Self {
            remove: reserved.chain(headers.into_iter().map(str::to_owned)).collect(),
            set: Vec::with_capacity(USUALLY_SET),
        };
        if let Some(cookie) = cookie {
            edits.set.push(("cookie".into(), cookie));
        }
        let is_changed = |path: &RequestPath<'_>| path.is_changed() || rest.is_some() || rebased.is_some();
        if let Some((path, _)) = target.filter(|(path, _)| is_changed(path)) {
            let query = rest.as_deref().or(query.text()).filter(|query| rest.is_none() || !query.is_empty());
            let mut path = match rebased {
                Some((base_path, base)) => base_path.in_place(base, path.path()),
                None => path.path().to_owned(),
            };
            if let Some(query) = query {
                path.push('?');
                path.push_str(query);
            }
            edits.set.push((":path".into(), path.into_bytes()));
        }
        edits
    }

    /// Sets the headers that identify the caller to the service. A header is left out if one of its fields
    /// has no value.
    pub fn identify<'a>(
        &mut self,
        headers: &[(Rc<str>, HeaderValue)],
        value: impl Fn(&Field) -> Option<Cow<'a, str>>,
    ) {
        for (name, wanted) in headers {
            if let Some(value) = wanted.fill(&value) {
                self.remove.retain(|removed| **removed != **name);
                self.set.push((Rc::clone(name), value.into_bytes()));
            }
        }
    }
}
