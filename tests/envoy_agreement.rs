//! The command and the module agree on every document: both are the same code, compiled for machines with
//! pointers of 64 and of 32 bits. Each document goes through both, and the problems must be the same.
#![cfg(all(test, not(target_family = "wasm")))]
#![expect(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "helpers of tests, outside of test functions"
)]

use std::{fmt::Write as _, fs, time::Duration};

use serde_json::{Value, json};
use sidegate::{credential::Digest, policy::Policy};
use sidegate_harness::{Envoy, Listener, Rejected, Setup, Wasm, direct_response, project};

/// The variables that both have.
const ENVIRONMENT: [(&str, &str); 3] = [("SECRET", "hunter2"), ("EMPTY", ""), ("CONTROL", "hunter2\r\n")];

/// How long an Envoy may take to load the documents.
const PATIENCE: Duration = Duration::from_secs(300);

/// Documents for one Envoy. Each has a listener of its own.
const MANY: usize = 400;

/// Numbers at the bounds of the types that hold them, as they are written.
const NUMBERS: [&str; 24] = [
    "0",
    "1",
    "-1",
    "-0",
    "1.0",
    "1.5",
    "1e3",
    "255",
    "256",
    "65535",
    "65536",
    "16777216",
    "16777217",
    "2147483647",
    "2147483648",
    "4294967295",
    "4294967296",
    "4294967297",
    "9007199254740993",
    "9223372036854775808",
    "18446744073709551615",
    "18446744073709551616",
    "1e308",
    "1e400",
];

/// Values of another type than expected, and values that are expected nowhere.
const OTHERS: [&str; 6] = ["null", "true", "[]", "{}", "[[]]", r#"{"env":"PATH"}"#];

/// Texts that some attributes accept.
const TEXTS: [&str; 33] = [
    "",
    " ",
    "x",
    "a\u{0}b",
    "a\r\nb",
    "é",
    "*",
    "*.example.com",
    "Example.COM.",
    "bücher.example",
    "[::1]:80",
    "/",
    "//",
    "/a/../b",
    "/%2e%2E/%zz",
    "/{a}/{a}",
    "/{a}-{b}/**",
    "/a$",
    "http://idp:99999/",
    "https://[::1]/?a#b",
    "0ms",
    "1s",
    "49d",
    "50d",
    "4294967296ms",
    "18446744073709551615ms",
    "18446744073709551616d",
    "1969-12-31T23:59:59Z",
    "9999-12-31T23:59:59.999999999Z",
    "2027-01-01",
    "{consumer}{",
    "{scope}",
    "urn:example",
];

/// Expressions, most of which need much memory or other features of Unicode.
const EXPRESSIONS: [&str; 24] = [
    "",
    "/a",
    "(",
    "(?u)\\w",
    "\\w+",
    "\\pL+",
    "\\p{Greek}",
    "(?i)straße",
    "(?i)k",
    "(?-u)\\xff",
    "\\bword\\b",
    "^/a$",
    "(?m)^a",
    "(?=a)b",
    "(a)\\1",
    ".*a.{9}",
    ".*a.{10}",
    ".*a.{20}",
    "a{1000}",
    "a{100000}",
    "(a{1000}){1000}",
    "[a-z]{200}",
    "((a?){30}){30}",
    "(.*/){4}x",
];

/// A document with everything that a document may have.
fn base() -> Value {
    let sha256 = |key: &str| Digest::of(key.as_bytes()).to_hex();
    json!({
        "sidegate": "v1",
        "revision": "r1",
        "gate": {
            "realm": "example", "resource_metadata": "https://example.com/meta", "unmatched": "pass",
            "preflight": "check", "max_path_length": 100,
            "errors": {"format": "problem", "details": "https://example.com/{code}"},
            "rate_limit_headers": "both", "filter_state": {"only": ["api"]}, "debug": {"secret_sha256": sha256("debug")},
            "capacity": {"meters": 64, "addresses": 64, "tokens": 64, "token_bytes": 512}
        },
        "providers": {
            "p": {"introspection": {
                "cluster": "c", "url": "http://idp/introspect", "timeout": "200ms",
                "authentication": {"basic": {"id": "gateway", "secret": {"env": "SECRET"}}},
                "cache": {"ttl": "30s", "negative_ttl": "5s", "stale_if_error": "60s"},
                "unavailable": {"allow_clients": ["web"]}, "cooldown": "1s", "leeway": "1s", "issuers": ["https://idp"]
            }}
        },
        "metrics": {"reads": {"parent": "hits"}, "writes": {}},
        "plans": {
            "basic": {"environment": "staging", "limits": [
                {"metric": "hits", "max": 10, "per": "second", "window": "sliding"},
                {"metric": "writes", "max": 0, "per": "eternity", "of": "address"}
            ]},
            "gold": {}
        },
        "consumers": [
            {"name": "acme", "plan": "basic", "state": "active", "keys": [{"id": "k1", "sha256": sha256("one")}], "clients": ["acme-web"]},
            {"name": "globex", "keys": [{"sha256": sha256("two"), "not_after": "2027-01-01T00:00:00Z"}]}
        ],
        "apis": [
            {
                "name": "orders", "hosts": ["orders.example.com"], "base_path": "/v1",
                "credentials": {"api_key": [{"header": "apikey"}], "token": [{"header": "authorization", "scheme": "Bearer"}]},
                "access": ["api_key"],
                "rules": [
                    {"path": "/orders/{id}", "methods": ["GET"], "access": [
                        {"introspection": {"provider": "p", "scopes": ["read"], "scope_strategy": "exact",
                                           "audience": {"any": ["orders"]}, "issuers": ["https://idp"]}},
                        "api_key"
                    ]},
                    {"path": "/orders/**"},
                    {"regex": "/r/[0-9]+"}
                ],
                "metering": [{"path": "/x", "match": "prefix", "query": {"q": "{v}"}, "methods": ["GET"],
                              "metric": "hits", "by": 1, "last": true}],
                "bindings": [{"consumer": "acme", "plan": "gold", "allow": {"methods": ["GET"]},
                              "paths": [{"path": "/orders/**", "allow": "all"}, {"regex": "/x.*", "allow": "none"}]}],
                "limits": [{"metric": "hits", "max": 50, "per": "minute", "of": "api"}],
                "forward": {"remove_credentials": true, "headers": {"x-consumer": "{consumer}"}},
                "shadow": false
            },
            {"name": "open", "rules": [{"path": "/**", "access": ["allow"]}]}
        ]
    })
}

/// The pointers to all values of a document.
fn pointers(value: &Value, pointer: &str, found: &mut Vec<String>) {
    found.push(pointer.to_owned());
    match value {
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                pointers(item, &format!("{pointer}/{index}"), found);
            }
        }
        Value::Object(members) => {
            for (name, member) in members {
                pointers(member, &format!("{pointer}/{name}"), found);
            }
        }
        _ => {}
    }
}

/// The base with this JSON in place of a value, as it is written.
fn with(pointer: &str, json: &str) -> Vec<u8> {
    const PLACE: &str = "-- here --";
    let mut document = base();
    *document.pointer_mut(pointer).expect("a pointer into the base") = json!(PLACE);
    document.to_string().replace(&json!(PLACE).to_string(), json).into_bytes()
}

/// The base with each of its values replaced, by every value that could be taken for one.
fn replaced() -> Vec<Vec<u8>> {
    let base = base();
    let mut all = Vec::new();
    pointers(&base, "", &mut all);
    let mut documents = vec![base.to_string().into_bytes()];
    for (place, pointer) in all.iter().enumerate() {
        let mut add = |json: &str| documents.push(with(pointer, json));
        // Each value of the base gets another one of these, and a number gets all numbers.
        add(OTHERS[place % OTHERS.len()]);
        match &base.pointer(pointer) {
            Some(Value::Number(_)) => NUMBERS.iter().for_each(|number| add(number)),
            Some(Value::String(_)) if pointer.ends_with("/regex") => {
                EXPRESSIONS.iter().for_each(|regex| add(&json!(regex).to_string()));
            }
            Some(Value::String(_)) => {
                let texts = TEXTS.iter().cycle().skip(place * 7 % TEXTS.len()).take(7);
                texts.for_each(|text| add(&json!(text).to_string()));
                add(NUMBERS[place % NUMBERS.len()]);
                add(&json!("x".repeat(5_000)).to_string());
            }
            _ => add(NUMBERS[place % NUMBERS.len()]),
        }
    }
    for name in ["SECRET", "EMPTY", "CONTROL", "PATH", "NO_SUCH", "A=B", "A\u{0}", "é", ""] {
        let secret = json!({"env": name}).to_string();
        documents.push(with("/providers/p/introspection/authentication/basic/secret", &secret));
        let bearer = json!({"bearer": {"token": {"env": name}}}).to_string();
        documents.push(with("/providers/p/introspection/authentication", &bearer));
    }
    documents
}

/// Documents that are deep, long, or no documents.
fn unusual() -> Vec<Vec<u8>> {
    let mut documents: Vec<Vec<u8>> =
        ["", " \n", "null", "1", "[]", "{", "{}", "{} {}", "{\"sidegate\":\"v2\"}", "sidegate: v1"]
            .map(|text| text.as_bytes().to_vec())
            .into();
    documents.extend([
        b"\xff\xfe\x00".to_vec(),
        b"{\"a\":\"\xff\"}".to_vec(),
        b"\n\x08\n\x01a\x12\x03\x1a\x01b".to_vec(),
    ]);
    for depth in [64, 120, 124, 125, 126, 127, 128, 129, 1_000, 100_000] {
        let lists = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        let maps = format!("{}1{}", r#"{"a":"#.repeat(depth), "}".repeat(depth));
        for nested in [&lists, &maps] {
            documents.push(nested.clone().into_bytes());
            for pointer in ["/revision", "/apis", "/apis/0/rules/0", "/consumers/0/keys"] {
                documents.push(with(pointer, nested));
            }
        }
        documents.push("[".repeat(depth).into_bytes());
    }
    let api = |rules: Vec<Value>| json!({"sidegate": "v1", "apis": [{"name": "a", "access": ["allow"], "rules": rules}]});
    let mut add = |document: Value| documents.push(document.to_string().into_bytes());
    add(api(vec![json!({"path": "/x"}); 30_000]));
    add(api((0..10_000).map(|number| json!({"path": format!("/{number}/{{id}}")})).collect()));
    add(api((0..3_000).map(|number| json!({"path": number, "colour": "red"})).collect()));
    for count in [1_000, 1_001] {
        add(api((0..count).map(|number| json!({"regex": format!("/r/{number}/[0-9]+/.*")})).collect()));
    }
    for count in [20, 200] {
        add(api((0..count).map(|number| json!({"regex": format!(".*/x{number}/.*/y{number}")})).collect()));
    }
    let mut deep = api(vec![json!({"path": "/**"})]);
    let parent =
        |number: u32| if number == 0 { json!({}) } else { json!({"parent": format!("m{}", number - 1)}) };
    deep["metrics"] = (0..20_000).map(|number| (format!("m{number}"), parent(number))).collect();
    add(deep);
    documents
}

/// The documents that the fuzzer starts with.
fn corpus() -> Vec<Vec<u8>> {
    let mut files: Vec<_> = fs::read_dir(project("fuzz/corpus/policy"))
        .expect("a corpus")
        .map(|entry| entry.expect("a file").path())
        .collect();
    files.sort();
    files.iter().map(|file| fs::read(file).expect("a readable file")).collect()
}

/// What the module has logged that the command does not report, or the other way around.
async fn differences(documents: &[Vec<u8>]) -> String {
    let listener = |place: usize, document: &Vec<u8>| {
        let wasm = ENVIRONMENT.iter().fold(
            Wasm::sidegate_with_bytes(document).named(&format!("document-{place}")),
            |wasm, (name, value)| wasm.environment(name, value),
        );
        Listener::new(&format!("listener-{place}")).wasm(&wasm).route(direct_response(200, ""))
    };
    // As long as one filter is in use, V8 does not compile the module again for each of the others.
    let open = json!({"sidegate": "v1", "apis": [{"name": "open", "access": ["allow"], "rules": [{"path": "/**"}]}]});
    let first = Wasm::sidegate(&open);
    let first = ENVIRONMENT.iter().fold(first, |wasm, (name, value)| wasm.environment(name, value));
    let setup = Setup::new(Listener::new("first").wasm(&first).route(direct_response(200, "")))
        .workers(1)
        .under([], PATIENCE);
    let listeners = documents.iter().enumerate().map(|(place, document)| listener(place, document));
    let log = match Envoy::try_start(listeners.fold(setup, Setup::listener)).await {
        Ok(envoy) => envoy.log(),
        Err(Rejected { log, .. }) => log,
    };
    let mut differences = String::new();
    for (place, document) in documents.iter().enumerate() {
        let name = format!("wasm log document-{place} sidegate: the policy is rejected:\n");
        let of_module = log.split_once(&name).map(|(_, rest)| rest);
        let environment = |name: &str| {
            ENVIRONMENT.iter().find(|(variable, _)| *variable == name).map(|(_, value)| (*value).to_owned())
        };
        let agree = match (Policy::load(document, &environment), of_module) {
            (Ok(policy), None) => log.contains(&format!("digest={}", policy.digest)),
            (Err(problems), Some(rest)) => {
                rest.strip_prefix(&problems.to_string()).is_some_and(|rest| rest.starts_with("\n["))
            }
            _ => false,
        };
        if !agree {
            let shown: String = String::from_utf8_lossy(document).chars().take(3_000).collect();
            let problems = Policy::load(document, &environment).err();
            let problems = problems.map_or_else(|| "none".to_owned(), |problems| problems.to_string());
            let of_module: String = of_module.unwrap_or("nothing is rejected").chars().take(500).collect();
            writeln!(differences, "{shown}\n  command: {problems}\n  module: {of_module}").expect("a text");
        }
    }
    differences
}

async fn check(documents: Vec<Vec<u8>>) {
    let mut all = String::new();
    for part in documents.chunks(MANY) {
        all.push_str(&differences(part).await);
    }
    let shown: String = all.chars().take(20_000).collect();
    assert!(all.is_empty(), "{shown}");
}

#[tokio::test]
async fn the_module_says_of_each_replaced_value_what_the_command_says() {
    check(replaced()).await;
}

#[tokio::test]
async fn the_module_says_of_each_unusual_document_what_the_command_says() {
    check([unusual(), corpus()].concat()).await;
}
