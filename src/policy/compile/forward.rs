//! Compiles what the service behind an API sees.

use std::rc::Rc;

use super::{super::document::value::Named, Report};
use crate::{
    credential::Location,
    forward::{HeaderTemplate, OWN_PREFIX},
};

/// Headers that Envoy, HTTP itself or the caller's session needs, and that no policy may set.
const RESERVED: [&str; 7] =
    ["host", "content-length", "transfer-encoding", "connection", "upgrade", "te", "cookie"];

/// The most headers that an API sets. Each is made and set for each request.
const MOST_HEADERS: usize = 32;

/// The most bytes of a header's text.
const MOST_BYTES: usize = 1024;

/// The most fields of a header. A token may fill each of them with kilobytes.
const MOST_FIELDS: usize = 8;

/// Compiles the headers that are set for the service.
pub(super) fn headers(
    headers: Named<String>,
    path: &str,
    report: &mut Report,
) -> Vec<(Rc<str>, HeaderTemplate)> {
    report.at_most(MOST_HEADERS, "headers", headers.0.len(), path);
    let mut compiled: Vec<(Rc<str>, HeaderTemplate)> = Vec::new();
    for (name, template) in headers.0 {
        let path = format!("{path}.{name}");
        report.at_most(MOST_BYTES, "bytes", template.len(), &path);
        report.at_most(MOST_FIELDS, "fields", template.matches('{').count(), &path);
        let lower = name.to_ascii_lowercase();
        let Some(template) = report.take(&path, HeaderTemplate::parse(&template)) else { continue };
        if lower != "cookie" && Location::header(&lower, None).is_err() {
            report.add(&path, "not a header name");
        } else if RESERVED.contains(&lower.as_str()) || lower.starts_with(OWN_PREFIX) {
            report.add(&path, "policies must not set this header");
        } else if compiled.iter().any(|(other, _)| **other == *lower) {
            report.add(&path, "this header appears twice: upper and lower case make no difference");
        } else {
            compiled.push((lower.into(), template));
        }
    }
    compiled
}
