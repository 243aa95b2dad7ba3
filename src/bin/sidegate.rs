//! The `sidegate` command.

#[cfg(not(target_family = "wasm"))]
fn main() -> std::process::ExitCode {
    sidegate::cli::main()
}

/// The command does not exist for WebAssembly, but Cargo builds this file for it too.
#[cfg(target_family = "wasm")]
fn main() {}
