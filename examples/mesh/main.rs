//! A real Istio on this machine, with Sidegate delivered to a sidecar by a WasmPlugin, and a tour through it.
//! `make mesh` runs it, and leaves it running; `make mesh-down` ends it.
//!
//! The mesh runs in a process of its own, detached from the terminal. Its id is in `target/mesh/pid`, and
//! everything that it started ends with it.

#![cfg(not(target_family = "wasm"))]
#![expect(clippy::print_stdout, reason = "the program prints its results")]

mod keeper;
mod parts;
mod tour;

use std::process::ExitCode;

fn main() -> ExitCode {
    let word = std::env::args().nth(1);
    match word.as_deref() {
        Some("up") => keeper::up(),
        Some("down") => keeper::down(),
        // What `up` starts.
        Some("keep") => keeper::keep(),
        _ => {
            println!("mesh up: starts a mesh, and shows it\nmesh down: ends it");
            ExitCode::from(2)
        }
    }
}
