//! Rules that look at one file at a time. Pure: a path and a text in, findings out.

use std::fmt;

use crate::tokens::{Token, closing, tokens};

/// Lines of the longest file.
pub const FILE_LINES: usize = 800;
/// Lines of the longest function, from `fn` to its last brace.
pub const FUNCTION_LINES: usize = 70;
/// Names that say nothing about what is inside.
const EMPTY_NAMES: &[&str] = &["util", "utils", "helper", "helpers", "manager", "common", "misc"];

/// A rule that is broken somewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The file, from the root.
    pub path: String,
    /// From 1.
    pub line: usize,
    /// What is wrong and what to do.
    pub what: String,
}

impl Finding {
    /// A finding.
    pub fn new(path: &str, line: usize, what: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line, what: what.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path, self.line, self.what)
    }
}

/// `unsafe` outside `io` and `base`.
pub fn unsafe_blocks(path: &str, text: &str) -> Vec<Finding> {
    if path.starts_with("src/io/") || path.starts_with("src/base/") {
        return Vec::new();
    }
    let is_unsafe = |token: &Token| token.text == "unsafe";
    let found = tokens(text).into_iter().filter(is_unsafe);
    found.map(|token| Finding::new(path, token.line, "unsafe: only io and base may")).collect()
}

/// Files and functions that are too long. A test may be one long table.
pub fn sizes(path: &str, text: &str) -> Vec<Finding> {
    let mut found = Vec::new();
    let lines = text.lines().count();
    if lines > FILE_LINES {
        found.push(Finding::new(path, lines, format!("{lines} lines; a file has at most {FILE_LINES}")));
    }
    if is_test(path) {
        return found;
    }
    let all = tokens(text);
    for (at, token) in all.iter().enumerate() {
        let Some((name, open)) = function_at(&all, at) else { continue };
        let lines = all[closing(&all, open)].line - token.line + 1;
        if lines > FUNCTION_LINES {
            let what = format!("fn {name} has {lines} lines; a function has at most {FUNCTION_LINES}");
            found.push(Finding::new(path, token.line, what));
        }
    }
    found
}

/// True for files that hold tests only.
pub fn is_test(path: &str) -> bool {
    path.starts_with("tests/") || path.contains("/tests/") || path.ends_with("/tests.rs") || path.ends_with("_tests.rs")
}

/// The name of the function whose `fn` is at `at` and where its body opens; nothing for a type or a declaration.
fn function_at(all: &[Token], at: usize) -> Option<(&str, usize)> {
    let name = all.get(at + 1).filter(|name| all[at].text == "fn" && name.is_word())?;
    let mut round = 0;
    for (index, token) in all.iter().enumerate().skip(at) {
        match token.text.as_str() {
            "(" | "[" => round += 1,
            ")" | "]" => round -= 1,
            ";" if round == 0 => return None,
            "{" if round == 0 => return Some((&name.text, index)),
            _ => {}
        }
    }
    None
}

/// Names that the house does not use, and modules that do not say what they are for.
pub fn names(path: &str, text: &str) -> Vec<Finding> {
    let mut found = Vec::new();
    if !text.starts_with("//!") && !is_test(path) {
        found.push(Finding::new(path, 1, "a module opens with //! and what it is for"));
    }
    let mut parts = path.trim_end_matches(".rs").split('/');
    if let Some(part) = parts.find(|part| EMPTY_NAMES.contains(part)) {
        found.push(Finding::new(path, 1, format!("`{part}` says nothing; name it after what it does")));
    }
    let all = tokens(text);
    for pair in all.windows(2) {
        let [first, second] = pair else { continue };
        if first.text == "fn" && second.text.starts_with("get_") {
            found.push(Finding::new(path, second.line, format!("fn {}: no get_ in a name", second.text)));
        }
        if first.text == "mod" && EMPTY_NAMES.contains(&second.text.as_str()) {
            found.push(Finding::new(path, second.line, format!("mod {} says nothing", second.text)));
        }
    }
    found
}

/// `todo!` and its like.
pub fn unfinished(path: &str, text: &str) -> Vec<Finding> {
    let all = tokens(text);
    let is_mark =
        |pair: &&[Token]| matches!(pair[0].text.as_str(), "todo" | "unimplemented" | "dbg") && pair[1].text == "!";
    let found = all.windows(2).filter(is_mark);
    found.map(|pair| Finding::new(path, pair[0].line, format!("{}! is left", pair[0].text))).collect()
}

/// Paths that exist only where the project is written.
pub fn machine_paths(path: &str, text: &str) -> Vec<Finding> {
    let places = [["/wo", "rk/"], ["/ro", "ot/"], ["/tmp/bash", "_jobs"]].map(|halves| halves.concat());
    let line_of = |line: &str| places.iter().find(|place| begins_path(line, place)).cloned();
    let found = text.lines().enumerate().filter_map(|(at, line)| Some((at + 1, line_of(line)?)));
    found.map(|(at, place)| Finding::new(path, at, format!("{place} is a path of one machine"))).collect()
}

/// True if `place` stands in `line` as the beginning of a path, not in the middle of one.
fn begins_path(line: &str, place: &str) -> bool {
    line.match_indices(place)
        .any(|(at, _)| !line[..at].ends_with(|before: char| before.is_alphanumeric() || before == '_'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_planted_unsafe_block_is_found_outside_io_and_base() {
        let text = "//! a\nfn f() { unsafe { g() } }\n// unsafe\n#[allow(unsafe_code)]";
        assert_eq!(unsafe_blocks("src/http/head.rs", text).len(), 1);
        assert_eq!(unsafe_blocks("src/io/socket.rs", text), []);
    }

    #[test]
    fn a_planted_long_function_is_found_and_a_declaration_is_not_one() {
        let body =
            |lines: usize| format!("//! a\ntrait T {{ fn t(a: [u8; 3]); }}\nfn long() {{{}}}\n", "\n".repeat(lines));
        assert_eq!(sizes("src/a.rs", &body(FUNCTION_LINES - 1)), []);
        let found = sizes("src/a.rs", &body(FUNCTION_LINES));
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].line, found[0].what.contains("fn long has 71 lines")), (3, true));
    }

    #[test]
    fn a_planted_long_file_is_found() {
        assert_eq!(sizes("src/a.rs", &"\n".repeat(FILE_LINES)), []);
        assert_eq!(sizes("src/a.rs", &"\n".repeat(FILE_LINES + 1)).len(), 1);
    }

    #[test]
    fn planted_empty_names_are_found() {
        assert_eq!(names("src/a.rs", "//! a\nfn get_b() {}\nfn target_c() {}\nmod helper;\n").len(), 2);
        assert_eq!(names("src/http/util.rs", "//! a\n").len(), 1);
        assert_eq!(names("src/a.rs", "use b;\n").len(), 1);
    }

    #[test]
    fn a_planted_todo_is_found_and_one_in_a_comment_is_not() {
        assert_eq!(unfinished("src/a.rs", "fn a() { todo!() } // todo!()\nfn b() { unimplemented!(\"x\") }").len(), 2);
    }

    #[test]
    fn a_planted_path_of_this_machine_is_found() {
        let planted = ["see /wo", "rk/a and net/wo", "rk/b"].concat();
        assert_eq!(machine_paths("a.md", &planted).len(), 1);
        assert_eq!(machine_paths("a.md", &["net/wo", "rk/b"].concat()), []);
    }
}
