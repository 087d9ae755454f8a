//! Fuzzes `fuzz::rdap` of the daemon.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| pillory::fuzz::rdap(data));
