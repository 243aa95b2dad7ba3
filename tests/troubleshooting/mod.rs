//! The commands in `docs/troubleshooting.md`, and a shell in which they run.
#![allow(dead_code, reason = "each test that runs commands uses a part of this")]

use std::{
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command as Process,
};

use sidegate_harness::project;
use tempfile::TempDir;

/// A command, and what the page shows of its output.
#[derive(Clone, Debug)]
pub struct Command {
    pub text: String,
    pub shown: String,
}

/// Where a command is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Against a real Envoy and a real OAuth2 server: `tests/envoy_troubleshooting.rs`.
    Envoy,
    /// Against a real Hydra: `tests/hydra.rs`.
    Hydra,
    /// In a real Istio: `tests/istio_mesh`.
    Mesh,
    /// Nowhere: it needs a Keycloak, or pods that a kubelet runs.
    Nowhere,
    Unknown,
}

impl Command {
    /// Where it is run.
    pub fn place(&self) -> Place {
        let has = |part: &str| self.text.contains(part);
        match () {
            () if has("date -u") => Place::Envoy,
            () if has("kcadm.sh") || has("istioctl proxy-config") => Place::Nowhere,
            () if has("hydra ") || has("hydra-admin") => Place::Hydra,
            () if has("istioctl") || has("kubectl get virtualservices") => Place::Mesh,
            () if has("curl ") || has("TOKEN") || has("kubectl ") || has("sidegate ") => Place::Envoy,
            () => Place::Unknown,
        }
    }
}

/// The page.
pub fn page() -> String {
    std::fs::read_to_string(project("docs/troubleshooting.md")).expect("the page")
}

/// The commands of a page's consoles.
pub fn commands(page: &str) -> Vec<Command> {
    let mut commands: Vec<Command> = Vec::new();
    let mut block: Option<(usize, bool)> = None;
    for line in page.lines() {
        let fence = line.trim_start();
        match block {
            None if fence == "```console" => block = Some((line.len().saturating_sub(fence.len()), false)),
            None => {}
            Some(_) if fence == "```" => block = None,
            Some((indent, is_open)) => {
                let line = line.get(indent..).unwrap_or_default();
                let goes_on =
                    |text: &str| text.ends_with('\\') || text.starts_with("for ") && !text.ends_with("done");
                if let Some(text) = line.strip_prefix("$ ") {
                    commands.push(Command { text: text.to_owned(), shown: String::new() });
                    block = Some((indent, goes_on(text)));
                } else if let Some(last) = commands.last_mut() {
                    let to = if is_open { &mut last.text } else { &mut last.shown };
                    if !to.is_empty() {
                        to.push('\n');
                    }
                    to.push_str(line);
                    let still = is_open && goes_on(&last.text);
                    block = Some((indent, still));
                }
            }
        }
    }
    commands
}

/// A shell whose `kubectl` and `sidegate` are those of a test.
pub struct Shell {
    directory: TempDir,
}

impl Shell {
    pub fn new() -> Self {
        let shell =
            Self { directory: TempDir::with_prefix("sidegate-shell-").expect("a temporary directory") };
        shell.program("sidegate", &format!("exec {} \"$@\"", env!("CARGO_BIN_EXE_sidegate")));
        shell
    }

    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    pub fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path().join(name), text).expect("a writable directory");
    }

    /// What `kubectl` does.
    pub fn kubectl(&self, script: &str) {
        self.program("kubectl", script);
    }

    /// A program with this script.
    pub fn program(&self, name: &str, script: &str) {
        let path: PathBuf = self.path().join(name);
        std::fs::write(&path, format!("#!/bin/bash\n{script}\n")).expect("a writable directory");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("its own file");
    }

    /// What the command prints. It must succeed.
    pub async fn run(&self, command: &str, variables: &[(String, String)]) -> String {
        let mut bash = Process::new("bash");
        bash.arg("-c")
            .arg(format!("PATH={}:$PATH; {command}", self.path().display()))
            .current_dir(self.path())
            .envs(variables.iter().cloned());
        let output = tokio::task::spawn_blocking(move || bash.output()).await.expect("no panic");
        let output = output.expect("bash");
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{command}: {printed}{said}");
        printed
    }
}
