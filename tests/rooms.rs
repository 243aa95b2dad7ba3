//! The rooms of `src/`, from the top floor down: imports only go down.
#![cfg(not(target_family = "wasm"))]
#![expect(clippy::panic, clippy::unwrap_used, reason = "helpers of tests, outside of test functions")]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// The rooms, from the top floor down. A room may use those below it, and none above.
const ROOMS: [&str; 24] = [
    "fuzzing",
    "hosts",
    "shell",
    "bin",
    "cli",
    "gate",
    "policy",
    "forward",
    "identity",
    "report",
    "access",
    "quota",
    "matching",
    "ports",
    "provider",
    "credential",
    "refusal",
    "reply",
    "headers",
    "query",
    "store",
    "time",
    "digest",
    "texts",
];

/// Used by every room that reads what HTTP allows.
const GROUND: &str = "grammar";

/// The Rust files below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}

/// The floor of a room, counted from the top.
fn floor(room: &str) -> usize {
    if room == GROUND {
        return ROOMS.len();
    }
    ROOMS
        .iter()
        .position(|other| *other == room)
        .unwrap_or_else(|| panic!("`{room}` has no floor in this test"))
}

/// The code of a file, without comments and tests.
fn code(text: &str) -> String {
    let before_tests = text.split("#[cfg(test)]").next().unwrap();
    let lines = before_tests.lines().filter(|line| !line.trim_start().starts_with("//"));
    lines.collect::<Vec<_>>().join("\n")
}

/// The rooms that code uses: what follows `crate::` or `sidegate::`, alone or in braces.
fn used(code: &str) -> BTreeSet<String> {
    let mut rooms = BTreeSet::new();
    for after in code.split("crate::").skip(1).chain(code.split("sidegate::").skip(1)) {
        let inside = match after.strip_prefix('{') {
            Some(group) => top_level(group),
            None => vec![after],
        };
        let names = inside.into_iter().map(|item| {
            item.trim_start()
                .chars()
                .take_while(|c| c.is_ascii_alphanumeric() || *c == '_')
                .collect::<String>()
        });
        rooms.extend(names.filter(|name| !name.is_empty()));
    }
    rooms
}

/// The items of a group of imports, up to its closing brace.
fn top_level(group: &str) -> Vec<&str> {
    let mut depth = 0_u32;
    let end = group.find(|c: char| {
        depth = match c {
            '{' => depth.saturating_add(1),
            '}' if depth > 0 => depth.saturating_sub(1),
            _ => return c == '}',
        };
        false
    });
    let inside = group.split_at(end.unwrap_or(group.len())).0;
    let mut depth = 0_u32;
    let comma = |c: char| {
        match c {
            '{' => depth = depth.saturating_add(1),
            '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        c == ',' && depth == 0
    };
    inside.split(comma).collect()
}

#[test]
fn imports_only_go_down() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut upward = Vec::new();
    for file in files(&source) {
        let inside = file.strip_prefix(&source).unwrap();
        let room = inside.components().next().unwrap().as_os_str().to_str().unwrap().trim_end_matches(".rs");
        if room == "lib" {
            continue;
        }
        for other in used(&code(&fs::read_to_string(&file).unwrap())) {
            if other != room && floor(&other) <= floor(room) {
                upward.push(format!("{}: `{room}` uses `{other}`", inside.display()));
            }
        }
    }
    assert!(upward.is_empty(), "{}", upward.join("\n"));
}

#[test]
fn groups_of_imports_are_read() {
    let code = "use crate::{a::B, c::{D, e::F}, g};\nuse crate::h::I; let x = crate::j::k();";
    let expected = ["a", "c", "g", "h", "j"].map(str::to_owned);
    assert_eq!(used(code), BTreeSet::from(expected));
}
