//! The planted bugs (tests/sim/bugs, tests/proxy/bugs) against the tree: a patch that no longer fits would show nothing when it is needed.

use crate::rules::Finding;

/// Hunks of a unified diff whose old lines are not in the file that they name. `read` gives a file's text.
pub fn misfits(path: &str, patch: &str, read: impl Fn(&str) -> Option<String>) -> Vec<Finding> {
    let (mut file, mut old, mut from) = (None, Vec::new(), 0);
    let mut found = Vec::new();
    let mut close = |file: &Option<String>, old: &mut Vec<&str>, from: usize| {
        let hunk = std::mem::take(old).join("\n");
        if !hunk.is_empty() && !file.as_ref().is_some_and(|text| text.contains(&hunk)) {
            found.push(Finding {
                path: path.to_owned(),
                line: from,
                what: "a hunk that no longer fits the tree".to_owned(),
            });
        }
    };
    for (number, line) in patch.lines().enumerate() {
        if let Some(name) = line.strip_prefix("--- a/") {
            close(&file, &mut old, from);
            file = read(name);
        } else if line.starts_with("@@ ") {
            close(&file, &mut old, from);
            from = number + 1;
        } else if let Some(kept) = line.strip_prefix([' ', '-']).filter(|_| from > 0 && !line.starts_with("--- ")) {
            old.push(kept);
        } else if line.is_empty() && from > 0 {
            old.push("");
        }
    }
    close(&file, &mut old, from);
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATCH: &str = "--- a/x.rs\n+++ b/x.rs\n@@ -1,3 +1,3 @@\n one\n-two\n+2\n three\n";

    #[test]
    fn a_patch_of_a_tree_that_went_on_is_found() {
        let with = |text: &'static str| misfits("p", PATCH, move |name| (name == "x.rs").then(|| text.to_owned()));
        assert!(with("zero\none\ntwo\nthree\n").is_empty());
        assert_eq!(with("one\n2\nthree\n").len(), 1);
        assert_eq!(misfits("p", PATCH, |_| None).len(), 1, "the file is gone");
    }
}
