//! Properties of matching: one spelling per path, and a table that agrees with trying every rule.
#![cfg(not(target_family = "wasm"))]
#![expect(clippy::expect_used, reason = "a helper that fails fails the test that calls it")]

mod properties;

use properties::config;
use proptest::{
    collection::vec,
    prelude::*,
    sample::{select, subsequence},
};
use regex::bytes::{Regex, RegexBuilder};
use sidegate::matching::{
    Effort, Found, InvalidRules, Methods, PathList, PathPattern, RequestPath, RuleMatch, RuleTable, Target,
    normalise,
};

/// Targets that are made of the parts of known tricks.
fn target() -> impl Strategy<Value = String> {
    let plain = vec!["/", "//", ".", "..", "/../", "/./", "a", "b", ";", "~", "?", "é", " ", "{"];
    let escaped = vec!["%2e", "%2E", "%61", "%7e", "%25", "%3b", "%c3%a9"];
    let piece = prop_oneof![
        30 => select(plain).prop_map(str::to_owned),
        15 => select(escaped).prop_map(str::to_owned),
        1 => select(vec!["%", "%c3", "%2f", "%5c", "%00", "\\", "#"]).prop_map(str::to_owned),
        1 => any::<u8>().prop_map(|byte| format!("%{byte:02x}")),
        1 => any::<char>().prop_map(String::from),
    ];
    vec(piece, 0..12).prop_map(|pieces| format!("/{}", pieces.concat()))
}

fn path(target: &str) -> Option<RequestPath<'_>> {
    match normalise(target) {
        Ok(Target::Path(path)) => Some(path),
        Ok(Target::Asterisk) | Err(_) => None,
    }
}

proptest! {
    #![proptest_config(config(4096))]

    #[test]
    fn normalising_twice_changes_nothing(target in target()) {
        if let Some(once) = path(&target) {
            let forwarded = once.forwarded();
            prop_assert_eq!(once.is_changed(), forwarded != target);
            let twice = path(&forwarded).expect("what was normalised is well-formed");
            prop_assert!(!twice.is_changed());
            prop_assert_eq!((twice.path(), twice.query()), (once.path(), once.query()));
        }
    }

    #[test]
    fn a_normalised_path_has_one_spelling(target in target()) {
        if let Some(path) = path(&target) {
            let path = path.path();
            prop_assert!(path.starts_with('/') && path.is_ascii());
            let around = format!("{path}/");
            prop_assert!(!path.contains("//") && !around.contains("/./") && !around.contains("/../"), "{}", path);
            prop_assert!(!path.contains(['\\', '#', '?']) && !path.contains(char::is_control), "{}", path);
            for escape in path.split('%').skip(1) {
                let digits = escape.get(..2).expect("escapes have two digits");
                prop_assert_eq!(digits.to_uppercase(), digits);
                let decoded = char::from(u8::from_str_radix(digits, 16).expect("escapes are hexadecimal"));
                prop_assert!(!decoded.is_ascii_alphanumeric() && !"-._~/\\".contains(decoded), "{}", path);
                prop_assert!(!decoded.is_ascii_control(), "{}", path);
            }
        }
    }

    #[test]
    fn no_text_makes_normalising_panic(target in any::<String>()) {
        let _ = normalise(&target);
    }
}

/// Templates as lists of segments, from which both the table and the reference are built. They sort by
/// specificity: segment by segment, a shorter one before one that goes on with `/**`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Segment {
    Literal(&'static str),
    Parameter,
    Rest,
}

/// A template, and the methods of its rule. An empty list means all methods.
type Rule = (Vec<Segment>, Vec<&'static str>);

/// Sorted, as in `Allow`.
const METHODS: [&str; 3] = ["GET", "HEAD", "PUT"];

fn rule() -> impl Strategy<Value = Rule> {
    let segment = prop_oneof![
        2 => select(vec!["a", "b"]).prop_map(Segment::Literal),
        1 => Just(Segment::Parameter),
    ];
    let template = (vec(segment, 0..4), any::<bool>()).prop_map(|(mut segments, rest)| {
        segments.extend(rest.then_some(Segment::Rest));
        segments
    });
    (template, subsequence(METHODS.to_vec(), 0..3))
}

fn text(template: &[Segment]) -> String {
    if template.is_empty() {
        return "/".to_owned();
    }
    let segments = template.iter().enumerate().map(|(index, segment)| match segment {
        Segment::Literal(literal) => format!("/{literal}"),
        Segment::Parameter => format!("/{{p{index}}}"),
        Segment::Rest => "/**".to_owned(),
    });
    segments.collect()
}

fn pattern(template: &[Segment]) -> PathPattern {
    PathPattern::template(&text(template)).expect("the template is well-formed")
}

fn build(rules: &[Rule]) -> Result<RuleTable, Vec<(usize, usize)>> {
    let methods = |names: &[&str]| match names {
        [] => Methods::ALL,
        names => {
            let names = names.iter().map(|&name| name.to_owned()).collect();
            Methods::named(names).expect("the methods are well-formed")
        }
    };
    let rules = rules.iter().map(|(path, names)| RuleMatch { path: pattern(path), methods: methods(names) });
    RuleTable::build(rules.collect(), &Effort::default()).map_err(|invalid| match invalid {
        InvalidRules::Overlaps(overlaps) => {
            overlaps.iter().map(|overlap| (overlap.first, overlap.second)).collect()
        }
        InvalidRules::TooComplex(_) => Vec::new(),
    })
}

/// The index of the first pattern that covers a path.
fn first(patterns: Vec<PathPattern>, path: &str) -> Option<usize> {
    PathList::build(patterns, &Effort::default()).expect("the patterns are simple").first(&path.into())
}

fn covers(template: &[Segment], path: &[&str]) -> bool {
    match (template, path) {
        ([Segment::Rest, ..], _) | ([], []) => true,
        ([Segment::Literal(literal), template @ ..], [segment, path @ ..]) => {
            literal == segment && covers(template, path)
        }
        ([Segment::Parameter, template @ ..], [_, path @ ..]) => covers(template, path),
        ([], [_, ..]) | ([Segment::Literal(_) | Segment::Parameter, ..], []) => false,
    }
}

fn overlap(one: &Rule, other: &Rule) -> bool {
    let both_for_all = one.1.is_empty() && other.1.is_empty();
    one.0 == other.0 && (both_for_all || one.1.iter().any(|method| other.1.contains(method)))
}

/// Tries all rules. Returns the rule that matches, or the methods that would be allowed, or nothing.
fn reference(rules: &[Rule], path: &[&str], method: &str) -> Result<usize, Option<String>> {
    let best =
        rules.iter().map(|rule| &rule.0).filter(|template| covers(template, path)).min().ok_or(None)?;
    let same = || rules.iter().enumerate().filter(|(_, rule)| rule.0 == *best);
    let naming = |method| same().find(|(_, rule)| rule.1.contains(&method));
    let by_name = |method| naming(method).or_else(|| naming("GET").filter(|_| method == "HEAD"));
    let allowed =
        || METHODS.into_iter().filter(|method| by_name(method).is_some()).collect::<Vec<_>>().join(", ");
    let found = by_name(method).or_else(|| same().find(|(_, rule)| rule.1.is_empty()));
    found.map(|(index, _)| index).ok_or_else(|| Some(allowed()))
}

fn expression() -> impl Strategy<Value = &'static str> {
    select(vec!["/", "/a", "/a/", "/a|/b", "/a/.*", "/[ab]+", "/(a/)*b?", ".*", "/a(/.*)", "^/a$|^/b/$"])
}

proptest! {
    #![proptest_config(config(2048))]

    #[test]
    fn the_table_agrees_with_trying_all_rules(
        all in vec(rule(), 0..12),
        path in vec(select(vec!["a", "b", "c"]), 0..5),
        method in select(METHODS.to_vec()),
    ) {
        let mut rules: Vec<Rule> = Vec::new();
        for rule in all {
            if !rules.iter().any(|other| overlap(other, &rule)) {
                rules.push(rule);
            }
        }
        let table = build(&rules).expect("no rules overlap");
        let expected = reference(&rules, &path, method);
        let expected = match &expected {
            Ok(rule) => Found::Rule(*rule),
            Err(Some(allow)) => Found::MethodNotAllowed(allow),
            Err(None) => Found::None,
        };
        let inside = format!("/{}", path.join("/"));
        let with_slash = if path.is_empty() { inside.clone() } else { format!("{inside}/") };
        for inside in [inside, with_slash] {
            prop_assert_eq!(table.find(&inside.as_str().into(), method), expected, "{}", inside);
            for (template, _) in &rules {
                prop_assert_eq!(first(vec![pattern(template)], &inside).is_some(), covers(template, &path), "{}", inside);
            }
        }
    }

    #[test]
    fn each_rule_that_overlaps_is_reported_with_the_first_earlier_one(rules in vec(rule(), 0..12)) {
        let mut expected = Vec::new();
        for (second, rule) in rules.iter().enumerate() {
            let first = rules.iter().take(second).position(|other| overlap(other, rule));
            expected.extend(first.map(|first| (first, second)));
        }
        prop_assert_eq!(build(&rules).err().unwrap_or_default(), expected);
    }

    #[test]
    fn expressions_ignore_one_trailing_slash(
        regex in expression(),
        path in vec(select(vec!["a", "b"]), 1..4),
    ) {
        let pattern = PathPattern::regex(regex).expect("the expression is well-formed");
        let path = format!("/{}", path.join("/"));
        let with_slash = format!("{path}/");
        prop_assert_eq!(first(vec![pattern.clone()], &path), first(vec![pattern], &with_slash), "{} {}", regex, path);
    }

    #[test]
    fn anchors_in_the_text_change_nothing(
        regex in expression(),
        anchors in select(vec![("^(?:", ")$"), (r"\A(?:", r")\z"), ("^(?:", ")"), ("(?m)^(?:", ")$")]),
        path in vec(select(vec!["a", "b"]), 0..4),
    ) {
        let plain = PathPattern::regex(regex).expect("the expression is well-formed");
        let anchored = format!("{}{regex}{}", anchors.0, anchors.1);
        let pattern = PathPattern::regex(&anchored).expect("the expression is well-formed");
        let path = format!("/{}", path.join("/"));
        prop_assert_eq!(first(vec![plain], &path), first(vec![pattern], &path), "{} {}", anchored, path);
    }
}

/// Expressions of everything that the syntax has, over a few letters.
fn any_expression() -> impl Strategy<Value = String> {
    let atoms = vec![
        "a",
        "b",
        "/",
        "_",
        "-",
        "%",
        ".",
        "[ab]",
        "[^/]",
        "[^a]",
        "[a-z&&[^b]]",
        "[[:alpha:]]",
        r"\w",
        r"\W",
        r"\d",
        r"\b",
        r"\B",
        r"\b{start}",
        r"\b{end}",
        r"\b{start-half}",
        r"\b{end-half}",
        "^",
        "$",
        r"\A",
        r"\z",
        "(?m:^)",
        "(?m:$)",
        "(?i:A)",
        "(?s:.)",
        "(?R:$)",
        "()",
        r"\x61",
        "ab",
        "/a/",
        "[^[:ascii:]]",
    ];
    let atom = select(atoms).prop_map(str::to_owned);
    atom.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            4 => vec(inner.clone(), 1..4).prop_map(|parts| parts.concat()),
            2 => vec(inner.clone(), 1..4).prop_map(|ways| format!("({})", ways.join("|"))),
            3 => (inner, select(vec!["*", "+", "?", "*?", "+?", "??", "{2}", "{0}", "{1,2}", "{2,}", "{0,3}?"]))
                .prop_map(|(inner, times)| format!("(?:{inner}){times}")),
        ]
    })
}

/// The expression as the `regex` crate reads it, for a whole path.
fn reference_expression(text: &str) -> Regex {
    let whole = format!(r"\A(?:{text})\z");
    RegexBuilder::new(&whole).unicode(false).build().expect("the expression is well-formed")
}

proptest! {
    #![proptest_config(config(4096))]

    #[test]
    fn expressions_match_as_the_regex_crate_says(
        texts in vec(any_expression(), 1..6),
        paths in vec("/|(/[ab_%-]{0,4}){1,4}", 8),
    ) {
        let patterns = texts.iter().map(|text| PathPattern::regex(text).expect("the expression is well-formed"));
        let list = PathList::build(patterns.collect(), &Effort::default()).expect("the expressions are simple");
        let reference: Vec<Regex> = texts.iter().map(|text| reference_expression(text)).collect();
        for path in paths {
            let path = path.replace("//", "/");
            let bare = path.strip_suffix('/').filter(|bare| !bare.is_empty()).unwrap_or(&path).to_owned();
            let with_slash = if path == "/" { path.clone() } else { format!("{bare}/") };
            let matches = |regex: &Regex| regex.is_match(bare.as_bytes()) || regex.is_match(with_slash.as_bytes());
            prop_assert_eq!(list.first(&path.as_str().into()), reference.iter().position(matches), "{:?} on {}", texts, path);
        }
    }
}
