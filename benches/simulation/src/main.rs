//! Simulates 24 hours of 1,000 replicas that share one quota, over the real core, for several settings of
//! leases and kinds of traffic. `make simulation` runs it, and it writes plots and a table into docs.
//!
//! It has no clock and no randomness: every run has the same results.

#[path = "../../../tests/support/engine.rs"]
mod engine;
mod fleet;
mod plot;
mod report;
mod traffic;

use std::{error::Error, thread, time::Duration};

use fleet::{Scenario, simulate};
use report::{Day, Lease};
use traffic::Traffic;

const REPLICAS: u64 = 1000;

/// What the limit admits in an hour.
const MAX: u64 = 30_000;

const HOUR: Duration = Duration::from_secs(3600);

fn main() -> Result<(), Box<dyn Error>> {
    let leases = report::leases();
    let of = |traffic| leases.iter().map(|lease| day(traffic, lease)).collect::<Result<Vec<_>, _>>();
    let days = thread::scope(|scope| {
        let threads = Traffic::ALL.map(|traffic| scope.spawn(move || of(traffic)));
        threads.map(|thread| thread.join().map_err(|_| "a simulation panicked".to_owned()).flatten())
    });
    let days = days.into_iter().collect::<Result<Vec<_>, _>>()?.concat();
    print!("{}", report::table(&leases, &days));
    report::keep(&leases, &days)
}

fn day(traffic: Traffic, lease: &Lease) -> Result<Day, String> {
    let scenario = Scenario {
        replicas: REPLICAS,
        max: MAX,
        per: "hour",
        length: HOUR,
        windows: 24,
        traffic,
        lease: lease.setting.clone(),
    };
    let sums =
        simulate(&scenario).map_err(|error| format!("{}, {}: {error}", report::name(traffic), lease.name))?;
    Ok(Day::of(traffic, &sums, MAX))
}
