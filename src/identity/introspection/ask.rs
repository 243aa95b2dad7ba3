//! Asks who a token belongs to: first the cache, then the endpoint, and the cache again if the endpoint is
//! unavailable.

use super::{Authentication, OwnToken, Provider, Read, Signature, Signer, read, signed::read_signed};
use crate::{
    credential::{AccessToken, Digest, ProviderSecret},
    identity::{IdentityCache, Lookup, Vouched},
    ports::{Answered, Ports, Role},
    provider::{
        Asker, CallOutcome, CallRecord, ProviderFault,
        rest::{Rests, Turn},
    },
    store::Store,
};

/// The result of asking about a token.
#[derive(Debug)]
pub struct Consulted {
    /// What is known about the token and how that was obtained, or why nothing is known.
    pub result: Result<(Vouched<'static>, Lookup), ProviderFault>,
    /// The calls that this request made.
    pub calls: Vec<CallRecord>,
    /// What verifying a signed answer took.
    pub signature: Signature,
}

impl Consulted {
    const fn without_call(vouched: Vouched<'static>, lookup: Lookup) -> Self {
        let signature = Signature { call: None, verdict: None };
        Self { result: Ok((vouched, lookup)), calls: Vec::new(), signature }
    }
}

/// Asks `provider` about `token`. `signer` signs its answers, if they must be signed.
///
/// Requests that ask about the same token at the same time share one call. The first of them caches the
/// answer for the others, and records whether the provider rests.
pub async fn introspect<S: Store>(
    provider: &Provider,
    token: &AccessToken,
    cache: &IdentityCache,
    rests: &Rests,
    signer: Option<Signer<'_>>,
    ports: &Ports<S>,
) -> Consulted {
    let settings = provider.settings();
    let key = provider.cache_key(&ports.digest_of(token.secret()));
    if let Some(vouched) = cache.fresh(ports.store(), &key, &settings.terms) {
        return Consulted::without_call(vouched, Lookup::Hit);
    }
    if provider.is_foreign(token.secret()) {
        return Consulted::without_call(Vouched::Inactive, Lookup::Foreign);
    }
    let mut notes = Notes::default();
    let fault = match rests.turn(ports.store(), provider.digest(), settings.timeout) {
        Turn::Leave => ProviderFault::Resting,
        turn @ (Turn::Call | Turn::Try) => {
            let asker = if cache.knows(ports.store(), &key) { Asker::Known } else { Asker::Stranger };
            let question = Question { provider, token, key, asker, signer, cache, ports };
            let Asked { read, leads } = match &settings.authentication {
                Authentication::ClientCredentials(own) => Box::pin(question.ask_with(own, &mut notes)).await,
                Authentication::Client(_) | Authentication::Bearer { .. } | Authentication::None => {
                    question.ask(None, &mut notes).await
                }
            };
            match read {
                Ok(read) => {
                    let introspected = match read {
                        Read::Vouched(introspected) => introspected,
                        Read::Unreadable => Vouched::Inactive,
                    };
                    if leads {
                        cache.keep(ports.store(), &key, introspected.clone(), &settings.terms);
                    }
                    if turn == Turn::Try {
                        rests.end(ports.store(), provider.digest());
                    }
                    let Notes { calls, signature } = notes;
                    return Consulted { result: Ok((introspected, Lookup::Miss)), calls, signature };
                }
                Err(Unanswered::Asked(fault)) => {
                    if fault.calls_for_rest() {
                        if leads {
                            rests.begin(ports.store(), provider.digest(), turn, settings.terms.cooldown);
                        }
                    } else if turn == Turn::Try && fault.is_an_answer() {
                        rests.end(ports.store(), provider.digest());
                    } else if turn == Turn::Try {
                        rests.pass_on(ports.store(), provider.digest());
                    }
                    fault
                }
                Err(Unanswered::NoToken(fault)) => {
                    if turn == Turn::Try {
                        rests.pass_on(ports.store(), provider.digest());
                    }
                    fault
                }
            }
        }
    };
    // Another worker may have received an answer meanwhile, so the cache is checked again.
    let kept = cache.find(ports.store(), &key);
    let earlier = kept.and_then(|kept| kept.despite_fault(&settings.terms, ports.now()));
    let result = earlier.map(|introspected| (introspected, Lookup::Stale)).ok_or(fault);
    let Notes { calls, signature } = notes;
    Consulted { result, calls, signature }
}

/// What the endpoint is asked.
struct Question<'a, S> {
    provider: &'a Provider,
    token: &'a AccessToken,
    key: Digest,
    asker: Asker,
    signer: Option<Signer<'a>>,
    cache: &'a IdentityCache,
    ports: &'a Ports<S>,
}

/// What asking took.
#[derive(Default)]
struct Notes {
    calls: Vec<CallRecord>,
    signature: Signature,
}

/// What the endpoint says.
struct Asked {
    read: Result<Read, Unanswered>,
    /// Whether this request answers for all that share the call.
    leads: bool,
}

/// Why the endpoint says nothing.
enum Unanswered {
    /// It cannot be asked, because we have no access token for it.
    NoToken(ProviderFault),
    /// It was asked.
    Asked(ProviderFault),
}

impl<S: Store> Question<'_, S> {
    /// Asks the endpoint. `own` is the access token that it asks us for.
    async fn ask(&self, own: Option<&ProviderSecret>, notes: &mut Notes) -> Asked {
        let call = self.provider.call(self.token, self.key, self.asker, own);
        let answered = self.ports.ask(call).await;
        let leads = answered.role == Role::Leader;
        let read = if self.provider.settings().signed.is_some() {
            Box::pin(self.read_signed(&answered, &mut notes.signature)).await
        } else {
            read(&answered.result, self.cache.asked())
        };
        if leads {
            let outcome = match &read {
                Ok(Read::Vouched(_)) => CallOutcome::Answered,
                Ok(Read::Unreadable) => CallOutcome::Unreadable,
                Err(fault) => CallOutcome::Fault(*fault),
            };
            notes.calls.push(CallRecord { outcome, took: answered.took });
        }
        Asked { read: read.map_err(Unanswered::Asked), leads }
    }

    /// Asks the endpoint with our own token. If it rejects the token, it is asked again with a newer one.
    async fn ask_with(&self, own: &OwnToken, notes: &mut Notes) -> Asked {
        let mut may_be_old = true;
        loop {
            let bearer = match own.obtain(self.ports, &mut notes.calls).await {
                Ok(bearer) => bearer,
                Err(fault) => return Asked { read: Err(Unanswered::NoToken(fault)), leads: false },
            };
            let asked = self.ask(Some(&bearer), notes).await;
            let is_rejected =
                matches!(asked.read, Err(Unanswered::Asked(ProviderFault::Rejected { status: 401 })));
            if asked.read.is_ok() {
                own.accepted(&bearer);
            }
            if !(is_rejected && own.rejected(&bearer, self.ports.now()) && may_be_old) {
                return asked;
            }
            may_be_old = false;
        }
    }

    /// Reads an answer that must be signed. What the leader has verified, the others find in the cache.
    async fn read_signed(
        &self,
        answered: &Answered,
        signature: &mut Signature,
    ) -> Result<Read, ProviderFault> {
        let settings = self.provider.settings();
        if answered.role == Role::Follower
            && let Some(vouched) = self.cache.fresh(self.ports.store(), &self.key, &settings.terms)
        {
            return Ok(Read::Vouched(vouched));
        }
        let (Some(signed), Some(signer)) = (&settings.signed, self.signer) else {
            return Err(ProviderFault::NoKeys);
        };
        read_signed(&answered.result, self.provider, signed, signer, self.asker, self.ports, signature).await
    }
}
