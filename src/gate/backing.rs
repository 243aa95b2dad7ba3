//! Backing: a provider that vouches for applications is asked. What an admitted request uses is added to the
//! account of its application, to be reported to that provider, or counted there at once.

use std::{borrow::Cow, num::NonZeroU64, rc::Rc, time::Duration};

use super::{
    identify::{Caller, Credential, unavailable},
    place::Place,
    request::Request,
    trail::{ProviderCall, Trail},
};
use crate::{
    credential::Digest,
    identity::{
        Identity,
        threescale::{
            self, Applicant, Authorization, Consulted, Counted, Decided, Decision, Memory, Question,
            Reckoning, Rejected, consult, count,
        },
    },
    policy::{Policy, Provider},
    ports::Ports,
    provider::{Call, ProviderFault},
    refusal::{Cause, Reason, Refusal},
    report::{Account, Exceeded, NotAdded},
    store::Store,
};

/// What a provider said about the application that sent the request.
pub(super) struct Backing {
    /// The provider, as an index into the policy's providers.
    provider: usize,
    /// What was decided.
    authorization: Rc<Authorization>,
    /// The application's account.
    account: Account<'static>,
    /// What has the request counted at once.
    at_once: Option<Box<AtOnce>>,
    /// The plan of this name, if the policy has it.
    pub plan: Option<usize>,
}

/// What has a request counted at once.
struct AtOnce {
    call: Call,
    /// The digest of the request's question.
    question: Digest,
}

/// The account of an application for which the status of an answer is to be reported.
#[derive(Debug)]
pub struct Coded(Account<'static>);

impl Coded {
    /// Adds the status of the answer to what is reported. A code that the ledger has no room for is lost; its
    /// usage is not.
    pub fn answered<S: Store>(&self, status: u16, policy: &Policy, ports: &Ports<S>) {
        let _logged = threescale::log(&self.0, status, &policy.ledger, ports);
    }
}

impl Backing {
    /// Who pays for what the application uses, if it is no consumer.
    pub(super) const fn payer(&self) -> &Digest {
        self.account.digest()
    }
}

/// Asks a provider about the application that sent the request. `identity` is that of its token, if it has
/// one.
pub(super) async fn by_backend<S: Store>(
    place: &Place<'_>,
    index: usize,
    applicant: Applicant<'_>,
    identity: Option<Identity<'static>>,
    request: &Request,
    ports: &Ports<S>,
    trail: &mut Trail,
) -> Result<Caller, Refusal> {
    let policy = place.policy;
    let Some(Provider::ServiceManagement(provider)) = policy.providers.get(index) else {
        return Err(Cause::ProviderMissing.because("the provider does not exist"));
    };
    let usage = own_usage(place, trail);
    let referrer =
        request.headers().values("referer").next().and_then(|referrer| str::from_utf8(referrer).ok());
    let question = Question { applicant, usage: &usage, referrer };
    let memory = Memory { decisions: &policy.decisions, ledger: &policy.ledger, rests: &policy.rests };
    let Consulted { result, call, rejection } = consult(provider, &question, memory, ports).await;
    if trail.is_for_the_caller() {
        let outcome = outcome(result.as_ref().map(|decided| Some(&decided.decision)), rejection);
        trail.asked = Some(format!("{} {outcome}", provider.masked(&question)));
    }
    trail.calls.extend(call.map(|record| ProviderCall { provider: index, record }));
    trail.rejection = rejection.map(|rejection| (index, rejection));
    let Decided { decision, lookup, acceptance } = result.map_err(|fault| unanswered(fault, rejection))?;
    trail.lookup = Some(lookup);
    let authorization = match decision {
        Decision::Authorized(authorization) => authorization,
        Decision::Rejected(rejected) => return Err(refused(rejected, index, ports, trail)),
    };
    let (consumer, credential) = match applicant {
        Applicant::UserKey(_) => (None, Credential::Key),
        Applicant::Application { id, key: _ } => (policy.consumers.by_application(id), Credential::Key),
        Applicant::Client(id) => (policy.consumers.by_client(id), Credential::Token),
    };
    let identity = identity.or_else(|| {
        let client_id = applicant.id().map(|id| Cow::Owned(id.to_owned()));
        client_id.map(|client_id| Identity { client_id: Some(client_id), ..Identity::default() })
    });
    let plan = authorization.plan.as_deref().and_then(|plan| policy.plan_named(plan));
    if authorization.plan.is_some() && plan.is_none() {
        trail.unmapped_plan = Some(index);
    }
    let account = threescale::account(provider, applicant, acceptance, ports).into_owned();
    let at_once = (provider.settings().reckoning == Reckoning::Exact).then(|| {
        let digest = ports.digest_of(provider.question(&question));
        Box::new(AtOnce { call: provider.authrep(&question), question: digest })
    });
    let backing = Backing { provider: index, authorization, account, at_once, plan };
    trail.consumer = consumer;
    Ok(Caller { credential, consumer, key: None, identity, backing: Some(Box::new(backing)) })
}

/// Counts what the request uses, as the last step before it passes. A limit of the application may refuse it.
pub(super) async fn reckon<S: Store>(
    place: &Place<'_>,
    ports: &Ports<S>,
    trail: &mut Trail,
) -> Result<(), Refusal> {
    let backing = trail.caller.as_mut().and_then(|caller| caller.backing.take());
    let Some(mut backing) = backing else { return Ok(()) };
    if backing.authorization.amounts.iter().all(|amount| amount.own == 0) {
        return Ok(());
    }
    if let Some(at_once) = backing.at_once.take() {
        // Boxed, so that other requests do not have to make room for it.
        return Box::pin(count_at_once(*at_once, &backing, place, ports, trail)).await;
    }
    add(&backing, place, ports)?;
    if let Some(Provider::ServiceManagement(provider)) = place.policy.providers.get(backing.provider)
        && provider.settings().report_codes
    {
        trail.coded = Some(Box::new(Coded(backing.account)));
    }
    Ok(())
}

/// Has the provider count the request. If it is unavailable and the request passes, it will be reported.
async fn count_at_once<S: Store>(
    AtOnce { call, question }: AtOnce,
    backing: &Backing,
    place: &Place<'_>,
    ports: &Ports<S>,
    trail: &mut Trail,
) -> Result<(), Refusal> {
    let (policy, index) = (place.policy, backing.provider);
    let Some(Provider::ServiceManagement(provider)) = policy.providers.get(index) else {
        return Err(Cause::ProviderMissing.because("the provider does not exist"));
    };
    let usage = own_usage(place, trail);
    let memory = Memory { decisions: &policy.decisions, ledger: &policy.ledger, rests: &policy.rests };
    let counted = count(provider, call, (&usage, &question), &backing.account, memory, ports).await;
    let Counted { result, call, rejection } = counted;
    if let Some(asked) = &mut trail.asked {
        asked.push_str(", authrep ");
        asked.push_str(outcome(result.as_ref().map(Option::as_ref), rejection));
    }
    trail.calls.extend(call.map(|record| ProviderCall { provider: index, record }));
    match result {
        Ok(Some(Decision::Authorized(_))) => Ok(()),
        Ok(Some(Decision::Rejected(rejected))) => Err(refused(rejected, index, ports, trail)),
        Ok(None) => add(backing, place, ports),
        Err(fault) => {
            trail.rejection = rejection.map(|rejection| (index, rejection));
            Err(unanswered(fault, rejection))
        }
    }
}

/// Adds what the request uses to the account of its application. The limits that the provider reported hold
/// here until the next report.
fn add<S: Store>(backing: &Backing, place: &Place<'_>, ports: &Ports<S>) -> Result<(), Refusal> {
    let Authorization { amounts, bounds, born, plan: _ } = &*backing.authorization;
    let added = place.policy.ledger.add(ports.store(), &backing.account, amounts, bounds, *born);
    added.map_err(|not_added| match not_added {
        NotAdded::Exceeded(Exceeded { max: 0, end: _ }) => {
            Cause::Forbidden.because("a limit of the application's plan is 0")
        }
        NotAdded::Exceeded(Exceeded { max, end }) => {
            let retry_after = end.map(|end| seconds(end.since(ports.now())).get());
            let reason = format!("limit {max} of the application's plan is reached since the last report");
            Cause::LimitReached { retry_after }.because(Reason::from(reason))
        }
        NotAdded::Contended => {
            Cause::QuotaUnavailable { retry_after: Some(1) }.because("the store is contended")
        }
        NotAdded::Full => Cause::QuotaUnavailable { retry_after: None }
            .because("the ledger has no room for another application"),
    })
}

/// What the request uses of the metrics that metering entries name. The provider adds it to the metrics above
/// by itself.
fn own_usage<'p>(place: &Place<'p>, trail: &mut Trail) -> Vec<(&'p str, u64)> {
    let metrics = &place.policy.metrics;
    place.meter(trail);
    trail.usage.own().map(|(metric, by)| (metrics.name(metric), by)).collect()
}

/// What an answer was, in a word.
fn outcome(
    result: Result<Option<&Decision>, &ProviderFault>,
    rejection: Option<threescale::Rejection>,
) -> &'static str {
    match (result, rejection) {
        (_, Some(rejection)) => rejection.code(),
        (Ok(Some(Decision::Authorized(_))), None) => "authorized",
        (Ok(Some(Decision::Rejected(rejected))), None) => rejected.rejection.code(),
        (Ok(None) | Err(_), None) => "unavailable",
    }
}

/// The refusal of an application that the provider rejects.
fn refused<S: Store>(rejected: Rejected, provider: usize, ports: &Ports<S>, trail: &mut Trail) -> Refusal {
    let Rejected { rejection, reset, max } = rejected;
    trail.rejection = Some((provider, rejection));
    let reset = reset.map(|reset| seconds(reset.since(ports.now())));
    rejection.cause(reset, max).because(reason(rejection))
}

/// The refusal if the provider decides nothing.
fn unanswered(fault: ProviderFault, rejection: Option<threescale::Rejection>) -> Refusal {
    match rejection {
        Some(rejection) => unavailable(fault, None).cause.because(reason(rejection)),
        None => unavailable(fault, fault.retry_after()),
    }
}

fn reason(rejection: threescale::Rejection) -> Reason {
    format!("the backend answered `{}`", rejection.code()).into()
}

/// Whole seconds, rounded up, at least 1.
fn seconds(left: Duration) -> NonZeroU64 {
    let seconds = left.as_secs().saturating_add(u64::from(left.subsec_nanos() > 0));
    NonZeroU64::new(seconds).unwrap_or(NonZeroU64::MIN)
}
