//! An Envoy of paper: a host that records what the filter asks of it and plays streams, calls and ticks as a script says.

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
    time::Duration,
};

use sidegate::{
    filter::{
        host::{CallId, Host, MetricId, MetricKind, StreamId},
        worker::{Flow, Stream, Worker},
    },
    gate::Edits,
    provider::{ProviderReply, ProviderRequest},
    refusal::Reply,
    store::Store,
    time::Timestamp,
};

use super::support::{Ask, NOW};

/// What became of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// The filter let it go on.
    Resumed,
    /// The filter answered it, with this status and code.
    Answered(u16, String),
}

/// The host of all workers of a test.
#[derive(Default)]
pub struct Paper {
    pub now: Cell<Timestamp>,
    pub asks: RefCell<BTreeMap<StreamId, Ask>>,
    alive: RefCell<BTreeSet<StreamId>>,
    /// The stream that the host's functions speak of; none in the root's callbacks.
    pub current: Cell<Option<StreamId>>,
    /// What became of each stream, in order: more than one end is a fault of the filter.
    pub ends: RefCell<BTreeMap<StreamId, Vec<End>>>,
    /// Calls made: who made each (none for the root), and what was asked.
    pub calls: RefCell<Vec<(Option<StreamId>, ProviderRequest)>>,
    /// What the next calls come to instead of being made.
    pub refuses_calls: RefCell<Vec<ProviderReply>>,
    pub tick: Cell<Duration>,
    pub logs: RefCell<Vec<(log::Level, String)>>,
    pub metrics: RefCell<BTreeMap<String, u64>>,
    names: RefCell<Vec<(MetricKind, String)>>,
    /// Everything else that was written, as text: edits, replies, response headers, filter state.
    pub written: RefCell<Vec<(Option<StreamId>, String)>>,
    pub state: RefCell<BTreeMap<(StreamId, String), String>>,
    /// What happens within the host's function that answers a stream.
    on_answer: RefCell<Option<Box<dyn Fn()>>>,
}

/// The host as a worker holds it.
#[derive(Clone)]
pub struct Envoy(pub Rc<Paper>);

impl Paper {
    pub fn new() -> Rc<Self> {
        let paper = Self::default();
        paper.now.set(NOW);
        Rc::new(paper)
    }

    /// The value of a metric; zero if it was never written.
    pub fn metric(&self, name: &str) -> u64 {
        self.metrics.borrow().get(name).copied().unwrap_or_default()
    }

    pub fn end(&self, stream: StreamId) -> Vec<End> {
        self.ends.borrow().get(&stream).cloned().unwrap_or_default()
    }

    /// The code that a stream was answered with, `ok` if it went on, `waits` if neither.
    pub fn outcome(&self, stream: StreamId) -> String {
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
        let current = self.current.get().expect("no stream is current");
        self.ends.borrow_mut().entry(current).or_default().push(end);
    }

    fn write(&self, text: String) {
        self.written.borrow_mut().push((self.current.get(), text));
    }
}

impl Host for Envoy {
    fn now(&self) -> Timestamp {
        self.0.now.get()
    }

    fn request_headers(&self) -> Vec<(String, Vec<u8>)> {
        let current = self.0.current.get().expect("no stream is current");
        self.0.asks.borrow().get(&current).expect("the stream is gone").headers.clone()
    }

    fn source_address(&self) -> Option<String> {
        let current = self.0.current.get().expect("no stream is current");
        self.0.asks.borrow().get(&current)?.address.map(|address| format!("{address}:4711"))
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

    fn reply(&self, reply: &Reply, grpc: bool) {
        let code = reply.headers.iter().find(|(name, _)| *name == "x-sidegate-code");
        let code = code.map(|(_, code)| code.clone()).unwrap_or_default();
        self.0.end_current(End::Answered(reply.status, code));
        self.0.write(format!("reply grpc={grpc} {reply:?}"));
        if let Some(happens) = self.0.on_answer.take() {
            happens();
        }
    }

    fn add_response_header(&self, name: &str, value: &str) {
        self.0.write(format!("response {name}: {value}"));
    }

    fn set_filter_state(&self, name: &str, value: &str) {
        let current = self.0.current.get().expect("no stream is current");
        self.0.state.borrow_mut().insert((current, name.to_owned()), value.to_owned());
    }

    fn call(&self, request: &ProviderRequest) -> Result<CallId, ProviderReply> {
        if let Some(reply) = self.0.refuses_calls.borrow_mut().pop() {
            return Err(reply);
        }
        let mut calls = self.0.calls.borrow_mut();
        calls.push((self.0.current.get(), request.clone()));
        Ok(u32::try_from(calls.len()).expect("tests make few calls"))
    }

    fn switch_to(&self, stream: StreamId) {
        // As Envoy does: a context that is gone cannot be switched to, and the current one stays.
        if self.0.alive.borrow().contains(&stream) {
            self.0.current.set(Some(stream));
        }
    }

    fn tick_every(&self, period: Duration) {
        self.0.tick.set(period);
    }

    fn metric(&self, kind: MetricKind, name: &str) -> Option<MetricId> {
        let mut names = self.0.names.borrow_mut();
        names.push((kind, name.to_owned()));
        u32::try_from(names.len() - 1).ok()
    }

    fn count(&self, metric: MetricId, by: u64) {
        let names = self.0.names.borrow();
        let (kind, name) = &names[metric as usize];
        assert_eq!(*kind, MetricKind::Counter, "{name}");
        *self.0.metrics.borrow_mut().entry(name.clone()).or_default() += by;
    }

    fn record(&self, metric: MetricId, value: u64) {
        let names = self.0.names.borrow();
        let (kind, name) = &names[metric as usize];
        assert_ne!(*kind, MetricKind::Counter, "{name}");
        self.0.metrics.borrow_mut().insert(name.clone(), value);
    }

    fn log(&self, level: log::Level, line: &str) {
        self.0.logs.borrow_mut().push((level, line.to_owned()));
    }
}

// === The streams ===

/// The streams of one worker, and the callbacks that Envoy makes for them.
pub struct Thread<S> {
    pub paper: Rc<Paper>,
    pub worker: Rc<Worker<Envoy, S>>,
    streams: RefCell<BTreeMap<StreamId, Rc<Stream>>>,
}

impl<S: Store + 'static> Thread<S> {
    pub fn new(paper: &Rc<Paper>, worker: Rc<Worker<Envoy, S>>) -> Rc<Self> {
        Rc::new(Self { paper: Rc::clone(paper), worker, streams: RefCell::default() })
    }

    /// A request arrives, at its time or later; its end, or `waits`.
    pub fn request(&self, ask: Ask) -> (StreamId, String) {
        self.paper.now.set(self.paper.now.get().max(ask.at));
        let id = u32::try_from(self.paper.asks.borrow().len()).expect("tests make few requests") + 1;
        self.paper.asks.borrow_mut().insert(id, ask);
        self.paper.alive.borrow_mut().insert(id);
        let stream = Stream::new(id);
        self.streams.borrow_mut().insert(id, Rc::clone(&stream));
        let flow = self.within(Some(id), || self.worker.on_request(&stream));
        let outcome = self.paper.outcome(id);
        match flow {
            Flow::Continue => {
                assert_eq!(outcome, "waits", "a request that goes on is neither resumed nor answered");
                self.paper.ends.borrow_mut().entry(id).or_default().push(End::Resumed);
                (id, "ok".to_owned())
            }
            Flow::Pause => (id, outcome),
        }
    }

    /// The call numbered `call` is answered, to the context that made it, if that still is there.
    pub fn reply(&self, call: CallId, reply: &ProviderReply) {
        let made_by = self.paper.calls.borrow().get(call as usize - 1).expect("a call that was made").0;
        if made_by.is_none_or(|stream| self.streams.borrow().contains_key(&stream)) {
            self.deliver(made_by, call, reply);
        }
    }

    /// A callback about any call to any context, whoever made it.
    pub fn deliver(&self, to: Option<StreamId>, call: CallId, reply: &ProviderReply) {
        self.within(to, || self.worker.on_reply(call, reply));
    }

    /// Envoy forgets the stream: the caller went away, or the exchange is over.
    pub fn gone(&self, stream: StreamId) {
        let stream = self.streams.borrow_mut().remove(&stream).map(|found| (stream, found));
        if let Some((id, stream)) = stream {
            self.within(Some(id), || self.worker.on_gone(&stream));
            self.paper.alive.borrow_mut().remove(&id);
        }
    }

    /// The service answers.
    pub fn response(&self, stream: StreamId) {
        let found = self.streams.borrow().get(&stream).cloned().expect("a stream that is there");
        self.within(Some(stream), || self.worker.on_response(&found));
    }

    /// The timer fires, if it is set.
    pub fn tick(&self) -> bool {
        let due = !self.paper.tick.get().is_zero();
        if due {
            self.within(None, || self.worker.on_tick());
        }
        due
    }

    /// Has Envoy reset `victim` within the very call that answers a stream.
    pub fn resets_when_answering(self: &Rc<Self>, victim: StreamId) {
        let thread = Rc::clone(self);
        self.paper.on_answer.replace(Some(Box::new(move || thread.gone(victim))));
    }

    fn within<T>(&self, stream: Option<StreamId>, callback: impl FnOnce() -> T) -> T {
        let before = self.paper.current.replace(stream);
        let result = callback();
        self.paper.current.set(before);
        result
    }
}
