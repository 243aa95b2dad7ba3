//! Hosts, paths and expressions of a policy, and requests for it.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| sidegate::fuzzing::paths(bytes));
