//! What the figures say: PERFORMANCE §1's targets, and whether the run may be believed. Pure.

use std::fmt;

use serde::Serialize;

use super::case::Who;
use super::table::Table;
use crate::bench::figures::{Ratio, median, paired};

/// Where the bare relay must lie beside nginx for 16 B, or the run says nothing.
const RELAY_BESIDE_NGINX: (f64, f64) = (0.75, 0.88);
/// Above this part of the machine's time in other hands a figure is doubtful.
const FOREIGN_MOST: f64 = 0.05;
/// The same for what the host took.
const STOLEN_MOST: f64 = 0.02;

/// How a figure stands to what it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Grade {
    /// As good as it was hoped for.
    Stretch,
    /// As good as it has to be.
    Must,
    /// Not as good as it has to be.
    Missed,
}

/// One target with what was measured.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Verdict {
    /// What is compared.
    pub what: String,
    /// The figure.
    pub value: f64,
    /// Between these it lies with a probability of 95 %, if there were rounds enough.
    pub bound: Option<(f64, f64)>,
    /// What it has to be at most (at least, with `is_least`).
    pub must: f64,
    /// What is hoped for.
    pub stretch: f64,
    /// Whether more is better.
    pub is_least: bool,
    /// How it stands.
    pub grade: Grade,
}

impl Verdict {
    fn most(what: String, ratio: Ratio, must: f64, stretch: f64) -> Self {
        Self::new(what, ratio, must, stretch, false)
    }

    fn new(what: String, ratio: Ratio, must: f64, stretch: f64, is_least: bool) -> Self {
        let value = ratio.median;
        let reaches = |target: f64| if is_least { value >= target } else { value <= target };
        let grade = match (reaches(stretch), reaches(must)) {
            (true, _) => Grade::Stretch,
            (_, true) => Grade::Must,
            _ => Grade::Missed,
        };
        Self { what, value, bound: ratio.bound, must, stretch, is_least, grade }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, value, must, stretch, .. } = self;
        let sign = if self.is_least { "≥" } else { "≤" };
        let grade = match self.grade {
            Grade::Stretch => "STRETCH reached",
            Grade::Must => "MUST reached",
            Grade::Missed => "MISSED",
        };
        write!(f, "{grade}: {what}: {value:.3}")?;
        if let Some((low, high)) = self.bound {
            write!(f, " [{low:.3}–{high:.3}]")?;
        }
        write!(f, " (must {sign} {must}, stretch {sign} {stretch})")
    }
}

/// Targets of CPU per request beside nginx: case, must, stretch.
const BESIDE_NGINX: &[(&str, f64, f64)] = &[
    ("16", 0.90, 0.85),
    ("8k", 0.95, 0.88),
    ("64k", 1.0, 0.85),
    ("1m", 1.0, 0.9),
    ("2500", 1.0, 0.65),
    ("close", 1.0, 0.85),
];
/// Cases whose CPU per request must not differ: from, to.
const NO_DEARER: &[(&str, &str)] = &[("routes10", "routes100k"), ("16", "workers2")];

/// Every target that the tables allow to be looked at.
pub fn verdicts(tables: &[Table]) -> Vec<Verdict> {
    let mut all = Vec::new();
    for (case, must, stretch) in BESIDE_NGINX {
        let Some(table) = of(tables, case) else { continue };
        all.extend(beside(table, Who::Async, Who::Nginx, (*must, *stretch)));
    }
    if let Some(table) = of(tables, "16") {
        all.extend(beside(table, Who::Async, Who::Relay, (1.10, 1.05)));
        all.extend(beside(table, Who::Async, Who::NginxRsyslog, (0.6, 0.5)));
        all.extend(record_cost(table));
    }
    if let Some(table) = of(tables, "2500") {
        let resident = median(&table.values(Who::Async, |sample| sample.resident_bytes as f64));
        if resident > 0.0 {
            let ratio = Ratio { median: resident / f64::from(1 << 20), bound: None };
            all.push(Verdict::most("2,500 connections, async: MiB resident".to_owned(), ratio, 96.0, 48.0));
        }
    }
    if let Some(table) = of(tables, "256").or_else(|| of(tables, "16")) {
        let rate = |who| table.values(who, |sample| sample.requests_per_s);
        if let Some(ratio) = paired(&rate(Who::Held), &rate(Who::Async)) {
            let what = format!("{}: requests/s of held ÷ async (meant for 256 connections)", table.case.title);
            all.push(Verdict::new(what, ratio, 0.6, 0.6, true));
        }
    }
    for (from, to) in NO_DEARER {
        let (Some(from), Some(to)) = (of(tables, from), of(tables, to)) else { continue };
        if let Some(ratio) = paired(&to.cpu(Who::Async), &from.cpu(Who::Async)) {
            let what = format!("CPU per request, async: {} ÷ {}", to.case.title, from.case.title);
            all.push(Verdict::most(what, ratio, 1.05, 1.05));
        }
    }
    all
}

fn of<'a>(tables: &'a [Table], case: &str) -> Option<&'a Table> {
    tables.iter().find(|table| table.case.name == case)
}

fn beside(table: &Table, who: Who, other: Who, (must, stretch): (f64, f64)) -> Option<Verdict> {
    let ratio = paired(&table.cpu(who), &table.cpu(other))?;
    let what = format!("{}: CPU per request, {} ÷ {}", table.case.title, who.title(), other.title());
    Some(Verdict::most(what, ratio, must, stretch))
}

/// CPU seconds per million records are microseconds per record.
fn record_cost(table: &Table) -> Option<Verdict> {
    let (with, without) = (table.cpu(Who::Async), table.cpu(Who::Off));
    let costs: Vec<f64> = with.iter().zip(&without).map(|(with, without)| with - without).collect();
    let ratio = Ratio { median: median(&costs), bound: None };
    let what = format!("{}: µs CPU per record, async − no record", table.case.title);
    (!costs.is_empty()).then(|| Verdict::most(what, ratio, 0.8, 0.5))
}

/// What speaks against believing the run; nothing if nothing does.
pub fn doubts(tables: &[Table], busy_before: f64) -> Vec<String> {
    let mut all = Vec::new();
    if busy_before > FOREIGN_MOST {
        all.push(format!("before it began, {:.0} % of the machine was in use by others", busy_before * 100.0));
    }
    match of(tables, "16").and_then(|table| paired(&table.cpu(Who::Relay), &table.cpu(Who::Nginx))) {
        Some(Ratio { median, .. }) => {
            let (low, high) = RELAY_BESIDE_NGINX;
            if !(low..=high).contains(&median) {
                all.push(format!(
                    "VOID: the bare relay's CPU is {median:.3} of nginx's for 16 B; a run counts only between {low} and {high}"
                ));
            }
        }
        None => all.push(
            "the bare relay was not measured beside nginx for 16 B, so nothing shows whether the run counts".to_owned(),
        ),
    }
    for table in tables {
        let title = table.case.title;
        let most = |share: fn(&super::sample::Sample) -> f64| {
            let all = table.rows.iter().flat_map(|row| row.samples.iter().map(share));
            all.fold(0.0, f64::max)
        };
        let (foreign, stolen) = (most(|sample| sample.foreign_share), most(|sample| sample.stolen_share));
        if foreign > FOREIGN_MOST {
            all.push(format!(
                "{title}: others used up to {:.0} % of the machine during a measurement",
                foreign * 100.0
            ));
        }
        if stolen > STOLEN_MOST {
            all.push(format!(
                "{title}: the host took up to {:.0} % of the machine during a measurement",
                stolen * 100.0
            ));
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::super::table::tests::table;
    use super::*;

    #[test]
    fn a_target_is_reached_just_reached_or_missed() {
        let grade = |ours| verdicts(&[table("16", &[(Who::Async, ours), (Who::Nginx, 10.0)])])[0].grade;
        assert_eq!(grade(8.5), Grade::Stretch);
        assert_eq!(grade(9.0), Grade::Must);
        assert_eq!(grade(9.01), Grade::Missed);
    }

    #[test]
    fn every_target_of_the_first_case_is_looked_at_and_said() {
        let all = [
            (Who::Off, 8.0),
            (Who::Async, 8.6),
            (Who::Held, 9.0),
            (Who::Nginx, 10.0),
            (Who::NginxRsyslog, 20.0),
            (Who::Relay, 8.0),
        ];
        let said: Vec<String> = verdicts(&[table("16", &all)]).iter().map(ToString::to_string).collect();
        assert_eq!(said.len(), 5, "{said:#?}");
        assert!(
            said[0].starts_with(
                "MUST reached: 16 B, 64 connections: CPU per request, Tollgate, async ÷ nginx, no log: 0.860"
            ),
            "{said:#?}"
        );
        assert!(said[3].contains("µs CPU per record, async − no record: 0.600"), "{said:#?}");
        assert!(said[4].starts_with("STRETCH reached: ") && said[4].contains("held ÷ async"), "{said:#?}");
    }

    #[test]
    fn routes_and_workers_are_compared_between_cases() {
        let tables = [table("routes10", &[(Who::Async, 10.0)]), table("routes100k", &[(Who::Async, 10.6)])];
        let found = verdicts(&tables);
        assert_eq!((found.len(), found[0].grade), (1, Grade::Missed));
    }

    #[test]
    fn a_run_is_void_unless_the_relay_lies_where_it_must() {
        let run = |relay| doubts(&[table("16", &[(Who::Relay, relay), (Who::Nginx, 10.0)])], 0.0);
        assert_eq!(run(8.0), Vec::<String>::new());
        assert!(run(9.0)[0].starts_with("VOID") && run(7.4)[0].starts_with("VOID"));
        assert_eq!(doubts(&[], 0.3).len(), 2);
    }
}
