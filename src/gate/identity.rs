//! Who is calling: the rule's ways in, tried in order; the first whose credential is present decides.

use crate::{
    credential::{AccessToken, Digest, locate},
    identity::introspection::{Entry, Introspected, Provider, Requirement, State, TokenFault, check},
    policy::{Access, KeyFault},
    refusal::{Reason, Refusal},
    store::{self, Change, Store},
    time::Timestamp,
};

use super::{
    Call, Edits, Gate, Lookup, Step,
    matched::Matched,
    pending::{Pending, Waiting},
    settle::{Credential, Subject},
    visit::Visit,
};

/// What is known of the bearer of a token that satisfies its rule.
pub(super) struct Bearer {
    client_id: Option<String>,
    subject: Option<String>,
    scope: String,
}

impl<S: Store, E: FnOnce() -> Edits> Matched<'_, S, E> {
    /// Tries the rule's ways in.
    pub(super) fn identify(self, headers: &[(String, Vec<u8>)]) -> Step {
        let rule = self.rule;
        for (way, access) in rule.access.iter().enumerate() {
            let locations = match access {
                Access::Allow => return self.settle(Subject::default()),
                Access::Deny => return self.refuse(Refusal::Forbidden, Reason::new("the rule says deny")),
                Access::ApiKey => &self.api.key_locations,
                Access::Introspection { .. } => &self.api.token_locations,
            };
            let headers = headers.iter().map(|(name, value)| (name.as_str(), value.as_slice()));
            let credential = match locate(locations, headers, self.asked.query) {
                Ok(Some(credential)) => credential,
                Ok(None) => continue,
                Err(misplaced) => return self.refuse(Refusal::Malformed, Reason::of(&misplaced)),
            };
            return match access {
                Access::Introspection { provider, requirement } => {
                    self.introspect(way, *provider, requirement, &AccessToken::new(credential))
                }
                Access::Allow | Access::Deny | Access::ApiKey => {
                    self.api_key(&Digest::of(credential.as_bytes()))
                }
            };
        }
        if rule.ways.token {
            self.refuse(Refusal::TokenMissing, Reason::new("nothing presented"))
        } else {
            self.refuse(Refusal::KeyMissing, Reason::new("no API key presented"))
        }
    }

    fn api_key(self, key: &Digest) -> Step {
        let fault = match self.gate.policy.consumer_by_key(key, self.now) {
            Ok(consumer) => {
                return self.settle(Subject {
                    credential: Credential::Key,
                    consumer: Some(consumer),
                    ..Subject::default()
                });
            }
            Err(fault) => fault,
        };
        let reason = match fault {
            KeyFault::Unknown => "the API key is unknown",
            KeyFault::Inactive => "the API key is inactive",
            KeyFault::Expired => "the API key has expired",
            KeyFault::Suspended => "the API key's consumer is suspended",
        };
        self.refuse(Refusal::KeyRefused, Reason::new(reason))
    }

    fn introspect(
        mut self,
        way: usize,
        provider: usize,
        requirement: &Requirement,
        token: &AccessToken,
    ) -> Step {
        let (gate, now) = (self.gate, self.now);
        let Some(provider) = gate.policy.providers.get(provider) else {
            return self.refuse(Refusal::ProviderMissing, Reason::new("there is no such provider"));
        };
        let question = provider.cache_key(token.secret());
        let cached = gate.cached(&mut self.visit, &question, now, |entry| {
            let fresh = entry.state(provider, now) == State::Fresh;
            fresh.then(|| bearer(entry.introspected(), provider, requirement, now))
        });
        if let Some(bearer) = cached {
            self.visit.facts.lookup = Some(Lookup::Hit);
            return self.introspected(requirement, bearer);
        }
        let waiting = Waiting::new(way, &self.asked);
        let then = Pending::new(self.visit, question, (self.edits)(), waiting);
        Step::Call(Box::new(Call { question, request: provider.request(token), then }))
    }

    /// Goes on with what a provider says of a token.
    pub(super) fn introspected(self, requirement: &Requirement, bearer: Result<Bearer, TokenFault>) -> Step {
        let fault = match bearer {
            Ok(Bearer { client_id, subject, scope }) => {
                let consumer =
                    client_id.as_deref().and_then(|client| self.gate.policy.consumer_by_client(client));
                return self.settle(Subject {
                    consumer,
                    credential: Credential::Token,
                    client_id,
                    subject,
                    scope: Some(scope),
                });
            }
            Err(fault) => fault,
        };
        let refusal = match fault {
            TokenFault::InsufficientScope => {
                let scopes = requirement.scopes.as_ref();
                let required = scopes.map(|scopes| scopes.iter().collect::<Vec<_>>().join(" "));
                Refusal::ScopeMissing { required: required.unwrap_or_default() }
            }
            _ => Refusal::TokenInvalid,
        };
        self.refuse(refusal, Reason::of(&fault))
    }
}

impl<S: Store> Gate<S> {
    /// What `look` makes of the cached answer, if there is one that can be read.
    pub(super) fn cached<T>(
        &self,
        visit: &mut Visit,
        question: &Digest,
        now: Timestamp,
        look: impl FnOnce(Entry<'_>) -> Option<T>,
    ) -> Option<T> {
        let mut met = store::Facts::default();
        let mut unreadable = false;
        let found = self.policy.tokens.read(&self.store, question, now, &mut met, |bytes| {
            let entry = Entry::decode(bytes?);
            unreadable = entry.is_none();
            look(entry?)
        });
        met.corrupt = met.corrupt.saturating_add(u32::from(unreadable));
        visit.facts.add_store(met);
        found
    }

    /// Keeps a provider's answer for all workers. Where it cannot be kept, the next request asks again; an earlier answer goes in any case,
    /// or it would stand in for this one while the provider is unavailable.
    pub(super) fn keep(
        &self,
        visit: &mut Visit,
        provider: &Provider,
        question: &Digest,
        introspected: Introspected<'static>,
        now: Timestamp,
    ) {
        let entry = Entry::new(introspected, now);
        let kept_until = entry.kept_until(provider);
        let put = Change::Put { expires: kept_until.unwrap_or(now), payload: entry.encode() };
        let mut met = store::Facts::default();
        let _kept = self.policy.tokens.update(&self.store, question, now, &mut met, |earlier| {
            let change = if kept_until.is_some() || earlier.is_some() { put.clone() } else { Change::Keep };
            (change, ())
        });
        visit.facts.add_store(met);
    }
}

/// Checks the token against the rule: on every request, also where the answer was cached for another rule.
pub(super) fn bearer(
    introspected: &Introspected<'_>,
    provider: &Provider,
    requirement: &Requirement,
    now: Timestamp,
) -> Result<Bearer, TokenFault> {
    check(introspected, requirement, now, provider.settings().leeway)?;
    let Introspected::Active(claims) = introspected else {
        return Err(TokenFault::Inactive);
    };
    Ok(Bearer {
        client_id: claims.client_id.as_deref().map(str::to_owned),
        subject: claims.sub.as_deref().map(str::to_owned),
        scope: claims.scope.as_ref().to_owned(),
    })
}
