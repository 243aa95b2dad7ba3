//! Reads policies from files and standard input, in YAML or JSON.

use std::{
    ffi::OsStr,
    fs,
    io::{self, Read},
    path::{Path, PathBuf},
};

use serde::de::IgnoredAny;
use serde_json::Value;
use serde_saphyr::{Error, Options, UserMessageFormatter};

use super::places::Place;

/// The source of a policy: a file, or `-` for standard input.
#[derive(Clone, Debug)]
pub struct Source(PathBuf);

impl From<&OsStr> for Source {
    fn from(path: &OsStr) -> Self {
        Self(path.into())
    }
}

impl Source {
    /// The source's name in messages.
    pub fn name(&self) -> String {
        if self.is_standard_input() { "stdin".to_owned() } else { self.0.display().to_string() }
    }

    /// Reads all content.
    ///
    /// # Errors
    ///
    /// The source cannot be read; the message does not repeat its name.
    pub fn read(&self, input: &mut dyn Read) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        if self.is_standard_input() {
            input.read_to_end(&mut bytes)?;
        } else {
            bytes = fs::read(&self.0)?;
        }
        Ok(bytes)
    }

    /// Converts the text into the plugin configuration: JSON is unchanged, and YAML becomes one line of JSON.
    ///
    /// # Errors
    ///
    /// The text is invalid. The message quotes only keys, because values may be secrets.
    pub fn configuration(&self, text: &[u8]) -> Result<Vec<u8>, Misread> {
        let json = serde_json::from_slice::<IgnoredAny>(text);
        let is_json = self.0.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("json"));
        let value: Value = match json {
            _ if text.trim_ascii().is_empty() => Value::Null,
            Ok(_) => return Ok(text.to_owned()),
            Err(error) if is_json => return Err(Misread::json(&error)),
            Err(_) => from_yaml(text)?,
        };
        if value.is_null() {
            let message = "the document is empty: a policy starts with `sidegate: v1`".to_owned();
            return Err(Misread { place: None, message });
        }
        serde_json::to_vec(&value).map_err(|error| Misread { place: None, message: error.to_string() })
    }

    fn is_standard_input(&self) -> bool {
        self.0 == Path::new("-")
    }
}

/// Text that is neither YAML nor JSON, or empty.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Misread {
    /// The place of the problem.
    pub place: Option<Place>,
    /// The problem, on one line.
    pub message: String,
}

impl Misread {
    fn json(error: &serde_json::Error) -> Self {
        let [line, column] = [error.line(), error.column()].map(|number| u64::try_from(number).unwrap_or(0));
        let message = without_place(&error.to_string()).to_owned();
        Self { place: Some(Place { line, column }), message: format!("not JSON: {message}") }
    }

    fn yaml(error: &Error) -> Self {
        let message = match error {
            Error::DuplicateMappingKey { key: Some(key), .. } => format!("the key `{key}` appears twice"),
            error if too_much(error) => "anchors and aliases expand to too much".to_owned(),
            error => error.render_with_formatter(&UserMessageFormatter).replace('\n', " "),
        };
        let message = without_place(&message).to_owned();
        Self { place: error.location().map(Place::from), message }
    }
}

/// Whether aliases expand to more than they may.
fn too_much(error: &Error) -> bool {
    let text = error.to_string();
    ["RecordedAnchor", "ScalarBytes", "replayed"].iter().any(|limit| text.contains(limit))
}

/// The message without the place at its end, because the place is printed before the message.
fn without_place(message: &str) -> &str {
    message.split(" at line ").next().unwrap_or(message)
}

/// The values in a YAML document.
///
/// # Errors
///
/// The text is not valid YAML; see [`Source::configuration`].
pub(super) fn from_yaml(text: &[u8]) -> Result<Value, Misread> {
    serde_saphyr::from_slice_with_options(text, options()).map_err(|error| Misread::yaml(&error))
}

/// The most bytes of all names and values, with aliases expanded: more than any policy may have.
const MOST_TEXT: usize = 64 << 20;

/// The most values with anchors and values in them, with aliases expanded. Reading maps that merge each other
/// takes time that grows faster than their number.
const MOST_SHARED: usize = 10_000;

/// The options for reading YAML. Policies are large: the usual limits on size would reject 100,000 consumers.
/// Depth, and what aliases expand to, stay limited.
pub(super) fn options() -> Options {
    serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_events: usize::MAX,
            max_nodes: usize::MAX,
            max_total_scalar_bytes: MOST_TEXT,
            max_anchors: usize::MAX,
            max_aliases: usize::MAX,
            max_merge_keys: usize::MAX,
            max_recorded_anchor_events: MOST_SHARED,
            max_recorded_anchor_bytes: MOST_TEXT,
            enforce_alias_anchor_ratio: false,
        },
        with_snippet: false,
        strict_booleans: true,
        reject_unsupported_tags: true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn configuration(name: &str, text: &str) -> Result<String, String> {
        let bytes = Source::from(OsStr::new(name)).configuration(text.as_bytes());
        bytes.map(|bytes| String::from_utf8(bytes).unwrap()).map_err(|Misread { place, message }| match place
        {
            Some(Place { line, column }) => format!("{line}:{column}: {message}"),
            None => message,
        })
    }

    #[test]
    fn yaml_becomes_json_and_json_stays() {
        let yaml = "b: [no, 1, 2027-01-01T00:00:00Z, /**, ~]\na: {x: 18446744073709551615} # comment\n";
        let json = r#"{"a":{"x":18446744073709551615},"b":["no",1,"2027-01-01T00:00:00Z","/**",null]}"#;
        assert_eq!(configuration("p.yaml", yaml), Ok(json.to_owned()));
        assert_eq!(configuration("p", r#"{ "b": 1, "a": 2 }"#), Ok(r#"{ "b": 1, "a": 2 }"#.to_owned()));
    }

    #[test]
    fn anchors_and_merge_keys_are_resolved() {
        let yaml = "a: &x {k: 1}\nb:\n  <<: *x\n  z: 1\n";
        assert_eq!(configuration("p", yaml), Ok(r#"{"a":{"k":1},"b":{"k":1,"z":1}}"#.to_owned()));
    }

    #[test]
    fn faults_are_reported_on_one_line_with_their_place_and_without_values() {
        for (yaml, message) in [
            ("a: 1\nb: {c: s3cret,\n    c: 3}", "3:5: the key `c` appears twice"),
            ("a: 1\n---\nb: s3cret", "3:1: "),
            ("a: [s3cret, 2\nb: 3", "2:2: "),
            ("a: 's3cret", "1:"),
            ("a: *s3cret", "1:4: "),
            ("a: !s3 cret", "1:"),
            ("a: .inf", "1:4: "),
        ] {
            let error = configuration("p.yaml", yaml).unwrap_err();
            assert!(error.starts_with(message) && !error.contains('\n'), "{error}");
            assert!(!error.contains("cret") || yaml.contains('*'), "{error}");
        }
        assert_eq!(configuration("p.JSON", "a: 1").unwrap_err(), "1:1: not JSON: expected value");
    }

    #[test]
    fn documents_without_content_are_reported_as_empty() {
        for text in ["", " \n", "# a comment\n", "---\n", "~"] {
            let message = configuration("p.yaml", text).unwrap_err();
            assert_eq!(message, "the document is empty: a policy starts with `sidegate: v1`", "{text:?}");
        }
    }

    #[test]
    fn aliases_that_expand_to_too_much_are_rejected() {
        let nested = |first: &str, level: &dyn Fn(usize) -> String| {
            let levels = (1..28).map(|depth| format!("a{depth}: &a{depth} {}\n", level(depth)));
            format!("a0: &a0 {first}\n{}", levels.collect::<String>())
        };
        let lists = nested("[x]", &|depth| format!("[{}]", vec![format!("*a{}", depth - 1); 10].join(",")));
        let maps = nested("{k: x}", &|depth| format!("{{p: *a{0}, q: *a{0}}}", depth - 1));
        let merged = nested("{k: x}", &|depth| format!("{{<<: [*a{0}, *a{0}], m{depth}: 1}}", depth - 1));
        let long = format!("a0: &a0 {}\nb: [{}]\n", "x".repeat(1_000_000), vec!["*a0"; 100_000].join(","));
        for yaml in [lists, maps, merged, long] {
            let message = configuration("p.yaml", &yaml).unwrap_err();
            assert!(message.ends_with(": anchors and aliases expand to too much"), "{message}");
        }
    }

    #[test]
    fn a_hundred_thousand_aliases_are_fine() {
        let yaml = format!("a: &a [x, y]\nb: [{}]\n", vec!["*a"; 100_000].join(","));
        assert!(configuration("p.yaml", &yaml).is_ok());
    }

    #[test]
    fn values_with_anchors_are_bounded() {
        let shared = |count: usize| format!("a: &a [{}]\n", vec!["x"; count].join(","));
        assert!(configuration("p.yaml", &shared(MOST_SHARED - 10)).is_ok());
        let message = configuration("p.yaml", &shared(MOST_SHARED)).unwrap_err();
        assert!(message.ends_with(": anchors and aliases expand to too much"), "{message}");
    }

    #[test]
    fn documents_of_many_levels_are_rejected() {
        for (open, close) in [("[", "]"), ("{a: ", "}"), ("&b [", "]")] {
            let yaml = format!("a: {}x{}\n", open.repeat(250), close.repeat(250));
            assert!(configuration("p.yaml", &yaml).is_err(), "{open}");
        }
    }
}
