//! The page: sums, and every case with what each proxy did. Pure but for [`circumstances`].

use std::fmt::Write as _;
use std::process::Command;

use conformance_cases::{Case, musts};

use super::Column;

/// When and where.
pub fn circumstances() -> String {
    let said = |program: &str, arguments: &[&str]| {
        let output = Command::new(program).args(arguments).output().ok();
        output.map_or_else(String::new, |output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    format!(
        "{}, Linux {}, `tools/conformance --write docs/conformance.md`",
        said("date", &["-u", "+%Y-%m-%d"]),
        said("uname", &["-r"])
    )
}

/// The whole page.
pub fn page(introduction: &str, cases: &[Case], columns: &[Column], circumstances: &str) -> String {
    let mut text = format!(
        "{}\n\n## Result\n\n{circumstances}. Everything from here on is written by the tool.\n\n",
        introduction.trim_end()
    );
    let names: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
    let _ = writeln!(text, "| | {} |\n|---|{}", names.join(" | "), "---|".repeat(columns.len()));
    for (what, prefix) in [("RFC 9112", "9112"), ("RFC 9110", "9110"), ("all", "")] {
        let of: Vec<usize> = (0..cases.len()).filter(|&place| cases[place].section.starts_with(prefix)).collect();
        let sums: Vec<String> = columns
            .iter()
            .map(|column| {
                let held = of.iter().filter(|&&place| column.found[place].verdict.is_ok()).count();
                format!("{held} of {}", of.len())
            })
            .collect();
        let _ = writeln!(text, "| {what} | {} |", sums.join(" | "));
    }
    text.push_str("\n## Where somebody fails\n\n");
    table(&mut text, cases, columns, &names, true);
    text.push_str("\n## All cases\n\n");
    table(&mut text, cases, columns, &names, false);
    text.push_str("\n## Demands without a case\n\n| section | demand | why |\n|---|---|---|\n");
    for (section, what, shown) in musts::RFC_9112.iter().chain(musts::RFC_9110) {
        let why = match shown {
            musts::Shown::By(_) => continue,
            musts::Shown::Elsewhere(place) => format!("shown by {place}"),
            musts::Shown::Not(reason) => (*reason).to_owned(),
        };
        let _ = writeln!(text, "| {section} | {what} | {why} |");
    }
    text
}

/// The cases; with what was seen instead where `failures` are shown.
fn table(text: &mut String, cases: &[Case], columns: &[Column], names: &[&str], failures: bool) {
    let _ =
        writeln!(text, "| section | case | | {} |\n|---|---|---|{}", names.join(" | "), "---|".repeat(columns.len()));
    for (place, case) in cases.iter().enumerate() {
        let verdicts = columns.iter().map(|column| &column.found[place].verdict);
        if failures && verdicts.clone().all(Result::is_ok) {
            continue;
        }
        let cells: Vec<String> = verdicts
            .map(|verdict| match verdict {
                Ok(()) => "holds".to_owned(),
                Err(why) if failures => format!("**fails**: {}", cell(why)),
                Err(_) => "**fails**".to_owned(),
            })
            .collect();
        let _ = writeln!(text, "| {} | `{}` | {} | {} |", case.section, case.id, cell(&case.what), cells.join(" | "));
    }
}

/// Text that does not break a table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace(['\r', '\n'], " ")
}

#[cfg(test)]
mod tests {
    use conformance_cases::{Outcome, cases};

    use super::*;

    #[test]
    fn the_page_counts_shows_failures_once_more_and_breaks_no_table() {
        let all = &cases::all()[..3];
        let found = |verdict: Result<(), String>| {
            all.iter().map(|case| Outcome { id: case.id.clone(), verdict: verdict.clone() }).collect()
        };
        let columns = [
            Column { name: "good".to_owned(), found: found(Ok(())) },
            Column { name: "bad".to_owned(), found: found(Err("a | b\r\n".to_owned())) },
        ];
        let text = page("# Intro\n", all, &columns, "today");
        assert!(text.starts_with("# Intro\n") && text.contains("| all | 3 of 3 | 0 of 3 |"), "{text}");
        assert_eq!(text.matches("**fails**: a \\| b").count(), 3);
        assert_eq!(text.matches("| **fails** |").count(), 3);
    }
}
