//! Fuzzes `fuzz::request` of the daemon.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| pillory::fuzz::request(data));
