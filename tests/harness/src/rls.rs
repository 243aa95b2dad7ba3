//! A client of rate limit services, and the messages of `envoy.service.ratelimit.v3`, declared again: tests
//! must not read what they check with the code that they check.

use std::{io, net::SocketAddr};

use http_body_util::{BodyExt as _, Full};
use hyper::{
    body::Bytes,
    client::conn::http2::{self, SendRequest},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message;
use tokio::net::TcpStream;

/// `envoy.service.ratelimit.v3.RateLimitRequest`.
#[derive(Clone, PartialEq, Message)]
pub struct RateLimitRequest {
    /// Which part of the service's configuration.
    #[prost(string, tag = "1")]
    pub domain: String,
    /// What is counted.
    #[prost(message, repeated, tag = "2")]
    pub descriptors: Vec<Descriptor>,
    /// How much, in all descriptors without a number of their own.
    #[prost(uint32, tag = "3")]
    pub hits_addend: u32,
}

/// `envoy.extensions.common.ratelimit.v3.RateLimitDescriptor`.
#[derive(Clone, PartialEq, Message)]
pub struct Descriptor {
    /// Names the counter.
    #[prost(message, repeated, tag = "1")]
    pub entries: Vec<Entry>,
    /// The limit, instead of that of the service's configuration.
    #[prost(message, optional, tag = "2")]
    pub limit: Option<Limit>,
    /// How much: `google.protobuf.UInt64Value`.
    #[prost(message, optional, tag = "3")]
    pub hits_addend: Option<u64>,
    /// To give back instead of taking.
    #[prost(bool, tag = "4")]
    pub is_negative_hits: bool,
}

impl Descriptor {
    /// One with these entries and this limit, which counts one hit.
    pub fn new(entries: &[(&str, &str)], limit: Option<Limit>) -> Self {
        let entry = |&(key, value): &(&str, &str)| Entry { key: key.into(), value: value.into() };
        let entries = entries.iter().map(entry).collect();
        Self { entries, limit, hits_addend: None, is_negative_hits: false }
    }

    /// Counts so many hits.
    #[must_use]
    pub fn hits(mut self, hits: u64) -> Self {
        self.hits_addend = Some(hits);
        self
    }
}

/// A part of a counter's name, or a header.
#[derive(Clone, PartialEq, Message)]
pub struct Entry {
    /// Its key.
    #[prost(string, tag = "1")]
    pub key: String,
    /// Its value.
    #[prost(string, tag = "2")]
    pub value: String,
}

/// `RateLimitOverride` in calls, `RateLimit` in responses.
#[derive(Clone, Copy, PartialEq, Message)]
pub struct Limit {
    /// At most so many hits.
    #[prost(uint32, tag = "1")]
    pub requests_per_unit: u32,
    /// In this time. A number, so that tests can send one that no service knows.
    #[prost(int32, tag = "2")]
    pub unit: i32,
}

/// Units of time of rate limit services.
#[allow(missing_docs, reason = "they are their names")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    Second = 1,
    Minute = 2,
    Hour = 3,
    Day = 4,
    Month = 5,
    Year = 6,
    Week = 7,
}

impl Limit {
    /// At most `max` in a `unit`.
    pub fn new(max: u32, unit: Unit) -> Self {
        Self { requests_per_unit: max, unit: unit as i32 }
    }
}

/// `envoy.service.ratelimit.v3.RateLimitResponse`.
#[derive(Clone, PartialEq, Message)]
pub struct RateLimitResponse {
    /// [`OK`] or [`OVER_LIMIT`].
    #[prost(int32, tag = "1")]
    pub overall_code: i32,
    /// One for each descriptor.
    #[prost(message, repeated, tag = "2")]
    pub statuses: Vec<Status>,
    /// Headers for the caller of the proxy.
    #[prost(message, repeated, tag = "3")]
    pub response_headers_to_add: Vec<Entry>,
}

/// The service counted, and no limit is exceeded.
pub const OK: i32 = 1;
/// A limit is exceeded.
pub const OVER_LIMIT: i32 = 2;

/// `RateLimitResponse.DescriptorStatus`.
#[derive(Clone, PartialEq, Message)]
pub struct Status {
    /// [`OK`] or [`OVER_LIMIT`].
    #[prost(int32, tag = "1")]
    pub code: i32,
    /// The limit that was applied, if one was.
    #[prost(message, optional, tag = "2")]
    pub current_limit: Option<Limit>,
    /// What remains of it.
    #[prost(uint32, tag = "3")]
    pub limit_remaining: u32,
    /// When the counter begins anew.
    #[prost(message, optional, tag = "4")]
    pub duration_until_reset: Option<Seconds>,
}

/// `google.protobuf.Duration`.
#[derive(Clone, Copy, PartialEq, Message)]
pub struct Seconds {
    /// Whole seconds.
    #[prost(int64, tag = "1")]
    pub seconds: i64,
}

/// A connection to a gRPC server.
#[derive(Debug)]
pub struct GrpcClient {
    authority: SocketAddr,
    connection: SendRequest<Full<Bytes>>,
}

impl GrpcClient {
    /// Connects.
    pub async fn connect(address: SocketAddr) -> io::Result<Self> {
        let stream = TokioIo::new(TcpStream::connect(address).await?);
        let connected = http2::handshake(TokioExecutor::new(), stream).await;
        let (connection, driver) = connected.map_err(io::Error::other)?;
        // It ends with the last handle of the connection.
        tokio::spawn(driver);
        Ok(Self { authority: address, connection })
    }

    /// Calls `ShouldRateLimit`. An error is the gRPC status.
    pub async fn should_rate_limit(&mut self, request: &RateLimitRequest) -> Result<RateLimitResponse, u32> {
        const METHOD: &str = "envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit";
        let message = self.call(METHOD, request.encode_to_vec()).await?;
        Ok(RateLimitResponse::decode(message).expect("a RateLimitResponse"))
    }

    async fn call(&mut self, method: &str, message: Vec<u8>) -> Result<Bytes, u32> {
        const INTERNAL: u32 = 13;
        let request = hyper::Request::post(format!("http://{}/{method}", self.authority))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(Full::new(crate::grpc::framed(&message)))
            .expect("a valid request");
        let response = self.connection.send_request(request).await.map_err(|_| INTERNAL)?;
        let in_headers = status(response.headers());
        let body = response.into_body().collect().await.map_err(|_| INTERNAL)?;
        let in_trailers = body.trailers().and_then(status);
        match in_headers.or(in_trailers) {
            Some(0) => Ok(body.to_bytes().slice(5..)),
            other => Err(other.unwrap_or(INTERNAL)),
        }
    }
}

fn status(fields: &hyper::HeaderMap) -> Option<u32> {
    fields.get("grpc-status")?.to_str().ok()?.parse().ok()
}
