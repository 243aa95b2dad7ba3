//! Takes from a proxy-wasm module the exports of callbacks that do nothing in Sidegate; every other byte stays.
//!
//! Envoy calls every callback that a module exports, and the SDK exports them all: bodies, trailers, TCP, shared queues. Each such
//! call enters the VM for nothing, on every request. A callback that the filter begins to use must be added here.
//!
//!     sidegate-trim MODULE      rewrites MODULE in place

use std::path::PathBuf;

use anyhow::{Context as _, bail, ensure};
use wasm_encoder::{ExportKind, ExportSection, Module, RawSection};
use wasmparser::{ExternalKind, Parser, Payload};

/// What the host cannot do without, and the callbacks that `src/filter` implements.
const EXPORTS: [&str; 12] = [
    "memory",
    "_initialize",
    "proxy_abi_version_0_2_1",
    "proxy_on_memory_allocate",
    "proxy_on_context_create",
    "proxy_on_vm_start",
    "proxy_on_configure",
    "proxy_on_tick",
    "proxy_on_request_headers",
    "proxy_on_response_headers",
    "proxy_on_http_call_response",
    "proxy_on_delete",
];

/// The size budget of the module, in bytes (1.5 MiB).
const BUDGET: usize = 3 * 512 * 1024;

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args_os().skip(1);
    let (Some(path), None) = (arguments.next().map(PathBuf::from), arguments.next()) else {
        bail!("usage: sidegate-trim MODULE");
    };
    let built = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let trimmed = trim(&built).with_context(|| path.display().to_string())?;
    // A new file, not the old one rewritten: Cargo keeps a hard link to what it built.
    let fresh = path.with_extension("trimmed");
    std::fs::write(&fresh, &trimmed)?;
    std::fs::rename(&fresh, &path)?;
    println!("{}: {} KiB of {} KiB", path.display(), trimmed.len().div_ceil(1024), BUDGET / 1024);
    ensure!(trimmed.len() <= BUDGET, "the module is larger than its budget");
    Ok(())
}

fn trim(built: &[u8]) -> anyhow::Result<Vec<u8>> {
    // Without `_initialize`, the linker wraps every export so that it runs all constructors anew.
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
            let data = built.get(range).context("a section beyond the end")?;
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
        other => bail!("an export of kind {other:?}"),
    }
}
