//! A scripted host: it records what the shell asks for, and plays streams, calls and ticks as the test says.
//! It passes on headers as Envoy does. It passes the response to a call to the context whose callback made
//! the call, as Envoy does.

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
    sync::atomic::{AtomicU8, Ordering},
    time::Duration,
};

use sidegate::{
    forward::Edits,
    gate::{Ending, Request},
    headers::HeaderMap,
    policy::Policy,
    ports::Ports,
    provider::{Call, CallFailure, CallResult, Transport},
    reply::{Protocol, Reply},
    shell::{
        calls::Home,
        host::{CallHost, CallId, ContextId, MeasureId, MeasureKind, RequestHost, TelemetryHost, TimerHost},
        worker::{Action, Stream, Worker},
    },
    store::{Seed, Store},
    time::Timestamp,
};

use super::support::{Ask, NOW};

/// The end of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// The filter let it go on.
    Resumed,
    /// The filter answered it, with this status and code.
    Answered(u16, String),
}

/// The host of all workers of a test.
#[derive(Default)]
pub struct Script {
    pub now: Cell<Timestamp>,
    pub asks: RefCell<BTreeMap<ContextId, Ask>>,
    alive: RefCell<BTreeSet<ContextId>>,
    /// The context that the host's functions refer to.
    pub current: Cell<ContextId>,
    /// The context whose callback is running. It gets the responses to the calls that are made now.
    called_back: Cell<ContextId>,
    /// The ends of each stream, in order. More than one end is a bug of the filter.
    pub ends: RefCell<BTreeMap<ContextId, Vec<End>>>,
    /// The calls that were made, and the context that gets each response.
    pub calls: RefCell<Vec<(ContextId, Call)>>,
    /// The failures of the next calls, which are not made.
    pub refuses_calls: RefCell<Vec<CallFailure>>,
    pub tick: Cell<Duration>,
    /// When the timer fires next.
    fires: Cell<Timestamp>,
    pub logs: RefCell<Vec<(log::Level, String)>>,
    /// Whether lines at level info are left out.
    pub is_quiet: Cell<bool>,
    pub metrics: RefCell<BTreeMap<String, u64>>,
    names: RefCell<Vec<(MeasureKind, String)>>,
    /// Everything else that was written, as text: edits, replies, response headers, filter state.
    pub written: RefCell<Vec<(ContextId, String)>>,
    pub state: RefCell<BTreeMap<(ContextId, String), String>>,
    /// The status of each response. A stream without one has a response whose status is no number.
    pub statuses: RefCell<BTreeMap<ContextId, u16>>,
    /// The streams whose status was read, in order.
    pub read_statuses: RefCell<Vec<ContextId>>,
    /// What happens within the host's function that answers a stream.
    on_answer: RefCell<Option<Box<dyn Fn()>>>,
}

/// The host as a worker sees it.
#[derive(Clone)]
pub struct Scripted(pub Rc<Script>);

impl Script {
    pub fn new() -> Rc<Self> {
        let script = Self::default();
        script.now.set(NOW);
        Rc::new(script)
    }

    /// The value of a metric; zero if it was never written.
    pub fn metric(&self, name: &str) -> u64 {
        self.metrics.borrow().get(name).copied().unwrap_or_default()
    }

    pub fn end(&self, stream: ContextId) -> Vec<End> {
        self.ends.borrow().get(&stream).cloned().unwrap_or_default()
    }

    /// The code that a stream was answered with, `ok` if it went on, `waits` if neither.
    pub fn outcome(&self, stream: ContextId) -> String {
        match self.end(stream).as_slice() {
            [] => "waits".to_owned(),
            [End::Resumed] => "ok".to_owned(),
            [End::Answered(_, code)] => code.clone(),
            several => format!("{several:?}"),
        }
    }

    pub fn wait(&self, duration: Duration) {
        self.now.set(self.now.get().saturating_add(duration));
    }

    fn end_current(&self, end: End) {
        let current = self.stream();
        self.ends.borrow_mut().entry(current).or_default().push(end);
    }

    /// The stream that the host's functions refer to.
    fn stream(&self) -> ContextId {
        let current = self.current.get();
        assert_ne!(current, ROOT, "no stream is current");
        current
    }

    fn write(&self, text: String) {
        self.written.borrow_mut().push((self.current.get(), text));
    }
}

impl RequestHost for Scripted {
    fn request_headers(&self) -> HeaderMap {
        let asks = self.0.asks.borrow();
        asks.get(&self.0.stream()).expect("the stream exists").headers.clone().into()
    }

    fn source_address(&self) -> Option<String> {
        self.0.asks.borrow().get(&self.0.stream())?.address.map(|address| format!("{address}:4711"))
    }

    fn metadata(&self) -> Option<Vec<u8>> {
        self.0.asks.borrow().get(&self.0.stream())?.metadata.clone()
    }

    fn certificate(&self) -> Option<String> {
        self.0.asks.borrow().get(&self.0.stream())?.certificate.clone()
    }

    fn edit_request(&self, edits: &Edits) {
        for name in &edits.remove {
            self.0.write(format!("request -{name}"));
        }
        for (name, value) in &edits.set {
            self.0.write(format!("request {name}: {}", String::from_utf8_lossy(value)));
        }
    }

    fn resume_request(&self) {
        self.0.end_current(End::Resumed);
    }

    fn reply(&self, reply: &Reply, protocol: Protocol) {
        let code = reply.headers.get("x-sidegate-code").unwrap_or_default().to_owned();
        self.0.end_current(End::Answered(reply.status, code));
        self.0.write(format!("reply {protocol:?} {reply:?}"));
        if let Some(happens) = self.0.on_answer.take() {
            happens();
        }
    }

    fn add_response_header(&self, name: &str, value: &str) {
        self.0.write(format!("response +{name}: {value}"));
    }

    fn set_response_header(&self, name: &str, value: &str) {
        self.0.write(format!("response {name}: {value}"));
    }

    fn response_status(&self) -> Option<u16> {
        let stream = self.0.stream();
        self.0.read_statuses.borrow_mut().push(stream);
        self.0.statuses.borrow().get(&stream).copied()
    }

    fn set_filter_state(&self, name: &str, value: &str) {
        let stream = self.0.stream();
        self.0.state.borrow_mut().insert((stream, name.to_owned()), value.to_owned());
    }
}

impl CallHost for Scripted {
    fn call(&self, call: &Call) -> Result<CallId, CallFailure> {
        if let Some(failure) = self.0.refuses_calls.borrow_mut().pop() {
            return Err(failure);
        }
        assert_eq!(
            self.0.current.get(),
            self.0.called_back.get(),
            "Envoy ties a call to the current context, the SDK to the one called back: they must be the same"
        );
        let mut calls = self.0.calls.borrow_mut();
        calls.push((self.0.called_back.get(), call.clone()));
        Ok(id(&calls, calls.len()))
    }

    fn switch_to(&self, context: ContextId) {
        // As Envoy does: a context that is gone cannot be switched to, and the current one stays.
        if context == ROOT || self.0.alive.borrow().contains(&context) {
            self.0.current.set(context);
        }
    }
}

/// The id of the call with this number, the first being 1.
fn id(calls: &[(ContextId, Call)], number: usize) -> CallId {
    let of_kind = u32::try_from(number).expect("tests make few calls");
    match calls[number - 1].1.transport {
        Transport::Http(_) => CallId::Http(of_kind),
        Transport::Grpc(_) => CallId::Grpc(of_kind),
    }
}

impl TimerHost for Scripted {
    fn now(&self) -> Timestamp {
        self.0.now.get()
    }

    fn tick_every(&self, period: Duration) {
        self.0.tick.set(period);
        self.0.fires.set(self.0.now.get().saturating_add(period));
    }
}

impl TelemetryHost for Scripted {
    fn define(&self, kind: MeasureKind, name: &str) -> Option<MeasureId> {
        let mut names = self.0.names.borrow_mut();
        names.push((kind, name.to_owned()));
        u32::try_from(names.len() - 1).ok()
    }

    fn count(&self, measure: MeasureId, by: u64) {
        let names = self.0.names.borrow();
        let (kind, name) = &names[measure as usize];
        assert_eq!(*kind, MeasureKind::Counter, "{name}");
        *self.0.metrics.borrow_mut().entry(name.clone()).or_default() += by;
    }

    fn record(&self, measure: MeasureId, value: u64) {
        let names = self.0.names.borrow();
        let (kind, name) = &names[measure as usize];
        assert_ne!(*kind, MeasureKind::Counter, "{name}");
        self.0.metrics.borrow_mut().insert(name.clone(), value);
    }

    fn logs(&self, level: log::Level) -> bool {
        !self.0.is_quiet.get() || level < log::Level::Info
    }

    fn log(&self, level: log::Level, line: &str) {
        assert!(self.logs(level), "made in vain: {line}");
        self.0.logs.borrow_mut().push((level, line.to_owned()));
    }
}

/// Random bytes for a worker's secret, different each time.
pub fn seed() -> Seed {
    static LAST: AtomicU8 = AtomicU8::new(0);
    [LAST.fetch_add(1, Ordering::Relaxed); 16]
}

// === The streams ===

/// The number of the root context.
pub const ROOT: ContextId = 0;

/// The streams of one worker, and the callbacks that Envoy makes for them.
pub struct Thread<S> {
    pub script: Rc<Script>,
    pub worker: Rc<Worker<Scripted, S>>,
    streams: RefCell<BTreeMap<ContextId, Rc<Stream>>>,
}

impl<S: Store + 'static> Thread<S> {
    pub fn new(script: &Rc<Script>, worker: Rc<Worker<Scripted, S>>) -> Rc<Self> {
        Rc::new(Self { script: Rc::clone(script), worker, streams: RefCell::default() })
    }

    /// A request arrives, at its time or later, and the gate decides; its end, or `waits`.
    pub fn request(&self, ask: Ask) -> (ContextId, String) {
        self.arrives(ask, |stream| self.worker.on_request(stream))
    }

    /// A request arrives, and `flow` decides.
    pub fn request_by<F: Future<Output = Ending> + 'static>(
        &self,
        ask: Ask,
        flow: impl FnOnce(Rc<Policy>, Request, Rc<Ports<S>>) -> F,
    ) -> (ContextId, String) {
        self.arrives(ask, |stream| self.worker.run(stream, flow))
    }

    fn arrives(&self, ask: Ask, decide: impl FnOnce(&Rc<Stream>) -> Action) -> (ContextId, String) {
        self.script.now.set(self.script.now.get().max(ask.at));
        let id = u32::try_from(self.script.asks.borrow().len()).expect("tests make few requests") + 1;
        self.script.asks.borrow_mut().insert(id, ask);
        self.script.alive.borrow_mut().insert(id);
        let stream = Stream::new(id);
        self.streams.borrow_mut().insert(id, Rc::clone(&stream));
        let action = self.within(id, || decide(&stream));
        let outcome = self.script.outcome(id);
        match action {
            Action::Continue => {
                assert_eq!(outcome, "waits", "a request that goes on is neither resumed nor answered");
                self.script.ends.borrow_mut().entry(id).or_default().push(End::Resumed);
                (id, "ok".to_owned())
            }
            Action::Pause => (id, outcome),
        }
    }

    /// The call with this number, the first being 1, returns to its context, if that still exists.
    pub fn reply(&self, number: usize, result: &CallResult) {
        let (home, _) = self.script.calls.borrow().get(number - 1).expect("a call that was made").clone();
        if home == ROOT || self.streams.borrow().contains_key(&home) {
            let id = id(&self.script.calls.borrow(), number);
            self.deliver(home, id, result);
        }
    }

    /// A callback about any call to any context, even if another made the call.
    pub fn deliver(&self, to: ContextId, call: CallId, result: &CallResult) {
        let home = if to == ROOT { Home::Root } else { Home::Stream(to) };
        self.within(to, || self.worker.on_call_result(home, call, result.clone()));
    }

    /// Envoy forgets the stream: the caller went away, or the exchange is over.
    pub fn gone(&self, stream: ContextId) {
        let stream = self.streams.borrow_mut().remove(&stream).map(|found| (stream, found));
        if let Some((id, stream)) = stream {
            self.within(id, || self.worker.on_gone(&stream));
            self.script.alive.borrow_mut().remove(&id);
        }
    }

    /// The service, or Envoy in its place, answers with this status.
    pub fn response_of(&self, stream: ContextId, status: u16) {
        self.script.statuses.borrow_mut().insert(stream, status);
        self.response(stream);
    }

    /// The service answers.
    pub fn response(&self, stream: ContextId) {
        let found = self.streams.borrow().get(&stream).cloned().expect("a stream that is there");
        self.within(stream, || self.worker.on_response(&found));
    }

    /// The timer fires, if it is set.
    pub fn tick(&self) -> bool {
        let period = self.script.tick.get();
        let due = !period.is_zero();
        if due {
            self.script.fires.set(self.script.now.get().saturating_add(period));
            self.within(ROOT, || self.worker.on_tick());
        }
        due
    }

    /// The timer fires as often as it is due during this time.
    pub fn wait(&self, duration: Duration) {
        let end = self.script.now.get().saturating_add(duration);
        loop {
            let next = self.script.fires.get();
            if self.script.tick.get().is_zero() || next > end {
                break;
            }
            self.script.now.set(next);
            self.tick();
        }
        self.script.now.set(end);
    }

    /// Starts a background task, as the root does when it is configured.
    pub fn spawn<F: Future<Output = ()> + 'static>(&self, task: impl FnOnce(Rc<Ports<S>>) -> F) {
        self.within(ROOT, || self.worker.spawn(task));
    }

    /// Starts a background task, and lets the root have the turn at which it begins.
    pub fn run_task<F: Future<Output = ()> + 'static>(&self, task: impl FnOnce(Rc<Ports<S>>) -> F) {
        self.spawn(task);
        assert!(self.tick(), "the root has a turn");
    }

    /// Starts the policy's background tasks, as the root does when it is configured, and lets them begin.
    pub fn start_tasks(&self) {
        self.within(ROOT, || sidegate::shell::tasks::start(&self.worker));
        assert!(self.tick(), "the root has a turn");
    }

    /// The policy is replaced: Envoy forgets the root.
    pub fn close(&self) {
        self.within(ROOT, || self.worker.close());
    }

    /// Lets Envoy reset `victim` while another stream is being answered.
    pub fn resets_when_answering(self: &Rc<Self>, victim: ContextId) {
        let thread = Rc::clone(self);
        self.script.on_answer.replace(Some(Box::new(move || thread.gone(victim))));
    }

    fn within<T>(&self, context: ContextId, callback: impl FnOnce() -> T) -> T {
        let script = &self.script;
        let before = (script.current.replace(context), script.called_back.replace(context));
        let result = callback();
        script.current.set(before.0);
        script.called_back.set(before.1);
        result
    }
}
