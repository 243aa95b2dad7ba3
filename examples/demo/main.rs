//! The tour: real requests, admitted and refused by Sidegate in a real Envoy, with a real OAuth2 server
//! behind it, and then with a stand-in for 3scale's backend. `make demo` runs it.
//!
//! `KEEP=1` leaves everything running afterwards, and prints requests to try. `PORT` chooses the port. The
//! default is the port in `envoy/demo.yaml`, or a free one if that is taken. Exits with 1 if any answer is
//! wrong.

#![expect(clippy::print_stdout, reason = "the program prints its results")]

mod parts;
mod threescale;
mod tour;

use std::process::ExitCode;

use sidegate_harness::Client;

#[tokio::main]
async fn main() -> ExitCode {
    tokio::select! {
        outcome = run() => outcome,
        // Everything that was started ends when the values that hold it are dropped.
        _ = tokio::signal::ctrl_c() => ExitCode::from(130),
    }
}

async fn run() -> ExitCode {
    let parts = match parts::Parts::start().await {
        Ok(parts) => parts,
        Err(error) => {
            println!("the demo does not start: {error}");
            return ExitCode::FAILURE;
        }
    };
    let mut surprises = tour::walk(&parts).await;
    match threescale::walk().await {
        Ok(more) => surprises = surprises.saturating_add(more),
        Err(error) => {
            println!("the chapter about 3scale does not start: {error}");
            return ExitCode::FAILURE;
        }
    }
    #[expect(clippy::disallowed_methods, reason = "the options are environment variables")]
    if std::env::var_os("KEEP").is_some() {
        parts.print_commands().await;
        std::future::pending::<()>().await;
    }
    if surprises == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The OAuth2 clients of the tour; `gateway` is Sidegate itself.
fn clients() -> [Client; 4] {
    [
        Client::new("gateway", parts::GATEWAY_SECRET, ""),
        Client::new("acme-web", "acme-web-secret", "orders.read orders.write"),
        Client::new("acme-batch", "acme-batch-secret", "orders.write"),
        Client::new("passer-by", "passer-by-secret", "orders.read"),
    ]
}
