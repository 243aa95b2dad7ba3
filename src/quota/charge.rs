//! Charging a request to all meters that apply to it, and the receipt for the charges.

use std::{num::NonZeroU64, time::Duration};

use super::{
    meter::{self, Demand, Meters},
    standing::{Cover, Denial, Denied, Standing, seconds},
};
use crate::{
    matching::Usage,
    ports::Ports,
    store::{NotWritten, Store},
};

/// Charges `usage` to the meters of `demands`: to all of them, or to none. The [module](super) describes the
/// guarantees.
///
/// Demands should name different meters, in the same order for every request. Each demand with a limit that
/// the request touches costs one update of its [table](crate::store::Table). A request that can never be
/// admitted is denied without reading the store.
///
/// # Errors
///
/// A limit refuses the request, or the store cannot count it. Earlier charges are given back.
pub fn charge<'a, S: Store>(
    ports: &'a Ports<S>,
    meters: &'a Meters,
    demands: &[Demand<'_>],
    usage: &Usage,
) -> Result<Receipt<'a, S>, Denied> {
    let denied = |denial| Denied { denial, standings: Vec::new() };
    if demands.iter().any(|demand| demand.limits.iter().any(|limit| limit.never_admits(usage))) {
        return Err(denied(Denial::Never));
    }
    let standings = Vec::with_capacity(demands.iter().map(|demand| demand.limits.len()).sum());
    let mut receipt = Receipt { ports, meters, standings };
    let mut rest = demands.iter();
    while let Some(demand) = rest.next() {
        match receipt.charge(demand, usage) {
            Ok(Charged::All) => {}
            Ok(Charged::Refused(mut refusing)) => {
                rest.for_each(|demand| receipt.look_at(demand, usage, &mut refusing));
                let mut standings = receipt.give_back();
                standings.append(&mut refusing);
                return Err(Denied { denial: not_now(&standings), standings });
            }
            // Dropping the receipt gives back the earlier charges.
            Err(cause) => return Err(denied(Denial::NotCounted(cause))),
        }
    }
    Ok(receipt)
}

/// The state of all limits of `demands`, whatever a request would use. Nothing is charged.
pub fn look<S: Store>(ports: &Ports<S>, meters: &Meters, demands: &[Demand<'_>]) -> Vec<Standing> {
    let store = ports.store();
    let mut standings = Vec::with_capacity(demands.iter().map(|demand| demand.limits.len()).sum());
    for demand in demands {
        let (table, subject) = meters.find(demand.meter);
        let is_corrupt =
            table.read(store, &subject, |payload| meter::look(payload, demand, store.now(), &mut standings));
        if is_corrupt {
            store.incidents().corrupt();
        }
    }
    standings
}

/// The charges of one request. Dropping the receipt gives the charges back, for example after a later refusal
/// or when the request ends while it waits. [`Self::settle`] makes them final.
#[must_use = "a receipt that is dropped gives its charges back"]
pub struct Receipt<'a, S: Store> {
    ports: &'a Ports<S>,
    meters: &'a Meters,
    /// The state of the limits that were charged, meter by meter.
    standings: Vec<Standing>,
}

/// The result of charging one meter.
enum Charged {
    /// All its limits were charged.
    All,
    /// No limit was charged, because at least one refused.
    Refused(Vec<Standing>),
}

impl<'a, S: Store> Receipt<'a, S> {
    /// The state of the charged limits, in the order of the demands.
    pub fn standings(&self) -> &[Standing] {
        &self.standings
    }

    /// The same, to be changed to what others know of the limits.
    pub(super) fn standings_mut(&mut self) -> &mut [Standing] {
        &mut self.standings
    }

    /// Whether a rate limit service has to be asked about the charges, or for another lease:
    /// [`confirm`](super::remote::confirm) does it.
    pub fn needs_service(&self) -> bool {
        let needs = |cover| matches!(cover, Cover::Service | Cover::Lease { is_due: true });
        self.standings.iter().any(|standing| needs(standing.cover))
    }

    /// Where the charged meters are.
    pub(super) const fn meters(&self) -> &'a Meters {
        self.meters
    }

    /// Makes the charges final and returns the state of the limits.
    pub fn settle(mut self) -> Vec<Standing> {
        std::mem::take(&mut self.standings)
    }

    /// Gives all charges back and returns the state of the limits after that.
    pub(super) fn give_back(mut self) -> Vec<Standing> {
        self.refund();
        std::mem::take(&mut self.standings)
    }

    fn charge(&mut self, demand: &Demand<'_>, usage: &Usage) -> Result<Charged, NotWritten> {
        if !touches(demand, usage) {
            return Ok(Charged::All);
        }
        let mark = self.standings.len();
        let (store, standings) = (self.ports.store(), &mut self.standings);
        let (table, subject) = self.meters.find(demand.meter);
        let assessed = table.update(store, &subject, |payload| {
            standings.truncate(mark);
            meter::charge(payload, demand, usage, store.now(), standings)
        });
        let assessed = match assessed {
            Ok(assessed) => assessed,
            Err(cause) => {
                self.standings.truncate(mark);
                return Err(cause);
            }
        };
        if assessed.corrupt {
            store.incidents().corrupt();
        }
        Ok(if assessed.admits { Charged::All } else { Charged::Refused(self.standings.split_off(mark)) })
    }

    /// Adds the state of a meter's limits without charging them, because another meter refused.
    fn look_at(&self, demand: &Demand<'_>, usage: &Usage, standings: &mut Vec<Standing>) {
        if touches(demand, usage) {
            let store = self.ports.store();
            let (table, subject) = self.meters.find(demand.meter);
            let assessed = table.read(store, &subject, |payload| {
                meter::assess(payload, demand, usage, store.now(), standings)
            });
            if assessed.corrupt {
                store.incidents().corrupt();
            }
        }
    }

    /// Gives back all charges, meter by meter.
    fn refund(&mut self) {
        let store = self.ports.store();
        for charged in self.standings.chunk_by_mut(|one, other| one.meter == other.meter) {
            let Some(meter) = charged.first().map(|standing| standing.meter) else { continue };
            let (table, subject) = self.meters.find(meter);
            let result = table.update(store, &subject, |payload| (meter::refund(payload, charged), ()));
            if result.is_err() {
                store.incidents().refund_lost();
                continue;
            }
            for standing in charged {
                standing.remaining = standing.remaining.saturating_add(standing.charge());
            }
        }
    }
}

fn touches(demand: &Demand<'_>, usage: &Usage) -> bool {
    demand.limits.iter().any(|limit| limit.is_touched(usage))
}

impl<S: Store> Drop for Receipt<'_, S> {
    fn drop(&mut self) {
        self.refund();
    }
}

/// The denial by the limits that refuse.
pub(super) fn not_now(standings: &[Standing]) -> Denial {
    let refusing = standings.iter().filter(|standing| standing.denies());
    let latest = refusing
        .map(|standing| standing.reset)
        .try_fold(Duration::ZERO, |latest, reset| Some(latest.max(reset?)));
    Denial::NotNow {
        retry_after: latest.map(|wait| NonZeroU64::new(seconds(wait)).unwrap_or(NonZeroU64::MIN)),
    }
}

#[cfg(test)]
mod tests;
