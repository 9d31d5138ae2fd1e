//! The head of a request to a run's proxy. What must hold is in `execgate_sandbox::fuzz`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| execgate_sandbox::fuzz::proxy_head(bytes));
