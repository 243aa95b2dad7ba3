//! Tests of reading: what is reported about a document that does not fit.

use serde_json::json;
#[cfg(all(target_family = "wasm", target_os = "unknown"))]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::{
    super::{Problems, document::tests::everything},
    *,
};

const API: &str = r#""apis":[{"name":"a","rules":[{"path":"/x"}]}]"#;

fn problems(json: &str) -> Vec<String> {
    match read(json.as_bytes()).0 {
        Ok(_) => Vec::new(),
        Err(unreadable) => unreadable.problems.iter().map(ToString::to_string).collect(),
    }
}

#[test]
fn a_valid_document_has_no_problems() {
    assert_eq!(problems(&format!(r#"{{"sidegate":"v1",{API}}}"#)), Vec::<String>::new());
}

#[test]
fn all_problems_are_reported_at_once_with_their_paths() {
    let json = r#"{"sidegate":"v1","gate":{"relm":"x","capacity":{"meters":"many"}},
        "providers":{"p":{"introspection":{"cluster":"c","url":"u","timeout":"soon","authentication":{"basic":{"id":"i"}}}}},
        "apis":[{"name":"a","rules":[{"path":1},{"path":"/x","acces":[]},{"path":"/y","methods":"GET"}]},{"rules":[]},
                {"name":"c","rules":[],"shadow":"yes"}]}"#;
    assert_eq!(
        problems(json),
        [
            "providers.p.introspection.authentication.basic: missing field `secret`",
            "providers.p.introspection.timeout: `soon` is not a duration such as `200ms`, `30s`, `5m`, `1h` or `1d`",
            "apis[0] (a).rules[0].path: invalid type: integer, expected a string",
            "apis[0] (a).rules[1].acces: unknown field `acces`, expected one of `path`, `regex`, `methods`, `access`, `answer`, `mock`, `shadow`",
            "apis[0] (a).rules[2].methods: invalid type: string, expected a list",
            "apis[1]: missing field `name`",
            "apis[2] (c).shadow: invalid type: string, expected a boolean",
            "gate.capacity.meters: invalid type: string, expected a whole number from 0 to 4294967295",
            "gate.relm: unknown field `relm`, expected one of `realm`, `resource_metadata`, `unmatched`, `preflight`, `max_path_length`, `errors`, `rate_limit_headers`, `quota_alert_at`, `filter_state`, `debug`, `client_certificate`, `capacity`",
        ]
    );
}

#[test]
fn what_follows_from_a_removed_part_is_not_reported_again() {
    let json = format!(r#"{{"sidegate":"v1","consumers":[5,{{"name":1}}],{API}}}"#);
    let reported = problems(&json);
    let paths: Vec<_> = reported.iter().map(|problem| problem.split(':').next().unwrap()).collect();
    assert_eq!(paths, ["consumers[0]", "consumers[1].name"]);
}

#[test]
fn another_version_is_not_read_as_this_one() {
    let json = r#"{"sidegate":"v2","apis":{"orders":{}},"colour":1}"#;
    assert_eq!(problems(json), ["sidegate: unsupported schema version `v2`, expected `v1`"]);
}

#[test]
fn what_appears_twice_is_reported_with_everything_else() {
    let json = r#"{"sidegate":"v1","sidegate":"v1","apis":[{"name":"a","name":"b","rules":[],"colour":1}]}"#;
    let problems = problems(json);
    assert_eq!(problems[..2], ["sidegate: appears twice", "apis[0] (b).name: appears twice"]);
    assert!(problems[2].starts_with("apis[0] (b).colour: unknown field"), "{problems:?}");
}

#[test]
fn a_document_means_the_same_entry_by_entry() {
    let json = everything().to_string();
    let document = entries::read(json.as_bytes(), &mut |_| ()).unwrap();
    assert_eq!(document, serde_json::from_str(&json).unwrap());
    let bindings = |list: &str| format!(r#"{{"sidegate":"v1","apis":[{{"name":"a","rules":[],{list}}}]}}"#);
    for list in [r#""bindings":[]"#, r#""metering":[]"#, r#""shadow":true"#] {
        let json = bindings(list);
        let document = entries::read(json.as_bytes(), &mut |_| ()).unwrap();
        assert_eq!(document, serde_json::from_str(&json).unwrap());
    }
    for list in [r#""bindings":null"#, r#""bindings":[],"bindings":[]"#, r#""rules":[]"#, r#""colour":1"#] {
        assert!(entries::read(bindings(list).as_bytes(), &mut |_| ()).is_err(), "{list}");
    }
}

#[test]
fn what_is_not_json_is_reported_as_such() {
    assert!(problems("")[0].contains("empty"));
    assert!(problems("  \n")[0].contains("empty"));
    assert!(problems("\n{\"sidegate\":")[0].contains("not JSON"));
    assert!(problems("\u{a}\u{10}\u{a}\u{8}sidegate\u{12}\u{4}\u{1a}\u{2}v1")[0].contains("StringValue"));
    for yaml in ["\nsidegate: v1\n", "\n\n\n\n\n\n\n\n\n\n\n\n\nsidegate: v1\n", "\n\u{80}", "\n"] {
        assert!(!problems(yaml)[0].contains("StringValue"), "{yaml:?}");
    }
}

#[test]
fn values_that_may_be_secrets_are_not_repeated() {
    for authentication in [
        r#""hunter2""#,
        r#"{"bearer":"hunter2"}"#,
        r#"{"hunter2":{}}"#,
        r#"{"hunter2":{},"hunter22":{}}"#,
        r#"{"basic":{"id":"i","secret":["hunter2"]}}"#,
    ] {
        let json = format!(
            r#"{{"sidegate":"v1","providers":{{"p":{{"introspection":{{"cluster":"c","url":"u","authentication":{authentication}}}}}}},{API}}}"#
        );
        let problems = problems(&json);
        assert!(!problems.is_empty(), "{authentication}");
        assert!(!problems.iter().any(|problem| problem.contains("hunter2")), "{problems:?}");
    }
}

#[test]
fn a_hundred_problems_are_enough() {
    let consumers = vec![r#"{"nam":1}"#; 60].join(",");
    let gate: Vec<_> = (0..60).map(|number| format!(r#""a{number}":1"#)).collect();
    let json =
        format!(r#"{{"sidegate":"v1","consumers":[{consumers}],"gate":{{{}}},{API}}}"#, gate.join(","));
    let unreadable = read(json.as_bytes()).0.unwrap_err();
    assert_eq!(unreadable.problems.len(), Problems::MOST);
    assert!(!unreadable.is_complete && unreadable.rest.is_none());
}

/// The paths of everything in a value, as JSON pointers.
fn pointers(value: &Value, at: &str, found: &mut Vec<String>) {
    found.push(at.to_owned());
    match value {
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                pointers(item, &format!("{at}/{index}"), found);
            }
        }
        Value::Object(members) => {
            for (name, member) in members {
                pointers(member, &format!("{at}/{name}"), found);
            }
        }
        _ => {}
    }
}

#[test]
fn whatever_is_wrong_is_found_and_said_in_the_documents_words() {
    let (whole, mut all) = (everything(), Vec::new());
    pointers(&whole, "", &mut all);
    for pointer in all {
        for value in [
            json!(null),
            json!(true),
            json!(7),
            json!(-7),
            json!(0.5),
            json!("x"),
            json!([]),
            json!({"x": 1}),
        ] {
            let mut changed = whole.clone();
            *changed.pointer_mut(&pointer).unwrap() = value;
            let text = changed.to_string();
            let by_serde = serde_json::from_str::<Document>(&text).is_ok();
            let problems = problems(&text);
            assert_eq!(by_serde, problems.is_empty(), "{pointer}: {text}");
            // Where it fails, the diagnosis finds a fault of its own.
            let own = check::<Document>(&changed);
            assert_eq!(by_serde, own.is_none(), "{pointer}: {own:?}");
            for word in
                ["sequence", "unit ", "newtype", "struct", "variant", "u32", "u64", "floating", "single key"]
            {
                assert!(!problems.iter().any(|problem| problem.contains(word)), "{problems:?}");
            }
        }
    }
}
