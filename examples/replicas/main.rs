//! One quota over three Envoys, counted by a real rate limit service in a real Redis.
//! `make demo-replicas` runs it.
//!
//! `KEEP=1` leaves everything running afterwards, and prints requests to try. Exits with 1 if an answer is
//! wrong.
#![expect(clippy::print_stdout, reason = "the program prints its results")]

mod parts;

use std::process::ExitCode;

use parts::{Parts, REPLICAS};

#[tokio::main]
async fn main() -> ExitCode {
    tokio::select! {
        outcome = run() => outcome,
        // Everything that was started ends when the values that hold it are dropped.
        _ = tokio::signal::ctrl_c() => ExitCode::from(130),
    }
}

async fn run() -> ExitCode {
    let mut parts = match Parts::start().await {
        Ok(parts) => parts,
        Err(error) => {
            println!("the demo does not start: {error}");
            return ExitCode::FAILURE;
        }
    };
    let surprises = walk(&mut parts).await;
    #[expect(clippy::disallowed_methods, reason = "the options are environment variables")]
    if std::env::var_os("KEEP").is_some() {
        parts.print_commands();
        std::future::pending::<()>().await;
    }
    println!();
    println!("{}", if surprises == 0 { "All answers were as expected." } else { "Some answers were wrong." });
    if surprises == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Sends the requests and prints what became of them. Returns the number of surprises.
async fn walk(parts: &mut Parts) -> u32 {
    let mut surprises = 0_u32;
    let mut expect = |is_right: bool| {
        if !is_right {
            println!("    this is wrong");
            surprises = surprises.saturating_add(1);
        }
    };

    println!("\n  alone: 12 a day, counted by each Envoy");
    let sums = parts.send("alone-key", [15; REPLICAS]).await;
    println!("    {sums}");
    expect(sums.admitted == 36);

    println!("\n  exact: 12 a day over all Envoys, a call for each request");
    let sums = parts.send("exact-key", [10; REPLICAS]).await;
    println!("    {sums}");
    expect(sums.admitted == 12 && sums.exhausted == 18);

    println!("\n  leased: 1200 a day over all Envoys, most of them through the first");
    let sums = parts.send("leased-key", [900, 50, 50]).await;
    println!("    {sums}");
    expect(sums.admitted == 1000 && sums.calls < 500);
    let sums = parts.send("leased-key", [300; REPLICAS]).await;
    println!("    {sums}");
    expect(sums.admitted <= 200 && sums.exhausted > 0);

    println!("\n  the rate limit service ends");
    parts.service.stop();
    let sums = parts.send("exact-key", [2; REPLICAS]).await;
    println!("    exact:  {sums}");
    expect(sums.unavailable == 6);
    let sums = parts.send("alone-key", [2; REPLICAS]).await;
    println!("    alone:  {sums}");
    expect(sums.exhausted == 6);

    println!("\n  it is back, and has forgotten nothing: Redis has the counts");
    parts.service.restart().await;
    parts.answers_again("exact-key").await;
    let sums = parts.send("exact-key", [2; REPLICAS]).await;
    println!("    exact:  {sums}");
    expect(sums.exhausted == 6);
    surprises
}
