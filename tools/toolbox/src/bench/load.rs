//! The load: wrk, and what it prints.

use std::process::Command;

use crate::Outcome;
use crate::process::{pinned, run_quietly};

/// What wrk found.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Load {
    /// Responses per second.
    pub requests_per_s: f64,
    /// Median latency in microseconds.
    pub p50_us: f64,
    /// 99th percentile of latency in microseconds.
    pub p99_us: f64,
    /// Socket errors and responses that were neither 2xx nor 3xx.
    pub errors: u64,
}

/// Loads `url` for so many seconds, from the last core.
pub fn run(url: &str, connections: u32, seconds: u32) -> Outcome<Load> {
    let mut wrk: Command = pinned("wrk", std::thread::available_parallelism().map_or(1, usize::from) - 1);
    wrk.args(["-t1", "--latency", "--timeout", "10s"]);
    wrk.arg(format!("-c{connections}")).arg(format!("-d{seconds}s")).arg(url);
    let text = run_quietly(&mut wrk).map_err(|text| format!("{text}\nThe load comes from wrk: apt-get install wrk"))?;
    parse(&text).ok_or_else(|| format!("wrk printed something new:\n{text}"))
}

fn parse(text: &str) -> Option<Load> {
    let mut load = Load::default();
    for line in text.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            ["50%", time] => load.p50_us = microseconds(time)?,
            ["99%", time] => load.p99_us = microseconds(time)?,
            ["Requests/sec:", count] => load.requests_per_s = count.parse().ok()?,
            ["Non-2xx", "or", "3xx", "responses:", count] => load.errors += count.parse::<u64>().ok()?,
            ["Socket", "errors:", ref rest @ ..] => {
                load.errors +=
                    rest.iter().filter_map(|word| word.trim_end_matches(',').parse::<u64>().ok()).sum::<u64>();
            }
            _ => {}
        }
    }
    (load.p50_us > 0.0).then_some(load)
}

/// `1.23ms`, `456.00us`, `1.20s` in microseconds.
fn microseconds(time: &str) -> Option<f64> {
    let at = time.find(|letter: char| letter.is_alphabetic())?;
    let (number, unit) = time.split_at(at);
    let factor = match unit {
        "us" => 1.0,
        "ms" => 1e3,
        "s" => 1e6,
        "m" => 60e6,
        _ => return None,
    };
    number.parse::<f64>().ok().map(|number| number * factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_wrk_prints_is_read() {
        let text = "Running 10s test @ http://127.0.0.1:1/\n  1 threads and 64 connections\n  Latency Distribution\n     \
                    50%  629.00us\n     75%    0.90ms\n     90%    1.20ms\n     99%    2.50ms\n  \
                    803140 requests in 10.10s, 110.29MB read\n  Socket errors: connect 1, read 2, write 0, timeout 3\n  \
                    Non-2xx or 3xx responses: 4\nRequests/sec:  79519.30\nTransfer/sec:     10.92MB\n";
        let found = parse(text).expect("a whole report");
        assert_eq!(found, Load { requests_per_s: 79_519.30, p50_us: 629.0, p99_us: 2500.0, errors: 10 });
        assert_eq!(parse("something else"), None);
    }
}
