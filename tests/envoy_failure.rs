//! What callers read when a dependency or the module itself fails.
#![cfg(all(test, not(target_family = "wasm")))]

use serde_json::{Value, json};
use sidegate_harness::{
    Envoy, Listener, Request, Response, Setup, Upstream, Wasm, direct_response, eventually, noop_module,
};

fn open() -> Value {
    json!({"sidegate": "v1", "apis": [{
        "name": "api", "access": ["allow"], "rules": [{"path": "/**"}], "forward": {"headers": {"x-cluster": "of-{api}"}},
    }]})
}

/// The refusals' envelope, and the id by which the request is found.
fn assert_envelope(answer: &Response, status: u16, code: u8, message: &str) {
    let digits = format!("{code:02}");
    assert_eq!((answer.status, answer.code()), (status, Some(digits.as_str())), "{answer:?}");
    assert_eq!(answer.header("content-type"), Some("application/json"));
    let body = answer.json();
    let details = format!("Visit https://sidegate.example.com/errors#{digits} for more details.");
    assert_eq!(body, json!({"status": status, "message": message, "code": code, "details": details}));
    assert!(answer.header("x-sidegate-correlation").is_some_and(|id| id.len() > 8), "{answer:?}");
}

#[tokio::test]
async fn what_envoy_answers_itself_has_the_codes_of_kanali() {
    let message = "Could not get a valid or any response from the upstream server.";
    let (closing, garbage, silent) =
        (Upstream::closing().await, Upstream::garbage().await, Upstream::silent().await);
    let nobody = Upstream::echo("gone").await.address();
    let on = |name: &str, cluster: &str| json!({"match": {"path": name}, "route": {"cluster": cluster, "timeout": "0.2s"}});
    let listener = Listener::new("main")
        .wasm(&Wasm::sidegate(&open()))
        .route(on("/closing", "closing"))
        .route(on("/garbage", "garbage"))
        .route(on("/silent", "silent"))
        .route(on("/nobody", "nobody"))
        .route(on("/nowhere", "nowhere"))
        .route(json!({"match": {"path": "/unknown"}, "route": {"cluster_header": "x-cluster"}}))
        .kanali_replies();
    let setup = Setup::new(listener)
        .cluster("closing", closing.address())
        .cluster("garbage", garbage.address())
        .cluster("silent", silent.address())
        .cluster("nobody", nobody)
        .cluster_of("nowhere", &[]);
    let envoy = Envoy::start(setup).await;
    for (path, status) in [("/closing", 503), ("/garbage", 502), ("/silent", 504), ("/nobody", 503)] {
        assert_envelope(&envoy.send(Request::get(path)).await, status, 8, message);
    }
    for (path, status, code, message) in [
        ("/unrouted", 404, 0, "No ApiProxy resource was not found that matches the request."),
        ("/unknown", 500, 9, "Could not retrieve Kubernetes services."),
        ("/nowhere", 500, 10, "Could not retrieve any matching Kubernetes services."),
    ] {
        assert_envelope(&envoy.send(Request::get(path)).await, status, code, message);
        let answer = envoy.send(Request::get(path).header("content-type", "application/grpc")).await;
        assert_eq!((answer.status, answer.code()), (200, Some(format!("{code:02}").as_str())), "{answer:?}");
        assert!(answer.header("grpc-status").is_some_and(|status| status != "0"), "{answer:?}");
    }
    // Refusals of the gate itself are not changed.
    let refused = envoy.send(Request::get("/%zz")).await;
    assert_eq!((refused.status, refused.code()), (400, Some("20")));
}

/// There is no known way to crash Sidegate, so a filter that crashes on request takes its place.
#[tokio::test]
async fn a_crashed_module_is_code_11_and_is_reloaded_where_configured() {
    let message = "Plugin threw a runtime error.";
    let module = noop_module().with_file_name("sidegate_saboteur.wasm");
    assert!(module.is_file(), "{} is missing: run `make saboteur`", module.display());
    let crashing = |name: &str, failure_policy: &str| {
        let config = json!({
            "name": name,
            "root_id": name,
            "failure_policy": failure_policy,
            "vm_config": {"vm_id": name, "runtime": "envoy.wasm.runtime.v8", "code": {"local": {"filename": module}}},
        });
        let typed = json!({"@type": "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm", "config": config});
        Listener::new(name)
            .filter(json!({"name": name, "typed_config": typed}))
            .route(direct_response(200, "ok"))
            .kanali_replies()
    };
    let setup =
        Setup::new(crashing("reload", "FAIL_RELOAD")).listener(crashing("closed", "FAIL_CLOSED")).workers(1);
    let envoy = Envoy::start(setup).await;
    for listener in ["reload", "closed"] {
        let address = envoy.address_of(listener).await;
        let send = async |request: Request| sidegate_harness::send(address, &request).await.unwrap();
        assert_eq!(send(Request::get("/")).await.text(), "ok");
        assert_envelope(&send(Request::get("/").header("x-crash", "now")).await, 500, 11, message);

        if listener == "reload" {
            eventually("the module to come back", async || {
                let answer = send(Request::get("/")).await;
                if answer.status != 200 {
                    assert_envelope(&answer, 500, 11, message);
                }
                (answer.status == 200).then_some(())
            })
            .await;
        } else {
            for _ in 0..3 {
                assert_envelope(&send(Request::get("/")).await, 500, 11, message);
            }
        }
    }
    assert_eq!(envoy.stat("wasm.reload.vm_reload_success").await, 1);
}
