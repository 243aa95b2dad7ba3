//! Compiles what the service behind an API sees.

use std::rc::Rc;

use super::{
    super::document::value::{Named, Secret},
    Diagnostics, Names,
    secrets::{Characters, resolve},
};
use crate::{
    credential::Location,
    forward::{HeaderTemplate, HeaderValue, OWN_PREFIX},
};

/// Headers that Envoy, HTTP itself or the caller's session needs, and that no policy may set.
pub(super) const RESERVED: [&str; 7] =
    ["host", "content-length", "transfer-encoding", "connection", "upgrade", "te", "cookie"];

/// The most headers that an API sets. Each is made and set for each request.
const MOST_HEADERS: usize = 32;

/// The most bytes of a header's text.
const MOST_BYTES: usize = 1024;

/// The most fields of a header. A token may fill each of them with kilobytes.
const MOST_FIELDS: usize = 8;

/// Compiles the headers that are set for the service, or for a caller; `reserved` must not be among them.
pub(super) fn headers(
    headers: Named<Secret>,
    reserved: &[&str],
    names: &Names,
    path: &str,
    report: &mut Diagnostics,
) -> Vec<(Rc<str>, HeaderValue)> {
    report.at_most(MOST_HEADERS, "headers", headers.0.len(), path);
    let mut compiled: Vec<(Rc<str>, HeaderValue)> = Vec::new();
    for (name, value) in headers.0 {
        let path = format!("{path}.{name}");
        let lower = name.to_ascii_lowercase();
        let value = match value {
            Secret::Inline(template) => {
                report.at_most(MOST_BYTES, "bytes", template.len(), &path);
                report.at_most(MOST_FIELDS, "fields", template.matches('{').count(), &path);
                let template = report.take(&path, HeaderTemplate::parse(&template));
                names.show_claims(template.iter().flat_map(HeaderTemplate::fields));
                template.map(HeaderValue::Template)
            }
            secret @ Secret::Env(_) => {
                let secret = resolve(secret, Characters::Printable, names.environment, &path, report);
                report.at_most(MOST_BYTES, "bytes", secret.secret().len(), &path);
                Some(HeaderValue::Secret(secret))
            }
        };
        let Some(value) = value else { continue };
        if lower != "cookie" && Location::header(&lower, None).is_err() {
            report.add(&path, "not a header name");
        } else if reserved.contains(&lower.as_str()) || lower.starts_with(OWN_PREFIX) {
            report.add(&path, "policies must not set this header");
        } else if compiled.iter().any(|(other, _)| **other == *lower) {
            report.add(&path, "this header appears twice: upper and lower case make no difference");
        } else {
            compiled.push((lower.into(), value));
        }
    }
    compiled
}

/// Whether the value of a header may hold a parameter of the path.
pub(super) fn holds_parameter(value: &Secret) -> bool {
    matches!(value, Secret::Inline(text) if text.contains("{path:"))
}

/// The parameters of paths that the headers hold, with the headers' names.
pub(super) fn path_parameters(headers: &[(Rc<str>, HeaderValue)]) -> impl Iterator<Item = (&str, &str)> {
    headers.iter().flat_map(|(name, template)| {
        template.fields().filter_map(move |field| Some((&**name, field.path_parameter()?)))
    })
}
