//! Requests through a fixed policy.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| sidegate::fuzzing::request(bytes));
