//! The host, in our words: everything that the filter asks of Envoy. `envoy.rs` is the one place that asks it; tests script it.

use std::time::Duration;

use crate::{
    gate::Edits,
    provider::{ProviderReply, ProviderRequest},
    refusal::Reply,
    time::Timestamp,
};

/// The number of a stream in its worker.
pub type StreamId = u32;
/// The number of a call to a provider.
pub type CallId = u32;
/// The number of a metric.
pub type MetricId = u32;

/// What the filter asks of the host. Request-related methods speak of the current stream.
pub trait Host {
    /// The current time.
    fn now(&self) -> Timestamp;
    /// The request's header map, pseudo-headers included.
    fn request_headers(&self) -> Vec<(String, Vec<u8>)>;
    /// The caller's address with its port, as Envoy trusts it.
    fn source_address(&self) -> Option<String>;
    /// Changes the request's headers.
    fn edit_request(&self, edits: &Edits);
    /// Lets a paused request go on.
    fn resume_request(&self);
    /// Answers the request in place of the service.
    fn reply(&self, reply: &Reply, grpc: bool);
    /// Adds a header to the response.
    fn add_response_header(&self, name: &str, value: &str);
    /// Puts a value where access logs find it, as `wasm.<name>`.
    fn set_filter_state(&self, name: &str, value: &str);
    /// Calls a provider; the reply comes to the context that is being called back now, or to nobody where that is gone by then.
    fn call(&self, request: &ProviderRequest) -> Result<CallId, ProviderReply>;
    /// Makes `stream` the current one.
    fn switch_to(&self, stream: StreamId);
    /// Has the root called back every so often; zero for never.
    fn tick_every(&self, period: Duration);
    /// Defines a metric, or finds it.
    fn metric(&self, kind: MetricKind, name: &str) -> Option<MetricId>;
    /// Adds to a counter.
    fn count(&self, metric: MetricId, by: u64);
    /// Records a gauge's or a histogram's value.
    fn record(&self, metric: MetricId, value: u64);
    /// Writes a log line.
    fn log(&self, level: log::Level, line: &str);
}

/// The kinds of metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MetricKind {
    /// Only grows.
    Counter,
    /// Is what was recorded last.
    Gauge,
    /// Spread of recorded values.
    Histogram,
}
