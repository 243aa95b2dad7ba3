//! The process that keeps the mesh: how it is started, detached, and ended.

use std::{
    error::Error,
    fs,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
};

use sidegate_harness::project;
use sidegate_mesh::{ask_to_end_and_wait, leave_the_terminal};
use tokio::signal::unix::{SignalKind, signal};

use crate::{parts::Parts, tour};

/// The files of a running mesh for its users.
pub fn directory() -> PathBuf {
    project("target/mesh")
}

fn pid_file() -> PathBuf {
    directory().join("pid")
}

/// Starts a keeper and prints its output until it detaches or ends.
pub fn up() -> ExitCode {
    if let Some(id) = running() {
        println!("a mesh is running already (process {id}); `make mesh-down` ends it");
        return ExitCode::FAILURE;
    }
    match start() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            println!("the mesh does not start: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Returns whether the keeper still runs after it has detached from the terminal.
fn start() -> Result<bool, Box<dyn Error>> {
    fs::create_dir_all(directory())?;
    let mut keeper = Command::new("setsid")
        .arg(std::env::current_exe()?)
        .arg("keep")
        // `down` removes everything that it writes, also after a keeper was killed.
        .env("TMPDIR", directory())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()?;
    let output = keeper.stdout.take().ok_or("no output")?;
    for line in BufReader::new(output).lines() {
        println!("{}", line?);
    }
    Ok(match running() {
        Some(_) => true,
        None => keeper.wait()?.success(),
    })
}

/// Ends the keeper, and with it everything that it started.
pub fn down() -> ExitCode {
    let Some(id) = running() else {
        println!("no mesh is running");
        return clear();
    };
    ask_to_end_and_wait(id);
    println!("the mesh has ended");
    clear()
}

fn clear() -> ExitCode {
    match fs::remove_dir_all(directory()) {
        Err(error) if directory().exists() => {
            println!("{}: {error}", directory().display());
            ExitCode::FAILURE
        }
        _ => ExitCode::SUCCESS,
    }
}

/// The process id of the keeper, if it runs.
fn running() -> Option<i32> {
    let id = fs::read_to_string(pid_file()).ok()?.trim().parse().ok()?;
    // Another process may have the id now.
    let arguments = fs::read(format!("/proc/{id}/cmdline")).ok()?;
    let mut words = arguments.split(|byte| *byte == 0);
    let program = words.next().and_then(|word| std::str::from_utf8(word).ok()).map(Path::new)?;
    (program.file_name()? == "mesh" && words.next() == Some(b"keep")).then_some(id)
}

/// Starts a mesh, walks the tour, and keeps the mesh until it receives a signal to end.
pub fn keep() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let kept = runtime.map_err(Into::into).and_then(|runtime| runtime.block_on(run()));
    match kept {
        Ok(outcome) => outcome,
        Err(error) => {
            println!("the mesh does not start: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<ExitCode, Box<dyn Error>> {
    let mut end = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    fs::write(pid_file(), std::process::id().to_string())?;
    let outcome = tokio::select! {
        outcome = show() => outcome,
        _ = end.recv() => Ok(ExitCode::SUCCESS),
        _ = interrupt.recv() => Ok(ExitCode::SUCCESS),
    };
    fs::remove_file(pid_file())?;
    outcome
}

/// Ends early if an answer on the tour was wrong.
async fn show() -> Result<ExitCode, Box<dyn Error>> {
    let parts = Parts::start().await?;
    if tour::walk(&parts).await? != 0 {
        return Ok(ExitCode::FAILURE);
    }
    parts.print_commands().await?;
    leave_the_terminal(&directory().join("log"))?;
    std::future::pending().await
}
