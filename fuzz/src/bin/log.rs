//! Proofs, checkpoints and tiles of a log. What must hold is in `execgate_receipt::fuzz`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| execgate_receipt::fuzz::log(bytes));
