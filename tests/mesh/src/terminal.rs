//! Running without a terminal.

use std::{
    fs::{File, OpenOptions},
    io,
    path::Path,
};

use rustix::{
    event::{PollFd, PollFlags, poll},
    process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal},
    stdio::{dup2_stderr, dup2_stdout},
};

/// Redirects standard output and error to the end of a file, which closes them for the terminal.
///
/// # Errors
///
/// The file cannot be written.
pub fn leave_the_terminal(log: &Path) -> io::Result<()> {
    let log: File = OpenOptions::new().create(true).append(true).open(log)?;
    dup2_stdout(&log)?;
    dup2_stderr(&log)?;
    Ok(())
}

/// Asks a process to end, and waits until it has ended. Does nothing if it has ended already.
pub fn ask_to_end_and_wait(id: i32) {
    let Some(process) = Pid::from_raw(id).and_then(|id| pidfd_open(id, PidfdFlags::empty()).ok()) else {
        return;
    };
    let _ = pidfd_send_signal(&process, Signal::TERM);
    // It becomes readable when the process ends.
    let _ = poll(&mut [PollFd::new(&process, PollFlags::IN)], None);
}
