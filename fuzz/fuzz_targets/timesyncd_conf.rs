#![no_main]

#[path = "../host_entries.rs"]
mod entries;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| entries::timesyncd_conf(bytes));
