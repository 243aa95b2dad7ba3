//! The shell's logic: carries the gate's steps out. One worker holds one policy in one thread of Envoy.
//!
//! `Worker::admit` is the one place that lets a request go on, and it takes a [`Permit`]; `Worker::refuse` is the one place that
//! answers in the service's stead, and it takes a [`Refused`].

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    time::Duration,
};

use crate::{
    credential::Digest,
    gate::{Call, Facts, Gate, Lookup, Pending, Permit, Refused, Request, Shadowed, Step},
    policy::StateName,
    provider::{ProviderReply, ProviderRequest},
    store::Store,
    time::Timestamp,
};

use super::{
    flights::{Boarding, Flights, Landed},
    host::{CallId, Host, StreamId},
    metrics::{Metrics, NONE, Outcome},
};

/// How soon the root looks after waiters whose leader is gone.
const ORPHAN_TICK: Duration = Duration::from_millis(10);

/// One policy in one thread of Envoy.
pub struct Worker<H, S> {
    host: H,
    gate: Gate<S>,
    flights: RefCell<Flights<(Rc<Stream>, Pending)>>,
    metrics: Metrics,
}

/// One request, as long as Envoy knows it.
pub struct Stream {
    id: StreamId,
    /// Headers for the caller, on the service's response.
    response_headers: RefCell<Vec<(&'static str, String)>>,
    /// The request waits, or has waited, for a provider.
    waits: Cell<bool>,
    /// Envoy has forgotten the request.
    gone: Cell<bool>,
}

/// What Envoy is to do with a request now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// Let it go on.
    Continue,
    /// Hold it: it is answered, or waits for a provider.
    Pause,
}

/// When a step is carried out: in the request's own callback, or later, when Envoy holds it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Moment {
    Now,
    Later,
}

impl Stream {
    /// The stream with this number.
    pub fn new(id: StreamId) -> Rc<Self> {
        Rc::new(Self {
            id,
            response_headers: RefCell::default(),
            waits: Cell::default(),
            gone: Cell::default(),
        })
    }
}

impl<H: Host, S: Store> Worker<H, S> {
    /// A worker for one policy.
    pub fn new(host: H, gate: Gate<S>, metrics: Metrics) -> Rc<Self> {
        Rc::new(Self { host, gate, flights: RefCell::default(), metrics })
    }

    /// The request's headers have arrived.
    pub fn on_request(&self, stream: &Rc<Stream>) -> Flow {
        let headers = self.host.request_headers();
        let now = self.host.now();
        let address = || self.host.source_address().map(|address| without_port(&address).to_owned());
        let request = Request { headers: &headers, address: &address, stream: stream.id };
        let step = self.gate.begin(&request, now);
        self.carry_out(stream, step, now, Moment::Now)
    }

    /// The service's response has arrived, or one of Envoy's own.
    pub fn on_response(&self, stream: &Stream) {
        for (name, value) in stream.response_headers.take() {
            self.host.add_response_header(name, &value);
        }
    }

    /// A provider has answered, or will not.
    pub fn on_reply(&self, call: CallId, reply: &ProviderReply) {
        let landed = self.flights.borrow_mut().landed(call);
        if let Some(landed) = landed {
            self.deliver(landed, reply);
        }
    }

    /// Envoy forgets the stream.
    pub fn on_gone(&self, stream: &Stream) {
        stream.gone.set(true);
        if stream.waits.get() && self.flights.borrow_mut().left(stream.id) {
            self.host.tick_every(ORPHAN_TICK);
        }
    }

    /// The root's turn: call for those whose leader is gone.
    pub fn on_tick(&self) {
        self.host.tick_every(Duration::ZERO);
        let orphans = self.flights.borrow().orphans();
        let mut failed = Vec::new();
        for (question, request) in orphans {
            match self.host.call(&request) {
                Ok(call) => self.flights.borrow_mut().adopted(question, call, self.host.now()),
                Err(reply) => failed.push((question, reply)),
            }
        }
        // Only now, as it makes streams the current ones: a call made after that would be theirs, and go when they go.
        for (question, reply) in failed {
            let landed = self.flights.borrow_mut().abandoned(question);
            if let Some(landed) = landed {
                self.deliver(landed, &reply);
            }
        }
    }

    /// The worker's host.
    pub const fn host(&self) -> &H {
        &self.host
    }

    /// The worker's gate.
    pub const fn gate(&self) -> &Gate<S> {
        &self.gate
    }

    /// The worker's metrics.
    pub const fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Everyone who waited gets the reply; the first of them stands for the call in the metrics.
    fn deliver(&self, landed: Landed<(Rc<Stream>, Pending)>, reply: &ProviderReply) {
        let now = self.host.now();
        let mut first = true;
        for (id, (stream, pending)) in landed.waiters {
            // It may have gone while another was answered: there is no switching to it, and its end would befall that other.
            if stream.gone.get() {
                continue;
            }
            self.host.switch_to(id);
            let step = pending.resume(&self.gate, reply, now, first);
            if first {
                self.record_call(step.facts(), landed.since, now);
            }
            first = false;
            self.carry_out(&stream, step, now, Moment::Later);
        }
    }

    fn record_call(&self, facts: &Facts, since: Timestamp, now: Timestamp) {
        self.metrics.called(&self.host, facts, now.millis().saturating_sub(since.millis()));
    }

    fn carry_out(&self, stream: &Rc<Stream>, step: Step, now: Timestamp, moment: Moment) -> Flow {
        match step {
            Step::Permit(permit) => self.admit(stream, permit, moment),
            Step::Refuse(refused) => self.refuse(*refused),
            Step::Call(call) => self.call(stream, *call, now, moment),
        }
    }

    fn admit(&self, stream: &Stream, permit: Permit, moment: Moment) -> Flow {
        self.host.edit_request(permit.edits());
        let facts = permit.facts();
        let (outcome, code) = match &facts.shadowed {
            None => (Outcome::Admitted, NONE),
            Some(Shadowed { code, reason, correlation }) => {
                self.log(facts, "would refuse", code, reason.as_str(), correlation);
                (Outcome::Shadowed, *code)
            }
        };
        self.publish(facts, outcome, code);
        stream.response_headers.replace(permit.into_response_headers());
        if moment == Moment::Later {
            self.host.resume_request();
        }
        Flow::Continue
    }

    fn refuse(&self, refused: Refused) -> Flow {
        let code = refused.refusal().row().digits;
        self.log(refused.facts(), "refused", code, refused.reason().as_str(), refused.correlation());
        self.publish(refused.facts(), Outcome::Refused, code);
        self.host.reply(refused.reply(), refused.grpc());
        Flow::Pause
    }

    fn call(&self, stream: &Rc<Stream>, call: Call, now: Timestamp, moment: Moment) -> Flow {
        let Call { question, request, then } = call;
        let boarding = self.flights.borrow_mut().board(question, stream.id, (Rc::clone(stream), then));
        match boarding {
            Boarding::Waiting => {
                stream.waits.set(true);
                Flow::Pause
            }
            Boarding::Lead((_, pending)) => self.lead(stream, question, request, pending, now, moment),
            Boarding::Full((_, pending)) => {
                let step = pending.resume(&self.gate, &ProviderReply::TooManyCalls, now, true);
                self.record_call(step.facts(), now, now);
                self.carry_out(stream, step, now, moment)
            }
        }
    }

    fn lead(
        &self,
        stream: &Rc<Stream>,
        question: Digest,
        request: ProviderRequest,
        pending: Pending,
        now: Timestamp,
        moment: Moment,
    ) -> Flow {
        match self.host.call(&request) {
            Ok(call) => {
                let waiter = (Rc::clone(stream), pending);
                self.flights.borrow_mut().departed(question, call, stream.id, waiter, request, now);
                stream.waits.set(true);
                Flow::Pause
            }
            Err(reply) => {
                let step = pending.resume(&self.gate, &reply, now, true);
                self.record_call(step.facts(), now, now);
                self.carry_out(stream, step, now, moment)
            }
        }
    }

    /// Metrics, and the values that access logs may show.
    fn publish(&self, facts: &Facts, outcome: Outcome, code: &'static str) {
        self.metrics.decided(&self.host, facts, outcome, code);
        for state in &facts.policy.filter_state {
            let (name, value) = match state {
                StateName::Api => ("sidegate.api", facts.api()),
                StateName::Rule => ("sidegate.rule", facts.rule()),
                StateName::Consumer => ("sidegate.consumer", facts.consumer()),
                StateName::Plan => ("sidegate.plan", facts.plan()),
                StateName::Cache => ("sidegate.cache", facts.lookup.map(Lookup::as_str)),
                StateName::Code => ("sidegate.code", Some(code).filter(|code| *code != NONE)),
            };
            if let Some(value) = value {
                self.host.set_filter_state(name, value);
            }
        }
    }

    fn log(&self, facts: &Facts, verb: &str, code: &str, reason: &str, correlation: &str) {
        let (api, rule) = (facts.api().unwrap_or("-"), facts.rule().unwrap_or("-"));
        let consumer = facts.consumer().unwrap_or("-");
        let line = format!(
            "{verb} code={code} api={api} rule={rule} consumer={consumer} id={correlation} reason=\"{reason}\""
        );
        self.host.log(log::Level::Info, &line);
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
