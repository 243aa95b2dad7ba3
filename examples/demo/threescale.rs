//! The chapter about 3scale: `envoy/threescale.yaml` with `envoy/threescale-policy.yaml`, in an Envoy of its
//! own. 3scale's backend cannot be installed here. A stand-in plays it, which is tested against what the real
//! one answered.

use std::error::Error;

use serde_json::json;
use sidegate_harness::{
    Envoy, Request, Response, Upstream, eventually, set_host,
    table::{Table, admitted, bare, refused},
    threescale::{Application, Fault, Period, Service, Threescale},
    yaml,
};
use tempfile::TempDir;

use crate::parts::{at, filter_with_policy};

const TOKEN: &str = "demo-service-token";
const READ: &str = "GET /words/awesome";

/// Walks the chapter and prints its table. Returns the number of wrong answers.
pub async fn walk() -> Result<u32, Box<dyn Error>> {
    let backend = Threescale::start([service("Sandbox")]).await;
    let [sandbox, production] = [Upstream::echo("sandbox").await, Upstream::echo("production").await];
    let directory = TempDir::with_prefix("sidegate-demo-")?;
    let filter = directory.path().join("filter.yaml");
    let mut written = filter_with_policy("envoy/threescale-policy.yaml")?;
    *at(&mut written, "/resources/0/typed_config/config/vm_config/environment_variables/host_env_keys")? =
        json!(["THREESCALE_TOKEN"]);
    std::fs::write(&filter, written.to_string())?;

    let mut bootstrap = yaml("envoy/threescale.yaml");
    for (cluster, address) in
        [("su1", backend.address()), ("sandbox", sandbox.address()), ("production", production.address())]
    {
        set_host(&mut bootstrap, cluster, address);
    }
    // The stand-in speaks plain HTTP.
    for cluster in at(&mut bootstrap, "/static_resources/clusters")?.as_array_mut().into_iter().flatten() {
        cluster.as_object_mut().and_then(|cluster| cluster.remove("transport_socket"));
    }
    *at(&mut bootstrap, "/static_resources/listeners/0/address/socket_address/port_value")? = json!(0);
    let manager = "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config";
    let source = format!("{manager}/http_filters/0/config_discovery/config_source/path_config_source");
    *at(&mut bootstrap, &source)? = json!({"path": filter, "watched_directory": {"path": directory.path()}});
    let envoy = Envoy::run(bootstrap, |envoy| {
        envoy.args(["--concurrency", "2"]).env("THREESCALE_TOKEN", TOKEN);
    })
    .await;
    let mut table = Table::begin(envoy.address().await, "words.example.com");
    plans(&mut table, &backend).await;
    outage(&mut table, &backend).await;
    Ok(table.end())
}

async fn plans(table: &mut Table, backend: &Threescale) {
    table.say(
        "3scale (its backend is a stand-in): applications and plans are there, decisions and counts here",
    );
    table.ask(READ, "nobody", bare, refused(403, "12"), "a user key is required").await;
    table.ask(READ, "a wrong key", user("guess"), refused(401, "13"), "3scale does not know it").await;
    table.ask("GET /other", "acme", user("acme"), refused(404, "00"), "no mapping rule matched").await;
    table.ask("POST /words/new", "acme", user("acme"), refused(403, "27"), "disabled on the plan").await;
    let answer = table.ask(READ, "acme", user("acme"), admitted(), "3scale says yes").await;
    table.also(served_by(&answer, "sandbox"), "its plan is Sandbox: answered by sandbox.example.com");
    let calls = backend.calls("/transactions/authorize.xml");
    table.ask(READ, "acme", user("acme"), admitted(), "from the cache").await;
    table.ask(READ, "acme", user("acme"), admitted(), "the third of three a day").await;
    let more = backend.calls("/transactions/authorize.xml").saturating_sub(calls);
    table.also(more <= 2, "3scale was hardly asked");
    table.ask(READ, "acme", user("acme"), refused(429, "14"), "refused before 3scale has counted").await;

    backend.replace([service("Production")]);
    let answer = eventually("the new plan to be in force", async || {
        let answer = table.send(user("acme")(Request::get("/words/awesome"))).await;
        (answer.status == 200).then_some(answer)
    });
    let answer = answer.await;
    table.add(READ, "acme, upgraded", &answer, admitted(), "the plan is Production within the TTL");
    table.also(served_by(&answer, "production"), "answered by production.example.com");
    backend.reached("acme", "hits", 4).await;
    table.also(backend.errors().is_empty(), "3scale has counted the four that passed");
    let codes = backend.answered("acme", 200);
    table.also(codes > 0, "knows how they were answered (log[code])");
}

async fn outage(table: &mut Table, backend: &Threescale) {
    table.say("3scale is gone: who is known passes, and is reported afterwards");
    backend.now(Fault::Stopped);
    table.ask(READ, "acme", user("acme"), admitted(), "the last decision is repeated").await;
    table.ask(READ, "globex", user("globex"), refused(503, "24"), "nothing is known about it").await;
    backend.now(Fault::None);
    backend.reached("acme", "hits", 5).await;
    table.also(true, "3scale has counted it");
}

fn service(plan: &str) -> Service {
    Service::of_user_keys("123", TOKEN)
        .metric("reads", Some("hits"))
        .metric("writes", Some("hits"))
        .plan("Sandbox", &[("hits", Period::Day, 3), ("writes", Period::Eternity, 0)])
        .plan("Production", &[])
        .application(Application::new("acme", plan).user_key("acme"))
        .application(Application::new("globex", plan).user_key("globex"))
}

fn user(key: &str) -> impl Fn(Request) -> Request {
    move |request| request.header("user-key", key)
}

fn served_by(answer: &Response, name: &str) -> bool {
    answer.json().get("name").is_some_and(|served| served == name)
}
