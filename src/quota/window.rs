//! Windows: the spans of time that limits count in, aligned to the UTC calendar.

use std::{cell::Cell, fmt, str::FromStr, time::Duration};

use jiff::{ToSpan as _, civil::Date, tz::Offset};

use crate::time::Timestamp;

const SECOND: u64 = 1000;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;
const WEEK: u64 = 7 * DAY;

/// From the Monday before the epoch, which was a Thursday, to the epoch.
const MONDAY_TO_EPOCH: u64 = 3 * DAY;

/// The span of time that a limit counts in. All windows but `eternity` begin at a boundary of the UTC
/// calendar: weeks on Monday, months and years on their first day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[cfg_attr(not(target_family = "wasm"), derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the names say it")]
pub enum Window {
    Second,
    Minute,
    Hour,
    Day,
    Week,
    Month,
    Year,
    /// From the epoch on, without an end.
    Eternity,
}

/// How a limit counts in its window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[cfg_attr(not(target_family = "wasm"), derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Shape {
    /// From zero at the start of each window.
    #[default]
    Fixed,
    /// The current window, plus the share of the window before that a window ending now would still cover.
    /// Second to day only.
    Sliding,
}

/// One window in time: `start` is inside it, `end` is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// The first moment of the window.
    pub start: Timestamp,
    /// The first moment of the next window; `None` for `eternity`, and for the month and year in which the
    /// calendar ends (9999).
    pub end: Option<Timestamp>,
}

/// The text is not the name of a window.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown window `{0}`: expected second, minute, hour, day, week, month, year or eternity")]
pub struct InvalidWindow(String);

impl Window {
    /// Every window, shortest first.
    pub const ALL: [Self; 8] = [
        Self::Second,
        Self::Minute,
        Self::Hour,
        Self::Day,
        Self::Week,
        Self::Month,
        Self::Year,
        Self::Eternity,
    ];

    /// The window's name in the policy document.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Second => "second",
            Self::Minute => "minute",
            Self::Hour => "hour",
            Self::Day => "day",
            Self::Week => "week",
            Self::Month => "month",
            Self::Year => "year",
            Self::Eternity => "eternity",
        }
    }

    /// Whether a limit may slide over this window: all windows of the kind must have the same, short length.
    pub const fn can_slide(self) -> bool {
        matches!(self, Self::Second | Self::Minute | Self::Hour | Self::Day)
    }

    /// The window of this kind that contains `now`.
    pub fn at(self, now: Timestamp) -> Span {
        match self {
            Self::Second => every(SECOND, now),
            Self::Minute => every(MINUTE, now),
            Self::Hour => every(HOUR, now),
            Self::Day => every(DAY, now),
            Self::Week => {
                let shift = Duration::from_millis(MONDAY_TO_EPOCH);
                let Span { start, end } = every(WEEK, now.saturating_add(shift));
                Span { start: start.saturating_sub(shift), end: end.map(|end| end.saturating_sub(shift)) }
            }
            Self::Month => {
                MONTH.with(|last| recent(last, now, |now| calendar(now, Date::first_of_month, 1.month())))
            }
            Self::Year => {
                YEAR.with(|last| recent(last, now, |now| calendar(now, Date::first_of_year, 1.year())))
            }
            Self::Eternity => Span { start: Timestamp::default(), end: None },
        }
    }

    /// Length of each window of this kind, if they all have the same.
    pub(super) const fn length(self) -> Option<Duration> {
        match self {
            Self::Month | Self::Year | Self::Eternity => None,
            Self::Second | Self::Minute | Self::Hour | Self::Day | Self::Week => self.longest(),
        }
    }

    /// Length of the longest window of this kind; `None` for `eternity`.
    pub(super) const fn longest(self) -> Option<Duration> {
        match self.longest_millis() {
            Some(millis) => Some(Duration::from_millis(millis)),
            None => None,
        }
    }

    /// The same in milliseconds.
    pub(super) const fn longest_millis(self) -> Option<u64> {
        Some(match self {
            Self::Second => SECOND,
            Self::Minute => MINUTE,
            Self::Hour => HOUR,
            Self::Day => DAY,
            Self::Week => WEEK,
            Self::Month => 31 * DAY,
            Self::Year => 366 * DAY,
            Self::Eternity => return None,
        })
    }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Window {
    type Err = InvalidWindow;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let window = Self::ALL.into_iter().find(|window| window.name() == text);
        window.ok_or_else(|| InvalidWindow(text.to_owned()))
    }
}

fn every(length: u64, now: Timestamp) -> Span {
    let start = now.millis().saturating_sub(now.millis().checked_rem(length).unwrap_or(0));
    Span {
        start: Timestamp::from_millis(start),
        end: Some(Timestamp::from_millis(start.saturating_add(length))),
    }
}

thread_local! {
    /// The month that was computed last.
    static MONTH: Cell<Option<Span>> = const { Cell::new(None) };
    /// The year that was computed last.
    static YEAR: Cell<Option<Span>> = const { Cell::new(None) };
}

/// The span that contains `now`: the last one if it does, or else what `compute` returns. Calendars are slow,
/// and nearly all requests are in the same month as the one before.
fn recent(last: &Cell<Option<Span>>, now: Timestamp, compute: impl FnOnce(Timestamp) -> Span) -> Span {
    let contains = |span: &Span| span.start <= now && span.end.is_some_and(|end| now < end);
    if let Some(span) = last.get().filter(contains) {
        return span;
    }
    let span = compute(now);
    last.set(Some(span));
    span
}

fn calendar(now: Timestamp, first: fn(Date) -> Date, length: jiff::Span) -> Span {
    let millis = i64::try_from(now.millis()).unwrap_or(i64::MAX);
    let now = jiff::Timestamp::from_millisecond(millis).unwrap_or(jiff::Timestamp::MAX);
    let start = first(Offset::UTC.to_datetime(now).date());
    let end = start.checked_add(length).ok().and_then(midnight);
    Span { start: midnight(start).unwrap_or_default(), end }
}

fn midnight(date: Date) -> Option<Timestamp> {
    let midnight = Offset::UTC.to_timestamp(date.to_datetime(jiff::civil::Time::midnight())).ok()?;
    u64::try_from(midnight.as_millisecond()).ok().map(Timestamp::from_millis)
}

#[cfg(test)]
mod tests {
    #[cfg(all(target_family = "wasm", target_os = "unknown"))]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    fn moment(text: &str) -> Timestamp {
        let moment: jiff::Timestamp = text.parse().unwrap();
        Timestamp::from_millis(moment.as_millisecond().try_into().unwrap())
    }

    #[test]
    fn windows_follow_the_utc_calendar() {
        let leap = "2028-02-29T23:59:59.999Z";
        for (window, now, start, end) in [
            (Window::Second, leap, "2028-02-29T23:59:59Z", "2028-03-01T00:00:00Z"),
            (Window::Minute, leap, "2028-02-29T23:59:00Z", "2028-03-01T00:00:00Z"),
            (Window::Hour, leap, "2028-02-29T23:00:00Z", "2028-03-01T00:00:00Z"),
            (Window::Day, leap, "2028-02-29T00:00:00Z", "2028-03-01T00:00:00Z"),
            (Window::Week, leap, "2028-02-28T00:00:00Z", "2028-03-06T00:00:00Z"),
            (Window::Month, leap, "2028-02-01T00:00:00Z", "2028-03-01T00:00:00Z"),
            (Window::Year, leap, "2028-01-01T00:00:00Z", "2029-01-01T00:00:00Z"),
            (Window::Week, "2026-11-22T23:59:59Z", "2026-11-16T00:00:00Z", "2026-11-23T00:00:00Z"),
            (Window::Week, "2026-11-23T00:00:00Z", "2026-11-23T00:00:00Z", "2026-11-30T00:00:00Z"),
            (Window::Month, "2026-12-31T12:00:00Z", "2026-12-01T00:00:00Z", "2027-01-01T00:00:00Z"),
            (Window::Month, "2027-02-28T12:00:00Z", "2027-02-01T00:00:00Z", "2027-03-01T00:00:00Z"),
            (Window::Year, "2027-01-01T00:00:00Z", "2027-01-01T00:00:00Z", "2028-01-01T00:00:00Z"),
        ] {
            let expected = Span { start: moment(start), end: Some(moment(end)) };
            assert_eq!(window.at(moment(now)), expected, "{window} at {now}");
        }
    }

    #[test]
    fn the_first_and_last_moments_have_windows() {
        let week = Window::Week.at(Timestamp::from_millis(0));
        assert_eq!(
            week,
            Span { start: moment("1970-01-01T00:00:00Z"), end: Some(moment("1970-01-05T00:00:00Z")) }
        );
        assert_eq!(Window::Eternity.at(Timestamp::MAX), Span { start: Timestamp::default(), end: None });
        let last = Span { start: moment("9999-12-01T00:00:00Z"), end: None };
        assert_eq!(Window::Month.at(Timestamp::MAX), last);
        assert_eq!(Window::Month.at(moment("9999-12-30T00:00:00Z")), last);
    }

    #[test]
    fn no_window_is_longer_than_the_longest() {
        for window in Window::ALL {
            for month in 0..48 {
                let span = window
                    .at(moment("2026-01-15T00:00:00Z")
                        .saturating_add(Duration::from_millis(month * 30 * DAY)));
                assert_eq!(span.end.is_none(), window.longest().is_none());
                assert!(
                    span.end.is_none_or(|end| end.since(span.start) <= window.longest().unwrap()),
                    "{window}"
                );
            }
        }
    }

    #[test]
    fn names_are_read_back() {
        for window in Window::ALL {
            assert_eq!(window.name().parse(), Ok(window));
            assert_eq!(serde_json::to_value(window).unwrap(), window.name());
        }
        let error = "fortnight".parse::<Window>().unwrap_err().to_string();
        assert!(error.starts_with("unknown window `fortnight`"), "{error}");
    }
}
