//! What every worker does in the background while its policy is in force.

use std::rc::Rc;

use super::{host::Host, worker::Worker};
use crate::{
    identity::{
        introspection::{self, Authentication},
        jwt, threescale,
    },
    policy::Provider,
    ports::Report,
    store::Store,
};

/// Starts the background tasks of the worker's policy.
pub fn start<H: Host, S: Store + 'static>(worker: &Worker<H, S>) {
    let policy = worker.policy();
    for (index, provider) in policy.providers.iter().enumerate() {
        match provider {
            Provider::Introspection(provider) => {
                if let Authentication::ClientCredentials(own) = &provider.settings().authentication {
                    let own = Rc::clone(own);
                    worker.spawn(|ports| {
                        introspection::keep_renewed(own, ports, move |ports, call| {
                            ports.report(Report::Call { provider: index, call, leased: 0 });
                        })
                    });
                }
            }
            Provider::RateLimitService(_) => {}
            Provider::Jwks(provider) if provider.publishes_keys() => {
                let (provider, sets) = (Rc::clone(provider), policy.key_sets.clone());
                worker.spawn(|ports| {
                    jwt::keep_fresh(provider, sets, ports, move |ports, call| {
                        ports.report(Report::Call { provider: index, call, leased: 0 });
                    })
                });
            }
            Provider::Jwks(_) => {}
            Provider::ServiceManagement(_) => {
                let policy = Rc::clone(policy);
                worker.spawn(async move |ports| {
                    if let Some(Provider::ServiceManagement(provider)) = policy.providers.get(index) {
                        threescale::report(provider, index, &policy.ledger, &ports).await;
                    }
                });
            }
        }
    }
}
