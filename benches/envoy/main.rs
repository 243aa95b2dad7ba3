//! What Sidegate costs per request in a real Envoy: instructions, in units of what a bare filter adds
//! (`benches/floor`), and CPU time.
//!
//! `make bench` runs it. docs/performance.md explains the results and contains the last tables. With
//! names of cases as arguments it measures only these, and writes nothing. With `--count` it counts
//! instructions and measures no time. With `--loads` it measures how large policies are loaded, with
//! `--verifications` what verifying a JWT costs. With `--check-budget` it counts the cases that have a
//! budget, and fails above it. Under `cargo test` without these options it measures all times once with a
//! few requests, and ignores them.

#![expect(clippy::print_stdout, reason = "the program prints its results")]

mod budgets;
mod cases;
mod instructions;
mod loads;
mod measure;
mod peers;
mod policy;
mod report;
mod verifications;
mod worst;

use std::error::Error;

use cases::Case;
use instructions::Counts;
use measure::Plan;

const FULL: Plan = Plan { sittings: 3, many: MANY, rounds: 14, requests: 6_000, warm_up: 20_000 };
const SMOKE: Plan = Plan { sittings: 1, many: 1_000, rounds: 2, requests: 50, warm_up: 50 };
const COUNT: instructions::Plan = instructions::Plan { warm_up: 300, settle: 100, turns: 9, requests: 40 };

/// Consumers of the case with many.
const MANY: usize = 100_000;

/// What the others are compared with.
const REFERENCES: [&str; 4] = ["plain", "jwt_plain", "noop", "floor"];

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let has = |flag: &str| arguments.iter().any(|argument| argument == flag);
    let chosen: Vec<_> = arguments.iter().filter(|argument| !argument.starts_with('-')).collect();
    if let Some(unknown) = chosen.iter().find(|name| !cases::NAMES.contains(&name.as_str())) {
        return Err(format!("no case `{unknown}`: there are {}", cases::NAMES.join(", ")).into());
    }
    let wanted = |name: &&str| {
        REFERENCES.contains(name) || chosen.is_empty() || chosen.iter().any(|each| each == name)
    };
    let names: Vec<_> = cases::NAMES.into_iter().filter(wanted).collect();

    if has("--check-budget") {
        let cases = budgets::cases();
        let counts = Counts::of(&cases, MANY, COUNT).await?;
        println!("{}\n{}", report::counts(&cases, &counts), budgets::table(&counts));
        return budgets::check(&counts);
    }
    if has("--count") {
        let counts = Counts::of(&names, MANY, COUNT).await?;
        println!("{}", report::counts(&names, &counts));
        return Ok(());
    }
    if has("--loads") {
        println!("{}", loads::table(&loads::measure().await?));
        return Ok(());
    }
    if has("--verifications") {
        println!("{}", verifications::table(&verifications::measure().await?));
        return Ok(());
    }
    if has("--bench") {
        let samples = sample(&names, FULL).await?;
        let counts = Counts::of(&names, MANY, COUNT).await?;
        let outcomes = report::evaluate(&names, &samples, &counts);
        println!("{}\n{}", report::table(&outcomes), budgets::table(&counts));
        if !chosen.is_empty() {
            return Ok(());
        }
        let loads = loads::measure().await?;
        let verifications = verifications::measure().await?;
        println!("{}\n{}", loads::table(&loads), verifications::table(&verifications));
        return report::keep(&outcomes, &counts, &loads, &verifications);
    }
    let samples = sample(&names, SMOKE).await?;
    let outcomes = report::evaluate(&names, &samples, &Counts::default());
    println!("{}", report::table(&outcomes));
    report::check(&outcomes)
}

async fn sample(names: &[&'static str], plan: Plan) -> Result<Vec<Vec<measure::Sample>>, Box<dyn Error>> {
    let mut samples = Vec::new();
    for sitting in 0..plan.sittings {
        let cases = Case::start_all(names, plan.many).await?;
        samples.extend(measure::run_sitting(&cases, plan, sitting).await?);
    }
    Ok(samples)
}
