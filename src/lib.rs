//! Sidegate: API management inside the proxy.

pub mod access;
pub mod credential;
pub mod gate;
pub mod identity;
pub mod matching;
pub mod policy;
pub mod provider;
pub mod quota;
pub mod refusal;
pub mod store;
pub mod time;

#[cfg(not(target_family = "wasm"))]
pub mod cli;
pub mod filter;
#[cfg(not(target_family = "wasm"))]
#[doc(hidden)]
pub mod fuzzing;
