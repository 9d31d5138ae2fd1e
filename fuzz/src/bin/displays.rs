//! What a guest displays. What must hold is in `execgate_tool::fuzz`.
#![no_main]

use execgate_receipt::canonical;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let shown = execgate_tool::fuzz::displays(bytes);
    assert!(shown.iter().all(|result| canonical(result).is_ok()), "a receipt can be made of it");
});
