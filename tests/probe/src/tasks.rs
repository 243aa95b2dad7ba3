//! Background tasks. They run wherever the policy is loaded: in every worker and in Envoy's main thread.

use std::{rc::Rc, time::Duration};

use sidegate::{
    hosts::proxy_wasm::Envoy,
    ports::{Ports, Wake},
    shell::host::{MeasureKind, TelemetryHost},
    store::{Lease, Store, WorkerId, Write},
};

use crate::steps;

const PERIOD: Duration = Duration::from_millis(100);

/// Counts a tick in the metric `probe_ticks_REVISION` every 100 ms, and its own end in
/// `probe_ended_REVISION`.
pub async fn tick(ports: Rc<Ports<Envoy>>, revision: String) {
    let [ticks, ended] = ["ticks", "ended"].map(|what| {
        let name = format!("probe_{what}_{revision}");
        Envoy.define(MeasureKind::Counter, &name).expect("a metric")
    });
    while sleep(&ports).await == Wake::Due {
        Envoy.count(ticks, 1);
    }
    Envoy.count(ended, 1);
}

/// Holds the lease if no other worker does, and calls the cluster `reports` when it gets the lease. It writes
/// the number of turns to `probe/turns`, the holders to `probe/holders`, and the results of calls to
/// `probe/reports`.
pub async fn lead(ports: Rc<Ports<Envoy>>) {
    let Some(worker) = WorkerId::next(ports.store().store()) else { return };
    let lease = Lease::new("probe", worker, Duration::from_secs(3600));
    // There is no sleep before this. In a VM that Envoy discards, the lease would be held for an hour.
    let mut holds = false;
    loop {
        if lease.hold(ports.store()) && !holds {
            holds = true;
            append(&ports, "probe/holders", &format!("{worker:?}"));
            let report = steps::perform("http:reports/elected", Duration::from_secs(10), &ports).await;
            append(&ports, "probe/reports", &report);
        }
        change(&ports, "probe/turns", |turns| (turns.parse().unwrap_or(0_u64) + 1).to_string());
        if sleep(&ports).await == Wake::LastTurn {
            lease.give_up(ports.store());
            return;
        }
    }
}

async fn sleep(ports: &Ports<Envoy>) -> Wake {
    ports.sleep_until(ports.now().saturating_add(PERIOD)).await
}

fn append(ports: &Ports<Envoy>, key: &str, what: &str) {
    change(ports, key, |before| format!("{before}{what};"));
}

fn change(ports: &Ports<Envoy>, key: &str, new: impl Fn(&str) -> String) {
    let change = |bytes: Option<&[u8]>| {
        let old = String::from_utf8_lossy(bytes.unwrap_or_default());
        (Write::Replace(new(&old).into_bytes()), ())
    };
    ports.store().store().update(key, change).expect("the store is not contended");
}
