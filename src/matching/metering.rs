//! Metering rules: which requests count, for which metric, and how much. Unlike access rules, all matching
//! rules apply.

use std::{collections::HashMap, rc::Rc};

use regex_syntax::hir::Hir;

use super::{
    MetricId,
    automaton::Keep,
    expressions::{Effort, Expressions, MOST_BYTES, MOST_CONDITIONS, MOST_PATHS, TooComplex},
    methods::Methods,
    pattern::InvalidPath,
    prefix::PrefixPattern,
    template::{InsidePath, PathTemplate},
};
use crate::query::{Names, Query};

/// The metering rules of an API, in order.
#[derive(Clone, Debug, Default)]
pub struct Metering {
    rules: Vec<MeteringRule>,
    /// The conditions of each rule, by their numbers.
    needs: Vec<Vec<usize>>,
    conditions: Conditions,
    prefixes: Expressions,
    /// The rule of each prefix.
    prefix_rules: Vec<usize>,
}

/// One metering rule: which requests count, for which metric, and how much.
#[derive(Clone, Debug)]
pub struct MeteringRule {
    /// The pattern as it is written, with its conditions on the query, in characters that headers can carry.
    pub name: Box<str>,
    /// Paths inside the API.
    pub path: MeteringPath,
    /// Methods. With a template, `GET` covers `HEAD` unless a rule for the same path and query lists `HEAD`.
    pub methods: Methods,
    /// Query parameters that must be present, by decoded name.
    pub query: Vec<(String, QueryValue)>,
    /// The metrics that are counted, and how much a request adds to each.
    pub usages: Vec<(MetricId, u64)>,
    /// Whether later rules are skipped when this one matches.
    pub last: bool,
}

/// Which paths a metering rule covers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MeteringPath(Kind);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    Template(PathTemplate),
    Prefix(PrefixPattern),
}

/// The condition on a query parameter.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum QueryValue {
    /// Any value, even an empty one.
    Any,
    /// Exactly this value, decoded.
    Exactly(String),
}

/// The parameters that rules have conditions on. A query is read once for all of them.
#[derive(Clone, Debug, Default)]
struct Conditions {
    names: Names,
    /// By the number of the name.
    by_name: Vec<Values>,
    count: usize,
    /// Whether a condition is on the last value.
    ask_last: bool,
}

/// The conditions on one parameter.
#[derive(Clone, Debug, Default)]
struct Values {
    /// The condition that any value meets.
    any: Option<usize>,
    /// The condition that a value meets.
    exactly: Names,
    /// The condition that a value meets if no other follows it.
    last: Names,
}

impl Metering {
    /// Keeps the rules in this order.
    ///
    /// # Errors
    ///
    /// Matching them would take too long. An index is one of `rules`.
    pub fn new(mut rules: Vec<MeteringRule>, effort: &Effort) -> Result<Self, TooComplex> {
        if rules.len() > MOST_PATHS {
            return Err(TooComplex::TooManyPaths);
        }
        if rules.iter().map(|rule| rule.query.len()).sum::<usize>() > MOST_CONDITIONS {
            return Err(TooComplex::TooManyConditions);
        }
        if rules.iter().map(|rule| rule.usages.len()).sum::<usize>() > MOST_PATHS {
            return Err(TooComplex::TooManyMetrics);
        }
        let bytes = |rule: &MeteringRule| match &rule.path.0 {
            Kind::Template(template) => template.bytes(),
            Kind::Prefix(_) => 0,
        };
        if rules.iter().map(bytes).fold(0, usize::saturating_add) > MOST_BYTES {
            return Err(TooComplex::TooLong);
        }
        let names_head = |rule: &&MeteringRule| rule.methods.names().iter().any(|name| name == "HEAD");
        let heads: Vec<_> = rules.iter().filter(names_head).cloned().collect();
        for rule in rules.iter_mut().filter(|rule| !rule.is_prefix()) {
            if !heads.iter().any(|head| head.path == rule.path && head.query == rule.query) {
                rule.methods.cover_head();
            }
        }
        let mut prefixes: Vec<Rc<Hir>> = Vec::new();
        let mut prefix_rules = Vec::new();
        for (index, rule) in rules.iter().enumerate() {
            if let Kind::Prefix(prefix) = &rule.path.0 {
                prefixes.push(Rc::clone(&prefix.hir));
                prefix_rules.push(index);
            }
        }
        let prefixes = Expressions::compile(&prefixes, Keep::All, effort)
            .map_err(|error| error.at(|prefix| prefix_rules.get(prefix).copied()))?;
        let (conditions, needs) = Conditions::of(&rules);
        Ok(Self { rules, needs, conditions, prefixes, prefix_rules })
    }

    /// The rule at an index.
    pub fn get(&self, index: usize) -> Option<&MeteringRule> {
        self.rules.get(index)
    }

    /// Whether a rule has a condition on the query.
    pub fn reads_query(&self) -> bool {
        !self.conditions.names.is_empty()
    }

    /// The rules that apply to a request, with their indexes: all matching rules, up to the first with
    /// `last`.
    ///
    /// The query is read only if it decides.
    pub fn matching<'a>(
        &'a self,
        inside: &'a InsidePath<'_>,
        query: &'a Query<'_>,
        method: &'a str,
    ) -> impl Iterator<Item = (usize, &'a MeteringRule)> {
        let mut covered = Vec::new();
        self.prefixes.all(inside.text(), |prefix| covered.extend(self.prefix_rules.get(prefix)));
        let mut met = None;
        let mut rules = self.rules.iter().enumerate();
        let mut stopped = false;
        std::iter::from_fn(move || {
            if stopped {
                return None;
            }
            let (index, rule) = rules.find(|(index, rule)| {
                let covers = match &rule.path.0 {
                    Kind::Template(template) => template.covers(inside),
                    Kind::Prefix(_) => covered.binary_search(index).is_ok(),
                };
                let needs = self.needs.get(*index).map(Vec::as_slice).unwrap_or_default();
                covers
                    && rule.methods.contain(method)
                    && (needs.is_empty() || {
                        let met: &Vec<bool> = met.get_or_insert_with(|| self.conditions.met(query));
                        needs.iter().all(|need| met.get(*need) == Some(&true))
                    })
            })?;
            stopped = rule.last;
            Some((index, rule))
        })
    }
}

impl MeteringRule {
    /// Whether the rule is read as a mapping rule of 3scale.
    const fn is_prefix(&self) -> bool {
        matches!(self.path.0, Kind::Prefix(_))
    }
}

impl Conditions {
    /// The conditions of all rules, and those of each rule.
    fn of(rules: &[MeteringRule]) -> (Self, Vec<Vec<usize>>) {
        let mut names: Vec<&str> = Vec::new();
        let mut values: Vec<BuildingValues> = Vec::new();
        let mut numbers: HashMap<(&str, &QueryValue, bool), usize> = HashMap::new();
        let mut places: HashMap<&str, usize> = HashMap::new();
        let mut needs = Vec::with_capacity(rules.len());
        let mut ask_last = false;
        for rule in rules {
            let mut of_rule = Vec::with_capacity(rule.query.len());
            for (name, value) in &rule.query {
                let is_last = rule.is_prefix() && *value != QueryValue::Any;
                ask_last |= is_last;
                let next = numbers.len();
                let number = *numbers.entry((name, value, is_last)).or_insert(next);
                of_rule.push(number);
                let place = *places.entry(name).or_insert(names.len());
                if place == names.len() {
                    names.push(name);
                    values.push(BuildingValues::default());
                }
                let Some(values) = values.get_mut(place) else { continue };
                match value {
                    QueryValue::Any => values.any = Some(number),
                    QueryValue::Exactly(value) if is_last => values.last.push((value, number)),
                    QueryValue::Exactly(value) => values.exactly.push((value, number)),
                }
            }
            needs.push(of_rule);
        }
        let by_name = values.into_iter().map(BuildingValues::finish).collect();
        let names = Names::new(names.iter().enumerate().map(|(place, name)| (*name, place)));
        (Self { names, by_name, count: numbers.len(), ask_last }, needs)
    }

    /// For each condition, whether the query meets it. For templates, one matching value is enough:
    /// otherwise, a second value could hide a request from a rule. For prefixes, the last value decides, as
    /// in 3scale.
    fn met(&self, query: &Query<'_>) -> Vec<bool> {
        let mut met = vec![false; self.count];
        let mut meet = |condition: Option<usize>| {
            if let Some(met) = condition.and_then(|condition| met.get_mut(condition)) {
                *met = true;
            }
        };
        let mut room = Vec::new();
        // The last value of each name.
        let mut last = vec![None; if self.ask_last { self.by_name.len() } else { 0 }];
        for parameter in query.parameters() {
            if parameter.pair.is_empty() {
                continue;
            }
            let Some(name) = self.names.find(&parameter.name) else { continue };
            let Some(values) = self.by_name.get(name) else { continue };
            last.get_mut(name).into_iter().for_each(|last| *last = Some(parameter.value));
            meet(values.any);
            if !values.exactly.is_empty() {
                meet(values.exactly.find_encoded(parameter.value, &mut room));
            }
        }
        for (values, last) in self.by_name.iter().zip(last) {
            meet(last.and_then(|last| values.last.find_encoded(last, &mut room)));
        }
        met
    }
}

/// The conditions on one parameter, while they are collected.
#[derive(Default)]
struct BuildingValues<'r> {
    any: Option<usize>,
    exactly: Vec<(&'r str, usize)>,
    last: Vec<(&'r str, usize)>,
}

impl BuildingValues<'_> {
    fn finish(self) -> Values {
        Values { any: self.any, exactly: Names::new(self.exactly), last: Names::new(self.last) }
    }
}

impl MeteringPath {
    /// A template, as in access rules.
    pub fn template(text: &str) -> Result<Self, InvalidPath> {
        PathTemplate::parse(text).map(|template| Self(Kind::Template(template)))
    }

    /// The pattern of a 3scale mapping rule, without its query part. It is a prefix: `/auto` covers
    /// `/automatic`. `{anything}` matches one or more characters within a segment, and a final `$` matches
    /// the end of the path.
    pub fn prefix(text: &str) -> Result<Self, InvalidPath> {
        PrefixPattern::parse(text).map(|prefix| Self(Kind::Prefix(prefix)))
    }
}

impl QueryValue {
    /// Reads a value: `{anything}` means any value, everything else is literal.
    pub fn parse(text: &str) -> Self {
        let placeholder = text.strip_prefix('{').and_then(|text| text.strip_suffix('}'));
        if placeholder.is_some_and(|name| !name.is_empty()) {
            Self::Any
        } else {
            Self::Exactly(text.to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    #[cfg(all(target_family = "wasm", target_os = "unknown"))]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::{super::Metrics, *};

    fn metric(number: usize) -> MetricId {
        let metrics = Metrics::new(&[("a", None), ("b", None)]).unwrap();
        metrics.find(["a", "b"][number]).unwrap()
    }

    fn rule(methods: &str, path: &str, number: usize, by: u64) -> MeteringRule {
        let methods = match methods {
            "*" => Methods::ALL,
            names => Methods::named(names.split(',').map(str::to_owned).collect()).unwrap(),
        };
        let path = match path.strip_prefix('^') {
            Some(text) => MeteringPath::prefix(text).unwrap(),
            None => MeteringPath::template(path).unwrap(),
        };
        MeteringRule {
            name: "".into(),
            path,
            methods,
            query: Vec::new(),
            usages: vec![(metric(number), by)],
            last: false,
        }
    }

    fn build(rules: Vec<MeteringRule>) -> Metering {
        Metering::new(rules, &Effort::default()).unwrap()
    }

    fn matching(metering: &Metering, method: &str, target: &str) -> Vec<usize> {
        let (path, query) =
            target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
        metering.matching(&path.into(), &Query::new(query), method).map(|(index, _)| index).collect()
    }

    #[test]
    fn all_matching_rules_count_up_to_the_first_with_last() {
        let last = MeteringRule { last: true, ..rule("GET", "/orders/{id}", 1, 5) };
        let metering = build(vec![rule("*", "/**", 0, 1), last, rule("*", "^/orders", 0, 2)]);
        assert_eq!(matching(&metering, "GET", "/orders/7"), [0, 1]);
        assert_eq!(matching(&metering, "PUT", "/orders/7"), [0, 2]);
        assert_eq!(matching(&metering, "GET", "/orders"), [0, 2]);
        assert_eq!(matching(&metering, "GET", "/x"), [0]);
        let found: Vec<_> = metering
            .matching(&"/orders/7".into(), &Query::default(), "GET")
            .flat_map(|(_, rule)| rule.usages.clone())
            .collect();
        assert_eq!(found, [(metric(0), 1), (metric(1), 5)]);
    }

    #[test]
    fn get_covers_head_unless_a_rule_for_the_same_path_lists_it() {
        let metering = build(vec![
            rule("GET", "/a", 0, 1),
            rule("GET", "/{b}", 0, 1),
            rule("HEAD,PUT", "/{x}", 0, 1),
            rule("*", "/{y}", 0, 1),
            MeteringRule { query: vec![("q".to_owned(), QueryValue::Any)], ..rule("HEAD", "/a", 0, 1) },
        ]);
        assert_eq!(matching(&metering, "HEAD", "/a"), [0, 2, 3]);
        assert_eq!(matching(&metering, "GET", "/a"), [0, 1, 3]);
        assert_eq!(matching(&metering, "HEAD", "/a?q=1"), [0, 2, 3, 4]);
        assert_eq!(matching(&metering, "HEAD", "/b"), [2, 3]);
    }

    /// Mapping rules of 3scale, one property each. A rule is a method, a pattern with its query part, and
    /// amounts of the metrics `a` and `b`. The expected sums are those of APIcast.
    #[test]
    fn mapping_rules_count_as_in_3scale() {
        type Rule = (&'static str, &'static str, &'static [(usize, u64)]);
        type Row = (&'static [Rule], &'static str, &'static str, Option<[u64; 2]>);
        const A: &[(usize, u64)] = &[(0, 1)];
        const B: &[(usize, u64)] = &[(1, 1)];
        let rows: &[Row] = &[
            // Anchored at the start only.
            (&[("GET", "/", A)], "GET", "/anything/below", Some([1, 0])),
            (&[("GET", "/auto", A)], "GET", "/auto-matic", Some([1, 0])),
            (&[("GET", "/auto", A)], "GET", "/x/auto", None),
            (&[("GET", "/auto", A)], "GET", "/Auto", None),
            // `$` is the end, and nothing may follow it, not even a slash.
            (&[("GET", "/auto$", A)], "GET", "/auto", Some([1, 0])),
            (&[("GET", "/auto$", A)], "GET", "/auto/", None),
            (&[("GET", "/auto/$", A)], "GET", "/auto/", Some([1, 0])),
            (&[("GET", "/$", A)], "GET", "/", Some([1, 0])),
            (&[("GET", "/$", A)], "GET", "/a", None),
            // Slashes collapse in patterns; paths are normalised before.
            (&[("GET", "//auto///x", A)], "GET", "/auto/x", Some([1, 0])),
            // `{x}` is one segment, or a part of one, and never empty.
            (&[("GET", "/a/{id}/b", A)], "GET", "/a/7~x;y=1,@/b", Some([1, 0])),
            (&[("GET", "/a/{id}/b", A)], "GET", "/a/7/8/b", None),
            (&[("GET", "/a/{id}", A)], "GET", "/a/", None),
            (&[("GET", "/a/{id}.json$", A)], "GET", "/a/7.json", Some([1, 0])),
            // A dot is a dot.
            (&[("GET", "/a.b", A)], "GET", "/axb", None),
            // Methods are equal, or there is none in the rule.
            (&[("GET", "/", A)], "HEAD", "/", None),
            (&[("GET", "/", A)], "get", "/", None),
            (&[("*", "/", A)], "PURGE", "/", Some([1, 0])),
            // Query: literal values are equal, in any order; the last of a repeated parameter counts.
            (&[("GET", "/a?x=1&y=2", A)], "GET", "/a?y=2&z=3&x=1", Some([1, 0])),
            (&[("GET", "/a?x=1", A)], "GET", "/a?x=10", None),
            (&[("GET", "/a?x=1", A)], "GET", "/a", None),
            (&[("GET", "/a?x=1", A)], "GET", "/a?x=2&x=1", Some([1, 0])),
            (&[("GET", "/a?x=1", A)], "GET", "/a?x=1&x=2", None),
            (&[("GET", "/a?x=1", A)], "GET", "/a?x=1&x", None),
            (&[("GET", "/a?x=b c", A)], "GET", "/a?x=0&x=b+c", Some([1, 0])),
            // `{x}` in a query: the parameter is present.
            (&[("GET", "/a?x={v}", A)], "GET", "/a?x=", Some([1, 0])),
            (&[("GET", "/a?x={v}&y=2", A)], "GET", "/a?x=7&x=8&y=2", Some([1, 0])),
            (&[("GET", "/a?x={v}", A)], "GET", "/a?y=1", None),
            // Amounts add up, also of one metric; a rule may have several metrics, and amounts of 0.
            (&[("GET", "/", A), ("GET", "/a", A), ("GET", "/a", &[(1, 5)])], "GET", "/a", Some([2, 5])),
            (&[("GET", "/", &[(0, 2), (1, 3)])], "GET", "/", Some([2, 3])),
            (&[("GET", "/", &[(0, 0)])], "GET", "/", Some([0, 0])),
            (&[("GET", "/", &[(0, 0), (1, 1)])], "GET", "/", Some([0, 1])),
            // `last` (here `!`) stops after a match, in the order of the list, and only then.
            (&[("GET!", "/a", A), ("GET", "/", B)], "GET", "/a", Some([1, 0])),
            (&[("GET!", "/a", A), ("GET", "/", B)], "GET", "/b", Some([0, 1])),
            (&[("GET", "/", B), ("GET!", "/a", A)], "GET", "/a", Some([1, 1])),
            (&[("PUT!", "/a", A), ("GET", "/", B)], "GET", "/a", Some([0, 1])),
        ];
        for (rules, method, target, expected) in rows {
            let rules = rules.iter().map(|(methods, pattern, usages)| {
                let (methods, last) =
                    methods.strip_suffix('!').map_or((*methods, false), |name| (name, true));
                let (path, query) = pattern.split_once('?').unwrap_or((pattern, ""));
                let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
                let query = pairs.map(|(name, value)| (name.to_owned(), QueryValue::parse(value))).collect();
                let usages = usages.iter().map(|(number, by)| (metric(*number), *by)).collect();
                MeteringRule { query, usages, last, ..rule(methods, &format!("^{path}"), 0, 0) }
            });
            let metering = build(rules.collect());
            let (path, query) =
                target.split_once('?').map_or((*target, None), |(path, query)| (path, Some(query)));
            let query = Query::new(query);
            let inside = path.into();
            let matched: Vec<_> = metering.matching(&inside, &query, method).collect();
            let sum = |number: usize| {
                let usages = matched.iter().flat_map(|(_, rule)| &rule.usages);
                usages.filter(|(id, _)| *id == metric(number)).map(|(_, by)| by).sum()
            };
            let counted = (!matched.is_empty()).then(|| [sum(0), sum(1)]);
            assert_eq!(counted, *expected, "{method} {target}");
        }
    }

    #[test]
    fn what_would_take_too_long_is_an_error() {
        let build = |rules: Vec<MeteringRule>| Metering::new(rules, &Effort::default()).map(|_| ());
        assert_eq!(build(vec![rule("*", "^/{a}/b", 0, 1); 1_000]), Ok(()));
        assert_eq!(build(vec![rule("*", "/**", 0, 1); 1_001]), Err(TooComplex::TooManyPaths));
        let asking = |count: usize| MeteringRule {
            query: (0..count).map(|name| (name.to_string(), QueryValue::Any)).collect(),
            ..rule("*", "/**", 0, 1)
        };
        assert_eq!(build(vec![asking(4_000)]), Ok(()));
        assert_eq!(build(vec![asking(4_000), asking(1)]), Err(TooComplex::TooManyConditions));
        let counting =
            |count: usize| MeteringRule { usages: vec![(metric(0), 1); count], ..rule("*", "/**", 0, 1) };
        assert_eq!(build(vec![counting(1_000)]), Ok(()));
        assert_eq!(build(vec![counting(1_000), counting(1)]), Err(TooComplex::TooManyMetrics));
        let long = "/".to_owned() + &"a".repeat(1_023);
        assert_eq!(build(vec![rule("*", &long, 0, 1); 64]), Ok(()));
        assert_eq!(build(vec![rule("*", &long, 0, 1); 65]), Err(TooComplex::TooLong));
        // Each can match with or without each of the others.
        let parts = |count: u32| (0..count).map(|n| rule("*", &format!("^/{{x}}.{n}."), 0, 1)).collect();
        assert_eq!(build(parts(20)), Ok(()));
        assert_eq!(build(parts(100)), Err(TooComplex::Together));
    }

    #[test]
    fn query_parameters_must_be_present() {
        let query = |name: &str, value: &str| (name.to_owned(), QueryValue::parse(value));
        let metering = build(vec![
            MeteringRule { query: vec![query("type", "big one")], ..rule("*", "/**", 0, 1) },
            MeteringRule {
                query: vec![query("type", "{any}"), query("id", "{id}")],
                ..rule("*", "/**", 0, 1)
            },
        ]);
        for (target, found) in [
            ("/", &[][..]),
            ("/?", &[]),
            ("/?type", &[]),
            ("/?type=big", &[]),
            ("/?type=big+one", &[0]),
            ("/?type=big%20one&id", &[0, 1]),
            ("/?id=&ty%70e=x", &[1]),
            ("/?type=x&type=big+one", &[0]),
            ("/?type=big+one&type=x", &[0]),
            ("/?Type=big+one", &[]),
        ] {
            assert_eq!(matching(&metering, "GET", target), found, "{target}");
        }
        assert_eq!(QueryValue::parse("{}"), QueryValue::Exactly("{}".to_owned()));
    }
}
