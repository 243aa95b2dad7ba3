//! Hosts: what the module runs in. So far that is Envoy, through proxy-wasm.

pub mod blocks;
#[cfg(target_os = "wasi")]
mod direct;
pub mod grpc_target;
#[cfg(target_os = "wasi")]
pub mod proxy_wasm;
