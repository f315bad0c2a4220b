//! The closed loop: wrk, started and watched, and what it prints.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::process::pinned_to;
use crate::{Outcome, stop};

/// The script that prints every figure in one line.
const SCRIPT: &str = "tools/bench.d/load.lua";
/// How long an answer may take before wrk counts an error.
const TIMEOUT: &str = "20s";
/// Between two looks at a running wrk.
const EVERY: Duration = Duration::from_millis(10);
/// How much longer than asked wrk may take.
const GRACE: Duration = Duration::from_secs(30);

/// What to load, and how.
#[derive(Clone, Debug, Default)]
pub struct Work {
    /// Whole address with path.
    pub url: String,
    /// Connections, each with one request under way.
    pub connections: u32,
    /// Seconds.
    pub seconds: u32,
    /// The cores that wrk runs on, as taskset takes them.
    pub cores: String,
    /// Header lines.
    pub headers: Vec<String>,
    /// Words for the script.
    pub script: Vec<String>,
}

/// What wrk found.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Load {
    /// Whole responses.
    pub requests: u64,
    /// Bytes received, heads included.
    pub bytes: u64,
    /// Responses per second.
    pub requests_per_s: f64,
    /// Latency in microseconds: median, 90th, 99th, 99.9th percentile.
    pub p50_us: f64,
    /// See above.
    pub p90_us: f64,
    /// See above.
    pub p99_us: f64,
    /// See above.
    pub p999_us: f64,
    /// Socket errors, timeouts and responses that were neither 2xx nor 3xx.
    pub errors: u64,
}

/// Loads; calls `during` once when two thirds of the time are over.
pub fn run(work: &Work, during: impl FnOnce()) -> Outcome<Load> {
    let mut child = Running(start(work)?);
    let begin = Instant::now();
    let seconds = Duration::from_secs(work.seconds.into());
    let mut during = Some(during);
    while child.0.try_wait().map_err(|error| error.to_string())?.is_none() {
        stop::pause(EVERY)?;
        if begin.elapsed() > seconds * 2 / 3
            && let Some(during) = during.take()
        {
            during();
        }
        if begin.elapsed() > seconds + GRACE {
            return Err("wrk does not end".to_owned());
        }
    }
    let text = child.output()?;
    parse(&text).ok_or_else(|| format!("wrk did not print its figures:\n{text}"))
}

fn start(work: &Work) -> Outcome<Child> {
    let mut wrk: Command = pinned_to("wrk", &work.cores);
    wrk.args(["-t1", "--timeout", TIMEOUT, "-s", SCRIPT]);
    wrk.arg(format!("-c{}", work.connections)).arg(format!("-d{}s", work.seconds));
    for header in &work.headers {
        wrk.arg("-H").arg(header);
    }
    wrk.arg(&work.url).arg("--").args(&work.script);
    wrk.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    wrk.spawn().map_err(|error| format!("wrk does not start ({error}): apt-get install wrk"))
}

/// Ends with its owner.
struct Running(Child);

impl Running {
    fn output(&mut self) -> Outcome<String> {
        use std::io::Read as _;
        let mut text = String::new();
        let (out, err) = (self.0.stdout.take(), self.0.stderr.take());
        if let (Some(mut out), Some(mut err)) = (out, err) {
            // wrk has ended and prints less than a pipe holds.
            out.read_to_string(&mut text)
                .and_then(|_| err.read_to_string(&mut text))
                .map_err(|error| error.to_string())?;
        }
        Ok(text)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The line of `load.lua`.
fn parse(text: &str) -> Option<Load> {
    let line = text.lines().find_map(|line| line.strip_prefix("FIGURES "))?;
    let value = |name: &str| {
        let word = line.split_whitespace().find_map(|word| word.strip_prefix(name)?.strip_prefix('='))?;
        word.parse::<u64>().ok()
    };
    let requests = value("requests")?;
    let us = value("us").filter(|us| *us > 0)?;
    Some(Load {
        requests,
        bytes: value("bytes")?,
        requests_per_s: requests as f64 * 1e6 / us as f64,
        p50_us: value("p50")? as f64,
        p90_us: value("p90")? as f64,
        p99_us: value("p99")? as f64,
        p999_us: value("p999")? as f64,
        errors: value("errors")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_wrk_prints_is_read() {
        let text = "Running 10s test @ http://127.0.0.1:1/\n  1 threads and 64 connections\nRequests/sec:  79519.30\n\n\
                    FIGURES requests=803140 us=10100000 bytes=115000000 p50=629 p90=1200 p99=2500 p999=4100 max=9000 errors=3\n";
        let found = parse(text).expect("a whole report");
        assert_eq!((found.requests, found.bytes, found.errors), (803_140, 115_000_000, 3));
        assert_eq!((found.p50_us, found.p99_us, found.p999_us), (629.0, 2500.0, 4100.0));
        assert!((found.requests_per_s - 79_518.8).abs() < 0.1);
    }

    #[test]
    fn a_report_with_a_figure_missing_is_none() {
        assert_eq!(parse("something else"), None);
        assert_eq!(parse("FIGURES requests=1 us=1 bytes=1 p50=1 p90=1 p99=1 errors=0"), None);
        assert_eq!(parse("FIGURES requests=1 us=0 bytes=1 p50=1 p90=1 p99=1 p999=1 errors=0"), None);
    }
}
