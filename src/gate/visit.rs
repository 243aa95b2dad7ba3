//! One request's way through the gate: what is known of it, and its two ends, permit and refusal.

use std::rc::Rc;

use crate::{
    credential::Digest,
    policy::Policy,
    refusal::{Reason, Refusal, Ways, render},
    time::Timestamp,
};

use super::{Edits, Facts, Permit, Refused, Shadowed, Step, head::Head};

/// What is known of a request on its way; owned, so that it can wait for a provider.
pub(super) struct Visit {
    pub(super) facts: Facts,
    /// What the request uses, for explanation.
    pub(super) usage: Option<String>,
    correlation: String,
    grpc: bool,
    explain: bool,
}

impl Visit {
    pub(super) fn new(policy: &Rc<Policy>, head: &Head<'_>, stream: u32, now: Timestamp) -> Self {
        let explain = match (policy.debug, head.debug_secret) {
            (Some(expected), Some(secret)) => Digest::of(secret) == expected,
            _ => false,
        };
        let id = head.request_id.and_then(|id| std::str::from_utf8(id).ok()).filter(|id| is_plain(id));
        let correlation = id.map_or_else(|| format!("{:x}-{stream:x}", now.millis()), str::to_owned);
        Self { facts: Facts::new(policy), usage: None, correlation, grpc: head.grpc, explain }
    }

    /// Lets the request pass.
    pub(super) fn permit(self, edits: Edits, mut response_headers: Vec<(&'static str, String)>) -> Step {
        self.explain(&mut response_headers);
        Step::Permit(Permit::new(edits, response_headers, self.facts))
    }

    /// Notes what would be refused; the request is let pass next.
    pub(super) fn shadow(&mut self, code: &'static str, reason: Reason) {
        let correlation = std::mem::take(&mut self.correlation);
        self.facts.shadowed = Some(Shadowed { code, reason, correlation });
    }

    /// Refuses the request for good; `further` are headers for the caller.
    pub(super) fn refuse(
        self,
        mut further: Vec<(&'static str, String)>,
        refusal: Refusal,
        reason: Reason,
        ways: Ways,
    ) -> Step {
        self.explain(&mut further);
        let Self { facts, usage: _, correlation, grpc, explain: _ } = self;
        let reply = render(&refusal, &facts.policy.style, ways, &correlation, further);
        Step::Refuse(Box::new(Refused { refusal, reason, reply, grpc, correlation, facts }))
    }

    /// Adds the headers that tell the holder of the debug secret how it was decided.
    fn explain(&self, headers: &mut Vec<(&'static str, String)>) {
        if !self.explain {
            return;
        }
        let facts = &self.facts;
        for (name, value) in [
            ("x-sidegate-api", facts.api()),
            ("x-sidegate-rule", facts.rule()),
            ("x-sidegate-consumer", facts.consumer()),
            ("x-sidegate-plan", facts.plan()),
            ("x-sidegate-usage", self.usage.as_deref()),
            ("x-sidegate-cache", facts.lookup.map(super::Lookup::as_str)),
            ("x-sidegate-revision", facts.policy.revision.as_deref()),
            ("x-sidegate-digest", Some(facts.policy.digest.as_str())),
        ] {
            headers.extend(value.map(|value| (name, value.to_owned())));
        }
    }

    /// Whether the caller may see how it was decided.
    pub(super) const fn explains(&self) -> bool {
        self.explain
    }
}

/// Whether an identifier from outside can stand in a log line and a header.
fn is_plain(id: &str) -> bool {
    (1..=128).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"')
}
