//! Configurations that contain no policy document, or a large one.

use super::*;

#[test]
fn nothing_may_appear_twice() {
    for (text, twice, path) in [
        (r#""gold":{}"#, r#""gold":{},"gold":{}"#, "plans.gold"),
        (r#""parent":"hits""#, r#""parent":"hits","parent":"hits""#, "metrics.reads.parent"),
        (
            r#""x-consumer":"#,
            r#""x-consumer":"a","x-consumer":"#,
            "apis[0] (orders).forward.headers.x-consumer",
        ),
        (r#""realm":"#, r#""realm":"a","realm":"#, "gate.realm"),
    ] {
        let json = base().to_string();
        assert_eq!(json.matches(text).count(), 1, "{text}");
        assert_eq!(problems(json.replace(text, twice).as_bytes()), [format!("{path}: appears twice")]);
    }
}

#[test]
fn objects_of_kubernetes_are_recognised() {
    for (kind, part) in [
        ("WasmPlugin", "what is under its `spec.pluginConfig`"),
        ("TrafficExtension", "what is under its `spec.wasm.pluginConfig`"),
        ("EnvoyFilter", "what is in its `configuration.value`"),
        ("ConfigMap", "what is in its `data`"),
        ("Deployment", "the policy that is in it"),
    ] {
        let object = json!({"apiVersion": "v1", "kind": kind, "metadata": {"name": "a"}, "spec": base()});
        let message = format!("this is a Kubernetes object of kind `{kind}`, not a policy: pass {part}");
        assert_eq!(problems(object.to_string().as_bytes()), [message]);
    }
}

#[test]
fn a_document_that_is_nested_too_deeply_is_rejected() {
    let message = |column: usize| {
        format!(
            "the document is nested too deeply at line 1 column {column}: at most 127 levels are possible"
        )
    };
    let lists = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    assert_eq!(problems(lists(127).as_bytes()), ["invalid type: list, expected a map"]);
    assert_eq!(problems(lists(128).as_bytes()), [message(128)]);
    assert_eq!(problems("[".repeat(1_000_000).as_bytes()), [message(128)]);
    let inside = |depth| format!(r#"{{"sidegate":"v1","x":{}}}"#, lists(depth));
    assert!(problems(inside(126).as_bytes()).iter().any(|problem| problem.contains("unknown field `x`")));
    assert_eq!(problems(inside(127).as_bytes()), [message(21 + 127)]);
}

#[test]
fn what_is_not_a_document_is_reported_as_such() {
    let reported = |bytes: &[u8]| {
        let mut lines = problems(bytes);
        assert_eq!(lines.len(), 1, "{lines:?}");
        lines.remove(0)
    };
    for empty in ["", " \r\n\t"] {
        assert_eq!(
            reported(empty.as_bytes()),
            "the configuration is empty: it must hold the policy document as JSON"
        );
    }
    let yaml = "\nsidegate: v1\napis: []\n";
    let message = reported(yaml.as_bytes());
    assert!(
        message.starts_with("the configuration is not JSON; `sidegate convert` turns YAML into JSON: "),
        "{message}"
    );
    for (json, message) in [
        ("[]", "invalid type: list, expected a map"),
        ("null", "invalid type: null, expected a map"),
        ("\"v1\"", "invalid type: string, expected a map"),
    ] {
        assert_eq!(reported(json.as_bytes()), message, "{json}");
    }
    assert_eq!(problems(b"{}"), ["missing field `sidegate`", "missing field `apis`"]);
    assert!(reported(b"{\"sidegate\":\"v1\",").contains("EOF"));
    assert!(reported(b"\xff\xfe{}").contains("not JSON"));
    assert!(reported("[".repeat(100_000).as_bytes()).contains("nested too deeply"));
}

#[test]
fn a_protobuf_struct_should_be_a_string_value() {
    // Struct { fields: [{ key: "sidegate", value: Value { string_value: "v1…" } }] }, with lengths of one and
    // two bytes.
    for length in [2, 120, 300] {
        let text = "v".repeat(length);
        let field = |tag: u8, content: &[u8]| {
            let mut bytes = vec![tag];
            let mut length = content.len();
            while length > 0x7f {
                bytes.push(u8::try_from(length & 0x7f).unwrap() | 0x80);
                length >>= 7;
            }
            bytes.push(u8::try_from(length).unwrap());
            bytes.extend_from_slice(content);
            bytes
        };
        let entry = [field(0x0a, b"sidegate"), field(0x12, &field(0x1a, text.as_bytes()))].concat();
        let reported = problems(&field(0x0a, &entry));
        let expected = "the configuration is not JSON text but a binary google.protobuf.Struct: pass it as a google.protobuf.StringValue that holds the JSON";
        assert_eq!(reported, [expected], "{length}");
    }
}

#[test]
fn a_hundred_thousand_consumers_load_and_are_found() {
    const CONSUMERS: usize = 100_000;
    let key = |index: usize| Digest::of(format!("key-{index}").as_bytes());
    let consumers: Vec<_> = (0..CONSUMERS)
        .map(|index| json!({"name": format!("c{index}"), "keys": [{"sha256": key(index).to_hex()}]}))
        .collect();
    let bindings: Vec<_> =
        (0..CONSUMERS).map(|index| json!({"consumer": format!("c{index}"), "allow": "all"})).collect();
    let document = json!({"sidegate": "v1", "consumers": consumers, "apis": [
        {"name": "a", "access": ["api_key"], "rules": [{"path": "/**"}], "bindings": bindings}
    ]});
    let policy = Policy::load(document.to_string().as_bytes(), &environment).unwrap();
    let now = Timestamp::from_seconds(1_800_000_000);
    for index in [0, 1, CONSUMERS / 2, CONSUMERS - 1] {
        let consumer = usize::try_from(policy.keys.find(&key(index), now).unwrap().consumer).unwrap();
        assert_eq!(policy.consumers.get(consumer).unwrap().name, format!("c{index}"));
        assert!(policy.apis()[0].bindings.as_ref().unwrap().get(consumer).is_some());
    }
    assert!(policy.keys.find(&key(CONSUMERS), now).is_err());
}
