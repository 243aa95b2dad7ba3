//! Mocked responses: they answer after access and quota, as the service would.

use serde_json::{Value, json};
use sidegate::gate::{Answer, Ending, drive::Step};

use super::{
    Shared, asked, begin, code, gate, headers, load, permit, refused, sees,
    support::{Ask, ask, consumer, document, get, sha256},
    trail,
};
use sidegate::gate::drive::Driver;

fn mocked() -> Value {
    let responses = json!([
        {"path": "/orders/{id}", "methods": ["GET"], "status": 203, "headers": {"X-Order": "{path:id}", "x-who": "{consumer}", "x-plan": "{plan}"},
         "body": "{\"id\":\"{path:id}\",\"who\":\"{consumer}\",\"of\":\"{client_id}\"}"},
        {"path": "/orders/{id}", "methods": ["DELETE"], "status": 204},
        {"path": "/orders/new", "body": "new"},
        {"path": "/page", "headers": {"content-type": "text/html"}, "body": "<p>{rule}</p>"},
    ]);
    let rules = json!([
        {"path": "/**"},
        {"path": "/open/**", "access": ["allow"]},
        {"path": "/closed/**", "access": ["deny"]},
        {"path": "/real/**", "mock": {"enabled": false}},
        {"path": "/own/{name}", "mock": {"responses": [{"status": 418, "headers": {"x-name": "{path:name}"}}]}},
    ]);
    let api = json!({
        "name": "a", "base_path": "/a", "access": ["api_key"], "rules": rules, "mock": {"responses": responses},
        "forward": {"headers": {"x-name": "{path:name}"}},
        "limits": [{"metric": "hits", "max": 3, "per": "day"}],
    });
    document(json!([consumer("acme")]), json!([api]))
}

fn answer(step: Step<Shared>) -> Answer {
    let Step::Ended(Ending::Answer(answer)) = step else { panic!("no answer: {step:?}") };
    *answer
}

fn answered(gate: &Driver<Shared>, ask: &Ask) -> (u16, String) {
    let answer = answer(begin(gate, ask));
    (answer.reply().status, answer.reply().body.to_string())
}

fn acme(method: &str, path: &str) -> Ask {
    ask(method, path).key("key-of-acme")
}

#[test]
fn the_most_specific_response_answers_with_its_fields_filled_in() {
    let gate = gate(&mocked());
    let reply = answer(begin(&gate, &acme("GET", "/a/orders/caf%c3%a9%22?x=y"))).reply().clone();
    assert_eq!(reply.status, 203);
    assert_eq!(&*reply.body, r#"{"id":"café\"","who":"acme","of":""}"#);
    for (name, value) in [
        ("x-order", Some("caf%C3%A9%22")),
        ("x-who", Some("acme")),
        ("x-plan", None),
        ("content-type", Some("application/json")),
        ("ratelimit", Some("\"hits-day\";r=2;t=43200")),
        ("content-length", None),
        ("x-sidegate-code", None),
    ] {
        assert_eq!(reply.headers.get(name), value, "{name}");
    }
    assert_eq!(answered(&gate, &acme("DELETE", "/a/orders/7")), (204, String::new()));
    assert_eq!(answered(&gate, &acme("PUT", "/a/orders/new")), (200, "new".to_owned()));
    let page = answer(begin(&Driver::new(load(&mocked()), Shared::default()), &acme("GET", "/a/page")));
    assert_eq!(&*page.reply().body, "<p>/**</p>");
    let head = answer(begin(&Driver::new(load(&mocked()), Shared::default()), &acme("HEAD", "/a/orders/8")));
    assert_eq!(head.reply().status, 203, "GET covers HEAD");
}

#[test]
fn access_and_quota_come_first_and_a_path_without_a_response_is_code_02() {
    let gate = gate(&mocked());
    assert_eq!(asked(&gate, &get("/a/orders/7")), "12");
    assert_eq!(asked(&gate, &get("/a/orders/7").key("unknown")), "13");
    assert_eq!(asked(&gate, &get("/a/closed/x")), "27");
    let missing = refused(begin(&gate, &acme("GET", "/a/nothing")));
    assert_eq!((code(&missing), missing.reply().status), ("02", 404));
    assert!(headers(&missing, "ratelimit").is_empty());
    assert_eq!(asked(&gate, &acme("POST", "/a/orders/7")), "02", "another method");
    // What was refused with 02 cost nothing.
    for expected in ["answer", "answer", "answer", "14", "14"] {
        assert_eq!(asked(&gate, &acme("GET", "/a/orders/7")), expected);
    }
    assert_eq!(asked(&gate, &acme("GET", "/a/nothing")), "14", "the limit comes before the mock");
}

#[test]
fn a_rule_has_responses_of_its_own_or_goes_to_the_service() {
    let gate = gate(&mocked());
    let real = acme("GET", "/a/real/x");
    permit(begin(&gate, &real));
    let own = answer(begin(&gate, &acme("POST", "/a/own/x%2Dy")));
    assert_eq!((own.reply().status, own.reply().headers.get("x-name")), (418, Some("x-y")));
    let open = refused(begin(&gate, &get("/a/open/x")));
    assert_eq!(code(&open), "02");
    let mut off = mocked();
    off["apis"][0]["mock"]["enabled"] = json!(false);
    let gate = self::gate(&off);
    let order = acme("GET", "/a/orders/7");
    assert_eq!(sees(&order, &permit(begin(&gate, &order)), "x-name"), None);
    assert_eq!(asked(&gate, &acme("GET", "/a/own/x")), "answer", "the rule's own are not the API's");
}

#[test]
fn the_service_learns_the_parameters_of_the_path() {
    let mut document = mocked();
    document["apis"][0]["rules"][4]["mock"] = json!({"enabled": false});
    let gate = gate(&document);
    let ask = acme("GET", "/a/own/caf%c3%a9/").with("x-name", "forged");
    assert_eq!(sees(&ask, &permit(begin(&gate, &ask)), "x-name").as_deref(), Some("caf%C3%A9"));
    let ask = acme("GET", "/a/real/x").with("x-name", "forged");
    assert_eq!(sees(&ask, &permit(begin(&gate, &ask)), "x-name"), None);
}

#[test]
fn in_shadow_mode_a_mock_answers_whom_the_service_would_have_answered() {
    let mut document = mocked();
    document["apis"][0]["shadow"] = json!(true);
    let gate = gate(&document);
    let ask = get("/a/orders/7");
    let step = begin(&gate, &ask);
    assert_eq!(trail(&step).refusal.as_ref().map(|refusal| refusal.cause.code().digits()), Some("12"));
    let answer = answer(step);
    assert_eq!(answer.reply().status, 203);
    assert!(answer.correlation().is_some());
    let missing = permit(begin(&gate, &acme("GET", "/a/nothing")));
    assert_eq!(super::shadowed(&missing), Some("02"));
}

#[test]
fn explanations_are_on_mocked_responses_and_a_preflight_is_answered_only_by_a_response_for_options() {
    let mut document = mocked();
    document["gate"]["debug"] = json!({"secret_sha256": sha256("let-me-see")});
    document["apis"][0]["mock"]["responses"][2]["methods"] = json!(["POST", "OPTIONS"]);
    let gate = gate(&document);
    let explained = answer(begin(&gate, &acme("GET", "/a/orders/7").with("x-sidegate-debug", "let-me-see")));
    assert_eq!(explained.reply().headers.get("x-sidegate-rule"), Some("/**"));
    let preflight = |path: &str| {
        ask("OPTIONS", path).with("origin", "https://a").with("access-control-request-method", "POST")
    };
    assert_eq!(asked(&gate, &preflight("/a/orders/new")), "answer");
    assert_eq!(asked(&gate, &preflight("/a/orders/7")), "ok");
}
