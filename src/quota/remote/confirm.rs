//! Asks rate limit services whether limits across replicas have room for a request.

use std::time::Duration;

use super::{
    super::{
        charge::{Receipt, not_now},
        meter::Meters,
        standing::{Cover, Denied, Standing},
    },
    lease::{self, Heard, Refill},
    service::{Count, Fallback, Service, Take},
};
use crate::{
    ports::Ports,
    provider::{
        CallOutcome, CallRecord, ProviderFault,
        rest::{Rests, Turn},
    },
    store::Store,
};

/// How long a task may have to wait for its first turn.
const TURN: Duration = Duration::from_millis(100);

/// The result of asking.
pub struct Confirmed<'a, S: Store> {
    /// The receipt, which now includes what the services counted; or why the request must not pass.
    pub result: Result<Receipt<'a, S>, NotConfirmed>,
    /// The calls that were made, each with the index of its provider.
    pub calls: Vec<(usize, CallRecord)>,
    /// The services that gave no usable answer although the request may pass.
    pub fallen: Vec<Fallen>,
    /// The leases that are to be taken in the background.
    pub refills: Vec<Refill>,
}

/// A service that gave no usable answer although the request may pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fallen {
    /// The provider's index.
    pub provider: usize,
    /// Why there is no answer.
    pub fault: ProviderFault,
}

/// Why a request must not pass. Our own meters have been given back their charges.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotConfirmed {
    /// A limit is reached.
    Denied(Denied),
    /// A service gave no usable answer.
    Lost(ProviderFault),
}

/// Asks the services of all limits across replicas that `receipt` was charged for, unless a lease covers the
/// charge. `services` finds a service
/// by the index of its provider; `client` is the caller's OAuth2 client.
///
/// If the future is dropped while it waits, our own meters get back their charges.
pub async fn confirm<'a, 's, S: Store>(
    receipt: Receipt<'a, S>,
    services: impl Fn(usize) -> Option<&'s Service>,
    client: Option<&str>,
    rests: &Rests,
    ports: &Ports<S>,
) -> Confirmed<'a, S> {
    let mut known = Findings { counts: vec![None; receipt.standings().len()], ..Findings::default() };
    let mut providers: Vec<usize> = Vec::new();
    for across in receipt.standings().iter().filter_map(|standing| standing.limit.across()) {
        if !providers.contains(&across.provider) {
            providers.push(across.provider);
        }
    }
    for provider in providers {
        let asked = match services(provider) {
            Some(service) => ask(service, provider, &receipt, &mut known, rests, ports).await,
            None => Err(ProviderFault::UnknownCluster),
        };
        known.note(&receipt, provider, services(provider), ports);
        if let Err(fault) = asked {
            if !services(provider).is_some_and(|service| service.settings().fallback.admits(client)) {
                return known.end(Err(NotConfirmed::Lost(fault)));
            }
            known.fallen.push(Fallen { provider, fault });
        }
        if known.counts.iter().flatten().any(|count| !count.admits) {
            let mut standings = receipt.give_back();
            known.apply(&mut standings, ports);
            let denied = Denied { denial: not_now(&standings), standings };
            return known.end(Err(NotConfirmed::Denied(denied)));
        }
    }
    let mut receipt = receipt;
    known.apply(receipt.standings_mut(), ports);
    known.end(Ok(receipt))
}

/// Asks one service. What it counted is in `known`, also if a later call fails.
async fn ask<S: Store>(
    service: &Service,
    provider: usize,
    receipt: &Receipt<'_, S>,
    known: &mut Findings,
    rests: &Rests,
    ports: &Ports<S>,
) -> Result<(), ProviderFault> {
    let settings = service.settings();
    let is_its = |standing: &Standing| {
        standing.cover == Cover::Service
            && standing.limit.across().is_some_and(|across| across.provider == provider)
    };
    let standings = receipt.standings().iter().enumerate().filter(|(_, standing)| is_its(standing));
    let (places, takes): (Vec<_>, Vec<_>) =
        standings.map(|(place, standing)| (place, take(standing))).unzip();
    let most = settings.engine.most_descriptors();
    for (places, takes) in places.chunks(most).zip(takes.chunks(most)) {
        let (counts, record) = call(service, takes, rests, ports).await;
        known.calls.extend(record.map(|record| (provider, record)));
        for (place, count) in places.iter().zip(counts?) {
            if let Some(known) = known.counts.get_mut(*place) {
                *known = Some(count);
            }
            if !count.admits {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// What was charged for the limit of a standing of the receipt.
fn take(standing: &Standing) -> Take<'_> {
    Take {
        limit: &standing.limit,
        payer: standing.meter,
        span: standing.reading.span,
        amount: standing.amount,
        may_be_cut: false,
    }
}

/// Makes one call, unless the service rests.
async fn call<S: Store>(
    service: &Service,
    takes: &[Take<'_>],
    rests: &Rests,
    ports: &Ports<S>,
) -> (Result<Vec<Count>, ProviderFault>, Option<CallRecord>) {
    let settings = service.settings();
    let turn = rests.turn(ports.store(), service.digest(), settings.timeout);
    if turn == Turn::Leave {
        return (Err(ProviderFault::Resting), None);
    }
    let answered = ports.ask(service.call(takes)).await;
    let counts = service.read(takes, &answered.result);
    let outcome = match &counts {
        Ok(_) => CallOutcome::Answered,
        Err(fault) => CallOutcome::Fault(*fault),
    };
    match &counts {
        Err(fault) if fault.calls_for_rest() => {
            rests.begin(ports.store(), service.digest(), turn, settings.cooldown);
        }
        Err(fault) if turn == Turn::Try && !fault.is_an_answer() => {
            rests.pass_on(ports.store(), service.digest());
        }
        _ if turn == Turn::Try => rests.end(ports.store(), service.digest()),
        _ => {}
    }
    (counts, Some(CallRecord { outcome, took: answered.took }))
}

/// A lease that was taken.
pub struct Taken {
    /// The call.
    pub call: CallRecord,
    /// How much the service granted.
    pub granted: u64,
    /// Whether operators are to be alerted: it took the use of the limit to their percentage.
    pub alerts: bool,
}

/// Takes a lease. It is noted in the meter that it was taken, also if it was not granted.
pub async fn refill<S: Store>(
    refill: &Refill,
    service: &Service,
    meters: &Meters,
    rests: &Rests,
    ports: &Ports<S>,
) -> Option<Taken> {
    let Refill { limit, payer, span, size, .. } = refill;
    let take = Take { limit, payer: *payer, span: *span, amount: u64::from(*size), may_be_cut: true };
    let (counts, record) = call(service, &[take], rests, ports).await;
    let count = counts.ok().and_then(|counts| counts.first().copied());
    // Limitador does not count what it refuses, so a smaller lease may be granted.
    let granted = count.filter(|count| count.admits || service.settings().engine.counts_refused());
    lease::end(ports, meters, refill, granted.map(|count| (count.granted, count.remaining)));
    let call = record?;
    let Some(Count { granted, remaining, .. }) = granted else {
        return Some(Taken { call, granted: 0, alerts: false });
    };
    let used = limit.max().saturating_sub(remaining);
    Some(Taken { call, granted, alerts: limit.alerts(used.saturating_sub(granted), used) })
}

/// What is known so far.
#[derive(Default)]
struct Findings {
    /// What the services said about each standing of the receipt.
    counts: Vec<Option<Count>>,
    calls: Vec<(usize, CallRecord)>,
    fallen: Vec<Fallen>,
    refills: Vec<Refill>,
}

impl Findings {
    /// Notes in the meters what the service granted to requests, and begins to take leases that are due.
    fn note<S: Store>(
        &mut self,
        receipt: &Receipt<'_, S>,
        provider: usize,
        service: Option<&Service>,
        ports: &Ports<S>,
    ) {
        let Some(settings) = service.map(Service::settings) else { return };
        let Some(bounds) = &settings.leases else { return };
        for (standing, count) in receipt.standings().iter().zip(&self.counts) {
            if standing.limit.across().is_none_or(|across| across.provider != provider) {
                continue;
            }
            let amount = standing.amount;
            let heard = match (standing.cover, count) {
                (Cover::Lease { is_due: true }, _) => Heard::Nothing,
                (Cover::Service, Some(count)) if count.admits => Heard::Granted(amount, count.remaining),
                // What Limitador refuses, it does not count: less may still be granted.
                (Cover::Service, Some(_)) if settings.engine.counts_refused() || amount == 1 => {
                    Heard::Exhausted
                }
                _ => continue,
            };
            let (payer, limit, span) = (standing.meter, &standing.limit, standing.reading.span);
            let busy = settings.timeout.saturating_mul(2).saturating_add(TURN);
            let size = lease::note(ports, receipt.meters(), (payer, limit, span), heard, bounds, busy);
            let refill = |size| Refill { provider, limit: limit.clone(), payer, span, size };
            self.refills.extend(size.map(refill));
        }
    }

    /// Shows in `standings` what the services said.
    fn apply<S: Store>(&self, standings: &mut [Standing], ports: &Ports<S>) {
        for (standing, count) in standings.iter_mut().zip(&self.counts) {
            if let Some(Count { admits, remaining, .. }) = *count {
                standing.counted(!admits, remaining, ports.now());
            }
        }
    }

    fn end<S: Store>(self, result: Result<Receipt<'_, S>, NotConfirmed>) -> Confirmed<'_, S> {
        Confirmed { result, calls: self.calls, fallen: self.fallen, refills: self.refills }
    }
}

impl Fallback {
    /// Whether a request of this OAuth2 client passes without an answer. Our own meters have admitted it.
    fn admits(&self, client: Option<&str>) -> bool {
        match self {
            Self::Deny => false,
            Self::Local | Self::Allow => true,
            Self::AllowClients(clients) => client.is_some_and(|client| clients.contains(client)),
        }
    }

    /// Whether our own meters may refuse what the service would admit only without an answer.
    pub const fn holds(&self) -> bool {
        match self {
            Self::Deny | Self::Local => true,
            Self::Allow | Self::AllowClients(_) => false,
        }
    }
}
