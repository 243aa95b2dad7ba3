//! Unnamed network namespaces: each belongs to a process that we hold, and disappears with the last process
//! in it.

use std::{
    ffi::OsStr,
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
};

use rustix::{
    fd::AsFd as _,
    thread::{LinkNameSpaceType, move_into_link_name_space},
};
use sidegate_harness::{Process, eventually};

/// A network namespace; ends when dropped, unless a process still runs in it.
#[derive(Debug)]
pub struct Namespace {
    holder: Process,
}

impl Namespace {
    /// Makes one whose loopback is up.
    pub async fn new(directory: &Path) -> Self {
        let ours = network(Path::new("/proc/self"));
        let mut command = Command::new("unshare");
        command.args(["--net", "sh", "-c", "ip link set lo up && exec sleep infinity"]);
        let log = directory.join("namespace.log");
        let mut holder = Process::start(&mut command, &log);
        let process = PathBuf::from(format!("/proc/{}", holder.id()));
        eventually("a network namespace", async || {
            if let Some(status) = holder.ended() {
                panic!("unshare ended with {status}: {}", fs::read_to_string(&log).unwrap_or_default());
            }
            let sleeping = fs::read(process.join("comm")).is_ok_and(|name| name == b"sleep\n");
            (sleeping && network(&process) != ours).then_some(())
        })
        .await;
        Self { holder }
    }

    /// The process that holds it: `nsenter --net --target ID` enters.
    pub fn id(&self) -> u32 {
        self.holder.id()
    }

    /// A command that will run inside.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", self.path().display())).arg("--").arg(program);
        command
    }

    /// Moves this thread inside, with everything that it opens and starts from now on.
    pub fn enter(&self) {
        enter(&self.path());
    }

    /// Runs a function inside, on this thread. A socket stays in the namespace that it was made in, wherever
    /// it is used later.
    pub fn inside<T>(&self, act: impl FnOnce() -> T) -> T {
        let outside = open(Path::new("/proc/thread-self/ns/net"));
        self.enter();
        let result = act();
        move_into(&outside);
        result
    }

    fn path(&self) -> PathBuf {
        format!("/proc/{}/ns/net", self.id()).into()
    }
}

fn network(process: &Path) -> Option<PathBuf> {
    fs::read_link(process.join("ns/net")).ok()
}

fn enter(path: &Path) {
    move_into(&open(path));
}

fn open(path: &Path) -> File {
    File::open(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn move_into(namespace: &File) {
    move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))
        .unwrap_or_else(|error| panic!("cannot enter a network namespace (this needs root): {error}"));
}
