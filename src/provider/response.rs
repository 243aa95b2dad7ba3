//! The result of a call to a provider.

use crate::headers::HeaderList;

/// The result of a call.
pub type CallResult = Result<Response, CallFailure>;

/// A provider's response. It holds only what the call [wanted](super::Wanted).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Response {
    /// To an HTTP request.
    Http(HttpResponse),
    /// To a gRPC call.
    Grpc(GrpcResponse),
}

/// An HTTP response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpResponse {
    /// The status.
    pub status: u16,
    /// The wanted header fields.
    pub headers: HeaderList,
    /// The body.
    pub body: Body,
    /// The wanted trailer fields.
    pub trailers: HeaderList,
}

/// The response to a unary gRPC call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GrpcResponse {
    /// `grpc-status`; 0 is success.
    pub status: u32,
    /// The encoded message; empty where the call did not succeed.
    pub body: Body,
}

/// A response's body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// The whole body.
    Whole(Vec<u8>),
    /// The body is longer than the call allowed, and was not read.
    TooLong,
}

/// Why a call has no response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallFailure {
    /// No response in time.
    TimedOut,
    /// The connection failed or was reset, or Envoy could not hold the response.
    Failed,
    /// Envoy has no cluster with that name.
    UnknownCluster,
    /// The cluster has no healthy host, or its circuit breaker is open.
    NoHealthyHost,
    /// This worker has reached its limit of calls in flight or of waiting bytes.
    Overloaded,
}
