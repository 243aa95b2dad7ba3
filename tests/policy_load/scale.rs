//! Large documents load, and bad ones are rejected, in time that grows no faster than their size. If it grew
//! with the square, these documents would take minutes or hours.

use rustix::time::{ClockId, clock_gettime};

use super::*;

/// Ten times what a load takes without optimisation. If only the names of APIs were compared with each other,
/// it would take four times as long as this.
const DEADLINE: Duration = Duration::from_secs(50);

const MANY: usize = 100_000;

/// The processor's time that this test has used. Others do not count.
fn used() -> Duration {
    clock_gettime(ClockId::ThreadCPUTime).try_into().unwrap()
}

/// The messages of a document that must be rejected, or an empty text.
fn load_in_time(document: &Value) -> String {
    let text = document.to_string();
    let before = used();
    let messages = Policy::load(text.as_bytes(), &environment)
        .err()
        .map_or(String::new(), |problems| problems.to_string());
    let took = used().saturating_sub(before);
    assert!(took < DEADLINE, "{took:?}");
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

/// A list of this many different texts.
fn texts(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("x{number}")).collect()
}

#[test]
fn what_each_request_pays_for_is_bounded() {
    let windows = ["second", "minute", "hour", "day", "week", "month", "year", "eternity"];
    let limits = |count: usize| -> Vec<_> {
        let of = ["consumer", "client", "subject", "address", "api"];
        let all = of.iter().flat_map(|of| {
            windows.iter().map(move |per| json!({"metric": "hits", "max": 9, "per": per, "of": of}))
        });
        all.take(count).collect()
    };
    let headers = |count| -> serde_json::Map<_, _> {
        texts(count).into_iter().map(|name| (name, json!("a"))).collect()
    };
    let places = |count| -> Vec<_> { texts(count).iter().map(|name| json!({"header": name})).collect() };
    for (pointer, most, what, list) in [
        ("/apis/0/limits", 32, "limits", &(|count| json!(limits(count))) as &dyn Fn(usize) -> Value),
        ("/plans/basic/limits", 32, "limits", &|count| json!(limits(count))),
        ("/apis/0/forward/headers", 32, "headers", &|count| json!(headers(count))),
        ("/apis/0/forward/headers/x-consumer", 1024, "bytes", &|count| json!("x".repeat(count))),
        ("/apis/0/forward/headers/x-consumer", 8, "fields", &|count| json!("{scope}".repeat(count))),
        ("/apis/0/credentials/api_key", 32, "places", &|count| json!(places(count))),
        ("/apis/0/credentials/token", 32, "places", &|count| json!(places(count))),
        ("/apis/0/rules/0/methods", 64, "methods", &|count| json!(texts(count))),
        ("/apis/0/rules/0/access/0/introspection/scopes", 16, "scopes", &|count| json!(texts(count))),
        ("/apis/0/rules/0/access/0/introspection/issuers", 64, "issuers", &|count| json!(texts(count))),
        ("/apis/0/rules/0/access/0/introspection/audience/any", 16, "audiences", &|count| {
            json!(texts(count))
        }),
        ("/consumers/0/keys", 1000, "keys of one consumer", &|count| {
            let key = |text: String| json!({"sha256": Digest::of(text.as_bytes()).to_hex()});
            json!(texts(count).into_iter().map(key).collect::<Vec<_>>())
        }),
    ] {
        for (count, is_too_much) in [(most, false), (most + 1, true)] {
            let mut document = base();
            if pointer.ends_with("token") {
                document["apis"][0]["credentials"]["api_key"] = json!([{"query": "k"}]);
            }
            *document.pointer_mut(pointer).unwrap() = list(count);
            let reported = problems(document.to_string().as_bytes());
            let message = format!(": has {count} {what}, but at most {most} are possible");
            let named = reported.iter().any(|problem| problem.ends_with(&message));
            assert_eq!(named, is_too_much, "{pointer}: {reported:?}");
            assert!(is_too_much || reported.is_empty(), "{pointer}: {reported:?}");
        }
    }
}

#[test]
fn a_document_that_is_too_large_is_rejected() {
    let document = json!({"sidegate": "v1", "apis": [], "revision": "x".repeat(64 << 20)});
    assert_eq!(problems(document.to_string().as_bytes()), ["the document has more than 67108864 bytes"]);
}
