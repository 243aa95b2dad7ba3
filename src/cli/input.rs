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

/// A policy to be read: a file, or `-` for standard input.
#[derive(Clone, Debug)]
pub struct Source(PathBuf);

impl From<&OsStr> for Source {
    fn from(path: &OsStr) -> Self {
        Self(path.into())
    }
}

impl Source {
    /// How messages name it.
    pub fn name(&self) -> String {
        if self.is_standard_input() { "stdin".to_owned() } else { self.0.display().to_string() }
    }

    /// Everything that is in it.
    ///
    /// # Errors
    ///
    /// It cannot be read; the message does not repeat its name.
    pub fn read(&self, input: &mut dyn Read) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        if self.is_standard_input() {
            input.read_to_end(&mut bytes)?;
        } else {
            bytes = fs::read(&self.0)?;
        }
        Ok(bytes)
    }

    /// The plugin configuration that the text is: JSON stays as it is, YAML becomes one line of JSON.
    ///
    /// # Errors
    ///
    /// What is wrong with the YAML, on one line and with its place. It quotes nothing but keys: values may be secrets.
    pub fn configuration(&self, text: Vec<u8>) -> Result<Vec<u8>, String> {
        let is_json = self.0.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("json"))
            || serde_json::from_slice::<IgnoredAny>(&text).is_ok();
        if is_json || text.trim_ascii().is_empty() {
            return Ok(text);
        }
        let value: Value = from_yaml(&text)?;
        serde_json::to_vec(&value).map_err(|error| error.to_string())
    }

    fn is_standard_input(&self) -> bool {
        self.0 == Path::new("-")
    }
}

/// The values in a YAML document.
///
/// # Errors
///
/// What is wrong with it, as [`Source::configuration`] tells it.
pub(super) fn from_yaml(text: &[u8]) -> Result<Value, String> {
    // Policies are large and their own; what guards against hostile documents would refuse 100,000 consumers. Aliases stay bounded.
    let options: Options = serde_saphyr::options! {
        budget: None,
        with_snippet: false,
        strict_booleans: true,
        reject_unsupported_tags: true,
    };
    serde_saphyr::from_slice_with_options(text, options).map_err(|error| {
        let message = match &error {
            Error::DuplicateMappingKey { key: Some(key), .. } => format!("the key `{key}` stands twice"),
            error => error.render_with_formatter(&UserMessageFormatter).replace('\n', " "),
        };
        let message = message.split(" at line ").next().unwrap_or(&message);
        match error.location() {
            Some(place) => format!("line {} column {}: {message}", place.line(), place.column()),
            None => message.to_owned(),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn configuration(name: &str, text: &str) -> Result<String, String> {
        let bytes = Source::from(OsStr::new(name)).configuration(text.as_bytes().to_vec())?;
        Ok(String::from_utf8(bytes).unwrap())
    }

    #[test]
    fn yaml_becomes_json_and_json_stays() {
        let yaml = "b: [no, 1, 2027-01-01T00:00:00Z, /**, ~]\na: {x: 18446744073709551615} # comment\n";
        let json = r#"{"a":{"x":18446744073709551615},"b":["no",1,"2027-01-01T00:00:00Z","/**",null]}"#;
        assert_eq!(configuration("p.yaml", yaml), Ok(json.to_owned()));
        assert_eq!(configuration("p", r#"{ "b": 1, "a": 2 }"#), Ok(r#"{ "b": 1, "a": 2 }"#.to_owned()));
        assert_eq!(configuration("p.JSON", "a: 1"), Ok("a: 1".to_owned()));
    }

    #[test]
    fn anchors_and_merge_keys_are_resolved() {
        let yaml = "a: &x {k: 1}\nb:\n  <<: *x\n  z: 1\n";
        assert_eq!(configuration("p", yaml), Ok(r#"{"a":{"k":1},"b":{"k":1,"z":1}}"#.to_owned()));
    }

    #[test]
    fn faults_are_told_on_one_line_with_their_place_and_without_values() {
        for (yaml, message) in [
            ("a: 1\nb: {c: s3cret,\n    c: 3}", "line 3 column 5: the key `c` stands twice"),
            ("a: 1\n---\nb: s3cret", "line 3 column 1: "),
            ("a: [s3cret, 2\nb: 3", "line 2 column 2: "),
            ("a: 's3cret", "line 1 column "),
            ("a: *s3cret", "line 1 column 4: "),
            ("a: !s3 cret", "line 1 column "),
            ("a: .inf", "line 1 column 4: "),
        ] {
            let error = configuration("p.yaml", yaml).unwrap_err();
            assert!(error.starts_with(message) && !error.contains('\n'), "{error}");
            assert!(!error.contains("cret") || yaml.contains('*'), "{error}");
        }
    }

    #[test]
    fn a_bomb_does_not_go_off() {
        let mut yaml = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n".to_owned();
        for depth in 1..12 {
            let alias = format!("*a{}", depth - 1);
            yaml.push_str(&format!("a{depth}: &a{depth} [{}]\n", vec![alias; 10].join(",")));
        }
        assert!(configuration("p.yaml", &yaml).is_err());
    }
}
