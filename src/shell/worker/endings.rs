//! Carrying out endings.
//!
//! `Worker::admit` is the only place that lets a request go on, and it takes a [`Permit`]. `Worker::reply` is
//! the only place that answers in the service's place. It is called with the reply of a [`Refused`] or an
//! [`Answer`].

use super::{
    super::{host::Host, log::Verb, telemetry::Decision},
    Action, Moment, Stream, Worker,
};
use crate::{
    gate::{Answer, Ending, Permit, Refused, Trail},
    headers::HeaderList,
    identity::Lookup,
    policy::StateName,
    refusal::{Code, Refusal},
    reply::{Protocol, Reply},
    store::Store,
};

impl<H: Host, S: Store + 'static> Worker<H, S> {
    pub(super) fn carry_out(&self, stream: &Stream, ending: Ending, moment: Moment) -> Action {
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
        self.log_refusal(trail, Verb::Refused, refusal, || refused.correlation());
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
                self.log_refusal(trail, Verb::WouldRefuse, refusal, || correlation);
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
                StateName::Code => ("sidegate.code", decision.shadowed().map(Code::digits)),
            };
            if let Some(value) = value {
                self.host.set_filter_state(name, value);
            }
        }
    }

    fn log_refusal<'c>(
        &self,
        trail: &Trail,
        verb: Verb,
        refusal: &Refusal,
        correlation: impl FnOnce() -> &'c str,
    ) {
        self.log.refusal(&self.host, self.ports.now(), trail, verb, refusal, correlation);
    }

    pub(super) fn report_incidents(&self) {
        self.telemetry.incidents(&self.host, self.ports.take_incidents());
        for report in self.ports.take_reports() {
            self.telemetry.reported(&self.host, &self.policy, &report);
            self.log.report(&self.host, self.ports.now(), &self.policy, &report);
        }
    }
}
