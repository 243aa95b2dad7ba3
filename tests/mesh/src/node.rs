//! The node: the network namespace of everything except the pods, and the bridge that connects the pods.

use std::{net::Ipv4Addr, path::Path};

use crate::{
    namespace::Namespace,
    tools::{self, must},
};

/// Pods reach the node's loopback at its address: servers of tests listen there.
const SCRIPT: &str = "
set -eu
ip link add bridge0 type bridge
ip addr add 10.77.0.1/24 dev bridge0
ip link set bridge0 up
echo 1 > /proc/sys/net/ipv4/conf/all/route_localnet
iptables -t nat -A PREROUTING -d 10.77.0.1 -p tcp -j DNAT --to-destination 127.0.0.1
";

/// The node's network; ends when dropped.
#[derive(Debug)]
pub struct Node {
    namespace: Namespace,
}

impl Node {
    /// The address of the node for pods.
    pub const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);

    /// Makes it, and moves this thread into it.
    pub async fn start(directory: &Path) -> Self {
        let namespace = Namespace::new(directory).await;
        must(namespace.command("sh").args(["-c", SCRIPT]).env("PATH", tools::path()));
        namespace.enter();
        Self { namespace }
    }

    /// Its network namespace.
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// Connects a pod's namespace to the bridge.
    pub fn plug(&self, pod: &Namespace, address: Ipv4Addr) {
        let end = format!("pod{}", address.octets()[3]);
        let outside = format!(
            "set -eu
            ip link add {end} type veth peer name eth0 netns {id}
            ip link set {end} master bridge0 up",
            id = pod.id()
        );
        must(self.namespace.command("sh").args(["-c", &outside]));
        let inside = format!(
            "set -eu
            ip addr add {address}/24 dev eth0
            ip link set eth0 up
            ip route add default via {node}",
            node = Self::ADDRESS
        );
        must(pod.command("sh").args(["-c", &inside]));
    }
}
