//! Replies of 3scale's backend.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| sidegate::fuzzing::threescale(bytes));
