//! What users of APIcast know: texts of an API, the shared secret, and debug headers.

use std::rc::Rc;

use serde_json::{Value, json};
use sidegate::{gate::drive::Driver, headers::HeaderList, policy::Policy};

use super::{
    Shared, begin, code, gate, headers, permit, refused, sees,
    support::{Ask, consumer, document, get, sha256},
};

fn api(more: &Value) -> Value {
    let mut api = json!({
        "name": "orders", "access": ["api_key"], "rules": [{"path": "/a/**"}, {"path": "/no", "access": ["deny"]}],
        "limits": [{"metric": "hits", "max": 1, "per": "year"}],
    });
    api.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    document(json!([consumer("acme")]), json!([api]))
}

#[test]
fn an_api_answers_refused_callers_in_words_of_its_own() {
    let gate = gate(&api(&json!({"errors": {
        "missing_credentials": {"status": 401, "content_type": "text/plain", "body": "who?"},
        "refused_credentials": {"status": 403, "body": "no"},
        "limits_exceeded": {"body": "{}", "content_type": "application/json"},
        "no_match": {"status": 410},
    }})));
    let valid = get("/a").key("key-of-acme");
    permit(begin(&gate, &valid));
    for (ask, expected, status, body) in [
        (get("/a"), "12", 401, Some("who?")),
        (get("/a").key("wrong"), "13", 403, Some("no")),
        (get("/no"), "27", 403, Some("no")),
        (valid, "14", 429, Some("{}")),
        (get("/x"), "00", 410, None),
        (get("/a").key("k").with("apikey", "k"), "20", 400, None),
    ] {
        let refused = refused(begin(&gate, &ask));
        assert_eq!((code(&refused), refused.reply().status), (expected, status));
        assert_eq!(headers(&refused, "x-sidegate-code"), [expected]);
        assert_eq!(
            refused.reply().status == 401,
            !headers(&refused, "www-authenticate").is_empty() && status == 401
        );
        match body {
            Some(body) => assert_eq!(&*refused.reply().body, body),
            None => assert!(refused.reply().body.contains("\"code\":"), "{:?}", refused.reply()),
        }
    }
}

#[test]
fn the_service_gets_a_secret_that_no_caller_can_send() {
    let gate = gate(&api(&json!({"forward": {"headers": {"x-proxy-secret": {"env": "HYDRA_SECRET"}}}})));
    let ask = get("/a").key("key-of-acme").with("x-proxy-secret", "guess");
    let permit = permit(begin(&gate, &ask));
    assert_eq!(sees(&ask, &permit, "x-proxy-secret").as_deref(), Some("the-secret-of-the-gate"));
    assert!(!format!("{:?}", gate.policy().apis()[0].headers).contains("the-secret"));
}

#[test]
fn the_debug_secret_shows_what_apicast_shows_but_no_credential() {
    let mut document = api(&json!({"metering": [
        {"path": "/", "match": "prefix", "metric": "hits"},
        {"path": "/a", "match": "prefix", "query": {"q": "{v}"}, "metrics": {"hits": 2, "reads": 0}},
        {"path": "/other", "match": "prefix", "metric": "reads"},
    ], "limits": [{"metric": "hits", "max": 3, "per": "year"}]}));
    document["metrics"] = json!({"hits": {}, "reads": {"parent": "hits"}});
    document["gate"]["debug"] = json!({"secret_sha256": sha256("let-me-see")});
    let environment = |name: &str| match name {
        "HOSTNAME" => Some("gateway-7".to_owned()),
        other => super::support::environment(other),
    };
    let policy = Policy::load(document.to_string().as_bytes(), &environment).map(Rc::new).unwrap();
    let gate = Driver::new(policy, Shared::default());
    let threescale = |headers: &HeaderList| {
        let theirs = headers.iter().filter(|(name, _)| name.starts_with("x-3scale-"));
        theirs.map(|(name, value)| format!("{name}: {value}")).collect::<Vec<_>>()
    };
    let ask = get("/a/x?q=1").key("key-of-acme");
    let debug = |ask: &Ask| ask.clone().with("x-sidegate-debug", "let-me-see");
    let expected = [
        "x-3scale-matched-rules: /, /a?q={v}",
        "x-3scale-usage: usage%5Bhits%5D=3&usage%5Breads%5D=0",
        "x-3scale-hostname: gateway-7",
    ];
    assert_eq!(threescale(&permit(begin(&gate, &debug(&ask))).into_response_headers()), expected);
    let over = refused(begin(&gate, &debug(&ask)));
    assert_eq!(
        (code(&over), threescale(&over.reply().headers)),
        ("14", expected.map(str::to_owned).to_vec())
    );
    let stranger = refused(begin(&gate, &ask));
    assert!(threescale(&stranger.reply().headers).is_empty());
    // Nothing is metered for a key that is refused.
    let unknown = refused(begin(&gate, &debug(&get("/a").key("wrong"))));
    assert_eq!(threescale(&unknown.reply().headers), ["x-3scale-hostname: gateway-7"]);
}
