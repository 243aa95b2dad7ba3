//! Keeps the prose readable: comments fit the width of the code, and unusual phrases stay out.
#![cfg(not(target_family = "wasm"))]
#![expect(clippy::unwrap_used, reason = "helpers of tests, outside of test functions")]

use std::{
    fs,
    path::{Path, PathBuf},
};

/// The folders and files that are checked.
const CHECKED: [&str; 6] = ["src", "tests", "benches", "examples", "tools", "fuzz"];

/// The longest comment line, in characters: `max_width` in `rustfmt.toml`.
const MAX_WIDTH: usize = 110;

/// Phrases that readers have to read twice, in lower case. Each has a usual equivalent.
const UNUSUAL: [&str; 26] = [
    "are none",
    "are told",
    "as good as",
    "be told",
    "by then",
    "come by",
    "comes by",
    "has no use for",
    "in its stead",
    "is told",
    "let it pass",
    "lets it pass",
    "lies ahead",
    "none where",
    "of paper",
    "so says",
    "stand twice",
    "stands alone",
    "stands as",
    "stands in",
    "stands twice",
    "told of",
    "was told",
    "were told",
    "what came of",
    "whose it is",
];

#[test]
fn comments_fit_the_width_of_the_code() {
    let mut long = Vec::new();
    for (path, text) in checked("rs") {
        for (number, line) in text.lines().enumerate() {
            if line.trim_start().starts_with("//") && line.chars().count() > MAX_WIDTH {
                long.push(format!("{}:{}", path.display(), number + 1));
            }
        }
    }
    assert!(long.is_empty(), "comments of more than {MAX_WIDTH} columns:\n{}", long.join("\n"));
}

#[test]
fn unusual_phrases_are_not_used() {
    let mut found = Vec::new();
    for (path, text) in checked("rs").into_iter().chain(checked("md")) {
        let prose = prose(&text);
        for phrase in UNUSUAL.iter().filter(|phrase| contains_phrase(&prose, phrase)) {
            found.push(format!("{}: {phrase}", path.display()));
        }
    }
    assert!(found.is_empty(), "phrases that are hard to read:\n{}", found.join("\n"));
}

#[test]
fn phrases_are_found_across_lines_and_in_names() {
    let text = prose("    /// The caller is\n    /// told. Later\nfn who_is_told_what() {}\n");
    assert_eq!(text.matches("is told").count(), 2, "{text}");
    assert!(contains_phrase(&text, "is told"));
    assert!(!contains_phrase("this toldo", "is told"));
}

/// The checked files with this extension and their texts, except this file.
fn checked(extension: &str) -> Vec<(PathBuf, String)> {
    let mut paths = Vec::new();
    for place in CHECKED {
        collect(&Path::new(env!("CARGO_MANIFEST_DIR")).join(place), extension, &mut paths);
    }
    paths.sort();
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path).unwrap();
        (path, text)
    };
    paths.into_iter().filter(|path| !path.ends_with("tests/prose.rs")).map(read).collect()
}

fn collect(path: &Path, extension: &str, found: &mut Vec<PathBuf>) {
    if path.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            let path = entry.unwrap().path();
            if !path.ends_with("target") {
                collect(&path, extension, found);
            }
        }
    } else if path.extension().is_some_and(|found| found == extension) {
        found.push(path.to_owned());
    }
}

/// The text as one line in lower case, without comment markers, and with the words of names separated.
fn prose(text: &str) -> String {
    let words = text.lines().flat_map(|line| {
        let line = line.trim_start();
        line.trim_start_matches('/').trim_start_matches('!').split_whitespace()
    });
    words.collect::<Vec<_>>().join(" ").replace('_', " ").to_lowercase()
}

/// Whether the phrase appears as whole words.
fn contains_phrase(text: &str, phrase: &str) -> bool {
    let is_word = |letter: Option<char>| letter.is_some_and(char::is_alphanumeric);
    text.match_indices(phrase).any(|(start, _)| {
        let (before, after) = text.split_at(start);
        !is_word(before.chars().next_back())
            && !is_word(after.strip_prefix(phrase).and_then(|rest| rest.chars().next()))
    })
}
