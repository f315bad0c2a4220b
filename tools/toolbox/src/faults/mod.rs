//! `tools/faults`: what becomes of the records when Kafka or the gateway fails. A real cluster of three, real processes, a client that
//! counts, and a ledger of what it saw against what Kafka holds.

use std::collections::HashMap;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::ValueEnum;

use self::case::Case;
use self::report::Row;
use self::run::{Bench, Label};
use crate::Outcome;
use crate::call::Caller;
use crate::kafka::OwnCluster;
use crate::process::stay_on;

mod case;
mod figures;
mod gateway;
mod ledger;
mod load;
mod metrics;
mod parts;
mod peer;
mod pulse;
mod report;
mod run;
mod topic;
mod verdict;
mod watch;

/// Where configurations, logs and results go.
const PLACE: &str = "target/faults";
/// What the gateway is called with.
const CALLER: Caller = Caller { key: "faults-only", limit: Duration::from_secs(5) };
/// From the first port to Kafka's.
const KAFKA_STEP: u16 = 100;
/// Seconds of a run, unless said otherwise.
const SECONDS: u32 = 60;
/// Seconds of a run of the short form.
const SHORT_SECONDS: u32 = 20;
/// Seconds that a row takes besides its load, for the first estimate.
const AROUND_S: u64 = 20;

/// Breaks Kafka and the gateway, one case after the other, and compares what clients saw with what Kafka holds.
///
/// Cases: 1 leader kill -9 and restart; 2 leader SIGSTOP, SIGCONT; 3 all brokers kill -9 and restart; 4 all stopped cleanly;
/// 5 rolling restart; 6 gateway kill -9 and restart; 7 gateway SIGTERM and restart; 8 gateway kill -9 while all brokers are down;
/// 9 undisturbed. With --peer also: 10 shipper kill -9 while all brokers are down; 11 shipper kill -9.
/// Results: target/faults/result.md and result.json. Ends with 1 if a row fails.
#[derive(clap::Args)]
pub struct Args {
    /// Which modes.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "async,sync,held")]
    modes: Vec<Mode>,
    /// Which cases, by number; all unless said otherwise.
    #[arg(long, value_delimiter = ',', value_parser = clap::value_parser!(u8).range(1..=11))]
    cases: Vec<u8>,
    /// Seconds of load in each case; faults last as long as they can be in it, an outage 30 s at most [default: 60]
    #[arg(long, value_parser = clap::value_parser!(u32).range(10..=3600))]
    seconds: Option<u32>,
    /// Requests per second over all connections.
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u32).range(1..=50_000))]
    rate: u32,
    /// Client connections.
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=1000))]
    connections: u32,
    /// How often everything is run.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// Partitions of the topics.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(i32).range(1..=100))]
    partitions: i32,
    /// Threads of the gateway.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=64))]
    workers: u32,
    /// How often the gateway is ended in cases 6 and 7, and the shipper in 11.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    kills: u32,
    /// Seconds that records may take to be decided after the last request.
    #[arg(long, default_value_t = 120)]
    settle: u32,
    /// Cases 1, 6 and 3 in async, 20 s each: about two minutes. For tools/test.
    #[arg(long, conflicts_with = "peer")]
    short: bool,
    /// The same against somebody else, with configurations of tools/faults.d.
    #[arg(long, value_enum)]
    peer: Option<PeerName>,
    /// The gateway.
    #[arg(long, default_value = "target/release/tollgate")]
    tollgate: PathBuf,
    /// The first of the ports that are used; they lie up to 152 above it.
    #[arg(long, default_value_t = 25_000, value_parser = clap::value_parser!(u16).range(1024..60_000))]
    port_base: u16,
}

/// How records are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, ValueEnum)]
pub enum Mode {
    /// `producer_type: async`.
    Async,
    /// `producer_type: sync`.
    Sync,
    /// `ack_before_response: true`.
    Held,
}

impl Mode {
    /// As on the command line.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Async => "async",
            Self::Sync => "sync",
            Self::Held => "held",
        }
    }
}

/// Whom to compare with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum PeerName {
    /// nginx with a JSON log file, rsyslog's imfile and omkafka with a disk queue.
    NginxRsyslog,
}

/// Where everybody listens.
#[derive(Clone, Copy, Debug)]
pub struct Ports {
    /// The upstream.
    pub upstream: SocketAddr,
    /// What clients talk to.
    pub proxy: SocketAddr,
    /// The gateway's Admin API.
    pub admin: SocketAddr,
    /// The gateway's metrics.
    pub metrics: SocketAddr,
}

/// What was asked for, decided.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Nothing for a peer.
    modes: Vec<Option<Mode>>,
    cases: Vec<Case>,
    /// Seconds of load in each row.
    pub seconds: u32,
    /// Requests per second.
    pub rate: u32,
    /// Client connections.
    pub connections: u32,
    rounds: u32,
    /// Partitions of the topics.
    pub partitions: i32,
    /// Threads of the gateway.
    pub workers: u32,
    /// How often the gateway is ended where that is all that happens.
    pub kills: u32,
    /// Seconds that records may take to be decided.
    pub settle: u32,
    /// The gateway's binary.
    pub tollgate: PathBuf,
    port_base: u16,
    /// Of the machine.
    pub cores: usize,
}

impl Plan {
    fn of(args: Args) -> Outcome<Self> {
        let all: &[Case] = match (args.peer, args.short) {
            (Some(_), _) => &Case::PEERS,
            (None, true) => &Case::SHORT,
            (None, false) => &Case::OURS,
        };
        let known: &[Case] = if args.peer.is_some() { &Case::PEERS } else { &Case::OURS };
        if let Some(number) = args.cases.iter().find(|number| known.iter().all(|case| case.number() != **number)) {
            return Err(format!("there is no case {number} here; --help lists them"));
        }
        // In the table's order, so that the undisturbed run comes first.
        let wanted = |case: &&Case| args.cases.contains(&case.number());
        let cases = if args.cases.is_empty() { all.to_vec() } else { known.iter().filter(wanted).copied().collect() };
        let modes = match (args.peer, args.short) {
            (Some(_), _) => vec![None],
            (None, true) => vec![Some(Mode::Async)],
            (None, false) => args.modes.into_iter().map(Some).collect(),
        };
        Ok(Self {
            modes,
            cases,
            seconds: args.seconds.unwrap_or(if args.short { SHORT_SECONDS } else { SECONDS }),
            rate: args.rate,
            connections: args.connections,
            rounds: args.rounds,
            partitions: args.partitions,
            workers: args.workers,
            kills: args.kills,
            settle: args.settle,
            tollgate: args.tollgate,
            port_base: args.port_base,
            cores: std::thread::available_parallelism().map_or(1, usize::from),
        })
    }

    /// Where everybody listens.
    pub fn ports(&self) -> Ports {
        let port = |offset: u16| SocketAddr::from(([127, 0, 0, 1], self.port_base + offset));
        Ports { upstream: port(0), proxy: port(1), admin: port(2), metrics: port(3) }
    }

    /// The command that repeats it.
    pub fn command(&self) -> String {
        let cases: Vec<String> = self.cases.iter().map(|case| case.number().to_string()).collect();
        let modes: Vec<&str> = self.modes.iter().flatten().map(|mode| mode.text()).collect();
        let who =
            if modes.is_empty() { "--peer nginx-rsyslog".to_owned() } else { format!("--modes {}", modes.join(",")) };
        let Self { seconds, rate, connections, rounds, partitions, workers, kills, .. } = self;
        let workers = if modes.is_empty() { String::new() } else { format!(" --workers {workers}") };
        format!(
            "tools/faults {who} --cases {} --seconds {seconds} --rate {rate} --connections {connections} --rounds {rounds} \
             --partitions {partitions} --kills {kills}{workers}",
            cases.join(",")
        )
    }

    /// Every row in the order in which they are run.
    fn labels(&self) -> Vec<Label> {
        let each = |round| {
            let of_mode = move |mode: &Option<Mode>| {
                let mode = *mode;
                self.cases.iter().map(move |case| Label { case: *case, mode, round, place: String::new() })
            };
            self.modes.iter().flat_map(of_mode)
        };
        (1..=self.rounds).flat_map(each).collect()
    }
}

/// Runs everything.
pub fn run(args: Args) -> Outcome {
    let is_peer = args.peer.is_some();
    let plan = Plan::of(args)?;
    for name in ["java", "mvn", "nginx"].into_iter().chain(is_peer.then_some("rsyslogd")) {
        crate::started::program(name)?;
    }
    if !is_peer && !plan.tollgate.is_file() {
        return Err(format!("{} is not there: cargo build --release, or --tollgate PATH", plan.tollgate.display()));
    }
    crate::stop::install();
    let mut bench = start(plan)?;
    let rows = run_rows(&mut bench)?;
    println!("\n{}", report::markdown(&bench.plan, &rows));
    println!("Also in {PLACE}/result.md and {PLACE}/result.json.");
    let failed = rows.iter().filter(|row| !row.faults().is_empty()).count();
    if failed == 0 { Ok(()) } else { Err(format!("{failed} of {} rows failed.", rows.len())) }
}

fn start(plan: Plan) -> Outcome<Bench> {
    // Brokers inherit it: while they start they must not slow down the client and what it measures.
    stay_on(plan.cores - 1);
    let ports = plan.ports();
    crate::started::check_free(&[ports.upstream, ports.proxy, ports.admin, ports.metrics])?;
    // Nothing of an earlier run is found by a gateway of this one.
    let dir = fresh_run(plan.port_base)?;
    let slow = "0123456789".repeat(40);
    let values =
        [("DIR", dir.to_string_lossy().into_owned()), ("UPSTREAM", ports.upstream.to_string()), ("SLOW", slow)];
    let config = parts::fill("upstream.conf", &dir, &values)?;
    let upstream = parts::nginx(&dir, &config, ports.upstream)?;
    eprintln!("starting three brokers");
    let cluster = OwnCluster::up_three(&format!("faults-{}", plan.port_base), plan.port_base + KAFKA_STEP)?;
    Ok(Bench { plan, cluster, upstream, dir })
}

/// A directory for this run, whose name no earlier run had; what an earlier one on the same ports left is removed.
fn fresh_run(port_base: u16) -> Outcome<PathBuf> {
    let place = Path::new(PLACE);
    fs::create_dir_all(place).map_err(|error| format!("{PLACE}: {error}"))?;
    let ours = format!("run-{port_base}-");
    for entry in fs::read_dir(place).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(&ours) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
    crate::started::fresh(&place.join(format!("{ours}{}", std::process::id())))
}

fn run_rows(bench: &mut Bench) -> Outcome<Vec<Row>> {
    let labels = bench.plan.labels();
    let begin = Instant::now();
    let mut calm: HashMap<Option<Mode>, u64> = HashMap::new();
    let mut rows: Vec<Row> = Vec::new();
    for (index, mut label) in labels.iter().cloned().enumerate() {
        let per_row = match index {
            0 => u64::from(bench.plan.seconds) + AROUND_S,
            _ => begin.elapsed().as_secs() / index as u64,
        };
        let left = (labels.len() - index) as u64 * per_row;
        label.place = format!("[{}/{}, about {} min left]", index + 1, labels.len(), left.div_ceil(60));
        let outcome = bench.row(&label, calm.get(&label.mode).copied());
        crate::stop::check()?;
        if let (Case::Undisturbed, Ok(measured)) = (label.case, &outcome) {
            calm.insert(label.mode, measured.latency.p99);
        }
        let row = Row { case: label.case, mode: label.mode, round: label.round, outcome };
        println!("[{}/{}] {}", index + 1, labels.len(), row.line());
        rows.push(row);
        report::write(Path::new(PLACE), &bench.plan, &rows)?;
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    fn plan(line: &str) -> Outcome<Plan> {
        Plan::of(Line::parse_from(line.split(' ')).args)
    }

    fn rows(line: &str) -> Vec<(u8, Option<Mode>)> {
        let labels = plan(line).expect("a plan").labels();
        labels.iter().map(|label| (label.case.number(), label.mode)).collect()
    }

    #[test]
    fn a_modes_undisturbed_run_comes_before_what_is_compared_with_it() {
        let held_first = rows("faults --modes held,async --cases 3,9 --rounds 2");
        let once = [(9, Some(Mode::Held)), (3, Some(Mode::Held)), (9, Some(Mode::Async)), (3, Some(Mode::Async))];
        assert_eq!(held_first, [once, once].concat());
        assert_eq!(rows("faults").len(), 27);
    }

    #[test]
    fn the_short_form_is_three_cases_of_twenty_seconds() {
        assert_eq!(rows("faults --short"), [1, 6, 3].map(|number| (number, Some(Mode::Async))));
        assert_eq!(plan("faults --short").expect("a plan").seconds, 20);
        assert_eq!(plan("faults").expect("a plan").seconds, 60);
    }

    #[test]
    fn the_shippers_cases_are_the_peers_only() {
        assert_eq!(rows("faults --peer nginx-rsyslog --cases 11,10"), [(10, None), (11, None)]);
        assert!(plan("faults --cases 10").is_err());
        assert!(plan("faults --peer nginx-rsyslog --cases 5").is_err());
    }

    #[test]
    fn the_command_that_is_printed_repeats_the_run() {
        let first = plan("faults --modes sync --cases 6 --seconds 33 --rate 7 --workers 1").expect("a plan");
        let line = first.command().replace("tools/faults", "faults");
        let again = plan(&line).expect("it is a command");
        assert_eq!((again.command(), again.seconds, again.rate), (first.command(), 33, 7));
    }
}
