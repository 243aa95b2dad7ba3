//! Charging: what the request uses, who pays for it, and the receipt.

use std::rc::Rc;

use super::{
    authorize::Grant,
    place::Place,
    request::Request,
    trail::{ProviderCall, Trail},
};
use crate::{
    policy::{Policy, Provider},
    ports::{Ports, QuotaAlert, Report},
    provider::ProviderFault,
    quota::{
        self, Demands, Denial, Denied, Payers, Receipt, Standing,
        remote::{self, Confirmed, NotConfirmed, Refill, Taken},
        tightest,
    },
    refusal::{Cause, Reason, Refusal},
    store::{NotWritten, Store},
};

/// Charges the request to everyone who pays for it.
pub(super) async fn charge<'a, S: Store + 'static>(
    place: &Place<'a>,
    grant: &Grant<'a>,
    request: &Request,
    ports: &'a Ports<S>,
    trail: &mut Trail,
) -> Result<Receipt<'a, S>, Refusal> {
    place.meter(trail);
    let demands = demands(place, grant, request, trail);
    let policy = place.policy;
    let receipt = match quota::charge(ports, &policy.meters, &demands, &trail.usage) {
        Ok(receipt) => receipt,
        Err(denied) => return Err(refused(denied, trail)),
    };
    if policy.has_services && receipt.needs_service() {
        // Boxed, so that requests without such limits do not have to make room for it.
        return Box::pin(confirm(receipt, policy, ports, trail)).await;
    }
    Ok(receipt)
}

/// The state of every limit that could apply to the caller's requests. Nothing is charged.
pub(super) fn look<'a, S: Store>(
    place: &Place<'a>,
    grant: &Grant<'a>,
    request: &Request,
    ports: &Ports<S>,
    trail: &Trail,
) -> Vec<Standing> {
    quota::look(ports, &place.policy.meters, &demands(place, grant, request, trail))
}

/// The limits that apply to the caller, by meter.
fn demands<'a>(place: &Place<'a>, grant: &Grant<'a>, request: &Request, trail: &Trail) -> Demands<'a> {
    let Place { policy, api, .. } = *place;
    let identity = trail.caller.as_ref().and_then(|caller| caller.identity.as_ref());
    let consumer = grant.consumer.and_then(|consumer| policy.consumers.get(consumer));
    let backing = trail.caller.as_ref().and_then(|caller| caller.backing.as_ref());
    let application = || backing.map(|backing| *backing.payer());
    let payers = Payers {
        api: api.payer(),
        key: trail.caller.as_ref().and_then(|caller| caller.key),
        consumer: consumer.map(|consumer| consumer.payer).or_else(application),
        client: identity.and_then(|identity| identity.client_id.as_deref()),
        subject: identity.and_then(|identity| identity.sub.as_deref()),
        address: &|| request.address(),
    };
    let mut demands = Demands::new();
    if let Some(plan) = grant.own_plan.and_then(|plan| policy.plans.get(plan)) {
        payers.demand(&mut demands, &plan.limits);
    }
    if let Some(binding) = grant.binding {
        payers.demand(&mut demands, &binding.limits);
    }
    payers.demand(&mut demands, &api.limits);
    demands
}

/// Asks the rate limit services of limits across replicas.
async fn confirm<'a, S: Store + 'static>(
    receipt: Receipt<'a, S>,
    policy: &Policy,
    ports: &'a Ports<S>,
    trail: &mut Trail,
) -> Result<Receipt<'a, S>, Refusal> {
    let identity = trail.caller.as_ref().and_then(|caller| caller.identity.as_ref());
    let client = identity.and_then(|identity| identity.client_id.as_deref());
    let services = |provider| match policy.providers.get(provider) {
        Some(Provider::RateLimitService(service)) => Some(service),
        _ => None,
    };
    let Confirmed { result, calls, fallen, refills } =
        remote::confirm(receipt, services, client, &policy.rests, ports).await;
    trail.calls.extend(calls.into_iter().map(|(provider, record)| ProviderCall { provider, record }));
    trail.fallen = fallen;
    for refill in refills {
        let (policy, alert) = (Rc::clone(&trail.policy), trail.alert(&refill.limit));
        ports.leave(Box::new(move |ports| Box::pin(take_lease(refill, alert, policy, ports))));
    }
    result.map_err(|refused| match refused {
        NotConfirmed::Denied(denied) => self::refused(denied, trail),
        NotConfirmed::Lost(fault) => unavailable(fault),
    })
}

/// Takes a lease, in the background. `alert` is for the case that the limit is nearly used up then.
async fn take_lease<S: Store>(refill: Refill, alert: QuotaAlert, policy: Rc<Policy>, ports: Rc<Ports<S>>) {
    let provider = refill.provider;
    let Some(Provider::RateLimitService(service)) = policy.providers.get(provider) else { return };
    let taken = remote::refill(&refill, service, &policy.meters, &policy.rests, &ports).await;
    if let Some(Taken { call, granted, alerts }) = taken {
        ports.report(Report::Call { provider, call, leased: granted });
        if alerts {
            ports.report(Report::Alert(alert));
        }
    }
}

/// The refusal for a denial, whose standings go into the trail.
fn refused(mut denied: Denied, trail: &mut Trail) -> Refusal {
    if trail.policy.has_shadow_limits {
        denied.standings.retain(|standing| !standing.limit.is_in_shadow());
    }
    let refusal = refusal(&denied);
    trail.standings = denied.standings;
    refusal
}

fn unavailable(fault: ProviderFault) -> Refusal {
    let cause = match fault {
        ProviderFault::UnknownCluster => Cause::ClusterUnknown,
        ProviderFault::NoHealthyHost => Cause::NoHealthyHost,
        _ => Cause::QuotaUnavailable { retry_after: fault.retry_after() },
    };
    cause.because(Reason::of(&fault))
}

fn refusal(denied: &Denied) -> Refusal {
    match denied.denial {
        Denial::NotNow { retry_after } => {
            let retry_after = retry_after.map(std::num::NonZeroU64::get);
            Cause::LimitReached { retry_after }.because(reached(tightest(&denied.standings)))
        }
        Denial::Never => Cause::Forbidden.because("a limit is 0 or smaller than the request's usage"),
        Denial::NotCounted(NotWritten::Contended(_)) => {
            Cause::QuotaUnavailable { retry_after: Some(1) }.because("the store is contended")
        }
        // Room appears when the windows of other meters end, which cannot be predicted.
        Denial::NotCounted(NotWritten::Full) => {
            Cause::QuotaUnavailable { retry_after: None }.because("the store has no room for another meter")
        }
    }
}

/// The refusal that these limits, which are in shadow mode, would be the reason for.
pub(super) fn limit_reached(refusing: &[Standing]) -> Refusal {
    let latest =
        refusing.iter().map(Standing::reset_seconds).try_fold(0, |latest, reset| Some(latest.max(reset?)));
    Cause::LimitReached { retry_after: latest }.because(reached(tightest(refusing)))
}

fn reached(standing: Option<&Standing>) -> Reason {
    match standing {
        Some(Standing { limit, .. }) => {
            format!("limit {} of {} is reached", limit.name(), limit.max()).into()
        }
        None => "a limit is reached".into(),
    }
}
