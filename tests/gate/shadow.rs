//! Shadow mode: decide, log, count; never refuse.

use serde_json::{Value, json};
use sidegate::provider::CallFailure;

use super::{
    asked, begin, code, gate, headers, permit, refused, sees, shadowed as kept_back,
    support::{answer, ask, consumer, document, get},
    through,
};

fn shadow(is_on: bool) -> Value {
    let api = json!({
        "name": "orders", "base_path": "/v1", "shadow": is_on, "access": ["api_key"],
        "rules": [
            {"path": "/orders", "methods": ["GET"]},
            {"path": "/closed", "access": ["deny"]},
            {"path": "/token", "access": [{"introspection": {"provider": "hydra", "scopes": ["a"]}}]},
        ],
        "limits": [{"metric": "hits", "max": 2, "per": "day"}],
        "forward": {"headers": {"x-consumer": "{consumer}"}},
    });
    document(json!([consumer("acme")]), json!([api]))
}

#[test]
fn shadow_mode_refuses_nothing_of_its_api_and_reports_what_it_would_refuse() {
    let (live, shadowed) = (gate(&shadow(false)), gate(&shadow(true)));
    let inactive = answer(&json!({"active": false}));
    let failed = Err(CallFailure::Failed);
    for (ask, reply, code) in [
        (get("/v1/none"), &failed, "00"),
        (get("/v1/orders"), &failed, "12"),
        (get("/v1/orders").key("guess"), &failed, "13"),
        (get("/v1/orders").key("a").key("b"), &failed, "20"),
        (get("/v1/token"), &failed, "21"),
        (get("/v1/token").token("one"), &inactive, "22"),
        (get("/v1/token").token("two"), &answer(&json!({"active": true})), "23"),
        (get("/v1/token").token("three"), &failed, "24"),
        (get("/v1/token").token("four"), &Err(CallFailure::UnknownCluster), "09"),
        (ask("PUT", "/v1/orders").key("key-of-acme"), &failed, "26"),
        (get("/v1/closed"), &failed, "27"),
    ] {
        assert_eq!(super::verdict(&through(&live, &ask, reply)), code, "{ask:?}");
        let permitted = permit(through(&shadowed, &ask, reply));
        assert_eq!(kept_back(&permitted), Some(code), "{ask:?}");
    }
    assert_eq!(
        asked(&shadowed, &get("/v2/orders")),
        "00",
        "shadow mode is for requests that belong to an API"
    );
    assert_eq!(asked(&shadowed, &get("/v1/%zz")), "20");
}

#[test]
fn shadow_mode_counts_and_passes_what_is_over_the_limit() {
    let gate = gate(&shadow(true));
    let ask = get("/v1/orders").key("key-of-acme");
    for expected in [None, None, Some("14"), Some("14")] {
        let permitted = permit(begin(&gate, &ask));
        assert_eq!(kept_back(&permitted), expected);
        assert_eq!(permitted.trail().consumer(), Some("acme"));
    }
}

#[test]
fn shadow_mode_removes_what_callers_must_not_send() {
    let gate = gate(&shadow(true));
    let ask = get("/v1//orders").key("guess").with("x-consumer", "forged").with("x-sidegate-code", "1");
    let permitted = permit(begin(&gate, &ask));
    for name in ["apikey", "x-consumer", "x-sidegate-code"] {
        assert_eq!(sees(&ask, &permitted, name), None, "{name}");
    }
    assert_eq!(sees(&ask, &permitted, ":path").as_deref(), Some("/v1/orders"));
}

#[test]
fn shadow_mode_tells_the_service_who_calls_even_over_the_limit() {
    let gate = gate(&shadow(true));
    let ask = get("/v1/orders").key("key-of-acme");
    for request in 0..4 {
        let permitted = permit(begin(&gate, &ask));
        assert_eq!(sees(&ask, &permitted, "x-consumer").as_deref(), Some("acme"), "request {request}");
    }
}

#[test]
fn one_rule_may_be_in_shadow_mode() {
    let mut document = shadow(false);
    document["apis"][0]["rules"][1]["shadow"] = json!(true);
    let gate = gate(&document);
    assert_eq!(kept_back(&permit(begin(&gate, &get("/v1/closed")))), Some("27"));
    assert_eq!(asked(&gate, &get("/v1/orders")), "12", "other rules refuse");
}

#[test]
fn one_limit_may_be_in_shadow_mode() {
    let mut document = shadow(false);
    document["apis"][0]["limits"] = json!([
        {"metric": "hits", "max": 4, "per": "day"},
        {"metric": "hits", "max": 2, "per": "week", "shadow": true},
    ]);
    let gate = gate(&document);
    let ask = get("/v1/orders").key("key-of-acme");
    for expected in [None, None, Some("14"), Some("14")] {
        let permitted = permit(begin(&gate, &ask));
        assert_eq!(kept_back(&permitted), expected);
        assert_eq!(sees(&ask, &permitted, "x-consumer").as_deref(), Some("acme"));
        let headers = permitted.into_response_headers();
        let shown = headers.get("ratelimit-policy");
        assert_eq!(shown, Some("\"hits-day\";q=4;w=86400"), "{headers:?}");
    }
    let refused = refused(begin(&gate, &ask));
    assert_eq!(code(&refused), "14", "the other limit refuses");
    let shown = ["retry-after", "ratelimit"].map(|name| headers(&refused, name).join(" "));
    assert_eq!(shown, ["43200", "\"hits-day\";r=0;t=43200"], "and says nothing about this one");
}

/// A plan that a binding names may have the same limit as the binding.
#[test]
fn of_two_limits_of_the_same_thing_the_one_that_is_enforced_holds() {
    let mut document = shadow(false);
    document["apis"][0].as_object_mut().unwrap().remove("limits");
    let limits =
        |max: u64, shadow: bool| json!([{"metric": "hits", "max": max, "per": "day", "shadow": shadow}]);
    for (plan, binding, expected) in [
        (limits(1, true), limits(3, false), ["ok", "ok", "ok", "14"]),
        (limits(3, false), limits(1, true), ["ok", "ok", "ok", "14"]),
        (limits(3, false), limits(1, false), ["ok", "14", "14", "14"]),
        (limits(3, true), limits(1, true), ["ok", "ok", "ok", "ok"]),
    ] {
        document["plans"] = json!({"gold": {"limits": plan}});
        document["apis"][0]["bindings"] =
            json!([{"consumer": "acme", "allow": "all", "plan": "gold", "limits": binding}]);
        let gate = gate(&document);
        let ask = get("/v1/orders").key("key-of-acme");
        assert_eq!([(); 4].map(|()| asked(&gate, &ask)), expected, "{document}");
    }
}

#[test]
fn a_limit_in_shadow_mode_charges_what_it_would_admit() {
    let mut document = shadow(false);
    document["metrics"] = json!({"hits": {}, "writes": {}});
    document["apis"][0]["metering"] = json!([
        {"path": "/orders", "metric": "hits", "by": 2}, {"path": "/small", "metric": "hits"},
    ]);
    document["apis"][0]["rules"][1] = json!({"path": "/small", "access": ["api_key"]});
    document["apis"][0]["limits"] = json!([{"metric": "hits", "max": 3, "per": "day", "shadow": true}]);
    let gate = gate(&document);
    let kept = |path: &str| kept_back(&permit(begin(&gate, &get(path).key("key-of-acme"))));
    assert_eq!(
        ["/v1/orders", "/v1/orders", "/v1/small", "/v1/small"].map(kept),
        [None, Some("14"), None, Some("14")]
    );
    document["apis"][0]["limits"][0]["max"] = json!(0);
    document["apis"][0].as_object_mut().unwrap().remove("metering");
    let never = self::gate(&document);
    assert_eq!(kept_back(&permit(begin(&never, &get("/v1/small").key("key-of-acme")))), Some("14"));
}
