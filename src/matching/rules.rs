//! The rule of an API that applies to a request: the most specific path first, then the method.

use std::collections::{BTreeMap, BTreeSet};

use rustc_hash::FxHashMap;
use smallvec::SmallVec;

use super::{
    automaton::Keep,
    expressions::{Effort, Expressions, MOST_VISITS, TooComplex},
    methods::Methods,
    pattern::{Kind, PathPattern},
    template::{InsidePath, PathTemplate, Segment},
};

/// The segments of a request that are compared, by the numbers of their literals. Few templates have more.
type Requested = SmallVec<[Option<u32>; 8]>;

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

/// Why rules cannot be put into one table. Numbers are indexes into the list of rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InvalidRules {
    /// Rules overlap.
    Overlaps(Vec<Overlap>),
    /// Matching them would take too long.
    TooComplex(TooComplex),
}

/// All rules of an API, by path and method.
#[derive(Clone, Debug, Default)]
pub struct RuleTable {
    templates: Node,
    /// All literals of the templates, numbered.
    literals: FxHashMap<Box<str>, u32>,
    /// The most segments of a template.
    depth: usize,
    expressions: Expressions,
    /// The rules of each expression.
    by_expression: Vec<SamePath>,
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
/// no deeper than the longest template. How many nodes that can be is known when the table is built.
#[derive(Clone, Debug, Default)]
struct Node {
    /// By the number of the literal.
    literals: BTreeMap<u32, Node>,
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
    /// Builds the table; the index of a rule is its position in the list.
    ///
    /// # Errors
    ///
    /// All overlaps, or why the table would take too long to search.
    pub fn build(rules: Vec<RuleMatch>, effort: &Effort) -> Result<Self, InvalidRules> {
        let paths = by_path(rules);
        let overlaps = overlaps(&paths);
        if !overlaps.is_empty() {
            return Err(InvalidRules::Overlaps(overlaps));
        }
        let mut table = Self::default();
        let mut expressions = Vec::new();
        let mut places = Vec::new();
        for (path, rules) in paths {
            let place = rules.first().map(|(index, _)| *index);
            let rules = SamePath::new(rules);
            match path.0 {
                Kind::Template(template) => table.insert(template, rules),
                Kind::Regex(regex) => {
                    expressions.push(regex.hir);
                    table.by_expression.push(rules);
                    places.push(place);
                }
            }
        }
        if table.templates.visits() > MOST_VISITS {
            return Err(InvalidRules::TooComplex(TooComplex::TooManyBranches));
        }
        let at = |expression: usize| places.get(expression).copied().flatten();
        table.expressions = Expressions::compile(&expressions, Keep::First, effort)
            .map_err(|error| InvalidRules::TooComplex(error.at(at)))?;
        Ok(table)
    }

    /// Finds the rule for a path and a method.
    pub fn find(&self, inside: &InsidePath<'_>, method: &str) -> Found<'_> {
        // One more than the longest template has. Each segment is looked up once, however many nodes are
        // compared with it.
        let mut requested = Requested::new();
        for segment in inside.first_segments().iter().take(self.depth.saturating_add(1)) {
            requested.push(self.literals.get(*segment).copied());
        }
        let found = self.templates.find(&requested);
        let found = found.or_else(|| self.by_expression.get(self.expressions.first(inside.text())?));
        found.map_or(Found::None, |rules| rules.find(method))
    }

    /// The rules that no request reaches, because others have all of their paths and precede them.
    pub fn unreached(&self) -> Vec<usize> {
        let mut unreached = Vec::new();
        self.templates.unreached(&mut unreached);
        if self.templates.is_exhaustive() {
            self.by_expression.iter().for_each(|rules| unreached.extend(rules.rules()));
        }
        unreached.sort_unstable();
        unreached
    }

    fn insert(&mut self, template: PathTemplate, rules: SamePath) {
        self.depth = self.depth.max(template.segments.len());
        let mut node = &mut self.templates;
        for segment in template.segments {
            node = match segment {
                Segment::Literal(literal) => {
                    let next = u32::try_from(self.literals.len()).unwrap_or(u32::MAX);
                    let number = *self.literals.entry(literal.into()).or_insert(next);
                    node.literals.entry(number).or_default()
                }
                Segment::Parameter => node.parameter.get_or_insert_default(),
            };
        }
        *(if template.rest { &mut node.rest } else { &mut node.here }) = Some(rules);
    }
}

impl Node {
    /// Finds the rules for segments, each of which is the number of a literal, or `None` if no template has
    /// it.
    fn find(&self, requested: &[Option<u32>]) -> Option<&SamePath> {
        let found = match requested.split_first() {
            None => self.here.as_ref(),
            Some((segment, below)) => {
                let literal = segment.and_then(|literal| self.literals.get(&literal)?.find(below));
                literal.or_else(|| self.parameter.as_ref()?.find(below))
            }
        };
        found.or(self.rest.as_ref())
    }

    /// Whether there are rules for every path from here on.
    fn is_exhaustive(&self) -> bool {
        self.rest.is_some() || self.is_exhaustive_without_rest()
    }

    /// The same, if it had no `/**`.
    fn is_exhaustive_without_rest(&self) -> bool {
        self.here.is_some() && self.parameter.as_ref().is_some_and(|node| node.is_exhaustive())
    }

    /// Adds the rules for `/**` that no request reaches: there are rules for this path, and for every path
    /// below it.
    fn unreached(&self, unreached: &mut Vec<usize>) {
        if let Some(rest) = self.rest.as_ref().filter(|_| self.is_exhaustive_without_rest()) {
            unreached.extend(rest.rules());
        }
        self.literals.values().chain(self.parameter.as_deref()).for_each(|node| node.unreached(unreached));
    }

    /// The most nodes that one request may visit from here on, this one included.
    fn visits(&self) -> usize {
        let literal = self.literals.values().map(Self::visits).max().unwrap_or_default();
        let parameter = self.parameter.as_ref().map_or(0, |node| node.visits());
        literal.saturating_add(parameter).saturating_add(1)
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

    /// The rules, each once.
    fn rules(&self) -> BTreeSet<usize> {
        self.by_method.iter().map(|(_, rule)| *rule).chain(self.any_method).collect()
    }

    fn find(&self, method: &str) -> Found<'_> {
        let found = self.by_method.binary_search_by(|(name, _)| name.as_str().cmp(method)).ok();
        let named = found.and_then(|place| self.by_method.get(place)).map(|(_, index)| *index);
        named.or(self.any_method).map_or(Found::MethodNotAllowed(&self.allow), Found::Rule)
    }
}

type RulesOfPath = (PathPattern, Vec<(usize, Methods)>);

/// Groups rules by path, in the order in which the paths first appear.
fn by_path(rules: Vec<RuleMatch>) -> Vec<RulesOfPath> {
    let mut known: FxHashMap<&PathPattern, usize> = FxHashMap::default();
    let mut places = Vec::with_capacity(rules.len());
    for rule in &rules {
        let next = known.len();
        places.push(*known.entry(&rule.path).or_insert(next));
    }
    let mut paths: Vec<RulesOfPath> = Vec::with_capacity(known.len());
    for ((index, RuleMatch { path, methods }), place) in rules.into_iter().enumerate().zip(places) {
        match paths.get_mut(place) {
            Some((_, rules)) => rules.push((index, methods)),
            None => paths.push((path, vec![(index, methods)])),
        }
    }
    paths
}

/// For each rule that overlaps earlier ones, the first of them, in the order of the later rules.
fn overlaps(paths: &[RulesOfPath]) -> Vec<Overlap> {
    let mut overlaps = Vec::new();
    for (_, rules) in paths.iter().filter(|(_, rules)| rules.len() > 1) {
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
    fn build(rules: &[&str]) -> Result<RuleTable, InvalidRules> {
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
        RuleTable::build(rules.collect(), &Effort::default())
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
            assert_eq!(table.find(&path.into(), "GET"), Found::Rule(rule), "{path}");
        }
    }

    #[test]
    fn the_search_backtracks_from_a_literal_without_a_match() {
        let table = build(&["* /a/c", "* /{p}/b"]).unwrap();
        assert_eq!(table.find(&"/a/b".into(), "GET"), Found::Rule(1));
        let table = build(&["* /{a}/b", "* /a/{b}"]).unwrap();
        assert_eq!(table.find(&"/a/b".into(), "GET"), Found::Rule(1));
        assert_eq!(table.find(&"/x/b".into(), "GET"), Found::Rule(0));
        assert_eq!(table.find(&"/x/c".into(), "GET"), Found::None);
    }

    #[test]
    fn the_work_is_bounded_by_the_table_and_not_by_the_path() {
        let parameters = |count| (0..count).map(|n| format!("/{{p{n}}}")).collect::<String>();
        let rules: Vec<String> =
            (0..63).map(|n| format!("* {}{}/x", "/a".repeat(n), parameters(63 - n))).collect();
        let table = build(&rules.iter().map(String::as_str).collect::<Vec<_>>()).unwrap();
        assert_eq!(table.find(&"/a".repeat(64).as_str().into(), "GET"), Found::None);
        assert_eq!(table.find(&"/a".repeat(30_000).as_str().into(), "GET"), Found::None);
    }

    #[test]
    fn templates_that_a_request_could_match_in_too_many_ways_are_an_error() {
        let ways = |depth: u32| {
            let segments = |number: usize| {
                (0..depth).map(
                    move |bit| if number >> bit & 1 == 0 { "/a".to_owned() } else { format!("/{{p{bit}}}") },
                )
            };
            let rules: Vec<_> =
                (0..1 << depth).map(|number| format!("* {}", segments(number).collect::<String>())).collect();
            build(&rules.iter().map(String::as_str).collect::<Vec<_>>())
        };
        assert_eq!(ways(11).unwrap().find(&"/a".repeat(11).as_str().into(), "GET"), Found::Rule(0));
        assert_eq!(ways(12).unwrap_err(), InvalidRules::TooComplex(TooComplex::TooManyBranches));
    }

    #[test]
    fn expressions_come_last_in_list_order() {
        let table = build(&["GET ~/a/.*", "* ~/a/b|/c", "POST ~/a/.*", "* /a/{x}/d"]).unwrap();
        assert_eq!(table.find(&"/a/b".into(), "GET"), Found::Rule(0));
        assert_eq!(table.find(&"/a/b".into(), "POST"), Found::Rule(2));
        assert_eq!(table.find(&"/a/b".into(), "PUT"), Found::MethodNotAllowed("GET, HEAD, POST"));
        assert_eq!(table.find(&"/c".into(), "PUT"), Found::Rule(1));
        assert_eq!(table.find(&"/a/b/d".into(), "PUT"), Found::Rule(3));
        assert_eq!(table.find(&"/d".into(), "GET"), Found::None);
    }

    #[test]
    fn an_anchored_expression_is_found_before_a_wider_one() {
        let table = build(&["* ~^/users/[0-9]+$", "* ~/.*"]).unwrap();
        for (path, rule) in [("/users/7", 0), ("/users/7/", 0), ("/users/x", 1), ("/users/7/x", 1), ("/", 1)]
        {
            assert_eq!(table.find(&path.into(), "GET"), Found::Rule(rule), "{path}");
        }
    }

    #[test]
    fn a_rule_that_lists_the_method_comes_before_one_for_all() {
        let table = build(&["* /a", "GET,PUT /a/", "POST /a"]).unwrap();
        for (method, rule) in [("GET", 1), ("HEAD", 1), ("PUT", 1), ("POST", 2), ("DELETE", 0), ("get", 0)] {
            assert_eq!(table.find(&"/a".into(), method), Found::Rule(rule), "{method}");
        }
        let table = build(&["HEAD /a", "GET /a"]).unwrap();
        assert_eq!(table.find(&"/a".into(), "HEAD"), Found::Rule(0));
    }

    #[test]
    fn a_method_without_a_rule_never_falls_through_to_a_less_specific_path() {
        let table = build(&["* /**", "PUT,GET /a/{x}", "DELETE /a/{y}", "POST /a/b"]).unwrap();
        assert_eq!(table.find(&"/a/b".into(), "GET"), Found::MethodNotAllowed("POST"));
        assert_eq!(table.find(&"/a/c".into(), "POST"), Found::MethodNotAllowed("DELETE, GET, HEAD, PUT"));
        assert_eq!(table.find(&"/a/c".into(), "get"), Found::MethodNotAllowed("DELETE, GET, HEAD, PUT"));
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
            assert_eq!(build(rules).unwrap_err(), InvalidRules::Overlaps(expected), "{rules:?}");
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

    #[test]
    fn rules_that_no_request_reaches_are_known() {
        for (rules, expected) in [
            (&["* /a", "* /a/**", "* /{x}", "* ~/b.*"][..], &[][..]),
            (&["* ~/b", "GET /**", "* ~/c", "GET /a"], &[0, 2]),
            (&["* /**", "GET /", "GET /{a}/**", "* ~/x"], &[0, 3]),
            (&["* /**", "* /", "* /{a}"], &[]),
            (&["GET /a/**", "POST /a/**", "* /a", "* /a/{b}", "* /a/{b}/{c}/**"], &[0, 1]),
        ] {
            assert_eq!(build(rules).unwrap().unreached(), expected, "{rules:?}");
        }
    }
}
