//! Large documents load, and bad ones are rejected, in time that grows no faster than their size. If it grew
//! with the square, these documents would take hours.

use super::*;

/// Far more than a load takes without optimisation, and far less than time that grows with the square.
const DEADLINE: Duration = Duration::from_secs(300);

const MANY: usize = 100_000;

#[expect(clippy::disallowed_methods, reason = "the deadline shows growth with the square, not speed")]
fn now() -> Instant {
    Instant::now()
}

/// The messages of a document that must be rejected, or an empty text.
fn load_in_time(document: &Value) -> String {
    let text = document.to_string();
    let started = now();
    let messages = Policy::load(text.as_bytes(), &environment)
        .err()
        .map_or(String::new(), |problems| problems.to_string());
    assert!(started.elapsed() < DEADLINE, "{:?}", started.elapsed());
    messages
}

fn api(rules: Vec<Value>) -> Value {
    json!({"sidegate": "v1", "apis": [{"name": "a", "access": ["allow"], "rules": rules}]})
}

#[test]
fn many_rules_load() {
    let rules = (0..MANY).map(|number| json!({"path": format!("/{number}/**")}));
    assert_eq!(load_in_time(&api(rules.collect())), "");
}

#[test]
fn many_apis_load() {
    let apis: Vec<_> = (0..MANY)
        .map(|number| {
            json!({
                "name": format!("api {number}"), "hosts": [format!("{number}.example")],
                "base_path": format!("/{number}"), "access": ["allow"], "rules": [{"path": "/**"}]
            })
        })
        .collect();
    assert_eq!(load_in_time(&json!({"sidegate": "v1", "apis": apis})), "");
}

#[test]
fn many_equal_rules_are_each_reported_once() {
    let messages = load_in_time(&api(vec![json!({"path": "/x"}); MANY]));
    assert!(
        messages
            .starts_with("apis[0] (a).rules[1]: matches the same requests as the earlier rule for `/x`\n"),
        "{messages}"
    );
    assert!(messages.ends_with("\nthere are 99899 more problems"), "{messages}");
}

#[test]
fn many_equal_apis_are_each_reported() {
    let apis = vec![api(vec![json!({"path": "/x"})])["apis"][0].clone(); MANY];
    let messages = load_in_time(&json!({"sidegate": "v1", "apis": apis}));
    assert!(messages.ends_with(" more problems"), "{messages}");
}

#[test]
fn a_long_chain_of_metrics_is_rejected() {
    let mut metrics = serde_json::Map::new();
    for number in 0..20_000 {
        let metric = if number == 0 { json!({}) } else { json!({"parent": format!("m{}", number - 1)}) };
        metrics.insert(format!("m{number}"), metric);
    }
    let mut document = api(vec![json!({"path": "/**"})]);
    document["metrics"] = Value::Object(metrics);
    let messages = load_in_time(&document);
    assert!(messages.contains("has more than 15 ancestors"), "{messages}");
    assert!(messages.ends_with("\nthere are 19884 more problems"), "{messages}");
}

#[test]
fn many_faults_in_a_document_that_cannot_be_read_are_counted() {
    let rules = (0..MANY).map(|number| json!({"path": number, "colour": "red"}));
    let messages = load_in_time(&api(rules.collect()));
    assert!(messages.ends_with(" more problems"), "{messages}");
}
