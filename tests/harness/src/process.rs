//! Child processes that cannot outlive this process.

use std::{
    fs::File,
    path::Path,
    process::{Child, ChildStdout, Command, ExitStatus, Stdio},
};

use rustix::process::{Pid, Signal};

/// Waits until its parent is gone, for whatever reason, and then ends the given process.
const LEASH: &str = r#"trap "" INT TERM HUP; read -r _; kill -KILL "$1" 2>/dev/null"#;

/// A running child process. Ends when dropped. If this process is killed, a leash (a shell that reads from
/// this process) ends it.
#[derive(Debug)]
pub struct Process {
    child: Child,
    leash: Child,
}

impl Process {
    /// Starts `command` with all its output in the file `log`.
    pub fn start(command: &mut Command, log: &Path) -> Self {
        let stdout = File::create(log).expect("a log file");
        let stderr = stdout.try_clone().expect("an open file");
        Self::leashed(command.stdout(stdout).stderr(stderr))
    }

    /// Starts `command` with standard error in the file `log`, and returns its standard output.
    pub fn start_and_listen(command: &mut Command, log: &Path) -> (Self, ChildStdout) {
        let stderr = File::create(log).expect("a log file");
        let mut process = Self::leashed(command.stdout(Stdio::piped()).stderr(stderr));
        let stdout = process.child.stdout.take().expect("it is piped");
        (process, stdout)
    }

    fn leashed(command: &mut Command) -> Self {
        let mut child = command
            .stdin(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {}: {error}", command.get_program().display()));
        let leash = Command::new("sh")
            .args(["-c", LEASH, "leash", &child.id().to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        match leash {
            Ok(leash) => Self { child, leash },
            Err(error) => {
                let _ = child.kill();
                panic!("cannot start a shell: {error}");
            }
        }
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// How much memory it has, in bytes (Linux).
    pub fn memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id())).unwrap_or_default();
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.strip_suffix("kB"));
        let kilobytes: u64 = resident.and_then(|kilobytes| kilobytes.trim().parse().ok()).expect("a process");
        kilobytes << 10
    }

    /// Its exit status, if it has ended.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("a child of this process")
    }

    /// Stops it like a dependency that hangs: its sockets still accept connections.
    pub fn freeze(&self) {
        self.signal(Signal::STOP);
    }

    /// Continues it after [`Process::freeze`].
    pub fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        rustix::process::kill_process(Pid::from_child(&self.child), signal).expect("a child of this process");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        for process in [&mut self.child, &mut self.leash] {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}
