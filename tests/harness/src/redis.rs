//! A real Redis: Debian's `redis-server`.

use std::{net::SocketAddr, process::Command};

use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::{debian, eventually, free_addresses, process::Process};

/// A running Redis; ends when dropped.
#[derive(Debug)]
pub struct Redis {
    process: Option<Process>,
    address: SocketAddr,
    persistence: Persistence,
    directory: TempDir,
}

/// What a [`Redis`] still has after a restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Persistence {
    /// Nothing.
    None,
    /// Everything that it acknowledged.
    Always,
}

impl Redis {
    /// Starts an empty one on a free port of loopback, which forgets everything when it ends.
    pub async fn start() -> Self {
        Self::start_with(Persistence::None).await
    }

    /// Starts an empty one which has lost nothing when it is started again.
    pub async fn start_persistent() -> Self {
        Self::start_with(Persistence::Always).await
    }

    async fn start_with(persistence: Persistence) -> Self {
        let [address] = free_addresses();
        let directory = TempDir::with_prefix("sidegate-redis-").expect("a temporary directory");
        let mut redis = Self { process: None, address, persistence, directory };
        redis.restart().await;
        redis
    }

    /// Where it listens, also after [`Redis::restart`].
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Kills it.
    pub fn stop(&mut self) {
        self.process = None;
    }

    /// Kills it if it runs, and starts it on the same port.
    pub async fn restart(&mut self) {
        self.stop();
        let durable = if self.persistence == Persistence::Always { "yes" } else { "no" };
        let log = self.directory.path().join("redis.log");
        let mut command = Command::new(debian("redis-server"));
        command
            .args(["--bind", "127.0.0.1", "--port", &self.address.port().to_string()])
            .args(["--save", "", "--appendonly", durable, "--appendfsync", "always"])
            .arg("--dir")
            .arg(self.directory.path());
        let mut process = Process::start(&mut command, &log);
        eventually("Redis to answer", async || {
            let log = || std::fs::read_to_string(&log).unwrap_or_default();
            assert!(process.ended().is_none(), "Redis ended: {}", log());
            (ask(self.address, "PING").await? == "+PONG\r\n").then_some(())
        })
        .await;
        self.process = Some(process);
    }

    /// The process, for signals. Panics after [`Redis::stop`].
    pub fn process(&self) -> &Process {
        self.process.as_ref().expect("it runs")
    }

    /// The number of its keys.
    pub async fn keys(&self) -> u64 {
        self.number("DBSIZE").await
    }

    /// The sum of all its counters.
    pub async fn counted(&self) -> u64 {
        self.counted_up_to(u64::MAX >> 16).await
    }

    /// The sum of all its counters, of each no more than `most`.
    pub async fn counted_up_to(&self, most: u64) -> u64 {
        let script = format!(
            "local sum = 0 for _, key in ipairs(redis.call('KEYS', '*')) do \
             sum = sum + math.min({most}, redis.call('GET', key)) end return sum"
        );
        self.number(&format!("EVAL \"{script}\" 0")).await
    }

    /// Deletes all its keys.
    pub async fn clear(&self) {
        assert_eq!(ask(self.address, "FLUSHALL").await.as_deref(), Some("+OK\r\n"));
    }

    async fn number(&self, command: &str) -> u64 {
        let answer = ask(self.address, command).await.expect("it runs");
        let digits = answer.trim().strip_prefix(':').expect("an integer");
        digits.parse().expect("an integer")
    }
}

/// What it answers to a command, if it is short.
async fn ask(address: SocketAddr, command: &str) -> Option<String> {
    let mut stream = TcpStream::connect(address).await.ok()?;
    stream.write_all(format!("{command}\r\n").as_bytes()).await.ok()?;
    let mut answer = [0; 512];
    let length = stream.read(&mut answer).await.ok()?;
    Some(String::from_utf8_lossy(&answer[..length]).into_owned())
}
