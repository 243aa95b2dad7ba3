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
    template::{PathTemplate, Segments},
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
    /// Paths inside the API.
    pub path: MeteringPath,
    /// Methods; `GET` covers `HEAD` unless a rule for the same path and query lists `HEAD`.
    pub methods: Methods,
    /// Query parameters that must be present, by decoded name.
    pub query: Vec<(String, QueryValue)>,
    /// The metric that is counted.
    pub metric: MetricId,
    /// How much a request adds.
    pub by: u64,
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
}

/// The conditions on one parameter.
#[derive(Clone, Debug, Default)]
struct Values {
    /// The condition that any value meets.
    any: Option<usize>,
    /// The condition that a value meets.
    exactly: Names,
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
        let bytes = |rule: &MeteringRule| match &rule.path.0 {
            Kind::Template(template) => template.bytes(),
            Kind::Prefix(_) => 0,
        };
        if rules.iter().map(bytes).fold(0, usize::saturating_add) > MOST_BYTES {
            return Err(TooComplex::TooLong);
        }
        let names_head = |rule: &&MeteringRule| rule.methods.names().iter().any(|name| name == "HEAD");
        let heads: Vec<_> = rules.iter().filter(names_head).cloned().collect();
        for rule in &mut rules {
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

    /// Whether a rule has a condition on the query.
    pub fn reads_query(&self) -> bool {
        !self.conditions.names.is_empty()
    }

    /// The rules that apply to a request, with their indexes: all matching rules, up to the first with
    /// `last`.
    ///
    /// `inside` is the normalised path inside the API. The query is read only if it decides.
    pub fn matching<'a>(
        &'a self,
        inside: &'a str,
        query: &'a Query<'_>,
        method: &'a str,
    ) -> impl Iterator<Item = (usize, &'a MeteringRule)> {
        let requested = Segments::of(inside);
        let mut covered = Vec::new();
        self.prefixes.all(inside, |prefix| covered.extend(self.prefix_rules.get(prefix)));
        let mut met = None;
        let mut rules = self.rules.iter().enumerate();
        let mut stopped = false;
        std::iter::from_fn(move || {
            if stopped {
                return None;
            }
            let (index, rule) = rules.find(|(index, rule)| {
                let covers = match &rule.path.0 {
                    Kind::Template(template) => template.covers(&requested),
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

impl Conditions {
    /// The conditions of all rules, and those of each rule.
    fn of(rules: &[MeteringRule]) -> (Self, Vec<Vec<usize>>) {
        let mut names: Vec<&str> = Vec::new();
        let mut exactly: Vec<Vec<(&str, usize)>> = Vec::new();
        let mut any: Vec<Option<usize>> = Vec::new();
        let mut numbers: HashMap<(&str, &QueryValue), usize> = HashMap::new();
        let mut places: HashMap<&str, usize> = HashMap::new();
        let mut needs = Vec::with_capacity(rules.len());
        for rule in rules {
            let mut of_rule = Vec::with_capacity(rule.query.len());
            for (name, value) in &rule.query {
                let next = numbers.len();
                let number = *numbers.entry((name, value)).or_insert(next);
                of_rule.push(number);
                let place = *places.entry(name).or_insert(names.len());
                if place == names.len() {
                    names.push(name);
                    exactly.push(Vec::new());
                    any.push(None);
                }
                match value {
                    QueryValue::Any => any.get_mut(place).into_iter().for_each(|any| *any = Some(number)),
                    QueryValue::Exactly(value) => {
                        exactly.get_mut(place).into_iter().for_each(|values| values.push((value, number)));
                    }
                }
            }
            needs.push(of_rule);
        }
        let by_name = any.into_iter().zip(exactly);
        let by_name = by_name.map(|(any, exactly)| Values { any, exactly: Names::new(exactly) }).collect();
        let names = Names::new(names.iter().enumerate().map(|(place, name)| (*name, place)));
        (Self { names, by_name, count: numbers.len() }, needs)
    }

    /// For each condition, whether the query meets it. One matching value is enough: otherwise, a second
    /// value could hide a request from a rule.
    fn met(&self, query: &Query<'_>) -> Vec<bool> {
        let mut met = vec![false; self.count];
        let mut meet = |condition: Option<usize>| {
            if let Some(met) = condition.and_then(|condition| met.get_mut(condition)) {
                *met = true;
            }
        };
        let mut room = Vec::new();
        for parameter in query.parameters() {
            if parameter.pair.is_empty() {
                continue;
            }
            let name = self.names.find(&parameter.name);
            let Some(values) = name.and_then(|name| self.by_name.get(name)) else { continue };
            meet(values.any);
            if !values.exactly.is_empty() {
                meet(values.exactly.find_encoded(parameter.value, &mut room));
            }
        }
        met
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
        MeteringRule { path, methods, query: Vec::new(), metric: metric(number), by, last: false }
    }

    fn build(rules: Vec<MeteringRule>) -> Metering {
        Metering::new(rules, &Effort::default()).unwrap()
    }

    fn matching(metering: &Metering, method: &str, target: &str) -> Vec<usize> {
        let (path, query) =
            target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
        metering.matching(path, &Query::new(query), method).map(|(index, _)| index).collect()
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
            .matching("/orders/7", &Query::default(), "GET")
            .map(|(_, rule)| (rule.metric, rule.by))
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
