//! Asks who a token belongs to: first the cache, then the endpoint, and the cache again if the endpoint is
//! unavailable.

use super::{Provider, Read, read};
use crate::{
    credential::AccessToken,
    identity::{IdentityCache, Lookup, Vouched},
    ports::{Ports, Role},
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
    /// The call, if this request made one.
    pub call: Option<CallRecord>,
}

/// Asks `provider` about `token`.
///
/// Requests that ask about the same token at the same time share one call. The first of them caches the
/// answer for the others, and records whether the provider rests.
pub async fn introspect<S: Store>(
    provider: &Provider,
    token: &AccessToken,
    cache: &IdentityCache,
    rests: &Rests,
    ports: &Ports<S>,
) -> Consulted {
    let settings = provider.settings();
    let key = provider.cache_key(&ports.digest_of(token.secret()));
    if let Some(vouched) = cache.fresh(ports.store(), &key, &settings.terms) {
        return Consulted { result: Ok((vouched, Lookup::Hit)), call: None };
    }
    if provider.is_foreign(token.secret()) {
        return Consulted { result: Ok((Vouched::Inactive, Lookup::Foreign)), call: None };
    }
    let (fault, call) = match rests.turn(ports.store(), provider.digest(), settings.timeout) {
        Turn::Leave => (ProviderFault::Resting, None),
        turn @ (Turn::Call | Turn::Try) => {
            let asker = if cache.knows(ports.store(), &key) { Asker::Known } else { Asker::Stranger };
            let answered = ports.ask(provider.call(token, key, asker)).await;
            let read = read(&answered.result, cache.asked());
            let leads = answered.role == Role::Leader;
            let outcome = match &read {
                Ok(Read::Vouched(_)) => CallOutcome::Answered,
                Ok(Read::Unreadable) => CallOutcome::Unreadable,
                Err(fault) => CallOutcome::Fault(*fault),
            };
            let call = leads.then_some(CallRecord { outcome, took: answered.took });
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
                    return Consulted { result: Ok((introspected, Lookup::Miss)), call };
                }
                Err(fault) => {
                    if fault.calls_for_rest() {
                        if leads {
                            rests.begin(ports.store(), provider.digest(), turn, settings.terms.cooldown);
                        }
                    } else if turn == Turn::Try && fault.is_an_answer() {
                        rests.end(ports.store(), provider.digest());
                    } else if turn == Turn::Try {
                        rests.pass_on(ports.store(), provider.digest());
                    }
                    (fault, call)
                }
            }
        }
    };
    // Another worker may have received an answer meanwhile, so the cache is checked again.
    let kept = cache.find(ports.store(), &key);
    let earlier = kept.and_then(|kept| kept.despite_fault(&settings.terms, ports.now()));
    Consulted { result: earlier.map(|introspected| (introspected, Lookup::Stale)).ok_or(fault), call }
}
