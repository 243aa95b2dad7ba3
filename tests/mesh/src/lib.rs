//! A real Istio on one machine, without Docker or a cluster: a Kubernetes API server, istiod, and pods whose
//! traffic is intercepted by iptables and whose agent is Istio's own. Their Envoy is Envoy's own build, which
//! lacks the extensions that Istio adds to its.
//!
//! Everything runs in unnamed network namespaces: ports never collide, the machine is not changed, and
//! everything disappears with the processes, however they end. Linux and root only.
//!
//! ```text
//!   node: API server, istiod, registry, whatever listens on its loopback     10.77.0.1
//!     └── bridge ── pod "orders"   sidecar: iptables → Envoy → application    10.77.0.2
//!                ── pod "gateway"  router: Envoy                              10.77.0.3
//! ```

mod control_plane;
mod image;
mod kubernetes;
mod namespace;
mod node;
mod outside;
mod pod;
mod terminal;
pub mod tools;
mod waypoint;

use std::{
    cell::Cell,
    net::Ipv4Addr,
    path::{Path, PathBuf},
};

use control_plane::ControlPlane;
pub use image::{push, push_module};
pub use kubernetes::Kubernetes;
pub use namespace::Namespace;
pub use node::Node;
pub use outside::{AUTHORIZATION_SERVER, CLUSTER, authorization_server};
pub use pod::{Plan, Pod};
use tempfile::TempDir;
pub use terminal::{ask_to_end_and_wait, leave_the_terminal};

/// The Kubernetes namespace of the pods.
pub const NAMESPACE: &str = "default";

/// A running mesh; ends when dropped.
#[derive(Debug)]
pub struct Mesh {
    _control_plane: ControlPlane,
    kubernetes: Kubernetes,
    node: Node,
    directory: TempDir,
    next: Cell<u8>,
}

impl Mesh {
    /// Starts one without pods, and moves this thread to its node: whatever this thread starts later runs
    /// there, and pods reach servers on loopback at [`Node::ADDRESS`].
    pub async fn start() -> Self {
        Self::start_with_progress(|_| ()).await
    }

    /// [`Mesh::start`] with support for waypoints.
    pub async fn start_ambient() -> Self {
        Self::start_as(true, |_| ()).await
    }

    /// [`Mesh::start`], which reports each step.
    pub async fn start_with_progress(tell: impl Fn(&str)) -> Self {
        Self::start_as(false, tell).await
    }

    async fn start_as(ambient: bool, tell: impl Fn(&str)) -> Self {
        let directory = TempDir::with_prefix("sidegate-mesh-").expect("a temporary directory");
        make_readable(directory.path());
        let node = Node::start(directory.path()).await;
        tell("Kubernetes API server");
        let kubernetes = Kubernetes::start(directory.path()).await;
        tell("istiod");
        let control_plane = ControlPlane::start(directory.path(), &kubernetes, ambient).await;
        Self { _control_plane: control_plane, kubernetes, node, directory, next: Cell::new(2) }
    }

    /// The API server.
    pub fn kubernetes(&self) -> &Kubernetes {
        &self.kubernetes
    }

    /// The node that everything runs on.
    pub fn node(&self) -> &Node {
        &self.node
    }

    /// A directory that is removed with the mesh.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// A directory and an address for a new pod.
    pub(crate) fn place(&self, name: &str) -> (PathBuf, Ipv4Addr) {
        let number = self.next.get();
        self.next.set(number + 1);
        let directory = self.directory.path().join(format!("pod-{name}"));
        std::fs::create_dir(&directory).unwrap_or_else(|error| panic!("pod {name}: {error}"));
        make_readable(&directory);
        (directory, Ipv4Addr::new(10, 77, 0, number))
    }
}

/// Lets the user of the proxies read it.
fn make_readable(directory: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    let everybody = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(directory, everybody).expect("a directory of this process");
}
