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

/// Fresh processes, so that no case owes its result to how one process happened to lie in memory.
const SITTINGS: usize = 3;

/// Rounds per sitting. In each, every case has its turn, in an order of its own.
const ROUNDS: usize = 12;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let measuring = arguments.iter().any(|argument| argument == "--bench");
    let chosen: Vec<_> = arguments.iter().filter(|argument| !argument.starts_with('-')).collect();
    let names: Vec<_> = cases::NAMES
        .into_iter()
        .filter(|name| chosen.is_empty() || chosen.iter().any(|each| each == name))
        .collect();
    let plan = if measuring {
        Plan { rounds: ROUNDS, requests: 3_000, warm_up: 10_000 }
    } else {
        Plan { rounds: 2, requests: 50, warm_up: 50 }
    };

    let mut samples = Vec::new();
    for sitting in 0..if measuring { SITTINGS } else { 1 } {
        let cases = Case::start_all(&names).await?;
        let sitting = u64::try_from(sitting)?;
        samples.extend(measure::sit(&cases, plan, sitting).await?);
    }
    let results = report::evaluate(&names, &samples);
    println!("{}", report::table(&results));
    if measuring && chosen.is_empty() {
        report::keep(&results)?;
    }
    Ok(())
}
