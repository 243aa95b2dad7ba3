//! Patterns for paths inside an API: a template or a regular expression.

use std::{
    borrow::Cow,
    hash::{Hash, Hasher},
};

use regex::bytes::{Regex, RegexBuilder};

use super::{path::MalformedTarget, template::PathTemplate};

/// The size limit of one compiled expression, in bytes. Matching takes time in proportion to it and to the
/// length of the path.
const MAX_REGEX: usize = 64 * 1024;

/// A pattern for paths inside an API. Two patterns are equal if their normalised texts are, apart from the
/// names of parameters.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PathPattern(pub(super) Kind);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    Template(PathTemplate),
    Regex(PathRegex),
}

/// An expression for whole paths. It ignores a trailing slash: it covers a path if it matches one of its
/// [`Spellings`].
#[derive(Clone, Debug)]
pub(super) struct PathRegex {
    text: String,
    regex: Regex,
}

/// The two spellings of a normalised path on which expressions are tried: without its trailing slash, and
/// with one.
pub(super) struct Spellings<'a> {
    /// `None` for `/`, which has only one spelling.
    without_slash: Option<&'a str>,
    with_slash: Cow<'a, str>,
}

impl PartialEq for PathRegex {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for PathRegex {}

impl Hash for PathRegex {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.text.hash(state);
    }
}

/// Why a text is not a pattern for paths.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPath {
    /// It does not start with `/`.
    #[error("`{0}` does not start with a slash")]
    NoLeadingSlash(String),
    /// It has two slashes in a row.
    #[error("`{0}` has an empty segment")]
    EmptySegment(String),
    /// It has a segment that normalisation removes from every request.
    #[error("`{0}` has a `.` or `..` segment, which no request has once it is normalised")]
    DotSegment(String),
    /// It has a `?`.
    #[error("`{0}` has a query, but a path is expected")]
    Query(String),
    /// A request with this text would be refused.
    #[error("`{text}` matches no request: {reason}")]
    Malformed {
        /// The segment, as written.
        text: String,
        /// Why such a request would be refused.
        reason: MalformedTarget,
    },
    /// Braces that do not enclose a whole segment.
    #[error(
        "`{0}` is not a parameter: braces must enclose a whole segment, with a name of letters, digits, `-` and `_`"
    )]
    Parameter(String),
    /// Braces in a prefix that do not enclose a name.
    #[error("`{0}` has braces that do not enclose a name inside one segment")]
    Placeholder(String),
    /// Two parameters of one name.
    #[error("the parameter `{0}` appears twice")]
    DuplicateParameter(String),
    /// A `*` that is not part of a last segment `**`.
    #[error("`{0}` has a `*` outside of a final `/**`")]
    Wildcard(String),
    /// It has parameters or wildcards where only literals are allowed.
    #[error("`{0}` has a parameter or a wildcard, but a literal path is expected")]
    NotLiteral(String),
    /// More than 64 segments, or an expression that takes too much memory.
    #[error("`{0}` is too large for a pattern")]
    TooLarge(String),
    /// The expression does not compile.
    #[error("`{text}` is not a regular expression for a path: {reason}")]
    Regex {
        /// The expression, as written.
        text: String,
        /// What is wrong with it, on one line.
        reason: String,
    },
}

impl PathPattern {
    /// Reads a template: literals, `{parameter}` for one whole segment, and `/**` at the end for the path
    /// before it and everything below. Literals are normalised as requests are; a trailing slash is ignored.
    pub fn template(text: &str) -> Result<Self, InvalidPath> {
        PathTemplate::parse(text).map(|template| Self(Kind::Template(template)))
    }

    /// Reads a regular expression (ASCII, in the syntax of the `regex` crate) for whole normalised paths.
    pub fn regex(text: &str) -> Result<Self, InvalidPath> {
        PathRegex::parse(text).map(|regex| Self(Kind::Regex(regex)))
    }

    /// Whether this pattern covers a normalised path inside an API.
    pub fn matches(&self, inside: &str) -> bool {
        match &self.0 {
            Kind::Template(template) => template.matches(inside),
            Kind::Regex(regex) => regex.matches(&Spellings::of(inside)),
        }
    }
}

impl PathRegex {
    fn parse(text: &str) -> Result<Self, InvalidPath> {
        let invalid = |reason: &str| InvalidPath::Regex { text: text.to_owned(), reason: reason.to_owned() };
        if text.is_empty() || !text.is_ascii() {
            return Err(invalid("it is empty or not ASCII; paths are ASCII, with other characters escaped"));
        }
        // The text must compile by itself, because `a)|(b` would close the group that anchors it. Flags in
        // the text, such as `(?m)`, do not change the meaning of `\A` and `\z`.
        compile(text).map_err(|error| match error {
            regex::Error::CompiledTooBig(_) => InvalidPath::TooLarge(text.to_owned()),
            // The crate shows the position on several lines; the last line is the reason.
            other => {
                invalid(other.to_string().lines().last().unwrap_or_default().trim_start_matches("error: "))
            }
        })?;
        let regex = compile(&format!(r"\A(?:{text})\z")).map_err(|error| match error {
            regex::Error::CompiledTooBig(_) => InvalidPath::TooLarge(text.to_owned()),
            _ => invalid("it ends in a comment or nests too deeply, so it cannot be anchored"),
        })?;
        Ok(Self { text: text.to_owned(), regex })
    }

    pub(super) fn matches(&self, path: &Spellings<'_>) -> bool {
        path.iter().any(|spelling| self.regex.is_match(spelling.as_bytes()))
    }
}

impl<'a> Spellings<'a> {
    /// Allocates if the path has no trailing slash.
    pub(super) fn of(path: &'a str) -> Self {
        match path.strip_suffix('/') {
            Some("") => Self { without_slash: None, with_slash: Cow::Borrowed(path) },
            Some(shorter) => Self { without_slash: Some(shorter), with_slash: Cow::Borrowed(path) },
            None => Self { without_slash: Some(path), with_slash: Cow::Owned(format!("{path}/")) },
        }
    }

    fn iter(&self) -> impl Iterator<Item = &str> {
        self.without_slash.into_iter().chain([&*self.with_slash])
    }
}

/// Compiles an expression over bytes. Normalised paths are ASCII, so classes and case folding need no
/// Unicode.
pub(super) fn compile(text: &str) -> Result<Regex, regex::Error> {
    RegexBuilder::new(text).unicode(false).size_limit(MAX_REGEX).build()
}

#[cfg(test)]
mod tests {
    #[cfg(all(target_family = "wasm", target_os = "unknown"))]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    fn anchors_in_the_text_have_no_effect() {
        let paths =
            ["/", "/users", "/users/", "/users/7", "/users/7/", "/users/7/x", "/x/users/7", "/users/x"];
        for expression in ["/users/[0-9]+", "/users|/users/7", "/users/.*", "/users/", "/"] {
            let plain = PathPattern::regex(expression).unwrap();
            for anchored in [
                format!("^(?:{expression})$"),
                format!("^(?:{expression})"),
                format!("(?:{expression})$"),
                format!(r"\A(?:{expression})\z"),
                format!("(?m)^(?:{expression})$"),
                format!("(?ms)(?:^(?:{expression})$|^$)"),
                format!("(?x) ^ (?:{expression}) $ "),
            ] {
                let pattern = PathPattern::regex(&anchored).unwrap();
                for path in paths {
                    assert_eq!(pattern.matches(path), plain.matches(path), "{anchored} on {path}");
                }
            }
        }
        let alternatives = PathPattern::regex("^/a$|^/b/$").unwrap();
        for path in ["/a", "/a/", "/b", "/b/"] {
            assert!(alternatives.matches(path), "{path}");
        }
        assert!(!alternatives.matches("/a/b") && !alternatives.matches("/"));
    }

    #[test]
    fn the_root_has_one_spelling() {
        for (regex, matches) in
            [("/", true), ("^/$", true), ("/?", true), ("(/a)?", false), ("^$", false), ("//", false)]
        {
            assert_eq!(PathPattern::regex(regex).unwrap().matches("/"), matches, "{regex}");
        }
    }

    #[test]
    fn expressions_are_anchored_as_a_whole_and_ignore_a_trailing_slash() {
        for (regex, covered, others) in [
            ("/a|/b", &["/a", "/b", "/a/", "/b/"][..], &["/ab", "/x/b", "/a/b"][..]),
            ("/admin/.*", &["/admin/x", "/admin/", "/admin"], &["/administrator", "/x/admin/"]),
            ("/a/", &["/a", "/a/"], &["/a/b"]),
            ("(?i)/ABC", &["/abc", "/aBc/"], &["/abcd"]),
            ("/", &["/"], &["/a"]),
            ("/.{0,255}", &["/", "/x/y"], &["x"]),
            ("/[0-9]+", &["/12"], &["/", "/1x"]),
            (
                "/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}",
                &["/00000000-0000-0000-0000-000000000000"],
                &["/0"],
            ),
        ] {
            let pattern = PathPattern::regex(regex).unwrap();
            for path in covered {
                assert!(pattern.matches(path), "{regex} covers {path}");
            }
            for path in others {
                assert!(!pattern.matches(path), "{regex} does not cover {path}");
            }
        }
    }

    #[test]
    fn invalid_expressions_are_reported_on_one_line() {
        for regex in ["", "/é", "(", "/a)|(/b", "(?x)/a # )", "\\pL"] {
            let error = PathPattern::regex(regex).unwrap_err().to_string();
            assert!(!error.contains('\n') && error.starts_with(&format!("`{regex}` is not")), "{error}");
        }
        assert!(matches!(PathPattern::regex("/(a{1000}){1000}"), Err(InvalidPath::TooLarge(_))));
        let comment = PathPattern::regex("(?x)/a # )").unwrap_err().to_string();
        assert!(
            comment.ends_with("it ends in a comment or nests too deeply, so it cannot be anchored"),
            "{comment}"
        );
    }

    #[test]
    fn patterns_with_different_parameter_names_are_equal() {
        assert_eq!(PathPattern::template("/{a}/b"), PathPattern::template("/{b}/b/"));
        assert_ne!(PathPattern::template("/{a}"), PathPattern::template("/{a}/**"));
        assert_ne!(PathPattern::template("/a"), PathPattern::regex("/a"));
    }
}
