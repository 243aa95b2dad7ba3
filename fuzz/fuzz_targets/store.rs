//! Bytes in the store: slots, meters, cached identities.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| sidegate::fuzzing::store(bytes));
