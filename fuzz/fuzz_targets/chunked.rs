#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| tollgate::http::chunked::fuzz_chunked(bytes));
