//! How much verifying costs, and how much of it a worker does in a second.
//!
//! A signature costs a worker up to milliseconds, and anybody can send a token with a new one. So a worker
//! verifies only so many in a second, and keeps a part of that for tokens that were valid before.

use std::{cell::Cell, num::NonZeroU32};

use super::key::{Key, Material};
use crate::{provider::Asker, time::Timestamp};

/// The cost of a verification, in verifications of RSA with 2,048 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Effort(u32);

/// The verifications of one worker.
#[derive(Debug)]
pub struct Verifications {
    per_second: u32,
    second: Cell<u64>,
    done: Cell<u32>,
}

impl Effort {
    /// The effort of a verification with this key.
    pub(super) fn of(key: &Key) -> Self {
        Self(match &key.material {
            // In proportion to the square of the length.
            Material::Rsa(key) => {
                let blocks = u32::try_from(key.signature_length().div_ceil(128)).unwrap_or(u32::MAX);
                blocks.saturating_mul(blocks).div_ceil(4)
            }
            Material::P256(_) => 6,
            Material::P384(_) => 20,
            Material::P521(_) => 16,
            Material::Ed25519(_) => 1,
        })
    }
}

impl Verifications {
    /// The default for each worker and second.
    pub const DEFAULT: NonZeroU32 = NonZeroU32::new(500).unwrap();

    /// At most this effort in a second.
    pub const fn new(per_second: NonZeroU32) -> Self {
        Self { per_second: per_second.get(), second: Cell::new(0), done: Cell::new(0) }
    }

    /// Whether a signature may be verified now. Strangers get three quarters of a second's effort. What is
    /// left is enough for at least one, whatever it costs.
    pub(super) fn admit(&self, effort: Effort, asker: Asker, now: Timestamp) -> bool {
        if self.second.replace(now.seconds()) != now.seconds() {
            self.done.set(0);
        }
        let most = match asker {
            Asker::Known => self.per_second,
            Asker::Stranger => self.per_second.saturating_sub(self.per_second / 4),
        };
        let done = self.done.get();
        let is_admitted = done < most;
        if is_admitted {
            self.done.set(done.saturating_add(effort.0));
        }
        is_admitted
    }
}

#[cfg(test)]
mod tests {
    #[cfg(all(target_family = "wasm", target_os = "unknown"))]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    fn a_second_has_so_much_effort_and_a_quarter_of_it_is_not_for_strangers() {
        let verifications = Verifications::new(NonZeroU32::new(8).unwrap());
        let admit = |asker, second| verifications.admit(Effort(2), asker, Timestamp::from_seconds(second));
        let strangers: Vec<_> = (0..4).map(|_| admit(Asker::Stranger, 5)).collect();
        assert_eq!(strangers, [true, true, true, false]);
        assert_eq!([admit(Asker::Known, 5), admit(Asker::Known, 5)], [true, false]);
        assert!(admit(Asker::Stranger, 6));
        let one = Verifications::new(NonZeroU32::MIN);
        assert!(one.admit(Effort(20), Asker::Stranger, Timestamp::from_seconds(1)), "at least one");
        assert!(!one.admit(Effort(1), Asker::Known, Timestamp::from_seconds(1)));
    }
}
