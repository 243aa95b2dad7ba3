//! Engines: which services count for us, and what each of them can do.
//!
//! The name of a counter contains the start of our window, so a new window begins with a new counter. The
//! engine must only keep a counter until its window is over:
//!
//! * `envoy`: [envoyproxy/ratelimit](https://github.com/envoyproxy/ratelimit) adds the start of its own
//!   window to the name, which is a unit of time from the epoch on: seconds, minutes, hours, days, 30 days or
//!   365 days. A counter begins anew where such a unit ends. [`Unit::for_window`] finds one that does not end
//!   within our window. For windows longer than a day there is not always one.
//! * `limitador`: [Limitador](https://github.com/Kuadrant/limitador) keeps a counter for a configured time
//!   from its first hit on, which is longer than our window.

use std::time::Duration;

use super::super::window::{Shape, Span, Window};
use crate::time::Timestamp;

/// A kind of rate limit service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[cfg_attr(not(target_family = "wasm"), derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Engine {
    /// envoyproxy/ratelimit. Its limits come with the calls.
    #[default]
    Envoy,
    /// Limitador. Its limits are in its own configuration.
    Limitador,
}

/// Why an engine cannot keep a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CannotCount {
    /// The window is longer than what the engine counts in.
    #[error("`engine: envoy` cannot count per {0}: its own windows begin anew inside of it")]
    Window(Window),
    /// The limit slides.
    #[error("a limit across replicas cannot slide")]
    Slides,
    /// The limit is too large for the engine's numbers.
    #[error("a limit across replicas is at most {most}", most = Engine::MOST)]
    TooLarge,
}

/// A unit of time of the engine `envoy`, as a multiple of which its windows begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    Minute,
    Hour,
    Day,
    /// 30 days.
    Month,
    /// 365 days.
    Year,
}

const SECOND: u64 = 1000;
const DAY: u64 = 86_400 * SECOND;

/// How far the clocks of replicas and of the engine may be apart.
const CLOCKS: Duration = Duration::from_secs(2);

impl Engine {
    /// The largest limit: engines count with 32 bits, and a lease may be added.
    pub const MOST: u64 = 4_000_000_000;

    /// Checks whether the engine can keep a limit exactly.
    ///
    /// # Errors
    ///
    /// Why it cannot.
    pub fn check(self, max: u64, window: Window, shape: Shape) -> Result<(), CannotCount> {
        match (self, window) {
            _ if shape == Shape::Sliding => Err(CannotCount::Slides),
            _ if max > Self::MOST => Err(CannotCount::TooLarge),
            (Self::Limitador, _)
            | (Self::Envoy, Window::Second | Window::Minute | Window::Hour | Window::Day) => Ok(()),
            (Self::Envoy, Window::Week | Window::Month | Window::Year | Window::Eternity) => {
                Err(CannotCount::Window(window))
            }
        }
    }

    /// Whether it also counts what it refuses.
    pub(super) const fn counts_refused(self) -> bool {
        match self {
            Self::Envoy => true,
            Self::Limitador => false,
        }
    }

    /// How many descriptors one call may have.
    pub(super) const fn most_descriptors(self) -> usize {
        match self {
            Self::Envoy => usize::MAX,
            // It has one addend for all descriptors, and does not say which of them is over its limit.
            Self::Limitador => 1,
        }
    }
}

impl Unit {
    const ALL: [Self; 5] = [Self::Minute, Self::Hour, Self::Day, Self::Month, Self::Year];

    /// The shortest unit that does not begin anew in `span`, nor close to its ends: clocks that differ would
    /// let the engine count from zero while some replicas are still in the window. On a day that is close to
    /// the ends of all units, it is the day itself.
    pub(super) fn for_window(span: Span) -> Self {
        let fits = |unit: &Self| {
            let end = span.end.unwrap_or(Timestamp::MAX).saturating_add(CLOCKS);
            unit.period(span.start.saturating_sub(CLOCKS)) == unit.period(end)
        };
        Self::ALL.into_iter().find(fits).unwrap_or(Self::Day)
    }

    /// The number of the period that `moment` is in.
    fn period(self, moment: Timestamp) -> u64 {
        moment.millis().checked_div(self.length()).unwrap_or(0)
    }

    const fn length(self) -> u64 {
        match self {
            Self::Minute => 60 * SECOND,
            Self::Hour => 3600 * SECOND,
            Self::Day => DAY,
            Self::Month => 30 * DAY,
            Self::Year => 365 * DAY,
        }
    }

    /// Its number in `envoy.type.v3.RateLimitUnit`. That of weeks is not used: a service that is older than
    /// the unit would end itself.
    pub(super) const fn number(self) -> i32 {
        match self {
            Self::Minute => 2,
            Self::Hour => 3,
            Self::Day => 4,
            Self::Month => 5,
            Self::Year => 6,
        }
    }
}

#[cfg(test)]
mod tests {
    #[cfg(all(target_family = "wasm", target_os = "unknown"))]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    /// The days from 1970 to 2100.
    const DAYS: u64 = 47_482;

    fn at(day: u64, second: u64) -> Timestamp {
        Timestamp::from_seconds(day.saturating_mul(86_400).saturating_add(second))
    }

    fn spans(window: Window, day: u64) -> impl Iterator<Item = Span> {
        // At the edges of the day, of its hours and of its minutes, and in the middle.
        let seconds = [0, 1, 2, 57, 58, 59, 60, 3599, 3600, 43_200, 43_259, 86_399];
        seconds.into_iter().map(move |second| window.at(at(day, second)))
    }

    #[test]
    fn the_engine_never_begins_anew_inside_a_window() {
        for window in [Window::Second, Window::Minute, Window::Hour, Window::Day] {
            for span in (0..DAYS).flat_map(|day| spans(window, day)) {
                let unit = Unit::for_window(span);
                let last = span.end.unwrap().saturating_sub(Duration::from_millis(1));
                assert_eq!(unit.period(span.start), unit.period(last), "{unit:?} in {window} {span:?}");
            }
        }
    }

    #[test]
    fn nor_at_its_ends_with_clocks_that_differ_but_for_a_few_days_in_a_century() {
        let mut unlucky = 0;
        for day in 1..DAYS {
            for window in [Window::Second, Window::Minute, Window::Hour, Window::Day] {
                for span in spans(window, day) {
                    let unit = Unit::for_window(span);
                    let (early, late) =
                        (span.start.saturating_sub(CLOCKS), span.end.unwrap().saturating_add(CLOCKS));
                    if unit.period(early) != unit.period(late) {
                        assert!(day % 30 == 0 || day % 30 == 29, "{window} {span:?}");
                        assert!(day % 365 == 0 || day % 365 == 364, "{window} {span:?}");
                        unlucky += usize::from(window == Window::Day && span.start == at(day, 0));
                    }
                }
            }
        }
        assert!(unlucky > 0 && unlucky <= 12 * 44, "{unlucky}");
    }

    #[test]
    fn the_unit_is_the_shortest_that_fits() {
        for (window, moment, unit) in [
            (Window::Second, at(20_000, 43_230), Unit::Minute),
            (Window::Second, at(20_000, 43_261), Unit::Hour),
            (Window::Second, at(20_000, 43_258), Unit::Hour),
            (Window::Second, at(20_000, 43_200), Unit::Day),
            (Window::Minute, at(20_000, 43_260), Unit::Hour),
            (Window::Minute, at(20_000, 43_200), Unit::Day),
            (Window::Hour, at(20_000, 43_200), Unit::Day),
            (Window::Hour, at(20_000, 0), Unit::Month),
            (Window::Day, at(20_000, 0), Unit::Month),
            (Window::Day, at(20_010, 0), Unit::Year),
        ] {
            assert_eq!(Unit::for_window(window.at(moment)), unit, "{window} at {moment:?}");
        }
    }

    #[test]
    fn limits_that_an_engine_cannot_keep_are_refused() {
        for window in Window::ALL {
            let fits = window <= Window::Day;
            assert_eq!(Engine::Envoy.check(1, window, Shape::Fixed).is_ok(), fits, "{window}");
            assert_eq!(Engine::Limitador.check(Engine::MOST, window, Shape::Fixed), Ok(()));
        }
        assert_eq!(Engine::Envoy.check(1, Window::Day, Shape::Sliding), Err(CannotCount::Slides));
        let too_large = Engine::Limitador.check(Engine::MOST + 1, Window::Day, Shape::Fixed);
        assert_eq!(too_large, Err(CannotCount::TooLarge));
    }
}
