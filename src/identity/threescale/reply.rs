//! Reads the backend's reply to a question into an answer, or the reason why there is none.

use std::num::NonZeroU64;

pub use super::xml::MOST_LIMITS;
use super::{Rejection, xml};
use crate::{
    headers::HeaderList,
    provider::{Body, CallResult, ProviderFault, Response},
    time::Timestamp,
};

/// The longest body that is read, in bytes.
pub const MAX_REPLY: usize = 256 * 1024;

/// What the backend says about an application.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// The application's plan.
    pub plan: Option<String>,
    /// The limits of the plan.
    pub limits: Vec<UsageLimit>,
    /// Metrics, each with the one above it.
    pub parents: Vec<(String, String)>,
}

/// A limit of a plan, and what was used of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsageLimit {
    /// The metric.
    pub metric: String,
    /// When the period ends; `None` for all time.
    pub end: Option<Timestamp>,
    /// How much the period allows; 0 disables the metric.
    pub max: u64,
    /// What was used in the period.
    pub current: u64,
}

/// What a reply says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Read {
    /// The application may.
    Authorized(Answer),
    /// It may not.
    Rejected {
        /// Why.
        rejection: Rejection,
        /// For a limit: seconds until its period ends.
        reset: Option<NonZeroU64>,
        /// For a limit: what it allows.
        max: Option<u64>,
    },
}

/// Reads the response to a [question](super::Provider::authorize).
///
/// The reason of a rejection is read from its header: the body of a 409 may be XML that cannot be read,
/// because the backend does not escape what callers sent. Other rejections name their code in the body only.
///
/// # Errors
///
/// The call failed, or its response is not a valid answer.
pub fn read(result: &CallResult) -> Result<Read, ProviderFault> {
    let response = match result {
        Ok(Response::Http(response)) => response,
        Ok(Response::Grpc(_)) => return Err(ProviderFault::Malformed),
        Err(failure) => return Err((*failure).into()),
    };
    let (status, headers) = (response.status, &response.headers);
    match status {
        200 => {
            let Body::Whole(body) = &response.body else { return Err(ProviderFault::TooLong) };
            let document = xml::read(body).map_err(|_| ProviderFault::Malformed)?;
            let xml::Document { authorized: Some(true), plan, limits, parents, error: None } = document
            else {
                return Err(ProviderFault::Malformed);
            };
            Ok(Read::Authorized(Answer { plan, limits, parents }))
        }
        409 => {
            let code = headers.get("3scale-rejection-reason").ok_or(ProviderFault::Malformed)?;
            rejected(status, code, headers)
        }
        400 | 403 | 404 | 413 | 422 | 428 | 429 => {
            let document = match &response.body {
                Body::Whole(body) => xml::read(body).ok(),
                Body::TooLong => None,
            };
            rejected(status, &document.and_then(|document| document.error).unwrap_or_default(), headers)
        }
        _ => Err(ProviderFault::Status { status, retry_after: number(headers, "retry-after") }),
    }
}

fn rejected(status: u16, code: &str, headers: &HeaderList) -> Result<Read, ProviderFault> {
    let rejection = Rejection::find(status, code).ok_or(ProviderFault::Malformed)?;
    Ok(Read::Rejected {
        rejection,
        // -1 where waiting does not help.
        reset: number(headers, "3scale-limit-reset")
            .map(|seconds| NonZeroU64::new(seconds).unwrap_or(NonZeroU64::MIN)),
        max: number(headers, "3scale-limit-max-value"),
    })
}

fn number(headers: &HeaderList, name: &str) -> Option<u64> {
    headers.get(name).and_then(|value| value.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    #[cfg(all(target_family = "wasm", target_os = "unknown"))]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;
    use crate::provider::{CallFailure, HttpResponse};

    fn reply(status: u16, headers: &[(&'static str, &str)], body: &str) -> Result<Read, ProviderFault> {
        let mut list = HeaderList::new();
        for (name, value) in headers {
            list.push(*name, (*value).to_owned());
        }
        let body = Body::Whole(body.as_bytes().to_vec());
        read(&Ok(Response::Http(HttpResponse { status, headers: list, body, trailers: HeaderList::new() })))
    }

    fn error(code: &str) -> String {
        format!(r#"<?xml version="1.0" encoding="UTF-8"?><error code="{code}">no</error>"#)
    }

    #[test]
    fn an_authorization_has_a_plan() {
        let read = reply(200, &[], "<status><authorized>true</authorized><plan>basic</plan></status>");
        let answer = Answer { plan: Some("basic".to_owned()), ..Answer::default() };
        assert_eq!(read, Ok(Read::Authorized(answer)));
        for body in ["", "<status/>", "<status><authorized>false</authorized></status>", "ok", &error("x")] {
            assert_eq!(reply(200, &[], body), Err(ProviderFault::Malformed), "{body}");
        }
    }

    #[test]
    fn a_rejection_is_decided_by_its_header_whatever_the_body_is() {
        let reason = ("3scale-rejection-reason", "limits_exceeded");
        let rejected = |headers: &[_]| match reply(409, headers, "<status><reason>a<b&\"c</reason></status>")
        {
            Ok(Read::Rejected { rejection, reset, max }) => {
                (rejection.code(), reset.map(NonZeroU64::get), max)
            }
            other => panic!("{other:?}"),
        };
        let limit = |reset, max| [reason, ("3scale-limit-reset", reset), ("3scale-limit-max-value", max)];
        assert_eq!(rejected(&limit("58", "3")), ("limits_exceeded", Some(58), Some(3)));
        assert_eq!(rejected(&limit("-1", "0")), ("limits_exceeded", None, Some(0)));
        assert_eq!(rejected(&limit("0", "3")), ("limits_exceeded", Some(1), Some(3)));
        assert_eq!(rejected(&[reason]), ("limits_exceeded", None, None));
        assert_eq!(reply(409, &[], "<status/>"), Err(ProviderFault::Malformed), "no reason is given");
        assert_eq!(reply(409, &[("3scale-rejection-reason", "new")], ""), Err(ProviderFault::Malformed));
    }

    #[test]
    fn other_rejections_are_decided_by_the_code_in_the_body() {
        let code = |status, body: &str| match reply(status, &[], body) {
            Ok(Read::Rejected { rejection, .. }) => (rejection.code(), rejection.fault()),
            other => panic!("{other:?}"),
        };
        let refused = |status| Some(ProviderFault::Rejected { status });
        let fault = |status| Some(ProviderFault::Status { status, retry_after: None });
        for (status, named, expected) in [
            (403, "user_key_invalid", None),
            (404, "application_not_found", None),
            (422, "not_valid_data", None),
            (403, "service_token_invalid", refused(403)),
            (422, "service_id_missing", refused(422)),
            (404, "metric_invalid", fault(404)),
        ] {
            assert_eq!(code(status, &error(named)), (named, expected));
        }
        assert_eq!(code(428, ""), ("too_many_calls", fault(428)));
        for (status, body) in [(403, ""), (404, "<html>"), (403, "<error code=\"unheard_of\"/>")] {
            assert_eq!(reply(status, &[], body), Err(ProviderFault::Malformed), "{status} {body}");
        }
        let status = |status, retry_after| Err(ProviderFault::Status { status, retry_after });
        assert_eq!(reply(500, &[], "the database is gone"), status(500, None));
        assert_eq!(reply(302, &[("retry-after", "soon")], ""), status(302, None));
        assert_eq!(reply(503, &[("retry-after", "7")], ""), status(503, Some(7)));
    }

    #[test]
    fn a_failed_call_and_a_long_reply_are_faults() {
        assert_eq!(read(&Err(CallFailure::TimedOut)), Err(ProviderFault::TimedOut));
        let response = |status| {
            let headers = HeaderList::new();
            HttpResponse { status, headers, body: Body::TooLong, trailers: HeaderList::new() }
        };
        assert_eq!(read(&Ok(Response::Http(response(200)))), Err(ProviderFault::TooLong));
        assert_eq!(read(&Ok(Response::Http(response(403)))), Err(ProviderFault::Malformed));
    }
}
