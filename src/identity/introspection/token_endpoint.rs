//! The token endpoint that gives Sidegate an access token of its own: the request by the client credentials
//! grant (RFC 6749 section 4.4), and the response.

use std::time::Duration;

use form_urlencoded::Serializer;
use serde::Deserialize;

use super::{ClientAuthentication, provider::is_visible};
use crate::{
    credential::{Digest, ProviderSecret},
    headers::HeaderList,
    identity::jwt::object,
    provider::{
        Asker, Body, Call, CallResult, Endpoint, HttpRequest, ProviderFault, Response, Sharing, Transport,
        Wanted,
    },
};

/// The longest response that is read, in bytes.
const MOST_BYTES: usize = 64 * 1024;

/// How long a token lives if the server does not say so.
const DEFAULT_LIFETIME: Duration = Duration::from_secs(300);

/// A token endpoint, and what is asked of it.
#[derive(Debug)]
pub struct TokenEndpoint {
    /// The Envoy cluster of the endpoint.
    pub cluster: String,
    /// Its URL.
    pub endpoint: Endpoint,
    /// How we authenticate.
    pub authentication: ClientAuthentication,
    /// The scopes to ask for.
    pub scopes: Vec<String>,
    /// The audience to ask for.
    pub audience: Option<String>,
    /// How long to wait for an answer.
    pub timeout: Duration,
}

/// A token as the server granted it.
#[derive(Debug)]
pub(super) struct Granted {
    pub(super) token: ProviderSecret,
    pub(super) lifetime: Duration,
}

impl TokenEndpoint {
    /// The digest that identifies the endpoint and what is asked of it.
    pub(super) fn digest(&self) -> Digest {
        let rest = format!("{:?} {:?}", self.scopes, self.audience);
        Digest::of_parts(&[
            b"client credentials",
            self.cluster.as_bytes(),
            self.endpoint.as_str().as_bytes(),
            self.authentication.kind(),
            self.authentication.id().as_bytes(),
            self.authentication.secret().digest().bytes(),
            rest.as_bytes(),
        ])
    }

    /// The call for a token.
    pub(super) fn call(&self) -> Call {
        let mut form = Serializer::new(String::new());
        form.append_pair("grant_type", "client_credentials");
        if !self.scopes.is_empty() {
            form.append_pair("scope", &self.scopes.join(" "));
        }
        if let Some(audience) = &self.audience {
            form.append_pair("audience", audience);
        }
        let mut headers = HeaderList::from([
            ("accept", "application/json"),
            ("content-type", "application/x-www-form-urlencoded"),
        ]);
        self.authentication.add_to(&mut headers, &mut form);
        let request = HttpRequest {
            method: "POST",
            scheme: self.endpoint.scheme().to_owned(),
            authority: self.endpoint.authority().to_owned(),
            path: self.endpoint.path(),
            headers,
            body: form.finish().into_bytes(),
        };
        Call {
            cluster: self.cluster.clone(),
            transport: Transport::Http(request),
            timeout: self.timeout,
            wanted: Wanted { headers: &["retry-after"], trailers: &[], body: MOST_BYTES },
            sharing: Sharing::Joined(self.digest()),
            // It is for all callers, and a worker never makes more than one.
            asker: Asker::Known,
        }
    }
}

/// Reads the response (RFC 6749 section 5).
pub(super) fn read(result: &CallResult) -> Result<Granted, ProviderFault> {
    #[derive(Deserialize)]
    struct Grant {
        access_token: String,
        token_type: String,
        expires_in: Option<f64>,
    }

    let response = match result {
        Ok(Response::Http(response)) => response,
        Ok(Response::Grpc(_)) => return Err(ProviderFault::Malformed),
        Err(failure) => return Err((*failure).into()),
    };
    let status = response.status;
    match status {
        200 => {}
        400 | 401 | 403 => return Err(ProviderFault::Rejected { status }),
        _ => {
            let retry_after = response.headers.get("retry-after").and_then(|value| value.trim().parse().ok());
            return Err(ProviderFault::Status { status, retry_after });
        }
    }
    let Body::Whole(body) = &response.body else { return Err(ProviderFault::TooLong) };
    let Grant { access_token, token_type, expires_in } = object(body).ok_or(ProviderFault::Malformed)?;
    let lifetime = match expires_in {
        None => DEFAULT_LIFETIME,
        Some(seconds) => Duration::try_from_secs_f64(seconds).map_err(|_| ProviderFault::Malformed)?,
    };
    if !token_type.eq_ignore_ascii_case("bearer") || !is_visible(&access_token) || lifetime.is_zero() {
        return Err(ProviderFault::Malformed);
    }
    Ok(Granted { token: ProviderSecret::new(access_token), lifetime })
}

#[cfg(test)]
pub(super) mod tests {
    #[cfg(all(target_family = "wasm", target_os = "unknown"))]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;
    use crate::provider::{CallFailure, HttpResponse};

    pub fn endpoint() -> TokenEndpoint {
        TokenEndpoint {
            cluster: "hydra".to_owned(),
            endpoint: Endpoint::parse("http://hydra:4444/oauth2/token").unwrap(),
            authentication: ClientAuthentication::Basic {
                id: "gateway".to_owned(),
                secret: ProviderSecret::new("s3cret"),
            },
            scopes: Vec::new(),
            audience: None,
            timeout: Duration::from_secs(2),
        }
    }

    pub fn response(status: u16, body: &str) -> CallResult {
        let (body, trailers) = (Body::Whole(body.as_bytes().to_vec()), HeaderList::new());
        let headers = HeaderList::from([("retry-after", "7")]);
        Ok(Response::Http(HttpResponse { status, headers, body, trailers }))
    }

    fn asked(endpoint: &TokenEndpoint) -> (Option<String>, String) {
        let Transport::Http(request) = endpoint.call().transport else { panic!("not HTTP") };
        let authorization = request.headers.get("authorization").map(str::to_owned);
        (authorization, String::from_utf8(request.body).unwrap())
    }

    #[test]
    fn the_request_is_a_form_with_what_the_policy_asks_for() {
        assert_eq!(
            asked(&endpoint()),
            (Some("Basic Z2F0ZXdheTpzM2NyZXQ=".to_owned()), "grant_type=client_credentials".to_owned())
        );
        let (id, secret) = ("g w".to_owned(), ProviderSecret::new("a&b"));
        let more = TokenEndpoint {
            authentication: ClientAuthentication::Post { id, secret },
            scopes: vec!["introspect".to_owned(), "a".to_owned()],
            audience: Some("https://hydra".to_owned()),
            ..endpoint()
        };
        assert_eq!(
            asked(&more),
            (
                None,
                "grant_type=client_credentials&scope=introspect+a&audience=https%3A%2F%2Fhydra\
                 &client_id=g+w&client_secret=a%26b"
                    .to_owned()
            )
        );
    }

    #[test]
    fn a_token_lives_as_long_as_the_server_says() {
        for (body, expected) in [
            (r#"{"access_token":"t","token_type":"Bearer","expires_in":60,"scope":"a"}"#, Ok(60_000)),
            (r#"{"access_token":"t","token_type":"bearer","expires_in":1.5}"#, Ok(1_500)),
            (r#"{"access_token":"t","token_type":"bearer"}"#, Ok(300_000)),
            (r#"{"access_token":"t","token_type":"bearer","expires_in":0}"#, Err(ProviderFault::Malformed)),
            (r#"{"access_token":"t","token_type":"bearer","expires_in":-1}"#, Err(ProviderFault::Malformed)),
            (
                r#"{"access_token":"t","token_type":"bearer","expires_in":1e300}"#,
                Err(ProviderFault::Malformed),
            ),
            (
                r#"{"access_token":"t","token_type":"bearer","expires_in":"60"}"#,
                Err(ProviderFault::Malformed),
            ),
            (r#"{"access_token":"t","token_type":"DPoP"}"#, Err(ProviderFault::Malformed)),
            (r#"{"access_token":"a b","token_type":"bearer"}"#, Err(ProviderFault::Malformed)),
            (r#"{"access_token":"","token_type":"bearer"}"#, Err(ProviderFault::Malformed)),
            (r#"{"access_token":"t"}"#, Err(ProviderFault::Malformed)),
            (r#"["t","bearer",60]"#, Err(ProviderFault::Malformed)),
            ("", Err(ProviderFault::Malformed)),
        ] {
            let read = read(&response(200, body)).map(|granted| granted.lifetime.as_millis());
            assert_eq!(read, expected, "{body}");
        }
    }

    #[test]
    fn refusals_and_failures_are_faults() {
        for status in [400, 401, 403] {
            let refused = read(&response(status, r#"{"error":"invalid_client"}"#));
            assert_eq!(refused.err(), Some(ProviderFault::Rejected { status }));
        }
        let busy = ProviderFault::Status { status: 503, retry_after: Some(7) };
        assert_eq!(read(&response(503, "")).err(), Some(busy));
        assert_eq!(read(&Err(CallFailure::TimedOut)).err(), Some(ProviderFault::TimedOut));
    }
}
