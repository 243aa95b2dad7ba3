//! A request as the gate sees it: its header map, and the fields that are read from it in one pass.

use std::{borrow::Cow, collections::BTreeSet};

use super::Surroundings;
use crate::{
    credential::{Digest, has_more_cookies_than},
    grammar::each,
    headers::HeaderMap,
    identity::forwarded_certificate,
    matching::{self, RequestPath, Target},
    policy::{Api, CertificateSource, Policy},
    query::Query,
    refusal::{Cause, ErrorFormat, Reason, Refusal},
    reply::Protocol,
};

/// The most header lines of a request, pseudo-headers included. Envoy itself lets 100 through by default.
const MOST_HEADERS: usize = 1_000;

/// The most header lines that a caller may send and only Sidegate may set. Each has to be removed.
const MOST_RESERVED: usize = 32;

/// The most parameters of a query, or cookies, where the policy reads them.
const MOST_PARAMETERS: usize = 1_000;

/// A request. The gate owns it until it ends.
pub struct Request {
    headers: HeaderMap,
    surroundings: Box<dyn Surroundings>,
    stream: u32,
}

/// The fields that the gate reads from the header map.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Head<'a> {
    pub method: Option<&'a [u8]>,
    pub path: Option<&'a [u8]>,
    pub authority: Option<&'a [u8]>,
    pub request_id: Option<&'a [u8]>,
    pub debug_secret: Option<&'a [u8]>,
    pub accept: Accept<'a>,
    pub protocol: Protocol,
    /// The method that a CORS preflight asks about (Fetch standard, section 3.2.2); `None` for other
    /// requests.
    pub preflight_for: Option<&'a str>,
}

/// What a request says about the types of content that its caller accepts.
#[derive(Clone, Copy, Debug, Default)]
pub(super) enum Accept<'a> {
    /// Nothing.
    #[default]
    Unsaid,
    /// This line.
    Line(&'a [u8]),
    /// Several lines. Few requests have them, so they are looked for where they are needed.
    Lines,
}

/// The method, host and path of a request.
pub(super) struct RequestLine<'a> {
    pub method: &'a str,
    /// `None` if the request names no host.
    pub host: Option<Cow<'a, str>>,
    /// `None` for `OPTIONS *`.
    pub path: Option<RequestPath<'a>>,
    pub query: Query<'a>,
    pub preflight_for: Option<&'a str>,
    /// The names of headers that only Sidegate may set.
    pub reserved: BTreeSet<&'a [u8]>,
}

impl Request {
    /// A request with these header fields.
    ///
    /// `surroundings` answers questions about the caller; if only its address is known, a function will do.
    /// `stream` is the number of the stream in its worker. It is used to name a request without
    /// an id in logs.
    pub fn new(headers: HeaderMap, surroundings: impl Surroundings + 'static, stream: u32) -> Self {
        Self { headers, surroundings: Box::new(surroundings), stream }
    }

    /// The header map.
    pub const fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// The caller's network address, without port.
    pub(super) fn address(&self) -> Option<String> {
        self.surroundings.address()
    }

    /// What earlier filters attached to the request.
    pub(super) fn metadata(&self) -> Option<Vec<u8>> {
        self.surroundings.metadata()
    }

    /// The client certificate that the caller presented, as far as the policy trusts what is said about it.
    pub(super) fn certificate(&self, source: CertificateSource) -> Option<Digest> {
        match source {
            CertificateSource::Connection => Digest::from_hex(&self.surroundings.certificate()?).ok(),
            CertificateSource::Xfcc => forwarded_certificate(&self.headers),
        }
    }

    /// The stream's number in its worker.
    pub(super) const fn stream(&self) -> u32 {
        self.stream
    }

    /// Fails if the API reads queries or cookies, and the request has too many parameters or cookies.
    pub(super) fn check_parameters(&self, api: &Api, query: &Query<'_>) -> Result<(), Refusal> {
        let reads_query = api.locations.reads_query() || api.metering.reads_query();
        if reads_query && query.has_more_than(MOST_PARAMETERS) {
            return Err(Cause::Malformed.because("too many parameters in the query"));
        }
        if api.locations.reads_cookies() && has_more_cookies_than(&self.headers, MOST_PARAMETERS) {
            return Err(Cause::Malformed.because("too many cookies"));
        }
        Ok(())
    }

    /// Reads the header map, in one pass. Also returns the names of the headers that the caller sent and only
    /// Sidegate may set, or that there are too many headers, or too many of these.
    pub(super) fn head(&self, policy: &Policy) -> (Head<'_>, Result<BTreeSet<&[u8]>, Refusal>) {
        let mut names = BTreeSet::new();
        let mut lines = 0_usize;
        let head = Head::read(&self.headers, |name| {
            if policy.reserved_headers.contain(name) {
                names.insert(name);
                lines = lines.saturating_add(1);
            }
        });
        let reserved = if self.headers.len() > MOST_HEADERS {
            Err(Cause::Malformed.because("too many headers"))
        } else if lines > MOST_RESERVED {
            Err(Cause::Malformed.because("too many headers that only Sidegate may set"))
        } else {
            Ok(names)
        };
        (head, reserved)
    }

    /// The form of a refusal's body that the request asks for.
    pub(super) fn asked_format(&self, accept: Accept<'_>) -> Option<ErrorFormat> {
        match accept {
            Accept::Unsaid => None,
            Accept::Line(line) if line.len() < PROBLEM.len() => None,
            Accept::Line(line) => asked_format([line].into_iter()),
            Accept::Lines => asked_format(self.headers.values("accept")),
        }
    }
}

impl<'a> Head<'a> {
    /// Reads the fields, and passes each name to `look`.
    fn read(headers: &'a HeaderMap, mut look: impl FnMut(&'a [u8])) -> Self {
        let mut head = Self::default();
        let mut origin = None;
        let mut asked_method = None;
        for (name, value) in headers.iter() {
            look(name);
            match name {
                b":method" => head.method = Some(value),
                b":path" => head.path = Some(value),
                b":authority" => head.authority = Some(value),
                b"content-type" => head.protocol = protocol(value),
                b"accept" => {
                    head.accept = match head.accept {
                        Accept::Unsaid => Accept::Line(value),
                        Accept::Line(_) | Accept::Lines => Accept::Lines,
                    };
                }
                b"origin" => origin = Some(value),
                b"access-control-request-method" => asked_method = Some(value),
                b"x-request-id" => head.request_id = Some(value),
                b"x-sidegate-debug" => head.debug_secret = Some(value),
                _ => {}
            }
        }
        if head.method == Some(b"OPTIONS") && origin.is_some() {
            head.preflight_for = asked_method.and_then(|method| str::from_utf8(method).ok());
        }
        head
    }

    /// The method, host and path, if they are valid HTTP and not too long. The path is normalised here, once.
    pub(super) fn line(
        &self,
        policy: &Policy,
        reserved: BTreeSet<&'a [u8]>,
    ) -> Result<RequestLine<'a>, Refusal> {
        let text = |bytes: Option<&'a [u8]>| str::from_utf8(bytes.unwrap_or_default());
        let (Ok(method), Ok(authority), Ok(target)) =
            (text(self.method), text(self.authority), text(self.path))
        else {
            return Err(Cause::Malformed.because("method, host or path is not UTF-8"));
        };
        let host = matching::host_of(authority)
            .map_err(|malformed| Cause::Malformed.because(Reason::of(&malformed)))?;
        let path = match matching::normalise_within(target, policy.max_path_length) {
            Ok(Target::Path(path)) => Some(path),
            Ok(Target::Asterisk) => None,
            Err(malformed) => return Err(Cause::Malformed.because(Reason::of(&malformed))),
        };
        let query = Query::new(path.as_ref().and_then(RequestPath::query));
        Ok(RequestLine { method, host, path, query, preflight_for: self.preflight_for, reserved })
    }

    /// The request's own id, if it is safe in a log line and in a header.
    pub(super) fn own_id(&self) -> Option<&'a str> {
        let is_plain = |id: &&str| {
            (1..=128).contains(&id.len())
                && each(id.as_bytes(), |byte| byte.is_ascii_graphic() & (byte != b'"'))
        };
        self.request_id.and_then(|id| str::from_utf8(id).ok()).filter(is_plain)
    }
}

/// The type of problem details (RFC 9457).
const PROBLEM: &str = "application/problem+json";

/// Problem details if these lines name them, and do not prefer JSON to them (RFC 9110 section 12.5.1).
fn asked_format<'a>(accept: impl Iterator<Item = &'a [u8]>) -> Option<ErrorFormat> {
    let (mut problem, mut json) = (0, 0);
    let lines = accept.filter_map(|line| str::from_utf8(line).ok());
    for range in lines.flat_map(|line| line.split(',')) {
        let mut parts = range.split(';').map(str::trim);
        let weight = match parts.next() {
            Some(name) if name.eq_ignore_ascii_case(PROBLEM) => &mut problem,
            Some(name) if name.eq_ignore_ascii_case("application/json") => &mut json,
            _ => continue,
        };
        let given = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
        *weight = given.map_or(1_000, thousandths);
    }
    (problem > 0 && problem >= json).then_some(ErrorFormat::Problem)
}

/// A weight such as `0.5`, in thousandths; 0 if it is invalid.
fn thousandths(weight: &str) -> u32 {
    let (whole, part) = weight.split_once('.').unwrap_or((weight, ""));
    let digits = whole.chars().chain(part.chars().chain(std::iter::repeat('0')).take(3));
    let mut digits = digits.map(|digit| digit.to_digit(10));
    let number = digits.try_fold(0_u32, |sum, digit| Some(sum.saturating_mul(10).saturating_add(digit?)));
    number.unwrap_or(0)
}

/// gRPC is `application/grpc`, optionally followed by `+…` or `;…`, and likewise `application/grpc-web` and
/// `application/grpc-web-text`.
fn protocol(content_type: &[u8]) -> Protocol {
    let Some(rest) = content_type.strip_prefix(b"application/grpc") else { return Protocol::Http };
    let (protocol, rest) = match rest.strip_prefix(b"-web") {
        None => (Protocol::Grpc, rest),
        Some(rest) => match rest.strip_prefix(b"-text") {
            None => (Protocol::GrpcWeb, rest),
            Some(rest) => (Protocol::GrpcWebText, rest),
        },
    };
    if matches!(rest.first(), None | Some(b'+' | b';')) { protocol } else { Protocol::Http }
}

#[cfg(test)]
mod tests {
    #[cfg(all(target_family = "wasm", target_os = "unknown"))]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), value.as_bytes().to_vec());
        HeaderMap::from(pairs.iter().map(owned).collect::<Vec<_>>())
    }

    #[test]
    fn a_preflight_is_options_with_an_origin_and_a_requested_method() {
        let asked = ("access-control-request-method", "PUT");
        let origin = ("origin", "https://a");
        for (pairs, expected) in [
            (vec![(":method", "OPTIONS"), origin, asked], Some("PUT")),
            (vec![(":method", "OPTIONS"), asked], None),
            (vec![(":method", "OPTIONS"), origin], None),
            (vec![(":method", "GET"), origin, asked], None),
        ] {
            assert_eq!(Head::read(&headers(&pairs), |_| {}).preflight_for, expected);
        }
    }

    #[test]
    fn problem_details_are_asked_for_by_name() {
        let asked = |accept: &[&str]| {
            let pairs: Vec<_> = accept.iter().map(|value| ("accept", *value)).collect();
            let request = Request::new(headers(&pairs), || None, 0);
            request.asked_format(Head::read(request.headers(), |_| {}).accept).is_some()
        };
        for accept in [
            &["application/problem+json"][..],
            &["text/html", "Application/Problem+JSON; q=0.5"],
            &["application/json;q=0.1, application/problem+json;q=0.1"],
            &["application/json, application/problem+json, */*;q=0.1"],
        ] {
            assert!(asked(accept), "{accept:?}");
        }
        for accept in [
            &[][..],
            &["*/*"],
            &["application/*"],
            &["application/json"],
            &["application/problem+json;q=0"],
            &["application/problem+json;q=0.2, application/json;q=0.3"],
            &["application/problem+json;q=0.2", "application/json;q=0.3"],
            &["application/problem+json;q=x"],
            &["application/problem+xml"],
        ] {
            assert!(!asked(accept), "{accept:?}");
        }
    }

    #[test]
    fn grpc_is_recognised_by_the_content_type() {
        for (value, expected) in [
            ("application/grpc", Protocol::Grpc),
            ("application/grpc+proto", Protocol::Grpc),
            ("application/grpc;x", Protocol::Grpc),
            ("application/grpc-web", Protocol::GrpcWeb),
            ("application/grpc-web+proto", Protocol::GrpcWeb),
            ("application/grpc-web-text", Protocol::GrpcWebText),
            ("application/grpc-web-text+proto", Protocol::GrpcWebText),
            ("application/grpc-webx", Protocol::Http),
            ("application/grpcx", Protocol::Http),
            ("application/json", Protocol::Http),
        ] {
            assert_eq!(
                Head::read(&headers(&[("content-type", value)]), |_| {}).protocol,
                expected,
                "{value}"
            );
        }
    }
}
