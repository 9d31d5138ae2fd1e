//! What a run left, cut to its answer. What must hold is in `execgate_tool::fuzz`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| execgate_tool::fuzz::answer(bytes));
