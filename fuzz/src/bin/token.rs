//! Tokens of strangers, and sets of keys. What must hold is in `execgate_iam::fuzz`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| execgate_iam::fuzz::token(bytes));
