//! The rule of an API that applies to a request: the most specific path first, then the method.

use rustc_hash::FxHashMap;

use super::{
    methods::Methods,
    pattern::{Kind, PathPattern, PathRegex, Spellings},
    template::{PathTemplate, Segment, segments},
};

/// Which requests a rule covers.
#[derive(Clone, Debug)]
pub struct RuleMatch {
    /// Paths inside the API.
    pub path: PathPattern,
    /// Methods.
    pub methods: Methods,
}

/// Two rules for the same requests, neither of which is more specific. Both are indexes into the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overlap {
    /// The rule that comes first.
    pub first: usize,
    /// The rule that comes second.
    pub second: usize,
}

/// All rules of an API, by path and method.
#[derive(Clone, Debug, Default)]
pub struct RuleTable {
    templates: Node,
    regexes: Vec<(PathRegex, SamePath)>,
}

/// The result of a search in a [`RuleTable`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found<'a> {
    /// The rule with this index.
    Rule(usize),
    /// There are rules for the path, but not for the method. Holds the value of `Allow`.
    MethodNotAllowed(&'a str),
    /// No rule covers the path.
    None,
}

/// A tree of segments. A request visits each node at most once, because only one path leads to it, and goes
/// no deeper than the longest template. Backtracking is therefore bounded by the size of the policy, not by
/// the path.
#[derive(Clone, Debug, Default)]
struct Node {
    literals: FxHashMap<String, Node>,
    parameter: Option<Box<Node>>,
    here: Option<SamePath>,
    rest: Option<SamePath>,
}

/// All rules with the same path.
#[derive(Clone, Debug, Default)]
struct SamePath {
    by_method: Vec<(String, usize)>,
    any_method: Option<usize>,
    allow: String,
}

impl RuleTable {
    /// Builds the table; the index of a rule is its position in the list. Fails with all overlaps.
    pub fn build(rules: Vec<RuleMatch>) -> Result<Self, Vec<Overlap>> {
        let paths = by_path(rules);
        let overlaps = overlaps(&paths);
        if !overlaps.is_empty() {
            return Err(overlaps);
        }
        let mut table = Self::default();
        for (path, rules) in paths {
            let rules = SamePath::new(rules);
            match path.0 {
                Kind::Template(template) => table.templates.insert(template, rules),
                Kind::Regex(regex) => table.regexes.push((regex, rules)),
            }
        }
        Ok(table)
    }

    /// Finds the rule for a normalised path inside the API and a method.
    pub fn find(&self, inside: &str, method: &str) -> Found<'_> {
        let found = self.templates.find(&mut segments(inside)).or_else(|| self.find_regex(inside));
        found.map_or(Found::None, |rules| rules.find(method))
    }

    fn find_regex(&self, inside: &str) -> Option<&SamePath> {
        if self.regexes.is_empty() {
            return None;
        }
        let path = Spellings::of(inside);
        self.regexes.iter().find(|(regex, _)| regex.matches(&path)).map(|(_, rules)| rules)
    }
}

impl Node {
    fn insert(&mut self, template: PathTemplate, rules: SamePath) {
        let mut node = self;
        for segment in template.segments {
            node = match segment {
                Segment::Literal(literal) => node.literals.entry(literal).or_default(),
                Segment::Parameter => node.parameter.get_or_insert_default(),
            };
        }
        *(if template.rest { &mut node.rest } else { &mut node.here }) = Some(rules);
    }

    fn find<'a>(&self, requested: &mut (impl Iterator<Item = &'a str> + Clone)) -> Option<&SamePath> {
        let found = match requested.next() {
            None => self.here.as_ref(),
            Some(segment) => {
                let literal = self.literals.get(segment).and_then(|node| node.find(&mut requested.clone()));
                literal.or_else(|| self.parameter.as_ref()?.find(requested))
            }
        };
        found.or(self.rest.as_ref())
    }
}

impl SamePath {
    fn new(rules: Vec<(usize, Methods)>) -> Self {
        let mut by_method = Vec::new();
        let mut any_method = None;
        for (index, methods) in rules {
            match methods.names() {
                [] => any_method = Some(index),
                names => by_method.extend(names.iter().map(|name| (name.clone(), index))),
            }
        }
        let rule_for = |method| by_method.iter().find(|(name, _)| name == method).map(|(_, index)| *index);
        if let (Some(get), None) = (rule_for("GET"), rule_for("HEAD")) {
            by_method.push(("HEAD".to_owned(), get));
        }
        by_method.sort();
        let names: Vec<&str> = by_method.iter().map(|(name, _)| name.as_str()).collect();
        let allow = names.join(", ");
        Self { by_method, any_method, allow }
    }

    fn find(&self, method: &str) -> Found<'_> {
        let found = self.by_method.binary_search_by(|(name, _)| name.as_str().cmp(method)).ok();
        let named = found.and_then(|place| self.by_method.get(place)).map(|(_, index)| *index);
        named.or(self.any_method).map_or(Found::MethodNotAllowed(&self.allow), Found::Rule)
    }
}

type RulesOfPath = (PathPattern, Vec<(usize, Methods)>);

/// Groups rules by path, in the order in which the paths first appear.
#[expect(clippy::mutable_key_type, reason = "expressions are compared and hashed by their text")]
fn by_path(rules: Vec<RuleMatch>) -> Vec<RulesOfPath> {
    let mut places: FxHashMap<PathPattern, usize> = FxHashMap::default();
    let mut paths: Vec<RulesOfPath> = Vec::new();
    for (index, RuleMatch { path, methods }) in rules.into_iter().enumerate() {
        let place = *places.entry(path).or_insert_with_key(|path| {
            paths.push((path.clone(), Vec::new()));
            paths.len().saturating_sub(1)
        });
        if let Some((_, rules)) = paths.get_mut(place) {
            rules.push((index, methods));
        }
    }
    paths
}

/// For each rule that overlaps earlier ones, the first of them, in the order of the later rules.
fn overlaps(paths: &[RulesOfPath]) -> Vec<Overlap> {
    let mut overlaps = Vec::new();
    for (_, rules) in paths {
        // A rule for all methods overlaps another one for all methods; one that names methods overlaps
        // another one that names one of them.
        let mut first_for: FxHashMap<Option<&str>, usize> = FxHashMap::default();
        for (second, methods) in rules {
            let names: Vec<Option<&str>> = match methods.names() {
                [] => vec![None],
                names => names.iter().map(|name| Some(name.as_str())).collect(),
            };
            let earlier = names.iter().filter_map(|name| first_for.get(name)).min().copied();
            overlaps.extend(earlier.map(|first| Overlap { first, second: *second }));
            for name in names {
                first_for.entry(name).or_insert(*second);
            }
        }
    }
    overlaps.sort_by_key(|overlap| overlap.second);
    overlaps
}

#[cfg(test)]
mod tests {
    #[cfg(all(target_family = "wasm", target_os = "unknown"))]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    /// Each rule is `METHOD,METHOD /path`, or `* /path` for all methods; `~` precedes an expression.
    fn build(rules: &[&str]) -> Result<RuleTable, Vec<Overlap>> {
        let rules = rules.iter().map(|rule| {
            let (methods, path) = rule.split_once(' ').unwrap();
            RuleMatch {
                path: match path.strip_prefix('~') {
                    Some(regex) => PathPattern::regex(regex).unwrap(),
                    None => PathPattern::template(path).unwrap(),
                },
                methods: match methods {
                    "*" => Methods::ALL,
                    names => Methods::named(names.split(',').map(str::to_owned).collect()).unwrap(),
                },
            }
        });
        RuleTable::build(rules.collect())
    }

    #[test]
    fn segments_are_compared_from_the_left() {
        let table = build(&[
            "* /**",
            "* /a/**",
            "* /a/{x}",
            "* /a/b",
            "* /{x}/b",
            "* /a/c/d",
            "* /{x}/{y}/e",
            "* /a",
            "* ~/z/.*",
        ])
        .unwrap();
        for (path, rule) in [
            ("/", 0),
            ("/z/z", 0),
            ("/a", 7),
            ("/a/", 7),
            ("/a/b", 3),
            ("/a/b/", 3),
            ("/a/x", 2),
            ("/a/c", 2),
            ("/a/c/d", 5),
            ("/a/c/e", 1),
            ("/x/b", 4),
            ("/x/c/e", 6),
            ("/a/b/c", 1),
            ("/x/c/d", 0),
        ] {
            assert_eq!(table.find(path, "GET"), Found::Rule(rule), "{path}");
        }
    }

    #[test]
    fn the_search_backtracks_from_a_literal_without_a_match() {
        let table = build(&["* /a/c", "* /{p}/b"]).unwrap();
        assert_eq!(table.find("/a/b", "GET"), Found::Rule(1));
        let table = build(&["* /{a}/b", "* /a/{b}"]).unwrap();
        assert_eq!(table.find("/a/b", "GET"), Found::Rule(1));
        assert_eq!(table.find("/x/b", "GET"), Found::Rule(0));
        assert_eq!(table.find("/x/c", "GET"), Found::None);
    }

    #[test]
    fn the_work_is_bounded_by_the_table_and_not_by_the_path() {
        let parameters = |count| (0..count).map(|n| format!("/{{p{n}}}")).collect::<String>();
        let rules: Vec<String> =
            (0..63).map(|n| format!("* {}{}/x", "/a".repeat(n), parameters(63 - n))).collect();
        let table = build(&rules.iter().map(String::as_str).collect::<Vec<_>>()).unwrap();
        assert_eq!(table.find(&"/a".repeat(64), "GET"), Found::None);
        assert_eq!(table.find(&"/a".repeat(30_000), "GET"), Found::None);
    }

    #[test]
    fn expressions_come_last_in_list_order() {
        let table = build(&["GET ~/a/.*", "* ~/a/b|/c", "POST ~/a/.*", "* /a/{x}/d"]).unwrap();
        assert_eq!(table.find("/a/b", "GET"), Found::Rule(0));
        assert_eq!(table.find("/a/b", "POST"), Found::Rule(2));
        assert_eq!(table.find("/a/b", "PUT"), Found::MethodNotAllowed("GET, HEAD, POST"));
        assert_eq!(table.find("/c", "PUT"), Found::Rule(1));
        assert_eq!(table.find("/a/b/d", "PUT"), Found::Rule(3));
        assert_eq!(table.find("/d", "GET"), Found::None);
    }

    #[test]
    fn an_anchored_expression_is_found_before_a_wider_one() {
        let table = build(&["* ~^/users/[0-9]+$", "* ~/.*"]).unwrap();
        for (path, rule) in [("/users/7", 0), ("/users/7/", 0), ("/users/x", 1), ("/users/7/x", 1), ("/", 1)]
        {
            assert_eq!(table.find(path, "GET"), Found::Rule(rule), "{path}");
        }
    }

    #[test]
    fn a_rule_that_lists_the_method_comes_before_one_for_all() {
        let table = build(&["* /a", "GET,PUT /a/", "POST /a"]).unwrap();
        for (method, rule) in [("GET", 1), ("HEAD", 1), ("PUT", 1), ("POST", 2), ("DELETE", 0), ("get", 0)] {
            assert_eq!(table.find("/a", method), Found::Rule(rule), "{method}");
        }
        let table = build(&["HEAD /a", "GET /a"]).unwrap();
        assert_eq!(table.find("/a", "HEAD"), Found::Rule(0));
    }

    #[test]
    fn a_method_without_a_rule_never_falls_through_to_a_less_specific_path() {
        let table = build(&["* /**", "PUT,GET /a/{x}", "DELETE /a/{y}", "POST /a/b"]).unwrap();
        assert_eq!(table.find("/a/b", "GET"), Found::MethodNotAllowed("POST"));
        assert_eq!(table.find("/a/c", "POST"), Found::MethodNotAllowed("DELETE, GET, HEAD, PUT"));
        assert_eq!(table.find("/a/c", "get"), Found::MethodNotAllowed("DELETE, GET, HEAD, PUT"));
    }

    #[test]
    fn rules_with_the_same_path_overlap_if_they_share_a_method() {
        for (rules, expected) in [
            (&["* /{a}", "* /{b}"][..], &[(0, 1)][..]),
            (&["GET /a", "PUT,GET /a/"], &[(0, 1)]),
            (&["* /a/**", "* /b", "* /a/**", "* /a/**"], &[(0, 2), (0, 3)]),
            (&["* ~/a.*", "* ~/a.*"], &[(0, 1)]),
            (&["* /%7e", "* /~"], &[(0, 1)]),
        ] {
            let expected: Vec<_> =
                expected.iter().map(|&(first, second)| Overlap { first, second }).collect();
            assert_eq!(build(rules).unwrap_err(), expected, "{rules:?}");
        }
        for rules in [
            ["* /{a}/b", "* /a/{b}"],
            ["* /a", "* /a/**"],
            ["* /a", "GET /a"],
            ["GET /a", "HEAD /a"],
            ["GET /a", "get /a"],
            ["* ~/a", "* ~/a|/a"],
            ["* ~/a", "* /a"],
        ] {
            assert!(build(&rules).is_ok(), "{rules:?}");
        }
    }
}
