//! Every code of the catalogue that a request can meet, met in a real Envoy.
#![cfg(all(test, not(target_family = "wasm")))]

use std::collections::BTreeMap;

use serde_json::{Value, json};
use sidegate::{credential::Digest, refusal::Cause};
use sidegate_harness::{
    Answer, Envoy, Listener, Request, Setup, StubProvider, Upstream, Wasm, noop_module, route,
};

/// Codes that no request meets: 01 is for faults that nobody knows of, and the causes of 03 to 07 are found
/// when the policy is loaded.
const NEVER: [&str; 6] = ["01", "03", "04", "05", "06", "07"];

fn sha256(text: &str) -> String {
    Digest::of(text.as_bytes()).to_hex()
}

/// Forty consumers, more than a store for one meter has room for, and one on a plan without quota.
fn policy() -> Value {
    let mut consumers: Vec<_> = (0..40)
        .map(|number| json!({"name": format!("c{number}"), "plan": "much", "keys": [{"sha256": sha256(&format!("key-{number}"))}]}))
        .collect();
    consumers.push(json!({"name": "late", "plan": "once", "keys": [{"sha256": sha256("late")}]}));
    let provider =
        |cluster: &str| json!({"introspection": {"cluster": cluster, "url": "http://idp/introspect"}});
    let by = |provider: &str| json!([{"introspection": {"provider": provider, "scopes": ["read"]}}]);
    json!({
        "sidegate": "v1",
        "gate": {"capacity": {"meters": 1}},
        "providers": {
            "idp": provider("idp"), "gone": provider("gone"), "unknown": provider("nobody-knows"), "empty": provider("empty"),
        },
        "plans": {
            "much": {"limits": [{"metric": "hits", "max": 100, "per": "eternity"}]},
            "once": {"limits": [{"metric": "hits", "max": 1, "per": "eternity"}]},
        },
        "consumers": consumers,
        "apis": [{
            "name": "api",
            "access": ["api_key"],
            "rules": [
                {"path": "/key", "methods": ["GET"]},
                {"path": "/mock", "access": ["allow"], "mock": {"responses": [{"path": "/other"}]}},
                {"path": "/upstream", "access": ["allow"]},
                {"path": "/deny", "access": ["deny"]},
                {"path": "/token", "access": by("idp")},
                {"path": "/gone", "access": by("gone")},
                {"path": "/unknown", "access": by("unknown")},
                {"path": "/empty", "access": by("empty")},
            ],
        }],
    })
}

#[tokio::test]
async fn every_code_that_a_request_can_meet_is_met() {
    let idp = StubProvider::start(Answer::json(&json!({"active": true}))).await;
    let nobody = Upstream::echo("gone").await.address();
    let closing = Upstream::closing().await;
    let saboteur = noop_module().with_file_name("sidegate_saboteur.wasm");
    let crashing = json!({"name": "crashing", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm",
        "config": {
            "name": "crashing", "root_id": "crashing",
            "vm_config": {"vm_id": "crashing", "runtime": "envoy.wasm.runtime.v8", "code": {"local": {"filename": saboteur}}},
        },
    }});
    let main =
        Listener::new("main").wasm(&Wasm::sidegate(&policy())).route(route("closing")).kanali_replies();
    let setup = Setup::new(main)
        .listener(Listener::new("crashing").filter(crashing).route(route("closing")).kanali_replies())
        .cluster("idp", idp.address())
        .cluster("gone", nobody)
        .cluster("closing", closing.address())
        .cluster_of("empty", &[]);
    let envoy = Envoy::start(setup).await;

    let mut met: BTreeMap<String, (u16, Value)> = BTreeMap::new();
    let mut meet = async |request: Request| {
        let answer = envoy.send(request).await;
        if let Some(code) = answer.code() {
            met.insert(code.to_owned(), (answer.status, answer.json()));
        }
        answer.code().map(str::to_owned)
    };
    let get = |path: &str| Request::get(path);
    let key = |key: &str| get("/key").header("apikey", key);
    for (request, code) in [
        (get("/nowhere"), "00"),
        (get("/mock"), "02"),
        (get("/upstream"), "08"),
        (get("/unknown").bearer("t"), "09"),
        (get("/empty").bearer("t"), "10"),
        (get("/key"), "12"),
        (key("made-up"), "13"),
        (get("/%zz"), "20"),
        (get("/token"), "21"),
        (get("/token").bearer("t"), "23"),
        (get("/gone").bearer("t"), "24"),
        (Request::new("PUT", "/key").header("apikey", "late"), "26"),
        (get("/deny"), "27"),
    ] {
        assert_eq!(meet(request).await.as_deref(), Some(code));
    }
    idp.now(Answer::json(&json!({"active": false})));
    assert_eq!(meet(get("/token").bearer("other")).await.as_deref(), Some("22"));
    // The service closes the connection, which is 08 after the quota was charged.
    for code in ["08", "14"] {
        assert_eq!(meet(key("late")).await.as_deref(), Some(code));
    }
    let mut is_full = false;
    for number in 0..40 {
        is_full |= meet(key(&format!("key-{number}"))).await.as_deref() == Some("25");
    }
    assert!(is_full, "the store has room for more than 32 meters");

    let address = envoy.address_of("crashing").await;
    let crashed = sidegate_harness::send(address, &get("/").header("x-crash", "now")).await.unwrap();
    met.insert(crashed.code().unwrap_or_default().to_owned(), (crashed.status, crashed.json()));

    for cause in Cause::all() {
        let row = cause.row();
        let code = row.code.digits();
        if NEVER.contains(&code) {
            assert!(!met.contains_key(code), "{code} was met");
            continue;
        }
        let (status, body) = met.get(code).unwrap_or_else(|| panic!("{code} was never met"));
        assert_eq!(
            (&body["code"], &body["message"]),
            (&json!(row.code.number()), &json!(row.message)),
            "{code}"
        );
        assert_eq!(body["status"], json!(status), "{code}");
        assert!(*status == row.status || code == "08", "{code}: {status}");
    }
}
