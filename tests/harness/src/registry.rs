//! A real container registry: Debian's `docker-registry`.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::json;
use tempfile::TempDir;

use crate::{debian, eventually, process::Process};

/// A URL, because Istio's agent accepts nothing else.
const REALM: &str = "https://registry.example.com";

/// A running registry that speaks plain HTTP; ends when dropped. What was pushed stays as long as its
/// directory.
#[derive(Debug)]
pub struct Registry {
    process: Process,
    address: SocketAddr,
    directory: PathBuf,
    _temporary: Option<TempDir>,
}

impl Registry {
    /// Starts an empty one on a free port of loopback, open to everybody.
    pub async fn start() -> Self {
        Self::start_for(None).await
    }

    /// Starts an empty one on a free port of loopback, which requires this name and password if they are
    /// given.
    pub async fn start_for(login: Option<(&str, &str)>) -> Self {
        Self::start_with_realm(login, REALM).await
    }

    /// [`Registry::start_for`] with another realm.
    pub async fn start_with_realm(login: Option<(&str, &str)>, realm: &str) -> Self {
        let temporary = TempDir::with_prefix("sidegate-registry-").expect("a temporary directory");
        let address = (Ipv4Addr::LOCALHOST, 0).into();
        let started = Self::serve(address, temporary.path(), login, realm).await;
        Self { _temporary: Some(temporary), ..started }
    }

    /// Starts one on an address (port 0 is a free one), with what was pushed to `directory` before: for a
    /// registry that is restarted, or one that other machines reach.
    pub async fn start_on(address: SocketAddr, directory: &Path, login: Option<(&str, &str)>) -> Self {
        Self::serve(address, directory, login, REALM).await
    }

    async fn serve(address: SocketAddr, directory: &Path, login: Option<(&str, &str)>, realm: &str) -> Self {
        let mut configuration = json!({
            "version": "0.1",
            "log": {"level": "info"},
            "storage": {"filesystem": {"rootdirectory": directory}},
            "http": {"addr": address.to_string(), "secret": "sidegate"},
        });
        if let Some((name, password)) = login {
            const CHEAP: u32 = 4;
            let digest = bcrypt::hash(password, CHEAP).expect("a short password");
            let users = directory.join("htpasswd");
            std::fs::write(&users, format!("{name}:{digest}\n")).expect("a writable directory");
            configuration["auth"] = json!({"htpasswd": {"realm": realm, "path": users}});
        }
        let (file, log) = (directory.join("registry.yaml"), directory.join("registry.log"));
        std::fs::write(&file, configuration.to_string()).expect("a writable directory");
        let mut process =
            Process::start(Command::new(debian("docker-registry")).arg("serve").arg(file), &log);
        let address = eventually("the registry to listen", async || {
            let log = std::fs::read_to_string(&log).unwrap_or_default();
            assert!(process.ended().is_none(), "the registry ended: {log}");
            let (_, after) = log.split_once("listening on ")?;
            after.split_once('"')?.0.parse().ok()
        })
        .await;
        Self { process, address, directory: directory.into(), _temporary: None }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The file that contains the blob with this digest (`sha256:…`).
    pub fn blob(&self, digest: &str) -> PathBuf {
        let hex = digest.strip_prefix("sha256:").expect("a SHA-256 digest");
        self.directory.join("docker/registry/v2/blobs/sha256").join(&hex[..2]).join(hex).join("data")
    }

    /// The process, for signals.
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// Ends it, as dropping it does.
    pub fn stop(self) {}
}
