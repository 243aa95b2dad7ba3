//! The fuzz targets without a fuzzer: every file of the corpus, and a bounded number of mutations of them.
#![cfg(not(target_family = "wasm"))]
#![expect(
    clippy::arithmetic_side_effects,
    clippy::unwrap_used,
    reason = "a test that panics fails, as it should"
)]

mod properties;

use std::{fs, path::Path};

use properties::config;
use proptest::{collection::vec, prelude::*, sample::Index, test_runner::TestRunner};
use sidegate::fuzzing::TARGETS;

/// The files of a target's corpus, by name.
fn corpus(target: &str) -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> =
        entries.map(|path| (path.display().to_string(), fs::read(&path).unwrap())).collect();
    files.sort();
    files
}

/// A mutation of an input: at a place, this many bytes are replaced by these.
type Mutation = (Index, usize, Vec<u8>);

fn mutation() -> impl Strategy<Value = Mutation> {
    // Parts of the targets' grammars, so that mutations get past the first byte.
    let token = prop::sample::select(vec![
        "/",
        "..",
        ".",
        ";",
        "%2e",
        "%2F",
        "%zz",
        "?",
        "&key=",
        "#",
        "\\",
        "\n",
        ":",
        "{",
        "}",
        "[",
        "]",
        "\"",
        ",",
        "null",
        "true",
        "1",
        "-1",
        "1e308",
        "\u{0}",
        "é",
        "**",
        "{id}",
        "\"x\":",
        "x-consumer:a",
        "/v1/closed/",
        "apikey:test",
    ]);
    let new = prop_oneof![
        token.prop_map(|token| token.as_bytes().to_vec()),
        vec(any::<u8>(), 0..4),
        vec(prop_oneof![Just(0_u8), Just(0xff)], 1..9),
    ];
    (any::<Index>(), prop_oneof![3 => 0..4_usize, 1 => 0..40_usize], new)
}

fn mutated(mut bytes: Vec<u8>, mutations: &[Mutation]) -> Vec<u8> {
    for (place, gone, new) in mutations {
        let start = place.index(bytes.len() + 1);
        let end = (start + gone).min(bytes.len());
        bytes.splice(start..end, new.iter().copied());
    }
    bytes
}

#[test]
fn every_target_takes_its_corpus() {
    for (name, target) in TARGETS {
        let corpus = corpus(name);
        assert!(corpus.len() >= 5, "the corpus of {name} is small");
        for (file, bytes) in corpus {
            println!("{file}");
            target(&bytes);
        }
    }
}

#[test]
fn every_target_takes_mutations_of_its_corpus() {
    for (name, target) in TARGETS {
        let corpus = corpus(name);
        let config = ProptestConfig { source_file: Some(file!()), ..config(400) };
        TestRunner::new(config)
            .run(&(any::<Index>(), vec(mutation(), 0..6)), |(file, mutations)| {
                target(&mutated(corpus[file.index(corpus.len())].1.clone(), &mutations));
                Ok(())
            })
            .unwrap_or_else(|error| panic!("{name}: {error}"));
    }
}

#[test]
fn every_target_takes_any_bytes() {
    for (name, target) in TARGETS {
        let config = ProptestConfig { source_file: Some(file!()), ..config(200) };
        TestRunner::new(config)
            .run(&vec(any::<u8>(), 0..200), |bytes| {
                target(&bytes);
                Ok(())
            })
            .unwrap_or_else(|error| panic!("{name}: {error}"));
    }
}
