//! The request for a key set, and the response.

use std::time::Duration;

use super::{MAX_KEY_SET, Publication, published::Text};
use crate::{
    headers::HeaderList,
    provider::{
        Asker, Body, Call, CallResult, HttpRequest, HttpResponse, ProviderFault, Response, Sharing,
        Transport, Wanted,
    },
};

/// The longest validator that is kept.
const LONGEST_ETAG: usize = 256;

/// A set as the server sent it.
pub(super) struct Fetched {
    pub(super) text: Text,
    /// How long it is fresh, if the server says so.
    pub(super) lifetime: Option<Duration>,
}

/// The call for the set. `etag` is the validator of the one that is known.
pub(super) fn call(publication: &Publication, etag: Option<&str>) -> Call {
    let mut headers = HeaderList::from([("accept", "application/jwk-set+json, application/json")]);
    if let Some(etag) = etag {
        headers.push("if-none-match", etag.to_owned());
    }
    let request = HttpRequest {
        method: "GET",
        scheme: publication.endpoint.scheme().to_owned(),
        authority: publication.endpoint.authority().to_owned(),
        path: publication.endpoint.path(),
        headers,
        body: Vec::new(),
    };
    Call {
        cluster: publication.cluster.clone(),
        transport: Transport::Http(request),
        timeout: publication.timeout,
        wanted: Wanted {
            headers: &["etag", "cache-control", "age", "retry-after"],
            trailers: &[],
            body: MAX_KEY_SET,
        },
        sharing: Sharing::Joined(*publication.digest()),
        // It is for all callers, and there is never more than one.
        asker: Asker::Known,
    }
}

/// Reads the response; `known` is the text that was known before.
pub(super) fn read(result: &CallResult, known: Option<Text>) -> Result<Fetched, ProviderFault> {
    let response = match result {
        Ok(Response::Http(response)) => response,
        Ok(Response::Grpc(_)) => return Err(ProviderFault::Malformed),
        Err(failure) => return Err((*failure).into()),
    };
    let lifetime = lifetime(response);
    match (response.status, &response.body, known) {
        (200, Body::Whole(body), _) => {
            let etag = response.headers.get("etag").filter(|etag| etag.len() <= LONGEST_ETAG);
            let etag = etag.unwrap_or_default().to_owned();
            Ok(Fetched { text: Text { etag, body: body.clone() }, lifetime })
        }
        (200, Body::TooLong, _) => Err(ProviderFault::TooLong),
        (304, _, Some(text)) => Ok(Fetched { text, lifetime }),
        (status, _, _) => {
            let retry_after = response.headers.get("retry-after").and_then(|value| value.trim().parse().ok());
            Err(ProviderFault::Status { status, retry_after })
        }
    }
}

/// How long the response is fresh (RFC 9111 section 4.2). Three quarters of it count, so that the next set is
/// there before this one expires.
fn lifetime(response: &HttpResponse) -> Option<Duration> {
    let control = response.headers.get("cache-control")?.to_ascii_lowercase();
    let mut directives = control.split(',').map(str::trim);
    if directives.clone().any(|directive| matches!(directive, "no-store" | "no-cache")) {
        return Some(Duration::ZERO);
    }
    let max_age: u64 = directives.find_map(|directive| directive.strip_prefix("max-age="))?.parse().ok()?;
    let age = response.headers.get("age").and_then(|age| age.trim().parse().ok()).unwrap_or(0);
    let rest = max_age.saturating_sub(age);
    Some(Duration::from_secs(rest.saturating_sub(rest / 4)))
}

#[cfg(test)]
mod tests {
    #[cfg(all(target_family = "wasm", target_os = "unknown"))]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    fn response(status: u16, headers: &[(&'static str, &str)], body: Body) -> CallResult {
        let mut list = HeaderList::new();
        headers.iter().for_each(|(name, value)| list.push(*name, (*value).to_owned()));
        Ok(Response::Http(HttpResponse { status, headers: list, body, trailers: HeaderList::new() }))
    }

    fn fresh_for(headers: &[(&'static str, &str)]) -> Option<u64> {
        let read = read(&response(200, headers, Body::Whole(b"{}".to_vec())), None);
        read.unwrap().lifetime.map(|lifetime| lifetime.as_secs())
    }

    #[test]
    fn cache_control_says_how_long_a_set_is_fresh() {
        for (headers, expected) in [
            (&[][..], None),
            (&[("cache-control", "public")], None),
            (&[("cache-control", "public, max-age=400, must-revalidate")], Some(300)),
            (&[("cache-control", "Max-Age=400"), ("age", "200")], Some(150)),
            (&[("cache-control", "max-age=400"), ("age", "500")], Some(0)),
            (&[("cache-control", "max-age=soon")], None),
            (&[("cache-control", "max-age=400, no-cache")], Some(0)),
            (&[("cache-control", "no-store")], Some(0)),
        ] {
            assert_eq!(fresh_for(headers), expected, "{headers:?}");
        }
    }

    #[test]
    fn not_modified_means_the_known_text() {
        let known = || Some(Text { etag: "\"1\"".to_owned(), body: b"known".to_vec() });
        let not_modified = response(304, &[], Body::Whole(Vec::new()));
        assert_eq!(read(&not_modified, known()).unwrap().text.body, b"known");
        let fault = |result: &CallResult, known| read(result, known).err();
        let status = |status, retry_after| Some(ProviderFault::Status { status, retry_after });
        assert_eq!(fault(&not_modified, None), status(304, None));
        let busy = response(503, &[("retry-after", "7")], Body::Whole(Vec::new()));
        assert_eq!(fault(&busy, known()), status(503, Some(7)));
        assert_eq!(fault(&response(200, &[], Body::TooLong), known()), Some(ProviderFault::TooLong));
    }
}
