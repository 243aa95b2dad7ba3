//! Metering entries of one request, and requests that match none.

use serde_json::{Value, json};

use super::{
    begin, gate,
    support::{consumer, document, get},
    trail, verdict,
};

fn metered(unmetered: &Value, metering: &Value) -> Value {
    let mut document = document(
        json!([consumer("acme")]),
        json!([{
            "name": "orders", "access": ["api_key"], "metering": metering, "unmetered": unmetered,
            "rules": [{"path": "/open/**", "access": ["allow"]}, {"path": "/**"}],
        }]),
    );
    document["metrics"] = json!({"hits": {}, "reads": {"parent": "hits"}, "bytes": {}});
    document
}

#[test]
fn an_entry_may_count_several_metrics() {
    let gate = gate(&metered(
        &json!("admit"),
        &json!([
            {"path": "/a", "match": "prefix", "metrics": {"reads": 2, "bytes": 0, "hits": 1}},
            {"path": "/", "match": "prefix", "metric": "bytes", "by": 7},
        ]),
    ));
    for (path, expected) in [("/a", &[("hits", 3), ("reads", 2), ("bytes", 7)][..]), ("/b", &[("bytes", 7)])]
    {
        let step = begin(&gate, &get(path).key("key-of-acme"));
        let trail = trail(&step);
        let mut used: Vec<_> = trail.usage().into_iter().flat_map(|usage| usage.iter()).collect();
        let mut expected: Vec<_> =
            expected.iter().map(|(name, by)| (trail.policy.metrics.find(name).unwrap(), *by)).collect();
        used.sort_unstable();
        expected.sort_unstable();
        assert_eq!(used, expected, "{path}");
    }
}

#[test]
fn requests_that_match_no_entry_are_refused_where_the_api_wants_that() {
    let metering = json!([
        {"path": "/a", "match": "prefix", "metric": "hits"},
        {"path": "/zero", "match": "prefix", "metric": "hits", "by": 0},
    ]);
    for (unmetered, path, key, expected) in [
        ("admit", "/b", "key-of-acme", "ok"),
        ("refuse", "/a", "key-of-acme", "ok"),
        ("refuse", "/zero", "key-of-acme", "ok"),
        ("refuse", "/b", "key-of-acme", "00"),
        // As where there is no rule, it makes no difference who asks.
        ("refuse", "/b", "wrong", "00"),
        ("refuse", "/open/x", "key-of-acme", "00"),
        ("refuse", "/a", "wrong", "13"),
    ] {
        let step = begin(&gate(&metered(&json!(unmetered), &metering)), &get(path).key(key));
        assert_eq!(verdict(&step), expected, "{unmetered} {path} {key}");
    }
}

#[test]
fn a_refused_key_costs_no_metering() {
    let step = begin(
        &gate(&metered(&json!("admit"), &json!([{"path": "/**", "metric": "hits"}]))),
        &get("/a").key("wrong"),
    );
    assert_eq!((verdict(&step), trail(&step).usage()), ("13", None));
}
