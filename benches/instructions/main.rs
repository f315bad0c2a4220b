//! Instructions per operation of the pure parts of the hot path, counted by callgrind: the same on a busy machine as on a quiet
//! one. `cargo bench --profile counted --bench instructions` compares with `benches/instructions.txt` and fails when a count rose
//! by more than 2 %; with `-- --write` it writes the file. Needs valgrind (`apt-get install valgrind`).
//!
//! Each case runs twice, the second time with more repetitions; the difference divided by the difference of the repetitions is
//! the cost of one, whatever the process costs around it. The profile `counted` builds in half the time of `packaged`, without
//! calls from crate to crate being inlined: its counts are for comparing with each other, not for what a packaged gateway costs.

use std::process::{Command, ExitCode};

mod cases;
mod heads;
mod record;

/// Repetitions of the first run: warms what is warmed once.
const FEW: u64 = 100;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["case", name, count] => run_case(name, count),
        // `cargo test --benches` builds and starts benches too; counting is not its business.
        _ if words.contains(&"--test") => ExitCode::SUCCESS,
        _ => count_all(words.contains(&"--write")),
    }
}

fn run_case(name: &str, count: &str) -> ExitCode {
    let (Some((.., case)), Ok(count)) = (cases::ALL.iter().find(|(found, ..)| *found == name), count.parse()) else {
        eprintln!("no case {name} {count}");
        return ExitCode::FAILURE;
    };
    case(count);
    ExitCode::SUCCESS
}

/// Instructions of a process that repeats a case so often.
fn instructions(name: &str, count: u64) -> Result<u64, String> {
    let own = std::env::current_exe().map_err(|error| error.to_string())?;
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(own)
        .args(["case", name, &count.to_string()])
        .output()
        .map_err(|error| format!("valgrind does not start ({error}): apt-get install valgrind"))?;
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let collected = text.lines().find_map(|line| line.split_once("Collected : ")?.1.trim().parse().ok());
    collected.filter(|_| output.status.success()).ok_or(text)
}

fn cost(name: &str, repetitions: u64) -> Result<u64, String> {
    Ok(instructions(name, FEW + repetitions)?.saturating_sub(instructions(name, FEW)?) / repetitions)
}

fn count_all(write: bool) -> ExitCode {
    let mut found = Vec::new();
    for (name, repetitions, _) in cases::ALL {
        match cost(name, *repetitions) {
            Ok(count) => found.push(((*name).to_owned(), count)),
            Err(text) => {
                eprintln!("{name}: {text}");
                return ExitCode::FAILURE;
            }
        }
    }
    if write {
        return record::write(&found).map_or_else(fail, |()| ExitCode::SUCCESS);
    }
    match record::read() {
        Ok(committed) => report(&found, &committed),
        Err(text) => fail(text),
    }
}

fn fail(text: String) -> ExitCode {
    eprintln!("{text}");
    ExitCode::FAILURE
}

fn report(found: &[(String, u64)], committed: &record::Record) -> ExitCode {
    let comparable = committed.is_comparable();
    println!("{:<26} {:>12} {:>12} {:>8}", "instructions per", "committed", "now", "change");
    let mut rose = Vec::new();
    for (name, now) in found {
        let change = committed.count(name).map(|before| record::change_percent(before, *now));
        let before = committed.count(name).map_or_else(|| "-".to_owned(), |count| count.to_string());
        let change_text = change.map_or_else(|| "new".to_owned(), |percent| format!("{percent:+.1} %"));
        println!("{name:<26} {before:>12} {now:>12} {change_text:>8}");
        if change.is_some_and(|percent| percent > record::RISE_PERCENT) {
            rose.push(name.as_str());
        }
    }
    if !comparable {
        println!("not compared: committed by {}, this is {}", committed.by(), record::compiler());
        return ExitCode::SUCCESS;
    }
    if rose.is_empty() {
        return ExitCode::SUCCESS;
    }
    fail(format!(
        "{} rose by more than {} %. If it is worth it, say why in the commit that has `cargo bench --profile counted --bench instructions -- --write`.",
        rose.join(", "),
        record::RISE_PERCENT
    ))
}
