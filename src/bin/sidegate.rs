//! The `sidegate` command.

#[cfg(not(target_family = "wasm"))]
fn main() -> std::process::ExitCode {
    sidegate::cli::main()
}

/// There is no command where there is no system to run it on; Cargo builds it all the same.
#[cfg(target_family = "wasm")]
fn main() {}
