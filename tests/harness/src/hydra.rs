//! A real ORY Hydra, with its database in memory.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
};

use base64::prelude::{BASE64_STANDARD as BASE64, Engine as _};
use serde_json::Value;
use tempfile::TempDir;

use crate::{
    client::{Request, send},
    eventually, free_addresses,
    process::Process,
    project,
};

/// A running Hydra; ends when dropped.
#[derive(Debug)]
pub struct Hydra {
    _process: Process,
    public: SocketAddr,
    admin: SocketAddr,
    directory: TempDir,
}

/// A client that Hydra has registered.
#[derive(Clone, Debug)]
pub struct HydraClient {
    /// Its id.
    pub id: String,
    secret: String,
}

impl HydraClient {
    /// Its secret.
    pub fn secret(&self) -> &str {
        &self.secret
    }
}

impl Hydra {
    /// Starts one on free ports of loopback.
    pub async fn start() -> Self {
        let [public, admin] = free_addresses::<2>();
        let directory = TempDir::with_prefix("sidegate-hydra-").expect("a temporary directory");
        let log = directory.path().join("hydra.log");
        let mut command = program(directory.path());
        command
            .args(["serve", "all", "--dev", "--sqa-opt-out"])
            .env("DSN", "memory")
            .env("SECRETS_SYSTEM", "the-secret-of-the-tests")
            .env("URLS_SELF_ISSUER", issuer(public))
            .envs([("SERVE_PUBLIC_HOST", "127.0.0.1"), ("SERVE_ADMIN_HOST", "127.0.0.1")])
            .env("SERVE_PUBLIC_PORT", public.port().to_string())
            .env("SERVE_ADMIN_PORT", admin.port().to_string());
        let mut process = Process::start(&mut command, &log);
        eventually("Hydra to be ready", async || {
            let said = || std::fs::read_to_string(&log).unwrap_or_default();
            assert!(process.ended().is_none(), "Hydra ended: {}", said());
            let ready = send(admin, &Request::get("/health/ready")).await;
            ready.is_ok_and(|answer| answer.status == 200).then_some(())
        })
        .await;
        Self { _process: process, public, admin, directory }
    }

    /// Its issuer name.
    pub fn issuer(&self) -> String {
        issuer(self.public)
    }

    /// Where its admin port listens.
    pub fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// Registers a client for client credentials. Lists are separated by commas.
    pub fn register(&self, scopes: &str, audiences: &str) -> HydraClient {
        let arguments = ["create", "client", "--grant-type", "client_credentials", "--scope", scopes];
        let client = self.run(&[&arguments[..], &["--audience", audiences]].concat());
        let text = |name: &str| client[name].as_str().unwrap_or_else(|| panic!("{client}")).to_owned();
        HydraClient { id: text("client_id"), secret: text("client_secret") }
    }

    /// Runs a command of Hydra's own against its admin port, and returns what it prints.
    pub fn run(&self, arguments: &[&str]) -> Value {
        let endpoint = format!("http://{}", self.admin);
        let output = program(self.directory.path())
            .args(arguments)
            .args(["--endpoint", &endpoint, "--format", "json"])
            .output()
            .expect("it can be started");
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).expect("JSON")
    }

    /// A token for a client. `scope` and `audience` may be empty.
    pub async fn token(&self, client: &HydraClient, scope: &str, audience: &str) -> String {
        let form = [("grant_type", "client_credentials"), ("scope", scope), ("audience", audience)];
        let answer = self.post("/oauth2/token", client, &form).await;
        answer["access_token"].as_str().unwrap_or_else(|| panic!("no token: {answer}")).to_owned()
    }

    /// Revokes a token.
    pub async fn revoke(&self, client: &HydraClient, token: &str) {
        self.post("/oauth2/revoke", client, &[("token", token)]).await;
    }

    async fn post(&self, path: &str, client: &HydraClient, form: &[(&str, &str)]) -> Value {
        let credentials = BASE64.encode(format!("{}:{}", client.id, client.secret));
        let form = form.iter().filter(|(_, value)| !value.is_empty());
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        let request = Request::new("POST", path)
            .header("content-type", "application/x-www-form-urlencoded")
            .header("authorization", format!("Basic {credentials}"))
            .body(body);
        let answer = send(self.public, &request).await.expect("an answer");
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        if answer.text().is_empty() { Value::Null } else { answer.json() }
    }
}

fn issuer(public: SocketAddr) -> String {
    format!("http://{public}")
}

/// The program that `make test-hydra` builds. It needs a home, and takes settings from its environment.
fn program(home: &Path) -> Command {
    let path: PathBuf = project("target/tools/hydra/hydra");
    assert!(path.is_file(), "{} is missing: run `make test-hydra`", path.display());
    let mut command = Command::new(path);
    command.env_clear().env("HOME", home);
    command
}
