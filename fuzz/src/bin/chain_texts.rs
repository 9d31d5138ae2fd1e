//! Addresses, networks, numbers and signatures, as chains write them. What must hold is in `execgate_payment::fuzz`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| execgate_payment::fuzz::chain_texts(bytes));
