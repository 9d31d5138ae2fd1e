//! What a run's proxy tells of its decisions. What must hold is in `execgate_sandbox::fuzz`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| execgate_sandbox::fuzz::network_report(bytes));
