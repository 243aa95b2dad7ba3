//! Mocked responses: what answers a request that passes, in the service's place.

use std::borrow::Cow;

use crate::{forward::Field, headers::HeaderList, policy::Mock, reply::Reply};

/// The reply that `mock` describes; `value` gives the values of its fields.
pub(super) fn respond<'a>(mock: &Mock, value: impl Fn(&Field) -> Option<Cow<'a, str>>) -> Reply {
    let mut headers = HeaderList::with_capacity(mock.headers.len().saturating_add(2));
    for (name, template) in &mock.headers {
        if let Some(value) = template.fill(&value) {
            headers.push(name.to_string(), value);
        }
    }
    let (grpc, body) = (mock.grpc.clone(), mock.body.fill(value));
    Reply { status: mock.status, grpc, headers, body, details: "sidegate_mock" }
}
