//! Tokens of a real ORY Hydra, in a real Envoy, with the policy in `docs/hydra.md`. `make test-hydra` runs
//! this: Hydra takes minutes to build.
#![cfg(test)]
#![cfg(not(target_family = "wasm"))]

#[path = "troubleshooting/mod.rs"]
mod troubleshooting;

use serde_json::{Value, json};
use sidegate_harness::{
    Envoy, Hydra, Listener, Request, Response, Setup, Upstream, Wasm, eventually, project, route,
};
use troubleshooting::{Place, Shell, commands, page};

const HOST: &str = "orders.example.com";

/// The policy in the document, for this Hydra and this client.
fn policy(hydra: &Hydra, client: &str) -> Value {
    let page = std::fs::read_to_string(project("docs/hydra.md")).unwrap();
    let policy = page.split("```yaml\n").nth(1).unwrap().split("\n```").next().unwrap();
    let mut policy: Value = serde_norway::from_str(policy).unwrap();
    let provider = &mut policy["providers"]["hydra"]["introspection"];
    provider["url"] = json!(format!("http://{}/admin/oauth2/introspect", hydra.admin()));
    provider["issuers"] = json!([hydra.issuer()]);
    provider["timeout"] = json!("30s");
    provider["cache"]["ttl"] = json!("1s");
    policy["consumers"][0]["clients"] = json!([client]);
    policy
}

fn verdict(answer: &Response) -> (u16, Option<&str>) {
    (answer.status, answer.code())
}

#[tokio::test]
async fn tokens_of_a_registered_client_pass_until_they_are_revoked() {
    let hydra = Hydra::start().await;
    let client = hydra.register("orders.read,orders.write", "orders");
    let listed = hydra.run(&["list", "clients"]);
    assert!(listed.to_string().contains(&client.id), "{listed}");

    let upstream = Upstream::echo("orders").await;
    let wasm = Wasm::sidegate(&policy(&hydra, &client.id));
    let setup = Setup::new(Listener::new("main").wasm(&wasm).route(route("orders")))
        .cluster("orders", upstream.address())
        .cluster("hydra-admin", hydra.admin());
    let envoy = Envoy::start(setup).await;
    let send = async |method: &str, token: &str| {
        let request = Request::new(method, "/orders/7").host(HOST);
        envoy.send(if token.is_empty() { request } else { request.bearer(token) }).await
    };

    let token = hydra.token(&client, "orders.read", "orders").await;
    for _ in 0..2 {
        let answer = send("GET", &token).await;
        assert_eq!(verdict(&answer), (200, None));
        assert_eq!(answer.received("x-client"), Some(client.id.clone()));
        assert_eq!(answer.received("authorization"), None);
    }
    assert_eq!(verdict(&send("GET", "").await), (401, Some("21")));
    assert_eq!(verdict(&send("GET", "ory_at_made-up").await), (401, Some("22")));
    assert_eq!(verdict(&send("POST", &token).await), (403, Some("23")));
    let without_audience = hydra.token(&client, "orders.read", "").await;
    assert_eq!(verdict(&send("GET", &without_audience).await), (401, Some("22")));
    let both = hydra.token(&client, "orders.read orders.write", "orders").await;
    assert_eq!(verdict(&send("POST", &both).await), (200, None));

    hydra.revoke(&client, &token).await;
    eventually("the revoked token is refused", async || {
        let answer = send("GET", &token).await;
        match verdict(&answer) {
            (401, Some("22")) => Some(()),
            verdict => {
                assert_eq!(verdict, (200, None));
                None
            }
        }
    })
    .await;
    assert_eq!(verdict(&send("POST", &both).await), (200, None));
}

/// The commands in the page about Hydra, and those about it in the page about troubleshooting.
#[tokio::test]
async fn what_the_pages_say_to_type_works() {
    let hydra = Hydra::start().await;
    let client = hydra.register("orders.read,orders.write", "orders");
    let token = hydra.token(&client, "orders.read", "orders").await;
    let shell = Shell::new();
    let program = project("target/tools/hydra/hydra");
    shell.program("hydra", &format!("HOME={} exec {} \"$@\"", shell.path().display(), program.display()));
    shell.kubectl(r#"while [ "$1" != -- ]; do shift; done; shift; exec "$@""#);
    let (admin, public) = (hydra.admin().to_string(), hydra.issuer().replace("http://", ""));
    let local = |command: &str| {
        let command = command.replace("hydra-admin.auth:4445", &admin).replace("127.0.0.1:4445", &admin);
        command.replace("127.0.0.1:4444", &public)
    };
    let variables = [
        ("TOKEN".to_owned(), token.clone()),
        ("CLIENT_ID".to_owned(), client.id.clone()),
        ("CLIENT_SECRET".to_owned(), client.secret().to_owned()),
    ];

    let of_hydra = std::fs::read_to_string(project("docs/hydra.md")).unwrap();
    let block = of_hydra.split("```sh\n").nth(1).unwrap().split("\n```").next().unwrap();
    let typed = block.replace("\\\n", " ");
    let typed = typed.lines().filter(|line| !line.starts_with('#')).map(str::to_owned);
    let troubles = commands(&page()).into_iter().filter(|command| command.place() == Place::Hydra);
    let mut ran = Vec::new();
    // The token is revoked last.
    for command in troubles.map(|command| command.text).chain(typed) {
        let printed = shell.run(&local(&command), &variables).await;
        let expected = match () {
            () if command.contains("introspect") => "\"active\":true",
            () if command.contains("create client") => "\"client_secret\"",
            () if command.contains("oauth2/token") => "\"access_token\"",
            () if command.contains("jq .scope") => "orders.read",
            () if command.contains("list clients") => &client.id,
            () if command.contains("revoke") => "",
            () => panic!("nothing is known about {command}"),
        };
        assert!(printed.contains(expected), "{command}: {printed}");
        ran.push(command);
    }
    assert_eq!(ran.len(), 8, "{ran:#?}");
    let introspect = format!("curl -s http://{admin}/admin/oauth2/introspect -d token={token}");
    assert!(shell.run(&introspect, &[]).await.contains("\"active\":false"), "it is revoked");
}
