//! Pods: an application's network with Istio's agent and Envoy in it.

use std::{
    collections::BTreeMap,
    fs,
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::PathBuf,
};

use serde_json::{Value, json};
use sidegate_harness::{Connection, Process, Request, Response, Stats, envoy_binary, eventually, stats};

use crate::{
    Mesh, NAMESPACE,
    control_plane::ControlPlane,
    namespace::Namespace,
    node::Node,
    tools::{self, must},
    waypoint,
};

/// Prepares what the agent's image would contain, then becomes the agent. Runs in namespaces of its own, so
/// the mounts end with it. The one capability lets the proxies' user read a project in somebody's home
/// directory.
const AGENT: &str = r#"
set -eu
mount -t tmpfs tmpfs /var/lib
mkdir -p /var/lib/istio/data
chown -R 1337:1337 /var/lib/istio .
mount --bind hosts /etc/hosts
exec setpriv --reuid 1337 --regid 1337 --clear-groups --pdeathsig KILL \
    --inh-caps +dac_read_search --ambient-caps +dac_read_search "$@"
"#;

/// The annotation that sets log levels of Envoy's components.
const COMPONENT_LOG_LEVEL: &str = "sidecar.istio.io/componentLogLevel";

/// The role of a pod in the mesh.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An application whose traffic the proxy intercepts.
    Sidecar,
    /// A proxy without an application.
    Gateway,
    /// A proxy for services that are attached to it.
    Waypoint,
}

impl Kind {
    /// What the agent calls it.
    fn role(self) -> &'static str {
        match self {
            Self::Sidecar => "sidecar",
            Self::Gateway => "router",
            Self::Waypoint => "waypoint",
        }
    }

    /// The containers that such a pod has.
    fn containers(self) -> &'static [&'static str] {
        match self {
            Self::Sidecar => &["application", "istio-proxy"],
            Self::Gateway | Self::Waypoint => &["istio-proxy"],
        }
    }
}

/// What a pod is started with.
#[derive(Clone, Debug)]
pub struct Plan {
    name: String,
    kind: Kind,
    labels: BTreeMap<String, String>,
    annotations: BTreeMap<String, String>,
    environment: Vec<(String, String)>,
    configuration: Vec<(String, Value)>,
}

/// A running pod; ends when dropped.
#[derive(Debug)]
pub struct Pod {
    name: String,
    address: Ipv4Addr,
    directory: PathBuf,
    _agent: Process,
    namespace: Namespace,
}

impl Plan {
    /// An application's pod: it answers to the label `app: NAME` and the service `NAME`, port 80, which is
    /// its port 8080. As with `istio/pod.yaml`, Sidegate's log lines from level info on are in its log.
    pub fn sidecar(name: &str) -> Self {
        Self::new(name, Kind::Sidecar)
    }

    /// A gateway's pod, with the label `istio: NAME`.
    pub fn gateway(name: &str) -> Self {
        Self::new(name, Kind::Gateway)
    }

    /// A waypoint's pod, with its Gateway and the labels that istiod gives such pods. The mesh must be
    /// [`Mesh::start_ambient`].
    pub fn waypoint(name: &str) -> Self {
        Self::new(name, Kind::Waypoint)
            .label("gateway.networking.k8s.io/gateway-name", name)
            .label("gateway.networking.k8s.io/gateway-class-name", "istio-waypoint")
            .label("gateway.istio.io/managed", "istio.io-mesh-controller")
    }

    fn new(name: &str, kind: Kind) -> Self {
        let label = if kind == Kind::Gateway { "istio" } else { "app" };
        Self {
            name: name.into(),
            kind,
            labels: [(label.into(), name.into())].into(),
            annotations: [(COMPONENT_LOG_LEVEL.into(), "wasm:info,misc:error".into())].into(),
            environment: Vec::new(),
            configuration: Vec::new(),
        }
    }

    /// Sets a label of the pod.
    #[must_use]
    pub fn label(mut self, name: &str, value: &str) -> Self {
        self.labels.insert(name.into(), value.into());
        self
    }

    /// Annotates the pod, also in the file that the agent reads, which would be a volume of the pod.
    #[must_use]
    pub fn annotation(mut self, name: &str, value: &str) -> Self {
        self.annotations.insert(name.into(), value.into());
        self
    }

    /// Sets a variable of the agent's and Envoy's environment.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// Sets an attribute of the proxy's configuration, as the annotation `proxy.istio.io/config` does.
    #[must_use]
    pub fn configuration(mut self, attribute: &str, value: Value) -> Self {
        self.configuration.push((attribute.into(), value));
        self
    }

    /// Starts it and waits until its Envoy has its configuration and serves.
    pub async fn start(self, mesh: &Mesh) -> Pod {
        let pod = self.clone().launch(mesh).await;
        pod.ready().await;
        self.report_ready(mesh);
        pod
    }

    /// Starts it without waiting for its Envoy.
    pub async fn launch(self, mesh: &Mesh) -> Pod {
        let (directory, address) = mesh.place(&self.name);
        let namespace = Namespace::new(&directory).await;
        mesh.node().plug(&namespace, address);
        if self.kind == Kind::Waypoint {
            for manifest in waypoint::manifests(&self.name) {
                mesh.kubernetes().apply(manifest);
            }
        }
        self.announce(mesh, address);
        self.write_volumes(mesh, &directory);
        if self.kind == Kind::Sidecar {
            intercept(&namespace);
        }
        let agent = self.agent(&namespace, &directory, address);
        Pod { name: self.name, address, directory, _agent: agent, namespace }
    }

    /// The port of its service, and the port of the pod behind it.
    fn port(&self) -> (u16, u16) {
        match self.kind {
            Kind::Sidecar | Kind::Gateway => (80, 8080),
            Kind::Waypoint => (15008, 15008),
        }
    }

    /// The Kubernetes objects that a scheduler, a kubelet and controllers would have made.
    fn announce(&self, mesh: &Mesh, address: Ipv4Addr) {
        let name = &self.name;
        let metadata = json!({"name": name, "namespace": NAMESPACE, "labels": self.labels});
        let (port, target) = self.port();
        let slice = json!({
            "name": format!("{name}-1"),
            "namespace": NAMESPACE,
            "labels": {"kubernetes.io/service-name": name},
        });
        let mut pod = metadata.clone();
        pod["annotations"] = json!(self.annotations);
        pod["annotations"]["sidecar.istio.io/status"] = json!("{}");
        let objects = json!([
            {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name, "namespace": NAMESPACE}},
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": pod,
                "spec": {
                    "serviceAccountName": name,
                    "containers": self.kind.containers().iter().map(|name| json!({"name": name, "image": name})).collect::<Vec<_>>(),
                },
            },
            {
                "apiVersion": "v1",
                "kind": "Service",
                "metadata": metadata,
                "spec": {"selector": self.labels, "ports": [{"name": "http", "port": port, "targetPort": target}]},
            },
            {
                "apiVersion": "discovery.k8s.io/v1",
                "kind": "EndpointSlice",
                "metadata": slice,
                "addressType": "IPv4",
                "ports": [{"name": "http", "port": target, "protocol": "TCP"}],
                "endpoints": [{
                    "addresses": [address],
                    "conditions": {"ready": true},
                    "targetRef": {"kind": "Pod", "name": name, "namespace": NAMESPACE},
                }],
            },
        ]);
        mesh.kubernetes().apply(json!({"apiVersion": "v1", "kind": "List", "items": objects}));
        let status = json!({
            "phase": "Running",
            "podIP": address,
            "podIPs": [{"ip": address}],
            "conditions": [{"type": "Ready", "status": "True"}],
        });
        self.report(mesh, &status);
    }

    /// Sets attributes of the pod's status, as a kubelet would.
    fn report(&self, mesh: &Mesh, status: &Value) {
        let patch = json!({"status": status}).to_string();
        mesh.kubernetes().ask(&["patch", "pod", &self.name, "--subresource", "status", "--patch", &patch]);
    }

    /// Reports all containers as ready, which is what `kubectl get pods` shows.
    fn report_ready(&self, mesh: &Mesh) {
        let ready = |name| {
            json!({
                "name": name,
                "image": name,
                "imageID": "",
                "ready": true,
                "started": true,
                "restartCount": 0,
                "state": {"running": {}},
            })
        };
        let containers: Vec<_> = self.kind.containers().iter().map(ready).collect();
        self.report(mesh, &json!({"containerStatuses": containers}));
    }

    /// The files that the pod's volumes would contain.
    fn write_volumes(&self, mesh: &Mesh, directory: &std::path::Path) {
        let root = ["get", "configmap", "istio-ca-root-cert", "--output", r"jsonpath={.data.root-cert\.pem}"];
        fs::write(directory.join("root-cert.pem"), mesh.kubernetes().ask(&root)).expect("a fresh directory");
        let token = mesh.kubernetes().ask(&[
            "create",
            "token",
            &self.name,
            "--audience=istio-ca",
            "--bound-object-kind=Pod",
            &format!("--bound-object-name={}", self.name),
        ]);
        let tokens = directory.join("var/run/secrets/tokens");
        fs::create_dir_all(&tokens).expect("a fresh directory");
        fs::write(tokens.join("istio-token"), token.trim()).expect("a fresh directory");
        let pod = directory.join("etc/istio/pod");
        fs::create_dir_all(&pod).expect("a fresh directory");
        let annotations = self.annotations.iter().map(|(name, value)| format!("{name}={value:?}\n"));
        fs::write(pod.join("annotations"), annotations.collect::<String>()).expect("a fresh directory");
        let hosts = format!("127.0.0.1 localhost\n{} istiod.istio-system.svc\n", Node::ADDRESS);
        fs::write(directory.join("hosts"), hosts).expect("a fresh directory");
    }

    /// The template of Envoy's bootstrap.
    fn template(&self, directory: &std::path::Path) -> PathBuf {
        let istios = tools::istio("envoy_bootstrap.json");
        if self.kind != Kind::Waypoint {
            return istios;
        }
        let text = fs::read_to_string(istios).expect("a readable file");
        let template = directory.join("envoy_bootstrap.json");
        fs::write(&template, waypoint::bootstrap(&text)).expect("a fresh directory");
        template
    }

    /// The value that Istio's injection would use.
    fn component_log_level(&self) -> &str {
        self.annotations.get(COMPONENT_LOG_LEVEL).map_or("misc:error", String::as_str)
    }

    fn agent(&self, namespace: &Namespace, directory: &std::path::Path, address: Ipv4Addr) -> Process {
        let template = self.template(directory);
        let mut configuration = json!({
            "binaryPath": envoy_binary(),
            "configPath": directory.join("etc/istio/proxy"),
            "discoveryAddress": ControlPlane::ADDRESS,
            "proxyBootstrapTemplatePath": template,
            "terminationDrainDuration": "0s",
            "concurrency": 2,
        });
        for (attribute, value) in &self.configuration {
            configuration[attribute] = value.clone();
        }
        let root = directory.join("root-cert.pem");
        let mut command = namespace.command("unshare");
        command
            .args(["--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", AGENT, "agent"])
            .arg(tools::istio("pilot-agent"))
            .args(["proxy", self.kind.role()])
            .args(["--domain", &format!("{NAMESPACE}.svc.cluster.local"), "--proxyLogLevel", "warning"])
            .args(["--proxyComponentLogLevel", self.component_log_level(), "--templateFile"])
            .arg(&template)
            .current_dir(directory)
            .env("POD_NAME", &self.name)
            .env("POD_NAMESPACE", NAMESPACE)
            .env("SERVICE_ACCOUNT", &self.name)
            .env("INSTANCE_IP", address.to_string())
            .env("HOST_IP", Node::ADDRESS.to_string())
            .env("ISTIO_META_CLUSTER_ID", "Kubernetes")
            .env("ISTIO_META_INTERCEPTION_MODE", "REDIRECT")
            .env("ISTIO_METAJSON_LABELS", json!(self.labels).to_string())
            .env("PROXY_CONFIG", configuration.to_string())
            .env("XDS_ROOT_CA", &root)
            .env("CA_ROOT_CA", &root)
            .env("CA_ADDR", ControlPlane::ADDRESS)
            .env("WASM_INSECURE_REGISTRIES", "*")
            .envs(self.environment.iter().map(|(name, value)| (name, value)));
        Process::start(&mut command, &directory.join("agent.log"))
    }
}

impl Pod {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The address of a port of it. For a sidecar: the port is intercepted.
    pub fn address(&self, port: u16) -> SocketAddr {
        (self.address, port).into()
    }

    /// Its network.
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// Its working directory, which is removed with the mesh.
    pub fn directory(&self) -> &std::path::Path {
        &self.directory
    }

    /// A socket inside that listens on the port, for an application.
    pub fn listen(&self, port: u16) -> TcpListener {
        self.namespace.inside(|| TcpListener::bind((Ipv4Addr::UNSPECIFIED, port))).expect("a free port")
    }

    /// Sends a request to a port of the pod, as somebody outside of it does.
    pub async fn send(&self, port: u16, request: Request) -> Response {
        let answer = sidegate_harness::send(self.address(port), &request).await;
        answer.unwrap_or_else(|error| panic!("{request:?}: {error}: {}", self.log()))
    }

    /// Sends a request from inside.
    pub async fn send_from_inside(&self, to: SocketAddr, request: Request) -> std::io::Result<Response> {
        // Connected synchronously, so that nothing else runs while this thread is inside.
        let stream = self.namespace.inside(|| TcpStream::connect(to))?;
        Connection::over(stream)?.send(&request).await
    }

    /// Asks Envoy's admin port.
    pub async fn admin(&self, path: &str) -> std::io::Result<Response> {
        self.send_from_inside(([127, 0, 0, 1], 15000).into(), Request::get(path)).await
    }

    /// All of Envoy's counters and gauges.
    pub async fn stats(&self) -> Stats {
        let answer = self.admin("/stats?format=json").await.expect("an admin port");
        stats(&answer.json())
    }

    /// The log of agent and Envoy so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.directory.join("agent.log")).unwrap_or_default()
    }

    /// Waits until Envoy has its configuration and serves.
    pub async fn ready(&self) {
        let ready = async || {
            let answer = self.send_from_inside(self.address(15021), Request::get("/healthz/ready")).await;
            answer.is_ok_and(|answer| answer.status == 200)
        };
        eventually(&format!("pod {} to be ready", self.name), async || ready().await.then_some(())).await;
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- log of pod {}\n{}---", self.name, self.log());
        }
    }
}

/// Redirects what comes in and goes out to the proxy, as Istio's init container does.
fn intercept(namespace: &Namespace) {
    must(
        namespace
            .command(tools::istio("pilot-agent"))
            .args(["istio-iptables", "-p", "15001", "-z", "15006", "-u", "1337", "-m", "REDIRECT"])
            .args(["-i", "*", "-x", "", "-b", "*", "-d", "15090,15021,15020"])
            .env("PATH", tools::path()),
    );
}
