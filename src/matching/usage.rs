//! Metrics and their tree, and what one request uses of them.

use std::collections::{HashMap, HashSet};

use smallvec::SmallVec;

/// The longest name of a metric, in bytes.
const NAME_MAX: usize = 64;

/// The most metrics between a metric and the root of its tree, both included. Each of them is counted for
/// each request.
const MOST_GENERATIONS: usize = 16;

/// The metrics of a policy: a tree in which usage of a child counts for all its ancestors.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    list: Vec<Metric>,
    by_name: HashMap<Box<str>, MetricId>,
}

#[derive(Clone, Debug)]
struct Metric {
    name: Box<str>,
    /// The metric itself, its parent, and so on up.
    lineage: Box<[MetricId]>,
}

/// A metric in the [`Metrics`] that it was found in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MetricId(usize);

/// Why a metric cannot be part of the tree.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidMetric {
    /// The name cannot be used in headers and in the counters' identities.
    #[error(
        "invalid name of a metric `{metric}`: expected 1 to {NAME_MAX} ASCII letters, digits, `.`, `_` or `-`"
    )]
    Name {
        /// The metric.
        metric: String,
    },
    /// Two metrics with the same name.
    #[error("metric `{metric}` is declared twice")]
    Duplicate {
        /// The metric.
        metric: String,
    },
    /// The parent is not a metric.
    #[error("parent `{parent}` of metric `{metric}` is not declared")]
    UnknownParent {
        /// The metric.
        metric: String,
        /// The name of the parent.
        parent: String,
    },
    /// The metric has too many ancestors.
    #[error("metric `{metric}` has more than {} ancestors", MOST_GENERATIONS - 1)]
    TooDeep {
        /// The metric.
        metric: String,
    },
    /// The metric is its own ancestor; reported for each metric of the cycle.
    #[error("metric `{metric}` is its own ancestor")]
    Cycle {
        /// The metric.
        metric: String,
    },
}

impl InvalidMetric {
    /// The metric whose declaration is wrong.
    pub fn metric(&self) -> &str {
        match self {
            Self::Name { metric }
            | Self::Duplicate { metric }
            | Self::UnknownParent { metric, parent: _ }
            | Self::TooDeep { metric }
            | Self::Cycle { metric } => metric,
        }
    }
}

impl Metrics {
    /// The tree of the declared metrics, each given by its name and the name of its parent, if it has one.
    /// Fails with all problems, in the order of declaration.
    pub fn new(declared: &[(&str, Option<&str>)]) -> Result<Self, Vec<InvalidMetric>> {
        let mut ids = HashMap::with_capacity(declared.len());
        for (id, (name, _)) in declared.iter().enumerate() {
            ids.entry(*name).or_insert(MetricId(id));
        }
        let mut metrics = Self::default();
        let mut errors = Vec::new();
        for (id, (name, parent)) in declared.iter().enumerate() {
            let id = MetricId(id);
            let metric = (*name).to_owned();
            if !is_name(name) {
                errors.push(InvalidMetric::Name { metric });
                continue;
            }
            if ids.get(name) != Some(&id) {
                errors.push(InvalidMetric::Duplicate { metric });
                continue;
            }
            if let Some(parent) = parent.filter(|parent| !ids.contains_key(parent)) {
                errors.push(InvalidMetric::UnknownParent { metric, parent: parent.to_owned() });
                continue;
            }
            let up = |child: &MetricId| declared.get(child.0)?.1.and_then(|parent| ids.get(parent)).copied();
            // One more than may be, so that a lineage that is too long shows.
            let most = MOST_GENERATIONS.saturating_add(1);
            let lineage: Box<[_]> = std::iter::successors(Some(id), up).take(most).collect();
            if lineage.iter().any(|ancestor| up(ancestor) == Some(id)) {
                errors.push(InvalidMetric::Cycle { metric });
                continue;
            }
            // Below a cycle, only the metrics of the cycle are at fault.
            let is_below_cycle = || lineage.iter().collect::<HashSet<_>>().len() < lineage.len();
            if lineage.len() > MOST_GENERATIONS && !is_below_cycle() {
                errors.push(InvalidMetric::TooDeep { metric });
                continue;
            }
            metrics.by_name.insert((*name).into(), id);
            metrics.list.push(Metric { name: (*name).into(), lineage });
        }
        if errors.is_empty() { Ok(metrics) } else { Err(errors) }
    }

    /// The metric called `name`.
    pub fn find(&self, name: &str) -> Option<MetricId> {
        self.by_name.get(name).copied()
    }

    /// The metric's name.
    pub fn name(&self, id: MetricId) -> &str {
        self.list.get(id.0).map_or("", |metric| &metric.name)
    }

    /// The metrics that usage of this metric counts for: itself, its parent, and so on up.
    pub fn lineage(&self, id: MetricId) -> &[MetricId] {
        self.list.get(id.0).map_or(&[], |metric| &metric.lineage)
    }
}

/// What one request uses: an amount of each of a few metrics, including ancestors, in the order of metrics.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Usage(SmallVec<[Used; 4]>);

/// What one request uses of one metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Used {
    metric: MetricId,
    /// With what is used of metrics below it.
    amount: u64,
    /// Without that; absent if only metrics below it are used.
    own: Option<u64>,
}

impl Usage {
    /// No usage.
    pub const fn new() -> Self {
        Self(SmallVec::new_const())
    }

    /// Adds `by` to the usage of the metric and of all its ancestors.
    pub fn add(&mut self, metrics: &Metrics, metric: MetricId, by: u64) {
        for id in metrics.lineage(metric) {
            let is_own = *id == metric;
            if by == 0 && !is_own {
                return;
            }
            let place = self.place(*id).unwrap_or_else(|place| {
                self.0.insert(place, Used { metric: *id, amount: 0, own: None });
                place
            });
            if let Some(used) = self.0.get_mut(place) {
                used.amount = used.amount.saturating_add(by);
                if is_own {
                    used.own = Some(used.own.unwrap_or_default().saturating_add(by));
                }
            }
        }
    }

    /// How much of the metric is used; zero if the request does not use it.
    #[inline]
    pub fn of(&self, metric: MetricId) -> u64 {
        let place = self.place(metric).ok();
        place.and_then(|place| self.0.get(place)).map_or(0, |used| used.amount)
    }

    /// The metrics that are used, each with its amount, which is not zero.
    pub fn iter(&self) -> impl Iterator<Item = (MetricId, u64)> {
        self.0.iter().filter(|used| used.amount > 0).map(|used| (used.metric, used.amount))
    }

    /// The metrics that metering entries name, each with its amount, which may be zero. Ancestors are not
    /// among them: who adds usage to ancestors by itself needs to know these only.
    pub fn own(&self) -> impl Iterator<Item = (MetricId, u64)> {
        self.0.iter().filter_map(|used| used.own.map(|own| (used.metric, own)))
    }

    #[inline]
    fn place(&self, metric: MetricId) -> Result<usize, usize> {
        self.0.binary_search_by_key(&metric, |used| used.metric)
    }
}

fn is_name(name: &str) -> bool {
    (1..=NAME_MAX).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'))
}

#[cfg(test)]
mod tests {
    #[cfg(all(target_family = "wasm", target_os = "unknown"))]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    fn usage_of_a_child_counts_for_all_its_ancestors() {
        let metrics = Metrics::new(&[
            ("list", Some("reads")),
            ("hits", None),
            ("reads", Some("hits")),
            ("writes", None),
        ])
        .unwrap();
        let [list, hits, reads, writes] =
            ["list", "hits", "reads", "writes"].map(|name| metrics.find(name).unwrap());
        let mut usage = Usage::new();
        usage.add(&metrics, list, 2);
        usage.add(&metrics, reads, 3);
        usage.add(&metrics, writes, 0);
        assert_eq!([list, reads, hits, writes].map(|metric| usage.of(metric)), [2, 5, 5, 0]);
        assert_eq!(usage.iter().count(), 3, "zero is not a usage");
        let own: Vec<_> = usage.own().collect();
        assert_eq!(own, [(list, 2), (reads, 3), (writes, 0)], "hits are not named");
        assert_eq!(metrics.name(reads), "reads");
        usage.add(&metrics, reads, u64::MAX);
        assert_eq!(usage.of(hits), u64::MAX, "amounts saturate");
    }

    #[test]
    fn every_wrong_declaration_is_reported_by_name() {
        let long = "x".repeat(65);
        let errors = Metrics::new(&[
            ("a", Some("b")),
            ("b", Some("a")),
            ("below", Some("a")),
            ("self", Some("self")),
            ("orphan", Some("nobody")),
            ("hits", None),
            ("hits", None),
            ("in\"jection", None),
            ("", None),
            (&long, None),
        ])
        .unwrap_err();
        let messages: Vec<_> = errors.iter().map(ToString::to_string).collect();
        let name = |name| {
            format!(
                "invalid name of a metric `{name}`: expected 1 to 64 ASCII letters, digits, `.`, `_` or `-`"
            )
        };
        assert_eq!(
            messages,
            [
                "metric `a` is its own ancestor".to_owned(),
                "metric `b` is its own ancestor".to_owned(),
                "metric `self` is its own ancestor".to_owned(),
                "parent `nobody` of metric `orphan` is not declared".to_owned(),
                "metric `hits` is declared twice".to_owned(),
                name("in\"jection"),
                name(""),
                name(&long),
            ]
        );
        assert_eq!(errors.first().unwrap().metric(), "a");
    }

    #[test]
    fn lineages_are_bounded() {
        let names: Vec<_> = (0..20_000).map(|number| format!("m{number}")).collect();
        let chain = |length: usize| {
            let parents = std::iter::once(None).chain(names.iter().map(|name| Some(name.as_str())));
            let declared: Vec<_> = names.iter().map(String::as_str).zip(parents).take(length).collect();
            Metrics::new(&declared)
        };
        let longest = chain(16).unwrap();
        assert_eq!(longest.lineage(longest.find("m15").unwrap()).len(), 16);
        let errors = chain(17).unwrap_err();
        assert_eq!(errors.len(), 1);
        assert_eq!(errors.first().unwrap().to_string(), "metric `m16` has more than 15 ancestors");
        assert_eq!(chain(20_000).unwrap_err().len(), 20_000 - 16);
    }
}
