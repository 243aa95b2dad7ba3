//! Hosts: what the module runs in. Today that is Envoy, by proxy-wasm.

pub mod proxy_wasm;
