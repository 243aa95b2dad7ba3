//! Who waits for which moment.

use std::collections::BTreeMap;

use super::worker::Waiter;
use crate::time::Timestamp;

/// The moments that waiters wait for.
#[derive(Default)]
pub struct Timers {
    waiters: BTreeMap<(Timestamp, u64), Waiter>,
    last: u64,
}

impl Timers {
    /// Records that `waiter` waits for `moment`. [`Timestamp::MAX`] never comes.
    pub fn wake(&mut self, waiter: Waiter, moment: Timestamp) {
        if moment < Timestamp::MAX {
            self.last = self.last.wrapping_add(1);
            self.waiters.insert((moment, self.last), waiter);
        }
    }

    /// The next moment that a waiter waits for.
    pub fn next(&self) -> Option<Timestamp> {
        self.waiters.first_key_value().map(|((moment, _), _)| *moment)
    }

    /// Removes and returns the waiters whose moment has come, in the order of their moments.
    pub fn due(&mut self, now: Timestamp) -> Vec<Waiter> {
        let mut due = Vec::new();
        while let Some(first) = self.waiters.first_entry().filter(|first| first.key().0 <= now) {
            due.push(first.remove());
        }
        due
    }
}

#[cfg(test)]
mod tests {
    #[cfg(all(target_family = "wasm", target_os = "unknown"))]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    fn waiters_are_due_in_the_order_of_their_moments() {
        let at = Timestamp::from_millis;
        let mut timers = Timers::default();
        for (task, moment) in [(1, at(5)), (2, at(3)), (3, at(5)), (4, at(9)), (5, Timestamp::MAX)] {
            timers.wake(Waiter::Task(task), moment);
        }
        assert_eq!(timers.due(at(2)), []);
        assert_eq!(timers.next(), Some(at(3)));
        assert_eq!(timers.due(at(5)), [2, 1, 3].map(Waiter::Task));
        assert_eq!(timers.due(at(1_000)), [Waiter::Task(4)]);
        assert_eq!(timers.next(), None);
    }
}
