//! Charging a request to all meters that it falls under.

use std::num::NonZeroU64;
use std::time::Duration;

use super::meter::{self, Charged, Demand};
use super::outcome::{Outcome, Standing, Verdict, seconds};
use super::usage::Usage;
use crate::store::{Facts, Store, Table, Unavailable};
use crate::time::Timestamp;

/// Charges `usage` to the meters of `demands`, all or none of them; the module's page says what that means.
///
/// Demands should name different meters and come in the same order for every request. Each whose limits the request
/// touches costs one [`Table::update`]. A request that can never be admitted costs nothing, not even a look into the
/// store.
pub fn charge<S: Store>(
    store: &S,
    table: &Table,
    demands: &[Demand<'_>],
    usage: &Usage,
    now: Timestamp,
) -> Outcome {
    let mut request = Request { store, table, usage, now, facts: Facts::default(), refunds_lost: 0 };
    let limits = || demands.iter().flat_map(|demand| demand.limits);
    if limits().any(|limit| limit.never_admits(usage)) {
        return request.outcome(Verdict::Never, Vec::new());
    }
    let mut standings = Vec::with_capacity(limits().count());
    let mut rest = demands.iter();
    while let Some(demand) = rest.next() {
        let mark = standings.len();
        match request.charge(demand, &mut standings) {
            Ok(Charged { admitted: true, .. }) => {}
            Ok(Charged { admitted: false, .. }) => {
                request.give_back(standings.get_mut(..mark).unwrap_or_default());
                rest.for_each(|demand| request.look_at(demand, &mut standings));
                return request.outcome(not_now(&standings), standings);
            }
            Err(cause) => {
                request.give_back(standings.get_mut(..mark).unwrap_or_default());
                return request.outcome(Verdict::Unrecorded(cause), Vec::new());
            }
        }
    }
    request.outcome(Verdict::Admitted, standings)
}

struct Request<'a, S> {
    store: &'a S,
    table: &'a Table,
    usage: &'a Usage,
    now: Timestamp,
    facts: Facts,
    refunds_lost: u32,
}

impl<S: Store> Request<'_, S> {
    fn charge(&mut self, demand: &Demand<'_>, standings: &mut Vec<Standing>) -> Result<Charged, Unavailable> {
        if !self.touches(demand) {
            return Ok(Charged { admitted: true, corrupt: false });
        }
        let mark = standings.len();
        let charged = self.table.update(self.store, &demand.meter, self.now, &mut self.facts, |payload| {
            standings.truncate(mark);
            meter::charge(payload, demand, self.usage, self.now, standings)
        })?;
        self.count_corrupt(charged);
        Ok(charged)
    }

    /// Adds how the limits of a meter stand that is not charged, because another one refused.
    fn look_at(&mut self, demand: &Demand<'_>, standings: &mut Vec<Standing>) {
        if self.touches(demand) {
            let charged = self.table.read(self.store, &demand.meter, self.now, &mut self.facts, |payload| {
                meter::assess(payload, demand, self.usage, self.now, standings)
            });
            self.count_corrupt(charged);
        }
    }

    /// Takes back all charges in `standings`, meter by meter.
    fn give_back(&mut self, standings: &mut [Standing]) {
        for charged in standings.chunk_by_mut(|one, other| one.meter == other.meter) {
            let Some(meter) = charged.first().map(|standing| standing.meter) else { continue };
            let result = self.table.update(self.store, &meter, self.now, &mut self.facts, |payload| {
                (meter::refund(payload, charged, self.usage), ())
            });
            if result.is_err() {
                self.refunds_lost = self.refunds_lost.saturating_add(1);
                continue;
            }
            for standing in charged {
                standing.remaining =
                    standing.remaining.saturating_add(self.usage.of(standing.limit.metric()));
            }
        }
    }

    fn touches(&self, demand: &Demand<'_>) -> bool {
        demand.limits.iter().any(|limit| limit.is_touched(self.usage))
    }

    fn count_corrupt(&mut self, charged: Charged) {
        self.facts.corrupt = self.facts.corrupt.saturating_add(u32::from(charged.corrupt));
    }

    fn outcome(self, verdict: Verdict, standings: Vec<Standing>) -> Outcome {
        Outcome { verdict, standings, facts: self.facts, refunds_lost: self.refunds_lost }
    }
}

fn not_now(standings: &[Standing]) -> Verdict {
    let refusing = standings.iter().filter(|standing| standing.refuses);
    let latest = refusing
        .map(|standing| standing.reset)
        .try_fold(Duration::ZERO, |latest, reset| Some(latest.max(reset?)));
    Verdict::NotNow {
        retry_after: latest.map(|wait| NonZeroU64::new(seconds(wait)).unwrap_or(NonZeroU64::MIN)),
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::super::{Limit, Metrics, Shape, Window};
    use super::*;
    use crate::credential::Digest;
    use crate::store::{Contended, Disturbed, Memory};
    #[cfg(all(target_family = "wasm", target_os = "unknown"))]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    fn table() -> Table {
        Table::meters(NonZeroU32::new(64).unwrap())
    }

    fn metrics() -> Metrics {
        Metrics::new(&[("hits", None), ("writes", None)]).unwrap()
    }

    fn limits(limits: &[(&str, u64, Window)]) -> Vec<Limit> {
        let limit = |(metric, max, window): &(&str, u64, Window)| {
            Limit::new(&metrics(), metric, *max, *window, Shape::Fixed).unwrap()
        };
        limits.iter().map(limit).collect()
    }

    fn hits(by: u64) -> Usage {
        let mut usage = Usage::new();
        usage.add(&metrics(), metrics().find("hits").unwrap(), by);
        usage
    }

    /// Charges hits at half past a second to three subjects.
    fn run<S: Store>(store: &S, of: [&[Limit]; 3], by: u64) -> Outcome {
        let [one, two, three] = of;
        let demand = |name: &[u8], limits| Demand { meter: Digest::of(name), limits };
        let demands = [demand(b"consumer", one), demand(b"api", two), demand(b"address", three)];
        charge(store, &table(), &demands, &hits(by), Timestamp::from_millis(3_000_500))
    }

    fn remaining(outcome: &Outcome) -> Vec<u64> {
        outcome.standings.iter().map(|standing| standing.remaining).collect()
    }

    fn wait(seconds: u64) -> Verdict {
        Verdict::NotNow { retry_after: NonZeroU64::new(seconds) }
    }

    #[test]
    fn one_meter_costs_one_read_and_one_swap() {
        let store = Disturbed::contended_after(u32::MAX);
        let consumer =
            limits(&[("hits", 1, Window::Second), ("hits", 9, Window::Day), ("writes", 0, Window::Day)]);
        let outcome = run(&store, [&consumer, &limits(&[("writes", 1, Window::Day)]), &[]], 1);
        assert_eq!((outcome.verdict, remaining(&outcome)), (Verdict::Admitted, vec![0, 8]));
        assert_eq!((store.gets(), store.swaps()), (1, 1));
        assert_eq!(run(&store, [&consumer, &[], &[]], 1).verdict, wait(1));
        assert_eq!((store.gets(), store.swaps()), (2, 1), "a refused request writes nothing");
    }

    #[test]
    fn who_can_never_be_admitted_is_told_without_a_look_into_the_store() {
        let store = Disturbed::contended_after(u32::MAX);
        let api = limits(&[("hits", 3, Window::Day)]);
        for (consumer, by) in
            [(limits(&[("hits", 0, Window::Eternity)]), 1), (limits(&[("hits", 9, Window::Day)]), 4)]
        {
            assert_eq!(run(&store, [&consumer, &api, &[]], by).verdict, Verdict::Never);
        }
        assert_eq!(store.gets(), 0);
    }

    #[test]
    fn when_a_later_meter_refuses_the_earlier_charges_are_given_back() {
        let store = Memory::new();
        let [consumer, api] = [10, 3].map(|max| limits(&[("hits", max, Window::Minute)]));
        assert_eq!(run(&store, [&consumer, &api, &[]], 2).verdict, Verdict::Admitted);
        let refused = run(&store, [&consumer, &api, &[]], 2);
        assert_eq!((refused.verdict, remaining(&refused), refused.refunds_lost), (wait(60), vec![8, 1], 0));
        let admitted = run(&store, [&consumer, &api, &[]], 1);
        assert_eq!((admitted.verdict, remaining(&admitted)), (Verdict::Admitted, vec![7, 0]));
    }

    #[test]
    fn the_wait_is_for_the_last_limit_of_all_meters() {
        let store = Memory::new();
        let [second, minute, day] =
            [Window::Second, Window::Minute, Window::Day].map(|window| limits(&[("hits", 1, window)]));
        let eternity = limits(&[("hits", 1, Window::Eternity), ("hits", 1, Window::Second)]);
        assert_eq!(run(&store, [&second, &minute, &day], 1).verdict, Verdict::Admitted);
        assert_eq!(run(&store, [&second, &minute, &[]], 1).verdict, wait(60));
        assert_eq!(run(&store, [&second, &[], &day], 1).verdict, wait(86_400 - 3000));
        assert_eq!(run(&store, [&[], &[], &eternity], 1).verdict, Verdict::Admitted);
        let forever = run(&store, [&second, &[], &eternity], 1);
        assert_eq!(forever.verdict, Verdict::NotNow { retry_after: None });
        assert_eq!(forever.tightest().unwrap().limit.window(), Window::Eternity);
    }

    #[test]
    fn the_limit_to_tell_about_is_one_that_refuses() {
        let consumer = limits(&[("hits", 2, Window::Day), ("writes", 8, Window::Day)]);
        let mut usage = hits(1);
        usage.add(&metrics(), metrics().find("writes").unwrap(), 5);
        let (store, demands) =
            (Memory::new(), [Demand { meter: Digest::of(b"consumer"), limits: &consumer }]);
        for (remaining, tightest) in [(vec![1, 3], "hits-day"), (vec![1, 3], "writes-day")] {
            let outcome = charge(&store, &table(), &demands, &usage, Timestamp::default());
            assert_eq!(
                outcome.standings.iter().map(|standing| standing.remaining).collect::<Vec<_>>(),
                remaining
            );
            assert_eq!(outcome.tightest().unwrap().limit.name(), tightest);
        }
    }

    #[test]
    fn a_store_that_is_contended_refuses_and_what_cannot_be_given_back_is_reported() {
        let [consumer, api] = [10, 10].map(|max| limits(&[("hits", max, Window::Minute)]));
        let contended = Verdict::Unrecorded(Unavailable::Contended(Contended));
        for (loses_from, refunds_lost) in [(0, 0), (1, 1)] {
            let outcome = run(&Disturbed::contended_after(loses_from), [&consumer, &api, &[]], 1);
            assert_eq!((outcome.verdict, outcome.refunds_lost), (contended, refunds_lost));
            assert_eq!(outcome.standings, []);
            assert!(outcome.facts.conflicts > 0);
        }
        let store = Disturbed::contended_after(3);
        assert_eq!(
            run(&store, [&consumer, &limits(&[("hits", 1, Window::Minute)]), &[]], 1).verdict,
            Verdict::Admitted
        );
        let refused = run(&store, [&consumer, &limits(&[("hits", 1, Window::Minute)]), &[]], 1);
        assert_eq!((refused.verdict, refused.refunds_lost, remaining(&refused)), (wait(60), 1, vec![8, 0]));
    }

    #[test]
    fn a_corrupt_meter_is_reported_and_starts_anew() {
        let store = Memory::new();
        let consumer = limits(&[("hits", 1, Window::Minute)]);
        let junk =
            |_: Option<&[u8]>| (crate::store::Change::Put { expires: Timestamp::MAX, payload: vec![7] }, ());
        table()
            .update(&store, &Digest::of(b"consumer"), Timestamp::default(), &mut Facts::default(), junk)
            .unwrap();
        let outcome = run(&store, [&consumer, &[], &[]], 1);
        assert_eq!((outcome.verdict, outcome.facts.corrupt), (Verdict::Admitted, 1));
        assert_eq!(run(&store, [&consumer, &[], &[]], 1).verdict, wait(60));
    }
}
