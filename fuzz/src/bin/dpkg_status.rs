//! The database of dpkg. What must hold is in `execgate_sandbox::fuzz`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| execgate_sandbox::fuzz::dpkg_status(bytes));
