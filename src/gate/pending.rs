//! A request that waits for a provider's reply.

use std::rc::Rc;

use crate::{
    credential::Digest,
    identity::introspection::{ProviderFault, read},
    policy::Access,
    provider::ProviderReply,
    refusal::{Reason, Refusal, Ways},
    store::Store,
    time::Timestamp,
};

use super::{
    Edits, Facts, Gate, Lookup, Step,
    identity::bearer,
    matched::{Asked, Matched},
    visit::Visit,
};

/// A request that waits, with all that its decision needs.
pub struct Pending {
    visit: Visit,
    question: Digest,
    edits: Edits,
    waiting: Waiting,
}

/// What it asks for, and which of its rule's ways in it takes.
pub(super) struct Waiting {
    way: usize,
    method: String,
    inside: String,
    query: Option<String>,
    address: Option<String>,
}

impl Waiting {
    pub(super) fn new(way: usize, asked: &Asked<'_>) -> Self {
        Self {
            way,
            method: asked.method.to_owned(),
            inside: asked.inside.to_owned(),
            query: asked.query.map(str::to_owned),
            address: (asked.address)(),
        }
    }
}

impl Pending {
    pub(super) const fn new(visit: Visit, question: Digest, edits: Edits, waiting: Waiting) -> Self {
        Self { visit, question, edits, waiting }
    }

    /// What is known of the request so far.
    pub const fn facts(&self) -> &Facts {
        &self.visit.facts
    }

    /// Decides by the provider's reply. Of all requests that one reply answers, one is the `first`: it keeps the answer for the others.
    pub fn resume<S: Store>(
        self,
        gate: &Gate<S>,
        reply: &ProviderReply,
        now: Timestamp,
        first: bool,
    ) -> Step {
        let Self { mut visit, question, edits, waiting } = self;
        let policy = Rc::clone(&visit.facts.policy);
        let found = visit.facts.api.and_then(|api| policy.api(api)).and_then(|api| {
            let rule = api.rules.get(visit.facts.rule?)?;
            match rule.access.get(waiting.way)? {
                Access::Introspection { provider, requirement } => {
                    Some((api, rule, *provider, policy.providers.get(*provider)?, requirement))
                }
                Access::Allow | Access::Deny | Access::ApiKey => None,
            }
        });
        let Some((api, rule, index, provider, requirement)) = found else {
            let reason = Reason::new("the rule that waits is gone");
            return visit.refuse(Vec::new(), Refusal::Internal, reason, Ways::default());
        };
        let outcome = match read(reply) {
            Ok(introspected) => {
                visit.facts.call = Some((index, "ok"));
                visit.facts.lookup = Some(Lookup::Miss);
                let bearer = bearer(&introspected, provider, requirement, now);
                if first {
                    gate.keep(&mut visit, provider, &question, introspected, now);
                }
                Ok(bearer)
            }
            Err(fault) => {
                visit.facts.call = Some((index, label(fault)));
                let earlier = gate.cached(&mut visit, &question, now, |entry| {
                    let introspected = entry.despite_fault(provider, now)?;
                    Some(bearer(&introspected, provider, requirement, now))
                });
                if earlier.is_some() {
                    visit.facts.lookup = Some(Lookup::Stale);
                }
                earlier.ok_or(fault)
            }
        };
        let address = || waiting.address.clone();
        let asked = Asked {
            method: &waiting.method,
            inside: &waiting.inside,
            query: waiting.query.as_deref(),
            address: &address,
        };
        let matched = Matched { gate, visit, api, rule, asked, now, edits: || edits };
        match outcome {
            Ok(bearer) => matched.introspected(requirement, bearer),
            Err(fault) => {
                let (refusal, reason) = unavailable(fault);
                matched.refuse(refusal, reason)
            }
        }
    }
}

/// The word for a fault in metrics.
const fn label(fault: ProviderFault) -> &'static str {
    match fault {
        ProviderFault::Refused { .. } => "refused_us",
        ProviderFault::Status { .. } => "status",
        ProviderFault::NotJson | ProviderFault::Malformed | ProviderFault::TooLarge => "nonsense",
        ProviderFault::TimedOut => "timeout",
        ProviderFault::Failed => "failed",
        ProviderFault::UnknownCluster => "unknown_cluster",
        ProviderFault::NoHealthyHost => "no_healthy_host",
        ProviderFault::TooManyCalls => "too_many_calls",
    }
}

fn unavailable(fault: ProviderFault) -> (Refusal, Reason) {
    let refusal = match fault {
        ProviderFault::UnknownCluster => Refusal::ClusterUnknown,
        ProviderFault::NoHealthyHost => Refusal::NoHealthyHost,
        _ => Refusal::IdentityUnavailable { retry_after: fault.retry_after() },
    };
    (refusal, Reason::of(&fault))
}
