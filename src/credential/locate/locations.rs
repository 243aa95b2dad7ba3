//! Lists of places, with what is needed to find a place by name.

use super::location::{Location, Place};
use crate::query::{Escapes, Names, Parameter};

/// The most places with a scheme. Each reads the lines of its header.
const MOST_SCHEMES: usize = 4;

/// Places, in order.
#[derive(Clone, Debug, Default)]
pub struct Locations {
    list: Vec<Location>,
    queries: Names,
    pub(super) cookies: Names,
}

/// Why places are too many to be searched on every request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidLocations {
    /// There are too many places.
    #[error("there are more than {} places", Locations::MOST)]
    TooMany,
    /// There are too many places with a scheme.
    #[error("there are more than {MOST_SCHEMES} places with a scheme")]
    TooManySchemes,
}

impl Locations {
    /// The most places in a list.
    pub const MOST: usize = 32;

    /// Checks that these places are not too many.
    pub fn check<'l>(list: impl Iterator<Item = &'l Location> + Clone) -> Result<(), InvalidLocations> {
        if list.clone().nth(Self::MOST).is_some() {
            return Err(InvalidLocations::TooMany);
        }
        let has_scheme = |location: &&Location| {
            matches!(location.0, Place::Header { scheme: Some(_), .. } | Place::Basic(_))
        };
        if list.filter(has_scheme).nth(MOST_SCHEMES).is_some() {
            return Err(InvalidLocations::TooManySchemes);
        }
        Ok(())
    }

    /// The place at an index.
    pub fn get(&self, index: usize) -> Option<&Location> {
        self.list.get(index)
    }

    /// All places.
    pub fn iter(&self) -> impl Iterator<Item = &Location> {
        self.list.iter()
    }

    /// Whether a place is in `Authorization: Basic`.
    pub fn reads_basic(&self) -> bool {
        self.list.iter().any(Location::is_basic)
    }

    /// Whether a place is in queries.
    pub fn reads_query(&self) -> bool {
        !self.queries.is_empty()
    }

    /// Whether a place is a cookie.
    pub fn reads_cookies(&self) -> bool {
        !self.cookies.is_empty()
    }

    /// The place that a query parameter is in. Names with malformed escapes are in none.
    pub(super) fn query(&self, parameter: &Parameter<'_>) -> Option<usize> {
        self.queries.find(&parameter.name).filter(|_| parameter.escapes == Escapes::Whole)
    }
}

impl From<Vec<Location>> for Locations {
    fn from(list: Vec<Location>) -> Self {
        let places = || list.iter().enumerate().map(|(index, location)| (&location.0, index));
        let queries = places().filter_map(|(place, index)| match place {
            Place::Query(name) => Some((name.as_str(), index)),
            Place::Header { .. } | Place::Cookie(_) | Place::Basic(_) => None,
        });
        let cookies = places().filter_map(|(place, index)| match place {
            Place::Cookie(name) => Some((name.as_str(), index)),
            Place::Header { .. } | Place::Query(_) | Place::Basic(_) => None,
        });
        let (queries, cookies) = (Names::new(queries), Names::new(cookies));
        Self { list, queries, cookies }
    }
}

impl<const N: usize> From<[Location; N]> for Locations {
    fn from(list: [Location; N]) -> Self {
        Vec::from(list).into()
    }
}
