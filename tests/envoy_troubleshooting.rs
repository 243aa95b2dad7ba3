//! Every command in `docs/troubleshooting.md`, taken from the page and run: against a real Envoy with a real
//! OAuth2 server, under the names that the page has for them. `kubectl` is a script here, which runs what it
//! would run in a pod, or prints what the pod would. What needs Hydra or a mesh is run by the tests that have
//! those.
#![cfg(test)]
#![cfg(not(target_family = "wasm"))]

#[path = "troubleshooting/mod.rs"]
mod troubleshooting;

use serde_json::{Value, json};
use sidegate::credential::Digest;
use sidegate_harness::{Client, Envoy, Listener, Oidc, Request, Setup, Upstream, Wasm, route};
use troubleshooting::{Place, Shell, commands, page};

const DEBUG_SECRET: &str = "let-me-see-everything";

fn policy(oidc: &Oidc, revision: &str) -> Value {
    json!({
        "sidegate": "v1",
        "revision": revision,
        "gate": {
            "realm": "api.example.com",
            "debug": {"secret_sha256": Digest::of(DEBUG_SECRET.as_bytes()).to_hex()},
        },
        "providers": {"idp": {"introspection": {
            "cluster": "idp", "url": oidc.introspection(), "timeout": "30s",
            "authentication": {"basic": {"id": "gateway", "secret": "g"}},
        }}},
        "consumers": [{"name": "acme", "clients": ["acme-web"]}],
        "apis": [{
            "name": "orders", "hosts": ["api.example.com"], "base_path": "/v1",
            "rules": [{"path": "/orders/{id}", "access": [{"introspection": {"provider": "idp", "scopes": ["orders.read"]}}]}],
        }],
    })
}

async fn start(policy: &Value, oidc: &Oidc, upstream: &Upstream) -> Envoy {
    let listener = Listener::new("main").wasm(&Wasm::sidegate(policy)).route(route("orders"));
    let setup = Setup::new(listener).cluster("orders", upstream.address()).cluster("idp", oidc.address());
    Envoy::start(setup.workers(1).log_level("info")).await
}

/// The names of header fields in what `curl -i` prints, in order. The first line is the status.
fn names(printed: &str) -> Vec<String> {
    let lines = printed.lines().map(|line| line.split([':', ' ']).next().unwrap_or_default());
    lines.map(str::to_ascii_lowercase).collect()
}

#[tokio::test]
async fn what_the_page_says_to_type_works_and_prints_what_the_page_shows() {
    let clients = [Client::new("gateway", "g", ""), Client::new("acme-web", "a", "orders.read orders.write")];
    let oidc = Oidc::start(clients).await;
    let upstream = Upstream::echo("orders").await;
    let one = policy(&oidc, "2026-11-20.1");
    let envoy = start(&one, &oidc, &upstream).await;
    let behind = start(&policy(&oidc, "2026-11-19.3"), &oidc, &upstream).await;
    let lacking = oidc.token("acme-web", "orders.write", None).await;
    let jwt = oidc.token("acme-web", "orders.write", Some(Oidc::ORDERS_JWT)).await;

    let shell = Shell::new();
    shell.write("policy.yaml", &serde_norway::to_string(&one).expect("YAML"));
    let api = format!("http://{}", envoy.address().await);
    let (admin, other) = (envoy.admin_address(), behind.admin_address());
    let setting = |token: &str| {
        vec![
            ("TOKEN".to_owned(), token.to_owned()),
            ("DEBUG_SECRET".to_owned(), DEBUG_SECRET.to_owned()),
            ("CLIENT_ID".to_owned(), "gateway".to_owned()),
            ("CLIENT_SECRET".to_owned(), "g".to_owned()),
        ]
    };
    let local = |command: &str| {
        command
            .replace("https://api.example.com", &api)
            .replace(" -H \"authorization", " -H 'host: api.example.com' -H \"authorization")
            .replace("https://idp.example.com/introspect", &oidc.introspection())
            .replace("https://idp.example.com/keys", &oidc.keys())
    };
    shell.kubectl(&format!(
        r#"case "$*" in
  "get pods "*) echo pod/orders-6f7c-abcde; echo pod/orders-6f7c-fghij ;;
  "exec "*orders-6f7c-abcde*"request GET stats") curl -s http://{admin}/stats ;;
  "exec "*orders-6f7c-fghij*"request GET stats") curl -s http://{other}/stats ;;
  "exec "*" -- date -u") date -u ;;
  "logs "*) cat envoy.log ;;
  *) echo "unexpected: $*" >&2; exit 1 ;;
esac"#
    ));

    let mut ran = 0;
    for command in commands(&page()) {
        if command.place() != Place::Envoy {
            continue;
        }
        ran += 1;
        let token = if command.text.contains("cut -d.") || command.text.contains("@base64d") {
            &jwt
        } else {
            &lacking
        };
        shell.write("envoy.log", &envoy.log());
        // The id in the page is that of an earlier request. The log has that of the last one.
        let id = envoy.log().lines().rev().find_map(|line| {
            let (_, rest) = line.split_once("refused code=23 ")?;
            Some(rest.split_once(" id=")?.1.split(' ').next()?.to_owned())
        });
        let text = local(&command.text)
            .replace("6b9a29d0-1761-46a1-b256-d540e1e29a9d", id.as_deref().unwrap_or("none"));
        let printed = shell.run(&text, &setting(token)).await;
        let shown = &command.shown;
        if text.contains("curl -si") {
            assert_eq!(names(&printed), names(shown), "{text}\n{printed}");
            assert!(printed.contains("x-sidegate-code: 23"), "{printed}");
        } else if text.contains("grep policy") || text.contains("grep 'policy'") {
            assert!(printed.contains("policy loaded revision="), "{printed}");
        } else if text.starts_with("kubectl logs") {
            let line = |text: &str| {
                text.lines().next().and_then(|line| Some(line.split_once("refused ")?.1.to_owned()))
            };
            let without_id = |line: String| {
                line.split(' ').filter(|part| !part.starts_with("id=")).map(str::to_owned).collect::<Vec<_>>()
            };
            assert_eq!(line(&printed).map(without_id), line(shown).map(without_id), "{printed}");
        } else if text.contains("/introspection") {
            let answer: Value = serde_json::from_str(&printed).expect("JSON");
            assert_eq!((&answer["active"], &answer["client_id"]), (&json!(true), &json!("acme-web")));
        } else if text.contains("iss") {
            let claims: Value = serde_json::from_str(&printed).expect("JSON");
            assert_eq!((&claims["iss"], &claims["aud"]), (&json!(oidc.issuer()), &json!("orders")));
        } else if text.contains(".kid") {
            assert!(!printed.trim().is_empty(), "{text}");
        } else if text.contains("request GET stats") {
            let pods = |text: &str| -> Vec<String> {
                text.lines()
                    .map(|line| line.split(";.;digest").next().unwrap_or_default().to_owned())
                    .collect()
            };
            assert_eq!(pods(&printed), pods(shown), "{printed}");
        } else if text.contains("date -u") {
            assert_eq!(printed.lines().count(), 2, "{printed}");
        } else if text.starts_with("sidegate check") {
            assert!(printed.contains("policy.yaml: ok"), "{printed}");
        } else if text.starts_with("sidegate key") {
            assert!(printed.contains("sha256"), "{printed}");
        } else {
            panic!("nothing is known about the output of {text:?}: {printed}");
        }
    }
    assert!(ran >= 10, "{ran} commands");
    let admitted = oidc.token("acme-web", "orders.read", None).await;
    let request = Request::get("/v1/orders/7").host("api.example.com").bearer(&admitted);
    assert_eq!(envoy.send(request).await.status, 200, "the example is whole");
}

/// No command is left out.
#[test]
fn every_command_of_the_page_is_run_somewhere_or_is_named_as_not_run() {
    let mut places = Vec::new();
    for command in commands(&page()) {
        let place = command.place();
        assert_ne!(place, Place::Unknown, "{}", command.text);
        places.push(place);
    }
    for place in [Place::Envoy, Place::Hydra, Place::Mesh, Place::Nowhere] {
        assert!(places.contains(&place), "{place:?}");
    }
}
