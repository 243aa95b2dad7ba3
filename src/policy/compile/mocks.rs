//! Compiles mocked responses.

use std::{borrow::Cow, rc::Rc};

use super::{
    super::{
        Mock, Mocks, Responder,
        document::value::{Named, Secret},
    },
    Diagnostics, Names, document, doubts, forward, rules,
};
use crate::{
    forward::{BodyTemplate, Field, HeaderTemplate, HeaderValue},
    matching::{InvalidRules, Parameters, PathPattern, RuleMatch, RuleTable},
    reply::GrpcStatus,
};

/// The most responses in a list.
const MOST: usize = 1_000;

/// The most bytes of a body.
const MOST_BYTES: usize = 64 * 1024;

/// The most fields of a body. The caller may fill each of them with kilobytes.
const MOST_FIELDS: usize = 16;

/// Headers that Envoy or Sidegate sets on every reply, or that make no sense for one.
const RESERVED: [&str; 10] = [
    "connection",
    "content-length",
    "keep-alive",
    "ratelimit",
    "ratelimit-policy",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "www-authenticate",
];

/// Statuses whose responses have no body.
const WITHOUT_BODY: [u16; 3] = [204, 205, 304];

/// Whether requests are answered with mocked responses.
#[derive(Clone)]
pub(super) enum Mocking {
    /// Nothing is said.
    Unsaid,
    /// They go to the service.
    Off,
    /// They are answered.
    On(Rc<Mocks>),
}

impl Mocking {
    /// What answers the requests of a rule that says this, in an API that says `default`.
    pub(super) fn or(self, default: &Self) -> Responder {
        match (self, default) {
            (Self::On(mocks), _) => Responder::Mocks(mocks),
            (Self::Unsaid, Self::On(mocks)) => Responder::Mocks(Rc::clone(mocks)),
            (Self::Unsaid, Self::Unsaid | Self::Off) | (Self::Off, _) => Responder::Service,
        }
    }
}

/// Compiles the responses at `path`; `rule` is the path of the rule that they are listed in.
pub(super) fn compile(
    mock: Option<Box<document::Mock>>,
    rule: Option<&str>,
    names: &Names,
    path: &dyn Fn() -> String,
    report: &mut Diagnostics,
) -> Mocking {
    let Some(mock) = mock else { return Mocking::Unsaid };
    let document::Mock { enabled, responses } = *mock;
    let path = path();
    if responses.is_none() && enabled {
        report.add(&path, "has no responses: list them, or write `enabled: false`");
    }
    let list = format!("{path}.responses");
    // Faulty methods stand for all.
    let mut methods_are_known = true;
    report.at_most(MOST, "responses", responses.as_ref().map_or(0, Vec::len), &list);
    let mut places = Vec::new();
    let mut matches = Vec::new();
    let mut compiled = Vec::new();
    for (place, response) in report.list(&list, responses).into_iter().enumerate() {
        let path = format!("{list}[{place}]");
        let template = response.path.clone().unwrap_or_else(|| "/**".to_owned());
        let wrong = report.len();
        let methods = rules::methods(response.methods.clone(), &|| format!("{path}.methods"), report);
        methods_are_known &= report.len() == wrong;
        let parameters = Parameters::of(response.path.as_deref().or(rule).unwrap_or_default());
        doubts::template(&template, &|| format!("{path}.path"), report);
        let pattern = report.take(&format!("{path}.path"), PathPattern::template(&template));
        let mock = response_of(response, parameters, names, &path, report);
        if let (Some(path), Some(mock)) = (pattern, mock) {
            places.push(place);
            matches.push(RuleMatch { path, methods });
            compiled.push(mock);
        }
    }
    let at = |response: usize| places.get(response).copied().unwrap_or(response);
    let table = RuleTable::build(matches, names.effort).unwrap_or_else(|invalid| {
        match invalid {
            InvalidRules::Overlaps(overlaps) => {
                for overlap in overlaps {
                    let [first, second] = [overlap.first, overlap.second].map(at);
                    let message = format!("matches the same requests as `responses[{first}]`");
                    let rests_on = [first, second].map(|response| format!("{list}[{response}].methods"));
                    report.add_resting_on(&format!("{list}[{second}]"), message, rests_on.to_vec());
                }
            }
            InvalidRules::TooComplex(error) => report.add(&list, error),
        }
        RuleTable::default()
    });
    if methods_are_known {
        doubts::unreached(&table, &list, &at, report);
    }
    if enabled { Mocking::On(Rc::new(Mocks { table, responses: compiled })) } else { Mocking::Off }
}

fn response_of(
    response: document::MockResponse,
    parameters: Parameters,
    names: &Names,
    path: &str,
    report: &mut Diagnostics,
) -> Option<Mock> {
    let document::MockResponse { path: _, methods: _, status, headers, body } = response;
    if !(200..=599).contains(&status) {
        report.add(&format!("{path}.status"), "must be 200 to 599");
    }
    let body_path = format!("{path}.body");
    if body.is_some() && WITHOUT_BODY.contains(&status) {
        report.add(&body_path, format!("a response with status {status} has no body"));
    }
    let given_type = headers.0.iter().find(|(name, _)| name.eq_ignore_ascii_case("content-type"));
    let content_type = given_type.map(|(_, value)| value.clone());
    let headers = Named(headers.0.into_iter().map(|(name, value)| (name, Secret::Inline(value))).collect());
    let mut headers = forward::headers(headers, &RESERVED, names, &format!("{path}.headers"), report);
    let body = body.unwrap_or_default();
    report.at_most(MOST_BYTES, "bytes", body.len(), &body_path);
    let content_type = content_type.unwrap_or_else(|| {
        let guessed = guessed_type(&body);
        if !body.is_empty() {
            headers.extend(
                HeaderTemplate::parse(guessed)
                    .ok()
                    .map(|value| ("content-type".into(), HeaderValue::Template(value))),
            );
        }
        guessed.to_owned()
    });
    let body = report.take(&body_path, BodyTemplate::parse(&body, &content_type))?;
    report.at_most(MOST_FIELDS, "fields", body.fields().count(), &body_path);
    names.show_claims(body.fields());
    let unknown = |field: &Field| field.path_parameter().is_some_and(|name| !parameters.contain(name));
    let of_headers = headers.iter().flat_map(|(name, value)| {
        let path = format!("{path}.headers.{name}");
        value.fields().map(move |field| (path.clone(), field))
    });
    let of_body = body.fields().map(|field| (body_path.clone(), field));
    for (path, field) in of_headers.chain(of_body).filter(|(_, field)| unknown(field)) {
        let name = field.path_parameter().unwrap_or_default();
        report.add(&path, format!("the path has no parameter `{name}`"));
    }
    Some(Mock { status, grpc: grpc_status(status), headers, body, parameters })
}

/// The content type of a body if the policy does not name it. Without one, browsers would guess.
fn guessed_type(body: &str) -> &'static str {
    let is_json = serde_json::from_str::<serde::de::IgnoredAny>(body).is_ok();
    if is_json { "application/json" } else { "text/plain" }
}

/// The outcome of a gRPC call that is answered with an HTTP status
/// (<https://grpc.github.io/grpc/core/md_doc_http-grpc-status-mapping.html>).
const fn grpc_status(status: u16) -> GrpcStatus {
    let code = match status {
        200..=299 => 0,
        400 => 13,
        401 => 16,
        403 => 7,
        404 => 12,
        429 | 502 | 503 | 504 => 14,
        _ => 2,
    };
    GrpcStatus { code, message: Cow::Borrowed("") }
}
