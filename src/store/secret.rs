//! The secret of one Envoy. Slots are chosen by a hash with this secret, so nobody outside can find subjects
//! that share a slot, and fill it on purpose.

use std::cell::Cell;

use siphasher::sip::SipHasher13;

use super::{Incidents, Store, Write};
use crate::digest::Digest;

/// Where the secret is kept.
const KEY: &str = "sidegate/secret";

/// The format of the secret's bytes. Bytes in any other format count as no secret.
const VERSION: u8 = 1;

/// Random bytes. They become the secret if there is none yet.
pub type Seed = [u8; 16];

/// The secret, as one worker knows it. All workers that share a store have the same one: the first writes
/// its seed, the others read that. A worker reads it once, so requests cost no further access to the store.
pub struct Secret {
    seed: Seed,
    shared: Cell<Option<Seed>>,
}

impl Secret {
    /// The secret that all workers share. `seed` must be random.
    pub const fn shared(seed: Seed) -> Self {
        Self { seed, shared: Cell::new(None) }
    }

    /// A secret that everybody knows. For tests and the command line, which no stranger sends requests to.
    pub const fn public() -> Self {
        Self { seed: [0; 16], shared: Cell::new(Some([0; 16])) }
    }

    /// The hash of `subject`. `None` if the store can be neither read nor written: without the secret that
    /// the other workers have, a meter would be counted in two slots.
    pub(super) fn hash(&self, store: &impl Store, incidents: &Incidents, subject: &Digest) -> Option<u64> {
        let secret = match self.shared.get() {
            Some(secret) => secret,
            None => {
                let secret = self.agreed(store, incidents)?;
                self.shared.set(Some(secret));
                secret
            }
        };
        // 128 bits of the digest suffice; the tag in the slot covers the others.
        let (subject, _) = subject.bytes().split_first_chunk::<16>()?;
        Some(SipHasher13::new_with_key(&secret).hash(subject))
    }

    /// The secret in the store, which is our seed if there was none.
    fn agreed(&self, store: &impl Store, incidents: &Incidents) -> Option<Seed> {
        let mut rounds = 0_u32;
        let agreed = store.update(KEY, |bytes| {
            rounds = rounds.saturating_add(1);
            let known = bytes.and_then(decode);
            let corrupt = bytes.is_some() && known.is_none();
            match known {
                Some(secret) => (Write::Keep, (secret, corrupt)),
                None => {
                    let mut bytes = vec![VERSION];
                    bytes.extend_from_slice(&self.seed);
                    (Write::Replace(bytes), (self.seed, corrupt))
                }
            }
        });
        incidents.conflicts(rounds.saturating_sub(1));
        let (secret, corrupt) = agreed.ok()?;
        if corrupt {
            incidents.corrupt();
        }
        Some(secret)
    }
}

fn decode(bytes: &[u8]) -> Option<Seed> {
    let (&VERSION, secret) = bytes.split_first()? else { return None };
    secret.try_into().ok()
}

#[cfg(test)]
mod tests {
    #[cfg(all(target_family = "wasm", target_os = "unknown"))]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::{
        super::{ABSENT, Disturbed, Memory},
        *,
    };

    fn hash(secret: &Secret, store: &impl Store) -> Option<u64> {
        secret.hash(store, &Incidents::default(), &Digest::of(b"acme"))
    }

    #[test]
    fn workers_that_share_a_store_share_the_secret() {
        let store = Memory::new();
        let [one, other, elsewhere] = [[1; 16], [2; 16], [2; 16]].map(Secret::shared);
        let first = hash(&one, &store);
        assert_eq!((first.is_some(), hash(&other, &store)), (true, first));
        assert_eq!(hash(&Secret::shared([3; 16]), &store), first, "after a reload too");
        assert_ne!(hash(&elsewhere, &Memory::new()), first, "another Envoy has another secret");
    }

    #[test]
    fn two_workers_that_make_a_secret_at_once_agree() {
        let theirs = Secret::shared([1; 16]);
        let found = Cell::new(None);
        let store = Disturbed::new(|store| {
            found.set(hash(&theirs, store.memory()));
            Ok(())
        });
        let ours = Secret::shared([2; 16]);
        assert_eq!(hash(&ours, &store), found.get());
        let gets = store.gets();
        assert_eq!(hash(&ours, &store), found.get());
        assert_eq!(store.gets(), gets, "it is read only once");
    }

    #[test]
    fn a_store_that_cannot_be_written_has_no_secret_until_it_can() {
        let works = Cell::new(false);
        let store = Disturbed::new(|_| if works.get() { Ok(()) } else { Err(super::super::Lost) });
        let secret = Secret::shared([1; 16]);
        assert_eq!(hash(&secret, &store), None);
        works.set(true);
        assert!(hash(&secret, &store).is_some());
    }

    #[test]
    fn bytes_that_are_no_secret_are_replaced_and_counted() {
        for junk in [&b""[..], b"junk", &[2; 17], &[1; 16]] {
            let (store, incidents) = (Memory::new(), Incidents::default());
            store.compare_and_swap(KEY, junk, ABSENT).unwrap();
            let found = [[1; 16], [2; 16]]
                .map(|seed| Secret::shared(seed).hash(&store, &incidents, &Digest::of(b"acme")));
            assert_eq!((found[0].is_some(), found[0]), (true, found[1]));
            assert_eq!(incidents.take().corrupt, 1);
        }
    }
}
