//! The JSON Schema of the policy document: it is up to date, and agrees with the loader about the examples in
//! the tree.
#![cfg(not(target_family = "wasm"))]
#![expect(clippy::unwrap_used, reason = "a test that panics fails, as it should")]

use std::{ffi::OsStr, fs, path::Path};

use serde_json::Value;
use sidegate::{
    cli::schema,
    policy::{Policy, document::Document},
};

/// The examples that people copy: whole documents in Markdown, and policies beside Envoy's bootstraps.
fn examples() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut examples = Vec::new();
    for folder in ["", "docs", "envoy", "istio"] {
        let Ok(entries) = fs::read_dir(root.join(folder)) else { continue };
        for path in entries.map(|entry| entry.unwrap().path()) {
            let name = path.strip_prefix(root).unwrap().display().to_string();
            let text = || fs::read_to_string(&path).unwrap();
            match path.extension().and_then(OsStr::to_str) {
                Some("md") => {
                    let documents = fenced(&text()).into_iter().filter(|block| is_policy(block));
                    examples.extend(
                        documents.enumerate().map(|(place, block)| (format!("{name}#{place}"), block)),
                    );
                }
                Some("yaml" | "yml") if is_policy(&text()) => examples.push((name, text())),
                _ => {}
            }
        }
    }
    examples
}

/// The ```yaml blocks of a page.
fn fenced(page: &str) -> Vec<String> {
    let after = page.split("\n```yaml\n").skip(1);
    after.map(|rest| rest.split("\n```").next().unwrap().to_owned() + "\n").collect()
}

fn is_policy(text: &str) -> bool {
    text.lines().any(|line| line.starts_with("sidegate: "))
}

fn value(yaml: &str) -> Value {
    serde_saphyr::from_str(yaml).unwrap()
}

#[test]
fn the_schema_in_the_tree_is_generated_from_the_types() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/policy.schema.json");
    let committed = fs::read_to_string(path).unwrap_or_default();
    assert!(
        committed == schema::text(),
        "docs/policy.schema.json is out of date: run `cargo run -- schema > docs/policy.schema.json`"
    );
}

#[test]
fn every_example_loads_and_fits_the_schema() {
    let validator = jsonschema::validator_for(&serde_json::from_str(&schema::text()).unwrap()).unwrap();
    let examples = examples();
    assert!(examples.iter().filter(|(name, _)| name.starts_with("docs/policy.md")).count() > 10);
    for (name, yaml) in examples {
        let document = value(&yaml);
        let faults: Vec<_> = validator.iter_errors(&document).map(|error| error.to_string()).collect();
        assert!(faults.is_empty(), "{name}: {faults:?}");
        if let Err(problems) = Policy::load(document.to_string().as_bytes(), &|_| Some("set".to_owned())) {
            panic!("{name}:\n{problems}\n{yaml}");
        }
    }
}

#[test]
fn every_example_is_the_same_after_it_is_written_and_read_again() {
    for (name, yaml) in examples() {
        let document: Document = serde_json::from_value(value(&yaml)).unwrap();
        let written = serde_json::to_string(&document).unwrap();
        assert_eq!(serde_json::from_str::<Document>(&written).unwrap(), document, "{name}");
        // YAML that is printed reads back the same as well.
        let printed = serde_saphyr::to_string(&document).unwrap();
        assert_eq!(serde_saphyr::from_str::<Document>(&printed).unwrap(), document, "{name}");
    }
}

#[test]
fn every_yaml_block_of_the_reference_is_a_whole_policy() {
    let page = include_str!("../docs/policy.md");
    assert!(fenced(page).iter().all(|block| is_policy(block)));
}

#[test]
fn the_schema_refuses_shapes_that_the_loader_refuses() {
    let validator = jsonschema::validator_for(&serde_json::from_str(&schema::text()).unwrap()).unwrap();
    let right = "sidegate: v1\napis: [{name: a, access: [allow], rules: [{path: /}]}]\n";
    assert!(validator.is_valid(&value(right)));
    for (from, to) in [
        ("v1", "v2"),
        ("access: [allow]", "access: [allowed]"),
        ("access: [allow]", "access: null"),
        ("access: [allow]", "access: []"),
        ("rules: [{path: /}]", "rules: []"),
        ("name: a", "colour: a, name: a"),
        ("name: a, ", ""),
        ("path: /", "path: 1"),
        ("path: /", "path: /, methods: []"),
        ("name: a", "name: a, limits: [{metric: hits, max: -1, per: second}]"),
        ("name: a", "name: a, limits: [{metric: hits, max: 1, per: fortnight}]"),
        ("sidegate: v1", "sidegate: v1\nconsumers:"),
        (
            "sidegate: v1",
            "sidegate: v1\nproviders: {p: {introspection: {cluster: c, url: 'http://a', timeout: 200}}}",
        ),
        ("sidegate: v1", "sidegate: v1\ngate: {capacity: {meters: 0}}"),
    ] {
        let wrong = value(&right.replacen(from, to, 1));
        assert!(Policy::load(wrong.to_string().as_bytes(), &|_| None).is_err(), "{to}");
        assert!(!validator.is_valid(&wrong), "{to}");
    }
}
