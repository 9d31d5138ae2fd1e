//! What clients of x402 send as a payment. What must hold is in `execgate_payment::fuzz`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| execgate_payment::fuzz::x402_payment(bytes));
