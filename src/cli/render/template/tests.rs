//! What is filled in, what is left out, and that no value changes its type.

use std::collections::BTreeSet;

use proptest::{collection::vec, prelude::*};

use super::*;

fn object(place: Place, selector: &[(&str, &str)]) -> Object {
    Object {
        name: "gate".to_owned(),
        namespace: None,
        place,
        selector: selector.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
    }
}

fn contents(policy: &Value) -> Contents {
    Contents {
        policy: policy.clone(),
        text: policy.to_string(),
        variables: BTreeSet::default(),
        takes_verified_tokens: false,
    }
}

fn extension(traffic: bool, place: Place) -> Manifest {
    Manifest::Extension {
        traffic,
        object: object(place, &[]),
        image: "registry.example.com/a/b".to_owned(),
        sha256: None,
        pull_secret: None,
    }
}

fn plugin(place: Place, policy: &Value) -> String {
    fill(&extension(false, place), contents(policy)).unwrap()
}

#[test]
fn options_that_are_not_given_are_removed_from_the_template() {
    let printed = plugin(Place::Sidecar, &json!({"sidegate": "v1"}));
    let spec = from_yaml(printed.as_bytes()).unwrap()["spec"].take();
    let attributes: Vec<_> = spec.as_object().unwrap().keys().map(String::as_str).collect();
    let expected = [
        "failStrategy",
        "imagePullPolicy",
        "match",
        "phase",
        "pluginConfig",
        "pluginName",
        "selector",
        "url",
    ];
    assert_eq!(attributes, expected);
    assert_eq!(spec["pluginConfig"], json!({"sidegate": "v1"}));
}

#[test]
fn a_gateway_is_selected_by_istios_label_and_not_as_a_server() {
    let printed = plugin(Place::Gateway, &json!({}));
    let spec = from_yaml(printed.as_bytes()).unwrap()["spec"].take();
    assert_eq!(spec["selector"], json!({"matchLabels": {"istio": "ingressgateway"}}));
    assert_eq!(spec.get("match"), None);
}

/// Istio puts plugins of the phase AUTHN before its own authentication.
#[test]
fn a_plugin_that_takes_verified_tokens_comes_after_istios_authentication() {
    for traffic in [false, true] {
        for (takes_verified_tokens, phase) in [(false, "AUTHN"), (true, "AUTHZ")] {
            let contents = Contents { takes_verified_tokens, ..contents(&json!({})) };
            let printed = fill(&extension(traffic, Place::Sidecar), contents).unwrap();
            assert_eq!(from_yaml(printed.as_bytes()).unwrap()["spec"]["phase"], phase);
        }
    }
}

#[test]
fn an_envoyfilter_is_for_the_place_it_names() {
    for (place, selector, context, labels) in [
        (Place::Sidecar, &[("app", "web")][..], "SIDECAR_INBOUND", json!({"app": "web"})),
        (Place::Gateway, &[], "GATEWAY", json!({"istio": "ingressgateway"})),
        (Place::Gateway, &[("app", "edge")], "GATEWAY", json!({"app": "edge"})),
    ] {
        let remote = Module::Remote { url: "https://a/b".to_owned(), sha256: String::new() };
        for module in [Module::File("/a".to_owned()), remote] {
            let manifest = Manifest::EnvoyFilter { object: object(place, selector), module };
            let printed = fill(&manifest, contents(&json!({}))).unwrap();
            let spec = from_yaml(printed.as_bytes()).unwrap()["spec"].take();
            assert_eq!(spec["workloadSelector"]["labels"], labels);
            assert_eq!(spec["configPatches"][0]["match"]["context"], context);
            for patch in spec["configPatches"].as_array().unwrap() {
                assert_eq!(patch["patch"]["value"]["name"], "gate");
            }
        }
    }
}

/// Texts that YAML readers take for another type, unless they are quoted.
const WORDS: &str = "on off Off y n yes No TRUE true null ~ 0123 0x1F 0b1 1e3 1.5 1_000 12:30:45 .inf -.5 2026-11-20 2026-11-20T00:00:00Z";

/// Texts that have a meaning in YAML.
const MARKS: &str = "<< = - # !x &x *x %x @x `x | > ' \" \\ {a} [a] ... --- , : ?";

/// Texts with blanks and unprintable characters.
const BLANKS: &[&str] = &[
    "",
    " ",
    "- a",
    "a: b",
    "a #b",
    "? a",
    "a\nb",
    "\na\n",
    " a\n b\n",
    "a\r\nb",
    "\t",
    "\u{85}\u{2028}",
    "\u{feff}",
    "\0\u{7f}",
];

fn text() -> impl Strategy<Value = String> {
    let known: Vec<_> = WORDS.split(' ').chain(MARKS.split(' ')).chain(BLANKS.iter().copied()).collect();
    prop_oneof![proptest::sample::select(known).prop_map(str::to_owned), any::<String>()]
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        4 => text().prop_map(Value::from),
        1 => any::<u64>().prop_map(Value::from),
        1 => any::<i64>().prop_map(Value::from),
        1 => any::<bool>().prop_map(Value::from),
        1 => Just(Value::Null),
    ];
    leaf.prop_recursive(4, 32, 6, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..6).prop_map(Value::from),
            vec((text(), inner), 0..6).prop_map(|members| members.into_iter().collect()),
        ]
    })
}

proptest! {
    #[test]
    fn another_reader_reads_the_same_values(policy in value()) {
        let printed = plugin(Place::Sidecar, &json!({"policy": policy}));
        let read: Value = serde_norway::from_str(&printed).unwrap();
        prop_assert_eq!(&read["spec"]["pluginConfig"]["policy"], &policy, "{}", printed);
    }
}

#[test]
fn texts_that_yaml_1_1_would_read_as_another_type_are_quoted() {
    for trap in WORDS.split(' ').chain([""]) {
        let yaml = to_yaml(&json!({trap: trap})).unwrap();
        let (key, value) = yaml.trim_end().split_once(": ").unwrap();
        for side in [key, value] {
            assert!(side.starts_with(['"', '\'']), "{trap}: {yaml}");
        }
    }
    assert_eq!(to_yaml(&json!({"revision": "2026-11-20.1"})).unwrap(), "revision: 2026-11-20.1\n");
}
