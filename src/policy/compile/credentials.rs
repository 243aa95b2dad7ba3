//! Compiles the places where credentials sit.

use super::{Report, document};
use crate::credential::{InvalidLocation, Location, Locations};

/// A place with words for it.
type Place = (Location, String);

/// Compiles the places of API keys.
pub(super) fn api_keys(
    locations: Option<Vec<document::Location>>,
    path: &str,
    report: &mut Report,
) -> Vec<Place> {
    let default =
        || document::Location { header: Some("apikey".to_owned()), scheme: None, query: None, cookie: None };
    compile(locations, default, path, report)
}

/// Compiles the places of tokens.
pub(super) fn tokens(
    locations: Option<Vec<document::Location>>,
    path: &str,
    report: &mut Report,
) -> Vec<Place> {
    let default = || document::Location {
        header: Some("authorization".to_owned()),
        scheme: Some("Bearer".to_owned()),
        query: None,
        cookie: None,
    };
    compile(locations, default, path, report)
}

/// Words for a place that both kinds of credentials share.
pub(super) fn shared(keys: &[Place], tokens: &[Place]) -> Option<String> {
    let is_shared = |(key, _): &&Place| tokens.iter().any(|(token, _)| key.overlaps(token));
    keys.iter().find(is_shared).map(|(_, words)| words.clone())
}

/// The places without the words.
pub(super) fn places(places: &[Place]) -> Locations {
    list(places).into()
}

fn list(places: &[Place]) -> Vec<Location> {
    places.iter().map(|(location, _)| location.clone()).collect()
}

/// The places of both kinds.
pub(super) fn all(keys: &[Place], tokens: &[Place]) -> Locations {
    let mut all = list(keys);
    all.extend(list(tokens).into_iter().filter(|token| !keys.iter().any(|(key, _)| key == token)));
    all.into()
}

fn compile(
    locations: Option<Vec<document::Location>>,
    default: impl FnOnce() -> document::Location,
    path: &str,
    report: &mut Report,
) -> Vec<Place> {
    let Some(locations) = locations else {
        return place(default()).and_then(Result::ok).into_iter().collect();
    };
    if !report.at_most(Locations::MOST, "places", locations.len(), path) {
        return Vec::new();
    }
    let mut compiled: Vec<Place> = Vec::new();
    for (index, location) in report.list(path, Some(locations)).into_iter().enumerate() {
        let at = format!("{path}[{index}]");
        let Some(place) = place(location) else {
            report.add(&at, "give exactly one of `header` (with or without `scheme`), `query`, `cookie`");
            continue;
        };
        let Some(place) = report.take(&at, place) else { continue };
        if compiled.iter().any(|(other, _)| other.overlaps(&place.0)) {
            report.add_resting_on(&at, "the same place as another entry", vec![path.to_owned()]);
        }
        compiled.push(place);
        if let Err(error) = Locations::check(compiled.iter().map(|(location, _)| location)) {
            report.add(path, error);
            break;
        }
    }
    compiled
}

/// The place that a location describes, if it describes exactly one.
fn place(location: document::Location) -> Option<Result<Place, InvalidLocation>> {
    let (location, words) = match location {
        document::Location { header: Some(name), scheme, query: None, cookie: None } => {
            (Location::header(&name, scheme.as_deref()), format!("the header `{name}`"))
        }
        document::Location { header: None, scheme: None, query: Some(name), cookie: None } => {
            (Location::query(&name), format!("the query parameter `{name}`"))
        }
        document::Location { header: None, scheme: None, query: None, cookie: Some(name) } => {
            (Location::cookie(&name), format!("the cookie `{name}`"))
        }
        _ => return None,
    };
    Some(location.map(|location| (location, words)))
}
