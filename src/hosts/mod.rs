//! Hosts: what the module runs in. Today that is Envoy, by proxy-wasm.

mod header_map;
pub mod proxy_wasm;
