//! When requests arrive, and at which replica. The same seed makes the same traffic everywhere.

use std::time::Duration;

use sidegate::time::Timestamp;

/// A kind of traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Traffic {
    /// Each request at any moment and at any replica.
    Even,
    /// Bursts, each at one replica, with any moment and any replica.
    Bursty,
    /// Each request at any moment; one replica gets as many as the next two together, as the next four
    /// together, and so on.
    Skewed,
}

/// A request: when, and the index of the replica.
pub type Request = (Timestamp, usize);

/// The number of requests of a burst.
const BURST: u64 = 100;

/// The time in which the requests of a burst arrive, in milliseconds.
const BURST_LASTS: u64 = 2000;

impl Traffic {
    /// All kinds.
    pub const ALL: [Self; 3] = [Self::Even, Self::Bursty, Self::Skewed];

    /// About `count` requests at `replicas` replicas between `start` and `length` later, by time.
    pub fn requests(self, replicas: u64, count: u64, start: Timestamp, length: Duration) -> Vec<Request> {
        let mut dice = Dice(start.millis());
        let length = u64::try_from(length.as_millis()).unwrap_or(u64::MAX);
        let burst = if self == Self::Bursty { BURST } else { 1 };
        let mut requests = Vec::new();
        for _ in 0..count / burst {
            let moment = dice.below(length - BURST_LASTS);
            let replica = match self {
                Self::Even | Self::Bursty => dice.below(replicas),
                Self::Skewed => skewed(&mut dice, replicas),
            };
            for _ in 0..burst {
                let delay = if burst > 1 { dice.below(BURST_LASTS) } else { 0 };
                let moment = start.saturating_add(Duration::from_millis(moment + delay));
                requests.push((moment, usize::try_from(replica).unwrap_or(usize::MAX)));
            }
        }
        requests.sort_unstable();
        requests
    }
}

/// A replica: groups of 1, 2, 4, … replicas are equally likely.
fn skewed(dice: &mut Dice, replicas: u64) -> u64 {
    let groups = u64::from((replicas + 1).ilog2());
    let group = 1 << dice.below(groups);
    group - 1 + dice.below(group)
}

/// Numbers without a pattern: splitmix64.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (word ^ (word >> 31)) % bound
    }
}
