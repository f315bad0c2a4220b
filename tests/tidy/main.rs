//! The house rules as an ordinary test: it reads the tree and names every line that breaks one.
//! ARCHITECTURE §2's table of layers is `layers::ROOMS`; a new room gets a row there.

use std::fs;
use std::path::{Path, PathBuf};

mod layers;
mod patches;
mod rules;
mod tokens;

use rules::Finding;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Every file below `dir` whose name ends with one of `ends`, by path from the root; build output and version control aside.
fn files_below(dir: &Path, ends: &[&str], found: &mut Vec<(String, String)>) {
    let mut entries: Vec<_> = fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    entries.sort();
    for path in entries {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        // In a worktree .git is a file that says where the rest lies.
        if matches!(name, "target" | ".git") {
            continue;
        }
        if path.is_dir() {
            files_below(&path, ends, found);
        } else if ends.is_empty() || ends.iter().any(|end| name.ends_with(end)) {
            let from_root = path.strip_prefix(root()).expect("below the root").to_string_lossy().into_owned();
            // What is not text is none of this test's business.
            if let Ok(text) = fs::read_to_string(&path) {
                found.push((from_root, text));
            }
        }
    }
}

fn files(dirs: &[&str], ends: &[&str]) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for dir in dirs {
        files_below(&root().join(dir), ends, &mut found);
    }
    assert!(!found.is_empty(), "nothing to read in {dirs:?}");
    found
}

fn fail_on(findings: Vec<Finding>) {
    let text: Vec<String> = findings.iter().map(ToString::to_string).collect();
    assert!(text.is_empty(), "{} broken house rules:\n{}", text.len(), text.join("\n"));
}

#[test]
fn every_path_between_rooms_is_an_edge_of_the_table() {
    fail_on(files(&["src"], &[".rs"]).iter().flat_map(|(path, text)| layers::edges(path, text)).collect());
}

#[test]
fn crates_with_io_stay_in_their_rooms() {
    fail_on(files(&["src"], &[".rs"]).iter().flat_map(|(path, text)| layers::foreign_crates(path, text)).collect());
}

#[test]
fn pure_rooms_know_no_clock_file_or_socket() {
    fail_on(files(&["src"], &[".rs"]).iter().flat_map(|(path, text)| layers::impurities(path, text)).collect());
}

#[test]
fn unsafe_is_written_in_io_and_base_only() {
    fail_on(files(&["src"], &[".rs"]).iter().flat_map(|(path, text)| rules::unsafe_blocks(path, text)).collect());
}

#[test]
fn files_and_functions_are_of_a_size_to_read() {
    let all = files(&["src", "tests", "tools", "benches", "fuzz"], &[".rs"]);
    fail_on(all.iter().flat_map(|(path, text)| rules::sizes(path, text)).collect());
}

#[test]
fn names_and_modules_follow_the_house() {
    let all = files(&["src", "tools"], &[".rs"]);
    fail_on(all.iter().flat_map(|(path, text)| rules::names(path, text)).collect());
}

#[test]
fn nothing_is_left_undone() {
    let all = files(&["src", "tests", "tools", "benches"], &[".rs"]);
    fail_on(all.iter().flat_map(|(path, text)| rules::unfinished(path, text)).collect());
}

#[test]
fn no_file_names_a_path_of_the_machine_it_was_written_on() {
    fail_on(files(&["."], &[]).iter().flat_map(|(path, text)| rules::machine_paths(path, text)).collect());
}

#[test]
fn every_planted_bug_still_fits_the_tree() {
    let all = files(&["tests/sim/bugs", "tests/proxy/bugs"], &[".patch"]);
    let read = |name: &str| fs::read_to_string(root().join(name)).ok();
    fail_on(all.iter().flat_map(|(path, text)| patches::misfits(path, text, read)).collect());
}
