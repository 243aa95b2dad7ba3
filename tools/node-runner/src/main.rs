//! Runs a test binary that was built for wasm32-unknown-unknown, on Node.

fn main() -> anyhow::Result<()> {
    wasm_bindgen_cli::wasm_bindgen_test_runner::run_cli_with_args(std::env::args_os())
}
