//! Puts the commit into `tollgate --version`. A build outside a checkout of its own says "unknown".

use std::path::{Path, PathBuf};
use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let commit = if is_own_checkout() { git(&["rev-parse", "--short=12", "HEAD"]) } else { None };
    println!("cargo:rustc-env=TOLLGATE_COMMIT={}", commit.as_deref().unwrap_or("unknown"));
    if commit.is_some() {
        // HEAD changes when another branch is checked out. A commit changes what HEAD refers to (a file of its own, or a line among the
        // packed ones) and the log of HEAD. A path that is not there would be a reason to build every time.
        let branch = git(&["symbolic-ref", "--quiet", "HEAD"]);
        let files = ["HEAD", "logs/HEAD", "packed-refs"].into_iter().chain(branch.as_deref());
        for path in files.filter_map(|file| git(&["rev-parse", "--git-path", file])).filter(|path| is_file(path)) {
            println!("cargo:rerun-if-changed={path}");
        }
    }
}

/// True if git knows this directory as the top of a checkout: sources unpacked inside somebody else's have no commit.
fn is_own_checkout() -> bool {
    let real = |path: PathBuf| path.canonicalize().ok();
    let here = std::env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from).and_then(real);
    here.is_some() && git(&["rev-parse", "--show-toplevel"]).map(PathBuf::from).and_then(real) == here
}

fn is_file(path: &str) -> bool {
    Path::new(path).is_file()
}

/// What git says, in one line; nothing if it fails or is not there.
fn git(words: &[&str]) -> Option<String> {
    let said = Command::new("git").args(words).output().ok().filter(|said| said.status.success())?;
    Some(String::from_utf8(said.stdout).ok()?.trim().to_owned())
}
