//! Metering rules: which requests count, for which metric, and how much. Unlike access rules, all matching
//! rules apply.

use super::{MetricId, methods::Methods, pattern::PathPattern, prefix::PrefixPattern};

/// The metering rules of an API, in order.
#[derive(Clone, Debug, Default)]
pub struct Metering(Vec<MeteringRule>);

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
pub enum MeteringPath {
    /// A template or an expression, as in access rules.
    Pattern(PathPattern),
    /// The pattern of a 3scale mapping rule.
    Prefix(PrefixPattern),
}

/// The condition on a query parameter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum QueryValue {
    /// Any value, even an empty one.
    Any,
    /// Exactly this value, decoded.
    Exactly(String),
}

impl Metering {
    /// Keeps the rules in this order.
    pub fn new(mut rules: Vec<MeteringRule>) -> Self {
        let names_head = |rule: &&MeteringRule| rule.methods.names().iter().any(|name| name == "HEAD");
        let heads: Vec<_> = rules.iter().filter(names_head).cloned().collect();
        for rule in &mut rules {
            if !heads.iter().any(|head| head.path == rule.path && head.query == rule.query) {
                rule.methods.cover_head();
            }
        }
        Self(rules)
    }

    /// The rules that apply to a request, with their indexes: all matching rules, up to the first with
    /// `last`.
    ///
    /// `inside` is the normalised path inside the API, and `query` the text after the `?`.
    pub fn matching<'a>(
        &'a self,
        inside: &'a str,
        query: Option<&'a str>,
        method: &'a str,
    ) -> impl Iterator<Item = (usize, &'a MeteringRule)> {
        let mut rules = self.0.iter().enumerate();
        let mut stopped = false;
        std::iter::from_fn(move || {
            if stopped {
                return None;
            }
            let (index, rule) = rules.find(|(_, rule)| rule.matches(inside, query, method))?;
            stopped = rule.last;
            Some((index, rule))
        })
    }
}

impl MeteringRule {
    fn matches(&self, inside: &str, query: Option<&str>, method: &str) -> bool {
        self.methods.contain(method)
            && self.path.matches(inside)
            && self.query.iter().all(|(name, value)| {
                // One matching value is enough: otherwise, a second value could hide a request from the rule.
                form_urlencoded::parse(query.unwrap_or_default().as_bytes())
                    .any(|(key, given)| key == *name && value.admits(&given))
            })
    }
}

impl MeteringPath {
    fn matches(&self, inside: &str) -> bool {
        match self {
            Self::Pattern(pattern) => pattern.matches(inside),
            Self::Prefix(prefix) => prefix.matches(inside),
        }
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

    fn admits(&self, given: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Exactly(value) => value == given,
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
            Some(text) => MeteringPath::Prefix(PrefixPattern::parse(text).unwrap()),
            None => MeteringPath::Pattern(PathPattern::template(path).unwrap()),
        };
        MeteringRule { path, methods, query: Vec::new(), metric: metric(number), by, last: false }
    }

    fn matching(metering: &Metering, method: &str, target: &str) -> Vec<usize> {
        let (path, query) =
            target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
        metering.matching(path, query, method).map(|(index, _)| index).collect()
    }

    #[test]
    fn all_matching_rules_count_up_to_the_first_with_last() {
        let last = MeteringRule { last: true, ..rule("GET", "/orders/{id}", 1, 5) };
        let metering = Metering::new(vec![rule("*", "/**", 0, 1), last, rule("*", "^/orders", 0, 2)]);
        assert_eq!(matching(&metering, "GET", "/orders/7"), [0, 1]);
        assert_eq!(matching(&metering, "PUT", "/orders/7"), [0, 2]);
        assert_eq!(matching(&metering, "GET", "/orders"), [0, 2]);
        assert_eq!(matching(&metering, "GET", "/x"), [0]);
        let found: Vec<_> =
            metering.matching("/orders/7", None, "GET").map(|(_, rule)| (rule.metric, rule.by)).collect();
        assert_eq!(found, [(metric(0), 1), (metric(1), 5)]);
    }

    #[test]
    fn get_covers_head_unless_a_rule_for_the_same_path_lists_it() {
        let metering = Metering::new(vec![
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
    fn query_parameters_must_be_present() {
        let query = |name: &str, value: &str| (name.to_owned(), QueryValue::parse(value));
        let metering = Metering::new(vec![
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
