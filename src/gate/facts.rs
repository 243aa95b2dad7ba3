//! What was found out about a request: for access logs, metrics, log lines and explanation headers.

use std::{fmt, rc::Rc};

use crate::{policy::Policy, refusal::Reason, store};

/// What was found out about a request, as far as it got. Fields are indexes into the policy that decided.
#[derive(Clone)]
pub struct Facts {
    /// The policy that decided.
    pub policy: Rc<Policy>,
    /// The API that matched.
    pub api: Option<usize>,
    /// The rule that matched, by its place in the API.
    pub rule: Option<usize>,
    /// The consumer that calls.
    pub consumer: Option<usize>,
    /// The plan that applies.
    pub plan: Option<usize>,
    /// How the caller's identity was come by, where a provider vouches for it.
    pub lookup: Option<Lookup>,
    /// The call that was made to a provider: its index and what came of it.
    pub call: Option<(usize, &'static str)>,
    /// What happened in the store.
    pub store: store::Facts,
    /// Charges of a refused request that could not be given back.
    pub refunds_lost: u32,
    /// The refusal that shadow mode kept back.
    pub shadowed: Option<Shadowed>,
}

/// A refusal that shadow mode kept back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shadowed {
    /// The code's two digits.
    pub code: &'static str,
    /// Why exactly.
    pub reason: Reason,
    /// What the request is found by in logs.
    pub correlation: String,
}

/// How an identity was come by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lookup {
    /// From the cache.
    Hit,
    /// From the provider.
    Miss,
    /// From the cache, past its time, as the provider is unavailable.
    Stale,
}

impl Lookup {
    /// The word for it in logs and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Miss => "miss",
            Self::Stale => "stale",
        }
    }
}

impl Facts {
    pub(super) fn new(policy: &Rc<Policy>) -> Self {
        Self {
            policy: Rc::clone(policy),
            api: None,
            rule: None,
            consumer: None,
            plan: None,
            lookup: None,
            call: None,
            store: store::Facts::default(),
            refunds_lost: 0,
            shadowed: None,
        }
    }

    /// The API's name.
    pub fn api(&self) -> Option<&str> {
        self.policy.api(self.api?).map(|api| api.name.as_str())
    }

    /// The rule, named by its path.
    pub fn rule(&self) -> Option<&str> {
        self.policy.api(self.api?)?.rules.get(self.rule?).map(|rule| rule.name.as_str())
    }

    /// The consumer's name.
    pub fn consumer(&self) -> Option<&str> {
        self.policy.consumers.get(self.consumer?).map(|consumer| consumer.name.as_str())
    }

    /// The plan's name.
    pub fn plan(&self) -> Option<&str> {
        self.policy.plans.get(self.plan?).map(|plan| plan.name.as_str())
    }

    /// The environment of the plan.
    pub fn environment(&self) -> Option<&str> {
        self.policy.plans.get(self.plan?)?.environment.as_deref()
    }

    /// Adds what was met in the store.
    pub(super) fn add_store(&mut self, met: store::Facts) {
        let store::Facts { conflicts, corrupt, evicted } = met;
        self.store.conflicts = self.store.conflicts.saturating_add(conflicts);
        self.store.corrupt = self.store.corrupt.saturating_add(corrupt);
        self.store.evicted = self.store.evicted.saturating_add(evicted);
    }
}

impl fmt::Debug for Facts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Facts")
            .field("api", &self.api())
            .field("rule", &self.rule())
            .field("consumer", &self.consumer())
            .field("plan", &self.plan())
            .field("lookup", &self.lookup)
            .field("call", &self.call)
            .field("store", &self.store)
            .field("shadowed", &self.shadowed)
            .finish()
    }
}
