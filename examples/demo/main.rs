//! The tour: real requests, admitted and refused by Sidegate in a real Envoy, with a real OAuth2 server behind it. `make demo` runs it.
//!
//! `KEEP=1` leaves everything running afterwards, and prints requests to try. `PORT` chooses the port; otherwise it is the one of
//! `envoy/demo.yaml`, or a free one where that is taken. Ends with 1 if any answer is not what it should be.

#![expect(clippy::print_stdout, reason = "printing is what it is for")]

mod parts;

mod tour;

use std::process::ExitCode;

use sidegate_harness::Client;

#[tokio::main]
async fn main() -> ExitCode {
    tokio::select! {
        outcome = run() => outcome,
        // Everything that was started ends with the values that hold it.
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
    let surprises = tour::walk(&parts).await;
    #[expect(clippy::disallowed_methods, reason = "the environment is how it is asked for")]
    if std::env::var_os("KEEP").is_some() {
        parts.invite().await;
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
