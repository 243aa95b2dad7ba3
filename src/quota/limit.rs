//! Limits: at most a given amount of a metric per window.

use std::sync::Arc;

use super::{
    standing::{INTEGER_MAX, seconds},
    window::{Shape, Window},
};
use crate::{
    credential::Digest,
    matching::{MetricId, Metrics, Usage},
};

/// At most `max` of a metric per window. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limit {
    texts: Arc<Texts>,
    metric: MetricId,
    max: u64,
    /// The use at which operators are alerted; above any use if they are not.
    alert: u64,
    counter: CounterId,
    /// Whether our own counter alone can refuse a request.
    holds: bool,
    counting: Counting,
    shadow: bool,
}

/// Who counts a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Counting {
    /// This Envoy alone.
    Here,
    /// A rate limit service, for each request.
    Service,
    /// A rate limit service, which grants leases.
    Leases,
}

/// What is said about a limit, and needed by few requests.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Texts {
    name: Box<str>,
    /// How callers see the limit: its name in quotation marks, `max` and, if the window always has the same
    /// length, that length. For example `"hits-second";q=5;w=1`.
    shown: Box<str>,
    across: Option<Across>,
}

/// Where a limit is counted that holds across replicas.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Across {
    /// Whether quota is taken in advance.
    pub leases: bool,
    /// The rate limit service, as an index into the policy's providers.
    pub provider: usize,
    /// What the service calls the limit: where it is listed, whose usage it counts, its metric and window.
    pub id: Box<str>,
}

/// Identifies a counter within a meter by metric name, window and shape. A counter therefore survives a
/// policy that reorders limits or changes their `max`. Two limits of one meter with the same identity share a
/// counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CounterId([u8; 8]);

/// Why a limit is invalid.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidLimit {
    /// The metric is not declared.
    #[error("unknown metric `{0}`")]
    UnknownMetric(String),
    /// The window is too long to slide over.
    #[error("a limit per {0} cannot slide: only limits per second, minute, hour or day can")]
    CannotSlide(Window),
}

impl Limit {
    /// At most `max` of `metric` per `window`. A `max` of zero disables the metric.
    ///
    /// # Errors
    ///
    /// The metric is not declared, or the window is too long for a sliding limit.
    pub fn new(
        metrics: &Metrics,
        metric: &str,
        max: u64,
        window: Window,
        shape: Shape,
    ) -> Result<Self, InvalidLimit> {
        let id = metrics.find(metric).ok_or_else(|| InvalidLimit::UnknownMetric(metric.to_owned()))?;
        if shape == Shape::Sliding && !window.can_slide() {
            return Err(InvalidLimit::CannotSlide(window));
        }
        let counter = CounterId::new(metric, window, shape);
        let texts = Texts { name: "".into(), shown: "".into(), across: None };
        let counting = Counting::Here;
        let limit = Self {
            texts: texts.into(),
            metric: id,
            max,
            alert: u64::MAX,
            counter,
            holds: true,
            counting,
            shadow: false,
        };
        Ok(limit.named(&format!("{metric}-{window}")))
    }

    fn named(self, name: &str) -> Self {
        let mut shown = format!("\"{name}\";q={}", self.max.min(INTEGER_MAX));
        if let Some(length) = self.window().length() {
            shown.push_str(&format!(";w={}", seconds(length)));
        }
        let across = self.texts.across.clone();
        let texts = Texts { name: name.into(), shown: shown.into(), across };
        Self { texts: texts.into(), ..self }
    }

    /// Adds `label` before the name of the limit in headers, to distinguish the limits of different subjects:
    /// `hits-second` becomes `api-hits-second`.
    #[must_use]
    pub fn labelled(self, label: &'static str) -> Self {
        let name = format!("{label}-{}", self.name());
        self.named(&name)
    }

    /// The same limit, which alerts operators when this percentage of it is used.
    #[must_use]
    pub fn alerting_at(self, percent: u8) -> Self {
        let used = u128::from(self.max).saturating_mul(percent.into()).div_ceil(100);
        let alert = match self.max {
            // Nothing can be used of it.
            0 => u64::MAX,
            _ => u64::try_from(used).unwrap_or(u64::MAX),
        };
        Self { alert, ..self }
    }

    /// Whether operators are to be alerted when the use in a window goes from `before` to `after`.
    pub(super) const fn alerts(&self, before: u64, after: u64) -> bool {
        before < self.alert && self.alert <= after
    }

    /// The same limit, counted by a rate limit service as well. Unless it `holds`, our own counter does not
    /// refuse what the service admits.
    #[must_use]
    pub fn across_replicas(self, across: Across, holds: bool) -> Self {
        let counting = if across.leases { Counting::Leases } else { Counting::Service };
        let Texts { name, shown, across: _ } = &*self.texts;
        let texts = Texts { name: name.clone(), shown: shown.clone(), across: Some(across) };
        Self { texts: texts.into(), holds, counting, ..self }
    }

    /// Who counts the limit.
    pub(super) const fn counting(&self) -> Counting {
        self.counting
    }

    /// Where the limit is counted if it holds across replicas.
    pub fn across(&self) -> Option<&Across> {
        self.texts.across.as_ref()
    }

    /// The limit in shadow mode: it refuses nothing, and charges what it would admit.
    #[must_use]
    pub fn in_shadow(self) -> Self {
        Self { shadow: true, ..self }
    }

    /// Whether the limit refuses nothing.
    pub const fn is_in_shadow(&self) -> bool {
        self.shadow
    }

    /// Whether `other`, which counts the same, is the stricter of both.
    pub const fn is_weaker_than(&self, other: &Self) -> bool {
        if self.shadow == other.shadow { self.max > other.max } else { self.shadow }
    }

    /// The limit's name in rate-limit headers, such as `hits-second` for hits per second.
    pub fn name(&self) -> &str {
        &self.texts.name
    }

    /// The limit as an item of `RateLimit-Policy`, without the length of its window if that varies.
    pub(super) fn shown(&self) -> &str {
        &self.texts.shown
    }

    /// The name in quotation marks.
    pub(super) fn quoted_name(&self) -> &str {
        self.texts.shown.get(..self.texts.name.len().saturating_add(2)).unwrap_or_default()
    }

    /// The metric that is limited.
    pub const fn metric(&self) -> MetricId {
        self.metric
    }

    /// The most of the metric that one window admits.
    pub const fn max(&self) -> u64 {
        self.max
    }

    /// The window that the limit counts in.
    pub const fn window(&self) -> Window {
        self.counter.window()
    }

    /// How the limit counts in its window.
    pub const fn shape(&self) -> Shape {
        self.counter.shape()
    }

    /// The counter that the limit uses. Two limits of one meter should not share a counter.
    pub const fn counter(&self) -> CounterId {
        self.counter
    }

    /// Whether our own counter alone can refuse a request.
    pub const fn holds(&self) -> bool {
        self.holds
    }

    /// Whether the request uses the limited metric.
    pub(super) fn is_touched(&self, usage: &Usage) -> bool {
        usage.of(self.metric) > 0
    }

    /// Whether no window will ever admit the request: its metric is disabled, or the request is too large.
    pub(super) fn never_admits(&self, usage: &Usage) -> bool {
        !self.shadow && usage.of(self.metric) > self.max
    }
}

const SLIDING: u8 = 0x80;
const LEASE: u8 = 0x40;

impl CounterId {
    fn new(metric: &str, window: Window, shape: Shape) -> Self {
        let window = match window {
            Window::Second => 1,
            Window::Minute => 2,
            Window::Hour => 3,
            Window::Day => 4,
            Window::Week => 5,
            Window::Month => 6,
            Window::Year => 7,
            Window::Eternity => 8,
        };
        let shape = if shape == Shape::Sliding { SLIDING } else { 0 };
        let [a, b, c, d, e, f, g, ..] = *Digest::of(metric.as_bytes()).bytes();
        Self([window | shape, a, b, c, d, e, f, g])
    }

    /// The counter that holds the state of the lease of a limit with this counter.
    pub(super) const fn leased(self) -> Self {
        let [kind, a, b, c, d, e, f, g] = self.0;
        Self([kind | LEASE, a, b, c, d, e, f, g])
    }

    /// Whether it is the state of a lease.
    pub(super) const fn is_lease(self) -> bool {
        let [kind, ..] = self.0;
        kind & LEASE != 0
    }

    /// The window that the counter counts in.
    pub(super) const fn window(self) -> Window {
        let [kind, ..] = self.0;
        match kind & !(SLIDING | LEASE) {
            1 => Window::Second,
            2 => Window::Minute,
            3 => Window::Hour,
            4 => Window::Day,
            5 => Window::Week,
            6 => Window::Month,
            7 => Window::Year,
            _ => Window::Eternity,
        }
    }

    /// How the counter counts.
    pub(super) const fn shape(self) -> Shape {
        let [kind, ..] = self.0;
        if kind & SLIDING == 0 { Shape::Fixed } else { Shape::Sliding }
    }

    /// Eight bytes that are the same in every version of Sidegate: window and shape, then the start of the
    /// metric name's SHA-256.
    pub(super) const fn to_bytes(self) -> [u8; 8] {
        self.0
    }

    /// The identity that [`to_bytes`](Self::to_bytes) encoded; `None` if the bytes are invalid.
    pub(super) fn from_bytes(bytes: [u8; 8]) -> Option<Self> {
        let [kind, ..] = bytes;
        // Only the four shortest windows slide, and no lease does.
        matches!(kind, 1..=8 | 0x41..=0x48 | 0x81..=0x84).then_some(Self(bytes))
    }
}

#[cfg(test)]
mod tests {
    #[cfg(all(target_family = "wasm", target_os = "unknown"))]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    fn only_limits_per_second_to_day_slide() {
        let metrics = Metrics::new(&[("hits", None)]).unwrap();
        for window in Window::ALL {
            let limit = Limit::new(&metrics, "hits", 0, window, Shape::Sliding);
            let slides = ["second", "minute", "hour", "day"].contains(&window.name());
            assert_eq!(limit.is_ok(), slides, "{window}");
            assert!(Limit::new(&metrics, "hits", 0, window, Shape::Fixed).is_ok());
        }
        let error = Limit::new(&metrics, "hits", 1, Window::Month, Shape::Sliding).unwrap_err();
        assert_eq!(
            error.to_string(),
            "a limit per month cannot slide: only limits per second, minute, hour or day can"
        );
        let error = Limit::new(&metrics, "misses", 1, Window::Month, Shape::Fixed).unwrap_err();
        assert_eq!(error.to_string(), "unknown metric `misses`");
    }

    #[test]
    fn the_counter_depends_on_metric_window_and_shape_only() {
        let before = Metrics::new(&[("hits", None), ("reads", None)]).unwrap();
        let after = Metrics::new(&[("reads", None), ("hits", None)]).unwrap();
        let counter = |metrics, metric, max, window, shape| {
            Limit::new(metrics, metric, max, window, shape).unwrap().labelled("api").counter()
        };
        let hits = counter(&before, "hits", 1, Window::Day, Shape::Fixed);
        assert_eq!(hits, counter(&after, "hits", 2, Window::Day, Shape::Fixed));
        assert_ne!(hits, counter(&before, "reads", 1, Window::Day, Shape::Fixed));
        assert_ne!(hits, counter(&before, "hits", 1, Window::Hour, Shape::Fixed));
        assert_ne!(hits, counter(&before, "hits", 1, Window::Day, Shape::Sliding));
    }

    #[test]
    fn counter_identities_survive_encoding_and_never_change() {
        for window in Window::ALL {
            for shape in [Shape::Fixed, Shape::Sliding] {
                let id = CounterId::new("hits", window, shape);
                let valid = shape == Shape::Fixed || window.can_slide();
                assert_eq!(CounterId::from_bytes(id.to_bytes()), valid.then_some(id));
                let lease = id.leased();
                let valid = shape == Shape::Fixed;
                assert_eq!(CounterId::from_bytes(lease.to_bytes()), valid.then_some(lease));
            }
        }
        let bytes = CounterId::new("hits", Window::Day, Shape::Sliding).to_bytes();
        assert_eq!(hex::encode(bytes), "8462f51d296d3429");
        for kind in [0, 9, 0x80, 0x85, 0xff] {
            assert_eq!(CounterId::from_bytes([kind, 0, 0, 0, 0, 0, 0, 0]), None);
        }
    }
}
