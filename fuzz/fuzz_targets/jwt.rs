//! Tokens, and key sets.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| sidegate::fuzzing::jwt(bytes));
