//! istiod, with Istio's CRDs in the API server.

use std::{fs, path::Path, process::Command};

use serde_json::json;
use sidegate_harness::{Process, eventually};

use crate::{
    kubernetes::Kubernetes,
    tools::{self, run},
};

/// A running istiod; ends when dropped.
#[derive(Debug)]
pub struct ControlPlane {
    _process: Process,
}

impl ControlPlane {
    /// Its address for proxies.
    pub const ADDRESS: &str = "istiod.istio-system.svc:15012";

    /// Starts it in this thread's network namespace. If `ambient`, it supports waypoints, and the Gateway API
    /// that declares them.
    pub async fn start(directory: &Path, kubernetes: &Kubernetes, ambient: bool) -> Self {
        let definitions = if ambient { &["crds.yaml", "gateway-crds.yaml"][..] } else { &["crds.yaml"] };
        for file in definitions {
            let file = tools::istio(file).display().to_string();
            kubernetes.ask(&["create", "--validate=false", "-f", &file]);
        }
        kubernetes.ask(&["create", "namespace", "istio-system"]);

        let mesh = directory.join("mesh.json");
        // Without access logs, as by default.
        let configuration = json!({"trustDomain": "cluster.local", "rootNamespace": "istio-system"});
        fs::write(&mesh, configuration.to_string()).expect("a writable directory");
        let log = directory.join("istiod.log");
        let mut istiod = Command::new(tools::istio("istiod"));
        istiod
            .args(["discovery", "--domain", "cluster.local", "--kubeconfig"])
            .arg(kubernetes.kubeconfig())
            .arg("--meshConfig")
            .arg(&mesh)
            .current_dir(directory)
            .envs([
                // Filters that only Istio's own build of Envoy has.
                ("PILOT_ENABLE_METADATA_EXCHANGE", "false"),
                ("PILOT_ENABLE_ALPN_FILTER", "false"),
                ("AMBIENT_ENABLE_MULTI_NETWORK_WAYPOINT", "false"),
                // Off by default, as in most meshes.
                ("PILOT_ENABLE_AMBIENT", if ambient { "true" } else { "false" }),
                ("CLUSTER_ID", "Kubernetes"),
                ("POD_NAMESPACE", "istio-system"),
                ("POD_NAME", "istiod-0"),
            ]);
        let mut process = Process::start(&mut istiod, &log);
        eventually("istiod to be ready", async || {
            if let Some(status) = process.ended() {
                panic!("istiod ended with {status}: {}", fs::read_to_string(&log).unwrap_or_default());
            }
            let root = ["get", "configmap", "istio-ca-root-cert", "--namespace", crate::NAMESPACE];
            run(kubernetes.kubectl().args(root), "").ok()
        })
        .await;
        Self { _process: process }
    }
}
