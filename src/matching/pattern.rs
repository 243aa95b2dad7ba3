//! Patterns for paths inside an API: a template or a regular expression.

use std::{
    hash::{Hash, Hasher},
    rc::Rc,
};

use regex_syntax::hir::Hir;

use super::{expressions::parse, path::MalformedTarget, template::PathTemplate};

/// The longest pattern, in bytes.
pub(super) const LONGEST: usize = 4 * 1024;

/// A pattern for paths inside an API. Two patterns are equal if their normalised texts are, apart from the
/// names of parameters.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PathPattern(pub(super) Kind);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    Template(PathTemplate),
    Regex(PathRegex),
}

/// An expression for whole paths. It ignores a trailing slash: it covers a path if it matches the path
/// without it, or with one.
#[derive(Clone, Debug)]
pub(super) struct PathRegex {
    text: String,
    pub(super) hir: Rc<Hir>,
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
    /// More than 64 segments.
    #[error("`{0}` has more than 64 segments")]
    TooManySegments(String),
    /// The text is too long.
    #[error("a pattern has at most {LONGEST} bytes")]
    TooLong,
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

    /// Whether it is known to cover every path that `other` covers. Of expressions nothing is known, but that
    /// `/**` covers all of their paths.
    pub fn covers_all_of(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Kind::Template(template), Kind::Template(other)) => template.covers_all_of(other),
            (Kind::Template(template), Kind::Regex(_)) => template.rest && template.segments.is_empty(),
            (Kind::Regex(_), _) => false,
        }
    }
}

impl PathRegex {
    fn parse(text: &str) -> Result<Self, InvalidPath> {
        let invalid = |reason: String| InvalidPath::Regex { text: text.to_owned(), reason };
        if text.len() > LONGEST {
            return Err(InvalidPath::TooLong);
        }
        if text.is_empty() || !text.is_ascii() {
            let reason = "it is empty or not ASCII; paths are ASCII, with other characters escaped";
            return Err(invalid(reason.to_owned()));
        }
        let hir = parse(text).map_err(invalid)?;
        Ok(Self { text: text.to_owned(), hir })
    }
}

#[cfg(test)]
mod tests {
    #[cfg(all(target_family = "wasm", target_os = "unknown"))]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::{
        super::{Effort, PathList},
        *,
    };

    fn matches(pattern: &Result<PathPattern, InvalidPath>, path: &str) -> bool {
        let list = PathList::build(vec![pattern.clone().unwrap()], &Effort::default()).unwrap();
        list.first(&path.into()).is_some()
    }

    #[test]
    fn anchors_in_the_text_have_no_effect() {
        let paths =
            ["/", "/users", "/users/", "/users/7", "/users/7/", "/users/7/x", "/x/users/7", "/users/x"];
        for expression in ["/users/[0-9]+", "/users|/users/7", "/users/.*", "/users/", "/"] {
            let plain = PathPattern::regex(expression);
            for anchored in [
                format!("^(?:{expression})$"),
                format!("^(?:{expression})"),
                format!("(?:{expression})$"),
                format!(r"\A(?:{expression})\z"),
                format!("(?m)^(?:{expression})$"),
                format!("(?ms)(?:^(?:{expression})$|^$)"),
                format!("(?x) ^ (?:{expression}) $ "),
            ] {
                let pattern = PathPattern::regex(&anchored);
                for path in paths {
                    assert_eq!(matches(&pattern, path), matches(&plain, path), "{anchored} on {path}");
                }
            }
        }
        let alternatives = PathPattern::regex("^/a$|^/b/$");
        for path in ["/a", "/a/", "/b", "/b/"] {
            assert!(matches(&alternatives, path), "{path}");
        }
        assert!(!matches(&alternatives, "/a/b") && !matches(&alternatives, "/"));
    }

    #[test]
    fn the_root_has_one_spelling() {
        for (regex, covered) in
            [("/", true), ("^/$", true), ("/?", true), ("(/a)?", false), ("^$", false), ("//", false)]
        {
            assert_eq!(matches(&PathPattern::regex(regex), "/"), covered, "{regex}");
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
            let pattern = PathPattern::regex(regex);
            for path in covered {
                assert!(matches(&pattern, path), "{regex} covers {path}");
            }
            for path in others {
                assert!(!matches(&pattern, path), "{regex} does not cover {path}");
            }
        }
    }

    #[test]
    fn invalid_expressions_are_reported_on_one_line() {
        for regex in ["", "/é", "(", "/a)|(/b", "\\pL", "(?u)/a", "/(?u:a)", "/(?i-u:a(?su)b)"] {
            let error = PathPattern::regex(regex).unwrap_err().to_string();
            assert!(!error.contains('\n') && error.starts_with(&format!("`{regex}` is not")), "{error}");
        }
        let unicode = PathPattern::regex("(?u)\\w").unwrap_err().to_string();
        assert!(unicode.ends_with(": the flag `u` is not supported, because paths are ASCII"), "{unicode}");
        assert_eq!(PathPattern::regex(&"a".repeat(4_097)), Err(InvalidPath::TooLong));
        assert!(PathPattern::regex(&"a".repeat(4_096)).is_ok());
        // A comment cannot end before the expression does.
        assert!(matches(&PathPattern::regex("(?x)/a # )"), "/a"));
    }

    #[test]
    fn patterns_with_different_parameter_names_are_equal() {
        assert_eq!(PathPattern::template("/{a}/b"), PathPattern::template("/{b}/b/"));
        assert_ne!(PathPattern::template("/{a}"), PathPattern::template("/{a}/**"));
        assert_ne!(PathPattern::template("/a"), PathPattern::regex("/a"));
    }
}
