//! What Sidegate costs: on-CPU time of a real Envoy per request, against a plain listener and a filter that does nothing.
//!
//! `make bench` runs it; docs/performance.md says how to read it, and keeps its last table. Names of cases as arguments measure only
//! these, and write nothing. Run by `cargo test` it goes through everything once with a few requests, and looks at no time.

#![expect(clippy::print_stdout, reason = "printing is what it is for")]

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
    // The first two are what the others are told apart by.
    let wanted = |name: &&str| {
        ["plain", "noop"].contains(name) || chosen.is_empty() || chosen.iter().any(|each| each == name)
    };
    let names: Vec<_> = cases::NAMES.into_iter().filter(wanted).collect();
    let plan = if measuring { FULL } else { SMOKE };

    let mut samples = Vec::new();
    for sitting in 0..plan.sittings {
        let cases = Case::start_all(&names, plan.many).await?;
        samples.extend(measure::sit(&cases, plan, sitting).await?);
    }
    let outcomes = report::evaluate(&names, &samples);
    println!("{}", report::table(&outcomes));
    match (measuring, chosen.is_empty()) {
        (true, true) => report::keep(&outcomes),
        (true, false) => Ok(()),
        (false, _) => report::check(&outcomes),
    }
}
