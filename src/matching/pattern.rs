//! Path patterns inside an API: a template or a regular expression.

use std::borrow::Cow;

use regex::bytes::{Regex, RegexBuilder};

use super::path::MalformedTarget;
use super::template::Template;

/// Bytes that one compiled expression may take; matching takes time linear in the path for each of its states.
const MAX_REGEX: usize = 64 * 1024;

/// Which paths inside an API are meant. Compares equal to a pattern for the same paths, as far as the text shows it:
/// names of parameters do not count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathPattern(pub(super) Kind);

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Template(Template),
    Regex(PathRegex),
}

/// An expression for the whole path. One trailing slash is ignored: the expression covers a path if it matches
/// one of its [`Spellings`].
#[derive(Clone, Debug)]
pub(super) struct PathRegex {
    text: String,
    regex: Regex,
}

/// The spellings of a normalised path that expressions are tried on: without its trailing slash, and with one.
pub(super) struct Spellings<'a> {
    /// `None` for `/`, which has no other spelling.
    without_slash: Option<&'a str>,
    with_slash: Cow<'a, str>,
}

impl PartialEq for PathRegex {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for PathRegex {}

/// Why a text is not a path pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPath {
    /// It does not start with `/`.
    #[error("`{0}` does not start with a slash")]
    NoLeadingSlash(String),
    /// It has two slashes in a row.
    #[error("`{0}` has an empty segment")]
    EmptySegment(String),
    /// It has a segment that every request loses before it is matched.
    #[error("`{0}` has a `.` or `..` segment, which no request has once it is normalised")]
    DotSegment(String),
    /// It has a `?`.
    #[error("`{0}` has a query, but a path is expected")]
    Query(String),
    /// No request with this text would pass.
    #[error("`{text}` matches no request: {reason}")]
    Malformed {
        /// The segment, as written.
        text: String,
        /// Why such a request is refused.
        reason: MalformedTarget,
    },
    /// Braces that do not enclose a whole segment.
    #[error(
        "`{0}` is not a parameter: braces enclose a whole segment, a name of letters, digits, `-` and `_`"
    )]
    Parameter(String),
    /// Braces in a prefix that do not enclose a name.
    #[error("`{0}` has braces that do not enclose a name inside one segment")]
    Placeholder(String),
    /// Two parameters of one name.
    #[error("the parameter `{0}` appears twice")]
    DuplicateParameter(String),
    /// `*` elsewhere than in a last segment `**`.
    #[error("`{0}` has a `*` elsewhere than in the final `/**` of a template")]
    Wildcard(String),
    /// It has parameters or wildcards where only literals can stand.
    #[error("`{0}` has a parameter or a wildcard, but only a literal path can stand here")]
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
    /// Reads a template: literals, `{parameter}` for one whole segment, and `/**` at the end for everything below and
    /// the path before it. Literals are normalised as requests are; one trailing slash is ignored.
    pub fn template(text: &str) -> Result<Self, InvalidPath> {
        Template::parse(text).map(|template| Self(Kind::Template(template)))
    }

    /// Reads a regular expression (ASCII, syntax of the crate `regex`) for the whole path as it is after normalisation.
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
            return Err(invalid("it is empty or not ASCII, but paths are ASCII, other characters escaped"));
        }
        // Alone first: `a)|(b` would otherwise close the group that anchors it. No flag of the author's, such as
        // `(?m)`, changes what `\A` and `\z` mean.
        compile(text).map_err(|error| match error {
            regex::Error::CompiledTooBig(_) => InvalidPath::TooLarge(text.to_owned()),
            // The crate draws the place over several lines and says what is wrong on the last.
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
    /// Allocates where the path has no trailing slash.
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

/// Compiles an expression over bytes: normalised paths are ASCII, so classes and case need no Unicode.
pub(super) fn compile(text: &str) -> Result<Regex, regex::Error> {
    RegexBuilder::new(text).unicode(false).size_limit(MAX_REGEX).build()
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(all(target_family = "wasm", target_os = "unknown"))]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn anchors_of_the_author_change_nothing() {
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
    fn expressions_are_anchored_as_a_whole_and_ignore_one_trailing_slash() {
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
    fn bad_expressions_are_errors_on_one_line() {
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
    fn the_names_of_parameters_do_not_count() {
        assert_eq!(PathPattern::template("/{a}/b"), PathPattern::template("/{b}/b/"));
        assert_ne!(PathPattern::template("/{a}"), PathPattern::template("/{a}/**"));
        assert_ne!(PathPattern::template("/a"), PathPattern::regex("/a"));
    }
}
