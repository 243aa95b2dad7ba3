//! A call to a provider, as data: the core makes it, the shell sends it.

use std::{fmt, time::Duration};

use crate::{credential::Digest, headers::HeaderList};

/// One call to a provider, complete.
#[derive(Clone, PartialEq, Eq)]
pub struct Call {
    /// The Envoy cluster to call.
    pub cluster: String,
    /// What is sent.
    pub transport: Transport,
    /// After this long the call fails with [`CallFailure::TimedOut`](super::CallFailure::TimedOut).
    pub timeout: Duration,
    /// What of the response is handed to the core.
    pub wanted: Wanted,
    /// Whether one response may serve several requests.
    pub sharing: Sharing,
}

/// What is sent, and how.
#[derive(Clone, PartialEq, Eq)]
pub enum Transport {
    /// An HTTP request.
    Http(HttpRequest),
    /// A unary gRPC call.
    Grpc(GrpcRequest),
}

/// An HTTP request to a provider.
#[derive(Clone, PartialEq, Eq)]
pub struct HttpRequest {
    /// The method.
    pub method: &'static str,
    /// `http` or `https`: the scheme of the configured URL.
    pub scheme: String,
    /// Value of `:authority`.
    pub authority: String,
    /// Value of `:path`, with the query.
    pub path: String,
    /// Further header fields.
    pub headers: HeaderList,
    /// The body.
    pub body: Vec<u8>,
}

/// A unary gRPC call to a provider.
#[derive(Clone, PartialEq, Eq)]
pub struct GrpcRequest {
    /// The full name of the service, such as `envoy.service.ratelimit.v3.RateLimitService`.
    pub service: &'static str,
    /// The method's name.
    pub method: &'static str,
    /// Metadata sent before the message.
    pub metadata: HeaderList,
    /// The encoded message.
    pub message: Vec<u8>,
}

/// What the core reads of a response; the shell copies nothing else out of the host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Names of header fields, in lower case.
    pub headers: &'static [&'static str],
    /// Names of trailer fields, in lower case.
    pub trailers: &'static [&'static str],
    /// The longest body that is read, in bytes; a longer one is [`Body::TooLong`](super::Body::TooLong).
    pub body: usize,
}

/// Whether one response may serve several requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sharing {
    /// All who ask the same question while the call is in flight share its response. Asking twice does no harm.
    Joined(Digest),
    /// Every call counts at the provider, as those to a rate limit service do: it is never shared and never repeated.
    Alone,
}

/// Headers, body, metadata and message carry credentials.
impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call")
            .field("cluster", &self.cluster)
            .field("timeout", &self.timeout)
            .field("sharing", &self.sharing)
            .finish_non_exhaustive()
    }
}
