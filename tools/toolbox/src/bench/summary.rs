//! The table, and what has to be said beside it (PERFORMANCE §4).

use std::fmt;
use std::fs;

use super::figures::{median, range};
use super::{Mode, Modes};

/// One measurement.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// Responses per second, as wrk counts them.
    pub requests_per_s: f64,
    /// Median latency in microseconds.
    pub p50_us: f64,
    /// 99th percentile of latency in microseconds.
    pub p99_us: f64,
    /// Failed requests.
    pub errors: u64,
    /// CPU seconds, user and system, of the gateway's process per million requests; the sending of their records included.
    pub cpu_s_per_million: f64,
    /// Requests, as the gateway counts them.
    pub served: u64,
    /// Records in Kafka; nothing if none were asked for.
    pub recorded: Option<u64>,
}

impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { requests_per_s, p50_us, p99_us, errors, cpu_s_per_million, served, recorded } = self;
        write!(
            f,
            "{requests_per_s:>8.0} requests/s  p50 {p50_us:.0} us  p99 {p99_us:.0} us  CPU {cpu_s_per_million:.2} s/1M  "
        )?;
        match recorded {
            Some(recorded) => write!(f, "{recorded} records of {served} requests")?,
            None => write!(f, "{served} requests")?,
        }
        if *errors > 0 { write!(f, "  {errors} ERRORS") } else { Ok(()) }
    }
}

/// All measurements of one contestant.
#[derive(Debug)]
pub struct Row {
    name: &'static str,
    /// One for each round.
    pub samples: Vec<Sample>,
}

impl Row {
    /// Without measurements yet.
    pub const fn new(name: &'static str) -> Self {
        Self { name, samples: Vec::new() }
    }

    fn all(&self, what: impl Fn(&Sample) -> f64) -> Vec<f64> {
        self.samples.iter().map(what).collect()
    }
}

/// The machine and the case.
pub fn circumstances(modes: &Modes) -> String {
    let read = |path: &str| fs::read_to_string(path).map_or_else(|_| "?".to_owned(), |text| text.trim().to_owned());
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let Modes { seconds, rounds, connections, workers, bytes, .. } = modes;
    format!(
        "{rounds} rounds of {seconds} s, {connections} connections, {bytes} byte responses, {workers} worker(s); gateway on \
         core 0, wrk and nginx on core {}; Linux {}, TCP {}, {cores} cores, load {}\n\
         (compare inside this table only; Kafka shares the machine)",
        cores - 1,
        read("/proc/sys/kernel/osrelease"),
        read("/proc/sys/net/ipv4/tcp_congestion_control"),
        read("/proc/loadavg").split(' ').next().unwrap_or("?"),
    )
}

/// Medians, with the range of the CPU column.
pub fn table(rows: &[Row]) -> String {
    let mut text = "logging  requests/s   p50 us   p99 us  CPU s/1M requests  records / requests  errors\n".to_owned();
    for row in rows {
        let cpu = row.all(|sample| sample.cpu_s_per_million);
        let (least, most) = range(&cpu);
        let served: u64 = row.samples.iter().map(|sample| sample.served).sum();
        let recorded: u64 = row.samples.iter().filter_map(|sample| sample.recorded).sum();
        let records = if row.name == Mode::Off.name() { "-".to_owned() } else { format!("{recorded} / {served}") };
        text += &format!(
            "{:<7} {:>11.0} {:>8.0} {:>8.0}  {:>5.2} [{least:.2}-{most:.2}] {records:>21}  {:>6}\n",
            row.name,
            median(&row.all(|sample| sample.requests_per_s)),
            median(&row.all(|sample| sample.p50_us)),
            median(&row.all(|sample| sample.p99_us)),
            median(&cpu),
            row.samples.iter().map(|sample| sample.errors).sum::<u64>(),
        );
    }
    text
}
