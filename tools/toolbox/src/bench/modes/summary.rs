//! The tables of `modes`, and what has to be said beside them (PERFORMANCE §4). Pure but for reading what machine this is.

use std::fmt;
use std::fs;

use super::choice::Candidate;
use super::{Mode, Modes};
use crate::bench::figures::{median, range};

/// One measurement, of either loop.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sample {
    /// Responses per second.
    pub requests_per_s: f64,
    /// Latency in microseconds: median, 90th (of the open loop only), 99th and 99.9th percentile.
    pub p50_us: f64,
    /// See above.
    pub p90_us: f64,
    /// See above.
    pub p99_us: f64,
    /// See above.
    pub p999_us: f64,
    /// Failed or unanswered requests.
    pub errors: u64,
    /// CPU seconds, user and system, of the gateway's process per million requests; the sending of their records included.
    pub cpu_s_per_million: f64,
    /// Requests, as the gateway counts them.
    pub served: u64,
    /// Records in Kafka; nothing if none were asked for.
    pub recorded: Option<u64>,
}

impl Sample {
    /// Requests without a record, or records without a request.
    pub fn wrong_records(&self) -> u64 {
        self.recorded.map_or(0, |recorded| recorded.abs_diff(self.served))
    }
}

impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { requests_per_s, p50_us, p99_us, p999_us, cpu_s_per_million, served, .. } = self;
        write!(f, "{requests_per_s:>8.0} requests/s  p50 {p50_us:.0} us  p99 {p99_us:.0} us  p99.9 {p999_us:.0} us  ")?;
        write!(f, "CPU {cpu_s_per_million:.2} s/1M  ")?;
        match self.recorded {
            Some(recorded) => write!(f, "{recorded} records of {served} requests")?,
            None => write!(f, "{served} requests")?,
        }
        if self.errors > 0 { write!(f, "  {} ERRORS", self.errors) } else { Ok(()) }
    }
}

/// All measurements of one mode.
#[derive(Debug)]
pub struct Row {
    /// Which.
    pub mode: Mode,
    /// One for each round.
    pub samples: Vec<Sample>,
}

impl Row {
    /// One for each mode, without measurements yet.
    pub fn all() -> Vec<Self> {
        Mode::ALL.into_iter().map(|mode| Self { mode, samples: Vec::new() }).collect()
    }

    fn all_of(&self, what: impl Fn(&Sample) -> f64) -> Vec<f64> {
        self.samples.iter().map(what).collect()
    }

    /// The median of something.
    pub fn middle(&self, what: impl Fn(&Sample) -> f64) -> f64 {
        median(&self.all_of(what))
    }

    fn sum(&self, what: impl Fn(&Sample) -> u64) -> u64 {
        self.samples.iter().map(what).sum()
    }

    /// What the choice is made from.
    pub fn candidate(&self) -> Candidate {
        Candidate {
            mode: self.mode,
            p999_us: self.middle(|sample| sample.p999_us),
            failed: self.sum(|sample| sample.errors),
            wrong_records: self.sum(Sample::wrong_records),
        }
    }
}

/// The machine and the case.
pub fn circumstances(modes: &Modes) -> String {
    let read = |path: &str| fs::read_to_string(path).map_or_else(|_| "?".to_owned(), |text| text.trim().to_owned());
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let Modes { seconds, rounds, connections, workers, bytes, .. } = modes;
    let upstream = match &modes.url {
        Some(url) => format!("upstream {url}"),
        None => format!("{bytes} byte responses from nginx on core {}", cores - 1),
    };
    let kafka = match &modes.kafka {
        Some(address) => format!("Kafka at {address}"),
        None => "one node of Kafka 4.1 on the same machine".to_owned(),
    };
    format!(
        "{rounds} rounds of {seconds} s, {connections} connections, {workers} worker(s) from core 0 on, load on core {}; {upstream}; \
         {kafka}; Linux {}, TCP {}, {cores} cores, load {}. Compare inside one table only.",
        cores - 1,
        read("/proc/sys/kernel/osrelease"),
        read("/proc/sys/net/ipv4/tcp_congestion_control"),
        read("/proc/loadavg").split(' ').next().unwrap_or("?"),
    )
}

/// The columns of a table.
pub const COLUMNS: [&str; 8] =
    ["logging", "requests/s", "p50 µs", "p99 µs", "p99.9 µs", "CPU s/1M requests", "records / requests", "errors"];

/// Medians, with the range of the CPU column, a line for each mode.
pub fn cells(rows: &[Row]) -> Vec<[String; 8]> {
    let line = |row: &Row| {
        let (least, most) = range(&row.all_of(|sample| sample.cpu_s_per_million));
        let (recorded, served) = (row.sum(|sample| sample.recorded.unwrap_or(0)), row.sum(|sample| sample.served));
        let records = match row.sum(Sample::wrong_records) {
            _ if row.mode == Mode::Off => "-".to_owned(),
            0 => format!("{recorded} / {served}"),
            wrong => format!("{recorded} / {served} WRONG BY {wrong}"),
        };
        [
            row.mode.name().to_owned(),
            format!("{:.0}", row.middle(|sample| sample.requests_per_s)),
            format!("{:.0}", row.middle(|sample| sample.p50_us)),
            format!("{:.0}", row.middle(|sample| sample.p99_us)),
            format!("{:.0}", row.middle(|sample| sample.p999_us)),
            format!("{:.2} [{least:.2}-{most:.2}]", row.middle(|sample| sample.cpu_s_per_million)),
            records,
            row.sum(|sample| sample.errors).to_string(),
        ]
    };
    rows.iter().filter(|row| !row.samples.is_empty()).map(line).collect()
}

/// A table for a terminal.
pub fn table(rows: &[Row]) -> String {
    let widths = [7, 11, 9, 9, 9, 22, 24, 7];
    let line = |cells: &[&str]| {
        let padded = cells.iter().zip(widths).map(|(cell, width)| format!("{cell:>width$}"));
        padded.collect::<String>() + "\n"
    };
    let lines = cells(rows).into_iter().map(|cells| line(&cells.each_ref().map(String::as_str)));
    line(&COLUMNS) + &lines.collect::<String>()
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// A row of one round.
    pub fn row(mode: Mode, p999_us: f64, recorded: Option<u64>) -> Row {
        let sample = Sample {
            requests_per_s: 1000.0,
            p50_us: p999_us / 8.0,
            p90_us: p999_us / 4.0,
            p99_us: p999_us / 2.0,
            p999_us,
            cpu_s_per_million: 15.0,
            served: 100,
            recorded,
            ..Sample::default()
        };
        Row { mode, samples: vec![sample] }
    }

    #[test]
    fn a_record_too_few_or_too_many_is_said() {
        let cell = |recorded| cells(&[row(Mode::Async, 8.0, Some(recorded))])[0][6].clone();
        assert_eq!(cell(100), "100 / 100");
        assert_eq!(cell(99), "99 / 100 WRONG BY 1");
        assert_eq!(cell(102), "102 / 100 WRONG BY 2");
        assert_eq!(cells(&[row(Mode::Off, 8.0, None)])[0][6], "-");
        assert_eq!(row(Mode::Async, 8.0, Some(98)).candidate().wrong_records, 2);
    }

    #[test]
    fn a_table_has_a_line_for_each_mode_that_was_measured() {
        let mut rows = vec![row(Mode::Off, 8.0, None), row(Mode::Held, 80.0, Some(100))];
        rows.push(Row { mode: Mode::Sync, samples: Vec::new() });
        let text = table(&rows);
        assert_eq!(text.lines().count(), 3, "{text}");
        assert!(text.lines().nth(2).is_some_and(|line| line.contains("held") && line.contains("80")), "{text}");
    }
}
