#![no_main]

#[path = "../../tests/fuzz/differential.rs"]
mod differential;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| differential::forwarded_is_the_same_message(bytes));
