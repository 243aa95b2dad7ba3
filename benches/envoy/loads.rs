//! Measures what a large policy costs when it is loaded: the CPU time that the worker thread spends on a
//! reload, which its requests wait for, and the memory of each worker.

use std::{error::Error, fs, time::Duration};

use serde_json::{Value, json};
use sidegate_harness::{Envoy, Listener, Setup, Wasm, direct_response};

use crate::policy;

/// How long an Envoy may take to load a policy.
const PATIENCE: Duration = Duration::from_secs(300);

/// Reloads of each policy. The one that took the least time counts.
const RELOADS: usize = 5;

/// Workers of the Envoy that is compared with one of a single worker.
const WORKERS: usize = 5;

/// What a policy costs.
#[derive(Clone, Debug)]
pub struct Load {
    /// What the policy has.
    pub name: &'static str,
    /// Milliseconds of CPU that the worker spends on a reload.
    pub cpu: f64,
    /// Megabytes of each worker.
    pub memory: f64,
}

/// Measures all policies.
pub async fn measure() -> Result<Vec<Load>, Box<dyn Error>> {
    let mut loads = Vec::new();
    for (name, policy) in [
        ("10 consumers", policy::of_consumers(10)),
        ("10,000 rules", of_rules(10_000)),
        ("10,000 APIs", of_apis(10_000)),
        ("10,000 consumers", policy::of_consumers(10_000)),
        ("100,000 consumers", policy::of_consumers(100_000)),
    ] {
        let (cpu, single) = reload(&policy).await?;
        let several = start(&policy, WORKERS).await.process().memory();
        let kilobytes = u32::try_from(several.saturating_sub(single) >> 10)?;
        let others = u32::try_from(WORKERS.saturating_sub(1))?;
        let memory = f64::from(kilobytes) * 1.024e-3 / f64::from(others);
        loads.push(Load { name, cpu: cpu.as_secs_f64() * 1e3, memory });
    }
    Ok(loads)
}

/// A table in Markdown.
pub fn table(loads: &[Load]) -> String {
    let mut table =
        String::from("| policy | CPU ms of a worker for a reload | MB of a worker |\n|---|---:|---:|\n");
    for Load { name, cpu, memory } in loads {
        table.push_str(&format!("| {name} | {cpu:.0} | {memory:.1} |\n"));
    }
    table
}

fn of_rules(rules: usize) -> Value {
    let rule =
        |number| json!({"path": format!("/service-{number}/items/{{id}}/**"), "methods": ["GET", "POST"]});
    json!({"sidegate": "v1", "apis": [
        {"name": "orders", "access": ["allow"], "rules": (0..rules).map(rule).collect::<Vec<_>>()}
    ]})
}

fn of_apis(apis: usize) -> Value {
    let api = |number| {
        json!({"name": format!("api {number}"), "hosts": [format!("{number}.example.com")],
               "base_path": format!("/v{number}"), "access": ["allow"], "rules": [{"path": "/**"}]})
    };
    json!({"sidegate": "v1", "apis": (0..apis).map(api).collect::<Vec<_>>()})
}

fn listener(policy: &Value) -> Listener {
    Listener::new("main")
        .wasm(&Wasm::sidegate(policy).environment("OIDC_SECRET", "unused"))
        .route(direct_response(200, ""))
}

async fn start(policy: &Value, workers: usize) -> Envoy {
    Envoy::start(Setup::new(listener(policy)).workers(workers).under([], PATIENCE)).await
}

/// The least CPU time of a reload, and the memory of the process before the first one.
async fn reload(policy: &Value) -> Result<(Duration, u64), Box<dyn Error>> {
    let mut envoy = start(policy, 1).await;
    let memory = envoy.process().memory();
    let mut least = Duration::MAX;
    let mut policy = policy.clone();
    for number in 0..RELOADS {
        if let Some(document) = policy.as_object_mut() {
            document.insert("revision".to_owned(), json!(format!("reload {number}")));
        }
        let before = of_workers(envoy.process().id())?;
        envoy.reload(listener(&policy)).await?;
        least = least.min(of_workers(envoy.process().id())?.saturating_sub(before));
    }
    Ok((least, memory))
}

/// The CPU time of the worker threads so far (Linux).
pub fn of_workers(process: u32) -> Result<Duration, Box<dyn Error>> {
    let mut nanoseconds: u64 = 0;
    for thread in fs::read_dir(format!("/proc/{process}/task"))? {
        let thread = thread?.path();
        if fs::read_to_string(thread.join("comm"))?.starts_with("wrk:") {
            let schedule = fs::read_to_string(thread.join("schedstat"))?;
            let running: u64 = schedule.split_whitespace().next().unwrap_or_default().parse()?;
            nanoseconds = nanoseconds.saturating_add(running);
        }
    }
    Ok(Duration::from_nanos(nanoseconds))
}
