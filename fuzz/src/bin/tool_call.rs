//! The body of a call of an action. What must hold is in `execgate_web::fuzz`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| execgate_web::fuzz::tool_call(bytes));
