//! Tests of what is recorded, sent and given back.

#[cfg(all(target_family = "wasm", target_os = "unknown"))]
use wasm_bindgen_test::wasm_bindgen_test as test;

use std::cell::Cell;

use super::{super::Acceptance, *};
use crate::store::{Disturbed, Incidents, Memory, Secret};

struct Bench<S> {
    store: S,
    secret: Secret,
    incidents: Incidents,
    service: Digest,
}

impl<S: Store> Bench<S> {
    fn new(store: S) -> Self {
        Self { store, secret: Secret::public(), incidents: Incidents::default(), service: Digest::of(b"su1") }
    }

    fn at(&self, second: u64) -> Session<'_, S> {
        Session::new(&self.store, &self.secret, &self.incidents, Timestamp::from_seconds(second))
    }

    fn account<'a>(&'a self, name: &'a str) -> Account<'a> {
        Account::new(self.service, 0, name, Acceptance::Accepted, Digest::of)
    }

    fn add(&self, second: u64, name: &str, amounts: &[Amount], bounds: &[Bound]) -> Result<(), NotAdded> {
        let born = Ledger.settled(self.at(second), &self.account(name)).born;
        Ledger.add(self.at(second), &self.account(name), amounts, bounds, born)
    }

    fn outstanding(&self, second: u64) -> Vec<Outstanding> {
        let mut all = Ledger.outstanding(self.at(second), &self.service);
        all.sort_by(|one, other| one.name.cmp(&other.name));
        all
    }

    /// Name and amounts of all that is outstanding.
    fn listed(&self, second: u64) -> Vec<(String, Vec<(String, u64)>)> {
        self.outstanding(second).into_iter().map(|account| (account.name, account.amounts)).collect()
    }
}

fn reads(amount: u64) -> [Amount; 2] {
    let of = |metric: &str, own| Amount { metric: metric.to_owned(), own, used: amount };
    [of("reads", amount), of("hits", 0)]
}

fn listed(name: &str, amounts: &[(&str, u64)]) -> (String, Vec<(String, u64)>) {
    (name.to_owned(), amounts.iter().map(|(metric, amount)| ((*metric).to_owned(), *amount)).collect())
}

fn bound(metric: &str, max: u64, counted: u64, settled: u64) -> Bound {
    Bound { metric: metric.to_owned(), max, counted, settled, end: None }
}

#[test]
fn what_is_added_is_outstanding_until_it_is_reported() {
    let bench = Bench::new(Memory::new());
    assert_eq!(bench.listed(0), []);
    for (name, amount) in [("a", 1), ("b", 5), ("a", 2)] {
        bench.add(1, name, &reads(amount), &[]).unwrap();
    }
    assert_eq!(bench.listed(1), [listed("a", &[("reads", 3)]), listed("b", &[("reads", 5)])]);
    let taken = bench.outstanding(1);
    assert_eq!(bench.outstanding(1), taken, "nothing was taken away: the report may fail");
    bench.add(2, "a", &reads(10), &[]).unwrap();
    taken.iter().for_each(|account| Ledger.settle(bench.at(2), account, &account.amounts));
    assert_eq!(bench.listed(2), [listed("a", &[("reads", 10)])], "only what came after the report");
    taken.iter().for_each(|account| Ledger.settle(bench.at(2), account, &account.amounts));
    assert_eq!(bench.listed(2), [listed("a", &[("reads", 7)])], "it was reported twice");
    assert_eq!(Ledger.outstanding(bench.at(2), &Digest::of(b"other")), []);
}

#[test]
fn an_account_can_be_reported_in_parts() {
    let bench = Bench::new(Memory::new());
    bench.add(1, "a", &reads(5), &[]).unwrap();
    let [account] = &bench.outstanding(1)[..] else { panic!("one account") };
    let settled = || Ledger.settled(bench.at(1), &bench.account("a")).of("hits");
    Ledger.settle(bench.at(1), account, &[("reads".to_owned(), 2)]);
    assert_eq!((bench.listed(1), settled()), (vec![listed("a", &[("reads", 3)])], 0));
    Ledger.settle(bench.at(1), account, &[("reads".to_owned(), 3)]);
    assert_eq!((bench.listed(1), settled()), (vec![], 5));
}

#[test]
fn metrics_come_as_requests_use_them() {
    let bench = Bench::new(Memory::new());
    let amount = |metric: &str| [Amount { metric: metric.to_owned(), own: 1, used: 1 }];
    for metric in ["reads", "writes", "reads"] {
        bench.add(1, "a", &amount(metric), &[]).unwrap();
    }
    assert_eq!(bench.listed(1), [listed("a", &[("reads", 2), ("writes", 1)])]);
}

#[test]
fn an_account_that_was_not_accepted_is_an_account_of_its_own() {
    let bench = Bench::new(Memory::new());
    bench.add(1, "a", &reads(1), &[]).unwrap();
    let unseen = Account::new(bench.service, 0, "a", Acceptance::Unseen, Digest::of);
    Ledger.add(bench.at(1), &unseen, &reads(2), &[], Timestamp::default()).unwrap();
    let mut shares: Vec<_> = bench.outstanding(1).iter().map(|a| (a.shares, a.amounts[0].1)).collect();
    shares.sort_unstable();
    assert_eq!(shares, [(false, 2), (true, 1)]);
}

#[test]
fn a_limit_holds_between_reports() {
    let bench = Bench::new(Memory::new());
    let full = Err(NotAdded::Exceeded(Exceeded { max: 5, end: None }));
    // The service had counted 1 when it was asked.
    let limits = [bound("hits", 5, 1, 0)];
    let admitted = (0..9).filter(|_| bench.add(1, "a", &reads(1), &limits).is_ok()).count();
    assert_eq!(admitted, 4);
    assert_eq!(bench.add(1, "a", &reads(1), &limits), full);
    bench.outstanding(1).iter().for_each(|account| Ledger.settle(bench.at(1), account, &account.amounts));
    assert_eq!(bench.add(1, "a", &reads(1), &limits), full, "reporting makes no room");
    let settled = Ledger.settled(bench.at(1), &bench.account("a"));
    assert_eq!((settled.of("hits"), settled.of("reads"), settled.of("writes")), (4, 4, 0));
    // Asked again, the service has counted the report, and the limit is higher.
    let raised = [bound("hits", 7, 5, settled.of("hits"))];
    let admitted = (0..9).filter(|_| bench.add(1, "a", &reads(1), &raised).is_ok()).count();
    assert_eq!(admitted, 2);
    assert_eq!(bench.add(1, "a", &reads(6), &[bound("hits", 100, 0, 0)]), Ok(()));
    assert_eq!(bench.add(1, "a", &[], &limits), Ok(()), "a request without usage fits");
}

#[test]
fn a_limit_ends_with_its_period() {
    let bench = Bench::new(Memory::new());
    let end = Some(Timestamp::from_seconds(60));
    let limits = [Bound { end, ..bound("hits", 1, 1, 0) }];
    assert_eq!(bench.add(59, "a", &reads(1), &limits), Err(NotAdded::Exceeded(Exceeded { max: 1, end })));
    assert_eq!(bench.add(60, "a", &reads(1), &limits), Ok(()));
}

#[test]
fn accounts_are_forgotten_when_nothing_can_be_lost() {
    let bench = Bench::new(Memory::new());
    bench.add(0, "a", &reads(1), &[]).unwrap();
    assert_eq!(bench.listed(80_000), [listed("a", &[("reads", 1)])], "it was never reported");
    bench.outstanding(1).iter().for_each(|account| Ledger.settle(bench.at(1), account, &account.amounts));
    assert_eq!(Ledger.settled(bench.at(7_200), &bench.account("a")).of("hits"), 1);
    assert_eq!(bench.listed(7_201), []);
    assert_eq!(Ledger.settled(bench.at(7_201), &bench.account("a")), Settled::default());
    bench.add(7_202, "a", &reads(1), &[]).unwrap();
    // A limit that was read before the account was forgotten.
    let early = [bound("hits", 2, 1, 1)];
    let added = Ledger.add(bench.at(7_203), &bench.account("a"), &reads(1), &early, Timestamp::default());
    assert!(matches!(added, Err(NotAdded::Exceeded(_))), "{added:?}");
    bench.listed(7_202 + 86_401);
    assert_eq!(Ledger.settled(bench.at(7_203), &bench.account("a")), Settled::default());
}

#[test]
fn a_shard_that_is_full_adds_nothing() {
    let bench = Bench::new(Memory::new());
    let shard = place(&bench.account("0").digest).0;
    let names = (0..).map(|number: u32| number.to_string());
    let same: Vec<_> = names.filter(|name| place(&bench.account(name).digest).0 == shard).take(65).collect();
    let added: Vec<_> = same.iter().map(|name| bench.add(1, name, &reads(1), &[])).collect();
    assert!(added[..64].iter().all(Result::is_ok));
    assert_eq!(added[64], Err(NotAdded::Full));
    assert_eq!(bench.listed(1).len(), 64);
    assert_eq!(bench.add(1, &same[3], &reads(1), &[]), Ok(()), "those that are there go on");
}

#[test]
fn two_workers_lose_nothing() {
    let theirs = Cell::new(0_u64);
    let disturbed = Disturbed::new(|store| {
        // Every other swap of ours comes too late.
        theirs.set(theirs.get().saturating_add(1));
        if theirs.get() % 2 == 1 {
            let bench = Bench::new(store.memory());
            Ledger.add(bench.at(1), &bench.account("a"), &reads(10), &[], Timestamp::default()).unwrap();
        }
        Ok(())
    });
    let bench = Bench::new(&disturbed);
    for _ in 0..3 {
        bench.add(1, "a", &reads(1), &[]).unwrap();
    }
    assert_eq!(bench.listed(1), [listed("a", &[("reads", 33)])]);
    assert_eq!(bench.incidents.take().conflicts, 3);
}

#[test]
fn bytes_that_are_no_shard_are_replaced_and_counted() {
    let bench = Bench::new(Memory::new());
    let shard = key(place(&bench.account("a").digest).0);
    for junk in [&b""[..], b"junk", &[1, 1, 0, 0, 0], &[1, 255, 255, 255, 255, 0], &[1; 80]] {
        bench.store.update(&shard, |_| (Write::Replace(junk.to_vec()), ())).unwrap();
        assert_eq!(bench.listed(1), []);
        assert_eq!(bench.incidents.take().corrupt, 1, "{junk:?}");
        assert_eq!(bench.add(1, "a", &reads(1), &[]), Ok(()));
        assert_eq!(bench.listed(1), [listed("a", &[("reads", 1)])]);
    }
}
