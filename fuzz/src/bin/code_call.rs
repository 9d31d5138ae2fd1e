//! The payload of a call of code. What must hold is in `execgate_tool::fuzz`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| execgate_tool::fuzz::code_call(bytes));
