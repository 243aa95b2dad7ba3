//! A real rate limit service: envoyproxy/ratelimit, which counts in a [`Redis`](crate::Redis).

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
};

use tempfile::TempDir;

use crate::{
    DEADLINE, eventually, free_addresses,
    process::Process,
    project,
    rls::{GrpcClient, RateLimitRequest, RateLimitResponse},
};

/// Its configuration for a domain without limits of its own: all come with the calls.
pub fn domain(name: &str) -> String {
    format!("domain: {name}\n")
}

/// A running rate limit service; ends when dropped.
#[derive(Debug)]
pub struct RateLimit {
    process: Option<Process>,
    address: SocketAddr,
    others: [SocketAddr; 2],
    redis: SocketAddr,
    settings: Vec<(String, String)>,
    directory: TempDir,
}

impl RateLimit {
    /// Starts one on a free port of loopback, for the domain `sidegate`, which counts in the Redis at this
    /// address.
    pub async fn start(redis: SocketAddr) -> Self {
        Self::start_with(redis, &domain("sidegate"), &[]).await
    }

    /// Starts one with its own configuration (YAML) and settings, which are environment variables.
    pub async fn start_with(redis: SocketAddr, configuration: &str, settings: &[(&str, &str)]) -> Self {
        let [address, others @ ..] = free_addresses::<3>();
        let directory = TempDir::with_prefix("sidegate-ratelimit-").expect("a temporary directory");
        let config = directory.path().join("runtime/config");
        std::fs::create_dir_all(&config).expect("a writable directory");
        std::fs::write(config.join("sidegate.yaml"), configuration).expect("a writable directory");
        let settings = settings.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        let mut service = Self { process: None, address, others, redis, settings, directory };
        service.restart().await;
        service
    }

    /// Where it listens for gRPC, also after [`RateLimit::restart`].
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
        let [http, debug] = self.others;
        let log = self.log_file();
        let mut command = Command::new(program());
        command
            .env_clear()
            .envs([("DISABLE_STATS", "true"), ("LOG_LEVEL", "info"), ("REDIS_SOCKET_TYPE", "tcp")])
            .envs([("GRPC_HOST", "127.0.0.1"), ("HOST", "127.0.0.1"), ("DEBUG_HOST", "127.0.0.1")])
            .env("GRPC_PORT", self.address.port().to_string())
            .env("PORT", http.port().to_string())
            .env("DEBUG_PORT", debug.port().to_string())
            .env("REDIS_URL", self.redis.to_string())
            .env("RUNTIME_ROOT", self.directory.path())
            .env("RUNTIME_SUBDIRECTORY", "runtime")
            .env("RUNTIME_WATCH_ROOT", "false")
            .envs(self.settings.iter().map(|(name, value)| (name, value)));
        let mut process = Process::start(&mut command, &log);
        eventually("the rate limit service to answer", async || {
            assert!(process.ended().is_none(), "the rate limit service ended: {}", read(&log));
            self.healthy().await.then_some(())
        })
        .await;
        self.process = Some(process);
    }

    /// The process, for signals. Panics after [`RateLimit::stop`].
    pub fn process(&self) -> &Process {
        self.process.as_ref().expect("it runs")
    }

    /// Whether the process has ended by itself.
    pub fn ended(&mut self) -> bool {
        self.process.as_mut().is_none_or(|process| process.ended().is_some())
    }

    /// Everything logged so far.
    pub fn log(&self) -> String {
        read(&self.log_file())
    }

    /// Sends one call. An error is the gRPC status.
    pub async fn ask(&self, request: RateLimitRequest) -> Result<RateLimitResponse, u32> {
        let asking = async {
            let connected = GrpcClient::connect(self.address).await;
            connected.map_err(|_| UNAVAILABLE)?.should_rate_limit(&request).await
        };
        tokio::time::timeout(DEADLINE, asking).await.expect("an answer or a status within the deadline")
    }

    async fn healthy(&self) -> bool {
        let [http, _] = self.others;
        let healthy = crate::send(http, &crate::Request::get("/healthcheck")).await;
        healthy.is_ok_and(|answer| answer.status == 200)
            && tokio::net::TcpStream::connect(self.address).await.is_ok()
    }

    fn log_file(&self) -> PathBuf {
        self.directory.path().join("ratelimit.log")
    }
}

/// The gRPC status of a peer that cannot be reached.
const UNAVAILABLE: u32 = 14;

/// The program that `make setup` built.
fn program() -> PathBuf {
    let path = project("target/tools/ratelimit/ratelimit");
    assert!(path.is_file(), "{} is missing: run `make setup`", path.display());
    path
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}
