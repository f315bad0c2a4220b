//! `tools/bench`: what a request costs the gateway, with its records and without.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Subcommand;

use self::parts::{Gateway, Parts};
use self::summary::{Row, Sample};
use crate::{Outcome, wire};

mod campaign;
mod figures;
mod parts;
mod summary;
mod wrk;

/// How long the records of a run may take to be in Kafka after its last request.
const SETTLE: Duration = Duration::from_secs(30);
/// How long a mode is loaded before its first round is measured.
const WARM_UP_S: u32 = 1;

/// What can be measured.
#[derive(clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    all: campaign::Options,
}

#[derive(Subcommand)]
enum Command {
    /// Everybody: ours, nginx, HAProxy, nginx with rsyslog behind it, the bare relay, the literal card. The default.
    All(campaign::Options),
    /// The gateway without logging, with producer_type async and sync, and with responses held, alternately.
    Modes(Modes),
}

/// Options of `modes`.
#[derive(clap::Args)]
pub struct Modes {
    /// Seconds of each measurement.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=600))]
    seconds: u32,
    /// Rounds; each measures every mode once.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=50))]
    rounds: u32,
    /// Connections of the load.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    connections: u32,
    /// Cores that the gateway serves from.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=64))]
    workers: u32,
    /// Bytes of the upstream's responses.
    #[arg(long, default_value_t = 16)]
    bytes: usize,
    /// A Kafka that is there, instead of one of our own. Topics bench-* are made in it.
    #[arg(long, value_name = "HOST:PORT")]
    kafka: Option<String>,
    /// The gateway to measure.
    #[arg(long, default_value = "target/release/tollgate")]
    tollgate: PathBuf,
    /// The first of the ports that are used; they lie up to 2,100 above it.
    #[arg(long, default_value_t = 23_000, value_parser = clap::value_parser!(u16).range(1024..60_000))]
    port_base: u16,
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
}

/// Measures.
pub fn run(args: Args) -> Outcome {
    match args.command {
        None => campaign::run(&args.all),
        Some(Command::All(options)) => campaign::run(&options),
        Some(Command::Modes(modes)) => run_modes(&modes),
    }
}

fn run_modes(modes: &Modes) -> Outcome {
    let parts = Parts::start(modes)?;
    let mut rows: Vec<Row> = Mode::ALL.iter().map(|mode| Row::new(mode.name())).collect();
    for mode in Mode::ALL {
        wrk::run(&work(&parts, mode, modes, WARM_UP_S), || {})?;
    }
    for round in 0..modes.rounds {
        for step in 0..Mode::ALL.len() {
            // Another one begins each round, so that none always follows the same neighbour.
            let index = (step + round as usize) % Mode::ALL.len();
            let mode = Mode::ALL[index];
            let sample = measure(&parts, mode, modes)?;
            println!("round {}: {:<5} {sample}", round + 1, mode.name());
            rows[index].samples.push(sample);
        }
    }
    println!("\n{}", summary::circumstances(modes));
    println!("{}", summary::table(&rows));
    let lost = rows
        .iter()
        .any(|row| row.samples.iter().any(|sample| sample.recorded.is_some_and(|count| count != sample.served)));
    if lost { Err("Kafka does not hold one record per request.".to_owned()) } else { Ok(()) }
}

fn measure(parts: &Parts, mode: Mode, modes: &Modes) -> Outcome<Sample> {
    let gateway = parts.gateway();
    settle(parts, gateway, mode, None)?;
    let before = Counts::read(parts, gateway, mode)?;
    let load = wrk::run(&work(parts, mode, modes, modes.seconds), || {})?;
    let after = settle(parts, gateway, mode, Some(&before))?;
    let served = after.served - before.served;
    Ok(Sample {
        requests_per_s: load.requests_per_s,
        p50_us: load.p50_us,
        p99_us: load.p99_us,
        errors: load.errors,
        cpu_s_per_million: (after.cpu_s - before.cpu_s) * 1e6 / served.max(1) as f64,
        served,
        recorded: (mode != Mode::Off).then(|| after.recorded - before.recorded),
    })
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
        std::thread::sleep(Duration::from_millis(200));
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

fn work(parts: &Parts, mode: Mode, modes: &Modes, seconds: u32) -> wrk::Work {
    let (_, cores) = campaign::machine::split(campaign::machine::cores(), modes.workers as usize);
    wrk::Work { url: parts.target(mode), connections: modes.connections, seconds, cores, ..wrk::Work::default() }
}
