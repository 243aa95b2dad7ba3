//! Makes a reply of a refusal: status, headers and body. Nothing else in Sidegate writes one.

use serde::Serialize;

use super::{Refusal, Row};

/// The form of a reply's body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ErrorFormat {
    /// Kanali's envelope: `{"status", "message", "code", "details"}`.
    #[default]
    Kanali,
    /// Problem details (RFC 9457).
    Problem,
}

/// What holds for every reply of one policy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Style {
    /// The realm in challenges; already free of quotes and control characters.
    pub realm: String,
    /// URL of the protected resource metadata (RFC 9728 section 5.1), for Bearer challenges.
    pub resource_metadata: Option<String>,
    /// The form of the body.
    pub format: ErrorFormat,
    /// URL of the page on a code; `{code}` stands for its two digits.
    pub details: Option<String>,
}

/// Which credentials the rule takes: they decide which challenges are due.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ways {
    /// It takes API keys.
    pub key: bool,
    /// It takes access tokens.
    pub token: bool,
}

/// A reply, ready to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// HTTP status.
    pub status: u16,
    /// Status and message for a gRPC request.
    pub grpc: (u8, &'static str),
    /// Headers, lower-case names.
    pub headers: Vec<(&'static str, String)>,
    /// The body.
    pub body: String,
}

/// Makes the reply that `refusal` deserves.
///
/// `correlation` is what the operator finds the request by; `further` are headers that the decision adds, such as rate limits.
pub fn render(
    refusal: &Refusal,
    style: &Style,
    ways: Ways,
    correlation: &str,
    further: Vec<(&'static str, String)>,
) -> Reply {
    let row = refusal.row();
    let mut headers = Vec::with_capacity(further.len().saturating_add(6));
    headers.push((
        "content-type",
        match style.format {
            ErrorFormat::Kanali => "application/json".to_owned(),
            ErrorFormat::Problem => "application/problem+json".to_owned(),
        },
    ));
    headers.push(("x-sidegate-code", row.digits.to_owned()));
    headers.push(("x-sidegate-correlation-id", correlation.to_owned()));
    headers.push(("cache-control", "no-store".to_owned()));
    challenges(refusal, style, ways, &mut headers);
    match refusal {
        Refusal::MethodNotAllowed { allow } => headers.push(("allow", allow.clone())),
        Refusal::LimitReached { retry_after: Some(seconds) }
        | Refusal::IdentityUnavailable { retry_after: Some(seconds) }
        | Refusal::QuotaUnavailable { retry_after: Some(seconds) } => {
            headers.push(("retry-after", (*seconds).max(1).to_string()));
        }
        _ => {}
    }
    headers.extend(further);
    Reply { status: row.status, grpc: (row.grpc_status, row.message), headers, body: body(&row, style) }
}

/// RFC 9110 section 11.6.1: no 401 goes without a challenge. RFC 6750 section 3: which error code a Bearer challenge carries.
fn challenges(refusal: &Refusal, style: &Style, ways: Ways, headers: &mut Vec<(&'static str, String)>) {
    let bearer = |error: &str| {
        let mut challenge = format!("Bearer realm=\"{}\"{error}", style.realm);
        if let Some(url) = &style.resource_metadata {
            challenge.push_str(", resource_metadata=\"");
            challenge.push_str(url);
            challenge.push('"');
        }
        ("www-authenticate", challenge)
    };
    let api_key = || ("www-authenticate", format!("ApiKey realm=\"{}\"", style.realm));
    match refusal {
        Refusal::KeyRefused => headers.push(api_key()),
        Refusal::Malformed if ways.token => headers.push(bearer(", error=\"invalid_request\"")),
        Refusal::TokenMissing => {
            headers.push(bearer(""));
            if ways.key {
                headers.push(api_key());
            }
        }
        Refusal::TokenInvalid => headers.push(bearer(", error=\"invalid_token\"")),
        Refusal::ScopeMissing { required } => {
            headers.push(bearer(&format!(", error=\"insufficient_scope\", scope=\"{required}\"")));
        }
        _ => {}
    }
}

fn body(row: &Row, style: &Style) -> String {
    #[derive(Serialize)]
    struct Envelope<'a> {
        status: u16,
        message: &'a str,
        code: u8,
        details: String,
    }

    /// RFC 9457 section 3.1, with Sidegate's code as an extension member.
    #[derive(Serialize)]
    struct Problem<'a> {
        r#type: &'a str,
        title: &'a str,
        status: u16,
        code: u8,
    }

    let page = style.details.as_ref().map(|url| url.replace("{code}", row.digits));
    let body = match style.format {
        ErrorFormat::Kanali => serde_json::to_string(&Envelope {
            status: row.status,
            message: row.message,
            code: row.code,
            details: match page {
                Some(url) => format!("Visit {url} for more details."),
                None => format!("This is Sidegate's error {}.", row.digits),
            },
        }),
        ErrorFormat::Problem => serde_json::to_string(&Problem {
            r#type: page.as_deref().unwrap_or("about:blank"),
            title: row.message,
            status: row.status,
            code: row.code,
        }),
    };
    body.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(all(target_family = "wasm", target_os = "unknown"))]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    const BOTH: Ways = Ways { key: true, token: true };

    fn style() -> Style {
        Style {
            realm: "api.example.com".to_owned(),
            details: Some("https://docs.example.com/errors#{code}".to_owned()),
            ..Style::default()
        }
    }

    fn headers<'a>(reply: &'a Reply, name: &str) -> Vec<&'a str> {
        reply.headers.iter().filter(|(header, _)| *header == name).map(|(_, value)| value.as_str()).collect()
    }

    #[test]
    fn the_body_is_kanalis_envelope() {
        let reply = render(&Refusal::LimitReached { retry_after: Some(7) }, &style(), BOTH, "id", Vec::new());
        assert_eq!(
            reply.body,
            r#"{"status":429,"message":"The Api key you are using has exceeded its rate limit.","code":14,"details":"Visit https://docs.example.com/errors#14 for more details."}"#
        );
        assert_eq!((reply.status, reply.grpc.0), (429, 8));
    }

    #[test]
    fn the_body_is_problem_details_where_asked_for() {
        let style = Style { format: ErrorFormat::Problem, ..style() };
        let reply = render(&Refusal::NoRoute, &style, BOTH, "id", Vec::new());
        assert_eq!(
            reply.body,
            r#"{"type":"https://docs.example.com/errors#00","title":"No ApiProxy resource was not found that matches the request.","status":404,"code":0}"#
        );
        assert_eq!(headers(&reply, "content-type"), ["application/problem+json"]);
    }

    #[test]
    fn every_reply_carries_code_and_correlation_id() {
        for refusal in Refusal::all() {
            let reply = render(&refusal, &style(), BOTH, "id-1", vec![("x-further", "f".to_owned())]);
            assert_eq!(headers(&reply, "x-sidegate-code"), [refusal.row().digits]);
            assert_eq!(headers(&reply, "x-sidegate-correlation-id"), ["id-1"]);
            assert_eq!(headers(&reply, "x-further"), ["f"]);
            assert_eq!(reply.status, refusal.row().status);
        }
    }

    #[test]
    fn no_401_goes_without_a_challenge() {
        for refusal in Refusal::all() {
            for ways in
                [Ways::default(), BOTH, Ways { key: true, token: false }, Ways { key: false, token: true }]
            {
                let reply = render(&refusal, &style(), ways, "", Vec::new());
                assert!(
                    reply.status != 401 || !headers(&reply, "www-authenticate").is_empty(),
                    "{refusal:?} {ways:?}"
                );
            }
        }
    }

    #[test]
    fn challenges_follow_rfc_6750() {
        let cases: &[(Refusal, Ways, &[&str])] = &[
            (Refusal::KeyRefused, BOTH, &["ApiKey realm=\"api.example.com\""]),
            (
                Refusal::TokenMissing,
                BOTH,
                &["Bearer realm=\"api.example.com\"", "ApiKey realm=\"api.example.com\""],
            ),
            (Refusal::TokenMissing, Ways { key: false, token: true }, &["Bearer realm=\"api.example.com\""]),
            (Refusal::TokenInvalid, BOTH, &["Bearer realm=\"api.example.com\", error=\"invalid_token\""]),
            (
                Refusal::ScopeMissing { required: "a b".to_owned() },
                BOTH,
                &["Bearer realm=\"api.example.com\", error=\"insufficient_scope\", scope=\"a b\""],
            ),
            (Refusal::Malformed, BOTH, &["Bearer realm=\"api.example.com\", error=\"invalid_request\""]),
            (Refusal::Malformed, Ways { key: true, token: false }, &[]),
            (Refusal::KeyMissing, BOTH, &[]),
        ];
        for (refusal, ways, expected) in cases {
            assert_eq!(
                headers(&render(refusal, &style(), *ways, "", Vec::new()), "www-authenticate"),
                *expected
            );
        }
    }

    #[test]
    fn a_bearer_challenge_names_the_resource_metadata() {
        let style = Style { resource_metadata: Some("https://a/.well-known/x".to_owned()), ..style() };
        let reply = render(&Refusal::TokenMissing, &style, BOTH, "", Vec::new());
        assert_eq!(
            headers(&reply, "www-authenticate").first(),
            Some(&"Bearer realm=\"api.example.com\", resource_metadata=\"https://a/.well-known/x\"")
        );
    }

    #[test]
    fn retry_after_is_at_least_one_and_absent_where_unknown() {
        for (refusal, expected) in [
            (Refusal::LimitReached { retry_after: Some(0) }, vec!["1"]),
            (Refusal::LimitReached { retry_after: None }, vec![]),
            (Refusal::IdentityUnavailable { retry_after: Some(5) }, vec!["5"]),
            (Refusal::QuotaUnavailable { retry_after: Some(9) }, vec!["9"]),
            (Refusal::IdentityUnavailable { retry_after: None }, vec![]),
        ] {
            assert_eq!(headers(&render(&refusal, &style(), BOTH, "", Vec::new()), "retry-after"), expected);
        }
    }

    #[test]
    fn a_405_names_the_methods() {
        let refusal = Refusal::MethodNotAllowed { allow: "GET, HEAD".to_owned() };
        assert_eq!(headers(&render(&refusal, &style(), BOTH, "", Vec::new()), "allow"), ["GET, HEAD"]);
    }
}
