//! The host is Envoy: the one place that speaks proxy-wasm.
//!
//! The SDK's calls panic on answers that the ABI does not promise. Those that remain reachable here are: reading the request's header
//! map (only in its callback, where it is there), reading a call's reply (only where it has headers), and setting headers of a request
//! that is held or in its callback.

use std::{
    rc::Rc,
    time::{Duration, SystemTime},
};

use proxy_wasm::{
    hostcalls,
    traits::{Context, HttpContext, RootContext},
    types::{Action, BufferType, ContextType, GrpcStatusCode, LogLevel, MapType, MetricType, Status},
};

use crate::{
    gate::Edits,
    identity::introspection::MAX_REPLY,
    provider::{ProviderReply, ProviderRequest},
    refusal::Reply,
    store::{Cas, Lost, Store},
    time::Timestamp,
};

use super::{
    host::{CallId, Host, MetricId, MetricKind, StreamId},
    root,
    worker::{Flow, Stream, Worker},
};

/// Envoy as host and as store.
#[derive(Clone, Copy)]
struct Envoy;

type EnvoyWorker = Worker<Envoy, Envoy>;

mod entry {
    use proxy_wasm::{traits::RootContext, types::LogLevel};

    proxy_wasm::main! {{
        proxy_wasm::set_log_level(LogLevel::Info);
        proxy_wasm::set_root_context(|_| -> Box<dyn RootContext> { Box::new(super::Root::default()) });
    }}
}

/// The root context: one for each policy in each thread.
#[derive(Default)]
struct Root {
    worker: Option<Rc<EnvoyWorker>>,
}

/// The context of one request.
struct Request {
    worker: Rc<EnvoyWorker>,
    stream: Rc<Stream>,
}

// === impl Root ===

impl Context for Root {
    fn on_http_call_response(&mut self, call: u32, headers: usize, body: usize, _trailers: usize) {
        if let Some(worker) = &self.worker {
            worker.on_reply(call, &read_reply(headers, body));
        }
    }
}

impl RootContext for Root {
    fn on_configure(&mut self, size: usize) -> bool {
        let configuration = hostcalls::get_buffer(BufferType::PluginConfiguration, 0, size).ok().flatten();
        #[expect(clippy::disallowed_methods, reason = "the shell is where the environment is read")]
        let environment = |name: &str| std::env::var(name).ok();
        self.worker = root::load(Envoy, Envoy, &configuration.unwrap_or_default(), &environment);
        self.worker.is_some()
    }

    fn on_tick(&mut self) {
        if let Some(worker) = &self.worker {
            worker.on_tick();
        }
    }

    fn create_http_context(&self, id: u32) -> Option<Box<dyn HttpContext>> {
        let worker = Rc::clone(self.worker.as_ref()?);
        Some(Box::new(Request { worker, stream: Stream::new(id) }))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}

impl Drop for Root {
    fn drop(&mut self) {
        if let Some(worker) = &self.worker {
            root::unload(worker);
        }
    }
}

// === impl Request ===

impl Context for Request {
    fn on_http_call_response(&mut self, call: u32, headers: usize, body: usize, _trailers: usize) {
        self.worker.on_reply(call, &read_reply(headers, body));
    }
}

impl HttpContext for Request {
    fn on_http_request_headers(&mut self, _: usize, _: bool) -> Action {
        match self.worker.on_request(&self.stream) {
            Flow::Continue => Action::Continue,
            Flow::Pause => Action::Pause,
        }
    }

    fn on_http_response_headers(&mut self, _: usize, _: bool) -> Action {
        self.worker.on_response(&self.stream);
        Action::Continue
    }
}

impl Drop for Request {
    fn drop(&mut self) {
        self.worker.on_gone(&self.stream);
    }
}

/// A call that failed while its reply came in comes back without headers; one that failed earlier with a 502 or 503 of Envoy's own, one that
/// took too long with a 504. Envoy's own replies are plain text without a date; a provider's that look the same are no harm: all of them are
/// answers that cannot be used, and only what asks for patience must not be overlooked.
fn read_reply(headers: usize, body: usize) -> ProviderReply {
    if headers == 0 {
        return ProviderReply::Failed;
    }
    let headers = hostcalls::get_map_bytes(MapType::HttpCallResponseHeaders).unwrap_or_default();
    let header = |wanted: &str| {
        let found = headers.iter().find(|(name, _)| name == wanted);
        found.and_then(|(_, value)| std::str::from_utf8(value).ok())
    };
    let Some(status) = header(":status").and_then(|status| status.parse().ok()) else {
        return ProviderReply::Failed;
    };
    let content_type = header("content-type").map(str::to_owned);
    let retry_after = header("retry-after").and_then(|seconds| seconds.trim().parse().ok());
    let is_envoys_own =
        header("date").is_none() && retry_after.is_none() && content_type.as_deref() == Some("text/plain");
    match status {
        502 | 503 if is_envoys_own => return ProviderReply::Failed,
        504 if is_envoys_own => return ProviderReply::TimedOut,
        _ => {}
    }
    let size = body.min(MAX_REPLY.saturating_add(1));
    let body =
        hostcalls::get_buffer(BufferType::HttpCallResponseBody, 0, size).ok().flatten().unwrap_or_default();
    ProviderReply::Answered { status, content_type, retry_after, body }
}

const fn grpc_status(code: u8) -> GrpcStatusCode {
    match code {
        3 => GrpcStatusCode::InvalidArgument,
        5 => GrpcStatusCode::NotFound,
        7 => GrpcStatusCode::PermissionDenied,
        8 => GrpcStatusCode::ResourceExhausted,
        12 => GrpcStatusCode::Unimplemented,
        14 => GrpcStatusCode::Unavailable,
        16 => GrpcStatusCode::Unauthenticated,
        _ => GrpcStatusCode::Internal,
    }
}

// === impl Envoy ===

impl Host for Envoy {
    fn now(&self) -> Timestamp {
        let now = hostcalls::get_current_time().unwrap_or(SystemTime::UNIX_EPOCH);
        let since = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Timestamp::default().saturating_add(since)
    }

    fn request_headers(&self) -> Vec<(String, Vec<u8>)> {
        hostcalls::get_map_bytes(MapType::HttpRequestHeaders).unwrap_or_default()
    }

    fn source_address(&self) -> Option<String> {
        let address = hostcalls::get_property(vec!["source", "address"]).ok().flatten()?;
        String::from_utf8(address).ok()
    }

    fn edit_request(&self, edits: &Edits) {
        for name in &edits.remove {
            let _removed = hostcalls::remove_map_value(MapType::HttpRequestHeaders, name);
        }
        for (name, value) in &edits.set {
            let _set = hostcalls::set_map_value_bytes(MapType::HttpRequestHeaders, name, Some(value));
        }
    }

    fn resume_request(&self) {
        let _resumed = hostcalls::resume_http_request();
    }

    fn reply(&self, reply: &Reply, grpc: bool) {
        let headers: Vec<(&str, &str)> =
            reply.headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        if grpc {
            let (status, message) = reply.grpc;
            let metadata = headers.into_iter().filter(|(name, _)| *name != "content-type");
            let metadata = metadata.map(|(name, value)| (name, value.as_bytes())).collect();
            let _sent = hostcalls::send_grpc_response(grpc_status(status), Some(message), metadata);
        } else {
            let _sent =
                hostcalls::send_http_response(reply.status.into(), headers, Some(reply.body.as_bytes()));
        }
    }

    fn add_response_header(&self, name: &str, value: &str) {
        let _set = hostcalls::set_map_value(MapType::HttpResponseHeaders, name, Some(value));
    }

    fn set_filter_state(&self, name: &str, value: &str) {
        let _set = hostcalls::set_property(vec![name], Some(value.as_bytes()));
    }

    fn call(&self, request: &ProviderRequest) -> Result<CallId, ProviderReply> {
        let mut headers = vec![
            (":method", request.method),
            (":scheme", request.scheme.as_str()),
            (":authority", request.authority.as_str()),
            (":path", request.path.as_str()),
        ];
        headers.extend(request.headers.iter().map(|(name, value)| (*name, value.as_str())));
        let body = Some(request.body.as_slice());
        hostcalls::dispatch_http_call(&request.cluster, headers, body, Vec::new(), request.timeout).map_err(
            |status| match status {
                Status::BadArgument => ProviderReply::UnknownCluster,
                _ => ProviderReply::NoHealthyHost,
            },
        )
    }

    fn switch_to(&self, stream: StreamId) {
        let _switched = hostcalls::set_effective_context(stream);
    }

    fn tick_every(&self, period: Duration) {
        let _set = hostcalls::set_tick_period(period);
    }

    fn metric(&self, kind: MetricKind, name: &str) -> Option<MetricId> {
        let kind = match kind {
            MetricKind::Counter => MetricType::Counter,
            MetricKind::Gauge => MetricType::Gauge,
            MetricKind::Histogram => MetricType::Histogram,
        };
        hostcalls::define_metric(kind, name).ok()
    }

    fn count(&self, metric: MetricId, by: u64) {
        let _counted = hostcalls::increment_metric(metric, i64::try_from(by).unwrap_or(i64::MAX));
    }

    fn record(&self, metric: MetricId, value: u64) {
        let _recorded = hostcalls::record_metric(metric, value);
    }

    fn log(&self, level: log::Level, line: &str) {
        let level = match level {
            log::Level::Error => LogLevel::Error,
            log::Level::Warn => LogLevel::Warn,
            log::Level::Info => LogLevel::Info,
            log::Level::Debug => LogLevel::Debug,
            log::Level::Trace => LogLevel::Trace,
        };
        let _logged = hostcalls::log(level, line);
    }
}

impl Store for Envoy {
    fn get(&self, key: &str) -> (Option<Vec<u8>>, Option<Cas>) {
        let (bytes, cas) = hostcalls::get_shared_data(key).unwrap_or_default();
        (bytes, cas.and_then(Cas::new))
    }

    fn compare_and_swap(&self, key: &str, bytes: &[u8], expected: Cas) -> Result<(), Lost> {
        hostcalls::set_shared_data(key, Some(bytes), Some(expected.get())).map_err(|_| Lost)
    }
}
