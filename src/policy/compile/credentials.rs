//! Compiles the places where credentials sit, and the credentials of callers that present none.

use super::{
    super::{Access, DefaultCredentials, Rule},
    Diagnostics, Names, document,
    secrets::{Characters, resolve},
};
use crate::credential::{BasicPart, InvalidLocation, Location, Locations};

/// A place with words for it.
type Place = (Location, String);

/// The places of an API's credentials, by kind.
pub(super) struct Places {
    keys: Vec<Place>,
    app_ids: Vec<Place>,
    app_keys: Vec<Place>,
    tokens: Vec<Place>,
    /// Whether the policy names places of applications.
    names_applications: bool,
}

/// The kinds of credentials that a rule takes.
#[derive(Clone, Copy, Default)]
pub(super) struct Taken {
    pub(super) key: bool,
    pub(super) application: bool,
    pub(super) token: bool,
}

/// Compiles the places of an API's credentials.
pub(super) fn places(credentials: document::Credentials, path: &str, report: &mut Diagnostics) -> Places {
    let document::Credentials { api_key, app_id, app_key, token } = credentials;
    let names_applications = app_id.is_some() || app_key.is_some();
    let mut list = |locations, attribute, default: document::Location| {
        // Nothing is to report of what is absent.
        compile(locations, default, &|| format!("{path}.credentials.{attribute}"), report)
    };
    let keys = list(api_key, "api_key", location(|place| place.header = Some("apikey".to_owned())));
    let app_ids = list(app_id, "app_id", location(|place| place.query = Some("app_id".to_owned())));
    let app_keys = list(app_key, "app_key", location(|place| place.query = Some("app_key".to_owned())));
    let bearer = location(|place| {
        place.header = Some("authorization".to_owned());
        place.scheme = Some("Bearer".to_owned());
    });
    let tokens = list(token, "token", bearer);
    if let Some(words) = first_shared(&app_ids, &app_keys) {
        let message = format!("the id and the key of an application both sit in {words}");
        report.add(&format!("{path}.credentials.app_key"), message);
    }
    Places { keys, app_ids, app_keys, tokens, names_applications }
}

fn location(fill: impl FnOnce(&mut document::Location)) -> document::Location {
    let mut place = document::Location { header: None, scheme: None, query: None, cookie: None, basic: None };
    fill(&mut place);
    place
}

impl Taken {
    /// What these ways in take.
    pub(super) fn by(access: &[Access]) -> Self {
        Self {
            key: access.iter().any(Access::takes_keys),
            application: access.iter().any(Access::takes_applications),
            token: access.iter().any(Access::takes_tokens),
        }
    }
}

impl Places {
    /// Two kinds of credentials that a rule takes and that share a place, and the place, in words.
    pub(super) fn shared(&self, taken: Taken) -> Option<String> {
        let Taken { key, application, token } = taken;
        let pairs = [
            (key && token, "an API key and a token", &self.keys, &self.tokens),
            (key && application, "an API key and an application", &self.keys, &self.app_ids),
            (key && application, "an API key and an application", &self.keys, &self.app_keys),
            (application && token, "an application and a token", &self.app_ids, &self.tokens),
            (application && token, "an application and a token", &self.app_keys, &self.tokens),
        ];
        pairs.into_iter().filter(|(taken, ..)| *taken).find_map(|(_, kinds, one, other)| {
            first_shared(one, other).map(|words| format!("takes {kinds}, and both sit in {words}"))
        })
    }

    /// Whether one of the kinds of credentials may be in `Authorization: Basic`.
    pub(super) fn read_basic(&self, taken: Taken) -> bool {
        let is_basic = |places: &[Place]| places.iter().any(|(location, _)| location.is_basic());
        taken.key && is_basic(&self.keys)
            || taken.application && (is_basic(&self.app_ids) || is_basic(&self.app_keys))
    }

    /// Leaves the default places of applications out if no rule takes any, so that they cost nothing.
    pub(super) fn without_unused(mut self, takes_applications: bool) -> Self {
        if !takes_applications && !self.names_applications {
            (self.app_ids, self.app_keys) = (Vec::new(), Vec::new());
        }
        self
    }

    /// The places of API keys.
    pub(super) fn keys(&self) -> Locations {
        list(&self.keys).into()
    }

    /// The places of ids of applications.
    pub(super) fn app_ids(&self) -> Locations {
        list(&self.app_ids).into()
    }

    /// The places of keys of applications.
    pub(super) fn app_keys(&self) -> Locations {
        list(&self.app_keys).into()
    }

    /// The places of tokens.
    pub(super) fn tokens(&self) -> Locations {
        list(&self.tokens).into()
    }

    /// All places.
    pub(super) fn all(&self) -> Locations {
        let mut all: Vec<Location> = Vec::new();
        for places in [&self.keys, &self.app_ids, &self.app_keys, &self.tokens] {
            for location in list(places) {
                if !all.contains(&location) {
                    all.push(location);
                }
            }
        }
        all.into()
    }
}

/// Compiles the credentials of callers that present none.
pub(super) fn default(
    credentials: document::DefaultCredentials,
    names: &Names,
    path: &str,
    report: &mut Diagnostics,
) -> Option<DefaultCredentials> {
    let document::DefaultCredentials { api_key, app_id, app_key } = credentials;
    let secret = |attribute: &str, secret, report: &mut Diagnostics| {
        resolve(secret, Characters::Printable, names.environment, &format!("{path}.{attribute}"), report)
    };
    match (api_key, app_id, app_key) {
        (Some(key), None, None) => Some(DefaultCredentials::Key(secret("api_key", key, report))),
        (None, Some(id), key) => {
            report.text(&format!("{path}.app_id"), &id);
            let key = key.map(|key| secret("app_key", key, report));
            Some(DefaultCredentials::Application { id, key })
        }
        _ => {
            report.add(path, "give either `api_key`, or `app_id` with or without `app_key`");
            None
        }
    }
}

/// Checks that default credentials are of use to a rule of the API at `path`.
pub(super) fn check_default(
    default: &DefaultCredentials,
    rules: &[Rule],
    names: &Names,
    path: &str,
    report: &mut Diagnostics,
) {
    let taken_by = |takes: fn(&Access) -> bool| rules.iter().any(|rule| rule.access.iter().any(takes));
    let at = format!("{path}.default_credentials");
    let rests_on = vec![format!("{path}.rules"), format!("{path}.access")];
    match default {
        DefaultCredentials::Key(_) if !taken_by(Access::takes_keys) => {
            report.add_resting_on(&at, "no rule takes an API key", rests_on);
        }
        DefaultCredentials::Application { .. } if !taken_by(Access::takes_applications) => {
            report.add_resting_on(&at, "no rule takes an application", rests_on);
        }
        DefaultCredentials::Application { id, .. }
            if taken_by(|access| matches!(access, Access::Application))
                && names.consumers.by_application(id).is_none() =>
        {
            let message = format!("no consumer has an application `{id}`");
            report.add_resting_on(&format!("{at}.app_id"), message, vec!["consumers".to_owned()]);
        }
        DefaultCredentials::Key(_) | DefaultCredentials::Application { .. } => {}
    }
}

/// Words for the first place that both have.
fn first_shared(one: &[Place], other: &[Place]) -> Option<String> {
    let is_shared = |(place, _): &&Place| other.iter().any(|(other, _)| place.overlaps(other));
    one.iter().find(is_shared).map(|(_, words)| words.clone())
}

fn list(places: &[Place]) -> Vec<Location> {
    places.iter().map(|(location, _)| location.clone()).collect()
}

fn compile(
    locations: Option<Vec<document::Location>>,
    default: document::Location,
    path: &dyn Fn() -> String,
    report: &mut Diagnostics,
) -> Vec<Place> {
    let Some(locations) = locations else {
        return place(default).and_then(Result::ok).into_iter().collect();
    };
    let path = path();
    let path = path.as_str();
    if !report.at_most(Locations::MOST, "places", locations.len(), path) {
        return Vec::new();
    }
    let mut compiled: Vec<Place> = Vec::new();
    for (index, location) in report.list(path, Some(locations)).into_iter().enumerate() {
        let at = format!("{path}[{index}]");
        let Some(place) = place(location) else {
            report.add(
                &at,
                "give exactly one of `header` (with or without `scheme`), `query`, `cookie`, `basic`",
            );
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
        document::Location { header: Some(name), scheme, query: None, cookie: None, basic: None } => {
            (Location::header(&name, scheme.as_deref()), format!("the header `{name}`"))
        }
        document::Location { header: None, scheme: None, query: Some(name), cookie: None, basic: None } => {
            (Location::query(&name), format!("the query parameter `{name}`"))
        }
        document::Location { header: None, scheme: None, query: None, cookie: Some(name), basic: None } => {
            (Location::cookie(&name), format!("the cookie `{name}`"))
        }
        document::Location { header: None, scheme: None, query: None, cookie: None, basic: Some(part) } => {
            let part = match part {
                document::BasicPart::User => BasicPart::User,
                document::BasicPart::Password => BasicPart::Password,
                document::BasicPart::Either => BasicPart::Either,
            };
            (Ok(Location::basic(part)), "`Authorization: Basic`".to_owned())
        }
        _ => return None,
    };
    Some(location.map(|location| (location, words)))
}
