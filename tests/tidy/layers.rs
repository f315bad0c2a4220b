//! Which room may use what: ARCHITECTURE §2's table, and the checks that hold it.

use crate::rules::{Finding, is_test};
use crate::tokens::{Token, tokens, without_tests};

/// One room: its layer, and what it may use besides every lower layer it is given.
struct Room {
    name: &'static str,
    /// Rooms that it may use, each with a module of it that may be named (`""`: all of it); several rows for several modules.
    uses: &'static [(&'static str, &'static str)],
    /// True if it knows bytes, time as a value and state, and nothing outside.
    pure: bool,
}

const fn room(name: &'static str, uses: &'static [(&'static str, &'static str)], pure: bool) -> Room {
    Room { name, uses, pure }
}

/// Shorthand for "all of this room".
macro_rules! all_of {
    ($($name:literal)*) => { &[$(($name, "")),*] };
}

/// The table.
const ROOMS: &[Room] = &[
    // 0
    room("base", &[], true),
    // 1, pure, with their public edges
    room("http", all_of!("base"), true),
    room("upstream", all_of!("base"), true),
    room("kafka", all_of!("base"), true),
    room("route", all_of!("base" "http"), true),
    room("log", &[("base", ""), ("http", ""), ("kafka", "batch")], true),
    room("spool", &[("base", ""), ("kafka", "batch"), ("kafka", "stored")], true),
    // 2
    room("config", all_of!("base" "http" "route" "upstream" "log" "kafka" "spool"), true),
    // 3
    room("io", all_of!("base" "http" "route" "upstream" "log" "kafka" "spool"), false),
    // 4
    room("worker", all_of!("base" "http" "route" "upstream" "log" "kafka" "spool" "config" "io"), false),
    // 5
    room("control", all_of!("base" "http" "route" "upstream" "log" "kafka" "spool" "config"), false),
];

/// Layer 6 may use every room, and no room may use it: `main.rs`, and the commands behind it, which put the rooms together.
const COMMAND_LINE: &[&str] = &["main", "command"];

/// Crates that only some places may name: crate, places, by the beginning of the path. The commands hold the demo's upstream and
/// wait for `control`'s readers: tokio and axum are theirs too.
const CRATES: &[(&str, &[&str])] = &[
    ("monoio", &["src/io/", "src/worker/"]),
    ("io_uring", &["src/io/"]),
    ("tokio", &["src/control/", "src/command/"]),
    ("axum", &["src/control/", "src/command/"]),
    ("redb", &["src/control/"]),
    ("devbroker", &["src/command/"]),
    ("kafka_protocol", &["src/kafka/codec/", "src/kafka/codec.rs"]),
];

/// Paths of std that reach outside, by their last two words.
const OUTSIDE: &[(&str, &str)] = &[
    ("std", "fs"),
    ("std", "thread"),
    ("std", "process"),
    ("std", "env"),
    ("net", "TcpStream"),
    ("net", "TcpListener"),
    ("net", "UdpSocket"),
    ("net", "ToSocketAddrs"),
    ("unix", "net"),
    ("time", "Instant"),
    ("time", "SystemTime"),
];
/// Crates that reach outside.
const OUTSIDE_CRATES: &[&str] = &["libc", "socket2", "getrandom", "monoio", "tokio", "axum", "redb", "io_uring"];

/// The room a file belongs to; nothing for `lib.rs`, which only lists them.
fn room_of(path: &str) -> Option<&str> {
    let first = path.trim_start_matches("src/").split('/').next()?.trim_end_matches(".rs");
    Some(first).filter(|room| *room != "lib")
}

/// Layer 6: may use everything.
fn is_command_line(path: &str) -> bool {
    room_of(path).is_some_and(|room| COMMAND_LINE.contains(&room))
}

/// Product code only: files of tests and `#[cfg(test)]` items may look anywhere.
fn product_tokens(path: &str, text: &str) -> Vec<Token> {
    if is_test(path) {
        return Vec::new();
    }
    without_tests(&tokens(text))
}

/// A path that was found: its words and where it stands.
#[derive(Debug, PartialEq, Eq)]
struct Found {
    words: Vec<String>,
    line: usize,
}

/// Every path that begins with a word that `begins` accepts, groups in braces taken apart.
fn paths(all: &[Token], begins: impl Fn(&str) -> bool) -> Vec<Found> {
    let mut found = Vec::new();
    for (at, token) in all.iter().enumerate() {
        let is_inside = at >= 2 && all[at - 1].text == ":" && all[at - 2].text == ":";
        if token.is_word() && !is_inside && begins(&token.text) {
            follow(all, at, &mut Vec::new(), &mut found);
        }
    }
    found
}

/// Reads the path at `at` behind `prefix`, adds every leaf to `found` and gives the index behind it.
fn follow(all: &[Token], mut at: usize, prefix: &mut Vec<String>, found: &mut Vec<Found>) -> usize {
    let depth = prefix.len();
    let line = all.get(at).map_or(0, |token| token.line);
    while let Some(token) = all.get(at) {
        if token.text == "{" {
            at += 1;
            while let Some(token) = all.get(at).filter(|token| token.text != "}") {
                at = if token.is_word() || matches!(token.text.as_str(), "{" | "*") {
                    follow(all, at, prefix, found)
                } else {
                    at + 1
                };
            }
            prefix.truncate(depth);
            return at + 1;
        }
        prefix.push(token.text.clone());
        let goes_on = [1, 2].iter().all(|ahead| all.get(at + ahead).is_some_and(|token| token.text == ":"));
        at += 1;
        let next_is_path = |token: &Token| token.is_word() || matches!(token.text.as_str(), "{" | "*");
        if !goes_on || !all.get(at + 2).is_some_and(next_is_path) {
            break;
        }
        at += 2;
    }
    found.push(Found { words: prefix.clone(), line });
    prefix.truncate(depth);
    at
}

/// Every use of another room that is not in the table.
pub fn edges(path: &str, text: &str) -> Vec<Finding> {
    let Some(from) = room_of(path).filter(|_| !is_command_line(path)) else { return Vec::new() };
    let Some(room) = ROOMS.iter().find(|room| room.name == from) else {
        return vec![Finding::new(path, 1, format!("room {from} has no row in ARCHITECTURE §2's table"))];
    };
    let all = product_tokens(path, text);
    let mut wrong = Vec::new();
    for found in paths(&all, |word| word == "crate") {
        let (to, module) = (found.words.get(1), found.words.get(2));
        let Some(to) = to.filter(|to| to.as_str() != from && to.as_str() != "*") else { continue };
        let only: Vec<&str> = room.uses.iter().filter(|(name, _)| name == to).map(|(_, only)| *only).collect();
        if only.is_empty() {
            wrong.push(Finding::new(path, found.line, format!("{from} → {to} is no edge of the table")));
        } else if !only.contains(&"") && module.is_none_or(|module| !only.contains(&module.as_str())) {
            let only = only.join(" and ");
            let what = format!("{from} → {to} is an edge for {to}::{only} only, not for {}", found.words.join("::"));
            wrong.push(Finding::new(path, found.line, what));
        }
    }
    wrong.extend(climbs(path, &all));
    wrong
}

/// `super::super::…` that climbs out of the room would hide an edge.
fn climbs(path: &str, all: &[Token]) -> Vec<Finding> {
    // src/http/mod.rs sits in the room itself; every further directory, and a file that is not mod.rs, is one level down.
    let parts: Vec<&str> = path.trim_start_matches("src/").split('/').collect();
    let is_own_level = parts.last().is_some_and(|last| *last == "mod.rs") || parts.len() == 1;
    let levels = parts.len() - 1 - usize::from(is_own_level && parts.len() > 1);
    let count = |found: &Found| found.words.iter().take_while(|word| *word == "super").count();
    let out = paths(all, |word| word == "super").into_iter().filter(|found| count(found) > levels);
    out.map(|found| Finding::new(path, found.line, format!("{} climbs out of its room", found.words.join("::"))))
        .collect()
}

/// Crates named where they do not belong.
pub fn foreign_crates(path: &str, text: &str) -> Vec<Finding> {
    let all = product_tokens(path, text);
    let mut wrong = Vec::new();
    for (name, places) in CRATES {
        if places.iter().any(|place| path.starts_with(place)) {
            continue;
        }
        for found in paths(&all, |word| word == *name) {
            wrong.push(Finding::new(path, found.line, format!("{name} belongs in {}", places.join(" and "))));
        }
    }
    wrong
}

/// What a pure room must not know.
pub fn impurities(path: &str, text: &str) -> Vec<Finding> {
    let is_pure = room_of(path).is_some_and(|from| ROOMS.iter().any(|room| room.pure && room.name == from));
    if !is_pure {
        return Vec::new();
    }
    let mut wrong = Vec::new();
    for found in paths(&product_tokens(path, text), |word| word == "std" || OUTSIDE_CRATES.contains(&word)) {
        let reaches = |pair: &[String]| OUTSIDE.iter().any(|(first, second)| pair[0] == *first && pair[1] == *second);
        if found.words[0] != "std" || found.words.windows(2).any(reaches) {
            let what = format!("{} reaches outside; a pure room is handed values", found.words.join("::"));
            wrong.push(Finding::new(path, found.line, what));
        }
    }
    wrong
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whats(found: &[Finding]) -> Vec<&str> {
        found.iter().map(|finding| finding.what.as_str()).collect()
    }

    #[test]
    fn groups_are_taken_apart() {
        let all = tokens("use crate::{base::{Fault, time::Mono}, io::*}; let a = crate::http::B::new();");
        let words: Vec<String> = paths(&all, |word| word == "crate").iter().map(|f| f.words.join("::")).collect();
        assert_eq!(words, ["crate::base::Fault", "crate::base::time::Mono", "crate::io::*", "crate::http::B::new"]);
    }

    #[test]
    fn a_planted_edge_is_found_in_a_use_a_group_and_a_body() {
        assert_eq!(edges("src/http/head.rs", "use crate::log::plan::Plan;").len(), 1);
        assert_eq!(edges("src/control/admin.rs", "use crate::{base::Fault, io::clock};").len(), 1);
        assert_eq!(edges("src/io/relay.rs", "fn a() { crate::config::snapshot::b() }").len(), 1);
        assert_eq!(edges("src/config/mod.rs", "use crate::route::Table;"), []);
        assert_eq!(edges("src/http/head.rs", "use crate::http::Span; // crate::io\n"), []);
    }

    #[test]
    fn an_edge_for_one_module_is_no_edge_for_another() {
        assert_eq!(edges("src/log/entry.rs", "use crate::kafka::batch::Open;"), []);
        assert_eq!(edges("src/log/entry.rs", "use crate::kafka::{batch, ring::Ring};").len(), 1);
        assert_eq!(edges("src/log/entry.rs", "use crate::kafka;").len(), 1);
        assert_eq!(edges("src/spool/store.rs", "use crate::kafka::{batch::Sealed, stored::Stored};"), []);
        assert_eq!(edges("src/spool/store.rs", "use crate::kafka::{batch::Sealed, ring::Ring};").len(), 1);
    }

    #[test]
    fn a_room_without_a_row_is_found_and_the_command_line_is_none() {
        assert_eq!(whats(&edges("src/cache/mod.rs", "")), ["room cache has no row in ARCHITECTURE §2's table"]);
        assert_eq!(edges("src/command/demo.rs", "use crate::io::a;"), []);
        assert_eq!(edges("src/control/mod.rs", "use crate::command::run;").len(), 1);
        assert_eq!(edges("src/lib.rs", "pub use crate::io::a;"), []);
    }

    #[test]
    fn a_planted_climb_out_of_the_room_is_found() {
        assert_eq!(edges("src/http/mod.rs", "use super::log::a;").len(), 1);
        assert_eq!(edges("src/http/head.rs", "use super::fields::Span;"), []);
        assert_eq!(edges("src/http/head.rs", "use super::super::log::a;").len(), 1);
        assert_eq!(edges("src/control/store/yaml.rs", "use super::super::admin::a;"), []);
    }

    #[test]
    fn a_planted_foreign_crate_is_found_outside_its_room_and_allowed_in_tests() {
        assert_eq!(foreign_crates("src/kafka/batch.rs", "use kafka_protocol::messages::A;").len(), 1);
        assert_eq!(foreign_crates("src/main.rs", "use kafka_protocol::a;").len(), 1);
        assert_eq!(foreign_crates("src/kafka/codec/mod.rs", "use kafka_protocol::messages::A;"), []);
        assert_eq!(foreign_crates("src/control/admin.rs", "fn a() { monoio::spawn(b) }").len(), 1);
        assert_eq!(foreign_crates("src/main.rs", "fn a() { tokio::b() }").len(), 1);
        assert_eq!(foreign_crates("src/command/demo/echo.rs", "use axum::Router; use tokio::a;"), []);
        assert_eq!(foreign_crates("src/command/run.rs", "use monoio::a; use redb::b;").len(), 2);
        let in_tests = "#[cfg(test)]\nmod tests { use kafka_protocol::a; }";
        assert_eq!(foreign_crates("src/kafka/batch.rs", in_tests), []);
    }

    #[test]
    fn a_planted_clock_file_or_socket_is_found_in_a_pure_room() {
        assert_eq!(impurities("src/http/a.rs", "use std::time::{Duration, Instant};").len(), 1);
        assert_eq!(impurities("src/kafka/a.rs", "fn a() { std::fs::read(b) }").len(), 1);
        assert_eq!(impurities("src/upstream/a.rs", "use std::net::{SocketAddr, TcpStream};").len(), 1);
        assert_eq!(impurities("src/config/a.rs", "fn a() { libc::time(b) }").len(), 1);
        assert_eq!(impurities("src/http/a.rs", "use std::time::Duration; use std::net::SocketAddr;"), []);
        assert_eq!(impurities("src/control/a.rs", "use std::fs;"), []);
    }
}
