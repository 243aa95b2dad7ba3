//! What the shell needs from a host: one trait for each role.

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

/// The number of a call. HTTP and gRPC calls are numbered separately.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CallId {
    /// Of an HTTP call.
    Http(u32),
    /// Of a gRPC call.
    Grpc(u32),
}

/// Requests. All methods apply to the current context, which is a stream.
pub trait RequestHost {
    /// The request's header map, pseudo-headers included.
    fn request_headers(&self) -> HeaderMap;
    /// The caller's address with its port, as determined by the host.
    fn source_address(&self) -> Option<String>;
    /// What earlier filters attached to the request: an encoded `envoy.config.core.v3.Metadata`.
    fn metadata(&self) -> Option<Vec<u8>>;
    /// The SHA-256 of the client certificate of the connection, in hexadecimal.
    fn certificate(&self) -> Option<String>;
    /// Changes the request's headers.
    fn edit_request(&self, edits: &Edits);
    /// Lets a paused request go on.
    fn resume_request(&self);
    /// Answers the request in place of the service.
    fn reply(&self, reply: &Reply, protocol: Protocol);
    /// Adds a header to the service's response, beside those of the same name.
    fn add_response_header(&self, name: &str, value: &str);
    /// Sets a header of the service's response, in place of those of the same name.
    fn set_response_header(&self, name: &str, value: &str);
    /// The status of the response, once its headers have arrived.
    fn response_status(&self) -> Option<u16>;
    /// Sets a value that access logs can show, as `wasm.<name>`.
    fn set_filter_state(&self, name: &str, value: &str);
}

/// Calls to providers.
pub trait CallHost {
    /// Makes a call. Its response is passed to the current context, and is lost if that context has ended.
    ///
    /// # Errors
    ///
    /// The host refused to make the call.
    fn call(&self, call: &Call) -> Result<CallId, CallFailure>;
    /// Makes `context` the current context. Has no effect if it has ended.
    fn switch_to(&self, context: ContextId);
}

/// Time.
pub trait TimerHost {
    /// The current time.
    fn now(&self) -> Timestamp;
    /// Calls the root back periodically; zero disables that.
    fn tick_every(&self, period: Duration);
}

/// Metrics and logs.
pub trait TelemetryHost {
    /// Defines a measure, or returns the existing one.
    fn define(&self, kind: MeasureKind, name: &str) -> Option<MeasureId>;
    /// Adds to a counter.
    fn count(&self, measure: MeasureId, by: u64);
    /// Records a gauge's or a histogram's value.
    fn record(&self, measure: MeasureId, value: u64);
    /// Whether the host writes log lines of this level.
    fn logs(&self, level: ::log::Level) -> bool;
    /// Writes a log line.
    fn log(&self, level: ::log::Level, line: &str);
}

/// A host with all roles.
pub trait Host: RequestHost + CallHost + TimerHost + TelemetryHost + Clone + 'static {}

impl<H: RequestHost + CallHost + TimerHost + TelemetryHost + Clone + 'static> Host for H {}

/// The kinds of measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MeasureKind {
    /// A value that only grows.
    Counter,
    /// The value that was recorded last.
    Gauge,
    /// The distribution of recorded values.
    Histogram,
}
