//! The documentation of [`Store`] as assertions: one suite for every store, including test doubles.
//!
//! Envoy's shared data cannot be driven from here; `tests/envoy_quota.rs` shows the same there
//! (`exactly_as_many_are_admitted_as_the_limits_say`).

#![expect(clippy::panic, reason = "a broken promise fails the test that runs the suite")]

use std::collections::HashMap;

use super::{ABSENT, ATTEMPTS, Cas, Contended, Lost, Store, Write};

const KEY: &str = "contract/key";
const OTHER: &str = "contract/other";

/// Checks the stores that `new` makes, all of them empty, for everything that one worker can observe.
pub fn holds<S: Store>(new: impl Fn() -> S) {
    a_key_that_was_never_written_is_absent(&new());
    a_key_is_inserted_only_if_it_is_absent(&new());
    a_revision_serves_for_one_swap_and_never_comes_back(&new());
    keys_do_not_affect_each_other(&new());
    reading_and_keeping_write_nothing(&new());
    an_update_between_look_and_swap_is_not_lost(&new());
}

/// Checks one empty store for what threads can observe that use it at the same time.
#[cfg(not(target_family = "wasm"))]
pub fn holds_among_threads<S: Store + Sync>(store: &S) {
    const THREADS: usize = 8;
    const UPDATES: usize = 500;
    let append = |bytes: Option<&[u8]>| {
        let mut new = bytes.unwrap_or_default().to_vec();
        new.push(b'+');
        (Write::Replace(new), ())
    };
    let update_and_look = || {
        let mut seen = HashMap::new();
        for _ in 0..UPDATES {
            while store.update(KEY, append).is_err() {}
            if let (Some(bytes), Some(revision)) = store.get(KEY) {
                seen.insert(revision, bytes.len());
            }
        }
        seen
    };
    let seen: Vec<HashMap<Cas, usize>> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(update_and_look)).collect();
        threads.into_iter().filter_map(|thread| thread.join().ok()).collect()
    });
    assert_eq!(seen.len(), THREADS, "a thread has panicked");
    let length = store.read(KEY, |bytes| bytes.map(<[u8]>::len));
    assert_eq!(length, THREADS.checked_mul(UPDATES), "an update is lost");
    let mut lengths = HashMap::new();
    for (revision, length) in seen.into_iter().flatten() {
        let first = *lengths.entry(revision).or_insert(length);
        assert_eq!(first, length, "bytes and revision {revision} do not belong together");
    }
}

/// Checks a store in which another worker always wins: nothing must be written.
pub fn is_contended(store: &impl Store) {
    let before = store.get(KEY);
    let revision = before.1.unwrap_or(ABSENT);
    assert_eq!(store.compare_and_swap(KEY, b"ours", revision), Err(Lost));
    let mut decisions: u32 = 0;
    let outcome = store.update(KEY, |_| {
        decisions = decisions.saturating_add(1);
        (Write::Replace(b"ours".to_vec()), ())
    });
    assert_eq!((outcome, decisions), (Err(Contended), ATTEMPTS));
    assert_eq!(
        store.update(KEY, |_| (Write::Keep, "kept")),
        Ok("kept"),
        "an update without a write cannot lose"
    );
    assert_eq!(store.get(KEY), before, "something was written");
}

fn a_key_that_was_never_written_is_absent(store: &impl Store) {
    assert_eq!(store.get(KEY), (None, None));
    assert!(store.read(KEY, |bytes| bytes.is_none()));
}

fn a_key_is_inserted_only_if_it_is_absent(store: &impl Store) {
    assert_eq!(store.compare_and_swap(KEY, b"first", ABSENT), Ok(()));
    let inserted = present(store, KEY);
    assert_eq!(inserted.0, b"first");
    assert_ne!(inserted.1, ABSENT, "no value has the revision of absent keys");
    assert_eq!(store.compare_and_swap(KEY, b"second", ABSENT), Err(Lost));
    assert_eq!(present(store, KEY), inserted, "a lost swap changes nothing");
}

fn a_revision_serves_for_one_swap_and_never_comes_back(store: &impl Store) {
    assert_eq!(store.compare_and_swap(KEY, b"value", ABSENT), Ok(()));
    let mut used = Vec::new();
    for _ in 0..20 {
        let (_, revision) = present(store, KEY);
        assert!(!used.contains(&revision), "revision {revision} is used again");
        // The same bytes again are a change too.
        assert_eq!(store.compare_and_swap(KEY, b"value", revision), Ok(()));
        used.push(revision);
        let current = present(store, KEY);
        for revision in &used {
            assert_eq!(store.compare_and_swap(KEY, b"late", *revision), Err(Lost));
        }
        assert_eq!(present(store, KEY), current, "a lost swap changes nothing");
    }
}

fn keys_do_not_affect_each_other(store: &impl Store) {
    assert_eq!(store.compare_and_swap(KEY, b"one", ABSENT), Ok(()));
    let one = present(store, KEY);
    assert_eq!(store.get(OTHER), (None, None));
    assert_eq!(store.compare_and_swap(OTHER, b"two", ABSENT), Ok(()));
    assert_eq!(store.compare_and_swap(OTHER, b"three", present(store, OTHER).1), Ok(()));
    assert_eq!(present(store, KEY), one);
    assert_eq!(present(store, OTHER).0, b"three");
}

fn reading_and_keeping_write_nothing(store: &impl Store) {
    assert_eq!(store.update(KEY, |bytes| (Write::Keep, bytes.is_none())), Ok(true));
    assert_eq!(store.get(KEY), (None, None));
    assert_eq!(store.compare_and_swap(KEY, b"value", ABSENT), Ok(()));
    let before = present(store, KEY);
    assert!(store.read(KEY, |bytes| bytes == Some(b"value")));
    assert_eq!(store.update(KEY, |bytes| (Write::Keep, bytes == Some(b"value"))), Ok(true));
    assert_eq!(present(store, KEY), before);
}

/// For an existing key, and for a key that both workers create.
fn an_update_between_look_and_swap_is_not_lost(store: &impl Store) {
    let append =
        |bytes: Option<&[u8]>, what: &[u8]| Write::Replace([bytes.unwrap_or_default(), what].concat());
    let mut expected = Vec::new();
    for _ in 0..2 {
        let mut decisions: u32 = 0;
        let seen = store.update(KEY, |bytes| {
            decisions = decisions.saturating_add(1);
            if decisions == 1 {
                assert_eq!(store.update(KEY, |bytes| (append(bytes, b"theirs,"), ())), Ok(()));
            }
            (append(bytes, b"ours,"), bytes.map(<[u8]>::to_vec))
        });
        expected.extend_from_slice(b"theirs,");
        assert_eq!(
            (seen, decisions),
            (Ok(Some(expected.clone())), 2),
            "the second decision sees their bytes"
        );
        expected.extend_from_slice(b"ours,");
        assert_eq!(present(store, KEY).0, expected);
    }
}

/// The bytes and the revision of an existing key.
fn present(store: &impl Store, key: &str) -> (Vec<u8>, Cas) {
    let (Some(bytes), Some(revision)) = store.get(key) else { panic!("`{key}` is absent") };
    (bytes, revision)
}
