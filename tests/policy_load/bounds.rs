//! Bounds on what a request is compared with: no policy that loads can stall a worker.

use super::*;

/// The problems of the base with this value in place of another.
fn with(pointer: &str, value: Value) -> Vec<String> {
    let mut document = base();
    *document.pointer_mut(pointer).unwrap() = value;
    problems(document.to_string().as_bytes())
}

fn list(count: usize, item: impl FnMut(usize) -> Value) -> Value {
    Value::Array((0..count).map(item).collect())
}

/// Checks that the first value loads, and that the second is reported so.
#[track_caller]
fn bound(pointer: &str, largest: Value, too_large: Value, problem: &str) {
    assert_eq!(with(pointer, largest), Vec::<String>::new(), "{pointer}");
    assert_eq!(with(pointer, too_large), [problem], "{pointer}");
}

#[test]
fn expressions_of_an_api_are_bounded_in_number() {
    let rules = |count| list(count, |n| json!({"regex": format!("/r/{n}/[0-9]+/.*")}));
    bound(
        "/apis/0/rules",
        rules(1_000),
        rules(1_001),
        "apis[0] (orders).rules: there are more than 1000 expressions: use templates",
    );
}

#[test]
fn an_expression_is_bounded_in_complexity() {
    let complex = "is too complex to be matched in bounded time: avoid large counters, and counters after wildcards as in `.*a.{20}`";
    bound(
        "/apis/0/rules/2/regex",
        json!(".*a.{9}"),
        json!(".*a.{20}"),
        &format!("apis[0] (orders).rules[2].regex: {complex}"),
    );
    bound(
        "/apis/0/bindings/0/paths",
        json!([{"path": "/a", "allow": "all"}, {"regex": "/[a-z]{200}", "allow": "all"}]),
        json!([{"path": "/a", "allow": "all"}, {"regex": "/[a-z]{1000}{1000}", "allow": "all"}]),
        &format!("apis[0] (orders).bindings[0].paths[1].regex: {complex}"),
    );
}

#[test]
fn expressions_of_an_api_are_bounded_together() {
    let together = "the expressions are too complex to be matched together: they need more than 4 tables; use templates, or fewer expressions with wildcards inside";
    let rules = |count| list(count, |n| json!({"regex": format!(".*/x{n}/.*/y{n}")}));
    bound("/apis/0/rules", rules(20), rules(200), &format!("apis[0] (orders).rules: {together}"));
    let prefixes =
        |count| list(count, |n| json!({"path": format!("/{{x}}.{n}."), "match": "prefix", "metric": "hits"}));
    bound("/apis/0/metering", prefixes(20), prefixes(100), &format!("apis[0] (orders).metering: {together}"));
}

#[test]
fn expressions_of_a_policy_are_bounded_together() {
    let apis = |count| {
        list(count, |n| {
            let rules = list(8, |n| json!({"regex": format!(".*/x{n}/.*/y{n}")}));
            json!({"name": format!("api {n}"), "base_path": format!("/{n}"), "access": ["allow"], "rules": rules})
        })
    };
    assert_eq!(with("/apis", apis(10)), Vec::<String>::new());
    let messages = with("/apis", apis(1_000));
    let problem =
        "the expressions of the whole policy are too complex: use templates, or simpler expressions";
    assert!(messages.iter().all(|message| message.ends_with(problem)), "{messages:?}");
    assert!(!messages.is_empty());
}

#[test]
fn templates_are_bounded_in_branches() {
    let rules = |depth: u32| {
        list(1 << depth, |number| {
            let segment =
                |bit: u32| if number >> bit & 1 == 0 { "/a".to_owned() } else { format!("/{{p{bit}}}") };
            json!({"path": (0..depth).map(segment).collect::<String>()})
        })
    };
    bound(
        "/apis/0/rules",
        rules(11),
        rules(12),
        "apis[0] (orders).rules: too many paths have a parameter where others have a literal: a request might be compared with more than 4096 segments of them",
    );
}

#[test]
fn lists_that_a_request_is_compared_with_are_bounded() {
    let path = |length: usize| format!("/{}", "a".repeat(length - 1));
    let grants = |count| list(count, |n| json!({"path": format!("/{n}"), "allow": "all"}));
    bound(
        "/apis/0/bindings/0/paths",
        grants(1_000),
        grants(1_001),
        "apis[0] (orders).bindings[0].paths: there are more than 1000 entries",
    );
    let metering = |count, path: &str| list(count, |_| json!({"path": path, "metric": "hits"}));
    bound(
        "/apis/0/metering",
        metering(1_000, "/**"),
        metering(1_001, "/**"),
        "apis[0] (orders).metering: there are more than 1000 entries",
    );
    bound(
        "/apis/0/metering",
        metering(64, &path(1_024)),
        metering(65, &path(1_024)),
        "apis[0] (orders).metering: the paths have more than 65536 bytes together",
    );
    let queries = |count: usize| {
        let query: serde_json::Map<_, _> = (0..count).map(|n| (n.to_string(), json!("1"))).collect();
        json!([{"path": "/**", "metric": "hits", "query": query}])
    };
    bound(
        "/apis/0/metering",
        queries(4_000),
        queries(4_001),
        "apis[0] (orders).metering: there are more than 4000 conditions on queries",
    );
    bound(
        "/apis/0/rules/1/path",
        json!(path(4_096)),
        json!(path(4_097)),
        "apis[0] (orders).rules[1].path: a pattern has at most 4096 bytes",
    );
    let methods = |count| list(count, |n| json!(format!("M{n}")));
    bound(
        "/apis/0/bindings/0/allow/methods",
        methods(64),
        methods(65),
        "apis[0] (orders).bindings[0].allow.methods: there are more than 64 methods",
    );
}

#[test]
fn places_and_what_tokens_need_are_bounded() {
    let places = |count| list(count, |n| json!({"query": format!("k{n}")}));
    bound(
        "/apis/0/credentials/api_key",
        places(32),
        places(33),
        "apis[0] (orders).credentials.api_key: has 33 places, but at most 32 are possible",
    );
    let schemes = |count| list(count, |n| json!({"header": "authorization", "scheme": format!("S{n}")}));
    bound(
        "/apis/0/credentials/token",
        schemes(4),
        schemes(5),
        "apis[0] (orders).credentials.token: there are more than 4 places with a scheme",
    );
    let texts = |count| list(count, |n| json!(format!("s{n}")));
    bound(
        "/apis/0/rules/0/access/0/introspection/scopes",
        texts(16),
        texts(17),
        "apis[0] (orders).rules[0].access[0].introspection.scopes: has 17 scopes, but at most 16 are possible",
    );
    bound(
        "/apis/0/rules/0/access/0/introspection/audience/any",
        texts(16),
        texts(17),
        "apis[0] (orders).rules[0].access[0].introspection.audience: has 17 audiences, but at most 16 are possible",
    );
}

#[test]
fn the_length_of_paths_is_bounded() {
    for length in [1, 8_192, 16_384] {
        assert_eq!(with("/gate", json!({"max_path_length": length})), Vec::<String>::new(), "{length}");
    }
    for length in [0, 16_385, 65_535] {
        let problem = "gate.max_path_length: not between 1 and 16384";
        assert_eq!(with("/gate", json!({"max_path_length": length})), [problem], "{length}");
    }
}
