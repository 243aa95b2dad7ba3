//! What the core asks of a provider and what it hears back, as data: the shell carries it to an Envoy cluster and returns.

use std::time::Duration;

/// One call to a provider, ready to be sent by the shell.
///
/// `Debug` is not derived: headers and body carry credentials.
#[derive(Clone, PartialEq, Eq)]
pub struct ProviderRequest {
    /// The Envoy cluster to call.
    pub cluster: String,
    /// HTTP method.
    pub method: &'static str,
    /// `http` or `https`: the scheme of the configured URL.
    pub scheme: String,
    /// Value of `:authority`.
    pub authority: String,
    /// Value of `:path`, with the query.
    pub path: String,
    /// Further headers, lower-case names.
    pub headers: Vec<(&'static str, String)>,
    /// The body, complete.
    pub body: Vec<u8>,
    /// After this long the call is given up.
    pub timeout: Duration,
}

/// What came of a call to a provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProviderReply {
    /// The provider answered. `body` may have been cut by the shell at one byte more than the reader's bound.
    Answered {
        /// HTTP status.
        status: u16,
        /// The first `content-type` header, if any.
        content_type: Option<String>,
        /// The first `retry-after` header, in seconds, if it was a number.
        retry_after: Option<u64>,
        /// The body.
        body: Vec<u8>,
    },
    /// No answer in time.
    TimedOut,
    /// The connection failed, was reset, or the reply was larger than Envoy buffers.
    Failed,
    /// Envoy knows no cluster of that name.
    UnknownCluster,
    /// The cluster has no healthy host, or its circuit breaker is open.
    NoHealthyHost,
    /// This worker has as many calls open as it allows itself.
    TooManyCalls,
}
