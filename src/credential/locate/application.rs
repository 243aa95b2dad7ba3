//! Applications as 3scale knows them: an id, and a key that belongs to it.

use super::{Located, Locations, MisplacedCredential, locate};
use crate::{headers::HeaderMap, query::Query};

/// The application that a request presents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PresentedApplication<'r> {
    /// Its id.
    pub id: Located<'r>,
    /// One of its keys; applications without keys need none.
    pub key: Option<Located<'r>>,
}

/// Finds an application's id in one of `ids`, and its key in one of `keys`. A key without an id is no
/// credential.
///
/// # Errors
///
/// The same as those of [`locate`], for each of the two.
pub fn locate_application<'r>(
    ids: &Locations,
    keys: &Locations,
    headers: &'r HeaderMap,
    query: &'r Query<'_>,
) -> Result<Option<PresentedApplication<'r>>, MisplacedCredential> {
    let Some(id) = locate(ids, headers, query)? else { return Ok(None) };
    let key = locate(keys, headers, query)?;
    Ok(Some(PresentedApplication { id, key }))
}
