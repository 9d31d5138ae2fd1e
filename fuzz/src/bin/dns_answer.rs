//! A name server's answer, as a run's proxy reads it. What must hold is in `execgate_sandbox::fuzz`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| execgate_sandbox::fuzz::dns_answer(bytes));
