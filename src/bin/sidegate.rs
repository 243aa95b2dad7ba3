//! The `sidegate` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    sidegate::cli::main()
}
