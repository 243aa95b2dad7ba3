//! The shell's logic: a worker runs one policy in one thread of the host. It runs the gate's futures, makes
//! the calls that they ask for, and carries out their endings.
//!
//! `Worker::admit` is the only place that lets a request go on, and it takes a [`Permit`]. `Worker::reply` is
//! the only place that answers in the service's place. It is called with the reply of a [`Refused`] or an
//! [`Answer`].

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    time::Duration,
};

use rustc_hash::FxHashMap;

use super::{
    calls::{Calls, Home, Landed, Origin},
    host::{CallId, ContextId, Host},
    log::{Log, Verb},
    telemetry::{Decision, Telemetry},
    timers::Timers,
};
use crate::{
    gate::{Answer, Coded, Ending, Permit, Refused, Request, Surroundings, Trail, decide},
    headers::HeaderList,
    identity::Lookup,
    policy::{Policy, StateName},
    ports::{Answered, Arrival, Ports, Progress, Role, Running, Wake, Wish},
    provider::{Asker, Call, CallFailure, CallResult, Sharing, Wanted},
    quota::{is_list, network},
    refusal::{Code, Refusal},
    reply::{Protocol, Reply},
    store::{Seed, Store},
    time::Timestamp,
};

/// The most bytes of requests that may wait in one worker: header fields, and the overhead of keeping a
/// request.
pub const MOST_WAITING: usize = 64 << 20;
/// The approximate memory that a waiting request takes in addition to its header fields, in bytes.
const REQUEST_OVERHEAD: usize = 2048;
/// How much too early a host's timer may fire. Envoy counts from the moment at which its event loop woke up,
/// which is before the call.
const EARLY: Duration = Duration::from_millis(10);
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

// === What the host calls ===

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

// === Running futures ===

impl<H: Host, S: Store + 'static> Worker<H, S> {
    /// Prepares for a callback from the host. Everything up to the next callback happens at one moment.
    fn called_back(&self, home: Home) {
        self.home.set(home);
        self.current.set(self.context(home));
        self.ports.set_now(self.host.now());
    }

    /// Runs a future until it waits or completes.
    fn advance(
        &self,
        waiter: Waiter,
        mut waiting: Waiting<S>,
        mut arrival: Option<Arrival>,
        moment: Moment,
    ) -> Action {
        loop {
            let progress = waiting.work.advance(arrival.take());
            self.report_incidents();
            for errand in self.ports.take_errands() {
                self.start(errand(Rc::clone(&self.ports)));
            }
            match progress {
                Progress::Done(Some((stream, ending))) => return self.carry_out(&stream, ending, moment),
                Progress::Done(None) => return Action::Pause,
                Progress::Waits(Wish::Moment(due)) => {
                    self.timers.borrow_mut().wake(waiter, due);
                    self.keep(waiter, Waiting { sleeps: true, ..waiting });
                    self.arm();
                    return Action::Pause;
                }
                Progress::Waits(Wish::Response(call)) => match self.place(waiter, *call, waiting.bytes) {
                    Ok(()) => {
                        self.keep(waiter, Waiting { sleeps: false, ..waiting });
                        return Action::Pause;
                    }
                    Err(failure) => arrival = Some(Arrival::Response(Answered::failed(failure))),
                },
            }
        }
    }

    /// Makes `waiter` wait for the response to `call`.
    fn place(&self, waiter: Waiter, call: Call, bytes: usize) -> Result<(), CallFailure> {
        if self.waiting_bytes.get().saturating_add(bytes) > MOST_WAITING {
            return Err(CallFailure::Overloaded);
        }
        if let Sharing::Joined(question) = call.sharing
            && self.calls.borrow_mut().join(&question, waiter)
        {
            return Ok(());
        }
        let origin = self.origin(waiter, call.asker);
        if !self.calls.borrow().has_room(&origin) {
            return Err(CallFailure::Overloaded);
        }
        let (home, now) = (self.home.get(), self.ports.now());
        let is_its_own = match (home, waiter) {
            (Home::Root, _) => true,
            (Home::Stream(home), Waiter::Request(stream)) => home == stream,
            (Home::Stream(_), Waiter::Task(_)) => false,
        };
        if is_its_own {
            let id = self.call(&call)?;
            self.calls.borrow_mut().made(call, origin, id, home, waiter, now);
        } else {
            self.calls.borrow_mut().leave_to_root(call, origin, waiter, now);
            self.root_turn_by(now.saturating_add(SOON));
        }
        Ok(())
    }

    /// Where a call comes from. If that is a request, its context is the current one.
    fn origin(&self, waiter: Waiter, asker: Asker) -> Origin {
        match (asker, waiter) {
            (Asker::Known, _) | (Asker::Stranger, Waiter::Task(_)) => Origin::Known,
            (Asker::Stranger, Waiter::Request(_)) => {
                let address = self.host.source_address().unwrap_or_default();
                Origin::Stranger(network(without_port(&address)).into())
            }
        }
    }

    /// Makes a call. Its response is passed to the context that is being called back.
    fn call(&self, call: &Call) -> Result<CallId, CallFailure> {
        self.switch_to(self.context(self.home.get()));
        self.host.call(call)
    }

    /// Passes the result to every waiter; the first that still exists leads.
    fn deliver(&self, landed: Landed, result: CallResult) {
        let took = self.ports.now().since(landed.since);
        let result = Rc::new(match result {
            // Some hosts do not report which of their failures are timeouts.
            Err(CallFailure::Failed) if took >= timed_out_after(landed.timeout) => Err(CallFailure::TimedOut),
            result => result,
        });
        let mut role = Role::Leader;
        for waiter in landed.waiters {
            // The waiter may have ended, even while another waiter was answered.
            let Some(waiting) = self.take(waiter) else { continue };
            let answered = Answered { result: Rc::clone(&result), role, took };
            role = Role::Follower;
            self.resume(waiter, waiting, Arrival::Response(answered));
        }
    }

    fn wake(&self, waiter: Waiter, wake: Wake) {
        if let Some(waiting) = self.take(waiter) {
            self.resume(waiter, waiting, Arrival::Moment(wake));
        }
    }

    fn resume(&self, waiter: Waiter, waiting: Waiting<S>, arrival: Arrival) {
        if let Waiter::Request(stream) = waiter {
            self.switch_to(stream);
        }
        self.advance(waiter, waiting, Some(arrival), Moment::Later);
    }

    fn keep(&self, waiter: Waiter, waiting: Waiting<S>) {
        self.waiting_bytes.set(self.waiting_bytes.get().saturating_add(waiting.bytes));
        self.waiting.borrow_mut().insert(waiter, waiting);
    }

    fn take(&self, waiter: Waiter) -> Option<Waiting<S>> {
        let waiting = self.waiting.borrow_mut().remove(&waiter)?;
        self.waiting_bytes.set(self.waiting_bytes.get().saturating_sub(waiting.bytes));
        Some(waiting)
    }

    fn context(&self, home: Home) -> ContextId {
        match home {
            Home::Stream(stream) => stream,
            Home::Root => self.root,
        }
    }

    fn switch_to(&self, context: ContextId) {
        if self.current.replace(context) != context {
            self.host.switch_to(context);
        }
    }

    /// Ensures that the root is called back if something waits for it, and not otherwise.
    fn arm(&self) {
        let soon = self.calls.borrow().any_due().then(|| self.ports.now().saturating_add(SOON));
        let next = self.timers.borrow().next();
        match soon.into_iter().chain(next).min() {
            Some(moment) => self.root_turn_by(moment),
            None if self.next_turn.get().is_none() => self.host.tick_every(Duration::ZERO),
            None => {}
        }
    }

    /// Ensures that the root is called back at `moment` or earlier.
    fn root_turn_by(&self, moment: Timestamp) {
        if self.next_turn.get().is_none_or(|next| moment < next) {
            self.next_turn.set(Some(moment));
            self.host.tick_every(moment.since(self.ports.now()).max(SOON));
        }
    }
}

// === Endings ===

impl<H: Host, S: Store + 'static> Worker<H, S> {
    fn carry_out(&self, stream: &Stream, ending: Ending, moment: Moment) -> Action {
        match ending {
            Ending::Permit(permit) => self.admit(stream, permit, moment),
            Ending::Refused(refused) => self.refuse(stream, &refused),
            Ending::Answer(answer) => self.answer(stream, *answer),
        }
    }

    fn admit(&self, stream: &Stream, mut permit: Permit, moment: Moment) -> Action {
        self.host.edit_request(permit.edits());
        self.passed(permit.trail(), permit.correlation());
        stream.coded.replace(permit.take_coded());
        stream.response_headers.replace(permit.into_response_headers());
        if moment == Moment::Later {
            self.host.resume_request();
        }
        Action::Continue
    }

    fn refuse(&self, stream: &Stream, refused: &Refused) -> Action {
        let (trail, refusal) = (refused.trail(), refused.refusal());
        self.log_refusal(trail, Verb::Refused, refusal, refused.correlation());
        self.publish(trail, Decision::Refused(refusal.cause.code()));
        self.reply(stream, refused.reply(), refused.protocol())
    }

    fn answer(&self, stream: &Stream, mut answer: Answer) -> Action {
        self.passed(answer.trail(), answer.correlation());
        if let Some(coded) = answer.take_coded() {
            coded.answered(answer.reply().status, &self.policy, &self.ports);
        }
        self.reply(stream, answer.reply(), answer.protocol())
    }

    /// Records that a request passed, possibly only because of shadow mode.
    fn passed(&self, trail: &Trail, correlation: Option<&str>) {
        let decision = match (&trail.refusal, correlation) {
            (Some(refusal), Some(correlation)) => {
                self.log_refusal(trail, Verb::WouldRefuse, refusal, correlation);
                Decision::Shadowed(refusal.cause.code())
            }
            _ => Decision::Admitted,
        };
        if !trail.fallen.is_empty() {
            self.telemetry.fallen(&self.host, trail);
            self.log.fallen(&self.host, self.ports.now(), trail);
        }
        self.publish(trail, decision);
    }

    fn reply(&self, stream: &Stream, reply: &Reply, protocol: Protocol) -> Action {
        if let Some(content_type) = protocol.grpc_web_type() {
            stream.response_headers.replace(HeaderList::from([("content-type", content_type)]));
        }
        self.host.reply(reply, protocol);
        Action::Pause
    }

    /// Records metrics, and sets the values for access logs.
    fn publish(&self, trail: &Trail, decision: Decision) {
        for alert in &trail.alerts {
            self.telemetry.alerted(&self.host, &trail.policy, alert);
            self.log.alert(&self.host, self.ports.now(), &trail.policy, alert);
        }
        self.telemetry.decided(&self.host, trail, decision, self.ports.now());
        for state in &trail.policy.filter_state {
            let (name, value) = match state {
                StateName::Api => ("sidegate.api", trail.api()),
                StateName::Rule => ("sidegate.rule", trail.rule()),
                StateName::Consumer => ("sidegate.consumer", trail.consumer()),
                StateName::Key => ("sidegate.key", trail.key()),
                StateName::Plan => ("sidegate.plan", trail.plan()),
                StateName::Cache => ("sidegate.cache", trail.lookup.map(Lookup::as_str)),
                StateName::Code => ("sidegate.code", decision.code().map(Code::digits)),
            };
            if let Some(value) = value {
                self.host.set_filter_state(name, value);
            }
        }
    }

    fn log_refusal(&self, trail: &Trail, verb: Verb, refusal: &Refusal, correlation: &str) {
        self.log.refusal(&self.host, self.ports.now(), trail, verb, refusal, correlation);
    }

    fn report_incidents(&self) {
        self.telemetry.incidents(&self.host, self.ports.take_incidents());
        for report in self.ports.take_reports() {
            self.telemetry.reported(&self.host, &self.policy, &report);
            self.log.report(&self.host, self.ports.now(), &self.policy, &report);
        }
    }
}

/// A call that failed no earlier than this has timed out.
fn timed_out_after(timeout: Duration) -> Duration {
    let half = timeout.checked_div(2).unwrap_or_default();
    timeout.saturating_sub(EARLY).max(half)
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
