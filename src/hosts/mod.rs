//! Hosts: what the module runs in. So far that is Envoy, through proxy-wasm.

mod header_map;
pub mod proxy_wasm;
