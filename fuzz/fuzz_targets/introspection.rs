//! Replies of an introspection endpoint.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| sidegate::fuzzing::introspection(bytes));
