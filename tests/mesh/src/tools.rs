//! The programs that `make mesh-tools` builds, and running commands to their end.

use std::{
    io::Write as _,
    path::PathBuf,
    process::{Command, Stdio},
};

use sidegate_harness::project;

/// A program or file of Istio's: `istiod`, `istioctl`, `pilot-agent`, `envoy_bootstrap.json`, `crds.yaml`,
/// `gateway-crds.yaml`.
pub fn istio(name: &str) -> PathBuf {
    built("istio", name)
}

/// A program of Kubernetes': `etcd`, `kube-apiserver`, `kubectl`.
pub fn kubernetes(name: &str) -> PathBuf {
    built("kubernetes", name)
}

fn built(group: &str, name: &str) -> PathBuf {
    let path = project("target/tools").join(group).join(name);
    assert!(path.is_file(), "{} is missing: run `make mesh-tools`", path.display());
    path
}

/// `PATH`, followed by the folder of Debian packages that were unpacked instead of installed.
pub fn path() -> String {
    format!("{}:{}", std::env::var("PATH").unwrap_or_default(), project("target/tools/debian/bin").display())
}

/// Runs a command and returns what it printed.
///
/// # Errors
///
/// It ended with a status other than 0. The error is everything that it printed.
pub fn run(command: &mut Command, input: &str) -> Result<String, String> {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("cannot start {}: {error}", command.get_program().display()));
    // A program may ignore its input.
    let _ = child.stdin.take().expect("it is piped").write_all(input.as_bytes());
    let output = child.wait_with_output().expect("a child of this process");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    match output.status.success() {
        true => Ok(text(&output.stdout)),
        false => Err(format!("{}{}", text(&output.stdout), text(&output.stderr))),
    }
}

/// [`run`] for commands that must succeed.
pub fn must(command: &mut Command) -> String {
    run(command, "").unwrap_or_else(|error| panic!("{command:?}: {error}"))
}
