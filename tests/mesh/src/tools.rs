//! Where the programs are that `make mesh-tools` built, and how commands are run to their end.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

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

/// `PATH` with Debian's packages that were unpacked, rather than installed, behind what the machine has itself.
pub fn path() -> String {
    format!("{}:{}", std::env::var("PATH").unwrap_or_default(), project("target/tools/debian/bin").display())
}

/// What a command printed, or what it complained about.
///
/// # Errors
///
/// It ended with another status than 0.
pub fn run(command: &mut Command, input: &str) -> Result<String, String> {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("cannot start {}: {error}", command.get_program().display()));
    // A program that does not read its input is not wrong for that.
    let _ = child.stdin.take().expect("it is piped").write_all(input.as_bytes());
    let output = child.wait_with_output().expect("a child of ours");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    match output.status.success() {
        true => Ok(text(&output.stdout)),
        false => Err(format!("{}{}", text(&output.stdout), text(&output.stderr))),
    }
}

/// [`run`] for what must work.
pub fn must(command: &mut Command) -> String {
    run(command, "").unwrap_or_else(|error| panic!("{command:?}: {error}"))
}
