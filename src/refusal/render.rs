//! Renders a refusal as a reply: status, headers and body. No other code in Sidegate does.

use std::{borrow::Cow, rc::Rc};

use serde::Serialize;

use super::{Cause, Code, Row, Text};
use crate::{
    headers::HeaderList,
    reply::{GrpcStatus, Reply},
};

/// The form of a reply's body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ErrorFormat {
    /// Kanali's envelope: `{"status", "message", "code", "details"}`.
    #[default]
    Kanali,
    /// Problem details (RFC 9457).
    Problem,
}

/// The settings for all replies of one policy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Style {
    /// The realm in challenges: printable ASCII characters.
    pub realm: String,
    /// URL of the protected resource metadata (RFC 9728 section 5.1), for Bearer challenges.
    pub resource_metadata: Option<String>,
    /// The form of the body.
    pub format: ErrorFormat,
    /// URL of the page about a code; `{code}` is replaced by its two digits.
    pub details: Option<String>,
}

/// Which credentials the rule takes, and therefore which challenges a reply carries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Challenges {
    /// The rule takes API keys or applications.
    pub key: bool,
    /// They may be in `Authorization: Basic`.
    pub basic: bool,
    /// The rule takes access tokens.
    pub token: bool,
}

/// Who gets a reply, as far as it is made for them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recipient<'a> {
    /// The challenges to send.
    pub challenges: Challenges,
    /// The form of the body.
    pub format: ErrorFormat,
    /// What the text speaks of.
    pub wording: Wording,
    /// The names of the limits that refuse the request. Only problem details show them.
    pub violated: Vec<&'a str>,
}

/// What the text of a reply speaks of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Wording {
    /// API keys, as Kanali does.
    #[default]
    OfKeys,
    /// Access tokens.
    OfTokens,
}

/// Everything in the replies of one policy that does not depend on the request, rendered once.
#[derive(Debug)]
pub struct Replies {
    format: ErrorFormat,
    /// The body for each code in Kanali's envelope, in the order of codes.
    envelopes: Vec<(Code, Rc<str>)>,
    /// The same as problem details.
    problems: Vec<(Code, Rc<str>)>,
    /// The envelope for callers with an access token whose limit is reached.
    limit_of_token: Rc<str>,
    /// The page about a limit that is reached, for problem details.
    limit_page: Option<String>,
    /// The challenge for API keys.
    key_challenge: String,
    /// The challenge for keys in `Authorization: Basic`.
    basic_challenge: String,
    /// The challenge for tokens, up to the realm.
    bearer: String,
    /// The part of the challenge for tokens that names the metadata; may be empty.
    resource_metadata: String,
}

impl Replies {
    /// The replies in this style.
    pub fn new(style: &Style) -> Self {
        let realm = quoted(&style.realm);
        let metadata = style.resource_metadata.as_ref();
        let bodies = |format: ErrorFormat| {
            let of_cause = |cause: Cause| (cause.code(), body(&cause.row(), format, style).into());
            Cause::all().into_iter().map(of_cause).collect()
        };
        let limit = Cause::LimitReached { retry_after: None }.row();
        let of_token = Row { message: LIMIT_OF_TOKEN, ..limit };
        Self {
            format: style.format,
            envelopes: bodies(ErrorFormat::Kanali),
            problems: bodies(ErrorFormat::Problem),
            limit_of_token: body(&of_token, ErrorFormat::Kanali, style).into(),
            limit_page: page(&limit, style),
            key_challenge: format!("ApiKey realm={realm}"),
            basic_challenge: format!("Basic realm={realm}, charset=\"UTF-8\""),
            bearer: format!("Bearer realm={realm}"),
            resource_metadata: metadata
                .map(|url| format!(", resource_metadata=\"{url}\""))
                .unwrap_or_default(),
        }
    }

    /// The form of bodies for callers that ask for none.
    pub const fn format(&self) -> ErrorFormat {
        self.format
    }

    fn body(&self, cause: &Cause, recipient: &Recipient<'_>) -> Rc<str> {
        let bodies = match (recipient.format, cause) {
            (ErrorFormat::Kanali, Cause::LimitReached { .. }) if recipient.wording == Wording::OfTokens => {
                return Rc::clone(&self.limit_of_token);
            }
            (ErrorFormat::Problem, Cause::LimitReached { .. }) if !recipient.violated.is_empty() => {
                return self.violations(&cause.row(), &recipient.violated).into();
            }
            (ErrorFormat::Kanali, _) => &self.envelopes,
            (ErrorFormat::Problem, _) => &self.problems,
        };
        let place = bodies.binary_search_by_key(&cause.code(), |(code, _)| *code).ok();
        place.and_then(|place| bodies.get(place)).map(|(_, body)| Rc::clone(body)).unwrap_or_default()
    }

    /// Problem details that name the limits that are reached (draft-ietf-httpapi-ratelimit-headers-10).
    fn violations(&self, row: &Row, violated: &[&str]) -> String {
        let problem = Problem {
            r#type: self.limit_page.as_deref().unwrap_or(QUOTA_EXCEEDED),
            title: row.title,
            status: row.status,
            code: row.code.number(),
            violated_policies: violated,
        };
        serde_json::to_string(&problem).unwrap_or_default()
    }
}

/// The header with the id by which the operator finds the request in logs.
///
/// Envoy copies the headers of such a reply six times. A text of up to 22 bytes is copied without an
/// allocation, and this name has just that many.
pub const CORRELATION: &str = "x-sidegate-correlation";

/// Kanali's message about a limit that is reached, for callers with an access token.
const LIMIT_OF_TOKEN: &str = "The access token you are using has exceeded its rate limit.";

/// The type of a problem that names the limits that are reached.
const QUOTA_EXCEEDED: &str = "https://iana.org/assignments/http-problem-types#quota-exceeded";

/// Renders the reply for `cause`.
///
/// `text` is what the API says in words of its own. `correlation` is the id by which the operator finds the
/// request. `further` are headers to add, such as rate limits.
pub fn render(
    cause: &Cause,
    replies: &Replies,
    recipient: &Recipient<'_>,
    text: Option<&Text>,
    correlation: String,
    further: HeaderList,
) -> Reply {
    let row = cause.row();
    let Recipient { challenges, format, wording, violated: _ } = *recipient;
    let mut headers = HeaderList::with_capacity(10);
    let status = text.and_then(|text| text.status).unwrap_or(row.status);
    match text.and_then(|text| text.content_type.as_ref()) {
        Some(content_type) => headers.push("content-type", content_type.clone()),
        None => headers.push(
            "content-type",
            match format {
                ErrorFormat::Kanali => "application/json",
                ErrorFormat::Problem => "application/problem+json",
            },
        ),
    }
    headers.push("x-sidegate-code", row.code.digits());
    headers.push(CORRELATION, correlation);
    if may_be_cached(status) {
        headers.push("cache-control", "no-store");
    }
    if !challenge(cause, replies, challenges, &mut headers) && status == 401 {
        any_challenge(replies, challenges, &mut headers);
    }
    match cause {
        Cause::MethodNotAllowed { allow } => headers.push("allow", allow.clone()),
        Cause::LimitReached { retry_after: Some(seconds) }
        | Cause::IdentityUnavailable { retry_after: Some(seconds) }
        | Cause::QuotaUnavailable { retry_after: Some(seconds) } => {
            headers.push("retry-after", (*seconds).max(1).to_string());
        }
        _ => {}
    }
    headers.append(further);
    let message = match (format, wording, cause) {
        (ErrorFormat::Kanali, Wording::OfTokens, Cause::LimitReached { .. }) => LIMIT_OF_TOKEN,
        _ => worded(&row, format),
    };
    let grpc = GrpcStatus { code: row.grpc_status, message: Cow::Borrowed(message) };
    let body = text.and_then(|text| text.body.clone()).unwrap_or_else(|| replies.body(cause, recipient));
    Reply { status, grpc, headers, body, details: row.code.details() }
}

/// Whether caches may keep a reply with this status although nothing in it says so (RFC 9110 section 15.1).
const fn may_be_cached(status: u16) -> bool {
    matches!(status, 200 | 203 | 204 | 206 | 300 | 301 | 308 | 404 | 405 | 410 | 414 | 501)
}

const fn worded(row: &Row, format: ErrorFormat) -> &'static str {
    match format {
        ErrorFormat::Kanali => row.message,
        ErrorFormat::Problem => row.title,
    }
}

/// Every 401 carries a challenge (RFC 9110 section 11.6.1). Bearer challenges carry an error code (RFC 6750
/// section 3). Returns whether there is one for this cause.
fn challenge(cause: &Cause, replies: &Replies, challenges: Challenges, headers: &mut HeaderList) -> bool {
    let bearer = |error: &str| [&replies.bearer, error, &replies.resource_metadata].concat();
    let mut push = |challenge: String| headers.push("www-authenticate", challenge);
    match cause {
        Cause::KeyRefused => {
            push(replies.key_challenge.clone());
            if challenges.basic {
                push(replies.basic_challenge.clone());
            }
        }
        Cause::Malformed if challenges.token => push(bearer(", error=\"invalid_request\"")),
        Cause::TokenMissing => {
            push(bearer(""));
            if challenges.key {
                push(replies.key_challenge.clone());
            }
            if challenges.basic {
                push(replies.basic_challenge.clone());
            }
        }
        Cause::TokenInvalid => push(bearer(", error=\"invalid_token\"")),
        Cause::ScopeMissing { required } => {
            let scope = match required.as_str() {
                "" => String::new(),
                required => format!(", scope=\"{required}\""),
            };
            push(bearer(&format!(", error=\"insufficient_scope\"{scope}")));
        }
        _ => return false,
    }
    true
}

/// The challenges of a 401 that is one only in the API's own words.
fn any_challenge(replies: &Replies, challenges: Challenges, headers: &mut HeaderList) {
    let mut push = |challenge: String| headers.push("www-authenticate", challenge);
    if challenges.token {
        push([replies.bearer.as_str(), &replies.resource_metadata].concat());
    }
    if challenges.key || !challenges.token {
        push(replies.key_challenge.clone());
    }
    if challenges.basic {
        push(replies.basic_challenge.clone());
    }
}

/// A `quoted-string` of RFC 9110 section 5.6.4.
fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len().saturating_add(2));
    quoted.push('"');
    for c in text.chars() {
        if matches!(c, '"' | '\\') {
            quoted.push('\\');
        }
        quoted.push(c);
    }
    quoted.push('"');
    quoted
}

/// RFC 9457 section 3.1, with Sidegate's code as an extension member.
#[derive(Serialize)]
struct Problem<'a> {
    r#type: &'a str,
    title: &'a str,
    status: u16,
    code: u8,
    #[serde(rename = "violated-policies", skip_serializing_if = "<[_]>::is_empty")]
    violated_policies: &'a [&'a str],
}

/// The page about a code.
fn page(row: &Row, style: &Style) -> Option<String> {
    style.details.as_ref().map(|url| url.replace("{code}", row.code.digits()))
}

fn body(row: &Row, format: ErrorFormat, style: &Style) -> String {
    #[derive(Serialize)]
    struct Envelope<'a> {
        status: u16,
        message: &'a str,
        code: u8,
        details: String,
    }

    let page = page(row, style);
    let body = match format {
        ErrorFormat::Kanali => serde_json::to_string(&Envelope {
            status: row.status,
            message: worded(row, format),
            code: row.code.number(),
            details: match page {
                Some(url) => format!("Visit {url} for more details."),
                None => format!("This is Sidegate's error {}.", row.code.digits()),
            },
        }),
        ErrorFormat::Problem => serde_json::to_string(&Problem {
            r#type: page.as_deref().unwrap_or("about:blank"),
            title: worded(row, format),
            status: row.status,
            code: row.code.number(),
            violated_policies: &[],
        }),
    };
    body.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    #[cfg(all(target_family = "wasm", target_os = "unknown"))]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    const BOTH: Challenges = Challenges { key: true, basic: false, token: true };

    fn style() -> Style {
        Style {
            realm: "api.example.com".to_owned(),
            details: Some("https://docs.example.com/errors#{code}".to_owned()),
            ..Style::default()
        }
    }

    /// The reply to somebody with an API key who asks for no form.
    fn render(
        cause: &Cause,
        replies: &Replies,
        challenges: Challenges,
        text: Option<&Text>,
        correlation: &str,
        further: HeaderList,
    ) -> Reply {
        let recipient = Recipient { challenges, format: replies.format(), ..Recipient::default() };
        super::render(cause, replies, &recipient, text, correlation.to_owned(), further)
    }

    fn headers<'a>(reply: &'a Reply, name: &str) -> Vec<&'a str> {
        reply.headers.iter().filter(|(header, _)| *header == name).map(|(_, value)| value).collect()
    }

    #[test]
    fn the_body_is_kanalis_envelope() {
        let reply = render(
            &Cause::LimitReached { retry_after: Some(7) },
            &Replies::new(&style()),
            BOTH,
            None,
            "id",
            HeaderList::new(),
        );
        assert_eq!(
            &*reply.body,
            r#"{"status":429,"message":"The Api key you are using has exceeded its rate limit.","code":14,"details":"Visit https://docs.example.com/errors#14 for more details."}"#
        );
        assert_eq!((reply.status, reply.grpc.code), (429, 8));
    }

    #[test]
    fn what_caches_would_keep_by_themselves_must_not_be_stored() {
        let replies = Replies::new(&style());
        for (cause, status, stored) in [
            (Cause::NoRoute, None, false),
            (Cause::MethodNotAllowed { allow: "GET".to_owned() }, None, false),
            (Cause::KeyRefused, None, true),
            (Cause::LimitReached { retry_after: None }, None, true),
            (Cause::NoRoute, Some(403), true),
            (Cause::KeyRefused, Some(404), false),
        ] {
            let text = Text::new(status, None, None);
            let reply = render(&cause, &replies, Challenges::default(), Some(&text), "id", HeaderList::new());
            let expected: &[&str] = if stored { &[] } else { &["no-store"] };
            assert_eq!(headers(&reply, "cache-control"), expected, "{cause:?} as {status:?}");
        }
    }

    #[test]
    fn an_api_may_say_it_in_words_of_its_own() {
        let text = |status, content_type: Option<&str>, body: Option<&str>| {
            Text::new(status, content_type.map(str::to_owned), body.map(str::to_owned))
        };
        let limit = Cause::LimitReached { retry_after: Some(7) };
        let key = Challenges { token: false, ..BOTH };
        let apikey = "ApiKey realm=\"api.example.com\"";
        let challenged: &[&str] = &[apikey];
        for (cause, text, status, content_type, body, challenges) in [
            (
                &limit,
                text(Some(403), None, Some("slow down")),
                403,
                "text/plain; charset=utf-8",
                "slow down",
                &[][..],
            ),
            (&limit, text(None, Some("text/html"), Some("<p>")), 429, "text/html", "<p>", &[]),
            (
                &Cause::KeyMissing,
                text(Some(401), None, Some("")),
                401,
                "text/plain; charset=utf-8",
                "",
                challenged,
            ),
            (
                &Cause::KeyRefused,
                text(Some(403), None, Some("no")),
                403,
                "text/plain; charset=utf-8",
                "no",
                challenged,
            ),
            (
                &Cause::NoRoute,
                text(Some(401), None, Some("no")),
                401,
                "text/plain; charset=utf-8",
                "no",
                challenged,
            ),
        ] {
            let replies = Replies::new(&style());
            let plain = render(cause, &replies, key, None, "id", HeaderList::from([("x-further", "f")]));
            let reply =
                render(cause, &replies, key, Some(&text), "id", HeaderList::from([("x-further", "f")]));
            assert_eq!((reply.status, &*reply.body), (status, body), "{cause:?}");
            assert_eq!(headers(&reply, "content-type"), [content_type]);
            assert_eq!(headers(&reply, "www-authenticate"), challenges, "{cause:?}");
            for name in ["x-sidegate-code", "x-sidegate-correlation", "retry-after", "x-further"] {
                assert_eq!(headers(&reply, name), headers(&plain, name));
            }
            assert_eq!(reply.grpc, plain.grpc);
        }
        let only_status = text(Some(404), None, None);
        let reply = render(
            &Cause::Forbidden,
            &Replies::new(&style()),
            key,
            Some(&only_status),
            "id",
            HeaderList::new(),
        );
        assert_eq!((reply.status, headers(&reply, "content-type")), (404, vec!["application/json"]));
    }

    #[test]
    fn the_body_is_problem_details_if_configured() {
        let style = Style { format: ErrorFormat::Problem, ..style() };
        let reply = render(&Cause::NoRoute, &Replies::new(&style), BOTH, None, "id", HeaderList::new());
        assert_eq!(
            &*reply.body,
            r#"{"type":"https://docs.example.com/errors#00","title":"No API matches the request.","status":404,"code":0}"#
        );
        assert_eq!(headers(&reply, "content-type"), ["application/problem+json"]);
    }

    #[test]
    fn every_reply_carries_code_and_correlation_id() {
        for cause in Cause::all() {
            let reply = render(
                &cause,
                &Replies::new(&style()),
                BOTH,
                None,
                "id-1",
                HeaderList::from([("x-further", "f")]),
            );
            assert_eq!(headers(&reply, "x-sidegate-code"), [cause.code().digits()]);
            assert_eq!(headers(&reply, "x-sidegate-correlation"), ["id-1"]);
            assert_eq!(headers(&reply, "x-further"), ["f"]);
            assert_eq!(reply.status, cause.row().status);
            let body: serde_json::Value = serde_json::from_str(&reply.body).unwrap();
            assert_eq!(body["code"], cause.code().number());
        }
    }

    #[test]
    fn every_401_carries_a_challenge() {
        for cause in Cause::all() {
            for challenges in [
                Challenges::default(),
                BOTH,
                Challenges { key: true, basic: false, token: false },
                Challenges { key: false, basic: false, token: true },
            ] {
                let reply = render(&cause, &Replies::new(&style()), challenges, None, "", HeaderList::new());
                assert!(
                    reply.status != 401 || !headers(&reply, "www-authenticate").is_empty(),
                    "{cause:?} {challenges:?}"
                );
            }
        }
    }

    #[test]
    fn challenges_follow_rfc_6750() {
        let cases: &[(Cause, Challenges, &[&str])] = &[
            (Cause::KeyRefused, BOTH, &["ApiKey realm=\"api.example.com\""]),
            (
                Cause::KeyRefused,
                Challenges { basic: true, ..BOTH },
                &["ApiKey realm=\"api.example.com\"", "Basic realm=\"api.example.com\", charset=\"UTF-8\""],
            ),
            (
                Cause::TokenMissing,
                BOTH,
                &["Bearer realm=\"api.example.com\"", "ApiKey realm=\"api.example.com\""],
            ),
            (
                Cause::TokenMissing,
                Challenges { key: false, basic: false, token: true },
                &["Bearer realm=\"api.example.com\""],
            ),
            (Cause::TokenInvalid, BOTH, &["Bearer realm=\"api.example.com\", error=\"invalid_token\""]),
            (
                Cause::ScopeMissing { required: "a b".to_owned() },
                BOTH,
                &["Bearer realm=\"api.example.com\", error=\"insufficient_scope\", scope=\"a b\""],
            ),
            (Cause::Malformed, BOTH, &["Bearer realm=\"api.example.com\", error=\"invalid_request\""]),
            (Cause::Malformed, Challenges { key: true, basic: false, token: false }, &[]),
            (Cause::KeyMissing, BOTH, &[]),
        ];
        for (cause, challenges, expected) in cases {
            assert_eq!(
                headers(
                    &render(cause, &Replies::new(&style()), *challenges, None, "", HeaderList::new()),
                    "www-authenticate"
                ),
                *expected
            );
        }
    }

    #[test]
    fn a_bearer_challenge_names_the_resource_metadata() {
        let style = Style { resource_metadata: Some("https://a/.well-known/x".to_owned()), ..style() };
        let reply = render(&Cause::TokenMissing, &Replies::new(&style), BOTH, None, "", HeaderList::new());
        assert_eq!(
            headers(&reply, "www-authenticate").first(),
            Some(&"Bearer realm=\"api.example.com\", resource_metadata=\"https://a/.well-known/x\"")
        );
    }

    #[test]
    fn retry_after_is_at_least_one_and_absent_if_unknown() {
        for (cause, expected) in [
            (Cause::LimitReached { retry_after: Some(0) }, vec!["1"]),
            (Cause::LimitReached { retry_after: None }, vec![]),
            (Cause::IdentityUnavailable { retry_after: Some(5) }, vec!["5"]),
            (Cause::QuotaUnavailable { retry_after: Some(9) }, vec!["9"]),
            (Cause::IdentityUnavailable { retry_after: None }, vec![]),
        ] {
            assert_eq!(
                headers(
                    &render(&cause, &Replies::new(&style()), BOTH, None, "", HeaderList::new()),
                    "retry-after"
                ),
                expected
            );
        }
    }

    #[test]
    fn a_405_names_the_methods() {
        let cause = Cause::MethodNotAllowed { allow: "GET, HEAD".to_owned() };
        assert_eq!(
            headers(&render(&cause, &Replies::new(&style()), BOTH, None, "", HeaderList::new()), "allow"),
            ["GET, HEAD"]
        );
    }

    #[test]
    fn quotes_and_backslashes_in_the_realm_are_escaped() {
        let style = Style { realm: r#"the "gate" \ x"#.to_owned(), ..style() };
        let reply = render(&Cause::KeyRefused, &Replies::new(&style), BOTH, None, "", HeaderList::new());
        assert_eq!(headers(&reply, "www-authenticate"), [r#"ApiKey realm="the \"gate\" \\ x""#]);
    }

    #[test]
    fn the_caller_may_ask_for_problem_details() {
        let limit = Cause::LimitReached { retry_after: Some(7) };
        let problem = Recipient { format: ErrorFormat::Problem, ..Recipient::default() };
        let render = |cause: &Cause, style: &Style, recipient: &Recipient<'_>| {
            super::render(cause, &Replies::new(style), recipient, None, "id".to_owned(), HeaderList::new())
        };
        let reply = render(&Cause::NoRoute, &style(), &problem);
        assert_eq!(headers(&reply, "content-type"), ["application/problem+json"]);
        assert!(reply.body.contains("No API matches the request."), "{}", reply.body);
        let problem = Recipient { violated: vec!["hits-day", "api-hits-hour"], ..problem };
        assert_eq!(
            &*render(&limit, &Style::default(), &problem).body,
            r#"{"type":"https://iana.org/assignments/http-problem-types#quota-exceeded","title":"A rate limit is exceeded.","status":429,"code":14,"violated-policies":["hits-day","api-hits-hour"]}"#
        );
        let page = r#"{"type":"https://docs.example.com/errors#14","#;
        assert!(render(&limit, &style(), &problem).body.starts_with(page));
        let other = render(&Cause::Forbidden, &style(), &problem);
        assert!(!other.body.contains("violated"), "{}", other.body);
    }

    #[test]
    fn a_caller_with_a_token_does_not_read_about_keys() {
        let limit = Cause::LimitReached { retry_after: Some(7) };
        let token = Recipient { wording: Wording::OfTokens, ..Recipient::default() };
        let reply =
            super::render(&limit, &Replies::new(&style()), &token, None, "id".to_owned(), HeaderList::new());
        let message = "The access token you are using has exceeded its rate limit.";
        assert!(reply.body.contains(message) && reply.body.contains("\"code\":14"), "{}", reply.body);
        assert_eq!(reply.grpc.message, message);
        let problem = Recipient { format: ErrorFormat::Problem, ..token };
        let reply = super::render(
            &limit,
            &Replies::new(&style()),
            &problem,
            None,
            "id".to_owned(),
            HeaderList::new(),
        );
        assert_eq!(reply.grpc.message, "A rate limit is exceeded.");
    }
}
