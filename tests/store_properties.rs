#![cfg(not(target_family = "wasm"))]
//! Properties of the table over a store: it is a map that stays small.
#![expect(clippy::arithmetic_side_effects, reason = "a test that overflows fails, as it should")]

mod properties;

use std::{collections::HashMap, num::NonZeroU32};

use properties::config;
use proptest::prelude::*;
use sidegate::{
    credential::Digest,
    store::{ABSENT, Change, Incidents, Memory, NotWritten, Secret, Session, Store, Table, Write},
    time::Timestamp,
};

fn subject(number: u8) -> Digest {
    Digest::of(&[number])
}

fn put(
    table: &Table,
    store: &Memory,
    number: u8,
    now: u64,
    expires: u64,
    payload: &[u8],
) -> Result<Option<Vec<u8>>, NotWritten> {
    let expires = Timestamp::from_millis(expires);
    let (secret, incidents) = (Secret::public(), Incidents::default());
    let session = Session::new(store, &secret, &incidents, Timestamp::from_millis(now));
    table.update(session, &subject(number), |entry| {
        (Change::Put { expires, payload: payload.to_vec() }, entry.map(|entry| entry.to_vec()))
    })
}

fn get(table: &Table, store: &Memory, number: u8, now: u64) -> Option<Vec<u8>> {
    let (secret, incidents) = (Secret::public(), Incidents::default());
    let session = Session::new(store, &secret, &incidents, Timestamp::from_millis(now));
    table.read(session, &subject(number), |entry| entry.map(<[u8]>::to_vec))
}

proptest! {
    #![proptest_config(config(100))]

    #[test]
    fn a_table_of_meters_is_a_map(
        capacity in 1_u32..8,
        writes in prop::collection::vec(
            (0_u8..30, 0_u64..20, 0_u64..60, prop::collection::vec(any::<u8>(), 0..40)), 0..80,
        ),
    ) {
        let table = Table::meters(NonZeroU32::new(capacity).unwrap());
        let (store, mut model, mut now) = (Memory::new(), HashMap::new(), 0);
        for (number, elapsed, lives, payload) in writes {
            now += elapsed;
            model.retain(|_, (expires, _)| *expires > now);
            let before = model.insert(number, (now + lives, payload.clone())).map(|(_, payload)| payload);
            prop_assert_eq!(put(&table, &store, number, now, now + lives, &payload), Ok(before));
            for number in 0..30 {
                let live = model.get(&number).filter(|(expires, _)| *expires > now);
                let expected = live.map(|(_, payload)| payload.clone());
                prop_assert_eq!(get(&table, &store, number, now), expected);
            }
            prop_assert!(store.keys() <= capacity as usize);
        }
    }

    #[test]
    fn a_cache_forgets_but_never_mixes_up_and_never_grows(
        capacity in 1_u32..40,
        writes in prop::collection::vec((any::<u8>(), any::<[u8; 5]>()), 0..300),
    ) {
        let table = Table::cache("tokens", NonZeroU32::new(capacity).unwrap());
        let (store, mut model) = (Memory::new(), HashMap::new());
        for (number, payload) in writes {
            put(&table, &store, number, 0, 1, &payload).unwrap();
            model.insert(number, payload.to_vec());
            prop_assert_eq!(get(&table, &store, number, 0), Some(payload.to_vec()), "the newest is there");
            let slots = capacity.div_ceil(4) as usize;
            prop_assert!(store.keys() <= slots && store.bytes() <= slots * (1 + 4 * (28 + 5)));
        }
        for (number, payload) in &model {
            prop_assert!(get(&table, &store, *number, 0).is_none_or(|found| found == *payload));
        }
    }

    #[test]
    fn a_slot_with_any_bytes_can_be_read_and_written(
        junk in prop::collection::vec(any::<u8>(), 0..120),
        valid in prop::collection::vec(any::<u8>(), 0..40),
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3),
        mutate in any::<bool>(),
    ) {
        let table = Table::meters(NonZeroU32::MIN);
        let store = Memory::new();
        if mutate {
            put(&table, &store, 1, 0, 10, &valid).unwrap();
            put(&table, &store, 2, 0, 10, &valid).unwrap();
            store.update("sidegate/meters/0", |bytes| {
                let mut bytes = bytes.unwrap().to_vec();
                for (index, byte) in &flips {
                    let index = index.index(bytes.len());
                    bytes[index] = *byte;
                }
                (Write::Replace(bytes), ())
            }).unwrap();
        } else {
            store.compare_and_swap("sidegate/meters/0", &junk, ABSENT).unwrap();
        }
        get(&table, &store, 1, 0);
        put(&table, &store, 3, 0, 10, b"new").unwrap();
        prop_assert_eq!(get(&table, &store, 3, 0), Some(b"new".to_vec()));
    }
}
