//! Replicas that share one quota: each is the real gate with a store of its own. The rate limit service is
//! `tests/support/engine.rs`, and answers at once.

use std::{rc::Rc, time::Duration};

use serde_json::{Value, json};
use sidegate::{
    gate::{
        Ending, Request,
        drive::{Driver, Step},
    },
    headers::HeaderMap,
    policy::Policy,
    ports::{Answered, Arrival, Progress, Running, Wish},
    provider::{Call, CallFailure, CallResult},
    store::Memory,
    time::Timestamp,
};

use crate::{
    engine::{Envoyproxy, message},
    traffic::Traffic,
};

/// What is simulated.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// The number of replicas.
    pub replicas: u64,
    /// What the limit admits in a window.
    pub max: u64,
    /// The window, as in policies.
    pub per: &'static str,
    /// Its length.
    pub length: Duration,
    /// The number of windows.
    pub windows: u64,
    /// Where and when requests arrive.
    pub traffic: Traffic,
    /// The attribute `lease` of the provider.
    pub lease: Value,
}

/// What happened.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sums {
    /// Requests.
    pub requests: u64,
    /// Requests that waited for a call.
    pub waited: u64,
    /// Calls, those of requests and those in the background.
    pub calls: u64,
    /// The number of windows in which requests were refused.
    pub short: u64,
    /// How many requests were refused that the limit had room for.
    pub unspent: u64,
}

/// What a replica did in one window.
#[derive(Clone, Copy, Default)]
struct Account {
    admitted: u64,
    refused: u64,
    waited: u64,
    calls: u64,
    /// What the service granted it.
    granted: u64,
    /// The most that it asked for at once.
    largest: u64,
}

struct Replica {
    gate: Driver<Rc<Memory>>,
    account: Account,
}

/// 2026-01-01, a multiple of every window.
const BEGIN: Timestamp = Timestamp::from_seconds(1_767_225_600);

/// Simulates all windows.
///
/// # Errors
///
/// The policy is invalid, a request was neither admitted nor refused for its quota, or a promise about leases
/// was broken: more than `max` was admitted, or a replica left unspent what two leases have.
pub fn simulate(scenario: &Scenario) -> Result<Sums, String> {
    let policy = Rc::new(load(scenario)?);
    let fields = [(":method", "GET"), (":path", "/"), (":authority", "example.com")];
    let request: HeaderMap =
        fields.map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec())).to_vec().into();
    let replica =
        |_| Replica { gate: Driver::new(Rc::clone(&policy), Rc::default()), account: Account::default() };
    let mut replicas: Vec<_> = (0..scenario.replicas).map(replica).collect();
    let mut sums = Sums::default();
    let mut start = BEGIN;
    for window in 0..scenario.windows {
        let engine = Envoyproxy::default();
        let count = scenario.max * demand(window, scenario.windows) / 100;
        for (now, place) in scenario.traffic.requests(scenario.replicas, count, start, scenario.length) {
            let replica = replicas.get_mut(place).ok_or("there is no such replica")?;
            replica.decide(&request, now, &engine, scenario.max)?;
        }
        let accounts: Vec<_> =
            replicas.iter_mut().map(|replica| std::mem::take(&mut replica.account)).collect();
        sums.add(&accounts, scenario.max)?;
        start = start.saturating_add(scenario.length);
    }
    Ok(sums)
}

/// The number of requests in a window, in percent of `max`: 60 in the first one, and 160 in the middle of the
/// day.
fn demand(window: u64, windows: u64) -> u64 {
    160 - window.abs_diff(windows / 2) * 200 / windows
}

fn load(scenario: &Scenario) -> Result<Policy, String> {
    let document = json!({
        "sidegate": "v1",
        "providers": {"shared": {"rate_limit_service": {"cluster": "ratelimit", "lease": scenario.lease}}},
        "apis": [{
            "name": "all", "access": ["allow"], "rules": [{"path": "/**"}],
            "limits": [{
                "metric": "hits", "max": scenario.max, "per": scenario.per, "of": "api", "across": "replicas",
            }],
        }],
    });
    Policy::load(document.to_string().as_bytes(), &|_| None).map_err(|problems| problems.to_string())
}

impl Replica {
    fn decide(
        &mut self,
        request: &HeaderMap,
        now: Timestamp,
        engine: &Envoyproxy,
        max: u64,
    ) -> Result<(), String> {
        let Self { gate, account } = self;
        let mut step = gate.begin(Request::new(request.clone(), || None, 1), now);
        let ending = loop {
            step = match step {
                Step::Ended(ending) => break ending,
                Step::Waits(waiting) => {
                    account.waited += 1;
                    let call = waiting.call().ok_or("it waits for no call")?;
                    let result = account.ask(call, now, engine, max);
                    waiting.answer(result, now)
                }
            };
        };
        for errand in gate.ports().take_errands() {
            let mut running = Running::new(gate.ports(), errand(Rc::clone(gate.ports())));
            if let Progress::Waits(Wish::Response(call)) = running.start() {
                let result = Rc::new(account.ask(&call, now, engine, max));
                let answered = Answered { result, ..Answered::failed(CallFailure::Failed) };
                running.resume(Arrival::Response(answered));
            }
        }
        gate.ports().take_reports();
        match ending {
            Ending::Permit(_) => account.admitted += 1,
            Ending::Refused(refused) if refused.refusal().cause.code().digits() == "14" => {
                account.refused += 1;
            }
            ending => return Err(format!("{ending:?}")),
        }
        Ok(())
    }
}

impl Account {
    fn ask(&mut self, call: &Call, now: Timestamp, engine: &Envoyproxy, max: u64) -> CallResult {
        let hits = |call| {
            let request = message(call);
            request.descriptors.iter().map(|descriptor| descriptor.hits_addend.unwrap_or(1)).sum()
        };
        self.calls += 1;
        self.largest = self.largest.max(hits(call));
        let before = engine.total().min(max);
        let result = engine.answer(call, now);
        self.granted += engine.total().min(max) - before;
        result
    }
}

impl Sums {
    /// Adds a window of a limit of `max`, and checks what is promised about it.
    fn add(&mut self, accounts: &[Account], max: u64) -> Result<(), String> {
        let sum = |of: fn(&Account) -> u64| accounts.iter().map(of).sum::<u64>();
        let (admitted, refused) = (sum(|account| account.admitted), sum(|account| account.refused));
        if admitted > max {
            return Err(format!("{admitted} of at most {max} were admitted"));
        }
        for Account { admitted, granted, largest, .. } in accounts {
            let within = granted.checked_sub(*admitted).is_some_and(|left| left < (2 * largest).max(1));
            if !within {
                return Err(format!(
                    "{granted} were granted, in leases of {largest}, and {admitted} admitted"
                ));
            }
        }
        self.requests += admitted + refused;
        self.waited += sum(|account| account.waited);
        self.calls += sum(|account| account.calls);
        if refused > 0 {
            self.short += 1;
            self.unspent += refused.min(max - admitted);
        }
        Ok(())
    }
}
