//! A real Envoy: started with a [`Setup`], queried through its admin port, and given new listeners while it
//! runs.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    io::Write as _,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use serde_json::{Value, json};
use tempfile::{NamedTempFile, TempDir};

use crate::{
    DEADLINE, Listener, Setup,
    client::{Request, Response, send, send_all, send_within},
    eventually, eventually_within, on_the_path,
    process::Process,
    project,
};

/// The version that `tools/envoy` installs.
const VERSION: &str = "1.40.0";

/// Counters and gauges by name.
pub type Stats = BTreeMap<String, u64>;

/// Envoy refused a configuration.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{details}\n{log}")]
pub struct Rejected {
    /// Envoy's reason.
    pub details: String,
    /// What was logged meanwhile, including the module's own reason.
    pub log: String,
}

/// A running Envoy; ends when dropped. If the test panics, its log goes to standard error.
#[derive(Debug)]
pub struct Envoy {
    process: Process,
    admin: SocketAddr,
    version: u64,
    main: String,
    listeners: Vec<Listener>,
    patience: Duration,
    directory: TempDir,
}

impl Envoy {
    /// Starts an Envoy that must accept its configuration.
    pub async fn start(setup: Setup) -> Self {
        Self::try_start(setup)
            .await
            .unwrap_or_else(|rejected| panic!("Envoy refused its configuration: {rejected}"))
    }

    /// Starts an Envoy and waits until it either serves all listeners or has refused one.
    pub async fn try_start(setup: Setup) -> Result<Self, Rejected> {
        let directory = TempDir::with_prefix("sidegate-envoy-").expect("a temporary directory");
        let lds = directory.path().join("lds");
        std::fs::create_dir(&lds).expect("a fresh directory");
        write_listeners(directory.path(), 1, &setup.listeners);
        let main = setup.listeners[0].name().into();
        let bootstrap = setup.bootstrap(&lds.join("lds.json"));
        let mut started =
            Self::launch(directory, main, &bootstrap, &setup.launcher, setup.patience, |envoy| {
                envoy.args(["--concurrency", &setup.workers.to_string(), "--log-level", setup.log_level]);
                envoy.args(["--drain-time-s", &setup.drain_seconds.to_string()]);
                envoy.args(["--component-log-level", setup.component_log_level]);
            })
            .await;
        started.listeners = setup.listeners;
        started.settled(1, 0, 0).await?;
        Ok(started)
    }

    /// Starts an Envoy with its own bootstrap, whose first listener counts as the main one, and waits until
    /// it is ready. The admin port is a free one, on the address in the bootstrap if it has one. `prepare`
    /// may add to the command.
    pub async fn run(mut bootstrap: Value, prepare: impl FnOnce(&mut Command)) -> Self {
        let admin = &mut bootstrap["admin"]["address"]["socket_address"];
        if admin["address"].is_null() {
            admin["address"] = json!("127.0.0.1");
        }
        admin["port_value"] = json!(0);
        let main = bootstrap["static_resources"]["listeners"][0]["name"]
            .as_str()
            .expect("a listener with a name")
            .into();
        let directory = TempDir::with_prefix("sidegate-envoy-").expect("a temporary directory");
        let started = Self::launch(directory, main, &bootstrap, &[], DEADLINE, prepare).await;
        eventually("Envoy to be ready", async || {
            let listening = started.stat("listener_manager.workers_started").await == 1;
            (listening && started.admin("/ready").await.status == 200).then_some(())
        })
        .await;
        started
    }

    async fn launch(
        directory: TempDir,
        main: String,
        bootstrap: &Value,
        launcher: &[OsString],
        patience: Duration,
        prepare: impl FnOnce(&mut Command),
    ) -> Self {
        let path = |name: &str| directory.path().join(name);
        std::fs::write(path("bootstrap.json"), bootstrap.to_string()).expect("a writable directory");
        let mut envoy = match launcher {
            [] => Command::new(envoy_binary()),
            [program, arguments @ ..] => {
                let mut under = Command::new(program);
                under.args(arguments).arg(envoy_binary());
                under
            }
        };
        envoy
            .args(["--disable-hot-restart", "--reject-unknown-dynamic-fields"])
            .args(["--file-flush-interval-msec", "20"])
            .args(["--drain-strategy", "immediate"])
            .arg("--config-path")
            .arg(path("bootstrap.json"))
            .arg("--admin-address-path")
            .arg(path("admin"));
        prepare(&mut envoy);
        let mut process = Process::start(&mut envoy, &path("log"));
        let admin = eventually_within(patience, "Envoy's admin port", async || match process.ended() {
            Some(status) => panic!("Envoy ended with {status}: {}", read(&path("log"))),
            None => read(&path("admin")).trim().parse().ok(),
        })
        .await;
        Self { process, admin, version: 1, main, listeners: Vec::new(), patience, directory }
    }

    /// The address of the first listener.
    pub async fn address(&self) -> SocketAddr {
        self.address_of(&self.main).await
    }

    /// The address of a listener.
    pub async fn address_of(&self, listener: &str) -> SocketAddr {
        let listeners = self.admin("/listeners?format=json").await.json();
        let found = listeners["listener_statuses"]
            .as_array()
            .into_iter()
            .flatten()
            .find(|each| each["name"] == listener);
        let socket = &found.unwrap_or_else(|| panic!("no listener {listener}: {listeners}"))["local_address"]
            ["socket_address"];
        let port = socket["port_value"].as_u64().and_then(|port| u16::try_from(port).ok()).expect("a port");
        ([127, 0, 0, 1], port).into()
    }

    /// Sends a request to the first listener, on a connection of its own.
    pub async fn send(&self, request: Request) -> Response {
        send(self.address().await, &request).await.unwrap_or_else(|error| panic!("{request:?}: {error}"))
    }

    /// Sends requests to the first listener over this many connections at once.
    pub async fn send_all(
        &self,
        connections: usize,
        requests: impl IntoIterator<Item = Request>,
    ) -> Vec<Response> {
        send_all(self.address().await, connections, requests).await
    }

    /// Replaces the listener of the same name, or adds it, and waits until every worker serves the new one
    /// and the old one is gone.
    pub async fn reload(&mut self, listener: Listener) -> Result<(), Rejected> {
        let (refused, seen) = (refused(&self.stats().await), self.log().len());
        self.version += 1;
        let mut listeners = self.listeners.clone();
        match listeners.iter_mut().find(|each| each.name() == listener.name()) {
            Some(old) => *old = listener,
            None => listeners.push(listener),
        }
        write_listeners(self.directory.path(), self.version, &listeners);
        self.settled(self.version, refused, seen).await?;
        self.listeners = listeners;
        Ok(())
    }

    /// All counters and gauges.
    pub async fn stats(&self) -> Stats {
        stats(&self.admin("/stats?format=json").await.json())
    }

    /// A counter or gauge, or 0 if none has that name.
    pub async fn stat(&self, name: &str) -> u64 {
        self.stats().await.get(name).copied().unwrap_or_default()
    }

    /// Envoy's dump of its configuration.
    pub async fn config_dump(&self) -> Value {
        self.admin("/config_dump?include_eds").await.json()
    }

    /// Asks the admin port.
    pub async fn admin(&self, path: &str) -> Response {
        send_within(self.patience, self.admin, &Request::get(path))
            .await
            .unwrap_or_else(|error| panic!("Envoy's admin port: {error}: {}", self.log()))
    }

    /// Where the admin port is.
    pub fn admin_address(&self) -> SocketAddr {
        self.admin
    }

    /// Everything logged so far, by Envoy and by the module.
    pub fn log(&self) -> String {
        read(&self.directory.path().join("log"))
    }

    /// The lines of the first listener's access log, once there are this many.
    pub async fn access_log(&self, lines: usize) -> Vec<String> {
        let path = self.directory.path().join(format!("{}.access", self.main));
        eventually(&format!("{lines} lines of access log"), async || {
            let log: Vec<_> = read(&path).lines().map(str::to_owned).collect();
            (log.len() >= lines).then_some(log)
        })
        .await
    }

    /// The process, for its id and for signals.
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// Waits until all workers serve the listeners of that version, or Envoy has refused one more update than
    /// `before`.
    async fn settled(&self, version: u64, refused: u64, seen: usize) -> Result<(), Rejected> {
        let done = eventually_within(self.patience, "the new listeners", async || {
            let stats = self.stats().await;
            let stat =
                |name: &str| stats.get(&format!("listener_manager.{name}")).copied().unwrap_or_default();
            let busy = stat("total_listeners_warming")
                + stat("total_listeners_draining")
                + stat("total_filter_chains_draining");
            if self::refused(&stats) > refused {
                return Some(false);
            }
            let current =
                self.admin("/stats?filter=lds.version_text").await.text().contains(&format!("\"{version}\""));
            (current && busy == 0 && stat("workers_started") == 1).then_some(true)
        })
        .await;
        if done {
            return Ok(());
        }
        let details = listener_errors(&self.config_dump().await).join("; ");
        Err(Rejected { details, log: self.log().split_off(seen) })
    }
}

impl Drop for Envoy {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let _ = writeln!(std::io::stderr(), "--- Envoy's log\n{}---", self.log());
        }
    }
}

/// The counters and gauges in an answer to `/stats?format=json`.
pub fn stats(answer: &Value) -> Stats {
    let stats = answer["stats"].as_array().into_iter().flatten();
    stats.filter_map(|stat| Some((stat["name"].as_str()?.to_owned(), stat["value"].as_u64()?))).collect()
}

/// Lets Envoy check a bootstrap file. Its output is the error.
pub fn validate(bootstrap: &Path) -> Result<(), String> {
    let mut envoy = Command::new(envoy_binary());
    envoy
        .args(["--mode", "validate", "--log-level", "error", "--disable-hot-restart", "--config-path"])
        .arg(bootstrap);
    let output =
        envoy.output().unwrap_or_else(|error| panic!("cannot start {}: {error}", envoy_binary().display()));
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
}

/// `ENVOY`, or `envoy` on the path, or the one that `make setup` installed.
pub fn envoy_binary() -> PathBuf {
    let envoy = std::env::var_os("ENVOY").map(PathBuf::from).or_else(|| on_the_path("envoy"));
    let envoy = envoy.unwrap_or_else(|| project(format!("target/tools/envoy-{VERSION}/envoy")));
    assert!(envoy.is_file(), "{} is missing: run `make setup`", envoy.display());
    envoy
}

/// Listener updates that failed so far: refused by a part of Envoy or by the module, or not even read.
fn refused(stats: &Stats) -> u64 {
    let count = |name: &str| stats.get(&format!("listener_manager.lds.{name}")).copied().unwrap_or_default();
    count("update_rejected") + count("update_failure")
}

fn write_listeners(directory: &Path, version: u64, listeners: &[Listener]) {
    let resources: Vec<_> = listeners.iter().map(|listener| listener.resource(directory)).collect();
    let mut file = NamedTempFile::new_in(directory).expect("a temporary file");
    write!(file, "{}", json!({"version_info": version.to_string(), "resources": resources}))
        .expect("a writable file");
    file.persist(directory.join("lds/lds.json")).expect("a rename within a directory");
}

fn listener_errors(dump: &Value) -> Vec<String> {
    let configs = dump["configs"].as_array().into_iter().flatten();
    let listeners = configs.filter_map(|config| config["dynamic_listeners"].as_array()).flatten();
    listeners.filter_map(|listener| listener["error_state"]["details"].as_str()).map(str::to_owned).collect()
}

fn read(path: &Path) -> String {
    std::fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}
