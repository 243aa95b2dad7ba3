//! The `sidegate` command as people and scripts use it: its output and its exit codes.
#![cfg(not(target_family = "wasm"))]
#![expect(clippy::unwrap_used, reason = "a test that panics fails, as it should")]

use std::{
    fs,
    io::Write as _,
    path::PathBuf,
    process::{Command, Stdio},
};

use serde_json::{Value, json};
use sidegate::{credential::Digest, policy::Policy};
use tempfile::TempDir;

/// The SHA-256 digest of the empty string.
const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

const RIGHT: &str = "\
sidegate: v1
revision: r1
consumers: [{name: acme}]
apis:
  - {name: orders, access: [api_key], rules: [{path: /**}]}   # everything
";

const WITH_SECRET: &str = "\
sidegate: v1
providers:
  p: {introspection: {cluster: c, url: 'http://idp/', authentication: {bearer: {token: {env: SIDEGATE_TEST_TOKEN}}}}}
apis: [{name: a, access: [introspection: {provider: p}], rules: [{path: /}]}]
";

struct Ended {
    code: i32,
    output: String,
    errors: String,
}

fn sidegate(arguments: &[&str], input: &str) -> Ended {
    let mut child = Command::new(env!("CARGO_BIN_EXE_sidegate"))
        .args(arguments)
        .env_remove("SIDEGATE_TEST_TOKEN")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A command that reads nothing may have ended already.
    let _written = child.stdin.take().unwrap().write_all(input.as_bytes());
    let ended = child.wait_with_output().unwrap();
    Ended {
        code: ended.status.code().unwrap(),
        output: String::from_utf8(ended.stdout).unwrap(),
        errors: String::from_utf8(ended.stderr).unwrap(),
    }
}

fn file(directory: &TempDir, name: &str, text: &str) -> String {
    let path: PathBuf = directory.path().join(name);
    fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn check_says_ok_with_revision_digest_and_numbers() {
    let directory = TempDir::new().unwrap();
    let yaml = file(&directory, "policy.yaml", RIGHT);
    let converted = sidegate(&["convert", &yaml], "");
    let digest: String = Digest::of(converted.output.as_bytes()).to_hex().chars().take(16).collect();
    let ended = sidegate(&["check", &yaml], "");
    let expected = format!("{yaml}: ok (revision r1, digest {digest}, 1 API, 1 consumer)\n");
    assert_eq!((ended.code, ended.output, ended.errors), (0, expected, String::new()));

    let json = file(&directory, "policy.json", &converted.output);
    assert!(
        sidegate(&["check", &json], "").output.contains(&digest),
        "what is converted has the digest that was printed"
    );
    assert!(sidegate(&["check", "-"], RIGHT).output.starts_with("stdin: ok (revision r1, "));
}

#[test]
fn check_reports_every_problem_of_every_file_on_a_line_of_its_own() {
    let directory = TempDir::new().unwrap();
    let right = file(&directory, "right.yaml", RIGHT);
    let wrong =
        file(&directory, "wrong.yaml", "sidegate: v1\napis:\n  - {name: a, rules: []}\ncolour: red\n");
    let twice = file(&directory, "twice.yaml", "sidegate: v1\napis: []\nsidegate: v1\n");
    let ended = sidegate(&["check", &wrong, &right, &twice], "");
    assert_eq!(ended.code, 1);
    assert!(ended.output.starts_with(&format!("{right}: ok ")) && ended.output.lines().count() == 1);
    let fields = "`sidegate`, `revision`, `epoch`, `revoked`, `gate`, `providers`, `metrics`, `plans`, `consumers`, `apis`";
    let lines = [
        format!("{wrong}:3:15: apis[0] (a).rules: the list is empty: leave it out, or give it an entry"),
        format!("{wrong}:4:1: colour: unknown field `colour`, expected one of {fields}"),
        format!("{twice}:3:1: the key `sidegate` appears twice"),
    ];
    assert_eq!(ended.errors.lines().collect::<Vec<_>>(), lines);
}

#[test]
fn check_warns_of_what_loads_but_is_probably_a_mistake() {
    let directory = TempDir::new().unwrap();
    let yaml = "\
sidegate: v1
apis:
  - name: orders
    rules:
      - {path: /orders/:id, access: [allow]}
      - {path: /**, methods: [get], access: [allow]}
";
    let policy = file(&directory, "policy.yaml", yaml);
    let ended = sidegate(&["check", &policy], "");
    assert_eq!(ended.code, 0);
    assert!(ended.output.starts_with(&format!("{policy}: ok (")), "{}", ended.output);
    let lines = [
        format!(
            "{policy}:5:10: warning: apis[0] (orders).rules[0].path: `:id` is taken literally: a parameter is written `{{id}}`"
        ),
        format!(
            "{policy}:6:21: warning: apis[0] (orders).rules[1].methods: `get` is not `GET`, which clients send: methods compare exactly"
        ),
    ];
    assert_eq!(ended.errors.lines().collect::<Vec<_>>(), lines);
}

#[test]
fn warnings_are_printed_among_problems_in_the_order_of_the_text() {
    let directory = TempDir::new().unwrap();
    let yaml = "\
sidegate: v1
apis:
  - name: orders
    rules:
      - {path: /orders/:id, access: [allow]}
      - {path: orders, access: [allow]}
      - {path: /**, methods: [get], access: [allow]}
";
    let policy = file(&directory, "policy.yaml", yaml);
    let ended = sidegate(&["check", &policy], "");
    assert_eq!(ended.code, 1);
    let places: Vec<_> =
        ended.errors.lines().map(|line| line.split(' ').take(2).collect::<Vec<_>>()).collect();
    let at = |place: &str| format!("{policy}:{place}:");
    assert_eq!(
        places,
        [
            [at("5:10").as_str(), "warning:"],
            [at("6:10").as_str(), "apis[0]"],
            [at("7:21").as_str(), "warning:"]
        ],
        "{}",
        ended.errors
    );
}

#[test]
fn problems_are_reported_with_line_and_column() {
    let directory = TempDir::new().unwrap();
    let yaml = "\
sidegate: v1
consumers:
  - &acme {name: acme, plan: gold}
apis:
  - name: orders
    access: [introspection]
    rules:
      - {path: /a, methods: [GET]}
      - path: b
        methods: [P T]
";
    let json = "{\n  \"sidegate\": 1,\n  \"apis\": [\n    {\"name\": \"a\"}\n  ]\n}\n";
    for (name, text, expected) in [
        (
            "policy.yaml",
            yaml,
            &[
                "3:24: consumers[0] (acme).plan: there is no plan `gold`",
                "6:14: apis[0] (orders).access[0]: `introspection` alone is not enough: write `{introspection: {provider: NAME}}`",
                "9:9: apis[0] (orders).rules[1].path: `b` does not start with a slash",
                "10:9: apis[0] (orders).rules[1].methods: `P T` is not a method",
            ][..],
        ),
        (
            "policy.json",
            json,
            &[
                "2:3: sidegate: invalid type: integer, expected `v1`",
                "4:5: apis[0] (a): missing field `rules`",
            ],
        ),
        ("broken.json", "{\n  \"sidegate\": v1\n}\n", &["2:15: not JSON: expected value"]),
    ] {
        let file = file(&directory, name, text);
        let ended = sidegate(&["check", &file], "");
        let expected: Vec<_> = expected.iter().map(|line| format!("{file}:{line}")).collect();
        assert_eq!(ended.errors.lines().collect::<Vec<_>>(), expected);
        assert_eq!((ended.code, ended.output.as_str()), (1, ""));
    }
}

#[test]
fn problems_without_a_place_name_only_the_document() {
    let object = "apiVersion: extensions.istio.io/v1alpha1\nkind: WasmPlugin\nspec: {pluginConfig: {}}\n";
    for (text, message) in [
        ("# nothing but a comment\n", "the document is empty: a policy starts with `sidegate: v1`"),
        ("", "the document is empty: a policy starts with `sidegate: v1`"),
        (
            object,
            "this is a Kubernetes object of kind `WasmPlugin`, not a policy: pass what is under its `spec.pluginConfig`",
        ),
        (
            "revision: r1\napis: [{name: a, access: [allow], rules: [{path: /}]}]\n",
            "missing field `sidegate`",
        ),
    ] {
        let ended = sidegate(&["check", "-"], text);
        assert_eq!((ended.code, ended.errors), (1, format!("stdin: {message}\n")));
    }
}

#[test]
fn a_hundred_problems_are_printed() {
    let consumers: String = (0..102).map(|index| format!("  - {{name: c{index}, plan: gold}}\n")).collect();
    let yaml = format!(
        "sidegate: v1\nconsumers:\n{consumers}apis: [{{name: a, access: [allow], rules: [{{path: /}}]}}]\n"
    );
    let ended = sidegate(&["check", "-"], &yaml);
    let lines: Vec<_> = ended.errors.lines().collect();
    assert_eq!((lines.len(), lines[100]), (101, "stdin: there are 2 more problems"));
    assert_eq!(lines[99], "stdin:102:17: consumers[99] (c99).plan: there is no plan `gold`");
}

#[test]
fn a_missing_secret_is_reported_by_the_name_of_its_variable() {
    let directory = TempDir::new().unwrap();
    let policy = file(&directory, "policy.yaml", WITH_SECRET);
    let variables = file(&directory, "secrets.env", "# for tests\nSIDEGATE_TEST_TOKEN=hunter2\n");
    let broken = file(&directory, "broken.env", "hunter2\n");
    let ended = sidegate(&["check", &policy], "");
    let message = "providers.p.introspection.authentication.bearer.token: the environment has no variable `SIDEGATE_TEST_TOKEN`, or an empty one";
    assert_eq!((ended.code, ended.errors), (1, format!("{policy}:3:81: {message}\n")));
    assert_eq!(sidegate(&["check", "--without-secrets", &policy], "").code, 0);
    assert_eq!(sidegate(&["check", "--env-file", &variables, &policy], "").code, 0);

    let converted = sidegate(&["convert", "--env-file", &variables, &policy], "");
    assert!(
        converted.output.contains(r#"{"env":"SIDEGATE_TEST_TOKEN"}"#)
            && !converted.output.contains("hunter2")
    );

    let ended = sidegate(&["check", "--env-file", &broken, &policy], "");
    let message = format!("sidegate: {broken}: line 1 is not of the form NAME=value\n");
    assert_eq!((ended.code, ended.errors), (2, message));
}

#[test]
fn convert_prints_one_line_of_json_or_nothing() {
    let ended = sidegate(&["convert", "-"], RIGHT);
    let json = r#"{"apis":[{"access":["api_key"],"name":"orders","rules":[{"path":"/**"}]}],"consumers":[{"name":"acme"}],"revision":"r1","sidegate":"v1"}"#;
    assert_eq!((ended.code, ended.output.as_str()), (0, json));
    assert_eq!(sidegate(&["convert", "-"], json).output, json);

    let ended = sidegate(&["convert", "-"], "sidegate: v2\napis: []\n");
    assert_eq!((ended.code, ended.output.as_str()), (1, ""));
    assert!(
        ended.errors.starts_with("stdin:1:1: sidegate: unsupported schema version `v2`"),
        "{}",
        ended.errors
    );
}

#[test]
fn render_prints_the_policy_that_convert_prints_inside_its_manifest() {
    let directory = TempDir::new().unwrap();
    let policy = file(&directory, "policy.yaml", WITH_SECRET);
    let variables = file(&directory, "secrets.env", "SIDEGATE_TEST_TOKEN=hunter2\n");
    let converted = sidegate(&["convert", "--env-file", &variables, &policy], "").output;
    let digest: String = Digest::of(converted.as_bytes()).to_hex().chars().take(16).collect();
    let render = |options: &[&str]| {
        let ended =
            sidegate(&[&["render", "--policy", &policy, "--env-file", &variables], options].concat(), "");
        assert_eq!((ended.code, ended.errors.as_str()), (0, ""), "{options:?}");
        assert!(!ended.output.contains("hunter2"));
        assert!(ended.output.starts_with(&format!("# sidegate render, policy digest {digest}\n")));
        serde_norway::from_str::<Value>(&ended.output).unwrap()
    };

    let plugin =
        render(&["--as", "wasmplugin", "--image", "registry.example.com/a/b", "--selector", "app=orders"]);
    assert_eq!(plugin["spec"]["pluginConfig"].to_string(), converted);
    let variable = json!([{"name": "SIDEGATE_TEST_TOKEN", "valueFrom": "HOST"}]);
    assert_eq!(plugin["spec"]["vmConfig"]["env"], variable);
    assert_eq!(plugin["spec"]["selector"]["matchLabels"], json!({"app": "orders"}));

    let two = ["--selector", "app=orders", "--selector", "example.com/tier=on"];
    let image =
        ["--as", "trafficextension", "--image", "oci://a/b:1", "--name", "gate", "--namespace", "shop"];
    let extension = render(&[&image[..], &two].concat());
    assert_eq!(extension["metadata"], json!({"name": "gate", "namespace": "shop"}));
    assert_eq!(extension["spec"]["wasm"]["pluginConfig"].to_string(), converted);
    assert_eq!(
        extension["spec"]["selector"]["matchLabels"],
        json!({"app": "orders", "example.com/tier": "on"})
    );

    let file = render(&["--as", "envoy", "--module", "/opt/gate.wasm", "--name", "gate"]);
    let filter = &file["resources"][0];
    let config = &filter["typed_config"]["config"];
    assert_eq!((&filter["name"], &config["vm_config"]["vm_id"]), (&json!("gate"), &json!("gate")));
    assert_eq!(config["configuration"]["value"], converted);
    assert_eq!(config["vm_config"]["code"], json!({"local": {"filename": "/opt/gate.wasm"}}));
    let variable = json!({"host_env_keys": ["SIDEGATE_TEST_TOKEN"]});
    assert_eq!(config["vm_config"]["environment_variables"], variable);
}

#[test]
fn render_prints_nothing_for_an_invalid_policy() {
    let plugin =
        ["render", "--policy", "-", "--as", "wasmplugin", "--image", "a/b", "--selector", "app=orders"];
    let ended = sidegate(&plugin, "sidegate: v2\napis: []\n");
    assert_eq!((ended.code, ended.output.as_str()), (1, ""));
    assert!(
        ended.errors.starts_with("stdin:1:1: sidegate: unsupported schema version `v2`"),
        "{}",
        ended.errors
    );

    let policy = "\
sidegate: v1
plans: {p: {limits: [{metric: hits, max: 9007199254740993, per: month}, {metric: hits, max: 9007199254740992, per: year}]}}
apis: [{name: a, access: [allow], rules: [{path: /}]}]
";
    let ended = sidegate(&plugin, policy);
    assert_eq!((ended.code, ended.output.as_str()), (1, ""));
    let message = "plans.p.limits[0].max: Istio rounds numbers above 2^53, so this one would change";
    assert_eq!(ended.errors, format!("stdin:2:37: {message}\n"));
    // Numbers inside text are not rounded.
    for form in [&["--as", "envoy"][..], &["--as", "envoyfilter", "--for", "gateway"]] {
        let ended = sidegate(&[&["render", "--policy", "-"], form].concat(), policy);
        assert!(ended.code == 0 && ended.output.contains("9007199254740993"), "{}", ended.errors);
    }
}

#[test]
fn options_of_render_that_contradict_each_other_are_reported() {
    let digest = "0123456789abcdef".repeat(4);
    for (options, message) in [
        ("--as wasmplugin --selector a=b", "`--as wasmplugin` needs `--image`"),
        ("--as wasmplugin --image a", "`--as wasmplugin` needs `--selector`: the labels of the pods"),
        ("--as wasmplugin --image a --module /b", "`--as wasmplugin` does not take `--module`"),
        (
            "--as trafficextension --image ftp://a",
            "`--as trafficextension` takes image URLs with `oci`, `https`, `http` or `file` only",
        ),
        (
            "--as wasmplugin --image file:///a --sha256 DIGEST",
            "`--as wasmplugin` does not take `--sha256` if the module is a file",
        ),
        ("--as envoyfilter --selector a=b --image a", "`--as envoyfilter` does not take `--image`"),
        (
            "--as envoyfilter --selector a=b --pull-secret a",
            "`--as envoyfilter` does not take `--pull-secret`",
        ),
        ("--as envoyfilter", "`--as envoyfilter` needs `--selector`: the labels of the pods"),
        (
            "--as envoyfilter --for gateway --module https://a",
            "`--as envoyfilter` with a URL needs `--sha256`",
        ),
        (
            "--as envoyfilter --for gateway --sha256 DIGEST",
            "`--as envoyfilter` does not take `--sha256` if the module is a file",
        ),
        (
            "--as envoy --module oci://a --sha256 DIGEST",
            "`--as envoy` takes the module as a path or as an `https` or `http` URL only",
        ),
        ("--as envoy --module a.wasm", "`--as envoy` needs an absolute path to the module"),
        ("--as envoy --for sidecar", "`--as envoy` does not take `--for`"),
        ("--as envoy --namespace a", "`--as envoy` does not take `--namespace`"),
        ("--as envoy --selector a=b", "`--as envoy` does not take `--selector`"),
        ("--as envoy --provider a", "`--as envoy` does not take `--provider`"),
        ("--as ratelimit --name a", "`--as ratelimit` does not take `--name`"),
        ("--as ratelimit --image a", "`--as ratelimit` does not take `--image`"),
        ("--as limitador --namespace a", "`--as limitador` does not take `--namespace`"),
        ("--as limitador --module /a", "`--as limitador` does not take `--module`"),
        ("--as ratelimit", "the policy has no rate limit service with `engine: envoy`"),
        ("--as limitador --provider a", "`a` is not a rate limit service with `engine: limitador`"),
    ] {
        let options = options.replace("DIGEST", &digest);
        let arguments: Vec<_> = ["render", "--policy", "-"].into_iter().chain(options.split(' ')).collect();
        let ended = sidegate(&arguments, RIGHT);
        assert_eq!((ended.code, ended.output.as_str()), (2, ""), "{options}");
        assert_eq!(ended.errors, format!("sidegate: {message}\n"));
    }
}

/// Two services of one kind and one of the other, and the same limit in two sizes.
const REPLICATED: &str = r#"
sidegate: v1
metrics: {hits: {}, reads: {}}
providers:
  one: {rate_limit_service: {cluster: a, domain: "first: of all", lease: none}}
  two: {rate_limit_service: {cluster: b, lease: none}}
  kept: {rate_limit_service: {cluster: c, domain: shop, engine: limitador, lease: none}}
plans:
  free: {limits: [{metric: hits, max: 10, per: month, across: replicas, provider: kept}]}
  paid:
    limits:
      - {metric: hits, max: 90, per: month, across: replicas, provider: kept}
      - {metric: reads, max: 5, per: second, across: replicas, provider: kept}
      - {metric: reads, max: 7, per: minute, across: replicas, provider: one}
      - {metric: hits, max: 7, per: minute}
consumers: [{name: acme, plan: free}]
apis:
  - name: orders
    access: [api_key]
    rules: [{path: /**}]
    bindings: [{consumer: acme, plan: paid, allow: all}]
    limits: [{metric: hits, max: 1000, per: year, of: api, across: replicas, provider: kept}]
"#;

#[test]
fn render_prints_what_a_rate_limit_service_must_know() {
    let render = |options: &[&str]| {
        let ended = sidegate(&[&["render", "--policy", "-", "--as"], options].concat(), REPLICATED);
        assert_eq!((ended.code, ended.errors.as_str()), (0, ""), "{options:?}");
        assert!(ended.output.starts_with("# sidegate render, policy digest "), "{}", ended.output);
        serde_norway::from_str::<serde_json::Value>(&ended.output).unwrap()
    };
    assert_eq!(render(&["ratelimit", "--provider", "one"]), json!({"domain": "first: of all"}));
    assert_eq!(render(&["ratelimit", "--provider", "two"]), json!({"domain": "sidegate"}));

    let limit = |id: &str, max: u64, seconds: u64| {
        json!({
            "namespace": "shop", "max_value": max, "seconds": seconds,
            "conditions": [format!("descriptors[0].limit == \"{id}\""), format!("descriptors[0].max == \"{max}\"")],
            "variables": ["descriptors[0].payer", "descriptors[0].window"],
        })
    };
    let month = 31 * 86_400 + 60;
    assert_eq!(
        render(&["limitador"]),
        json!([
            limit("api:orders/api/hits/year", 1000, 366 * 86_400 + 60),
            limit("binding:orders/consumer/hits/month", 90, month),
            limit("binding:orders/consumer/reads/second", 5, 61),
            limit("plan/consumer/hits/month", 10, month),
            limit("plan/consumer/hits/month", 90, month),
            limit("plan/consumer/reads/second", 5, 61),
        ])
    );

    for (options, message) in [
        (&["ratelimit"][..], "several rate limit services have `engine: envoy`: choose one by `--provider`"),
        (&["ratelimit", "--provider", "kept"], "`kept` is not a rate limit service with `engine: envoy`"),
    ] {
        let ended = sidegate(&[&["render", "--policy", "-", "--as"], options].concat(), REPLICATED);
        assert_eq!((ended.code, ended.output.as_str()), (2, ""), "{options:?}");
        assert_eq!(ended.errors, format!("sidegate: {message}\n"));
    }
}

#[test]
fn a_key_is_accepted_by_the_policy_that_holds_its_line() {
    let made = sidegate(&["key", "--prefix", "acme_", "--bytes", "16"], "");
    assert_eq!(made.code, 0);
    let (key, entry) = made.output.trim_end().split_once('\n').unwrap();
    assert!(key.starts_with("acme_") && key.len() == "acme_".len() + 22, "{key}");
    let yaml = format!(
        "sidegate: v1\nconsumers:\n  - name: acme\n    keys:\n      - {entry}\napis: [{{name: a, access: [api_key], rules: [{{path: /}}]}}]\n"
    );
    let converted = sidegate(&["convert", "-"], &yaml);
    let policy = Policy::load(converted.output.as_bytes(), &|_| None).unwrap();
    let now = sidegate::time::Timestamp::from_seconds(1_800_000_000);
    assert_eq!(policy.keys.find(&Digest::of(key.as_bytes()), now).map(|record| record.consumer), Ok(0));

    assert_eq!(sidegate(&["key", "--digest"], &format!("{key}\n")).output, format!("{entry}\n"));
    assert_ne!(sidegate(&["key"], "").output, sidegate(&["key"], "").output);
}

#[test]
fn usage_errors_exit_with_2() {
    for (arguments, input) in [
        (&[][..], ""),
        (&["chekc"], ""),
        (&["check"], ""),
        (&["check", "/no/such/file"], ""),
        (&["convert", "/no/such/file"], ""),
        (&["render"], ""),
        (&["render", "--policy", "-"], RIGHT),
        (&["render", "--policy", "/no/such/file", "--as", "envoy"], ""),
        (&["render", "--policy", "-", "--as", "lua"], RIGHT),
        (&["render", "--policy", "-", "--as", "envoy", "--name", "-a"], RIGHT),
        (&["render", "--policy", "-", "--as", "envoy", "--name", "A"], RIGHT),
        (&["render", "--policy", "-", "--as", "envoyfilter", "--selector", "app"], RIGHT),
        (&["render", "--policy", "-", "--as", "envoyfilter", "--selector", "app=*"], RIGHT),
        (
            &[
                "render",
                "--policy",
                "-",
                "--as",
                "envoyfilter",
                "--for",
                "gateway",
                "--module",
                "http://a",
                "--sha256",
                "abc",
            ],
            RIGHT,
        ),
        // While an Envoy fetches a module for a filter file, it lets everything pass.
        (&["render", "--policy", "-", "--as", "envoy", "--module", "http://a", "--sha256", EMPTY], RIGHT),
        (&["key", "--bytes", "8"], ""),
        (&["key", "--prefix", "a b"], ""),
        (&["key", "--digest"], ""),
        (&["key", "--digest"], "two keys\n"),
        (&["key", "--digest", "--bytes", "32"], ""),
        (&["digest"], ""),
        (&["digest"], "two tokens\n"),
        (&["check", "--env-file", "/no/such/file", "-"], RIGHT),
        (&["check", "--env-file", "a", "--without-secrets", "-"], RIGHT),
    ] {
        let ended = sidegate(arguments, input);
        assert_eq!(ended.code, 2, "{arguments:?}");
        assert!(ended.output.is_empty() && !ended.errors.is_empty(), "{arguments:?}");
    }
    let ended = sidegate(&["check", "/no/such/file", "-"], "sidegate: v1\napis: []\n");
    assert_eq!(ended.code, 2, "an unreadable file takes precedence over an invalid one");
}

#[test]
fn the_digest_of_a_jwt_is_that_of_its_first_two_parts() {
    for (token, hashed) in
        [("opaque\n", "opaque"), ("a.b.c\r\n", "a.b"), ("a.b", "a.b"), ("a.b.c.d", "a.b.c.d")]
    {
        let digest = Digest::of(hashed.as_bytes()).to_hex();
        assert_eq!(sidegate(&["digest"], token).output, format!("{digest}\n"), "{token}");
    }
}

#[test]
fn help_names_examples_and_exit_codes() {
    for command in ["", "check", "convert", "render", "key", "digest"] {
        let arguments: Vec<_> = [command, "--help"].into_iter().filter(|word| !word.is_empty()).collect();
        let ended = sidegate(&arguments, "");
        assert_eq!(ended.code, 0);
        assert!(ended.output.contains("Exit codes:"), "{arguments:?}");
        assert!(arguments.len() == 1 || ended.output.contains("Examples:"), "{arguments:?}");
    }
}
