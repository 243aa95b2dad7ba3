//! The shell: carries the gate's decisions out inside Envoy, and nothing more.
//!
//! `envoy.rs` is the only file that speaks proxy-wasm, and exists only in the module. All else speaks to a [`Host`](host::Host), so
//! whole requests run natively against a scripted one (`tests/simulated_host.rs`).

pub mod flights;
pub mod host;
pub mod metrics;
pub mod root;
pub mod worker;

#[cfg(target_os = "wasi")]
mod envoy;
