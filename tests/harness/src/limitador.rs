//! A rate limit service with the engine of Limitador (`tests/limitador`), which counts in its memory.

use std::{
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    process::Command,
};

use tempfile::TempDir;

use crate::{process::Process, project};

/// A running rate limit service with Limitador's engine; ends when dropped.
#[derive(Debug)]
pub struct Limitador {
    address: SocketAddr,
    _process: Process,
    _directory: TempDir,
}

impl Limitador {
    /// Starts one with these limits (YAML) on a free port of loopback.
    pub async fn start(limits: &str) -> Self {
        let directory = TempDir::with_prefix("sidegate-limitador-").expect("a temporary directory");
        let (file, log) = (directory.path().join("limits.yaml"), directory.path().join("limitador.log"));
        std::fs::write(&file, limits).expect("a writable directory");
        let program = project("target/tools/limitador/sidegate-limitador");
        assert!(program.is_file(), "{} is missing: run `make limitador`", program.display());
        let (process, output) = Process::start_and_listen(Command::new(program).arg(file), &log);
        let read = tokio::task::spawn_blocking(move || {
            let mut line = String::new();
            BufReader::new(output).read_line(&mut line).map(|_| line)
        });
        let line = read.await.expect("no panic").unwrap_or_default();
        let told = || std::fs::read_to_string(&log).unwrap_or_default();
        let address = line.trim().parse().unwrap_or_else(|_| panic!("it ended: {}", told()));
        Self { address, _process: process, _directory: directory }
    }

    /// Where it listens for gRPC.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}
