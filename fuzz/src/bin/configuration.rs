//! The configuration file. What must hold is in the binary's `config::fuzz`, which is taken in by path: a binary is no
//! library.
#![no_main]
#![allow(dead_code, unused_imports, reason = "most of the folder is for the binary itself")]

#[path = "../../../crates/execgate/src/config/mod.rs"]
mod config;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| config::fuzz::configuration(bytes));
