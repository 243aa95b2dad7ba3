//! What Sidegate costs: on-CPU time of a real Envoy per request, against a plain listener and a filter that
//! does nothing.
//!
//! `make bench` runs it. docs/performance.md explains the results and contains the last table. With names of
//! cases as arguments it measures only these, and writes nothing. Under `cargo test` it runs everything once
//! with a few requests, and ignores the times.

#![expect(clippy::print_stdout, reason = "the program prints its results")]

mod cases;
mod measure;
mod policy;
mod report;

use std::error::Error;

use cases::Case;
use measure::Plan;

const FULL: Plan = Plan { sittings: 3, many: 100_000, rounds: 14, requests: 6_000, warm_up: 20_000 };
const SMOKE: Plan = Plan { sittings: 1, many: 1_000, rounds: 2, requests: 50, warm_up: 50 };

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let measuring = arguments.iter().any(|argument| argument == "--bench");
    let chosen: Vec<_> = arguments.iter().filter(|argument| !argument.starts_with('-')).collect();
    if let Some(unknown) = chosen.iter().find(|name| !cases::NAMES.contains(&name.as_str())) {
        return Err(format!("no case `{unknown}`: there are {}", cases::NAMES.join(", ")).into());
    }
    // The others are compared with the first two.
    let wanted = |name: &&str| {
        ["plain", "noop"].contains(name) || chosen.is_empty() || chosen.iter().any(|each| each == name)
    };
    let names: Vec<_> = cases::NAMES.into_iter().filter(wanted).collect();
    let plan = if measuring { FULL } else { SMOKE };

    let mut samples = Vec::new();
    for sitting in 0..plan.sittings {
        let cases = Case::start_all(&names, plan.many).await?;
        samples.extend(measure::run_sitting(&cases, plan, sitting).await?);
    }
    let outcomes = report::evaluate(&names, &samples);
    println!("{}", report::table(&outcomes));
    match (measuring, chosen.is_empty()) {
        (true, true) => report::keep(&outcomes),
        (true, false) => Ok(()),
        (false, _) => report::check(&outcomes),
    }
}
