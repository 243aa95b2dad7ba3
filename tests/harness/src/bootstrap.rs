//! The configuration of a test's Envoy: listeners with filters and routes, clusters, and options.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use base64::prelude::{BASE64_STANDARD as BASE64, Engine as _};
use serde_json::{Value, json};

use crate::{Authority, Certificate, DEADLINE, floor_module, noop_module, project, sidegate_module};

/// A module whose every request ends in a trap:
///
/// ```wat
/// (module
///   (memory (export "memory") 1)
///   (func (export "proxy_abi_version_0_2_1"))
///   (func (export "_initialize"))
///   (func (export "proxy_on_memory_allocate") (param i32) (result i32) i32.const 0)
///   (func (export "proxy_on_context_create") (param i32 i32))
///   (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) unreachable))
/// ```
const CRASHING: &str = concat!(
    "AGFzbQEAAAABFQRgAABgAX8Bf2ACf38AYAN/f38BfwMGBQAAAQIDBQMBAAEHggEGBm1lbW9yeQIAF3Byb3h5X2FiaV92ZXJz",
    "aW9uXzBfMl8xAAALX2luaXRpYWxpemUAARhwcm94eV9vbl9tZW1vcnlfYWxsb2NhdGUAAhdwcm94eV9vbl9jb250ZXh0X2Ny",
    "ZWF0ZQADGHByb3h5X29uX3JlcXVlc3RfaGVhZGVycwAEChMFAgALAgALBABBAAsCAAsDAAAL",
);

/// A Wasm filter.
#[derive(Clone, Debug)]
pub struct Wasm {
    name: String,
    vm_id: &'static str,
    vm_configuration: Value,
    code: Value,
    capabilities: Option<Vec<String>>,
    configuration: Value,
    environment: BTreeMap<String, String>,
    failure_policy: &'static str,
}

impl Wasm {
    /// Sidegate with a policy, configured as Istio does it: JSON in a `StringValue`.
    pub fn sidegate(policy: &Value) -> Self {
        Self::new("sidegate", file(sidegate_module())).configured_as("StringValue", json!(policy.to_string()))
    }

    /// Runs the module in this file instead.
    #[must_use]
    pub fn from_file(self, module: &Path) -> Self {
        self.code(json!({"local": file(module.into())}))
    }

    /// Sidegate with these bytes as configuration.
    pub fn sidegate_with_bytes(bytes: &[u8]) -> Self {
        Self::new("sidegate", file(sidegate_module()))
            .configured_as("BytesValue", json!(BASE64.encode(bytes)))
    }

    /// Sidegate with a policy in a `google.protobuf.Struct`, which reaches the filter as binary protobuf.
    pub fn sidegate_with_struct(policy: &Value) -> Self {
        Self::new("sidegate", file(sidegate_module())).configured_as("Struct", policy.clone())
    }

    /// Sidegate without any configuration.
    pub fn sidegate_unconfigured() -> Self {
        Self::new("sidegate", file(sidegate_module()))
    }

    /// The filter that does nothing.
    pub fn noop() -> Self {
        Self::new("noop", file(noop_module()))
    }

    /// The filter that makes only the host calls that a key with a meter needs.
    pub fn floor() -> Self {
        Self::new("floor", file(floor_module()))
    }

    /// A filter that crashes on every request.
    pub fn crashing() -> Self {
        Self::new("crashing", json!({"inline_bytes": CRASHING}))
    }

    /// Names the filter, as the module's lines in Envoy's log do.
    #[must_use]
    pub fn named(mut self, name: &str) -> Self {
        self.name = name.into();
        self
    }

    /// Sets a variable of the VM's environment.
    #[must_use]
    pub fn environment(mut self, name: &str, value: &str) -> Self {
        self.environment.insert(name.into(), value.into());
        self
    }

    /// What Envoy does when the module crashes: `FAIL_CLOSED` (default), `FAIL_RELOAD` or `FAIL_OPEN`.
    #[must_use]
    pub fn failure_policy(mut self, policy: &'static str) -> Self {
        self.failure_policy = policy;
        self
    }

    /// Shares a store with all filters of that `vm_id`, and a VM with those that have the same module, too.
    /// The default is the filter's name.
    #[must_use]
    pub fn vm_id(mut self, id: &'static str) -> Self {
        self.vm_id = id;
        self
    }

    /// Configures the VM. The module ignores the value, but another value makes another VM with the same
    /// store.
    #[must_use]
    pub fn vm_configuration(mut self, text: &str) -> Self {
        self.vm_configuration =
            json!({"@type": "type.googleapis.com/google.protobuf.StringValue", "value": text});
        self
    }

    /// Restricts the module to these capabilities.
    #[must_use]
    pub fn restricted_to<'c>(mut self, capabilities: impl IntoIterator<Item = &'c str>) -> Self {
        self.capabilities = Some(capabilities.into_iter().map(str::to_owned).collect());
        self
    }

    /// Runs other code, described as an `AsyncDataSource`.
    #[must_use]
    pub fn code(mut self, code: Value) -> Self {
        self.code = code;
        self
    }

    fn new(name: &'static str, module: Value) -> Self {
        Self {
            name: name.to_owned(),
            vm_id: name,
            vm_configuration: Value::Null,
            code: json!({"local": module}),
            capabilities: None,
            configuration: Value::Null,
            environment: BTreeMap::new(),
            failure_policy: "FAIL_CLOSED",
        }
    }

    fn configured_as(mut self, kind: &str, value: Value) -> Self {
        self.configuration =
            json!({"@type": format!("type.googleapis.com/google.protobuf.{kind}"), "value": value});
        self
    }

    fn filter(&self) -> Value {
        let mut config = json!({
            "name": self.name,
            "root_id": self.name,
            "failure_policy": self.failure_policy,
            "vm_config": {
                "vm_id": self.vm_id,
                "runtime": "envoy.wasm.runtime.v8",
                "code": self.code,
                "environment_variables": {"key_values": self.environment},
            },
        });
        if !self.configuration.is_null() {
            config["configuration"] = self.configuration.clone();
        }
        if !self.vm_configuration.is_null() {
            config["vm_config"]["configuration"] = self.vm_configuration.clone();
        }
        if let Some(capabilities) = &self.capabilities {
            let allowed: BTreeMap<_, _> = capabilities.iter().map(|name| (name, json!({}))).collect();
            config["capability_restriction_config"] = json!({"allowed_capabilities": allowed});
        }
        json!({
            "name": self.name,
            "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm", "config": config},
        })
    }
}

fn file(module: PathBuf) -> Value {
    json!({"filename": module})
}

/// A route to a cluster, for every path.
pub fn route(cluster: &str) -> Value {
    json!({"match": {"prefix": "/"}, "route": {"cluster": cluster}})
}

/// A route to a cluster for requests with this header, as `{environment}` in a forwarded header is used. Must
/// come before [`route`].
pub fn route_by_header(name: &str, value: &str, cluster: &str) -> Value {
    json!({
        "match": {"prefix": "/", "headers": [{"name": name, "string_match": {"exact": value}}]},
        "route": {"cluster": cluster},
    })
}

/// A route that Envoy answers itself, for every path.
pub fn direct_response(status: u16, body: &str) -> Value {
    json!({"match": {"prefix": "/"}, "direct_response": {"status": status, "body": {"inline_string": body}}})
}

/// A listener on a free port of loopback.
#[derive(Clone, Debug)]
pub struct Listener {
    name: String,
    filters: Vec<Value>,
    routes: Vec<Value>,
    access_log: Option<String>,
    manager: Value,
    transport: Option<Value>,
}

impl Listener {
    /// A listener without filters and routes. The name matters where there are several, and when a
    /// configuration is replaced.
    pub fn new(name: &str) -> Self {
        Self {
            name: name.into(),
            filters: Vec::new(),
            routes: Vec::new(),
            access_log: None,
            manager: json!({}),
            transport: None,
        }
    }

    /// Adds a Wasm filter.
    #[must_use]
    pub fn wasm(self, wasm: &Wasm) -> Self {
        let filter = wasm.filter();
        self.filter(filter)
    }

    /// Adds any HTTP filter.
    #[must_use]
    pub fn filter(mut self, filter: Value) -> Self {
        self.filters.push(filter);
        self
    }

    /// Adds a route; the first that matches counts.
    #[must_use]
    pub fn route(mut self, route: Value) -> Self {
        self.routes.push(route);
        self
    }

    /// Writes one line per request in Envoy's format, read with [`crate::Envoy::access_log`].
    #[must_use]
    pub fn access_log(mut self, format: &str) -> Self {
        self.access_log = Some(format.into());
        self
    }

    /// Gives Envoy's own replies the body that Sidegate's refusals have, as `envoy/demo.yaml` does.
    #[must_use]
    pub fn kanali_replies(mut self) -> Self {
        let demo = yaml("envoy/demo.yaml");
        let manager =
            "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config/local_reply_config";
        self.manager["local_reply_config"] =
            demo.pointer(manager).cloned().expect("envoy/demo.yaml with local_reply_config");
        self
    }

    /// Sets a field of the HTTP connection manager.
    #[must_use]
    pub fn manager(mut self, field: &str, value: Value) -> Self {
        self.manager[field] = value;
        self
    }

    /// Speaks TLS with this certificate, and accepts client certificates of this authority. None is required.
    #[must_use]
    pub fn tls(mut self, certificate: &Certificate, authority: &Authority) -> Self {
        self.transport = Some(json!({
            "name": "envoy.transport_sockets.tls",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
                "common_tls_context": {
                    "tls_certificates": [{
                        "certificate_chain": {"inline_string": certificate.chain},
                        "private_key": {"inline_string": certificate.key},
                    }],
                    "validation_context": {"trusted_ca": {"inline_string": authority.pem()}},
                },
            },
        }));
        self
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn resource(&self, directory: &Path) -> Value {
        let mut filters = self.filters.clone();
        filters.push(json!({
            "name": "envoy.filters.http.router",
            "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"},
        }));
        let mut manager = self.manager.clone();
        manager["@type"] = json!(
            "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
        );
        manager["stat_prefix"] = json!(self.name);
        manager["http_filters"] = json!(filters);
        manager["route_config"] = json!({"name": self.name, "virtual_hosts": [{"name": "all", "domains": ["*"], "routes": self.routes}]});
        if let Some(format) = &self.access_log {
            manager["access_log"] = json!([{
                "name": "envoy.access_loggers.file",
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog",
                    "path": directory.join(format!("{}.access", self.name)),
                    "log_format": {"text_format_source": {"inline_string": format!("{format}\n")}},
                },
            }]);
        }
        let mut chain = json!({
            "filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}],
        });
        if let Some(transport) = &self.transport {
            chain["transport_socket"] = transport.clone();
        }
        json!({
            "@type": "type.googleapis.com/envoy.config.listener.v3.Listener",
            "name": self.name,
            "address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}},
            "filter_chains": [chain],
        })
    }
}

/// What an Envoy is started with.
#[derive(Clone, Debug)]
pub struct Setup {
    pub(crate) workers: usize,
    pub(crate) log_level: &'static str,
    pub(crate) drain_seconds: u32,
    pub(crate) component_log_level: &'static str,
    pub(crate) listeners: Vec<Listener>,
    pub(crate) launcher: Vec<OsString>,
    pub(crate) patience: Duration,
    clusters: Vec<Value>,
}

impl Setup {
    /// One listener, two workers.
    pub fn new(listener: Listener) -> Self {
        Self {
            workers: 2,
            log_level: "info",
            drain_seconds: 1,
            component_log_level: "main:warning",
            listeners: vec![listener],
            launcher: Vec::new(),
            patience: DEADLINE,
            clusters: Vec::new(),
        }
    }

    /// Adds a listener.
    #[must_use]
    pub fn listener(mut self, listener: Listener) -> Self {
        self.listeners.push(listener);
        self
    }

    /// Sets the number of worker threads.
    #[must_use]
    pub fn workers(mut self, workers: usize) -> Self {
        self.workers = workers;
        self
    }

    /// Sets the level of Envoy's log, which is that of the module too.
    #[must_use]
    pub fn log_level(mut self, level: &'static str) -> Self {
        self.log_level = level;
        self
    }

    /// Sets for how long a replaced listener may serve the requests that it has; one second unless set.
    #[must_use]
    pub fn drain_seconds(mut self, seconds: u32) -> Self {
        self.drain_seconds = seconds;
        self
    }

    /// Sets the level of some components' log, as `wasm:debug`.
    #[must_use]
    pub fn component_log_level(mut self, levels: &'static str) -> Self {
        self.component_log_level = levels;
        self
    }

    /// Runs Envoy under another program, given as its command line, and waits for a start as long as
    /// `patience`. The program
    /// must become Envoy, or run it within its own process, as valgrind does.
    #[must_use]
    pub fn under(mut self, launcher: impl IntoIterator<Item = OsString>, patience: Duration) -> Self {
        self.launcher = launcher.into_iter().collect();
        self.patience = patience;
        self
    }

    /// Adds a cluster of one host.
    #[must_use]
    pub fn cluster(self, name: &str, address: SocketAddr) -> Self {
        self.cluster_of(name, &[address])
    }

    /// Adds a cluster of several hosts, or none.
    #[must_use]
    pub fn cluster_of(self, name: &str, addresses: &[SocketAddr]) -> Self {
        self.cluster_speaking(name, addresses, Value::Null)
    }

    /// Adds a cluster of hosts that speak HTTP/2, as gRPC servers do.
    #[must_use]
    pub fn http2_cluster(self, name: &str, addresses: &[SocketAddr]) -> Self {
        self.cluster_speaking(name, addresses, json!({"http2_protocol_options": {}}))
    }

    /// Adds a cluster of one HTTP/1.1 host whose trailers Envoy reads.
    #[must_use]
    pub fn cluster_with_trailers(self, name: &str, address: SocketAddr) -> Self {
        self.cluster_speaking(name, &[address], json!({"http_protocol_options": {"enable_trailers": true}}))
    }

    fn cluster_speaking(mut self, name: &str, addresses: &[SocketAddr], protocol: Value) -> Self {
        let hosts = addresses.iter().map(|address| {
            json!({"endpoint": {"address": {"socket_address":
                {"address": address.ip().to_string(), "port_value": address.port()}}}})
        });
        let mut cluster = json!({
            "name": name,
            "type": "STATIC",
            "connect_timeout": "1s",
            "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": hosts.collect::<Vec<_>>()}]},
        });
        if !protocol.is_null() {
            cluster["typed_extension_protocol_options"] = json!({
                "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                    "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                    "explicit_http_config": protocol,
                },
            });
        }
        self.clusters.push(cluster);
        self
    }

    pub(crate) fn bootstrap(&self, listeners: &Path) -> Value {
        json!({
            "node": {"id": "sidegate-harness", "cluster": "sidegate-harness"},
            // Envoy reports the port through `--admin-address-path`.
            "admin": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}}},
            "dynamic_resources": {"lds_config": {"path_config_source":
                {"path": listeners, "watched_directory": {"path": listeners.parent()}}}},
            "static_resources": {"clusters": self.clusters},
        })
    }
}

/// A YAML file of the project, by its path from the top.
pub fn yaml(path: &str) -> Value {
    let file = std::fs::read_to_string(project(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
    serde_norway::from_str(&file).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Replaces the only host of a cluster in a bootstrap.
pub fn set_host(bootstrap: &mut Value, cluster: &str, address: SocketAddr) {
    let clusters = bootstrap["static_resources"]["clusters"].as_array_mut().expect("clusters");
    let found = clusters.iter_mut().find(|each| each["name"] == cluster);
    let found = found.unwrap_or_else(|| panic!("no cluster {cluster}"));
    found["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]["address"]["socket_address"] =
        json!({"address": address.ip().to_string(), "port_value": address.port()});
}
