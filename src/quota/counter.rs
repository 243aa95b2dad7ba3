//! One counter: the count of its current window and, for sliding limits, of the window before.

use std::time::Duration;

use super::{
    limit::CounterId,
    window::{Shape, Span},
};
use crate::time::Timestamp;

/// Size of a counter in a meter, in bytes.
pub(super) const SIZE: usize = 32;

/// How long a counter is kept after it last mattered. A worker may read the clock and then be delayed; if its
/// counter were gone, it would count from zero in a window that is full.
const HELD_UP_MILLIS: u64 = 10_000;

/// A counter as it is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Counter {
    pub(super) id: CounterId,
    pub(super) start: Timestamp,
    pub(super) count: u64,
    /// The count of the window before; zero if the limit does not slide.
    pub(super) previous: u64,
}

/// A counter as it applies at a given moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reading {
    pub(super) counter: Counter,
    pub(super) span: Span,
    now: Timestamp,
}

impl Counter {
    /// Decodes a counter; `None` if the bytes are invalid.
    pub(super) fn from_bytes(bytes: &[u8; SIZE]) -> Option<Self> {
        let (id, bytes) = bytes.split_first_chunk()?;
        let (start, bytes) = bytes.split_first_chunk()?;
        let (count, bytes) = bytes.split_first_chunk()?;
        let (previous, _) = bytes.split_first_chunk()?;
        let counter = Self {
            id: CounterId::from_bytes(*id)?,
            start: Timestamp::from_millis(u64::from_le_bytes(*start)),
            count: u64::from_le_bytes(*count),
            previous: u64::from_le_bytes(*previous),
        };
        let may_have_more = counter.id.shape() == Shape::Sliding || counter.id.is_lease();
        (may_have_more || counter.previous == 0).then_some(counter)
    }

    /// Identity, start in milliseconds, count and previous count, eight bytes each, little-endian.
    pub(super) fn to_bytes(self) -> [u8; SIZE] {
        let mut bytes = [0; SIZE];
        let [start, count, previous] = [self.start.millis(), self.count, self.previous].map(u64::to_le_bytes);
        let fields = [self.id.to_bytes(), start, count, previous];
        bytes.as_chunks_mut().0.iter_mut().zip(fields).for_each(|(bytes, field)| *bytes = field);
        bytes
    }

    /// The moment from which the counter can be dropped. It may be up to three days late for months, because
    /// every month is treated as 31 days long.
    pub(super) fn forgettable(&self) -> Timestamp {
        let Some(length) = self.id.window().longest_millis() else { return Timestamp::MAX };
        let matters = match self.id.shape() {
            Shape::Fixed => length,
            Shape::Sliding => length.saturating_mul(2),
        };
        Timestamp::from_millis(self.start.millis().saturating_add(matters).saturating_add(HELD_UP_MILLIS))
    }
}

impl Reading {
    /// The counter `id` at `now`, based on its `stored` state. It never returns to an earlier window: if the
    /// clock is behind the stored window, that window continues.
    pub(super) fn of(id: CounterId, stored: Option<Counter>, now: Timestamp) -> Self {
        let span = id.window().at(now);
        let fresh = Counter { id, start: span.start, count: 0, previous: 0 };
        let Some(stored) = stored else { return Self { counter: fresh, span, now } };
        if stored.start > span.start {
            let span = id.window().at(stored.start);
            return Self { counter: stored, span, now };
        }
        let counter = match id.shape() {
            _ if stored.start == span.start => stored,
            Shape::Sliding if id.window().at(stored.start).end == Some(span.start) => {
                Counter { previous: stored.count, ..fresh }
            }
            Shape::Fixed | Shape::Sliding => fresh,
        };
        Self { counter, span, now }
    }

    /// The amount that counts against the limit now: the count, plus the share of the previous window that is
    /// still in view, rounded down.
    pub(super) fn used(&self) -> u64 {
        if self.counter.previous == 0 {
            return self.counter.count;
        }
        let length = self.length();
        let passed = self.now.millis().saturating_sub(self.span.start.millis());
        let left = length.saturating_sub(passed);
        let share = match (u32::try_from(self.counter.previous), u32::try_from(left)) {
            // Numbers of 128 bits take ten times as long.
            (Ok(previous), Ok(left)) => {
                u64::from(previous).saturating_mul(left.into()).checked_div(length).unwrap_or(0)
            }
            _ => {
                let (previous, left) = (u128::from(self.counter.previous), u128::from(left));
                let share = previous.saturating_mul(left).checked_div(length.into()).unwrap_or(0);
                u64::try_from(share).unwrap_or(u64::MAX)
            }
        };
        self.counter.count.saturating_add(share)
    }

    /// The same counter with `amount` more.
    pub(super) fn charged(&self, amount: u64) -> Counter {
        Counter { count: self.counter.count.saturating_add(amount), ..self.counter }
    }

    /// The earliest moment at which a limit of `max` that refuses `amount` now will admit it, if nothing else
    /// is counted meanwhile. `None` if there is no such moment.
    pub(super) fn admits_at(&self, max: u64, amount: u64) -> Option<Timestamp> {
        let room = max.checked_sub(amount)?;
        match self.counter.id.shape() {
            Shape::Fixed => self.span.end,
            Shape::Sliding => Some(match room.checked_sub(self.counter.count) {
                Some(room) => self.span.start.saturating_add(self.faded_to(self.counter.previous, room)),
                None => self.span.end?.saturating_add(self.faded_to(self.counter.count, room)),
            }),
        }
    }

    /// How far into a window the share of `previous`, rounded down, has faded to `room`.
    fn faded_to(&self, previous: u64, room: u64) -> Duration {
        // floor(previous × left / length) ≤ room  ⟺  previous × left < (room + 1) × length
        let length = u128::from(self.length());
        let bound = u128::from(room).saturating_add(1).saturating_mul(length).saturating_sub(1);
        let left = bound.checked_div(u128::from(previous)).unwrap_or(u128::MAX);
        Duration::from_millis(u64::try_from(length.saturating_sub(left)).unwrap_or(u64::MAX))
    }

    /// Length of the window in milliseconds; zero if the window has no end.
    fn length(&self) -> u64 {
        self.span.end.map_or(0, |end| end.millis().saturating_sub(self.span.start.millis()))
    }
}

#[cfg(test)]
mod tests {
    #[cfg(all(target_family = "wasm", target_os = "unknown"))]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::{
        super::{limit::Limit, window::Window},
        *,
    };
    use crate::matching::Metrics;

    fn id(window: Window, shape: Shape) -> CounterId {
        let metrics = Metrics::new(&[("hits", None)]).unwrap();
        Limit::new(&metrics, "hits", 1, window, shape).unwrap().counter()
    }

    fn at(millis: u64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    fn stored(id: CounterId, start: u64, count: u64, previous: u64) -> Option<Counter> {
        Some(Counter { id, start: at(start), count, previous })
    }

    #[test]
    fn a_counter_is_read_back() {
        let counter = stored(id(Window::Minute, Shape::Sliding), 60_000, 7, u64::MAX).unwrap();
        let mut bytes = counter.to_bytes();
        assert_eq!(Counter::from_bytes(&bytes), Some(counter));
        bytes[0] &= 0x7f;
        assert_eq!(Counter::from_bytes(&bytes), None, "a fixed window has no previous count");
    }

    #[test]
    fn windows_go_forward_and_never_back() {
        let fixed = id(Window::Second, Shape::Fixed);
        let sliding = id(Window::Second, Shape::Sliding);
        for (id, now, expected) in [
            (fixed, 5999, (5000, 4, 0)),
            (fixed, 6000, (6000, 0, 0)),
            (fixed, 4999, (5000, 4, 0)),
            (fixed, 0, (5000, 4, 0)),
            (sliding, 5999, (5000, 4, 3)),
            (sliding, 6000, (6000, 0, 4)),
            (sliding, 7000, (7000, 0, 0)),
            (sliding, 4000, (5000, 4, 3)),
        ] {
            let previous = if id == fixed { 0 } else { 3 };
            let Counter { start, count, previous, .. } =
                Reading::of(id, stored(id, 5000, 4, previous), at(now)).counter;
            assert_eq!((start.millis(), count, previous), expected, "at {now}");
        }
    }

    #[test]
    fn the_share_of_the_previous_window_fades() {
        let id = id(Window::Second, Shape::Sliding);
        for (now, used) in
            [(5000, 12), (5001, 11), (5100, 11), (5500, 7), (5900, 3), (5901, 2), (5999, 2), (4000, 12)]
        {
            assert_eq!(Reading::of(id, stored(id, 5000, 2, 10), at(now)).used(), used, "at {now}");
        }
    }

    #[test]
    fn the_moment_of_admission_is_exact() {
        let sliding = id(Window::Second, Shape::Sliding);
        let fixed = id(Window::Second, Shape::Fixed);
        for (id, count, previous, amount, admitted) in [
            (fixed, 10, 0, 1, 6000),
            (sliding, 2, 10, 1, 5201),
            (sliding, 9, 10, 1, 5901),
            (sliding, 10, 10, 1, 6001),
            (sliding, 10, 0, 10, 6901),
            (sliding, 1, 10, 10, 6001),
            (sliding, u64::MAX, 0, 10, 7000),
        ] {
            let stored = stored(id, 5000, count, previous);
            assert_eq!(Reading::of(id, stored, at(5000)).admits_at(10, amount), Some(at(admitted)));
            let fits = |now| Reading::of(id, stored, at(now)).used().saturating_add(amount) <= 10;
            assert!(fits(admitted) && !fits(admitted - 1), "{count} and {previous}, {amount} more");
        }
    }

    #[test]
    fn a_full_eternity_admits_nothing_again() {
        let id = id(Window::Eternity, Shape::Fixed);
        let reading = Reading::of(id, stored(id, 0, 10, 0), at(5000));
        assert_eq!((reading.used(), reading.admits_at(10, 1)), (10, None));
        assert_eq!(reading.counter.forgettable(), Timestamp::MAX);
    }
}
