//! What the shell asks of a host, in our words: one trait for each role.

use std::time::Duration;

use crate::{
    forward::Edits,
    headers::HeaderMap,
    provider::{Call, CallFailure},
    reply::{Protocol, Reply},
    time::Timestamp,
};

/// The number of a context: of a stream, or of the root that owns background work.
pub type ContextId = u32;
/// The number of a measure.
pub type MeasureId = u32;

/// The number of a call. HTTP and gRPC calls have numbers of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CallId {
    /// Of an HTTP call.
    Http(u32),
    /// Of a gRPC call.
    Grpc(u32),
}

/// Requests. All methods speak of the current context, which is a stream.
pub trait RequestHost {
    /// The request's header map, pseudo-headers included.
    fn request_headers(&self) -> HeaderMap;
    /// The caller's address with its port, as the host trusts it.
    fn source_address(&self) -> Option<String>;
    /// Changes the request's headers.
    fn edit_request(&self, edits: &Edits);
    /// Lets a paused request go on.
    fn resume_request(&self);
    /// Answers the request in place of the service.
    fn reply(&self, reply: &Reply, protocol: Protocol);
    /// Adds a header to the response.
    fn add_response_header(&self, name: &str, value: &str);
    /// Puts a value where access logs find it, as `wasm.<name>`.
    fn set_filter_state(&self, name: &str, value: &str);
}

/// Calls to providers.
pub trait CallHost {
    /// Makes a call. Its response comes to the current context, or to nobody where that is gone.
    fn call(&self, call: &Call) -> Result<CallId, CallFailure>;
    /// Makes `context` the current one. One that is gone cannot be: the current one stays.
    fn switch_to(&self, context: ContextId);
}

/// Time.
pub trait TimerHost {
    /// The current time.
    fn now(&self) -> Timestamp;
    /// Has the root called back every so often; zero for never.
    fn tick_every(&self, period: Duration);
}

/// What operators see.
pub trait TelemetryHost {
    /// Defines a measure, or finds it.
    fn define(&self, kind: MeasureKind, name: &str) -> Option<MeasureId>;
    /// Adds to a counter.
    fn count(&self, measure: MeasureId, by: u64);
    /// Records a gauge's or a histogram's value.
    fn record(&self, measure: MeasureId, value: u64);
    /// Writes a log line.
    fn log(&self, level: ::log::Level, line: &str);
}

/// A host in all its roles.
pub trait Host: RequestHost + CallHost + TimerHost + TelemetryHost + Clone + 'static {}

impl<H: RequestHost + CallHost + TimerHost + TelemetryHost + Clone + 'static> Host for H {}

/// The kinds of measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MeasureKind {
    /// Only grows.
    Counter,
    /// Is what was recorded last.
    Gauge,
    /// Spread of recorded values.
    Histogram,
}
