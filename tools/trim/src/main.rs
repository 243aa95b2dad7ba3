//! Removes the exports of callbacks that do nothing in Sidegate from a proxy-wasm module. Every other byte
//! stays.
//!
//! Envoy calls every callback that a module exports, and the SDK exports them all: bodies, trailers, TCP,
//! shared queues. Each such call enters the VM for nothing, on every request. A callback that the filter
//! begins to use must be added here.
//!
//!     sidegate-trim BUILT PUBLISHED    reads what Cargo built and publishes the trimmed module, in one step
//!
//! Several may run at once: readers of PUBLISHED see a whole trimmed module at every moment.

use std::{
    fs::{self, Permissions},
    io::Write as _,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail, ensure};
use wasm_encoder::{ExportKind, ExportSection, Module, RawSection};
use wasmparser::{ExternalKind, Parser, Payload};

/// What the host cannot do without, and the callbacks that `src/hosts/proxy_wasm.rs` implements.
const EXPORTS: [&str; 15] = [
    "memory",
    "_initialize",
    "proxy_abi_version_0_2_1",
    "proxy_on_memory_allocate",
    "proxy_on_context_create",
    "proxy_on_vm_start",
    "proxy_on_configure",
    "proxy_on_tick",
    "proxy_on_request_headers",
    "proxy_on_request_trailers",
    "proxy_on_response_headers",
    "proxy_on_http_call_response",
    "proxy_on_grpc_receive",
    "proxy_on_grpc_close",
    "proxy_on_delete",
];

/// The size budget of the module, in bytes (2.5 MiB).
const BUDGET: usize = 5 * 512 * 1024;

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args_os().skip(1).map(PathBuf::from);
    let (Some(built), Some(published), None) = (arguments.next(), arguments.next(), arguments.next()) else {
        bail!("usage: sidegate-trim BUILT PUBLISHED");
    };
    let size = publish(&built, &published)?;
    println!("{}: {} KiB of {} KiB", published.display(), size.div_ceil(1024), BUDGET / 1024);
    ensure!(size <= BUDGET, "the module is larger than its budget");
    Ok(())
}

/// Trims `built` and puts the result in the place of `published`. Returns its size.
fn publish(built: &Path, published: &Path) -> anyhow::Result<usize> {
    let module = fs::read(built).with_context(|| format!("cannot read {}", built.display()))?;
    let trimmed = trim(&module).with_context(|| built.display().to_string())?;
    let folder = published.parent().context("the published module needs a folder")?;
    fs::create_dir_all(folder)?;
    // Each run writes a file of its own, readable as any other. The rename replaces the old module in one
    // step.
    let mut fresh = tempfile::Builder::new()
        .prefix(".trimmed-")
        .permissions(Permissions::from_mode(0o666))
        .tempfile_in(folder)?;
    fresh.write_all(&trimmed)?;
    fresh.persist(published)?;
    Ok(trimmed.len())
}

fn trim(built: &[u8]) -> anyhow::Result<Vec<u8>> {
    // Without `_initialize`, the linker wraps every export so that it runs all constructors again.
    const WRAPPER: &[u8] = b".command_export";
    ensure!(
        !built.windows(WRAPPER.len()).any(|name| name == WRAPPER),
        "exports are wrapped to run the constructors on every call"
    );

    let mut module = Module::new();
    let mut missing = EXPORTS.to_vec();
    for payload in Parser::new(0).parse_all(built) {
        let payload = payload?;
        if let Payload::ExportSection(exports) = payload {
            let mut kept = ExportSection::new();
            for export in exports {
                let export = export?;
                if let Some(place) = missing.iter().position(|name| *name == export.name) {
                    missing.remove(place);
                    kept.export(export.name, kind(export.kind)?, export.index);
                }
            }
            module.section(&kept);
        } else if let Some((id, range)) = payload.as_section() {
            let data = built.get(range).context("a section reaches beyond the end of the file")?;
            module.section(&RawSection { id, data });
        }
    }
    ensure!(missing.is_empty(), "the module does not export {}", missing.join(", "));
    Ok(module.finish())
}

fn kind(kind: ExternalKind) -> anyhow::Result<ExportKind> {
    match kind {
        ExternalKind::Func => Ok(ExportKind::Func),
        ExternalKind::Memory => Ok(ExportKind::Memory),
        other => bail!("unexpected export of kind {other:?}"),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use tempfile::TempDir;
    use wasm_encoder::{
        CodeSection, Function, FunctionSection, Instruction, MemorySection, MemoryType, TypeSection,
    };

    use super::*;

    /// A module with all of [`EXPORTS`] and one callback that Sidegate does not use.
    fn module() -> Vec<u8> {
        let mut types = TypeSection::new();
        types.ty().function([], []);
        let mut functions = FunctionSection::new();
        functions.function(0);
        let mut memories = MemorySection::new();
        let memory =
            MemoryType { minimum: 1, maximum: None, memory64: false, shared: false, page_size_log2: None };
        memories.memory(memory);
        let mut exports = ExportSection::new();
        exports.export("memory", ExportKind::Memory, 0);
        for name in EXPORTS.into_iter().skip(1).chain(["proxy_on_request_body"]) {
            exports.export(name, ExportKind::Func, 0);
        }
        let mut function = Function::new([]);
        function.instruction(&Instruction::End);
        let mut code = CodeSection::new();
        code.function(&function);
        let mut module = Module::new();
        module.section(&types).section(&functions).section(&memories).section(&exports).section(&code);
        module.finish()
    }

    fn exports(module: &[u8]) -> Vec<String> {
        let mut names = Vec::new();
        for payload in Parser::new(0).parse_all(module) {
            if let Payload::ExportSection(exports) = payload.unwrap() {
                names.extend(exports.into_iter().map(|export| export.unwrap().name.to_owned()));
            }
        }
        names
    }

    #[test]
    fn exports_that_sidegate_does_not_use_are_removed() {
        assert!(exports(&module()).contains(&"proxy_on_request_body".to_owned()));
        assert_eq!(exports(&trim(&module()).unwrap()), EXPORTS);
    }

    #[test]
    fn trimming_twice_changes_nothing() {
        let once = trim(&module()).unwrap();
        assert_eq!(trim(&once).unwrap(), once);
    }

    #[test]
    fn trims_at_the_same_time_publish_one_whole_module() {
        let directory = TempDir::new().unwrap();
        let (built, published) =
            (directory.path().join("built.wasm"), directory.path().join("out/sidegate.wasm"));
        fs::write(&built, module()).unwrap();
        publish(&built, &published).unwrap();
        let trimmed = trim(&module()).unwrap();
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    assert_eq!(
                        fs::read(&published).unwrap(),
                        trimmed,
                        "a reader sees the whole trimmed module"
                    );
                }
            });
            let trims = [(); 4]
                .map(|()| scope.spawn(|| (0..100).try_for_each(|_| publish(&built, &published).map(|_| ()))));
            let results = trims.map(|trim| trim.join().unwrap());
            done.store(true, Ordering::Relaxed);
            for result in results {
                result.unwrap();
            }
        });
        let left = fs::read_dir(published.parent().unwrap()).unwrap().count();
        assert_eq!(left, 1, "no temporary file stays");
        let mode = |path| fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode(&published), mode(&built), "others may read it");
    }
}
