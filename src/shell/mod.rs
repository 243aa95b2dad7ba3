//! The shell: carries out what the gate decides, and nothing more. It is what every host needs.
//!
//! * [`worker`]: one policy in one thread of the host; runs requests and background tasks
//! * [`calls`]: calls in flight, and who waits for each
//! * [`timers`]: who waits for which moment
//! * [`loading`]: a policy's life in a worker
//! * [`telemetry`], [`log`]: what operators see of it
//! * [`host`]: what the shell asks of a host, as one trait for each role
//!
//! [`hosts`](crate::hosts) has the implementations. Tests script one (`tests/simulated_host.rs`), so whole requests run natively.

pub mod calls;
pub mod host;
pub mod loading;
pub mod log;
pub mod telemetry;
pub mod timers;
pub mod worker;
