//! A Kubernetes API server with its database, and `kubectl`. There are no nodes, no scheduler and no
//! controllers: tests make the pods.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use rcgen::KeyPair;
use serde_json::{Value, json};
use sidegate_harness::{Process, eventually};

use crate::tools::{self, must, run};

const SERVER: &str = "https://127.0.0.1:6443";
const TOKEN: &str = "admin";

/// A running API server; ends when dropped.
#[derive(Debug)]
pub struct Kubernetes {
    directory: PathBuf,
    _server: Process,
    _database: Process,
}

impl Kubernetes {
    /// Starts one in this thread's network namespace, on the usual ports.
    pub async fn start(directory: &Path) -> Self {
        let path = |name: &str| directory.join(name);
        let mut etcd = Command::new(tools::kubernetes("etcd"));
        etcd.args(["--unsafe-no-fsync", "--data-dir"]).arg(path("etcd"));
        let database = Process::start(&mut etcd, &path("etcd.log"));

        let key = KeyPair::generate().expect("randomness");
        fs::write(path("service-account.key"), key.serialize_pem()).expect("a writable directory");
        fs::write(path("service-account.pub"), key.public_key_pem()).expect("the same");
        fs::write(path("tokens.csv"), format!("{TOKEN},admin,admin,system:masters\n")).expect("the same");
        fs::write(path("kubeconfig"), kubeconfig().to_string()).expect("the same");
        let mut server = Command::new(tools::kubernetes("kube-apiserver"));
        server
            .args(["--etcd-servers=http://127.0.0.1:2379", "--bind-address=127.0.0.1"])
            .args(["--advertise-address=10.77.0.1", "--service-cluster-ip-range=10.96.0.0/16"])
            .args(["--authorization-mode=RBAC", "--disable-admission-plugins=ServiceAccount"])
            .arg("--service-account-issuer=https://kubernetes.default.svc.cluster.local")
            .arg(format!("--service-account-key-file={}", path("service-account.pub").display()))
            .arg(format!("--service-account-signing-key-file={}", path("service-account.key").display()))
            .arg(format!("--token-auth-file={}", path("tokens.csv").display()))
            .arg(format!("--cert-dir={}", path("certificates").display()));
        let mut server = Process::start(&mut server, &path("kube-apiserver.log"));
        let kubectl = || kubectl(&path("kubeconfig"));
        eventually("the API server to be ready", async || {
            if let Some(status) = server.ended() {
                let log = fs::read_to_string(path("kube-apiserver.log")).unwrap_or_default();
                panic!("the API server ended with {status}: {log}");
            }
            run(kubectl().args(["get", "--raw", "/readyz"]), "").ok()
        })
        .await;
        Self { directory: directory.to_owned(), _server: server, _database: database }
    }

    /// The kubeconfig of this server.
    pub fn kubeconfig(&self) -> PathBuf {
        self.directory.join("kubeconfig")
    }

    /// Where `kubectl` caches what this server offers.
    pub fn cache(&self) -> PathBuf {
        cache(&self.kubeconfig())
    }

    /// `kubectl` without arguments yet.
    pub fn kubectl(&self) -> Command {
        kubectl(&self.kubeconfig())
    }

    /// Applies one manifest or several, in YAML or JSON: `kubectl apply`.
    ///
    /// # Errors
    ///
    /// The API server rejects one of them.
    pub fn try_apply(&self, manifests: &str) -> Result<String, String> {
        run(self.kubectl().args(["apply", "-f", "-"]), manifests)
    }

    /// [`Kubernetes::try_apply`] of valid manifests.
    pub fn apply(&self, manifests: impl ToString) {
        let manifests = manifests.to_string();
        self.try_apply(&manifests).unwrap_or_else(|error| panic!("{error}\n{manifests}"));
    }

    /// Deletes what [`Kubernetes::apply`] made.
    pub fn delete(&self, manifests: impl ToString) {
        let manifests = manifests.to_string();
        run(self.kubectl().args(["delete", "-f", "-"]), &manifests)
            .unwrap_or_else(|error| panic!("{error}\n{manifests}"));
    }

    /// What `kubectl` prints.
    pub fn ask(&self, arguments: &[&str]) -> String {
        must(self.kubectl().args(arguments))
    }
}

fn kubectl(kubeconfig: &Path) -> Command {
    let mut command = Command::new(tools::kubernetes("kubectl"));
    command.arg("--kubeconfig").arg(kubeconfig).arg("--cache-dir").arg(cache(kubeconfig));
    command
}

/// The cache belongs to this server, and is removed with it.
fn cache(kubeconfig: &Path) -> PathBuf {
    kubeconfig.with_file_name("kubectl")
}

fn kubeconfig() -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "mesh", "cluster": {"server": SERVER, "insecure-skip-tls-verify": true}}],
        "users": [{"name": "admin", "user": {"token": TOKEN}}],
        "contexts": [{"name": "mesh", "context": {"cluster": "mesh", "user": "admin"}}],
        "current-context": "mesh",
    })
}
