//! The first bytes of a TLS client, as a run's proxy reads them. What must hold is in `execgate_sandbox::fuzz`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| execgate_sandbox::fuzz::client_hello(bytes));
