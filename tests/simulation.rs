//! What `make simulation` promises about leases, for fewer replicas and shorter windows.
#![cfg(not(target_family = "wasm"))]
#![expect(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests, outside of test functions"
)]

#[path = "support/engine.rs"]
mod engine;
#[path = "../benches/simulation/src/fleet.rs"]
mod fleet;
#[path = "../benches/simulation/src/traffic.rs"]
mod traffic;

use std::time::Duration;

use fleet::{Scenario, Sums, simulate};
use serde_json::{Value, json};
use traffic::Traffic;

/// Four minutes of fifteen replicas. The simulation itself checks that never more than `max` is admitted, and
/// that each replica leaves unspent less than two leases.
fn minutes(traffic: Traffic, lease: &Value) -> Sums {
    let scenario = Scenario {
        replicas: 15,
        max: 600,
        per: "minute",
        length: Duration::from_secs(60),
        windows: 4,
        traffic,
        lease: lease.clone(),
    };
    simulate(&scenario).unwrap_or_else(|error| panic!("{traffic:?}, {lease}: {error}"))
}

#[test]
fn leases_keep_their_bounds_for_all_kinds_of_traffic() {
    for traffic in Traffic::ALL {
        let exact = minutes(traffic, &json!("none"));
        assert_eq!((exact.unspent, exact.calls), (0, exact.waited), "{traffic:?}");
        assert!(exact.short >= 1 && exact.waited >= 2000, "{traffic:?}: {exact:?}");
        for lease in [json!("adaptive"), json!({"up_to": {"share": 50, "lasts": "10s"}})] {
            let leased = minutes(traffic, &lease);
            assert_eq!(leased.requests, exact.requests);
            assert!(leased.short >= exact.short, "{traffic:?}, {lease}: {leased:?}");
            assert!(leased.calls < exact.calls, "{traffic:?}, {lease}: {leased:?}");
        }
    }
}
