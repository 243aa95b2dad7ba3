//! What the tour uses: Envoy with `envoy/demo.yaml`, the OAuth2 server, and two echoing upstreams.

use std::{
    error::Error,
    net::{SocketAddr, TcpListener},
};

use serde_json::{Value, json};
use sidegate_harness::{Envoy, Oidc, Upstream, set_host, sidegate_module, yaml};
use tempfile::TempDir;

use crate::clients;

/// The secret with which Sidegate authenticates itself to the OAuth2 server. It is in Envoy's environment.
pub const GATEWAY_SECRET: &str = "demo-gateway-secret";

/// Everything that runs. Ends when dropped.
pub struct Parts {
    /// The address of Envoy's listener.
    pub address: SocketAddr,
    /// The OAuth2 server.
    pub oidc: Oidc,
    _envoy: Envoy,
    _upstreams: [Upstream; 2],
    _directory: TempDir,
}

impl Parts {
    /// Starts everything.
    pub async fn start() -> Result<Self, Box<dyn Error>> {
        let orders = Upstream::echo("orders").await;
        let staging = Upstream::echo("orders-staging").await;
        let oidc = Oidc::start(clients()).await;

        let directory = TempDir::with_prefix("sidegate-demo-")?;
        let filter = directory.path().join("filter.yaml");
        std::fs::write(&filter, filter_with_policy("envoy/demo-policy.yaml")?.to_string())?;

        let mut bootstrap = yaml("envoy/demo.yaml");
        for (cluster, address) in
            [("orders", orders.address()), ("orders-staging", staging.address()), ("oidc", oidc.address())]
        {
            set_host(&mut bootstrap, cluster, address);
        }
        let port = at(&mut bootstrap, "/static_resources/listeners/0/address/socket_address/port_value")?;
        *port = json!(port_to_use(port)?);
        let manager = "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config";
        let source = format!("{manager}/http_filters/0/config_discovery/config_source/path_config_source");
        *at(&mut bootstrap, &source)? =
            json!({"path": filter, "watched_directory": {"path": directory.path()}});

        let envoy = Envoy::run(bootstrap, |envoy| {
            envoy.args(["--concurrency", "2"]).env("OIDC_SECRET", GATEWAY_SECRET);
        })
        .await;
        if envoy.stat("extension_config_discovery.http_filter.sidegate.update_success").await == 0 {
            let log = envoy.log();
            let of_the_module: Vec<_> = log.lines().filter(|line| line.contains("[wasm]")).collect();
            return Err(format!(
                "Envoy refuses the module or envoy/demo-policy.yaml:\n{}",
                of_the_module.join("\n")
            )
            .into());
        }
        let address = envoy.address().await;
        Ok(Self { address, oidc, _envoy: envoy, _upstreams: [orders, staging], _directory: directory })
    }

    /// Prints commands to try.
    pub async fn print_commands(&self) {
        let url = format!("http://localhost:{}/v1", self.address.port());
        let token = self.oidc.token("acme-web", "orders.read", Some(Oidc::ORDERS)).await;
        println!("\nEverything is left running. Try:\n");
        println!("  curl -i {url}/health");
        println!("  curl -i {url}/reports/2026");
        println!("  curl -i -H 'apikey: acme-key' {url}/reports/2026");
        println!("  curl -i -H 'apikey: tryout-key' {url}/reports/2026");
        println!("  curl -i -H 'authorization: Bearer {token}' {url}/orders/17");
        println!("\nAnother token:\n");
        println!(
            "  curl -u acme-web:acme-web-secret -d 'grant_type=client_credentials&scope=orders.read&resource={}' {}/token",
            Oidc::ORDERS,
            self.oidc.issuer()
        );
        println!("\nCtrl-C ends it.");
    }
}

/// `envoy/demo-filter.yaml` with the built module, and a policy as JSON.
pub fn filter_with_policy(policy: &str) -> Result<Value, Box<dyn Error>> {
    let mut filter = yaml("envoy/demo-filter.yaml");
    let config = "/resources/0/typed_config/config";
    *at(&mut filter, &format!("{config}/vm_config/code/local/filename"))? = json!(sidegate_module());
    *at(&mut filter, &format!("{config}/configuration/value"))? = json!(yaml(policy).to_string());
    Ok(filter)
}

/// What is at a pointer.
pub fn at<'a>(value: &'a mut Value, pointer: &str) -> Result<&'a mut Value, Box<dyn Error>> {
    value.pointer_mut(pointer).ok_or_else(|| format!("nothing at {pointer}").into())
}

/// `PORT`, or the port in the file if it is free, or any free one.
fn port_to_use(written: &Value) -> Result<u16, Box<dyn Error>> {
    #[expect(clippy::disallowed_methods, reason = "the port is an environment variable")]
    let given = std::env::var("PORT");
    if let Ok(given) = given {
        return given.parse().map_err(|_| format!("PORT is not a port: {given}").into());
    }
    let written = written.as_u64().and_then(|port| u16::try_from(port).ok()).unwrap_or_default();
    let free = TcpListener::bind(("127.0.0.1", written)).is_ok();
    Ok(if free { written } else { 0 })
}
