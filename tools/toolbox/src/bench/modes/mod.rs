//! `tools/bench modes`: our gateway in four modes, under a closed and an open loop, and which of them to choose.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use self::open_loop::Plan;
use self::page::Page;
use self::parts::{Gateway, Parts};
use self::summary::{Row, Sample};
use super::campaign::machine;
use super::figures::median;
use super::wrk::{self, Work};
use crate::{Outcome, stop, wire};

mod choice;
pub mod open_loop;
mod page;
pub mod parts;
mod response;
mod summary;

/// How long the records of a run may take to be in Kafka after its last request.
const SETTLE: Duration = Duration::from_secs(30);
/// Between two looks.
const EVERY: Duration = Duration::from_millis(200);
/// How long a mode is loaded before its first round is measured.
const WARM_UP_S: u32 = 1;
/// The open loop's rate where none is given, beside what the slowest mode can do.
const RATE_SHARE: f64 = 0.5;

/// Options of `modes`.
#[derive(clap::Args, Debug)]
pub struct Modes {
    /// Seconds of each measurement.
    #[arg(long, visible_alias = "duration", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=600))]
    pub seconds: u32,
    /// Rounds; each measures every mode once, under each load.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=50))]
    pub rounds: u32,
    /// Connections of the load.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub connections: u32,
    /// Requests per second of the open loop; without it half of what the slowest mode can do.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub rate: Option<u32>,
    /// The latency that is to be kept at the 99.9th percentile of the open loop, in milliseconds.
    #[arg(long, default_value_t = 50.0)]
    pub bound_ms: f64,
    /// Cores that the gateway serves from.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub workers: u32,
    /// Bytes of the upstream's responses.
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u32).range(0..=16_777_216))]
    pub bytes: u32,
    /// Your own upstream and what to ask it for (http://HOST:PORT/PATH), instead of an nginx of ours. The gateway stands before it.
    #[arg(long, value_name = "URL")]
    pub url: Option<String>,
    /// Your own Kafka (plain, no TLS or SASL), instead of one of ours. Topics bench-* are made in it and removed again.
    #[arg(long, value_name = "HOST:PORT")]
    pub kafka: Option<String>,
    /// Writes one HTML page with charts, and the choice.
    #[arg(long, value_name = "FILE.html")]
    pub report: Option<PathBuf>,
    /// The gateway to measure.
    #[arg(long, default_value = "target/packaged/tollgate")]
    pub tollgate: PathBuf,
    /// The first of the ports that are used; they lie up to 2,100 above it.
    #[arg(long, default_value_t = 23_000, value_parser = clap::value_parser!(u16).range(1024..29_000))]
    pub port_base: u16,
}

impl Modes {
    /// As `latency` wants its gateway: one worker, 64 connections, small answers, a Kafka of its own.
    pub const fn for_latency(tollgate: PathBuf, port_base: u16, seconds: u32) -> Self {
        Self {
            seconds,
            rounds: 1,
            connections: 64,
            rate: None,
            bound_ms: 50.0,
            workers: 1,
            bytes: 16,
            url: None,
            kafka: None,
            report: None,
            tollgate,
            port_base,
        }
    }
}

/// One way to log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// No plugin on the route.
    Off,
    /// `producer_type: async`.
    Async,
    /// `producer_type: sync`.
    Sync,
    /// `ack_before_response: true`.
    Held,
}

impl Mode {
    /// All, in the order of the table.
    pub const ALL: [Self; 4] = [Self::Off, Self::Async, Self::Sync, Self::Held];

    /// As in the configuration and in the table.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Async => "async",
            Self::Sync => "sync",
            Self::Held => "held",
        }
    }

    /// The host that leads to its route.
    pub const fn host(self) -> &'static str {
        match self {
            Self::Off => "off.bench.test",
            Self::Async => "async.bench.test",
            Self::Sync => "sync.bench.test",
            Self::Held => "held.bench.test",
        }
    }
}

/// Which load.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Loop {
    /// As much as it takes.
    Closed,
    /// At this rate.
    Open(f64),
}

/// Measures all modes under both loads, and says which to choose.
pub fn run(modes: &Modes) -> Outcome {
    stop::install();
    crate::process::allow_many_files();
    let parts = Parts::start(modes)?;
    for mode in Mode::ALL {
        wrk::run(&work(&parts, mode, modes, WARM_UP_S), || {})?;
    }
    let closed = measure_all(&parts, modes, Loop::Closed)?;
    let slowest = |rows: &[Row]| rows.iter().map(|row| row.middle(|s| s.requests_per_s)).fold(f64::INFINITY, f64::min);
    let rate = modes.rate.map_or_else(|| rounded(slowest(&closed) * RATE_SHARE), f64::from);
    let open = measure_all(&parts, modes, Loop::Open(rate))?;
    let circumstances = summary::circumstances(modes);
    let candidates: Vec<_> = open.iter().map(Row::candidate).collect();
    let sentence = choice::sentence(&candidates, modes.bound_ms * 1000.0, rate);
    println!("\n{circumstances}\n\nAs much as it takes (wrk):\n{}", summary::table(&closed));
    println!("At {rate:.0} requests/s, latency from when a request was due:\n{}\n{sentence}", summary::table(&open));
    if let Some(file) = &modes.report {
        let page = Page {
            circumstances: &circumstances,
            closed: &closed,
            open: &open,
            rate,
            bound_us: modes.bound_ms * 1000.0,
            sentence: &sentence,
        };
        fs::write(file, page::html(&page)).map_err(|error| format!("{}: {error}", file.display()))?;
        println!("\nThe report is {}", file.display());
    }
    let wrong: u64 = closed.iter().chain(&open).map(|row| row.candidate().wrong_records).sum();
    if wrong > 0 { Err("Kafka does not hold one record per request.".to_owned()) } else { Ok(()) }
}

/// Two digits are enough for a rate.
fn rounded(rate: f64) -> f64 {
    let unit = 10_f64.powf(rate.max(10.0).log10().floor() - 1.0);
    (rate / unit).floor().max(1.0) * unit
}

fn measure_all(parts: &Parts, modes: &Modes, load: Loop) -> Outcome<Vec<Row>> {
    let mut rows = Row::all();
    let all = modes.rounds as usize * rows.len();
    let mut took = Vec::new();
    for round in 0..modes.rounds as usize {
        for step in 0..rows.len() {
            // Another one begins each round, so that none always follows the same neighbour.
            let index = (step + round) % Mode::ALL.len();
            let (mode, begin) = (Mode::ALL[index], Instant::now());
            let sample = measure(parts, mode, modes, load)?;
            took.push(begin.elapsed().as_secs_f64());
            let left = median(&took) * (all - took.len()) as f64;
            let which = if load == Loop::Closed { "closed loop" } else { "open loop" };
            println!("{which}, round {}: {:<5} {sample}  ({left:.0} s left)", round + 1, mode.name());
            rows[index].samples.push(sample);
        }
    }
    Ok(rows)
}

fn measure(parts: &Parts, mode: Mode, modes: &Modes, load: Loop) -> Outcome<Sample> {
    let gateway = parts.gateway();
    settle(parts, gateway, mode, None)?;
    let before = Counts::read(parts, gateway, mode)?;
    let mut sample = match load {
        Loop::Closed => closed(parts, mode, modes)?,
        Loop::Open(rate) => open(parts, mode, modes, rate)?,
    };
    let after = settle(parts, gateway, mode, Some(&before))?;
    sample.served = after.served - before.served;
    sample.cpu_s_per_million = (after.cpu_s - before.cpu_s) * 1e6 / sample.served.max(1) as f64;
    sample.recorded = (mode != Mode::Off).then(|| after.recorded - before.recorded);
    Ok(sample)
}

fn closed(parts: &Parts, mode: Mode, modes: &Modes) -> Outcome<Sample> {
    let load = wrk::run(&work(parts, mode, modes, modes.seconds), || {})?;
    Ok(Sample {
        requests_per_s: load.requests_per_s,
        p50_us: load.p50_us,
        p90_us: load.p90_us,
        p99_us: load.p99_us,
        p999_us: load.p999_us,
        errors: load.errors,
        ..Sample::default()
    })
}

fn open(parts: &Parts, mode: Mode, modes: &Modes, rate: f64) -> Outcome<Sample> {
    let seen = open_loop::run(&plan(parts, mode, modes, rate))?;
    Ok(Sample {
        requests_per_s: seen.latency_us.len() as f64 / f64::from(modes.seconds),
        p50_us: seen.percentile_us(50.0),
        p90_us: seen.percentile_us(90.0),
        p99_us: seen.percentile_us(99.0),
        p999_us: seen.percentile_us(99.9),
        errors: seen.errors + seen.unanswered,
        ..Sample::default()
    })
}

/// What the open loop does to a mode.
pub fn plan(parts: &Parts, mode: Mode, modes: &Modes, rate: f64) -> Plan {
    Plan {
        target: parts.gateway().proxy(),
        host: mode.host().to_owned(),
        path: parts.path().to_owned(),
        connections: modes.connections,
        rate,
        warm_up: open_loop::WARM_UP,
        seconds: modes.seconds,
        core: machine::cores() - 1,
    }
}

/// What the closed loop does to a mode.
pub fn work(parts: &Parts, mode: Mode, modes: &Modes, seconds: u32) -> Work {
    let (_, cores) = machine::split(machine::cores(), modes.workers as usize);
    Work {
        url: format!("http://{}{}", parts.gateway().proxy(), parts.path()),
        connections: modes.connections,
        seconds,
        cores,
        headers: vec![format!("Host: {}", mode.host())],
        script: Vec::new(),
    }
}

/// What can be counted at one moment.
#[derive(Clone, Copy, Debug)]
struct Counts {
    served: u64,
    recorded: u64,
    cpu_s: f64,
}

impl Counts {
    fn read(parts: &Parts, gateway: &Gateway, mode: Mode) -> Outcome<Self> {
        let recorded = if mode == Mode::Off { 0 } else { wire::record_count(parts.kafka(), &parts.topic(mode))? };
        Ok(Self { served: gateway.requests()?, recorded, cpu_s: gateway.cpu_s()? })
    }
}

/// Waits until every request since `before` has its record, or, without `before`, until no more records come.
fn settle(parts: &Parts, gateway: &Gateway, mode: Mode, before: Option<&Counts>) -> Outcome<Counts> {
    let end = Instant::now() + SETTLE;
    let mut last = Counts::read(parts, gateway, mode)?;
    loop {
        stop::pause(EVERY)?;
        let now = Counts::read(parts, gateway, mode)?;
        let is_still = (now.served, now.recorded) == (last.served, last.recorded);
        let is_whole = mode == Mode::Off
            || before.is_none_or(|before| now.recorded - before.recorded == now.served - before.served);
        if (is_still && is_whole) || Instant::now() > end {
            return Ok(now);
        }
        last = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_rounded_down_to_two_digits() {
        let near = |rate, expected: f64| assert!((rounded(rate) - expected).abs() < 1e-6, "{rate}: {}", rounded(rate));
        near(12_345.0, 12_000.0);
        near(9_999.0, 9_900.0);
        near(123.0, 120.0);
        near(7.0, 7.0);
        near(0.1, 1.0);
    }
}
