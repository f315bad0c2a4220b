//! The tables, for a terminal, for a page and for a program. Pure.

use serde::Serialize;
use serde_json::{Value, json};

use super::case::{Case, Who};
use super::sample::{Records, Sample};
use crate::bench::figures::{median, paired, range, text};

/// All measurements of one contestant in one case.
#[derive(Clone, Debug)]
pub struct Row {
    /// Who.
    pub who: Who,
    /// One for each round.
    pub samples: Vec<Sample>,
}

impl Row {
    /// Median of something over the rounds.
    pub fn middle(&self, what: impl Fn(&Sample) -> f64) -> f64 {
        median(&self.samples.iter().map(what).collect::<Vec<_>>())
    }

    /// Records missing, records too often, over all rounds.
    fn fates(&self, connections: u32) -> (u64, u64) {
        self.samples.iter().fold((0, 0), |(lost, twice), sample| match sample.fate(connections) {
            Records::Lost(count) => (lost + count, twice),
            Records::Twice(count) => (lost, twice + count),
            Records::None | Records::Whole => (lost, twice),
        })
    }
}

/// One case.
#[derive(Clone, Debug)]
pub struct Table {
    /// Which.
    pub case: Case,
    /// Who was measured.
    pub rows: Vec<Row>,
    /// Who was not, and why.
    pub absent: Vec<(Who, String)>,
}

/// For whom a table is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// Markdown in a file.
    Page,
    /// The same on a terminal, where red is red.
    Terminal,
}

impl Table {
    /// Without measurements yet.
    pub fn new(case: Case, who: &[Who]) -> Self {
        let rows = who.iter().map(|who| Row { who: *who, samples: Vec::new() }).collect();
        Self { case, rows, absent: Vec::new() }
    }

    /// One figure of a contestant, round by round; empty if it was not measured.
    pub fn values(&self, who: Who, what: impl Fn(&Sample) -> f64) -> Vec<f64> {
        let row = self.rows.iter().find(|row| row.who == who);
        row.map_or_else(Vec::new, |row| row.samples.iter().map(what).collect())
    }

    /// CPU seconds per million requests, round by round.
    pub fn cpu(&self, who: Who) -> Vec<f64> {
        self.values(who, Sample::cpu_s_per_million)
    }

    /// True if a record of this row is missing or there too often.
    pub fn is_row_broken(&self, row: &Row) -> bool {
        row.fates(self.case.connections) != (0, 0)
    }

    /// True if that is so in any row.
    pub fn is_broken(&self) -> bool {
        self.rows.iter().any(|row| self.is_row_broken(row))
    }

    /// The table as Markdown.
    pub fn markdown(&self, look: Look) -> String {
        let mut text = format!(
            "### {}\n\n| who | requests/s | p50 µs | p99 µs | p99.9 µs | CPU s/1M [min–max] | user | system | ÷ nginx | \
             ÷ relay | RSS MiB | records / requests | machine CPU s/1M | errors |\n|---|{}\n",
            self.case.title,
            "---:|".repeat(13)
        );
        for row in self.rows.iter().filter(|row| !row.samples.is_empty()) {
            text += &self.line(row, look);
        }
        for (who, why) in &self.absent {
            text += &format!("\n{} is not in this table: {why}\n", who.title());
        }
        text
    }

    fn line(&self, row: &Row, look: Look) -> String {
        let cpu = self.cpu(row.who);
        let (least, most) = range(&cpu);
        let beside =
            |other| if other == row.who { "1".to_owned() } else { text(paired(&cpu, &self.cpu(other)).as_ref(), 3) };
        format!(
            "| {} | {:.0} | {:.0} | {:.0} | {:.0} | {:.2} [{least:.2}–{most:.2}] | {:.2} | {:.2} | {} | {} | {:.1} | {} | {:.2} | {} |\n",
            row.who.title(),
            row.middle(|sample| sample.requests_per_s),
            row.middle(|sample| sample.p50_us),
            row.middle(|sample| sample.p99_us),
            row.middle(|sample| sample.p999_us),
            median(&cpu),
            row.middle(|sample| sample.user_s_per_million),
            row.middle(|sample| sample.system_s_per_million),
            beside(Who::Nginx),
            beside(Who::Relay),
            row.middle(|sample| sample.resident_bytes as f64) / f64::from(1 << 20),
            self.records(row, look),
            row.middle(|sample| sample.machine_s_per_million),
            row.samples.iter().map(|sample| sample.errors).sum::<u64>(),
        )
    }

    fn records(&self, row: &Row, look: Look) -> String {
        if !row.who.records() {
            return "none".to_owned();
        }
        let sum = |what: fn(&Sample) -> u64| row.samples.iter().map(what).sum::<u64>();
        let (records, served) = (sum(|sample| sample.records.unwrap_or(0)), sum(|sample| sample.served));
        let late = row.middle(|sample| sample.late_s);
        let wrong = match row.fates(self.case.connections) {
            (0, 0) if late > 0.5 => return format!("{records} / {served}, {late:.1} s late"),
            (0, 0) => return format!("{records} / {served}"),
            (lost, 0) => format!("LOST {lost}"),
            (0, twice) => format!("{twice} TOO MANY"),
            (lost, twice) => format!("LOST {lost}, {twice} TOO MANY"),
        };
        match look {
            Look::Page => format!("{records} / {served} 🔴 **{wrong}**"),
            Look::Terminal => format!("\x1b[1;31m{records} / {served} {wrong}\x1b[0m"),
        }
    }

    /// Everything that was measured.
    pub fn json(&self) -> Value {
        /// The measurements beside their contestant.
        #[derive(Serialize)]
        struct Written<'a> {
            who: &'static str,
            title: &'static str,
            samples: &'a [Sample],
        }
        let rows =
            self.rows.iter().map(|row| Written { who: row.who.name(), title: row.who.title(), samples: &row.samples });
        let absent = self.absent.iter().map(|(who, why)| json!({"who": who.name(), "why": why}));
        json!({
            "case": self.case.name,
            "title": self.case.title,
            "connections": self.case.connections,
            "bytes": self.case.bytes,
            "workers": self.case.workers,
            "rows": rows.map(|row| serde_json::to_value(row).unwrap_or_default()).collect::<Vec<_>>(),
            "absent": absent.collect::<Vec<_>>(),
        })
    }
}

#[cfg(test)]
pub mod tests {
    use super::super::case::CASES;
    use super::*;

    /// One round in which each has cost so much.
    pub fn table(case: &str, cpu: &[(Who, f64)]) -> Table {
        let case = CASES.iter().find(|found| found.name == case).expect("a case");
        let sample = |who: Who, cost: f64| Sample {
            requests: 1000,
            requests_per_s: 1e6 / cost,
            user_s_per_million: cost / 4.0,
            system_s_per_million: cost * 3.0 / 4.0,
            served: 1000,
            counts_itself: true,
            records: who.records().then_some(1000),
            ..Sample::default()
        };
        let rows = cpu.iter().map(|(who, cost)| Row { who: *who, samples: vec![sample(*who, *cost)] }).collect();
        Table { case: *case, rows, absent: Vec::new() }
    }

    #[test]
    fn each_contestant_has_a_line_with_its_ratios() {
        let text = table("16", &[(Who::Async, 9.0), (Who::Nginx, 10.0), (Who::Relay, 8.0)]).markdown(Look::Page);
        let line = text.lines().find(|line| line.contains("async")).expect("its line");
        assert!(line.contains("| 9.00 [9.00–9.00] | 2.25 | 6.75 | 0.900 | 1.125 |"), "{line}");
        assert!(line.contains("| 1000 / 1000 |"), "{line}");
        let columns = |line: &str| line.matches('|').count();
        assert!(text.lines().skip(2).all(|line| columns(line) == 15), "{text}");
    }

    #[test]
    fn a_lost_record_is_said_in_red_and_breaks_the_table() {
        let mut table = table("16", &[(Who::Async, 9.0)]);
        assert!(!table.is_broken());
        table.rows[0].samples[0].records = Some(997);
        assert!(table.is_broken());
        assert!(table.markdown(Look::Page).contains("997 / 1000 🔴 **LOST 3**"));
        assert!(table.markdown(Look::Terminal).contains("\x1b[1;31m997 / 1000 LOST 3\x1b[0m"));
    }

    #[test]
    fn who_is_absent_is_said_with_the_reason() {
        let mut table = table("16", &[(Who::Async, 9.0)]);
        table.absent.push((Who::Card, "it was not built".to_owned()));
        assert!(table.markdown(Look::Page).contains("the literal card is not in this table: it was not built"));
        assert_eq!(table.json()["absent"][0]["who"], "card");
        assert_eq!(table.json()["rows"][0]["samples"][0]["requests"], 1000);
    }
}
