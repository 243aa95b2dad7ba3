//! Sidegate in a real Istio: delivered in every supported way, replaced, broken, and calling other servers.
#![cfg(test)]
#![cfg(not(target_family = "wasm"))]

#[path = "istio_mesh/browsers.rs"]
mod browsers;
#[path = "istio_mesh/delivery.rs"]
mod delivery;
#[path = "istio_mesh/fetching.rs"]
mod fetching;
#[path = "istio_mesh/images.rs"]
mod images;
#[path = "istio_mesh/introspection.rs"]
mod introspection;
#[path = "istio_mesh/logs.rs"]
mod logs;
#[path = "istio_mesh/manifests.rs"]
mod manifests;
#[path = "istio_mesh/metrics.rs"]
mod metrics;
#[path = "istio_mesh/places.rs"]
mod places;
#[path = "istio_mesh/pods.rs"]
mod pods;
#[path = "istio_mesh/policies.rs"]
mod policies;
mod rendered;
#[path = "istio_mesh/tokens.rs"]
mod tokens;
#[path = "istio_mesh/values.rs"]
mod values;
#[path = "istio_mesh/waypoints.rs"]
mod waypoints;

use std::{fs::File, net::SocketAddr, os::unix::fs::MetadataExt as _};

use serde_json::{Value, json};
use sidegate_harness::{Registry, Request, Response, Upstream, eventually, sidegate_module};
use sidegate_mesh::{Mesh, Plan, Pod, push};

const KEY: &str = "acme-key";
const APPLICATION: u16 = 8080;

/// A mesh with a registry that has the image, and the service `orders` behind a sidecar.
struct Shop {
    orders: Pod,
    service: Upstream,
    registry: Option<Registry>,
    /// `oci://…`, without tag and digest.
    url: String,
    /// Of the image's manifest: 64 hexadecimal digits.
    digest: String,
    mesh: Mesh,
}

impl Shop {
    async fn open() -> Self {
        Self::open_with(|plan| plan).await
    }

    /// [`Shop::open`] with changes to the pod.
    async fn open_with(change: impl Fn(Plan) -> Plan) -> Self {
        Self::open_in(Mesh::start().await, change).await
    }

    /// [`Shop::open_with`] in a mesh that already has other pods.
    async fn open_in(mesh: Mesh, change: impl Fn(Plan) -> Plan) -> Self {
        let registry = Self::registry(&mesh, ([127, 0, 0, 1], 0).into()).await;
        let (url, digest) = push(&registry, "right", mesh.directory());
        let orders = change(Plan::sidecar("orders")).start(&mesh).await;
        let service = Upstream::echo_on(orders.listen(APPLICATION), "orders");
        Self { orders, service, registry: Some(registry), url, digest, mesh }
    }

    /// A registry with everything that was pushed to earlier ones in this mesh.
    async fn registry(mesh: &Mesh, address: SocketAddr) -> Registry {
        let directory = mesh.directory().join("registry");
        std::fs::create_dir_all(&directory).unwrap();
        Registry::start_on(address, &directory, None).await
    }

    /// The image, by its digest.
    fn image(&self) -> String {
        format!("{}@sha256:{}", self.url, self.digest)
    }

    /// The module as a file that pods can read.
    fn module(&self) -> String {
        let module = self.mesh.directory().join("sidegate.wasm");
        std::fs::copy(sidegate_module(), &module).unwrap();
        module.display().to_string()
    }

    /// Applies what `sidegate render` prints for the policy, for `orders` unless it is for a gateway.
    fn apply(&self, policy: &Value, arguments: &[&str]) {
        self.mesh.kubernetes().apply(render(policy, arguments));
    }

    /// Applies the policy as a WasmPlugin for `orders`, and waits until it is in force.
    async fn guard(&self, policy: &Value) {
        self.apply(policy, &["--as", "wasmplugin", "--image", &self.image()]);
        guarded(&self.orders).await;
    }
}

/// One consumer with a key, and a path for everybody.
fn policy() -> Value {
    json!({
        "sidegate": "v1",
        "revision": "first",
        "consumers": [{
            "name": "acme",
            "keys": [{"id": "only", "sha256": "afacab3575137afa4e00d9cbcafcb14c9ae25f779d964eb0ea5b2c4eb5dfd163"}],
        }],
        "apis": [{
            "name": "orders",
            "access": ["api_key"],
            "rules": [{"path": "/health", "access": ["allow"]}, {"path": "/orders/**"}],
            "forward": {"headers": {"x-consumer": "{consumer}"}},
        }],
    })
}

/// The same, which sends its revision to the service.
fn revised(revision: &str) -> Value {
    let mut policy = policy();
    policy["revision"] = json!(revision);
    policy["apis"][0]["forward"]["headers"]["x-revision"] = json!(revision);
    policy
}

/// What `sidegate render` prints, for `orders` unless it is for a gateway.
fn render(policy: &Value, arguments: &[&str]) -> String {
    let selector = if arguments.contains(&"gateway") { "istio=ingressgateway" } else { "app=orders" };
    rendered::render(policy, &[arguments, &["--selector", selector]].concat())
}

/// [`render`] as an object, for what `sidegate render` would not print.
fn manifest(policy: &Value, arguments: &[&str]) -> Value {
    serde_norway::from_str(&render(policy, arguments)).unwrap()
}

fn order() -> Request {
    Request::get("/orders/17").host("orders.example.com")
}

async fn ask(pod: &Pod, request: Request) -> Response {
    pod.send(APPLICATION, request).await
}

/// Waits until the pod asks for a key.
async fn guarded(pod: &Pod) {
    let what = format!("Sidegate in pod {}", pod.name());
    eventually(&what, async || (ask(pod, order()).await.code() == Some("12")).then_some(())).await;
}

/// The revision of the [`revised`] policy that serves now.
async fn revision(pod: &Pod) -> Option<String> {
    ask(pod, order().header("apikey", KEY)).await.received("x-revision")
}

/// Waits until that revision is in force.
async fn in_force(pod: &Pod, expected: &str) {
    let serves = async || (revision(pod).await.as_deref() == Some(expected)).then_some(());
    eventually(&format!("revision {expected}"), serves).await;
}

/// What the pod's Envoy has received of the WasmPlugin or TrafficExtension with that name.
async fn discovered(pod: &Pod, name: &str) -> Option<Value> {
    let dump = pod.admin("/config_dump").await.ok()?.json();
    let configs = dump["configs"].as_array()?.iter();
    let filters = configs.filter_map(|config| config["ecds_filters"].as_array()).flatten();
    let mut filters = filters.map(|filter| &filter["ecds_filter"]);
    let resource = format!("extensions.istio.io/trafficextension/default.{name}");
    // Of a WasmPlugin, `~istio-translated-wasmplugin` follows.
    let of_it = |filter: &&Value| {
        filter["name"].as_str().is_some_and(|found| found.split('~').next() == Some(&resource))
    };
    filters.find(of_it).cloned()
}

/// Waits until the pod's log has this.
async fn logged(pod: &Pod, text: &str) {
    eventually(&format!("{text:?} in the log"), async || pod.log().contains(text).then_some(())).await;
}

/// Asserts that one request is admitted and one is refused through the port of the pod.
async fn assert_guards(pod: &Pod, service: &Upstream) {
    guarded(pod).await;
    let before = service.requests();
    let refused = ask(pod, order()).await;
    assert_eq!((refused.status, refused.code()), (403, Some("12")));
    assert_eq!(service.requests(), before, "it does not reach the service");

    let admitted = ask(pod, order().header("apikey", KEY)).await;
    assert_eq!(admitted.status, 200, "{}", admitted.text());
    assert_eq!(admitted.received("x-consumer").as_deref(), Some("acme"));
    assert_eq!(admitted.received("apikey"), None);
}

/// The number of processes in a network namespace. Threads do not count, although one of this process may be
/// in it.
fn processes(network: &File) -> usize {
    let number = network.metadata().unwrap().ino();
    let entries = std::fs::read_dir("/proc").unwrap().map(|entry| entry.unwrap());
    let others = entries.filter(|entry| entry.file_name().to_string_lossy().parse::<u32>().is_ok());
    let networks = others.filter_map(|process| std::fs::metadata(process.path().join("ns/net")).ok());
    networks.filter(|each| each.ino() == number).count()
}

#[tokio::test]
async fn a_mesh_that_ends_leaves_nothing_behind() {
    let shop = Shop::open().await;
    // The file stays open, so that no other network gets its number.
    let network = |id: u32| File::open(format!("/proc/{id}/ns/net")).unwrap();
    let node = network(shop.mesh.node().namespace().id());
    let pod = network(shop.orders.namespace().id());
    let directory = shop.mesh.directory().to_owned();
    // API server, database, istiod, registry; agent and Envoy; and the process that holds each network.
    assert!(processes(&node) >= 5 && processes(&pod) >= 3 && directory.exists());

    drop(shop);
    let gone = async || (processes(&node) == 0 && processes(&pod) == 0).then_some(());
    eventually("all processes to end", gone).await;
    assert!(!directory.exists());
}

#[tokio::test]
async fn requests_to_a_pod_go_through_its_envoy() {
    let mesh = Mesh::start().await;
    let orders = Plan::sidecar("orders").start(&mesh).await;
    let service = Upstream::echo_on(orders.listen(APPLICATION), "orders");

    let answer = ask(&orders, order()).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.json()["name"], "orders");
    assert_eq!(answer.header("server"), Some("istio-envoy"));
    assert_eq!(service.requests(), 1);

    // The application itself answers on its loopback, without a proxy.
    let answer = orders.send_from_inside(([127, 0, 0, 1], APPLICATION).into(), order()).await.unwrap();
    assert_eq!(answer.header("server"), None);
}
