//! Callers that keep sending requests while something changes.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use tokio::task::JoinSet;

use crate::client::{Request, send_over};

/// Callers that repeat a request until they are stopped, each on its own connection.
#[derive(Debug)]
pub struct Callers {
    tasks: JoinSet<Tally>,
    enough: Arc<AtomicBool>,
}

/// The number of requests for each answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Answers, by their status.
    pub answered: BTreeMap<u16, usize>,
    /// Requests without any answer.
    pub lost: usize,
}

impl Callers {
    /// Starts this many callers.
    pub fn start(callers: usize, address: SocketAddr, request: &Request) -> Self {
        let enough = Arc::new(AtomicBool::new(false));
        let mut tasks = JoinSet::new();
        for _ in 0..callers {
            tasks.spawn(ask(address, request.clone(), enough.clone()));
        }
        Self { tasks, enough }
    }

    /// Lets each caller finish its request, and adds up the answers.
    pub async fn stop(self) -> Tally {
        self.enough.store(true, Ordering::Relaxed);
        let mut sum = Tally::default();
        for tally in self.tasks.join_all().await {
            sum.lost += tally.lost;
            for (status, answers) in tally.answered {
                *sum.answered.entry(status).or_default() += answers;
            }
        }
        sum
    }
}

impl Tally {
    /// Whether every request got this status, and there was at least one.
    pub fn is_only(&self, status: u16) -> bool {
        self.lost == 0 && self.answered.keys().eq([&status])
    }
}

async fn ask(address: SocketAddr, request: Request, enough: Arc<AtomicBool>) -> Tally {
    let mut tally = Tally::default();
    let mut connection = None;
    while !enough.load(Ordering::Relaxed) {
        match send_over(&mut connection, address, &request).await {
            Ok(answer) => *tally.answered.entry(answer.status).or_default() += 1,
            Err(_) => tally.lost += 1,
        }
    }
    tally
}
