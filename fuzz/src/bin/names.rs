//! Names, ids and amounts. What must hold is in `execgate_model::fuzz`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| execgate_model::fuzz::names(bytes));
