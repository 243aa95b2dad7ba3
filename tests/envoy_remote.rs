//! Modules that Envoy fetches itself: what `envoy/remote.yaml` does, and what it warns of.
#![cfg(test)]
#![cfg(not(target_family = "wasm"))]

use serde_json::{Value, json};
use sidegate::credential::Digest;
use sidegate_harness::{
    Answer, Envoy, Listener, Request, Setup, StubProvider, Upstream, Wasm, eventually, noop_module, route,
    set_host, sidegate_module, yaml,
};
use tempfile::TempDir;

const CONFIG: &str =
    "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config/http_filters/0/typed_config/config";

/// A module on a server, and its digest.
struct Module {
    served: Answer,
    sha256: String,
}

impl Module {
    fn of(bytes: Vec<u8>) -> Self {
        let sha256 = Digest::of(&bytes).to_hex();
        Self { served: Answer::with(200, "application/wasm", bytes), sha256 }
    }

    fn sidegate() -> Self {
        Self::of(std::fs::read(sidegate_module()).unwrap())
    }

    /// Another module, which lets everything pass.
    fn noop() -> Self {
        Self::of(std::fs::read(noop_module()).unwrap())
    }

    fn code(&self) -> Value {
        let uri = json!({"uri": "http://modules/x.wasm", "cluster": "modules", "timeout": "30s"});
        json!({"remote": {"http_uri": uri, "sha256": self.sha256, "retry_policy": {"num_retries": 0}}})
    }
}

/// `remote.yaml` for these servers.
fn bootstrap(sha256: &str, modules: &StubProvider, service: &Upstream) -> Value {
    let mut bootstrap = yaml("envoy/remote.yaml");
    set_host(&mut bootstrap, "orders", service.address());
    set_host(&mut bootstrap, "modules", modules.address());
    bootstrap["static_resources"]["listeners"][0]["address"]["socket_address"]["port_value"] = json!(0);
    remote(&mut bootstrap)["sha256"] = json!(sha256);
    bootstrap
}

fn remote(bootstrap: &mut Value) -> &mut Value {
    &mut bootstrap.pointer_mut(CONFIG).unwrap()["vm_config"]["code"]["remote"]
}

/// A policy that admits only /health. Only its revision matters.
fn policy(revision: &str) -> Value {
    let rules = json!([{"path": "/**"}, {"path": "/health", "access": ["allow"]}]);
    json!({"sidegate": "v1", "revision": revision, "apis": [{"name": "all", "access": ["deny"], "rules": rules}]})
}

/// Status and code for what the policy denies, and status for what it allows.
async fn verdicts(envoy: &Envoy) -> (u16, Option<String>, u16) {
    let denied = envoy.send(Request::get("/x")).await;
    (denied.status, denied.code().map(str::to_owned), envoy.send(Request::get("/health")).await.status)
}

fn decided() -> (u16, Option<String>, u16) {
    (403, Some("27".to_owned()), 200)
}

#[tokio::test]
async fn envoy_waits_for_its_module_and_then_decides() {
    let (modules, service) = (StubProvider::start(Answer::close()).await, Upstream::echo("orders").await);
    let module = Module::sidegate();
    let bootstrap = bootstrap(&module.sha256, &modules, &service);
    let late = async {
        modules.called(2).await;
        modules.now(module.served.clone());
    };
    let (envoy, ()) = tokio::join!(Envoy::run(bootstrap, |_| ()), late);
    assert_eq!(modules.calls()[0].path, "/sidegate-0.1.0.wasm");
    assert_eq!(verdicts(&envoy).await, decided());
}

#[tokio::test]
async fn envoy_does_not_listen_with_a_module_of_another_digest() {
    let (modules, service) =
        (StubProvider::start(Module::sidegate().served).await, Upstream::echo("orders").await);
    let bootstrap = bootstrap(&Module::noop().sha256, &modules, &service);
    tokio::select! {
        _ = Envoy::run(bootstrap, |_| ()) => panic!("it listens"),
        () = modules.called(3) => {}
    }
}

#[tokio::test]
async fn an_envoy_that_gave_up_answers_503_from_then_on() {
    let (modules, service) = (StubProvider::start(Answer::close()).await, Upstream::echo("orders").await);
    let module = Module::sidegate();
    let mut bootstrap = bootstrap(&module.sha256, &modules, &service);
    remote(&mut bootstrap)["retry_policy"]["num_retries"] = json!(0);
    let envoy = Envoy::run(bootstrap, |_| ()).await;
    modules.now(module.served);
    for _ in 0..3 {
        let answer = envoy.send(Request::get("/health")).await;
        assert_eq!((answer.status, answer.text().as_str(), answer.code()), (503, "", None));
    }
    assert_eq!((modules.calls().len(), service.requests()), (1, 0));
}

/// Envoy with a filter by `config_discovery`, which may wait for modules.
struct Delivered {
    envoy: Envoy,
    modules: StubProvider,
    service: Upstream,
    directory: TempDir,
}

impl Delivered {
    async fn start(module: &Module, waits: bool) -> Self {
        let modules = StubProvider::start(module.served.clone()).await;
        let service = Upstream::echo("orders").await;
        let directory = TempDir::with_prefix("sidegate-remote-").unwrap();
        deliver(&directory, "1", module, waits);
        let path = directory.path().to_str().unwrap();
        let demo = yaml("envoy/demo.yaml").to_string();
        let demo = demo.replace("/etc/sidegate", path).replace("\"oidc\"", "\"modules\"");
        let mut bootstrap: Value = demo.parse().unwrap();
        set_host(&mut bootstrap, "orders", service.address());
        set_host(&mut bootstrap, "modules", modules.address());
        bootstrap["static_resources"]["listeners"][0]["address"]["socket_address"]["port_value"] = json!(0);
        Self { envoy: Envoy::run(bootstrap, |_| ()).await, modules, service, directory }
    }

    async fn updates(&self, result: &str) -> u64 {
        self.envoy.stat(&format!("extension_config_discovery.http_filter.sidegate.{result}")).await
    }
}

/// Moves a filter into place.
fn deliver(directory: &TempDir, revision: &str, module: &Module, waits: bool) {
    let mut filter = yaml("envoy/demo-filter.yaml");
    let config = &mut filter["resources"][0]["typed_config"]["config"];
    config["configuration"]["value"] = json!(policy(revision).to_string());
    config["vm_config"]["code"] = module.code();
    config["vm_config"]["nack_on_code_cache_miss"] = json!(waits);
    let (new, path) = (directory.path().join("new"), directory.path().join("filter.yaml"));
    std::fs::write(&new, filter.to_string()).unwrap();
    std::fs::rename(new, path).unwrap();
}

#[tokio::test]
async fn with_config_discovery_a_missing_module_opens_the_gate() {
    let delivered = Delivered::start(&Module::sidegate(), false).await;
    assert_eq!(verdicts(&delivered.envoy).await, decided());

    deliver(&delivered.directory, "2", &Module::noop(), false);
    eventually("the gate is open", async || {
        (verdicts(&delivered.envoy).await == (200, None, 200)).then_some(())
    })
    .await;
    assert_eq!(delivered.updates("update_success").await, 2, "Envoy counts it as a success");
    assert_eq!(delivered.modules.calls().len(), 1, "and did not even ask for the module");
    assert!(delivered.service.requests() > 1);
}

#[tokio::test]
async fn with_config_discovery_that_waits_for_modules_the_old_one_stays() {
    let delivered = Delivered::start(&Module::sidegate(), true).await;
    // At first there is no old module. A fetched module is used once the filter is delivered again.
    assert_eq!(verdicts(&delivered.envoy).await, (500, None, 500));
    eventually("the filter is accepted", async || {
        deliver(&delivered.directory, "1 again", &Module::sidegate(), true);
        (verdicts(&delivered.envoy).await == decided()).then_some(())
    })
    .await;

    let (calls, rejected) = (delivered.modules.calls().len(), delivered.updates("update_rejected").await);
    deliver(&delivered.directory, "2", &Module::noop(), true);
    eventually("the filter is refused", async || {
        (delivered.updates("update_rejected").await > rejected).then_some(())
    })
    .await;
    delivered.modules.called(calls.saturating_add(1)).await;
    assert_eq!(verdicts(&delivered.envoy).await, decided());
}

#[tokio::test]
async fn a_new_module_in_a_new_listener_needs_a_new_vm() {
    let (old, new) = (Module::noop(), Module::sidegate());
    let (modules, service) = (StubProvider::start(old.served.clone()).await, Upstream::echo("orders").await);
    let listener = |wasm: Wasm| Listener::new("main").wasm(&wasm).route(route("orders"));
    let wasm = |module: &Module| Wasm::sidegate(&policy("1")).code(module.code());
    for (new_vm, expected) in [(false, (200, None, 200)), (true, decided())] {
        modules.now(old.served.clone());
        let setup = Setup::new(listener(wasm(&old)));
        let setup = setup.cluster("orders", service.address()).cluster("modules", modules.address());
        let mut envoy = Envoy::start(setup).await;
        assert_eq!(verdicts(&envoy).await, (200, None, 200));
        modules.now(new.served.clone());
        let wasm = wasm(&new);
        envoy.reload(listener(if new_vm { wasm.vm_configuration(&new.sha256) } else { wasm })).await.unwrap();
        assert_eq!(verdicts(&envoy).await, expected, "another VM: {new_vm}");
    }
}

#[tokio::test]
async fn a_new_listener_with_another_module_replaces_the_old_one() {
    let (modules, service) =
        (StubProvider::start(Module::sidegate().served).await, Upstream::echo("orders").await);
    let listener = |module: &Module| {
        let wasm = Wasm::sidegate(&policy("1")).code(module.code());
        Listener::new("main").wasm(&wasm).route(route("orders"))
    };
    let setup = Setup::new(listener(&Module::sidegate()));
    let setup = setup.cluster("orders", service.address()).cluster("modules", modules.address());
    let mut envoy = Envoy::start(setup).await;
    assert_eq!(verdicts(&envoy).await, decided());
    envoy.reload(listener(&Module::noop())).await.unwrap();
    assert_eq!(verdicts(&envoy).await, (503, None, 503));
}
