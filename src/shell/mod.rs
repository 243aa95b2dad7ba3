//! The shell: carries out what the gate decides. It contains what every host needs.
//!
//! * [`worker`]: one policy in one thread of the host; runs requests and background tasks
//! * [`calls`]: calls in flight, and who waits for each
//! * [`timers`]: who waits for which moment
//! * [`loading`]: loading and replacing a policy in a worker
//! * [`tasks`]: what runs in the background
//! * [`telemetry`], [`log`]: metrics and log lines
//! * [`host`]: what the shell needs from a host, as one trait for each role
//!
//! `hosts` contains the implementations. Tests simulate a host (`tests/simulated_host.rs`),
//! so whole requests run natively.

pub mod calls;
pub mod host;
pub mod loading;
pub mod log;
pub mod tasks;
pub mod telemetry;
pub mod timers;
pub mod worker;
