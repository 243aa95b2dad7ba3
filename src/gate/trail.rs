//! The trail: what was found out about a request, as data. Metrics, log lines, filter state and explanation
//! headers are rendered from it.

use std::{borrow::Cow, fmt, rc::Rc};

use super::{backing::Coded, charge::limit_reached, identify::Caller, request::Head};
use crate::{
    credential::{Digest, Location},
    forward::Field,
    identity::{Lookup, api_key::KeyId, jwt::Verdict, threescale::Rejection},
    matching::Usage,
    policy::{Api, Policy, Rule},
    ports::QuotaAlert,
    provider::CallRecord,
    quota::{Limit, Standing, Window, remote::Fallen},
    refusal::{ErrorFormat, Recipient, Refusal, Wording},
};

/// What was found out about a request so far. APIs, rules, consumers, plans and metering entries are indexes
/// into the policy.
pub struct Trail {
    /// The policy that decided.
    pub policy: Rc<Policy>,
    /// The API that matched.
    pub api: Option<usize>,
    /// The rule that matched, as an index into the API's rules.
    pub rule: Option<usize>,
    /// Where the credential was found that decided.
    pub credential: Option<CredentialPlace>,
    /// The consumer that sent the request.
    pub consumer: Option<usize>,
    /// The operator's name for the presented key.
    pub key: Option<PresentedKey>,
    /// The plan that applies.
    pub plan: Option<usize>,
    /// How the caller's identity was obtained, if a provider vouches for it.
    pub lookup: Option<Lookup>,
    /// What became of the signature of a token, if it was not in the cache: the provider, as an index into
    /// the policy's providers, and the verdict.
    pub verification: Option<(usize, Verdict)>,
    /// The calls that this request made.
    pub calls: Vec<ProviderCall>,
    /// The rate limit services that gave no usable answer although the request may pass.
    pub fallen: Vec<Fallen>,
    /// What a provider of applications answered in place of an authorization.
    pub rejection: Option<(usize, Rejection)>,
    /// The provider whose answer names a plan that the policy does not have.
    pub unmapped_plan: Option<usize>,
    /// What a provider of applications was asked and answered, without credentials. Absent unless the caller
    /// may see an explanation.
    pub asked: Option<String>,
    /// What wants to know the status of the answer.
    pub(super) coded: Option<Box<Coded>>,
    /// What the request uses of each metric; nothing until that is asked for.
    pub(super) usage: Usage,
    /// Whether a metering entry matched; `None` until the usage is asked for.
    pub(super) is_metered: Option<bool>,
    /// The metering entries that matched, as indexes into the API's entries. Empty unless the caller may see
    /// an explanation.
    pub metering: Vec<usize>,
    /// The state of the limits that the request touches.
    pub standings: Vec<Standing>,
    /// Who answers the request if it passes.
    pub(super) answering: Answering,
    /// How many bytes of the normalised path the API's base path takes.
    pub(super) base: usize,
    /// The limits that are nearly used up since this request.
    pub alerts: Vec<QuotaAlert>,
    /// Why a limit in shadow mode would have refused the request.
    pub(super) shadow_refusal: Option<Refusal>,
    /// Why the request was refused, or would have been without shadow mode.
    pub refusal: Option<Refusal>,
    /// The caller, once it is known and authorized.
    pub(super) caller: Option<Caller>,
    audience: Audience,
}

/// Where a credential was found: an index into the API's places of its kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CredentialPlace {
    /// An API key.
    Key(usize),
    /// The id of an application.
    Application(usize),
    /// An access token.
    Token(usize),
}

/// The operator's name for a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PresentedKey {
    /// Of an API key.
    Api(KeyId),
    /// Of an application's key.
    Application(KeyId),
}

/// A call to a provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProviderCall {
    /// The provider, as an index into the policy's providers.
    pub provider: usize,
    /// The outcome of the call.
    pub record: CallRecord,
}

/// Who answers the request if it passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answering {
    /// The service.
    Service,
    /// The mocked response at this index of the rule's.
    Mock(usize),
    /// Nobody: the rule is mocked, but has no response for the path and the method.
    NoMock,
    /// Sidegate, with the limits of the caller.
    Usage,
}

/// Who may see how the request was decided.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Audience {
    /// Only the operator.
    Operator,
    /// The caller as well, because it presented the debug secret.
    Caller,
}

impl Trail {
    pub(super) fn new(policy: &Rc<Policy>, head: &Head<'_>) -> Self {
        let audience = match (policy.debug, head.debug_secret) {
            (Some(expected), Some(secret)) if Digest::of(secret) == expected => Audience::Caller,
            _ => Audience::Operator,
        };
        Self {
            policy: Rc::clone(policy),
            api: None,
            rule: None,
            credential: None,
            consumer: None,
            key: None,
            plan: None,
            lookup: None,
            verification: None,
            calls: Vec::new(),
            fallen: Vec::new(),
            rejection: None,
            unmapped_plan: None,
            asked: None,
            coded: None,
            usage: Usage::new(),
            is_metered: None,
            metering: Vec::new(),
            standings: Vec::new(),
            alerts: Vec::new(),
            shadow_refusal: None,
            answering: Answering::Service,
            base: 0,
            refusal: None,
            caller: None,
            audience,
        }
    }

    /// The API's name.
    pub fn api(&self) -> Option<&str> {
        self.matched_api().map(|api| api.name.as_str())
    }

    /// The rule, named by its path.
    pub fn rule(&self) -> Option<&str> {
        self.matched_rule().map(|rule| rule.name.as_str())
    }

    /// The place of the credential that decided, and nothing of the credential itself.
    pub fn credential(&self) -> Option<&Location> {
        let api = self.matched_api()?;
        match self.credential? {
            CredentialPlace::Key(place) => api.key_locations.get(place),
            CredentialPlace::Application(place) => api.app_id_locations.get(place),
            CredentialPlace::Token(place) => api.token_locations.get(place),
        }
    }

    /// The operator's name for the presented key.
    pub fn key(&self) -> Option<&str> {
        match self.key? {
            PresentedKey::Api(id) => self.policy.keys.id(id),
            PresentedKey::Application(id) => self.policy.application_keys.id(id),
        }
    }

    /// The consumer's name.
    pub fn consumer(&self) -> Option<&str> {
        self.policy.consumers.get(self.consumer?).map(|consumer| consumer.name)
    }

    /// The plan's name.
    pub fn plan(&self) -> Option<&str> {
        self.policy.plans.get(self.plan?).map(|plan| plan.name.as_str())
    }

    /// The environment of the plan.
    pub fn environment(&self) -> Option<&str> {
        self.policy.plans.get(self.plan?)?.environment.as_deref()
    }

    /// What the request uses of each metric, once that was asked for.
    pub fn usage(&self) -> Option<&Usage> {
        self.is_metered.map(|_| &self.usage)
    }

    /// The value of a field for headers to the service; `None` for what is not about the caller.
    pub(super) fn field(&self, field: &Field) -> Option<Cow<'_, str>> {
        // A caller that was refused, and passes in shadow mode, is nobody to the service.
        let caller = self.caller.as_ref();
        let identity = || caller?.identity.as_ref();
        let text = match field {
            Field::Api => self.api(),
            Field::Rule => self.rule(),
            Field::Consumer => caller.and_then(|_| self.consumer()),
            Field::Plan => caller.and_then(|_| self.plan()),
            Field::Environment => caller.and_then(|_| self.environment()),
            Field::ClientId => identity()?.client_id.as_deref(),
            Field::Subject => identity()?.sub.as_deref(),
            Field::Scope => Some(identity()?.scope.as_ref()),
            Field::Claim(path) => {
                let claim = self.policy.identities.asked().index(path)?;
                return identity()?.claims.shown(claim);
            }
            Field::Path(_) => None,
        };
        text.map(Cow::Borrowed)
    }

    /// The API that matched.
    pub(super) fn matched_api(&self) -> Option<&Api> {
        self.policy.api(self.api?)
    }

    /// Who gets the reply if the request is refused; `asked` is the form of the body that it asks for.
    pub(super) fn recipient(&self, asked: Option<ErrorFormat>) -> Recipient<'_> {
        let format = asked.unwrap_or(self.policy.replies.format());
        let violated = match format {
            ErrorFormat::Kanali => Vec::new(),
            ErrorFormat::Problem => {
                let refusing = self.standings.iter().filter(|standing| standing.refuses);
                refusing.map(|standing| standing.limit.name()).collect()
            }
        };
        Recipient {
            challenges: self.matched_rule().map(|rule| rule.challenges).unwrap_or_default(),
            format,
            wording: match self.credential {
                Some(CredentialPlace::Token(_)) => Wording::OfTokens,
                Some(CredentialPlace::Key(_) | CredentialPlace::Application(_)) | None => Wording::OfKeys,
            },
            violated,
        }
    }

    /// The rule that matched.
    pub(super) fn matched_rule(&self) -> Option<&Rule> {
        self.matched_api()?.rules.get(self.rule?)
    }

    /// Records which limits the request took to the percentage at which operators are alerted.
    pub(super) fn note_alerts(&mut self) {
        let alerting = self.standings.iter().filter(|standing| standing.alerts());
        self.alerts = alerting.map(|standing| self.alert(&standing.limit)).collect();
    }

    /// The alert that a limit is nearly used up.
    pub(super) fn alert(&self, limit: &Limit) -> QuotaAlert {
        QuotaAlert {
            api: self.api,
            consumer: self.consumer,
            limit: limit.name().into(),
            max: limit.max(),
            is_rate: matches!(limit.window(), Window::Second | Window::Minute),
        }
    }

    /// Removes limits in shadow mode from what callers see, and returns the refusal that they stand for.
    pub(super) fn keep_enforced(&mut self) -> Option<Refusal> {
        if !self.policy.has_shadow_limits {
            return None;
        }
        let shadow = self.standings.extract_if(.., |standing| standing.limit.is_in_shadow());
        let refusing: Vec<_> = shadow.filter(|standing| standing.refuses).collect();
        (!refusing.is_empty()).then(|| limit_reached(&refusing))
    }

    /// Records that a metering entry matched.
    pub(super) fn metered(&mut self, entry: usize) {
        if self.is_for_the_caller() {
            self.metering.push(entry);
        }
    }

    /// Whether the caller may see how the request was decided.
    pub(super) fn is_for_the_caller(&self) -> bool {
        self.audience == Audience::Caller
    }
}

impl fmt::Debug for Trail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trail")
            .field("api", &self.api())
            .field("rule", &self.rule())
            .field("consumer", &self.consumer())
            .field("plan", &self.plan())
            .field("lookup", &self.lookup)
            .field("calls", &self.calls)
            .field("refusal", &self.refusal)
            .finish_non_exhaustive()
    }
}
