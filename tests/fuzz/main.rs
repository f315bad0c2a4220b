//! The fuzz corpora replayed on stable Rust: what once led a fuzzer somewhere keeps its invariants. The search itself is `tools/fuzz`.

mod differential;
mod splits;

use std::fs;
use std::path::PathBuf;

use tollgate::http::{chunked, recode, request, response, uri};

/// Inputs of one target, with their names.
fn corpus(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let directory = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let entries = fs::read_dir(&directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    let mut found: Vec<_> = entries
        .map(|entry| entry.expect("a directory of ours").path())
        .map(|path| (path.clone(), fs::read(&path).expect("a file of ours")))
        .collect();
    found.sort();
    assert!(found.len() >= 20, "{}: {} inputs are too few to mean anything", directory.display(), found.len());
    found
}

/// Runs every input as it is, cut at each of its bytes, and with each of its first bytes changed.
fn replay(target: &str, body: impl Fn(&[u8])) {
    for (path, bytes) in corpus(target) {
        let shown = path.display().to_string();
        let run = |bytes: &[u8]| {
            let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| body(bytes)));
            assert!(outcome.is_ok(), "{shown}: {}", bytes.escape_ascii());
        };
        run(&bytes);
        for end in 0..bytes.len().min(256) {
            run(&bytes[..end]);
            let mut damaged = bytes.clone();
            damaged[end] ^= 0x20;
            run(&damaged);
        }
    }
}

#[test]
fn request_heads_keep_their_invariants() {
    replay("request_head", request::fuzz_request);
}

#[test]
fn response_heads_keep_their_invariants() {
    replay("response_head", response::fuzz_response);
}

#[test]
fn chunked_bodies_keep_their_invariants() {
    replay("chunked", chunked::fuzz_chunked);
}

#[test]
fn paths_and_queries_keep_their_invariants() {
    replay("uri", uri::fuzz_normalize);
}

#[test]
fn bodies_go_on_as_the_same_bodies() {
    replay("recode", recode::fuzz_recode);
}

#[test]
fn what_goes_on_is_the_same_message_to_another_reader() {
    replay("differential", differential::forwarded_is_the_same_message);
}

#[test]
fn every_target_is_replayed() {
    let targets = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fuzz/fuzz_targets");
    let mut names: Vec<_> = fs::read_dir(targets)
        .expect("the fuzz targets")
        .map(|entry| entry.expect("a file").path().file_stem().expect("a name").to_string_lossy().into_owned())
        .collect();
    names.sort();
    assert_eq!(names, ["chunked", "differential", "recode", "request_head", "response_head", "uri"]);
}
