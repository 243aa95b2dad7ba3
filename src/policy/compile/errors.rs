//! Compiles what an API says in words of its own.

use super::{Diagnostics, document};
use crate::refusal::{Text, Texts};

/// The longest body, in bytes.
const LONGEST_BODY: usize = 16 * 1024;

/// The longest content type, in bytes.
const LONGEST_TYPE: usize = 256;

/// Compiles the texts of an API.
pub(super) fn texts(errors: document::ApiErrors, path: &str, report: &mut Diagnostics) -> Texts {
    let document::ApiErrors { missing_credentials, refused_credentials, limits_exceeded, no_match } = errors;
    let mut text = |name: &str, text: Option<document::ErrorText>| {
        text.map(|text| compile(text, &format!("{path}.{name}"), report))
    };
    Texts {
        missing_credentials: text("missing_credentials", missing_credentials),
        refused_credentials: text("refused_credentials", refused_credentials),
        limits_exceeded: text("limits_exceeded", limits_exceeded),
        no_match: text("no_match", no_match),
    }
}

fn compile(text: document::ErrorText, path: &str, report: &mut Diagnostics) -> Text {
    let document::ErrorText { status, content_type, body } = text;
    if status.is_none() && content_type.is_none() && body.is_none() {
        report.add(path, "changes nothing: give `status`, `content_type` or `body`");
    }
    if status.is_some_and(|status| !(400..=599).contains(&status)) {
        report.add(&format!("{path}.status"), "not a status of an error: 400 to 599");
    }
    if let Some(content_type) = &content_type {
        let is_type = content_type.contains('/')
            && content_type.len() <= LONGEST_TYPE
            && content_type.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic());
        if !is_type {
            report.add(&format!("{path}.content_type"), "not a media type such as `text/plain`");
        }
    }
    if let Some(body) = &body {
        report.at_most(LONGEST_BODY, "bytes", body.len(), &format!("{path}.body"));
    }
    Text::new(status, content_type, body)
}
