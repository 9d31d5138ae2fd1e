//! The policy file, and decisions under whatever of it is taken.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| execgate_policy::fuzz::policy(bytes));
