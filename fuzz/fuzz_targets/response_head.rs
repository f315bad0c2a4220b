#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| tollgate::http::response::fuzz_response(bytes));
