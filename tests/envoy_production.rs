//! `envoy/production.yaml` runs: with TLS on both sides, a real OAuth2 server behind TLS, and callers that
//! forge headers.
#![cfg(test)]
#![cfg(not(target_family = "wasm"))]

use std::{net::SocketAddr, os::unix::fs::symlink, path::Path};

use serde_json::{Value, json};
use sidegate_harness::{
    Answer, Authority, Certificate, Client, Connection, Envoy, Oidc, Request, Response, StubProvider,
    TlsRelay, Upstream, eventually, send, set_host, sidegate_module, yaml,
};
use tempfile::TempDir;

const SECRET: &str = "the-secret-of-the-gate";
const MANAGER: &str = "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config";

/// Everything that `production.yaml` connects to.
struct Parts {
    authority: Authority,
    service: Upstream,
    service_tls: TlsRelay,
    idp_tls: TlsRelay,
    directory: TempDir,
}

/// Envoy with `production.yaml`, and a TLS client for callers.
struct Production {
    parts: Parts,
    envoy: Envoy,
    caller: TlsRelay,
}

impl Parts {
    /// A service and an authorization server behind TLS, and the directory that is mounted as /etc/sidegate.
    async fn new(idp: SocketAddr) -> Self {
        let authority = Authority::new();
        let service = Upstream::echo("orders").await;
        let service_tls =
            TlsRelay::before(service.address(), &authority.certificate("orders.internal")).await;
        let idp_tls = TlsRelay::before(idp, &authority.certificate("idp.example.com")).await;
        let directory = TempDir::with_prefix("sidegate-production-").unwrap();
        std::fs::create_dir(directory.path().join("tls")).unwrap();
        symlink(sidegate_module(), directory.path().join("sidegate.wasm")).unwrap();
        let parts = Self { authority, service, service_tls, idp_tls, directory };
        parts.put("tls/ca.pem", parts.authority.pem());
        parts.put_certificate(&parts.authority.certificate("api.example.com"));
        parts.put("certificate.yaml", &parts.file("certificate.yaml").to_string());
        parts.put_policy(&policy());
        parts
    }

    /// Moves a file into its place in the directory.
    fn put(&self, name: &str, content: &str) {
        let (new, path) = (self.directory.path().join("new"), self.directory.path().join(name));
        std::fs::write(&new, content).unwrap();
        std::fs::rename(&new, path).unwrap();
    }

    /// Replaces certificate and key at once, as Kubernetes does with a mounted secret: a link to their
    /// directory is replaced.
    fn put_certificate(&self, certificate: &Certificate) {
        let tls = self.directory.path().join("tls");
        let new = TempDir::with_prefix_in("..", &tls).unwrap().keep();
        for (name, content) in [("server.pem", &certificate.chain), ("server.key", &certificate.key)] {
            std::fs::write(new.join(name), content).unwrap();
            let _exists = symlink(Path::new("..data").join(name), tls.join(name));
        }
        symlink(new.file_name().unwrap(), tls.join("new")).unwrap();
        std::fs::rename(tls.join("new"), tls.join("..data")).unwrap();
    }

    fn put_policy(&self, policy: &Value) {
        self.put("filter.yaml", &self.filter(policy).to_string());
    }

    /// `filter.yaml` with a policy.
    fn filter(&self, policy: &Value) -> Value {
        let mut filter = self.file("filter.yaml");
        filter["resources"][0]["typed_config"]["config"]["configuration"]["value"] =
            json!(policy.to_string());
        filter
    }

    /// A file of `envoy/`, for this directory.
    fn file(&self, name: &str) -> Value {
        let text = yaml(&format!("envoy/{name}")).to_string();
        text.replace("/etc/sidegate", self.directory.path().to_str().unwrap()).parse().unwrap()
    }

    async fn start(self, change: impl FnOnce(&mut Value)) -> Production {
        let mut bootstrap = self.file("production.yaml");
        set_host(&mut bootstrap, "orders", self.service_tls.address());
        set_host(&mut bootstrap, "oidc", self.idp_tls.address());
        bootstrap["static_resources"]["listeners"][0]["address"]["socket_address"] =
            json!({"address": "127.0.0.1", "port_value": 0});
        change(&mut bootstrap);
        let envoy = Envoy::run(bootstrap, |envoy| {
            envoy.args(["--concurrency", "2"]).env("OIDC_SECRET", SECRET);
        })
        .await;
        let caller = TlsRelay::to(envoy.address().await, "api.example.com", &self.authority).await;
        Production { parts: self, envoy, caller }
    }
}

impl Production {
    /// Without an authorization server.
    async fn start() -> Self {
        let nobody = StubProvider::start(Answer::close()).await;
        Parts::new(nobody.address()).await.start(|_| ()).await
    }

    async fn send(&self, request: Request) -> Response {
        send(self.caller.address(), &request).await.unwrap_or_else(|error| panic!("{request:?}: {error}"))
    }
}

/// The policy of the demo, with an API that limits by address.
fn policy() -> Value {
    let mut policy = yaml("envoy/demo-policy.yaml");
    policy["providers"]["oidc"]["introspection"]["url"] =
        json!("https://idp.example.com/token/introspection");
    policy["providers"]["oidc"]["introspection"]["timeout"] = json!("1h");
    let addresses = json!({
        "name": "addresses", "hosts": ["addresses"], "access": ["allow"], "rules": [{"path": "/**"}],
        "metering": [{"path": "/**", "metric": "hits", "by": 1}],
        "limits": [{"metric": "hits", "max": 1, "per": "eternity", "of": "address"}],
    });
    policy["apis"].as_array_mut().unwrap().push(addresses);
    policy
}

fn get(path: &str) -> Request {
    Request::get(path).host("orders.example.com")
}

fn verdict(answer: &Response) -> (u16, Option<&str>) {
    (answer.status, answer.code())
}

#[tokio::test]
async fn keys_and_tokens_work_behind_tls_and_operators_see_no_secrets() {
    let clients = [Client::new("gateway", SECRET, ""), Client::new("acme-web", "a", "orders.read")];
    let oidc = Oidc::start(clients).await;
    let token = oidc.token("acme-web", "orders.read", Some(Oidc::ORDERS)).await;
    let production = Parts::new(oidc.address()).await.start(|_| ()).await;

    let forged = get("/v1/reports/7").header("apikey", "acme-key").header("x-consumer", "root");
    let answer = production.send(forged.header("x-sidegate-consumer", "root")).await;
    assert_eq!(verdict(&answer), (200, None));
    assert_eq!(answer.received("x-consumer").as_deref(), Some("acme"));
    assert_eq!((answer.received("apikey"), answer.received("x-sidegate-consumer")), (None, None));
    assert_eq!(answer.received("x-forwarded-proto").as_deref(), Some("https"));
    assert_eq!(answer.header("server"), Some("gateway"));
    assert!(answer.headers.iter().all(|(name, _)| !name.starts_with("x-envoy-")), "{answer:?}");

    let mut refused = production.send(get("/v1/reports/7?apikey=acme-key")).await;
    assert_eq!(verdict(&refused), (403, Some("12")));
    refused = production.send(get("/v1/orders/7").bearer("no-token-of-theirs")).await;
    assert_eq!(verdict(&refused), (401, Some("22")));
    let asked = production.send(get("/v1/orders/7").bearer(&token)).await;
    assert_eq!(verdict(&asked), (200, None));
    assert_eq!(asked.received("x-client").as_deref(), Some("acme-web"));
    assert_eq!(production.parts.service.requests(), 2);

    let envoy = &production.envoy;
    let lines = eventually("four lines of access log", async || {
        let log = envoy.log();
        let lines: Vec<Value> = log.lines().filter_map(|line| line.parse().ok()).collect();
        (lines.len() == 4).then_some(lines)
    })
    .await;
    let fields = ["address", "path", "status", "details", "code", "consumer"];
    let lines = lines.iter().map(|line| fields.map(|field| &line[field]));
    let expected = [
        json!(["127.0.0.1", "/v1/reports/7", 200, "via_upstream", null, "acme"]),
        json!(["127.0.0.1", "/v1/reports/7", 403, "sidegate_12", "12", null]),
        json!(["127.0.0.1", "/v1/orders/7", 401, "sidegate_22", "22", null]),
        json!(["127.0.0.1", "/v1/orders/7", 200, "via_upstream", null, "acme"]),
    ];
    assert_eq!(lines.map(|line| json!(line)).collect::<Vec<_>>(), expected);

    let prometheus = envoy.admin("/stats/prometheus?filter=wasmcustom").await.text();
    for line in [
        r#"sidegate_decisions{api="orders",outcome="admitted",code="none"} 2"#,
        r#"sidegate_decisions{api="orders",outcome="refused",code="12"} 1"#,
        r#"sidegate_decisions{api="orders",outcome="refused",code="22"} 1"#,
        r#"sidegate_identity_lookups{result="miss"} 2"#,
        r#"sidegate_policy_loads{result="accepted"} 1"#,
        r#"sidegate_provider_calls{result="ok",provider="oidc"} 2"#,
        r#"sidegate_provider_call_milliseconds_count{provider="oidc"} "#,
        r#"sidegate_policy{revision="demo-1",digest=""#,
    ] {
        assert!(prometheus.contains(line), "{line}: {prometheus}");
    }

    let dump = envoy.config_dump().await.to_string();
    assert!(
        dump.contains("host_env_keys") && dump.contains("certificate_chain"),
        "it shows filter and secrets"
    );
    assert!(dump.contains("afacab3575137afa4e00d9cbcafcb14c"), "it shows the policy, with the keys' digests");
    let key = std::fs::read_to_string(production.parts.directory.path().join("tls/server.key")).unwrap();
    let key = key.lines().nth(1).unwrap();
    for secret in [SECRET, key, "acme-key", "no-token-of-theirs", &token] {
        assert!(!dump.contains(secret), "{secret} in the configuration");
        assert!(!envoy.log().contains(secret), "{secret} in the log");
    }
}

#[tokio::test]
async fn the_admin_port_listens_only_on_this_machines_own_address() {
    let production = Production::start().await;
    let admin = production.envoy.admin_address();
    assert!(send(admin, &Request::get("/ready")).await.is_ok());
    // Another address of the same machine.
    let other = SocketAddr::from(([127, 0, 0, 2], admin.port()));
    assert!(Connection::open(other).await.is_err());
}

#[tokio::test]
async fn forged_headers_about_the_caller_are_ignored() {
    let production = Production::start().await;
    let from = |address: &str| {
        Request::get("/").host("addresses").header("x-forwarded-for", address).header("x-request-id", "mine")
    };
    let first = production.send(from("192.0.2.1").header("x-envoy-internal", "true")).await;
    assert_eq!(verdict(&first), (200, None));
    assert_eq!(first.received("x-envoy-internal"), None);
    assert_ne!(first.received("x-request-id").as_deref(), Some("mine"));
    assert_eq!(verdict(&production.send(from("192.0.2.2")).await), (429, Some("14")), "the same address");
    assert_eq!(production.parts.service.requests(), 1);
}

#[tokio::test]
async fn ambiguous_requests_are_refused_and_paths_are_normalised_before_routing() {
    let parts = Parts::new(StubProvider::start(Answer::close()).await.address()).await;
    let production = parts
        .start(|bootstrap| {
            // A route without the gate.
            let off = json!({"sidegate": {"@type": "type.googleapis.com/envoy.config.route.v3.FilterConfig", "disabled": true}});
            let public = json!({"match": {"prefix": "/public"}, "route": {"cluster": "orders"}, "typed_per_filter_config": off});
            let routes = bootstrap.pointer_mut(&format!("{MANAGER}/route_config/virtual_hosts/0/routes")).unwrap();
            routes.as_array_mut().unwrap().insert(0, public);
        })
        .await;
    let with_key = |path: &str| get(path).header("apikey", "acme-key");
    for (request, expected) in [
        (with_key("/v1/reports/7").header("x_consumer", "root"), (400, None)),
        (with_key("/v1/reports%2F7"), (400, None)),
        (with_key("/v1/reports%5c7"), (400, None)),
        (with_key("/v1/reports/%zz"), (400, Some("20"))),
        (with_key("/public/../v1/admin/x"), (403, Some("27"))),
        (with_key("/public/%2e%2e/v1/admin/x"), (403, Some("27"))),
        (with_key("//v1//admin/x"), (403, Some("27"))),
        (with_key("/public\\..\\v1\\admin\\x"), (403, Some("27"))),
        (with_key("/v1/../../v1/admin/x"), (403, Some("27"))),
    ] {
        assert_eq!(verdict(&production.send(request.clone()).await), expected, "{request:?}");
    }
    assert_eq!(production.parts.service.requests(), 0);
    let answer = production.send(with_key("/v1//x/../reports/7")).await;
    assert_eq!((answer.status, answer.json()["path"].as_str()), (200, Some("/v1/reports/7")));
    for public in ["/public/x", "//public//x"] {
        assert_eq!(production.send(get(public)).await.status, 200);
    }
}

#[tokio::test]
async fn servers_with_the_wrong_certificate_are_not_called() {
    let idp = StubProvider::start(Answer::json(&json!({"active": true}))).await;
    for (of_ours, name, reached) in
        [(true, "right", true), (true, "other.example.com", false), (false, "right", false)]
    {
        let mut parts = Parts::new(idp.address()).await;
        let theirs = Authority::new();
        let authority = if of_ours { &parts.authority } else { &theirs };
        let named = |right: &str| authority.certificate(if name == "right" { right } else { name });
        parts.service_tls = TlsRelay::before(parts.service.address(), &named("orders.internal")).await;
        parts.idp_tls = TlsRelay::before(idp.address(), &named("idp.example.com")).await;
        let production = parts.start(|_| ()).await;

        let calls = idp.calls().len();
        let by_key = production.send(get("/v1/reports/7").header("apikey", "acme-key")).await;
        let by_token = production.send(get("/v1/orders/7").bearer("t")).await;
        if reached {
            assert_eq!(verdict(&by_key), (200, None));
            assert_eq!(idp.calls().len(), calls.saturating_add(1));
        } else {
            assert_eq!(verdict(&by_key), (503, Some("08")));
            assert_eq!(by_key.json()["code"], 8);
            assert_eq!(verdict(&by_token), (503, Some("24")));
            assert_eq!((idp.calls().len(), production.parts.service.requests()), (calls, 0));
        }
    }
}

#[tokio::test]
async fn a_new_certificate_serves_new_connections_and_closes_none() {
    let production = Production::start().await;
    let mut open = Connection::open(production.caller.address()).await.unwrap();
    assert_eq!(open.send(&get("/v1/health")).await.unwrap().status, 200);

    let theirs = Authority::new();
    production.parts.put_certificate(&theirs.certificate("api.example.com"));
    let new = TlsRelay::to(production.envoy.address().await, "api.example.com", &theirs).await;
    eventually("the new certificate", async || {
        send(new.address(), &get("/v1/health")).await.is_ok_and(|answer| answer.status == 200).then_some(())
    })
    .await;
    assert!(send(production.caller.address(), &get("/v1/health")).await.is_err(), "the old one is gone");
    assert_eq!(open.send(&get("/v1/health")).await.unwrap().status, 200);
}

#[tokio::test]
async fn a_policy_that_is_moved_into_place_serves_and_an_invalid_one_does_not() {
    let production = Production::start().await;
    let once = || Request::get("/").host("addresses");
    assert_eq!(production.send(once()).await.status, 200);
    let mut open = Connection::open(production.caller.address()).await.unwrap();

    let mut next = policy();
    next["revision"] = json!("next");
    next["apis"][0]["rules"][0]["access"] = json!(["deny"]);
    production.parts.put_policy(&next);
    eventually("the new policy", async || {
        (verdict(&open.send(&get("/v1/health")).await.unwrap()) == (403, Some("27"))).then_some(())
    })
    .await;
    assert_eq!(verdict(&production.send(once()).await), (429, Some("14")), "counters are kept");

    let mut wrong = next.clone();
    wrong["apis"][0]["rules"][0]["acces"] = json!([]);
    production.parts.put_policy(&wrong);
    eventually("the invalid policy to be refused", async || {
        production.envoy.log().contains("apis[0] (orders).rules[0].acces: unknown field").then_some(())
    })
    .await;
    assert_eq!(verdict(&open.send(&get("/v1/health")).await.unwrap()), (403, Some("27")));
}

#[tokio::test]
async fn connections_are_limited_as_the_bootstrap_says() {
    let parts = Parts::new(StubProvider::start(Answer::close()).await.address()).await;
    let production = parts
        .start(|bootstrap| {
            let monitor = &mut bootstrap["overload_manager"]["resource_monitors"][1]["typed_config"];
            assert_eq!(monitor["max_active_downstream_connections"], 50000);
            monitor["max_active_downstream_connections"] = json!(2);
        })
        .await;
    let mut open = Vec::new();
    for _ in 0..2 {
        let mut connection = Connection::open(production.caller.address()).await.unwrap();
        assert_eq!(connection.send(&get("/v1/health")).await.unwrap().status, 200);
        open.push(connection);
    }
    assert!(send(production.caller.address(), &get("/v1/health")).await.is_err());
    assert_eq!(open[0].send(&get("/v1/health")).await.unwrap().status, 200);
}

#[test]
fn envoys_own_replies_are_those_of_the_demo() {
    let replies = |name: &str| yaml(name).pointer(&format!("{MANAGER}/local_reply_config")).cloned();
    assert!(replies("envoy/demo.yaml").is_some());
    assert_eq!(replies("envoy/production.yaml"), replies("envoy/demo.yaml"));
}

#[tokio::test]
async fn until_there_is_a_module_with_a_policy_every_request_is_refused() {
    let mut wrong = policy();
    wrong["apis"][0]["rules"][0]["acces"] = json!([]);
    for (module, policy, expected) in
        [(true, wrong, "apis[0] (orders).rules[0].acces: unknown field"), (false, policy(), "sidegate.wasm")]
    {
        let parts = Parts::new(StubProvider::start(Answer::close()).await.address()).await;
        parts.put_policy(&policy);
        if !module {
            std::fs::remove_file(parts.directory.path().join("sidegate.wasm")).unwrap();
        }
        let production = parts.start(|_| ()).await;
        let answer = production.send(get("/v1/health")).await;
        assert_eq!((answer.status, answer.code(), answer.text().as_str()), (500, None, ""));
        assert_eq!(production.parts.service.requests(), 0);
        assert!(production.envoy.log().contains(expected), "{expected}");
    }
}
