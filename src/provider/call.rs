//! A call to a provider, as data: the core creates it, the shell sends it.

use std::{fmt, time::Duration};

use crate::{credential::Digest, headers::HeaderList};

/// One call to a provider, complete.
#[derive(Clone, PartialEq, Eq)]
pub struct Call {
    /// The Envoy cluster to call.
    pub cluster: String,
    /// What is sent.
    pub transport: Transport,
    /// Time until the call fails with [`CallFailure::TimedOut`](super::CallFailure::TimedOut).
    pub timeout: Duration,
    /// Which parts of the response the core needs.
    pub wanted: Wanted,
    /// Whether one response may serve several requests.
    pub sharing: Sharing,
    /// On whose behalf the call is made.
    pub asker: Asker,
}

/// On whose behalf a call is made. If there are many calls in flight, strangers wait first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asker {
    /// Our own, or of a caller that the provider vouched for before.
    Known,
    /// Of a caller that nobody vouched for yet. Anybody can cause such calls.
    Stranger,
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

/// Which parts of a response the core reads. The shell copies nothing else from the host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Names of header fields, in lower case.
    pub headers: &'static [&'static str],
    /// Names of trailer fields, in lower case.
    pub trailers: &'static [&'static str],
    /// The longest body that is read, in bytes. A longer one becomes [`Body::TooLong`](super::Body::TooLong).
    pub body: usize,
}

/// Whether one response may serve several requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sharing {
    /// Requests with the same question share the response of one call in flight. Repeating the call does no
    /// harm.
    Joined(Digest),
    /// Every call counts at the provider, as with a rate limit service. It is never shared and never
    /// repeated.
    Alone,
}

/// Shows neither headers, body, metadata nor message, because they carry credentials.
impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call")
            .field("cluster", &self.cluster)
            .field("timeout", &self.timeout)
            .field("sharing", &self.sharing)
            .finish_non_exhaustive()
    }
}
