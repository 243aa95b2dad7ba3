//! May they, and have they any quota left: the binding, the limits, and the permit.

use std::{net::Ipv6Addr, rc::Rc};

use crate::{
    access::Binding,
    credential::Digest,
    policy::{Api, Consumer, LimitSet, LimitSets, Of},
    quota::{self, Demand, Outcome, Usage, Verdict},
    refusal::{Reason, Refusal},
    store::Store,
};

use super::{
    Edits, Facts, Step,
    forward::Field,
    matched::{Asked, Matched},
};

/// What the caller was known by.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Credential {
    /// Nothing: the rule is open to everybody.
    #[default]
    None,
    /// An API key.
    Key,
    /// An access token.
    Token,
}

/// Who the credential turned out to be.
#[derive(Default)]
pub(super) struct Subject {
    pub(super) credential: Credential,
    pub(super) consumer: Option<usize>,
    pub(super) client_id: Option<String>,
    pub(super) subject: Option<String>,
    pub(super) scope: Option<String>,
}

impl<'a, S: Store, E: FnOnce() -> Edits> Matched<'a, S, E> {
    /// Decides about a request whose sender is known.
    pub(super) fn settle(mut self, subject: Subject) -> Step {
        self.visit.facts.consumer = subject.consumer;
        let binding = match self.authorize(&subject) {
            Ok(binding) => binding,
            Err(reason) => {
                // Of API keys Kanali's callers read 13, whatever is wrong with them.
                let by_key = subject.credential == Credential::Key;
                let refusal = if by_key { Refusal::KeyRefused } else { Refusal::Forbidden };
                return self.refuse(refusal, reason);
            }
        };
        let policy = &self.gate.policy;
        let consumer = subject.consumer.and_then(|consumer| policy.consumers.get(consumer));
        let own_plan = consumer.and_then(|consumer| consumer.plan);
        let bound_plan = binding.and_then(|binding| binding.plan);
        self.visit.facts.plan = bound_plan.or(own_plan);

        let mut usage = Usage::new();
        let Asked { method, inside, query, address } = self.asked;
        for (_, rule) in self.api.metering.matching(inside, query, method) {
            usage.add(&policy.metrics, rule.metric, rule.by);
        }
        if self.visit.explains() {
            let used =
                usage.iter().map(|(metric, amount)| format!("{}={amount}", policy.metrics.name(metric)));
            self.visit.usage = Some(used.collect::<Vec<_>>().join(", "));
        }

        let plan = own_plan.filter(|_| bound_plan.is_none()).and_then(|plan| policy.plans.get(plan));
        let payers = Payers { api: &self.api.name, consumer, subject: &subject, address };
        let mut demands = Vec::new();
        if let Some(plan) = plan {
            payers.demand(&mut demands, &plan.limits);
        }
        if let Some(binding) = binding {
            payers.demand(&mut demands, &binding.limits);
        }
        payers.demand(&mut demands, &self.api.limits);
        if demands.is_empty() {
            return self.admit(&subject, Vec::new());
        }
        let outcome = quota::charge(&self.gate.store, &policy.meters, &demands, &usage, self.now);
        self.charged(&subject, outcome)
    }

    /// The binding under which the request is allowed, if the API has bindings; or why it is not.
    fn authorize(&self, subject: &Subject) -> Result<Option<&'a Binding>, Reason> {
        let consumer = subject.consumer.and_then(|consumer| self.gate.policy.consumers.get(consumer));
        if consumer.is_some_and(|consumer| !consumer.active) {
            return Err(Reason::new("the consumer is suspended"));
        }
        let bindings = match &self.api.bindings {
            Some(bindings) if subject.credential != Credential::None => bindings,
            _ => return Ok(None),
        };
        let Some(binding) = subject.consumer.and_then(|consumer| bindings.get(&consumer)) else {
            return Err(Reason::new("the consumer has no binding on the API"));
        };
        if binding.permits(self.asked.inside, self.asked.method) {
            Ok(Some(binding))
        } else {
            Err(Reason::new("the binding does not grant method and path"))
        }
    }

    fn charged(mut self, subject: &Subject, outcome: Outcome) -> Step {
        self.visit.facts.add_store(outcome.facts);
        self.visit.facts.refunds_lost = outcome.refunds_lost;
        let headers = quota::headers(self.gate.policy.rate_limit_headers, &outcome);
        let (refusal, reason) = match outcome.verdict {
            Verdict::Admitted => return self.admit(subject, headers),
            Verdict::NotNow { retry_after } => {
                let retry_after = retry_after.map(std::num::NonZeroU64::get);
                (Refusal::LimitReached { retry_after }, "a limit is reached")
            }
            Verdict::Never => (Refusal::Forbidden, "a limit of the metric is 0 or below the request's usage"),
            Verdict::Unrecorded(_) => {
                let refusal = Refusal::QuotaUnavailable { retry_after: Some(1) };
                (refusal, "the store could not count the request")
            }
        };
        let api = self.api;
        self.refuse_known(headers, refusal, Reason::new(reason), |edits, facts| {
            edits.tell(api, facts, subject);
        })
    }

    fn admit(self, subject: &Subject, headers: Vec<(&'static str, String)>) -> Step {
        let mut edits = (self.edits)();
        edits.tell(self.api, &self.visit.facts, subject);
        self.visit.permit(edits, headers)
    }
}

impl Edits {
    /// Sets the headers by which the service knows its caller.
    fn tell(&mut self, api: &Api, facts: &Facts, subject: &Subject) {
        for (name, template) in &api.headers {
            let value = template.fill(|field| match field {
                Field::Api => facts.api(),
                Field::Rule => facts.rule(),
                Field::Consumer => facts.consumer(),
                Field::Plan => facts.plan(),
                Field::Environment => facts.environment(),
                Field::ClientId => subject.client_id.as_deref(),
                Field::Subject => subject.subject.as_deref(),
                Field::Scope => subject.scope.as_deref(),
            });
            if let Some(value) = value {
                self.remove.retain(|removed| **removed != **name);
                self.set.push((Rc::clone(name), value.into_bytes()));
            }
        }
    }
}

/// On whom usage can be counted.
struct Payers<'a> {
    api: &'a str,
    consumer: Option<&'a Consumer>,
    subject: &'a Subject,
    address: &'a dyn Fn() -> Option<String>,
}

impl Payers<'_> {
    /// Adds a demand on one meter for each set of limits.
    fn demand<'l>(&self, demands: &mut Vec<Demand<'l>>, sets: &'l LimitSets) {
        let demand =
            |set: &'l LimitSet| Demand { meter: set.scope.joined(&self.payer(set.of)), limits: &set.limits };
        demands.extend(sets.iter().map(demand));
    }

    /// Who pays: where the request has none of the kind, the next of consumer, client, subject, address; so nobody goes uncounted.
    fn payer(&self, of: Of) -> Digest {
        let named = |kind: &[u8], name: &str| Digest::of_parts(&[kind, name.as_bytes()]);
        let consumer = || self.consumer.map(|consumer| consumer.payer);
        let client = || self.subject.client_id.as_deref().map(|id| named(b"client", id));
        let subject = || self.subject.subject.as_deref().map(|sub| named(b"subject", sub));
        let address = || named(b"address", &network((self.address)().unwrap_or_default()));
        let identified = || consumer().or_else(client).or_else(subject).unwrap_or_else(address);
        match of {
            Of::Consumer => identified(),
            Of::Client => client().unwrap_or_else(identified),
            Of::Subject => subject().unwrap_or_else(identified),
            Of::Address => address(),
            Of::Api => named(b"api", self.api),
        }
    }
}

/// The address as far as it belongs to one caller: of IPv6 the first 64 bits, as anyone has all addresses below them.
fn network(address: String) -> String {
    let literal = address.trim_start_matches('[').trim_end_matches(']');
    match literal.parse::<Ipv6Addr>() {
        Ok(v6) => match v6.to_ipv4_mapped() {
            Some(v4) => v4.to_string(),
            None => (u128::from(v6) >> 64_u32).to_string(),
        },
        Err(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(all(target_family = "wasm", target_os = "unknown"))]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn addresses_of_one_ipv6_network_are_one_caller() {
        let network = |address: &str| network(address.to_owned());
        assert_eq!(network("[2001:db8::1]"), network("2001:db8:0:0:ffff::9"));
        assert_ne!(network("2001:db8::1"), network("2001:db8:0:1::1"));
        assert_eq!(network("[::ffff:10.0.0.1]"), "10.0.0.1");
        assert_eq!(network("10.0.0.1"), "10.0.0.1");
    }
}
