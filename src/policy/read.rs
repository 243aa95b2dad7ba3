//! Reads the policy document's JSON and, where it is wrong, says everything that is wrong with it at once.
//!
//! The happy path is one typed pass. Only a document that fails it is taken apart: the first fault is noted, the faulty part removed,
//! and the rest read again, until nothing more is wrong.

use std::collections::HashMap;

use serde_json::Value;
use serde_path_to_error::{Path, Segment};

use super::{Problem, document::Document};

/// More problems than this are not looked for.
const MOST_PROBLEMS: usize = 100;

/// Why a document could not be read.
pub struct Unreadable {
    /// Everything that is wrong with its shape, in the order found.
    pub problems: Vec<Problem>,
    /// What is left of it, where that is a document.
    pub rest: Option<Rest>,
}

/// A document without its faulty parts, good only for looking for further problems.
pub struct Rest {
    /// What is left.
    pub document: Document,
    removed: Removed,
}

/// Reads a document from JSON.
pub fn read(json: &[u8]) -> Result<Document, Box<Unreadable>> {
    serde_json::from_slice(json).map_err(|_| Box::new(diagnose(json)))
}

// === impl Rest ===

impl Rest {
    /// Of the problems that the rest has, those that the whole document has as well, at the whole document's paths.
    pub fn further(&self, problems: Vec<Problem>) -> Vec<Problem> {
        problems
            .into_iter()
            .filter(|problem| !problem.dangling)
            .map(|problem| Problem { path: self.removed.original(&problem.path), ..problem })
            .filter(|problem| !self.removed.paths.iter().any(|path| is_within(path, &problem.path)))
            .collect()
    }
}

fn diagnose(json: &[u8]) -> Unreadable {
    if json.iter().all(u8::is_ascii_whitespace) {
        return hopeless("the configuration is empty: it must hold the policy document as JSON".to_owned());
    }
    let Ok(mut value) = serde_json::from_slice::<Value>(json) else {
        return hopeless(not_json(json));
    };
    let mut problems = Vec::new();
    let mut removed = Removed::default();
    while problems.len() < MOST_PROBLEMS {
        let error = match serde_path_to_error::deserialize(&value) {
            Ok(document) => {
                if problems.is_empty() {
                    problems.extend(first_problem(json));
                }
                return Unreadable { problems, rest: Some(Rest { document, removed }) };
            }
            Err(error) => error,
        };
        let message = error.inner().to_string();
        let path = removed.original(&rendered(error.path()));
        if !removed.entails(&path, &message) {
            problems.push(Problem::new(&path, explain(error.path(), &message)));
        }
        if !removed.remove(&mut value, error.path()) {
            break;
        }
    }
    Unreadable { problems, rest: None }
}

fn hopeless(message: String) -> Unreadable {
    Unreadable { problems: vec![Problem::new("", message)], rest: None }
}

fn not_json(json: &[u8]) -> String {
    // A google.protobuf.Struct reaches the module in protobuf's wire format: entries, each of which begins with its key.
    if first_field(json).and_then(first_field).is_some_and(|key| std::str::from_utf8(key).is_ok()) {
        return "the configuration is not JSON text but a binary google.protobuf.Struct: \
                give it as a google.protobuf.StringValue that holds the JSON"
            .to_owned();
    }
    match serde_json::from_slice::<serde::de::IgnoredAny>(json) {
        Err(error) => {
            format!("the configuration is not JSON, which `sidegate convert` makes of YAML: {error}")
        }
        Ok(_) => "the configuration is not a JSON document that can be held".to_owned(),
    }
}

/// The content of field 1, where a protobuf message begins with it and it is length-delimited.
fn first_field(message: &[u8]) -> Option<&[u8]> {
    let rest = message.strip_prefix(&[0x0a])?;
    let last = rest.iter().take(4).position(|byte| *byte < 0x80)?;
    let (length, rest) = rest.split_at_checked(last.checked_add(1)?)?;
    let length =
        length.iter().rev().fold(0_usize, |length, byte| length.wrapping_shl(7) | usize::from(byte & 0x7f));
    rest.get(..length)
}

/// The first fault that only the text shows, such as a field that stands twice.
fn first_problem(json: &[u8]) -> Option<Problem> {
    let error = serde_json::from_slice::<Document>(json).err()?;
    Some(Problem::new("", error))
}

fn missing_field(message: &str) -> Option<&str> {
    message.strip_prefix("missing field `")?.split('`').next()
}

fn rendered(path: &Path) -> String {
    match path.to_string() {
        root if root == "." => String::new(),
        path => path,
    }
}

fn member(path: &str, field: &str) -> String {
    if path.is_empty() { field.to_owned() } else { format!("{path}.{field}") }
}

/// Whether `path` is `whole` or a part of it.
fn is_within(path: &str, whole: &str) -> bool {
    path.strip_prefix(whole)
        .is_some_and(|rest| whole.is_empty() || rest.is_empty() || rest.starts_with(['.', '[']))
}

/// What was taken out of the document, so that paths stay those which the operator sees.
#[derive(Default)]
struct Removed {
    /// Where something was, in the original document.
    paths: Vec<String>,
    /// By the original path of a list: the original indexes of the items taken out, ascending.
    items: HashMap<String, Vec<usize>>,
}

impl Removed {
    /// Takes what is at `path` out of `value`; false where that is the whole document.
    fn remove(&mut self, value: &mut Value, path: &Path) -> bool {
        let mut steps: Vec<Step> = path.iter().filter_map(Step::of).collect();
        // A fault in an enum's content may be reported below what the JSON has: go as deep as there is something.
        while let Some(last) = steps.pop() {
            let parent = steps.iter().try_fold(&mut *value, |value, step| step.enter(value));
            if parent.is_some_and(|parent| last.remove_from(parent)) {
                let list = self.original(&steps.iter().fold(String::new(), |path, step| step.join(&path)));
                let last = match last {
                    Step::Item(index) => Step::Item(self.original_index(&list, index)),
                    member @ Step::Member(_) => member,
                };
                self.paths.push(last.join(&list));
                if let Step::Item(index) = last {
                    let items = self.items.entry(list).or_default();
                    items.push(index);
                    items.sort_unstable();
                }
                return true;
            }
        }
        false
    }

    /// Whether the fault is there only because of what was removed: a required field, or the one entry of a choice.
    fn entails(&self, path: &str, message: &str) -> bool {
        match missing_field(message) {
            Some(field) => self.paths.contains(&member(path, field)),
            None => {
                message.ends_with("expected map with a single key")
                    && self.paths.iter().any(|removed| removed != path && is_within(removed, path))
            }
        }
    }

    /// The path in the original document of what is at `path` now.
    fn original(&self, path: &str) -> String {
        let mut original = String::with_capacity(path.len());
        let mut rest = path;
        while let Some((before, after)) = rest.split_once('[') {
            original.push_str(before);
            match after.split_once(']').and_then(|(index, after)| Some((index.parse().ok()?, after))) {
                Some((index, after)) => {
                    let index = self.original_index(&original, index);
                    original.push_str(&format!("[{index}]"));
                    rest = after;
                }
                None => {
                    original.push('[');
                    rest = after;
                }
            }
        }
        original.push_str(rest);
        original
    }

    fn original_index(&self, list: &str, index: usize) -> usize {
        let items = self.items.get(list).map(Vec::as_slice).unwrap_or_default();
        items.iter().fold(index, |index, item| if *item <= index { index.saturating_add(1) } else { index })
    }
}

enum Step<'a> {
    Item(usize),
    Member(&'a str),
}

impl<'a> Step<'a> {
    fn of(segment: &'a Segment) -> Option<Self> {
        match segment {
            Segment::Seq { index } => Some(Self::Item(*index)),
            Segment::Map { key } => Some(Self::Member(key)),
            Segment::Enum { variant } => Some(Self::Member(variant)),
            Segment::Unknown => None,
        }
    }

    fn enter<'v>(&self, value: &'v mut Value) -> Option<&'v mut Value> {
        match self {
            Self::Item(index) => value.get_mut(index),
            Self::Member(key) => value.get_mut(key),
        }
    }

    fn join(&self, path: &str) -> String {
        match self {
            Self::Item(index) => format!("{path}[{index}]"),
            Self::Member(key) => member(path, key),
        }
    }

    fn remove_from(&self, value: &mut Value) -> bool {
        match (self, value) {
            (Self::Member(key), Value::Object(members)) => members.remove(*key).is_some(),
            (Self::Item(index), Value::Array(items)) if *index < items.len() => {
                items.remove(*index);
                true
            }
            _ => false,
        }
    }
}

/// serde's message in our words: values that were found are not repeated (they may be secrets), types of ours are not named.
fn explain(path: &Path, message: &str) -> String {
    for fault in ["invalid type: ", "invalid value: "] {
        if let Some(rest) = message.strip_prefix(fault)
            && let Some((found, expected)) = rest.rsplit_once(", expected ")
        {
            let kind = found.split([' ', '`', '"']).next().unwrap_or("something");
            let expected = match expected.split_once(' ') {
                Some(("enum", _)) | Some(("variant", _)) => "a name or a map with one entry",
                _ => match expected {
                    "a sequence" => "a list",
                    "string or map" => "a name or a map with one entry",
                    "u32" => "a whole number from 0 to 4294967295",
                    "u64" => "a whole number from 0 on",
                    _ => expected,
                },
            };
            return format!("{fault}{kind}, expected {expected}");
        }
    }
    if path.iter().any(|segment| matches!(segment, Segment::Map { key } if key == "authentication"))
        && let Some((_, expected)) = message.split_once(", expected ")
        && message.starts_with("unknown variant")
    {
        return format!("unknown way, expected {expected}");
    }
    // The text's position says nothing where the path says everything.
    let message = message.split(" at line ").next().unwrap_or(message);
    let of_version = path.to_string() == "sidegate";
    message
        .replace("unknown variant", if of_version { "unsupported schema version" } else { "unknown value" })
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(all(target_family = "wasm", target_os = "unknown"))]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    fn problems(json: &str) -> Vec<String> {
        match read(json.as_bytes()) {
            Ok(_) => Vec::new(),
            Err(unreadable) => unreadable.problems.iter().map(ToString::to_string).collect(),
        }
    }

    const API: &str = r#""apis":[{"name":"a","rules":[{"path":"/x"}]}]"#;

    #[test]
    fn a_right_document_has_no_problems() {
        assert_eq!(problems(&format!(r#"{{"sidegate":"v1",{API}}}"#)), Vec::<String>::new());
    }

    #[test]
    fn all_problems_are_told_at_once_with_their_paths() {
        let json = r#"{"sidegate":"v1","gate":{"relm":"x","capacity":{"meters":"many"}},
            "providers":{"p":{"introspection":{"cluster":"c","url":"u","timeout":"soon","authentication":{"basic":{"id":"i"}}}}},
            "apis":[{"name":"a","rules":[{"path":1},{"path":"/x","acces":[]},{"path":"/y","methods":"GET"}]},{"rules":[]},
                    {"name":"c","rules":[],"shadow":"yes"}]}"#;
        assert_eq!(
            problems(json),
            [
                "apis[0].rules[0].path: invalid type: integer, expected a string",
                "apis[0].rules[1].acces: unknown field `acces`, expected one of `path`, `regex`, `methods`, `access`",
                "apis[0].rules[2].methods: invalid type: string, expected a list",
                "apis[1]: missing field `name`",
                "apis[2].shadow: invalid type: string, expected a boolean",
                "gate.capacity.meters: invalid type: string, expected a whole number from 0 to 4294967295",
                "gate.relm: unknown field `relm`, expected one of `realm`, `resource_metadata`, `unmatched`, `preflight`, `errors`, `rate_limit_headers`, `filter_state`, `debug`, `capacity`",
                "providers.p.introspection.authentication.basic: missing field `secret`",
                "providers.p.introspection.timeout: `soon` is not a span of time such as `200ms`, `30s`, `5m`, `1h` or `1d`",
            ]
        );
    }

    #[test]
    fn what_follows_from_a_removed_part_is_not_told_again() {
        assert_eq!(
            problems(&format!(r#"{{"sidegate":"v2",{API}}}"#)),
            ["sidegate: unsupported schema version `v2`, expected `v1`"]
        );
    }

    #[test]
    fn what_follows_is_known_also_behind_an_item_that_was_removed() {
        let json = format!(r#"{{"sidegate":"v1","consumers":[5,{{"name":1}}],{API}}}"#);
        let paths: Vec<_> =
            problems(&json).iter().map(|told| told.split(':').next().unwrap().to_owned()).collect();
        assert_eq!(paths, ["consumers[0]", "consumers[1].name"]);
    }

    #[test]
    fn a_fault_in_one_entry_hides_none_of_another_whose_name_begins_alike() {
        let json = format!(r#"{{"sidegate":"v1","plans":{{"a":{{}},"ab":{{"limits":5}}}},{API}}}"#);
        let rest = read(json.as_bytes()).unwrap_err().rest.unwrap();
        let further = rest.further(vec![Problem::new("plans.a", "x"), Problem::new("plans.ab", "x")]);
        assert_eq!(further.iter().map(|problem| problem.path.as_str()).collect::<Vec<_>>(), ["plans.a"]);
    }

    #[test]
    fn a_field_that_stands_twice_is_told() {
        let told = problems(&format!(r#"{{"sidegate":"v1","sidegate":"v1",{API}}}"#));
        assert_eq!(told, ["duplicate field `sidegate` at line 1 column 27"]);
    }

    #[test]
    fn what_is_no_json_is_told_as_such() {
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
            r#"{"basic":{"id":"i","secret":["hunter2"]}}"#,
        ] {
            let json = format!(
                r#"{{"sidegate":"v1","providers":{{"p":{{"introspection":{{"cluster":"c","url":"u","authentication":{authentication}}}}}}},{API}}}"#
            );
            let told = problems(&json);
            assert!(
                !told.is_empty()
                    && told
                        .iter()
                        .all(|problem| !problem.replace("authentication.hunter2", "").contains("hunter2")),
                "{told:?}"
            );
        }
    }

    #[test]
    fn further_problems_of_the_rest_keep_the_paths_of_the_whole() {
        let json = format!(r#"{{"sidegate":"v1","consumers":[{{"nam":1}},{{"name":"b"}}],{API}}}"#);
        let rest = read(json.as_bytes()).unwrap_err().rest.unwrap();
        let further =
            rest.further(vec![Problem::new("consumers[0].name", "x"), Problem::new("consumers", "empty")]);
        assert_eq!(
            further.iter().map(|problem| problem.path.as_str()).collect::<Vec<_>>(),
            ["consumers[1].name"]
        );
    }
}
