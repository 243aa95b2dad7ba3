//! Asks about an application: first the cache, then the backend, and the cache again if the backend is
//! unavailable.

use super::{
    Answer, Applicant, Caching, Provider, Question, Read, Rejection,
    decision::{Authorization, Decision, Decisions, Kept, Rejected},
    read,
};
use crate::{
    credential::Digest,
    identity::Lookup,
    ports::{Ports, Role},
    provider::{
        Asker, CallOutcome, CallRecord, Freshness, ProviderFault,
        rest::{Rests, Turn},
    },
    report::{Acceptance, Account, Ledger},
    store::Store,
};

/// The result of asking about an application.
#[derive(Debug)]
pub struct Consulted {
    /// What was decided, or why nothing was.
    pub result: Result<Decided, ProviderFault>,
    /// The call, if this request made one.
    pub call: Option<CallRecord>,
    /// What the backend answered to it instead of a decision: somebody else than the caller is at fault.
    pub rejection: Option<Rejection>,
}

/// What was decided, and by whom.
#[derive(Debug)]
pub struct Decided {
    /// The decision.
    pub decision: Decision,
    /// How it was obtained.
    pub lookup: Lookup,
    /// Whether the backend has ever accepted this question. Otherwise, the operator allows it during an
    /// outage.
    pub acceptance: Acceptance,
}

/// What decisions are made with.
#[derive(Clone, Copy)]
pub struct Memory<'a> {
    /// Cached decisions.
    pub decisions: &'a Decisions,
    /// Usage between reports.
    pub ledger: &'a Ledger,
    /// Which providers rest.
    pub rests: &'a Rests,
}

/// Asks `provider`.
///
/// Requests that ask the same question at the same time share one call. The first of them caches the decision
/// for the others, and records whether the backend rests.
pub async fn consult<S: Store>(
    provider: &Provider,
    question: &Question<'_>,
    memory: Memory<'_>,
    ports: &Ports<S>,
) -> Consulted {
    let (settings, digest) = (provider.settings(), provider.question(question));
    let find = || match settings.caching {
        Caching::None => None,
        Caching::Strict | Caching::Resilient | Caching::Allow => {
            memory.decisions.find(ports.store(), &digest)
        }
    };
    let kept = find();
    let known = matches!(kept.as_ref().map(Kept::decision), Some(Decision::Authorized(_)));
    if let Some(kept) = kept
        && kept.freshness(settings, ports.now()) == Freshness::Fresh
    {
        let decided =
            Decided { decision: kept.into_decision(), lookup: Lookup::Hit, acceptance: Acceptance::Accepted };
        return Consulted { result: Ok(decided), call: None, rejection: None };
    }
    let (fault, call, rejection) = match memory.rests.turn(ports.store(), provider.digest(), settings.timeout)
    {
        Turn::Leave => (ProviderFault::Resting, None, None),
        turn @ (Turn::Call | Turn::Try) => {
            let asker = if known { Asker::Known } else { Asker::Stranger };
            // What is reported while the call is on its way counts twice, which is better than not at all.
            let settled = memory
                .ledger
                .settled(ports.store(), &account(provider, question.applicant, Acceptance::Accepted));
            let answered = ports.ask(provider.authorize(question, digest, asker)).await;
            let (read, rejection) = match read(&answered.result) {
                Ok(Read::Rejected { rejection, .. }) if rejection.fault().is_some() => {
                    (Err(rejection.fault().unwrap_or(ProviderFault::Malformed)), Some(rejection))
                }
                read => (read, None),
            };
            let leads = answered.role == Role::Leader;
            let outcome = match &read {
                Ok(_) => CallOutcome::Answered,
                Err(fault) => CallOutcome::Fault(*fault),
            };
            let call = leads.then_some(CallRecord { outcome, took: answered.took });
            match read {
                Ok(read) => {
                    if turn == Turn::Try {
                        memory.rests.end(ports.store(), provider.digest());
                    }
                    let decision = match read {
                        Read::Authorized(answer) => authorized(answer, question, &settled),
                        Read::Rejected { rejection, reset, max } => {
                            let reset = reset.map(|reset| ports.now().saturating_add(seconds(reset)));
                            Decision::Rejected(Rejected { rejection, reset, max })
                        }
                    };
                    if leads {
                        remember(provider, question, &decision, memory.decisions, ports);
                        let kept = Kept::new(decision.clone(), ports.now());
                        memory.decisions.keep(ports.store(), &digest, &kept, settings);
                    }
                    let decided =
                        Decided { decision, lookup: Lookup::Miss, acceptance: Acceptance::Accepted };
                    return Consulted { result: Ok(decided), call, rejection: None };
                }
                Err(fault) => {
                    if fault.calls_for_rest() {
                        if leads {
                            memory.rests.begin(ports.store(), provider.digest(), turn, settings.cooldown);
                        }
                    } else if turn == Turn::Try && fault.is_an_answer() {
                        memory.rests.end(ports.store(), provider.digest());
                    } else if turn == Turn::Try {
                        memory.rests.pass_on(ports.store(), provider.digest());
                    }
                    (fault, call, rejection)
                }
            }
        }
    };
    // Another worker may have received an answer meanwhile, so the cache is checked again.
    let kept = find().filter(|kept| kept.freshness(settings, ports.now()) != Freshness::Expired);
    let decided = if is_an_outage(fault) { despite(kept, provider, question, memory, ports) } else { None };
    Consulted { result: decided.ok_or(fault), call, rejection }
}

fn seconds(number: std::num::NonZeroU64) -> std::time::Duration {
    std::time::Duration::from_secs(number.get())
}

/// The account of an application.
pub fn account<'a>(provider: &'a Provider, applicant: Applicant<'a>, acceptance: Acceptance) -> Account<'a> {
    let (kind, name) = match applicant {
        Applicant::UserKey(key) => (super::report::USER_KEY, key),
        Applicant::Application { id, key: _ } | Applicant::Client(id) => (super::report::APP_ID, id),
    };
    Account { service: provider.digest(), kind, name, acceptance }
}

fn authorized(answer: Answer, question: &Question<'_>, settled: &crate::report::Settled) -> Decision {
    Decision::Authorized(Authorization::new(answer, question, settled))
}

/// Whether the backend cannot decide at the moment. A backend that refuses us, or does not know our metrics,
/// works: an outage must not be made of a wrong token.
const fn is_an_outage(fault: ProviderFault) -> bool {
    match fault {
        ProviderFault::Rejected { .. } => false,
        ProviderFault::Status { status, .. } => matches!(status, 428 | 429 | 499..),
        ProviderFault::Grpc { .. }
        | ProviderFault::NotJson
        | ProviderFault::Malformed
        | ProviderFault::TooLong
        | ProviderFault::Unsigned
        | ProviderFault::NoKeys
        | ProviderFault::TooManySignatures
        | ProviderFault::TimedOut
        | ProviderFault::Failed
        | ProviderFault::UnknownCluster
        | ProviderFault::NoHealthyHost
        | ProviderFault::Overloaded
        | ProviderFault::Resting => true,
    }
}

/// What is decided without the backend.
fn despite<S: Store>(
    kept: Option<Kept>,
    provider: &Provider,
    question: &Question<'_>,
    memory: Memory<'_>,
    ports: &Ports<S>,
) -> Option<Decided> {
    let settings = provider.settings();
    if let Some(kept) = kept {
        // In strict mode this is an answer that another worker received meanwhile.
        let decided = Decided {
            decision: kept.into_decision(),
            lookup: Lookup::Stale,
            acceptance: Acceptance::Accepted,
        };
        return Some(decided);
    }
    let is_allowed = settings.caching == Caching::Allow || {
        let id = question.applicant.id().filter(|id| settings.allowed.contains(*id));
        id.is_some_and(|id| {
            let application = application(provider, id);
            memory.decisions.knows_key(ports.store(), &application, &key(question.applicant))
        })
    };
    let decision = Decision::Authorized(Authorization::unseen(question));
    is_allowed.then_some(Decided { decision, lookup: Lookup::Stale, acceptance: Acceptance::Unseen })
}

/// Remembers with which key an application that passes during an outage was accepted.
fn remember<S: Store>(
    provider: &Provider,
    question: &Question<'_>,
    decision: &Decision,
    decisions: &Decisions,
    ports: &Ports<S>,
) {
    let Decision::Authorized(_) = decision else { return };
    if let Some(id) = question.applicant.id().filter(|id| provider.settings().allowed.contains(*id)) {
        decisions.remember_key(ports.store(), &application(provider, id), &key(question.applicant));
    }
}

fn application(provider: &Provider, id: &str) -> Digest {
    Digest::of_parts(&[provider.digest().bytes(), b"application", id.as_bytes()])
}

/// The digest of what proves who an application is.
fn key(applicant: Applicant<'_>) -> Digest {
    match applicant {
        Applicant::Application { id: _, key: Some(key) } => Digest::of_parts(&[b"key", key.as_bytes()]),
        Applicant::Application { id: _, key: None } => Digest::of_parts(&[b"none"]),
        // Somebody else has checked the token.
        Applicant::Client(_) => Digest::of_parts(&[b"token"]),
        Applicant::UserKey(key) => Digest::of_parts(&[b"user_key", key.as_bytes()]),
    }
}
