//! The path patterns of 3scale's mapping rules, used for metering.

use std::rc::Rc;

use regex_syntax::hir::Hir;

use super::{
    expressions::parse,
    pattern::{InvalidPath, LONGEST},
    template::{literal, literal_part, segments},
};

/// The pattern of a 3scale mapping rule, without its query part. It is a prefix: `/auto` covers `/automatic`.
/// `{anything}` matches one or more characters within a segment, and a final `$` matches the end of the path.
#[derive(Clone, Debug)]
pub(super) struct PrefixPattern {
    /// An expression for the whole path.
    text: String,
    pub(super) hir: Rc<Hir>,
}

impl PrefixPattern {
    /// Reads a pattern. Slashes are collapsed and literals are normalised as in requests.
    pub(super) fn parse(text: &str) -> Result<Self, InvalidPath> {
        if !text.starts_with('/') {
            return Err(InvalidPath::NoLeadingSlash(text.to_owned()));
        }
        if text.contains('?') {
            return Err(InvalidPath::Query(text.to_owned()));
        }
        if text.len() > LONGEST {
            return Err(InvalidPath::TooLong);
        }
        let (path, exact) = text.strip_suffix('$').map_or((text, false), |path| (path, true));
        let mut expression = String::new();
        for segment in segments(path) {
            expression.push('/');
            expression.push_str(&segment_expression(segment, text)?);
        }
        if path.ends_with('/') {
            expression.push('/');
        }
        if !exact {
            expression.push_str(".*");
        }
        let hir = parse(&expression).map_err(|_| InvalidPath::TooLong)?;
        Ok(Self { text: expression, hir })
    }
}

impl PartialEq for PrefixPattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for PrefixPattern {}

/// Translates one segment of the pattern `text` into an expression.
fn segment_expression(segment: &str, text: &str) -> Result<String, InvalidPath> {
    if segment.contains('*') {
        return Err(InvalidPath::Wildcard(text.to_owned()));
    }
    let mut expression = String::new();
    let mut rest = segment;
    while let Some((before, after)) = rest.split_once('{') {
        let (name, next) = after.split_once('}').ok_or_else(|| InvalidPath::Placeholder(text.to_owned()))?;
        if name.is_empty() || name.contains('{') || before.contains('}') {
            return Err(InvalidPath::Placeholder(text.to_owned()));
        }
        if !before.is_empty() {
            expression.push_str(&regex_syntax::escape(&literal_part(before)?));
        }
        expression.push_str("[^/]+");
        rest = next;
    }
    if rest.contains('}') {
        return Err(InvalidPath::Placeholder(text.to_owned()));
    }
    let rest = if rest == segment { literal(segment, text)? } else { literal_part(rest)? };
    expression.push_str(&regex_syntax::escape(&rest));
    Ok(expression)
}

#[cfg(test)]
mod tests {
    #[cfg(all(target_family = "wasm", target_os = "unknown"))]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::{
        super::{
            automaton::Keep,
            expressions::{Effort, Expressions},
        },
        *,
    };

    #[test]
    fn prefixes_match_as_in_3scale() {
        for (pattern, covered, others) in [
            ("/", &["/", "/a", "/a/b"][..], &[][..]),
            ("/$", &["/"], &["/a"]),
            ("/auto", &["/auto", "/automatic", "/auto/x"], &["/aut", "/x/auto", "/Auto"]),
            ("/auto$", &["/auto"], &["/automatic", "/auto/", "/auto/x"]),
            ("/auto/", &["/auto/", "/auto/x"], &["/auto", "/automatic"]),
            ("/auto/$", &["/auto/"], &["/auto", "/auto/x"]),
            ("//a///b", &["/a/b", "/a/bc"], &["/a"]),
            ("/a/{id}", &["/a/1", "/a/1/b", "/a/x.y;z"], &["/a", "/a/"]),
            ("/a/{id}$", &["/a/1"], &["/a/1/", "/a/1/b", "/a/"]),
            ("/a/{id}/c", &["/a/1/c", "/a/1/cd"], &["/a/1/2/c", "/a//c"]),
            ("/a/{id}.json$", &["/a/1.json", "/a/1.json.json"], &["/a/1xjson", "/a/.json", "/a/1.json2"]),
            ("/a.b{c}", &["/a.bc"], &["/axbc"]),
            ("/{a}-{b}/c", &["/x-y/c", "/x--y-z/c"], &["/-/c", "/xy/c"]),
            ("/a.b(c)$d", &["/a.b(c)$d"], &["/axb(c)$d"]),
            ("/%7Ea/é", &["/~a/%C3%A9"], &["/%7Ea"]),
        ] {
            let prefix = PrefixPattern::parse(pattern).unwrap();
            let prefix = Expressions::compile(&[prefix.hir], Keep::All, &Effort::default()).unwrap();
            let matches = |inside| {
                let mut matches = false;
                prefix.all(inside, |_| matches = true);
                matches
            };
            for inside in covered {
                assert!(matches(inside), "{pattern} covers {inside}");
            }
            for inside in others {
                assert!(!matches(inside), "{pattern} does not cover {inside}");
            }
        }
    }

    #[test]
    fn invalid_prefixes_are_errors() {
        use InvalidPath::*;
        let text = |text: &str| text.to_owned();
        for (pattern, error) in [
            ("", NoLeadingSlash(text(""))),
            ("a", NoLeadingSlash(text("a"))),
            ("/a?b=c", Query(text("/a?b=c"))),
            ("/a/**", Wildcard(text("/a/**"))),
            ("/{", Placeholder(text("/{"))),
            ("/}", Placeholder(text("/}"))),
            ("/{}", Placeholder(text("/{}"))),
            ("/{{a}}", Placeholder(text("/{{a}}"))),
            ("/a}{b}", Placeholder(text("/a}{b}"))),
            ("/{a/b}", Placeholder(text("/{a/b}"))),
            ("/a/../b", DotSegment(text("/a/../b"))),
        ] {
            assert_eq!(PrefixPattern::parse(pattern), Err(error));
        }
        assert!(matches!(PrefixPattern::parse("/a%2f{b}"), Err(Malformed { .. })));
        assert!(matches!(PrefixPattern::parse(&"/a".repeat(40_000)), Err(TooLong)));
    }
}
