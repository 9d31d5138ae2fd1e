//! Headers and body of a call of code. What must hold is in `execgate_web::fuzz`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| execgate_web::fuzz::code_request(bytes));
