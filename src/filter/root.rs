//! One policy's life in one thread of Envoy: loaded, in force, gone.

use std::rc::Rc;

use crate::{
    gate::Gate,
    policy::Policy,
    store::{Store, Write},
};

use super::{host::Host, metrics::Metrics, worker::Worker};

/// Where all workers keep the digest of the policy that was loaded last, so that each load is counted once.
const LOADED: &str = "sidegate/loaded";

/// Loads the policy; none where it does not compile, and Envoy then keeps the last good one.
///
/// `environment` gives the values of the variables that secrets name.
pub fn load<H: Host, S: Store>(
    host: H,
    store: S,
    configuration: &[u8],
    environment: &dyn Fn(&str) -> Option<String>,
) -> Option<Rc<Worker<H, S>>> {
    let metrics = Metrics::default();
    let policy = match Policy::load(configuration, environment) {
        Ok(policy) => policy,
        Err(problems) => {
            host.log(log::Level::Error, &format!("the policy is refused:\n{problems}"));
            metrics.loaded(&host, false);
            return None;
        }
    };
    let revision = policy.revision.as_deref();
    if swap_loaded(&store, &policy.digest) {
        host.log(
            log::Level::Info,
            &format!("policy loaded revision={} digest={}", revision.unwrap_or("-"), policy.digest),
        );
        metrics.loaded(&host, true);
    }
    metrics.in_force(&host, &policy, true);
    Some(Worker::new(host, Gate::new(Rc::new(policy), store), metrics))
}

/// The policy is no longer in force in this thread.
pub fn unload<H: Host, S: Store>(worker: &Worker<H, S>) {
    let policy = worker.gate().policy();
    let digest = policy.digest.as_bytes();
    let replaced = worker.gate().store().read(LOADED, |loaded| loaded.is_some_and(|loaded| loaded != digest));
    if replaced {
        worker.metrics().in_force(worker.host(), policy, false);
    }
}

/// Notes that the policy with this digest is loaded; true for the first worker that says so.
fn swap_loaded(store: &impl Store, digest: &str) -> bool {
    let swapped = store.update(LOADED, |loaded| match loaded {
        Some(loaded) if loaded == digest.as_bytes() => (Write::Keep, false),
        _ => (Write::Replace(digest.as_bytes().to_vec()), true),
    });
    swapped.unwrap_or(false)
}
