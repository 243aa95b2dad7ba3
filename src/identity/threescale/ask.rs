//! Asks about an application: first the cache, then the backend, and the cache again if the backend is
//! unavailable.

use std::rc::Rc;

use super::{
    Applicant, Authorization, Caching, Decision, Decisions, Kept, Provider, Question, Read, Rejected,
    Rejection, read,
};
use crate::{
    credential::Digest,
    identity::Lookup,
    ports::{Ports, Role},
    provider::{
        Asker, Call, CallOutcome, CallRecord, Freshness, ProviderFault,
        rest::{Rests, Turn},
    },
    report::{Acceptance, Account, Ledger, Settled},
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
    let (settings, digest) = (provider.settings(), ports.digest_of(provider.question(question)));
    let is_cached = settings.caching != Caching::None;
    let find = || is_cached.then(|| memory.decisions.find(ports.store(), &digest)).flatten();
    let kept = is_cached.then(|| memory.decisions.look(ports.store(), &digest, settings)).flatten();
    let known = matches!(kept.as_ref().map(Kept::decision), Some(Decision::Authorized(_)));
    if let Some(kept) = kept
        && kept.freshness(settings, ports.now()) == Freshness::Fresh
    {
        let decided =
            Decided { decision: kept.into_decision(), lookup: Lookup::Hit, acceptance: Acceptance::Accepted };
        return Consulted { result: Ok(decided), call: None, rejection: None };
    }
    let turn = memory.rests.turn(ports.store(), provider.digest(), settings.timeout);
    if turn == Turn::Leave {
        let result = despite(find, provider, question, memory, ports).ok_or(ProviderFault::Resting);
        return Consulted { result, call: None, rejection: None };
    }
    let asker = if known { Asker::Known } else { Asker::Stranger };
    // What is reported while the call is on its way counts twice, which is better than not at all.
    let account = account(provider, question.applicant, Acceptance::Accepted, ports);
    let settled = memory.ledger.settled(ports.store(), &account);
    let call = provider.authorize(question, digest, asker);
    let Exchange { read, call, rejection, role } = exchange(provider, call, turn, memory.rests, ports).await;
    let result = match read {
        Ok(read) => {
            let decision = decision(read, question.usage, &settled, ports);
            if role == Role::Leader {
                remember(provider, question, &decision, memory.decisions, ports);
                let kept = Kept::new(decision.clone(), ports.now());
                memory.decisions.keep(ports.store(), &digest, &kept, settings);
            }
            Ok(Decided { decision, lookup: Lookup::Miss, acceptance: Acceptance::Accepted })
        }
        // Another worker may have received an answer meanwhile, so the cache is checked again.
        Err(fault) if is_an_outage(fault) => despite(find, provider, question, memory, ports).ok_or(fault),
        Err(fault) => Err(fault),
    };
    Consulted { result, call, rejection }
}

/// The result of having a request counted.
#[derive(Debug)]
pub struct Counted {
    /// What was decided, or why nothing was. `None` if the backend is unavailable, and the application passes
    /// nevertheless: it has not been counted then.
    pub result: Result<Option<Decision>, ProviderFault>,
    /// The call, if one was made.
    pub call: Option<CallRecord>,
    /// What the backend answered to it instead of a decision.
    pub rejection: Option<Rejection>,
}

/// Has the backend count what a request uses, by a call that was made for it, if the application may use it.
/// `digest` is that of the request's question, about which there is a newer decision now.
pub async fn count<S: Store>(
    provider: &Provider,
    call: Call,
    (usage, digest): (&[(&str, u64)], &Digest),
    account: &Account<'_>,
    memory: Memory<'_>,
    ports: &Ports<S>,
) -> Counted {
    let settings = provider.settings();
    let turn = memory.rests.turn(ports.store(), provider.digest(), settings.timeout);
    let despite = |fault| if passes_outages(provider, account) { Ok(None) } else { Err(fault) };
    if turn == Turn::Leave {
        return Counted { result: despite(ProviderFault::Resting), call: None, rejection: None };
    }
    let settled = memory.ledger.settled(ports.store(), account);
    let Exchange { read, call, rejection, role: _ } =
        exchange(provider, call, turn, memory.rests, ports).await;
    let result = match read {
        Ok(read) => {
            let decision = decision(read, usage, &settled, ports);
            let kept = Kept::new(decision.clone(), ports.now());
            memory.decisions.keep(ports.store(), digest, &kept, settings);
            Ok(Some(decision))
        }
        Err(fault) if is_an_outage(fault) => despite(fault),
        Err(fault) => Err(fault),
    };
    Counted { result, call, rejection }
}

/// Whether an application that was identified passes while the backend cannot count it.
fn passes_outages(provider: &Provider, account: &Account<'_>) -> bool {
    let settings = provider.settings();
    match settings.caching {
        Caching::Resilient | Caching::Allow => true,
        Caching::Strict | Caching::None => {
            account.kind() == super::report::APP_ID && settings.allowed.contains(account.name())
        }
    }
}

/// A call and its result.
struct Exchange {
    read: Result<Read, ProviderFault>,
    call: Option<CallRecord>,
    rejection: Option<Rejection>,
    role: Role,
}

/// Makes a call whose turn it is, and records whether the backend rests after it.
async fn exchange<S: Store>(
    provider: &Provider,
    call: Call,
    turn: Turn,
    rests: &Rests,
    ports: &Ports<S>,
) -> Exchange {
    let answered = ports.ask(call).await;
    let (read, rejection) = match read(&answered.result) {
        Ok(Read::Rejected { rejection, .. }) if rejection.fault().is_some() => {
            (Err(rejection.fault().unwrap_or(ProviderFault::Malformed)), Some(rejection))
        }
        read => (read, None),
    };
    let role = answered.role;
    let outcome = match &read {
        Ok(_) => CallOutcome::Answered,
        Err(fault) => CallOutcome::Fault(*fault),
    };
    let call = (role == Role::Leader).then_some(CallRecord { outcome, took: answered.took });
    let fault = read.as_ref().err();
    if fault.is_some_and(|fault| fault.calls_for_rest()) {
        if role == Role::Leader {
            rests.begin(ports.store(), provider.digest(), turn, provider.settings().cooldown);
        }
    } else if turn == Turn::Try && fault.is_some_and(|fault| !fault.is_an_answer()) {
        rests.pass_on(ports.store(), provider.digest());
    } else if turn == Turn::Try {
        rests.end(ports.store(), provider.digest());
    }
    Exchange { read, call, rejection, role }
}

fn decision<S: Store>(read: Read, usage: &[(&str, u64)], settled: &Settled, ports: &Ports<S>) -> Decision {
    match read {
        Read::Authorized(answer) => Decision::Authorized(Rc::new(Authorization::new(answer, usage, settled))),
        Read::Rejected { rejection, reset, max } => {
            let reset = reset.map(|reset| ports.now().saturating_add(seconds(reset)));
            Decision::Rejected(Rejected { rejection, reset, max })
        }
    }
}

fn seconds(number: std::num::NonZeroU64) -> std::time::Duration {
    std::time::Duration::from_secs(number.get())
}

/// The account of an application.
pub fn account<'a, S: Store>(
    provider: &Provider,
    applicant: Applicant<'a>,
    acceptance: Acceptance,
    ports: &Ports<S>,
) -> Account<'a> {
    let (kind, name) = match applicant {
        Applicant::UserKey(key) => (super::report::USER_KEY, key),
        Applicant::Application { id, key: _ } | Applicant::Client(id) => (super::report::APP_ID, id),
    };
    Account::new(*provider.digest(), kind, name, acceptance, |bytes| ports.digest_of(bytes))
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
    find: impl Fn() -> Option<Kept>,
    provider: &Provider,
    question: &Question<'_>,
    memory: Memory<'_>,
    ports: &Ports<S>,
) -> Option<Decided> {
    let settings = provider.settings();
    // In strict mode this is an answer that another worker received meanwhile.
    let kept = find().filter(|kept| kept.freshness(settings, ports.now()) != Freshness::Expired);
    if let Some(kept) = kept {
        let decision = kept.into_decision();
        return Some(Decided { decision, lookup: Lookup::Stale, acceptance: Acceptance::Accepted });
    }
    let is_allowed = settings.caching == Caching::Allow || {
        let id = question.applicant.id().filter(|id| settings.allowed.contains(*id));
        id.is_some_and(|id| {
            let application = application(provider, id);
            memory.decisions.knows_key(ports.store(), &application, &key(question.applicant))
        })
    };
    let decision = Decision::Authorized(Rc::new(Authorization::unseen(question.usage)));
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
