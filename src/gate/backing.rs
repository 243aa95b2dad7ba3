//! Backing: a provider that vouches for applications is asked, and what the request uses is added to the
//! account of its application, to be reported to that provider.

use std::{borrow::Cow, num::NonZeroU64, time::Duration};

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
            self, Applicant, Authorization, Consulted, Decided, Decision, Memory, Question, Rejected, consult,
        },
    },
    policy::Provider,
    ports::Ports,
    refusal::{Cause, Reason, Refusal},
    report::{Acceptance, Account, Exceeded, NotAdded},
    store::Store,
};

/// What a provider said about the application that sent the request.
pub(super) struct Backing {
    /// The provider, as an index into the policy's providers.
    provider: usize,
    /// What was decided.
    authorization: Authorization,
    /// Whether the provider decided it.
    acceptance: Acceptance,
    /// What kind of name the application has there.
    kind: u8,
    /// Its name.
    name: String,
    /// The plan of this name, if the policy has it.
    pub plan: Option<usize>,
    /// Who pays for what the application uses, if it is no consumer.
    pub payer: Digest,
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
    let usage = usage(place);
    let referrer =
        request.headers().values("referer").next().and_then(|referrer| str::from_utf8(referrer).ok());
    let question = Question { applicant, usage: &usage, referrer };
    let memory = Memory { decisions: &policy.decisions, ledger: &policy.ledger, rests: &policy.rests };
    let Consulted { result, call, rejection } = consult(provider, &question, memory, ports).await;
    if trail.is_for_the_caller() {
        let outcome = match (&result, rejection) {
            (_, Some(rejection)) => rejection.code(),
            (Ok(Decided { decision: Decision::Authorized(_), .. }), None) => "authorized",
            (Ok(Decided { decision: Decision::Rejected(rejected), .. }), None) => rejected.rejection.code(),
            (Err(_), None) => "unavailable",
        };
        trail.asked = Some(format!("{} {outcome}", provider.masked(&question)));
    }
    trail.calls.extend(call.map(|record| ProviderCall { provider: index, record }));
    trail.rejection = rejection.map(|rejection| (index, rejection));
    let Decided { decision, lookup, acceptance } = result.map_err(|fault| match rejection {
        Some(rejection) => unavailable(fault, None).cause.because(reason(rejection)),
        None => unavailable(fault, fault.retry_after()),
    })?;
    trail.lookup = Some(lookup);
    let authorization = match decision {
        Decision::Authorized(authorization) => authorization,
        Decision::Rejected(Rejected { rejection, reset, max }) => {
            trail.rejection = Some((index, rejection));
            let reset = reset.map(|reset| seconds(reset.since(ports.now())));
            return Err(rejection.cause(reset, max).because(reason(rejection)));
        }
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
    let account = threescale::account(provider, applicant, acceptance);
    let Account { kind, name, .. } = account;
    let payer = account.digest();
    let name = name.to_owned();
    let backing = Backing { provider: index, authorization, acceptance, kind, name, plan, payer };
    trail.consumer = consumer;
    Ok(Caller { credential, consumer, key: None, identity, backing: Some(Box::new(backing)) })
}

/// Adds what the request uses to the account of its application. A limit of the application may refuse it: it
/// holds here between two reports.
pub(super) fn reckon<S: Store>(place: &Place<'_>, ports: &Ports<S>, trail: &Trail) -> Result<(), Refusal> {
    let backing = trail.caller.as_ref().and_then(|caller| caller.backing.as_deref());
    let Some(Backing { provider, authorization, acceptance, kind, name, .. }) = backing else {
        return Ok(());
    };
    let Some(Provider::ServiceManagement(provider)) = place.policy.providers.get(*provider) else {
        return Err(Cause::ProviderMissing.because("the provider does not exist"));
    };
    let Authorization { amounts, bounds, born, plan: _ } = authorization;
    if amounts.iter().all(|amount| amount.own == 0) {
        return Ok(());
    }
    let account = Account { service: provider.digest(), kind: *kind, name, acceptance: *acceptance };
    let added = place.policy.ledger.add(ports.store(), &account, amounts, bounds, *born);
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

/// What the request uses of each metric, as the metering entries say it: the provider adds it to the metrics
/// above by itself.
fn usage<'p>(place: &Place<'p>) -> Vec<(&'p str, u64)> {
    let metrics = &place.policy.metrics;
    let mut usage: Vec<(&str, u64)> = Vec::new();
    for (_, rule) in place.metering() {
        for (metric, by) in &rule.usages {
            let metric = metrics.name(*metric);
            match usage.iter_mut().find(|(other, _)| *other == metric) {
                Some((_, amount)) => *amount = amount.saturating_add(*by),
                None => usage.push((metric, *by)),
            }
        }
    }
    usage
}

fn reason(rejection: threescale::Rejection) -> Reason {
    format!("the backend answered `{}`", rejection.code()).into()
}

/// Whole seconds, rounded up, at least 1.
fn seconds(left: Duration) -> NonZeroU64 {
    let seconds = left.as_secs().saturating_add(u64::from(left.subsec_nanos() > 0));
    NonZeroU64::new(seconds).unwrap_or(NonZeroU64::MIN)
}
