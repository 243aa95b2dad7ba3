//! The life of a policy in one thread of Envoy: it is loaded, it is in force, and it is replaced.

use std::rc::Rc;

use super::{
    host::{ContextId, Host},
    telemetry::{Load, Telemetry},
    worker::Worker,
};
use crate::{
    policy::{Policy, Text, Warnings},
    store::{Seed, Store, Write},
};

/// The key for the digest of the last loaded policy, which all workers share so that each load is counted
/// once.
const LOADED: &str = "sidegate/loaded";

/// Loads the policy. `None` if it does not compile; the host then keeps the previous policy.
///
/// `seed` must be random. `root` is the context that owns background work. `environment` returns the values
/// of the variables that secrets name.
pub fn load<H: Host, S: Store + 'static>(
    host: H,
    store: S,
    seed: Seed,
    root: ContextId,
    configuration: &(impl Text + ?Sized),
    environment: &dyn Fn(&str) -> Option<String>,
) -> Option<Rc<Worker<H, S>>> {
    let telemetry = Telemetry::default();
    let policy = match Policy::load(configuration, environment) {
        Ok(policy) => policy,
        Err(problems) => {
            host.log(log::Level::Error, &format!("the policy is rejected:\n{problems}"));
            warn(&host, &problems.warnings);
            telemetry.loaded(&host, Load::Rejected);
            return None;
        }
    };
    let revision = policy.revision.as_deref();
    if swap_loaded(&store, &policy.digest) {
        host.log(
            log::Level::Warn,
            &format!("policy loaded revision={} digest={}", revision.unwrap_or("-"), policy.digest),
        );
        warn(&host, &policy.warnings);
        telemetry.loaded(&host, Load::Accepted);
    }
    telemetry.in_force(&host, &policy, true);
    Some(Worker::new(host, root, Rc::new(policy), store, seed, telemetry))
}

fn warn(host: &impl Host, warnings: &Warnings) {
    if *warnings != Warnings::default() {
        host.log(log::Level::Warn, &format!("the policy has warnings:\n{warnings}"));
    }
}

/// The policy is no longer in force in this thread.
pub fn unload<H: Host, S: Store + 'static>(worker: &Worker<H, S>) {
    worker.close();
    let policy = worker.policy();
    let digest = policy.digest.as_bytes();
    let store = worker.ports().store().store();
    let replaced = store.read(LOADED, |loaded| loaded.is_some_and(|loaded| loaded != digest));
    if replaced {
        worker.telemetry().in_force(worker.host(), policy, false);
    }
}

/// Records that the policy with this digest is loaded; true for the first worker that does.
fn swap_loaded(store: &impl Store, digest: &str) -> bool {
    let swapped = store.update(LOADED, |loaded| match loaded {
        Some(loaded) if loaded == digest.as_bytes() => (Write::Keep, false),
        _ => (Write::Replace(digest.as_bytes().to_vec()), true),
    });
    swapped.unwrap_or(false)
}
