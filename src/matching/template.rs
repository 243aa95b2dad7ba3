//! Path templates: literals, `{parameter}` for one whole segment, and a final `/**` for everything below.

use smallvec::SmallVec;

use super::{
    path::{MalformedTarget, canonical, is_dot_parameter},
    pattern::{InvalidPath, LONGEST},
};

/// The most segments in a template, which limits the depth of rule tables.
const MAX_SEGMENTS: usize = 64;

/// A pattern of whole segments.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct PathTemplate {
    pub(super) segments: Vec<Segment>,
    /// Whether it ends in `/**`.
    pub(super) rest: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Segment {
    Literal(String),
    Parameter,
}

impl PathTemplate {
    pub(super) fn parse(text: &str) -> Result<Self, InvalidPath> {
        let path = text.strip_prefix('/').ok_or_else(|| InvalidPath::NoLeadingSlash(text.to_owned()))?;
        if path.contains('?') {
            return Err(InvalidPath::Query(text.to_owned()));
        }
        if text.len() > LONGEST {
            return Err(InvalidPath::TooLong);
        }
        let mut template = Self { segments: Vec::new(), rest: false };
        if path.is_empty() {
            return Ok(template);
        }
        let mut names = Vec::new();
        for segment in path.strip_suffix('/').unwrap_or(path).split('/') {
            if template.rest {
                return Err(InvalidPath::Wildcard(text.to_owned()));
            }
            if segment == "**" {
                template.rest = true;
            } else if segment.contains('*') {
                return Err(InvalidPath::Wildcard(text.to_owned()));
            } else if segment.contains(['{', '}']) {
                let name =
                    parameter_name(segment).ok_or_else(|| InvalidPath::Parameter(segment.to_owned()))?;
                if names.contains(&name) {
                    return Err(InvalidPath::DuplicateParameter(name.to_owned()));
                }
                names.push(name);
                template.segments.push(Segment::Parameter);
            } else {
                template.segments.push(Segment::Literal(literal(segment, text)?));
            }
        }
        if template.segments.len() > MAX_SEGMENTS {
            return Err(InvalidPath::TooManySegments(text.to_owned()));
        }
        Ok(template)
    }

    /// How many bytes a path is compared with.
    pub(super) fn bytes(&self) -> usize {
        let segment = |segment: &Segment| match segment {
            Segment::Literal(literal) => literal.len().saturating_add(1),
            Segment::Parameter => 1,
        };
        self.segments.iter().map(segment).fold(0, usize::saturating_add)
    }

    /// Whether it covers every path that `other` covers.
    pub(super) fn covers_all_of(&self, other: &Self) -> bool {
        let (ours, theirs) = (self.segments.len(), other.segments.len());
        let fits = if self.rest { ours <= theirs } else { ours == theirs && !other.rest };
        fits && self.segments.iter().zip(&other.segments).all(|(ours, theirs)| match ours {
            Segment::Literal(_) => ours == theirs,
            Segment::Parameter => true,
        })
    }

    /// Whether it covers a path of these segments.
    #[inline]
    pub(super) fn covers(&self, requested: &InsidePath<'_>) -> bool {
        let requested = requested.first_segments();
        let (is_long_enough, is_short_enough) =
            (requested.len() >= self.segments.len(), self.rest || requested.len() == self.segments.len());
        is_long_enough
            && is_short_enough
            && self.segments.iter().zip(requested).all(|(segment, requested)| match segment {
                Segment::Literal(literal) => literal == requested,
                Segment::Parameter => true,
            })
    }
}

/// A normalised path inside an API, with its segments. They are found once for all tables.
#[derive(Clone, Debug)]
pub struct InsidePath<'a> {
    text: &'a str,
    /// As many as templates have, and one more.
    first_segments: SmallVec<[&'a str; 8]>,
}

impl<'a> InsidePath<'a> {
    /// The path.
    pub const fn text(&self) -> &'a str {
        self.text
    }

    /// The first segments: as many as templates have, and one more.
    pub(super) fn first_segments(&self) -> &[&'a str] {
        &self.first_segments
    }
}

impl<'a> From<&'a str> for InsidePath<'a> {
    fn from(text: &'a str) -> Self {
        let mut first_segments = SmallVec::new();
        for segment in segments(text).take(MAX_SEGMENTS + 1) {
            first_segments.push(segment);
        }
        Self { text, first_segments }
    }
}

/// The segments of a normalised path. A trailing slash adds none.
pub(super) fn segments(path: &str) -> impl Iterator<Item = &str> {
    let mut rest = path;
    std::iter::from_fn(move || {
        let start = rest.bytes().position(|byte| byte != b'/')?;
        let (_, from_start) = rest.split_at_checked(start)?;
        let end = from_start.bytes().position(|byte| byte == b'/').unwrap_or(from_start.len());
        let (segment, after) = from_start.split_at_checked(end)?;
        rest = after;
        Some(segment)
    })
}

/// Normalises one literal segment of the pattern `text` as requests are normalised.
pub(super) fn literal(segment: &str, text: &str) -> Result<String, InvalidPath> {
    match literal_part(segment)? {
        literal if literal.is_empty() => Err(InvalidPath::EmptySegment(text.to_owned())),
        literal if matches!(literal.as_str(), "." | "..") => Err(InvalidPath::DotSegment(text.to_owned())),
        literal if is_dot_parameter(&literal) => {
            Err(InvalidPath::Malformed { text: segment.to_owned(), reason: MalformedTarget::DotParameter })
        }
        literal => Ok(literal),
    }
}

/// Normalises part of a segment, which need not be a valid segment itself.
pub(super) fn literal_part(part: &str) -> Result<String, InvalidPath> {
    canonical(part).map_err(|reason| InvalidPath::Malformed { text: part.to_owned(), reason })
}

/// The name of the parameter that a segment of a template is.
pub(super) fn parameter_name(segment: &str) -> Option<&str> {
    let name = segment.strip_prefix('{')?.strip_suffix('}')?;
    let valid =
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
    valid.then_some(name)
}

#[cfg(test)]
mod tests {
    #[cfg(all(target_family = "wasm", target_os = "unknown"))]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;
    use crate::matching::PathPattern;

    #[test]
    fn templates_cover_whole_segments() {
        for (template, covered, others) in [
            ("/", &["/"][..], &["/a"][..]),
            ("/**", &["/", "/a", "/a/b/"], &[]),
            ("/a", &["/a", "/a/"], &["/", "/ab", "/a/b", "/A"]),
            ("/a/", &["/a", "/a/"], &["/a/b"]),
            ("/a/**", &["/a", "/a/", "/a/b", "/a/b/c/"], &["/", "/ab"]),
            ("/{x}", &["/a", "/a/"], &["/", "/a/b"]),
            ("/a/{x}/c", &["/a/b/c"], &["/a/c", "/a/b/d", "/a/b/c/d"]),
            ("/a/{x}/**", &["/a/b", "/a/b/c"], &["/a", "/a/", "/b/b"]),
            ("/%7eb/%c3%a9/é", &["/~b/%C3%A9/%C3%A9"], &["/~b"]),
        ] {
            let template = PathTemplate::parse(template).unwrap();
            for path in covered.iter().copied() {
                assert!(template.covers(&path.into()), "{template:?} covers {path}");
            }
            for path in others.iter().copied() {
                assert!(!template.covers(&path.into()), "{template:?} does not cover {path}");
            }
        }
    }

    #[test]
    fn invalid_templates_are_errors() {
        for (template, message) in [
            ("", "`` does not start with a slash"),
            ("a", "`a` does not start with a slash"),
            ("**", "`**` does not start with a slash"),
            ("//", "`//` has an empty segment"),
            ("/a//b", "`/a//b` has an empty segment"),
            ("/a/./b", "`/a/./b` has a `.` or `..` segment, which no request has once it is normalised"),
            ("/%2e%2E", "`/%2e%2E` has a `.` or `..` segment, which no request has once it is normalised"),
            ("/a?b", "`/a?b` has a query, but a path is expected"),
            ("/a#b", "`a#b` matches no request: the target has a fragment"),
            ("/a%2Fb", "`a%2Fb` matches no request: the path has an escaped slash"),
            ("/..;x", "`..;x` matches no request: the path has a dot segment with a parameter"),
            ("/{a}/{a}", "the parameter `a` appears twice"),
            ("/a/*", "`/a/*` has a `*` outside of a final `/**`"),
            ("/**/a", "`/**/a` has a `*` outside of a final `/**`"),
            ("/a**", "`/a**` has a `*` outside of a final `/**`"),
        ] {
            assert_eq!(PathPattern::template(template).unwrap_err().to_string(), message);
        }
        for segment in ["{}", "{a", "a}", "x{a}", "{a}x", "{a}{b}", "{a b}", "{{a}}"] {
            let error = PathPattern::template(&format!("/{segment}"));
            assert_eq!(error, Err(InvalidPath::Parameter(segment.to_owned())));
        }
        assert!(PathPattern::template(&"/a".repeat(64)).is_ok());
        assert!(matches!(PathPattern::template(&"/a".repeat(65)), Err(InvalidPath::TooManySegments(_))));
    }
}
