//! The bootstraps under `envoy/`: Envoy accepts them, and they do what their comments say.
#![cfg(test)]
#![cfg(not(target_family = "wasm"))]

use serde_json::{Value, json};
use sidegate_harness::{
    Authority, Envoy, Listener, Request, Response, Setup, Upstream, Wasm, project, route, validate,
};
use tempfile::TempDir;

const DIRECTORY: &str = "/etc/sidegate";

#[test]
fn envoy_accepts_every_bootstrap() {
    let directory = TempDir::new().unwrap();
    let here = |text: &str| text.replace(DIRECTORY, directory.path().to_str().unwrap());
    let mut bootstraps = Vec::new();
    for file in std::fs::read_dir(project("envoy")).unwrap() {
        let name = file.unwrap().file_name().into_string().unwrap();
        let text = here(&std::fs::read_to_string(project("envoy").join(&name)).unwrap());
        std::fs::write(directory.path().join(&name), &text).unwrap();
        if text.contains("static_resources:") {
            bootstraps.push(name);
        }
    }
    std::fs::create_dir(directory.path().join("tls")).unwrap();
    std::fs::write(directory.path().join("tls/ca.pem"), Authority::new().pem()).unwrap();

    assert!(bootstraps.contains(&"production.yaml".to_owned()), "{bootstraps:?}");
    for bootstrap in bootstraps {
        assert_eq!(validate(&directory.path().join(&bootstrap)), Ok(()), "{bootstrap}");
    }
}

#[tokio::test]
async fn a_crash_of_the_module_is_code_11() {
    let upstream = Upstream::echo("orders").await;
    let answer = reply_through(Listener::new("main").wasm(&Wasm::crashing()), &upstream).await;
    assert_eq!(answer.status, 500);
    assert_eq!(answer.code(), Some("11"));
    assert_eq!(envelope(&answer), json!([500, "Plugin threw a runtime error.", 11]));
    assert_eq!(upstream.requests(), 0, "a crash closes the gate");
}

#[tokio::test]
async fn an_upstream_without_a_valid_answer_is_code_08() {
    let message = "Could not get a valid or any response from the upstream server.";
    for (upstream, status) in [(Upstream::garbage().await, 502), (Upstream::closing().await, 503)] {
        let answer = reply_through(Listener::new("main"), &upstream).await;
        assert_eq!((answer.status, answer.code()), (status, Some("08")));
        assert_eq!(envelope(&answer), json!([status, message, 8]));
    }
}

#[tokio::test]
async fn a_silent_upstream_is_code_08_after_the_timeout() {
    let upstream = Upstream::silent().await;
    let mut impatient = route("upstream");
    impatient["route"]["timeout"] = json!("0.1s");
    let listener = Listener::new("main").kanali_replies().route(impatient);
    let envoy = Envoy::start(Setup::new(listener).cluster("upstream", upstream.address())).await;
    let answer = envoy.send(Request::get("/")).await;
    assert_eq!((answer.status, answer.code()), (504, Some("08")));
}

#[tokio::test]
async fn an_answer_of_the_upstream_is_not_changed_whatever_its_status() {
    let upstream = Upstream::echo("orders").await;
    let answer = reply_through(Listener::new("main"), &upstream).await;
    assert_eq!((answer.status, answer.code()), (200, None));
    assert_eq!(answer.json()["name"], "orders");
}

async fn reply_through(listener: Listener, upstream: &Upstream) -> Response {
    let listener = listener.kanali_replies().route(route("upstream"));
    let envoy = Envoy::start(Setup::new(listener).cluster("upstream", upstream.address())).await;
    let answer = envoy.send(Request::get("/").header("x-request-id", "id-of-the-caller")).await;
    if let Some(id) = answer.header("x-sidegate-correlation") {
        assert!(!id.is_empty() && id != "-");
    }
    answer
}

/// Status, message and code of a refusal's body.
fn envelope(answer: &Response) -> Value {
    let body = answer.json();
    assert!(body["details"].as_str().unwrap().starts_with("Visit https://"));
    json!([body["status"], body["message"], body["code"]])
}
