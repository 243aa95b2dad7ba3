//! The shell's logic: a worker runs one policy in one thread of the host. It runs the gate's futures, makes
//! the calls that they ask for, and carries out their endings.

mod endings;
mod running;

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    time::Duration,
};

use rustc_hash::FxHashMap;

use super::{
    calls::{Calls, Home},
    host::{CallId, ContextId, Host},
    log::Log,
    telemetry::Telemetry,
    timers::Timers,
};
use crate::{
    gate::{Coded, Ending, Request, Surroundings, decide},
    headers::HeaderList,
    policy::Policy,
    ports::{Arrival, Ports, Progress, Running, Wake},
    provider::{CallResult, Wanted},
    quota::is_list,
    store::{Seed, Store},
    time::Timestamp,
};

/// The most bytes of requests that may wait in one worker: header fields, and the overhead of keeping a
/// request.
pub const MOST_WAITING: usize = 64 << 20;
/// The approximate memory that a waiting request takes in addition to its header fields, in bytes.
const REQUEST_OVERHEAD: usize = 2048;
/// The delay until the root makes the calls that are left to it.
const SOON: Duration = Duration::from_millis(1);

/// One policy in one thread of the host.
pub struct Worker<H, S> {
    host: H,
    root: ContextId,
    policy: Rc<Policy>,
    ports: Rc<Ports<S>>,
    telemetry: Telemetry,
    log: Log,
    waiting: RefCell<FxHashMap<Waiter, Waiting<S>>>,
    waiting_bytes: Cell<usize>,
    calls: RefCell<Calls>,
    timers: RefCell<Timers>,
    last_task: Cell<u32>,
    /// The context that is being called back.
    home: Cell<Home>,
    /// The context that the host's functions apply to.
    current: Cell<ContextId>,
    /// When the root is called back next.
    next_turn: Cell<Option<Timestamp>>,
}

/// A waiter: a request, identified by its stream, or a background task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Waiter {
    /// A request.
    Request(ContextId),
    /// A background task.
    Task(u32),
}

/// One request, for as long as the host knows it.
pub struct Stream {
    id: ContextId,
    /// Headers to add to the service's response.
    response_headers: RefCell<HeaderList>,
    /// What wants to know the status of the response.
    coded: RefCell<Option<Box<Coded>>>,
}

/// What the host has to do with a request now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Let the request go on.
    Continue,
    /// Hold the request: it was answered, or it waits.
    Pause,
}

/// What runs, and waits from time to time.
struct Waiting<S> {
    work: Work<S>,
    /// The bytes that it adds towards [`MOST_WAITING`].
    bytes: usize,
    sleeps: bool,
}

/// What the host knows about the current request.
struct Around<H>(H);

enum Work<S> {
    Request(Rc<Stream>, Running<Ending, S>),
    Task(Running<(), S>),
}

/// When an ending is carried out: in the callback for the request's headers, or later, while the host holds
/// the request.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Moment {
    Headers,
    Later,
}

impl Stream {
    /// The stream with this number.
    pub fn new(id: ContextId) -> Rc<Self> {
        Rc::new(Self { id, response_headers: RefCell::default(), coded: RefCell::default() })
    }
}

impl<S: Store> Work<S> {
    /// Runs until it waits or is done; a request is done with an ending.
    fn advance(&mut self, arrival: Option<Arrival>) -> Progress<Option<(Rc<Stream>, Ending)>> {
        match self {
            Self::Request(stream, running) => {
                running.advance(arrival).map(|ending| Some((Rc::clone(stream), ending)))
            }
            Self::Task(running) => running.advance(arrival).map(|()| None),
        }
    }
}

impl<H: Host> Surroundings for Around<H> {
    fn address(&self) -> Option<String> {
        self.0.source_address().map(|address| without_port(&address).to_owned())
    }

    fn metadata(&self) -> Option<Vec<u8>> {
        self.0.metadata()
    }

    fn certificate(&self) -> Option<String> {
        self.0.certificate()
    }
}

impl<H: Host, S: Store + 'static> Worker<H, S> {
    /// A worker for one policy. `root` is the context that owns background work, and `seed` must be random.
    pub fn new(
        host: H,
        root: ContextId,
        policy: Rc<Policy>,
        store: S,
        seed: Seed,
        telemetry: Telemetry,
    ) -> Rc<Self> {
        Rc::new(Self {
            host,
            root,
            policy,
            ports: Ports::seeded(store, seed),
            telemetry,
            log: Log::default(),
            waiting: RefCell::default(),
            waiting_bytes: Cell::default(),
            calls: RefCell::default(),
            timers: RefCell::default(),
            last_task: Cell::default(),
            home: Cell::new(Home::Root),
            current: Cell::new(root),
            next_turn: Cell::default(),
        })
    }

    /// Handles a request whose headers have arrived: the gate decides.
    pub fn on_request(&self, stream: &Rc<Stream>) -> Action {
        self.run(stream, |policy, request, ports| decide(policy, request, ports))
    }

    /// Handles a request whose headers have arrived: `flow` decides.
    pub fn run<F: Future<Output = Ending> + 'static>(
        &self,
        stream: &Rc<Stream>,
        flow: impl FnOnce(Rc<Policy>, Request, Rc<Ports<S>>) -> F,
    ) -> Action {
        self.called_back(Home::Stream(stream.id));
        let headers = self.host.request_headers();
        let bytes = headers.bytes().saturating_add(REQUEST_OVERHEAD);
        let request = Request::new(headers, Around(self.host.clone()), stream.id);
        let flow = flow(Rc::clone(&self.policy), request, Rc::clone(&self.ports));
        let waiting = Waiting {
            work: Work::Request(Rc::clone(stream), Running::new(&self.ports, flow)),
            bytes,
            sleeps: false,
        };
        self.advance(Waiter::Request(stream.id), waiting, None, Moment::Headers)
    }

    /// Handles a response from the service, or one of the host's own.
    pub fn on_response(&self, stream: &Stream) {
        for (name, value) in stream.response_headers.take().iter() {
            if is_list(name) {
                self.host.add_response_header(name, value);
            } else {
                self.host.set_response_header(name, value);
            }
        }
        if let Some(coded) = stream.coded.take()
            && let Some(status) = self.host.response_status()
        {
            self.called_back(Home::Stream(stream.id));
            coded.answered(status, &self.policy, &self.ports);
            self.report_incidents();
        }
    }

    /// Which parts of the response to a call are wanted. `None` if nobody waits for it any more.
    pub fn wanted(&self, call: CallId) -> Option<Wanted> {
        self.calls.borrow().wanted(call)
    }

    /// Handles the result of a call, which was passed to `home`.
    pub fn on_call_result(&self, home: Home, call: CallId, result: CallResult) {
        self.called_back(home);
        let landed = self.calls.borrow_mut().landed(call);
        if let Some(landed) = landed {
            self.deliver(landed, result);
        }
    }

    /// Handles the end of a stream.
    pub fn on_gone(&self, stream: &Stream) {
        let waiter = Waiter::Request(stream.id);
        let Some(waiting) = self.take(waiter) else { return };
        self.ports.set_now(self.host.now());
        if self.calls.borrow_mut().gone(waiter) {
            self.root_turn_by(self.ports.now().saturating_add(SOON));
        }
        // Its destructors give back the charges.
        drop(waiting);
        self.report_incidents();
    }

    /// The root's turn: makes the calls that are left to it, and wakes the waiters whose moment has come.
    pub fn on_tick(&self) {
        self.called_back(Home::Root);
        self.next_turn.set(None);
        let due = self.calls.borrow().due();
        for (flight, call) in due {
            match self.call(&call) {
                Ok(id) => self.calls.borrow_mut().made_by_root(flight, id, self.ports.now()),
                Err(failure) => {
                    let landed = self.calls.borrow_mut().failed(flight);
                    if let Some(landed) = landed {
                        self.deliver(landed, Err(failure));
                    }
                }
            }
        }
        let due = self.timers.borrow_mut().due(self.ports.now());
        for waiter in due {
            self.wake(waiter, Wake::Due);
        }
        self.arm();
    }

    /// Starts a background task at the root's next turn. It runs until it completes, or until the policy is
    /// replaced.
    ///
    /// A host may load a policy only to check that it loads. Envoy does so in a VM that it discards without
    /// any call. The root has no turn there, so a task that nobody stops does nothing.
    pub fn spawn<F: Future<Output = ()> + 'static>(&self, task: impl FnOnce(Rc<Ports<S>>) -> F) {
        self.called_back(Home::Root);
        self.start(task(Rc::clone(&self.ports)));
    }

    /// Starts a background task at the root's next turn, in whatever callback.
    fn start<F: Future<Output = ()> + 'static>(&self, task: F) {
        self.last_task.set(self.last_task.get().wrapping_add(1));
        let ports = Rc::clone(&self.ports);
        let running = Running::new(&self.ports, async move {
            if ports.sleep_until(ports.now()).await == Wake::Due {
                task.await;
            }
        });
        let waiting = Waiting { work: Work::Task(running), bytes: 0, sleeps: false };
        self.advance(Waiter::Task(self.last_task.get()), waiting, None, Moment::Later);
    }

    /// The policy is being replaced: every task that sleeps gets its last turn, and then all tasks end.
    pub fn close(&self) {
        self.called_back(Home::Root);
        let tasks: Vec<Waiter> = self
            .waiting
            .borrow()
            .keys()
            .filter(|waiter| matches!(waiter, Waiter::Task(_)))
            .copied()
            .collect();
        for task in tasks {
            let Some(mut waiting) = self.take(task) else { continue };
            self.calls.borrow_mut().gone(task);
            if waiting.sleeps {
                waiting.work.advance(Some(Arrival::Moment(Wake::LastTurn)));
            }
        }
        self.report_incidents();
    }

    /// The worker's host.
    pub const fn host(&self) -> &H {
        &self.host
    }

    /// The worker's policy.
    pub const fn policy(&self) -> &Rc<Policy> {
        &self.policy
    }

    /// The worker's ports.
    pub const fn ports(&self) -> &Rc<Ports<S>> {
        &self.ports
    }

    /// The worker's telemetry.
    pub const fn telemetry(&self) -> &Telemetry {
        &self.telemetry
    }
}

/// `1.2.3.4:5` and `[::1]:5` without the port.
fn without_port(address: &str) -> &str {
    match address.rsplit_once(':') {
        Some((host, port))
            if port.bytes().all(|byte| byte.is_ascii_digit())
                && (host.ends_with(']') || !host.contains(':')) =>
        {
            host
        }
        _ => address,
    }
}
