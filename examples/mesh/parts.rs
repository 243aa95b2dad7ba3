//! What runs: a mesh with a registry, an authorization server outside of it, and the service `orders` behind
//! a sidecar.

use std::{error::Error, fs, os::unix::fs::PermissionsExt as _, path::PathBuf, process::Command};

use serde_json::{Value, json};
use sidegate_harness::{Authority, Client, Oidc, Registry, TlsRelay, Upstream, project};
use sidegate_mesh::{AUTHORIZATION_SERVER, CLUSTER, Mesh, Plan, Pod, authorization_server, push, tools};

use crate::keeper::directory;

const GATEWAY_SECRET: &str = "demo-gateway-secret";

/// Everything that runs. Ends when dropped.
pub struct Parts {
    /// The pod of the service.
    pub orders: Pod,
    /// The authorization server.
    pub oidc: Oidc,
    /// The mesh.
    pub mesh: Mesh,
    image: String,
    _service: Upstream,
    _registry: Registry,
    _tls: TlsRelay,
}

impl Parts {
    /// Starts everything, and prints each step.
    pub async fn start() -> Result<Self, Box<dyn Error>> {
        println!("Starting:");
        let mesh = Mesh::start_with_progress(|part| println!("  {part}")).await;
        println!("  registry");
        let registry = Registry::start().await;
        let (url, digest) = push(&registry, "tour", mesh.directory());
        println!("  authorization server, with TLS");
        let oidc = Oidc::start(clients()).await;
        let authority = Authority::new();
        let tls = TlsRelay::before(oidc.address(), &authority.certificate(AUTHORIZATION_SERVER)).await;
        for manifest in authorization_server(&mesh, tls.address(), authority.pem()) {
            mesh.kubernetes().apply(manifest);
        }
        println!("  pod orders: iptables, pilot-agent, Envoy, and an echoing service");
        let orders = Plan::sidecar("orders").env("OIDC_SECRET", GATEWAY_SECRET).start(&mesh).await;
        let service = Upstream::echo_on(orders.listen(8080), "orders");
        let image = format!("{url}@sha256:{digest}");
        Ok(Self { orders, oidc, mesh, image, _service: service, _registry: registry, _tls: tls })
    }

    /// The demo's policy, asking the authorization server through the cluster that its ServiceEntry makes.
    pub fn policy(&self) -> Result<Value, Box<dyn Error>> {
        let mut policy: Value =
            serde_norway::from_str(&fs::read_to_string(project("envoy/demo-policy.yaml"))?)?;
        let provider = policy.pointer_mut("/providers/oidc/introspection").ok_or("no provider")?;
        if let Some(provider) = provider.as_object_mut() {
            provider.insert("cluster".into(), json!(CLUSTER));
            let url = format!("https://{AUTHORIZATION_SERVER}/token/introspection");
            provider.insert("url".into(), json!(url));
        }
        // More than eight callers can use on any machine.
        *policy.pointer_mut("/plans/business/limits/0/max").ok_or("no limit")? = json!(50_000);
        Ok(policy)
    }

    /// Writes the policy to the file that users may edit, makes a WasmPlugin of it with `sidegate render`,
    /// and applies that.
    pub fn apply(&self, policy: &Value) -> Result<(), Box<dyn Error>> {
        fs::write(policy_file(), serde_norway::to_string(policy)?)?;
        self.mesh.kubernetes().try_apply(&tools::run(&mut self.render(), "")?)?;
        Ok(())
    }

    /// Puts an unchecked policy into the WasmPlugin.
    pub fn apply_unchecked(&self, policy: &Value) -> Result<(), Box<dyn Error>> {
        let mut manifest: Value = serde_norway::from_str(&tools::run(&mut self.render(), "")?)?;
        *manifest.pointer_mut("/spec/pluginConfig").ok_or("no pluginConfig")? = policy.clone();
        self.mesh.kubernetes().try_apply(&manifest.to_string())?;
        Ok(())
    }

    /// Prints commands to try.
    pub async fn print_commands(&self) -> Result<(), Box<dyn Error>> {
        let enter = directory().join("enter");
        fs::write(&enter, self.entrance())?;
        fs::set_permissions(&enter, fs::Permissions::from_mode(0o755))?;
        let curl = "target/mesh/enter curl -i -H 'host: orders.example.com'";
        let url = format!("http://{}/v1", self.orders.address(8080));
        let token = self.oidc.token("acme-web", "orders.read", Some(Oidc::ORDERS)).await;
        println!(
            "\nThe mesh keeps running until `make mesh-down` ends it. `target/mesh/enter` runs a command inside. Try:\n"
        );
        println!("  target/mesh/enter kubectl get wasmplugins,pods,services,serviceentries");
        println!("  target/mesh/enter istioctl analyze");
        println!("  {curl} {url}/reports/2026");
        println!("  {curl} -H 'apikey: acme-key' {url}/reports/2026");
        println!("  {curl} -H 'authorization: Bearer {token}' {url}/orders/17");
        println!("\nChange target/mesh/policy.yaml, then:\n");
        println!(
            "  {} render --without-secrets --policy target/mesh/policy.yaml --as wasmplugin \\\n    \
             --selector app=orders --image {} | target/mesh/enter kubectl apply -f -",
            sidegate().display(),
            self.image
        );
        println!("\nThe logs: istiod's {}", self.mesh.directory().join("istiod.log").display());
        println!("          the pod's {}", self.orders.directory().join("agent.log").display());
        Ok(())
    }

    fn render(&self) -> Command {
        let mut command = Command::new(sidegate());
        command.args(["render", "--without-secrets", "--policy"]).arg(policy_file());
        command.args(["--as", "wasmplugin", "--selector", "app=orders", "--image", &self.image]);
        command
    }

    /// A script that runs a command in the node's network, with `kubectl` and `istioctl` on the path.
    fn entrance(&self) -> String {
        let folder = |program: PathBuf| program.parent().map(|folder| folder.display().to_string());
        format!(
            "#!/bin/sh\nexport PATH=\"{}:{}:$PATH\" KUBECONFIG=\"{}\" KUBECACHEDIR=\"{}\"\n\
             exec nsenter --net=/proc/{}/ns/net -- \"$@\"\n",
            folder(tools::kubernetes("kubectl")).unwrap_or_default(),
            folder(tools::istio("istioctl")).unwrap_or_default(),
            self.mesh.kubernetes().kubeconfig().display(),
            self.mesh.kubernetes().cache().display(),
            self.mesh.node().namespace().id(),
        )
    }
}

/// The `sidegate` command, built beside this program.
fn sidegate() -> PathBuf {
    let here = std::env::current_exe().unwrap_or_default();
    let command = here.ancestors().nth(2).map(|folder| folder.join("sidegate")).unwrap_or_default();
    // Relative, as users would type it.
    let top = std::env::current_dir().unwrap_or_default();
    command.strip_prefix(top).map(PathBuf::from).unwrap_or(command)
}

/// The policy that users may edit and apply.
fn policy_file() -> PathBuf {
    directory().join("policy.yaml")
}

fn clients() -> [Client; 3] {
    [
        Client::new("gateway", GATEWAY_SECRET, ""),
        Client::new("acme-web", "acme-web-secret", "orders.read orders.write"),
        Client::new("acme-batch", "acme-batch-secret", "orders.write"),
    ]
}
