//! What the tests in a real Envoy use: an Envoy with the built module, upstreams, OAuth2 servers, registries,
//! rate limit services, and a client that sends exactly the given bytes.
//!
//! Shared by `tests/envoy_*.rs`, `benches/envoy` and `examples/demo`. Ports are free ones, so tests can
//! run in parallel. What is started here ends when the value that holds it is dropped, and at the latest with
//! this process, however it ends. Waiting means polling with a deadline. Failures panic with what is known
//! about them, because a test that cannot go on has failed.

mod bootstrap;
mod client;
mod envoy;
mod grpc;
mod hydra;
mod limitador;
mod load;
mod oidc;
mod process;
mod provider;
mod ratelimit;
mod redis;
mod registry;
pub mod rls;
mod server;
pub mod table;
pub mod threescale;
mod tls;
mod upstream;

use std::{
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    time::Duration,
};

pub use bootstrap::{Listener, Setup, Wasm, direct_response, route, route_by_header, set_host, yaml};
pub use client::{Connection, Request, Response, send, send_all};
pub use envoy::{Envoy, Rejected, Stats, envoy_binary, stats, validate};
pub use grpc::{GrpcAnswer, GrpcCall, GrpcServer};
pub use hydra::{Hydra, HydraClient};
pub use limitador::Limitador;
pub use load::{Callers, Tally};
pub use oidc::{Client, Oidc};
pub use process::Process;
pub use provider::{Answer, Call, StubProvider};
pub use ratelimit::{RateLimit, domain};
pub use redis::Redis;
pub use registry::Registry;
pub use tls::{Authority, Certificate, TlsRelay};
pub use upstream::Upstream;

/// How long to wait for anything. This is far more than anything takes on a busy machine.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// Polls until there is an answer. Panics with `what` if there is none within [`DEADLINE`].
pub async fn eventually<T>(what: &str, attempt: impl AsyncFnMut() -> Option<T>) -> T {
    eventually_within(DEADLINE, what, attempt).await
}

/// [`eventually`] with another deadline.
pub(crate) async fn eventually_within<T>(
    deadline: Duration,
    what: &str,
    mut attempt: impl AsyncFnMut() -> Option<T>,
) -> T {
    let asking = async {
        loop {
            if let Some(answer) = attempt().await {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    match tokio::time::timeout(deadline, asking).await {
        Ok(answer) => answer,
        Err(_) => panic!("not within {deadline:?}: {what}"),
    }
}

/// A file of the project, by its path from the top.
pub fn project(path: impl AsRef<Path>) -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).expect("tests/harness").join(path)
}

/// The built module: `SIDEGATE_WASM`, or what `make build` made.
pub fn sidegate_module() -> PathBuf {
    std::env::var_os("SIDEGATE_WASM").map_or_else(|| built("sidegate.wasm"), PathBuf::from)
}

/// The filter that does nothing, from `benches/noop`.
pub fn noop_module() -> PathBuf {
    built("sidegate_noop.wasm")
}

/// The filter that makes only the host calls that a key with a meter needs, from `benches/floor`.
pub fn floor_module() -> PathBuf {
    built("sidegate_floor.wasm")
}

/// A gate whose flows and tasks tests define, from `tests/probe`.
pub fn probe_module() -> PathBuf {
    built("sidegate_probe.wasm")
}

/// The program that packs the module into an image, as `make image` builds it.
pub fn packer() -> PathBuf {
    let path = project("target/tools/build/debug/sidegate-image");
    assert!(path.is_file(), "{} is missing: run `make image`", path.display());
    path
}

/// A command from a Debian package: the one on the path, or the one that `tools/debian` fetched.
pub fn debian(command: &str) -> PathBuf {
    on_the_path(command).unwrap_or_else(|| {
        let path = project("target/tools/debian/bin").join(command);
        assert!(path.is_file(), "{} is missing: run `make setup`", path.display());
        path
    })
}

/// Addresses of loopback at which nothing listens. Another process may take one before it is used.
fn free_addresses<const N: usize>() -> [SocketAddr; N] {
    let sockets = [(); N].map(|()| TcpListener::bind(("127.0.0.1", 0)).expect("a free port on loopback"));
    sockets.map(|socket| socket.local_addr().expect("a bound socket"))
}

fn on_the_path(command: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|directory| directory.join(command)).find(|file| file.is_file())
}

fn built(module: &str) -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| project("target"), PathBuf::from);
    let path = target.join("wasm32-wasip1/release").join(module);
    assert!(path.is_file(), "{} is missing: run `make build noop probe`", path.display());
    path
}
