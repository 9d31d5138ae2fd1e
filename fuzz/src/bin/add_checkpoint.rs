//! What witnesses are asked. What must hold is in `execgate_receipt::fuzz`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| execgate_receipt::fuzz::add_checkpoint(bytes));
