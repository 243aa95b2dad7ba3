//! Envoy as a host: the only place that uses the proxy-wasm SDK.
//!
//! The SDK's functions panic on host results that the ABI does not promise. The calls that remain reachable
//! here are safe: the request's header map is read only in its callback, where it exists; a response to a
//! call is read only if it has headers; and headers are set only on a request that is held or in its
//! callback. `get_grpc_status` is never called, because it panics if a provider's message is not UTF-8.

use std::{borrow::Cow, marker::PhantomData, rc::Rc, time::Duration};

use proxy_wasm::{
    hostcalls,
    traits::{Context, HttpContext, RootContext},
    types::{BufferType, ContextType, LogLevel, MapType, MetricType, Status},
};

use super::{blocks::Blocks, direct, grpc_target};
use crate::{
    forward::Edits,
    headers::{HeaderList, HeaderMap},
    policy::Text,
    provider::{
        Body, Call, CallFailure, CallResult, GrpcRequest, GrpcResponse, HttpRequest, HttpResponse, Response,
        Transport, Wanted,
    },
    reply::{Protocol, Reply},
    shell::{
        calls::Home,
        host::{CallHost, CallId, ContextId, MeasureId, MeasureKind, RequestHost, TelemetryHost, TimerHost},
        loading, tasks,
        worker::{Action, Stream, Worker},
    },
    store::{Cas, Lost, Seed, Store},
    time::Timestamp,
};

/// Envoy as host and as store.
#[derive(Clone, Copy)]
pub struct Envoy;

/// A worker in Envoy.
pub type EnvoyWorker = Worker<Envoy, Envoy>;

/// The module's memory.
#[global_allocator]
static MEMORY: Blocks = Blocks::new();

/// What runs in the module: Sidegate, or an extension of it.
pub trait Plugin: 'static {
    /// A policy was loaded. This is where background tasks start.
    fn start(worker: &EnvoyWorker) {
        tasks::start(worker);
    }

    /// A request's headers have arrived.
    fn on_request(worker: &EnvoyWorker, stream: &Rc<Stream>) -> Action {
        worker.on_request(stream)
    }
}

/// Sidegate itself.
pub struct Sidegate;

impl Plugin for Sidegate {}

/// The entry point of the module. A module that embeds Sidegate has its own.
#[cfg(not(feature = "embedded"))]
mod entry {
    proxy_wasm::main! {{
        proxy_wasm::set_log_level(proxy_wasm::types::LogLevel::Info);
        proxy_wasm::set_root_context(super::root::<super::Sidegate>);
    }}
}

/// Creates the root context with this number.
pub fn root<P: Plugin>(id: ContextId) -> Box<dyn RootContext> {
    Box::new(Root::<P> { id, worker: None, plugin: PhantomData })
}

/// The root context: one for each policy in each thread.
struct Root<P> {
    id: ContextId,
    worker: Option<Rc<EnvoyWorker>>,
    plugin: PhantomData<P>,
}

/// The plugin's configuration. It is read in parts, because memory that the module once had is never given
/// back.
struct Configuration(usize);

/// The size of a part, in bytes.
const PART: usize = 64 * 1024;

/// The context of one request.
struct RequestContext<P> {
    id: ContextId,
    worker: Rc<EnvoyWorker>,
    stream: Rc<Stream>,
    plugin: PhantomData<P>,
}

// === impl Configuration ===

impl Text for Configuration {
    fn part(&self, offset: usize) -> Cow<'_, [u8]> {
        if offset >= self.0 {
            return Cow::Borrowed(&[]);
        }
        let part = hostcalls::get_buffer(BufferType::PluginConfiguration, offset, PART);
        Cow::Owned(part.ok().flatten().unwrap_or_default())
    }
}

// === impl Root ===

impl<P: Plugin> Context for Root<P> {
    fn on_http_call_response(&mut self, call: u32, headers: usize, body: usize, trailers: usize) {
        if let Some(worker) = &self.worker {
            http_response(worker, Home::Root, call, headers, body, trailers);
        }
    }

    fn on_grpc_call_response(&mut self, call: u32, status: u32, size: usize) {
        if let Some(worker) = &self.worker {
            grpc_response(worker, Home::Root, call, status, size);
        }
    }
}

impl<P: Plugin> RootContext for Root<P> {
    fn on_configure(&mut self, size: usize) -> bool {
        #[expect(clippy::disallowed_methods, reason = "the host is where the environment is read")]
        let environment = |name: &str| std::env::var(name).ok();
        let mut seed = Seed::default();
        if let Err(error) = getrandom::fill(&mut seed) {
            Envoy.log(log::Level::Error, &format!("the policy is not loaded: no random numbers: {error}"));
            return false;
        }
        self.worker = loading::load(Envoy, Envoy, seed, self.id, &Configuration(size), &environment);
        if let Some(worker) = &self.worker {
            P::start(worker);
        }
        self.worker.is_some()
    }

    fn on_tick(&mut self) {
        if let Some(worker) = &self.worker {
            worker.on_tick();
        }
    }

    fn create_http_context(&self, id: u32) -> Option<Box<dyn HttpContext>> {
        let worker = Rc::clone(self.worker.as_ref()?);
        Some(Box::new(RequestContext::<P> { id, worker, stream: Stream::new(id), plugin: PhantomData }))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}

impl<P> Drop for Root<P> {
    fn drop(&mut self) {
        if let Some(worker) = &self.worker {
            loading::unload(worker);
        }
    }
}

// === impl RequestContext ===

impl<P: Plugin> Context for RequestContext<P> {
    fn on_http_call_response(&mut self, call: u32, headers: usize, body: usize, trailers: usize) {
        http_response(&self.worker, Home::Stream(self.id), call, headers, body, trailers);
    }

    fn on_grpc_call_response(&mut self, call: u32, status: u32, size: usize) {
        grpc_response(&self.worker, Home::Stream(self.id), call, status, size);
    }
}

impl<P: Plugin> HttpContext for RequestContext<P> {
    fn on_http_request_headers(&mut self, _: usize, _: bool) -> proxy_wasm::types::Action {
        match P::on_request(&self.worker, &self.stream) {
            Action::Continue => proxy_wasm::types::Action::Continue,
            Action::Pause => proxy_wasm::types::Action::Pause,
        }
    }

    /// A hop that merges trailers into headers must not find an identity there. Envoy calls this only if a
    /// request has trailers.
    fn on_http_request_trailers(&mut self, _: usize) -> proxy_wasm::types::Action {
        let trailers = direct::header_map(MapType::HttpRequestTrailers);
        let reserved = &self.worker.policy().reserved_headers;
        // One that appears several times is removed several times, which does no harm.
        for (name, _) in trailers.iter().filter(|(name, _)| reserved.contain(name)) {
            let name = String::from_utf8_lossy(name);
            let _removed = hostcalls::remove_map_value(MapType::HttpRequestTrailers, &name);
        }
        proxy_wasm::types::Action::Continue
    }

    fn on_http_response_headers(&mut self, _: usize, _: bool) -> proxy_wasm::types::Action {
        self.worker.on_response(&self.stream);
        proxy_wasm::types::Action::Continue
    }
}

impl<P> Drop for RequestContext<P> {
    fn drop(&mut self) {
        self.worker.on_gone(&self.stream);
    }
}

// === Responses to calls ===

fn http_response(worker: &EnvoyWorker, home: Home, call: u32, headers: usize, body: usize, trailers: usize) {
    let call = CallId::Http(call);
    if let Some(wanted) = worker.wanted(call) {
        worker.on_call_result(home, call, read_http(wanted, headers, body, trailers));
    }
}

/// A call that failed while its response arrived has no headers. A call that failed earlier has a 502 or 503
/// from Envoy itself, and one that took too long a 504. Envoy's own replies are plain text without a date. A
/// provider's reply that looks the same does no harm, because such an answer cannot be used either, and a
/// reply with `retry-after` is not mistaken for Envoy's.
fn read_http(wanted: Wanted, headers: usize, body: usize, trailers: usize) -> CallResult {
    if headers == 0 {
        return Err(CallFailure::Failed);
    }
    let fields = hostcalls::get_map_bytes(MapType::HttpCallResponseHeaders).unwrap_or_default();
    let field = |name: &str| {
        let found = fields.iter().find(|(other, _)| other == name);
        found.and_then(|(_, value)| str::from_utf8(value).ok())
    };
    let Some(status) = field(":status").and_then(|status| status.parse().ok()) else {
        return Err(CallFailure::Failed);
    };
    let is_envoys_own = field("date").is_none()
        && field("retry-after").is_none()
        && field("content-type") == Some("text/plain");
    match status {
        502 | 503 if is_envoys_own => return Err(CallFailure::Failed),
        504 if is_envoys_own => return Err(CallFailure::TimedOut),
        _ => {}
    }
    let trailers = match trailers {
        0 => HeaderList::new(),
        _ => {
            let fields = hostcalls::get_map_bytes(MapType::HttpCallResponseTrailers).unwrap_or_default();
            select(&fields, wanted.trailers)
        }
    };
    let body = read_body(BufferType::HttpCallResponseBody, body, wanted.body);
    Ok(Response::Http(HttpResponse { status, headers: select(&fields, wanted.headers), body, trailers }))
}

fn grpc_response(worker: &EnvoyWorker, home: Home, call: u32, status: u32, size: usize) {
    let call = CallId::Grpc(call);
    if let Some(wanted) = worker.wanted(call) {
        worker.on_call_result(home, call, read_grpc(wanted, status, size));
    }
}

/// Envoy reports a call that failed or took too long as `UNAVAILABLE`. A provider that is shutting down
/// reports the same.
fn read_grpc(wanted: Wanted, status: u32, size: usize) -> CallResult {
    const UNAVAILABLE: u32 = 14;
    if status == UNAVAILABLE {
        return Err(CallFailure::Failed);
    }
    let body = read_body(BufferType::GrpcReceiveBuffer, size, wanted.body);
    Ok(Response::Grpc(GrpcResponse { status, body }))
}

fn read_body(buffer: BufferType, size: usize, most: usize) -> Body {
    match size {
        0 => Body::Whole(Vec::new()),
        _ if size > most => Body::TooLong,
        _ => Body::Whole(hostcalls::get_buffer(buffer, 0, size).ok().flatten().unwrap_or_default()),
    }
}

/// The first field of each wanted name, if its value is UTF-8.
fn select(fields: &[(String, Vec<u8>)], wanted: &'static [&'static str]) -> HeaderList {
    let mut selected = HeaderList::new();
    for name in wanted {
        let found = fields.iter().find(|(other, _)| other == name);
        if let Some(value) = found.and_then(|(_, value)| str::from_utf8(value).ok()) {
            selected.push(*name, value.to_owned());
        }
    }
    selected
}

// === impl Envoy ===

impl RequestHost for Envoy {
    fn request_headers(&self) -> HeaderMap {
        direct::header_map(MapType::HttpRequestHeaders)
    }

    fn source_address(&self) -> Option<String> {
        let address = hostcalls::get_property(vec!["source", "address"]).ok().flatten()?;
        String::from_utf8(address).ok()
    }

    fn metadata(&self) -> Option<Vec<u8>> {
        hostcalls::get_property(vec!["metadata"]).ok().flatten()
    }

    fn certificate(&self) -> Option<String> {
        let property = vec!["connection", "sha256_peer_certificate_digest"];
        String::from_utf8(hostcalls::get_property(property).ok().flatten()?).ok()
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

    fn reply(&self, reply: &Reply, protocol: Protocol) {
        let code;
        let fields = reply.headers.iter();
        let others = fields.clone().filter(|(name, _)| *name != "content-type");
        let Reply { status, grpc, body, details, headers: _ } = reply;
        match protocol {
            Protocol::Http => direct::reply(*status, details, &HeaderMap::of_texts(fields), body, None),
            Protocol::Grpc => {
                direct::reply(200, details, &HeaderMap::of_texts(others), &grpc.message, Some(grpc.code));
            }
            // Without a message, so the status is in the headers. Envoy removes the content type of an empty
            // reply; the worker sets it in the callback for the response.
            Protocol::GrpcWeb | Protocol::GrpcWebText => {
                code = grpc.code.to_string();
                let outcome = [("grpc-status", code.as_str()), ("grpc-message", &grpc.message)];
                let headers = HeaderMap::of_texts(outcome.into_iter().chain(others));
                direct::reply(200, details, &headers, "", None);
            }
        }
    }

    fn add_response_header(&self, name: &str, value: &str) {
        let _added = hostcalls::add_map_value(MapType::HttpResponseHeaders, name, value);
    }

    fn set_response_header(&self, name: &str, value: &str) {
        let _set = hostcalls::set_map_value(MapType::HttpResponseHeaders, name, Some(value));
    }

    fn response_status(&self) -> Option<u16> {
        let headers = direct::header_map(MapType::HttpResponseHeaders);
        str::from_utf8(headers.values(":status").next()?).ok()?.parse().ok()
    }

    fn set_filter_state(&self, name: &str, value: &str) {
        direct::set_property(name, value);
    }
}

impl CallHost for Envoy {
    fn call(&self, call: &Call) -> Result<CallId, CallFailure> {
        match &call.transport {
            Transport::Http(request) => call_http(&call.cluster, request, call.timeout),
            Transport::Grpc(request) => call_grpc(&call.cluster, request, call.timeout),
        }
    }

    fn switch_to(&self, context: ContextId) {
        let _switched = hostcalls::set_effective_context(context);
    }
}

fn call_http(cluster: &str, request: &HttpRequest, timeout: Duration) -> Result<CallId, CallFailure> {
    let mut headers = vec![
        (":method", request.method),
        (":scheme", request.scheme.as_str()),
        (":authority", request.authority.as_str()),
        (":path", request.path.as_str()),
    ];
    headers.extend(request.headers.iter());
    let body = Some(request.body.as_slice());
    let called = hostcalls::dispatch_http_call(cluster, headers, body, Vec::new(), timeout);
    called.map(CallId::Http).map_err(|status| match status {
        Status::BadArgument => CallFailure::UnknownCluster,
        _ => CallFailure::NoHealthyHost,
    })
}

fn call_grpc(cluster: &str, request: &GrpcRequest, timeout: Duration) -> Result<CallId, CallFailure> {
    let metadata = request.metadata.iter().map(|(name, value)| (name, value.as_bytes())).collect();
    let message = Some(request.message.as_slice());
    let target = grpc_target::target(cluster).ok_or(CallFailure::UnknownCluster)?;
    let called =
        hostcalls::dispatch_grpc_call(&target, request.service, request.method, metadata, message, timeout);
    called.map(CallId::Grpc).map_err(|status| match status {
        Status::ParseFailure => CallFailure::UnknownCluster,
        _ => CallFailure::NoHealthyHost,
    })
}

impl TimerHost for Envoy {
    fn now(&self) -> Timestamp {
        direct::now()
    }

    fn tick_every(&self, period: Duration) {
        let _set = hostcalls::set_tick_period(period);
    }
}

impl TelemetryHost for Envoy {
    fn define(&self, kind: MeasureKind, name: &str) -> Option<MeasureId> {
        let kind = match kind {
            MeasureKind::Counter => MetricType::Counter,
            MeasureKind::Gauge => MetricType::Gauge,
            MeasureKind::Histogram => MetricType::Histogram,
        };
        hostcalls::define_metric(kind, name).ok()
    }

    fn count(&self, measure: MeasureId, by: u64) {
        let _counted = hostcalls::increment_metric(measure, i64::try_from(by).unwrap_or(i64::MAX));
    }

    fn record(&self, measure: MeasureId, value: u64) {
        let _recorded = hostcalls::record_metric(measure, value);
    }

    fn logs(&self, level: log::Level) -> bool {
        direct::log_level().is_none_or(|lowest| lowest <= log_level(level) as u32)
    }

    fn log(&self, level: log::Level, line: &str) {
        let _logged = hostcalls::log(log_level(level), line);
    }
}

const fn log_level(level: log::Level) -> LogLevel {
    match level {
        log::Level::Error => LogLevel::Error,
        log::Level::Warn => LogLevel::Warn,
        log::Level::Info => LogLevel::Info,
        log::Level::Debug => LogLevel::Debug,
        log::Level::Trace => LogLevel::Trace,
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
