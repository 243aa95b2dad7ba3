//! Measures a fixed number of requests over kept-alive connections, and the CPU time that Envoy spent on
//! them.

use std::{error::Error, time::Duration};

use sidegate_harness::Connection;
use tokio::time::Instant;

use crate::cases::Case;

/// Connections that carry the load. Each waits for its answer before it sends the next request.
const CONNECTIONS: usize = 16;

/// How much is measured.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Sittings. Each starts fresh processes, so that no result depends on the memory layout of one process.
    pub sittings: u64,
    /// Consumers in the case with many.
    pub many: usize,
    /// Rounds of a sitting.
    pub rounds: usize,
    /// Requests per case and round.
    pub requests: usize,
    /// Requests per case before the first round: the compiler in V8 optimises what runs often.
    pub warm_up: usize,
}

/// The cost of one turn of a case, per request.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// On-CPU time of the Envoy process.
    pub cpu: Duration,
    /// Wall-clock time.
    pub wall: Duration,
}

/// One sitting: rounds, each with one sample per case in the order of `cases`.
pub async fn run_sitting(cases: &[Case], plan: Plan, seed: u64) -> Result<Vec<Vec<Sample>>, Box<dyn Error>> {
    for case in cases {
        load(case, plan.warm_up).await?;
    }
    let mut shuffler = Shuffler(seed.wrapping_add(1));
    let mut rounds = Vec::new();
    for _ in 0..plan.rounds {
        let mut turns: Vec<_> = cases.iter().enumerate().collect();
        shuffler.shuffle(&mut turns);
        let mut round = Vec::new();
        for (place, case) in turns {
            round.push((place, turn(case, plan.requests).await?));
        }
        round.sort_by_key(|(place, _)| *place);
        rounds.push(round.into_iter().map(|(_, sample)| sample).collect());
    }
    Ok(rounds)
}

async fn turn(case: &Case, requests: usize) -> Result<Sample, Box<dyn Error>> {
    let cpu = on_cpu(case.process())?;
    let clock = Instant::now();
    load(case, requests).await?;
    let wall = clock.elapsed();
    let cpu = on_cpu(case.process())?.saturating_sub(cpu);
    let requests = u32::try_from(requests)?;
    Ok(Sample {
        cpu: cpu.checked_div(requests).unwrap_or_default(),
        wall: wall.checked_div(requests).unwrap_or_default(),
    })
}

/// Sends this many requests. Every answer must have the status of the case.
async fn load(case: &Case, requests: usize) -> Result<(), Box<dyn Error>> {
    let mut connections = tokio::task::JoinSet::new();
    for index in 0..CONNECTIONS {
        let share = (requests.saturating_add(index)) / CONNECTIONS;
        let (address, sender) = (case.address(), case.sender());
        connections.spawn(async move { sender.send(&mut Connection::open(address).await?, share).await });
    }
    while let Some(connection) = connections.join_next().await {
        connection?.map_err(|error| format!("{}: {error}", case.name()))?;
    }
    Ok(())
}

/// The CPU time of all threads of a process so far, to the nanosecond (Linux).
fn on_cpu(process: u32) -> Result<Duration, Box<dyn Error>> {
    let mut nanoseconds: u64 = 0;
    for thread in std::fs::read_dir(format!("/proc/{process}/task"))? {
        let schedule = std::fs::read_to_string(thread?.path().join("schedstat"))?;
        let running: u64 = schedule.split_whitespace().next().unwrap_or_default().parse()?;
        nanoseconds = nanoseconds.saturating_add(running);
    }
    Ok(Duration::from_nanos(nanoseconds))
}

/// A small generator (xorshift64) with a seed, so that a run can be repeated.
struct Shuffler(u64);

impl Shuffler {
    fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            let bound = u64::try_from(last).unwrap_or_default().saturating_add(1);
            let other =
                self.0.checked_rem(bound).and_then(|other| usize::try_from(other).ok()).unwrap_or_default();
            items.swap(last, other);
        }
    }
}
