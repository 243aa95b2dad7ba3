//! A server outside of the mesh that the mesh must know: an authorization server.

use std::{fs, net::SocketAddr};

use serde::Deserialize as _;
use serde_json::{Value, json};
use sidegate_harness::project;

use crate::{Mesh, Node};

/// The authorization server's name in `istio/base/authorization-server.yaml`.
pub const AUTHORIZATION_SERVER: &str = "idp.example.com";

/// The cluster that Istio makes for it.
pub const CLUSTER: &str = "outbound|443||idp.example.com";

/// The manifests in `istio/base/authorization-server.yaml`, for a TLS server that listens on the node's
/// loopback and whose certificate is signed by `authority` (in PEM). There is no DNS here, so the manifest
/// contains the address.
pub fn authorization_server(mesh: &Mesh, server: SocketAddr, authority: &str) -> Vec<Value> {
    let roots = mesh.directory().join("authority.pem");
    fs::write(&roots, authority).expect("a writable directory");
    let file = project("istio/base/authorization-server.yaml");
    let text = fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let documents = serde_norway::Deserializer::from_str(&text).map(Value::deserialize);
    let mut manifests: Vec<Value> = documents.map(|document| document.expect("a manifest")).collect();
    for manifest in &mut manifests {
        let spec = &mut manifest["spec"];
        match spec.pointer_mut("/trafficPolicy/portLevelSettings/0/tls") {
            Some(tls) => tls["caCertificates"] = json!(roots),
            None => {
                spec["endpoints"] = json!([{"address": Node::ADDRESS, "ports": {"https": server.port()}}])
            }
        }
    }
    manifests
}
