//! Reads the reply of an introspection endpoint (RFC 7662 section 2.2) into a typed answer, or the reason why
//! there is none.

use serde::Deserialize;

use crate::{
    identity::{AskedClaims, KeptClaims, Vouched, claims::Claims, jwt::object},
    provider::{Body, CallResult, HttpResponse, ProviderFault, Response},
    time::Timestamp,
};

/// The longest body that is read, in bytes.
pub const MAX_REPLY: usize = 64 * 1024;

/// What the endpoint says about a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Read {
    /// An answer as RFC 7662 describes it.
    Vouched(Vouched<'static>),
    /// 400: the endpoint cannot read this token. oidc-provider replies with it to a JWT that it did not
    /// issue, Keycloak to one without a signature. The token is treated as inactive.
    Unreadable,
}

/// Reads the response to a [`Provider::call`](super::Provider::call), and the claims that are asked for.
///
/// # Errors
///
/// The call failed, or its response is not a valid answer.
pub fn read(result: &CallResult, asked: &AskedClaims) -> Result<Read, ProviderFault> {
    let Some(response) = response(result)? else { return Ok(Read::Unreadable) };
    if !response.headers.get("content-type").is_some_and(is_json) {
        return Err(ProviderFault::NotJson);
    }
    // Serde would also accept an array of all fields for a struct.
    let body = body(response)?;
    let claims: Claims<bool> = object(body).ok_or(ProviderFault::Malformed)?;
    vouched(claims, || asked.keep_of(body)).map(Read::Vouched)
}

/// The response with an answer; `None` if the endpoint cannot read the token.
pub(super) fn response(result: &CallResult) -> Result<Option<&HttpResponse>, ProviderFault> {
    let response = match result {
        Ok(Response::Http(response)) => response,
        Ok(Response::Grpc(_)) => return Err(ProviderFault::Malformed),
        Err(failure) => return Err((*failure).into()),
    };
    let status = response.status;
    let retry_after = || response.headers.get("retry-after").and_then(|seconds| seconds.trim().parse().ok());
    match status {
        200 => Ok(Some(response)),
        400 if !rejects_our_client(&response.body) => Ok(None),
        400 | 401 | 403 => Err(ProviderFault::Rejected { status }),
        429 | 503 => Err(ProviderFault::Status { status, retry_after: retry_after() }),
        _ => Err(ProviderFault::Status { status, retry_after: None }),
    }
}

/// The body of a response.
pub(super) fn body(response: &HttpResponse) -> Result<&[u8], ProviderFault> {
    match &response.body {
        Body::Whole(body) => Ok(body),
        Body::TooLong => Err(ProviderFault::TooLong),
    }
}

/// The answer that these members are. `kept` are those that are asked for besides.
pub(super) fn vouched(
    claims: Claims<bool>,
    kept: impl FnOnce() -> Option<KeptClaims<'static>>,
) -> Result<Vouched<'static>, ProviderFault> {
    if !claims.active {
        return Ok(Vouched::Inactive);
    }
    let mut identity = claims.into_identity(moment).ok_or(ProviderFault::Malformed)?;
    identity.claims = kept().ok_or(ProviderFault::Malformed)?;
    Ok(Vouched::Active(identity))
}

/// Whether a 400 is about our own credentials: RFC 6749 section 5.2 allows that status for client
/// authentication too.
fn rejects_our_client(body: &Body) -> bool {
    #[derive(Deserialize)]
    struct Refusal {
        error: String,
    }

    let Body::Whole(body) = body else { return false };
    let refusal: Option<Refusal> = serde_json::from_slice(body).ok();
    refusal.is_some_and(|refusal| matches!(refusal.error.as_str(), "invalid_client" | "unauthorized_client"))
}

fn is_json(content_type: &str) -> bool {
    let media_type = content_type.split(';').next().unwrap_or_default().trim_ascii().to_ascii_lowercase();
    media_type == "application/json"
        || media_type.split_once('/').is_some_and(|(_, subtype)| subtype.ends_with("+json"))
}

/// Converts a `NumericDate` (RFC 7519): seconds, possibly with a fraction. Moments before the epoch become
/// the epoch, and those beyond [`Timestamp::MAX`] become that.
pub(super) fn moment(seconds: f64) -> Option<Timestamp> {
    // `as` saturates; there is no fallible conversion from floating point.
    Some(Timestamp::from_millis((seconds * 1000.0) as u64))
}

#[cfg(test)]
mod tests;
