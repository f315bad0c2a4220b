//! `tools/bench latency`: what a user waits at a fixed rate, ours beside nginx, and ours while things go wrong. The open loop counts from
//! when a request was due (see `modes::open_loop`), so that waiting is not left out.
//!
//! The upstream without anybody in front of it is measured too: what it shows is the load's, the upstream's and the host's, and no
//! contestant can be below it. Kafka gets only what others leave of the cores, as nobody runs his brokers on the machine of his gateway.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::campaign::case::{CASES, Case, Who};
use super::campaign::contestant::{Contestant, Ground};
use super::campaign::sample::Bench;
use super::campaign::{self, PORTS_EACH, machine};
use super::figures::{self, median, paired};
use super::modes::open_loop::{self, Plan, Seen};
use super::{PARTITIONS, settled};
use crate::kafka::OwnCluster;
use crate::process::take_short_turns;
use crate::started::{self, Scratch};
use crate::{Outcome, stop, wire};

mod disturbed;

/// Where configurations and logs go.
const PLACE: &str = "target/bench/latency";
/// Who is compared; the last is whom the others are held against. The upstream itself comes behind them.
const WHO: [Who; 3] = [Who::Off, Who::Async, Who::Nginx];
const UPSTREAM: &str = "the upstream itself";
/// Seconds of the closed loop that finds out what a contestant can do.
const CAPACITY_S: u32 = 3;
/// Between two measurements, so that one does not see the other's end.
const PAUSE: Duration = Duration::from_millis(500);

/// Options of `latency`.
#[derive(clap::Args, Debug)]
pub struct Options {
    /// Rounds; each measures everybody at every rate once. From five on ratios have bounds.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=200))]
    rounds: u32,
    /// Seconds of each measurement. Many short ones say more than few long ones on a host that takes its cores back now and then.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=600))]
    seconds: u32,
    /// Rates beside the peers, in percent of what the slowest of them can do, with commas between them; while things go wrong the first counts.
    #[arg(long, default_value = "50,70,90", value_delimiter = ',', value_parser = clap::value_parser!(u8).range(1..=100))]
    shares: Vec<u8>,
    /// Only beside the peers, or only while things go wrong: peers, disturbed, or both.
    #[arg(long, default_value = "both")]
    part: String,
    /// The gateway to measure.
    #[arg(long, default_value = "target/packaged/tollgate")]
    tollgate: PathBuf,
    /// The first of the ports that are used; they lie up to 2,100 above it.
    #[arg(long, default_value_t = 23_000, value_parser = clap::value_parser!(u16).range(1024..29_000))]
    port_base: u16,
}

/// Whom the load asks: the name in the table, and where.
type Target = (&'static str, SocketAddr);

/// The latencies of one row, one sample a round, in microseconds.
#[derive(Default)]
struct Row {
    p50_us: Vec<f64>,
    p99_us: Vec<f64>,
    p999_us: Vec<f64>,
    failed: u64,
}

impl Row {
    /// Takes what one round saw, and says so.
    fn take(&mut self, rate: f64, round: u32, title: &str, seen: &Seen) {
        let [p50_us, p99_us, p999_us] = [50.0, 99.0, 99.9].map(|percent| seen.percentile_us(percent));
        eprintln!(
            "{rate:.0}/s, round {}: {title:<32} p50 {p50_us:.0} µs, p99 {p99_us:.0} µs, p99.9 {p999_us:.0} µs",
            round + 1
        );
        self.p50_us.push(p50_us);
        self.p99_us.push(p99_us);
        self.p999_us.push(p999_us);
        self.failed += seen.errors + seen.unanswered;
    }

    fn cells(&self) -> String {
        let [p50, p99, p999] = [&self.p50_us, &self.p99_us, &self.p999_us].map(|all| median(all));
        format!("{p50:.0} | {p99:.0} | {p999:.0}")
    }
}

/// Measures what was asked for.
pub fn run(options: &Options) -> Outcome {
    let (peers, disturbed) = match options.part.as_str() {
        "peers" => (true, false),
        "disturbed" => (false, true),
        "both" => (true, true),
        other => return Err(format!("--part {other}: peers, disturbed or both")),
    };
    stop::install();
    crate::process::allow_many_files();
    if peers {
        beside_peers(options)?;
    }
    if disturbed {
        disturbed::run(options)?;
    }
    Ok(())
}

fn beside_peers(options: &Options) -> Outcome {
    let dir = started::fresh(Path::new(PLACE))?;
    let shm = Scratch::new(&format!("/dev/shm/tollgate-latency-{}", std::process::id()));
    let (cluster, kafka) = OwnCluster::up("bench", options.port_base + 2000)?;
    // 16 bytes, 64 connections.
    let case = CASES[0];
    let (cores, load_cores) = machine::split(machine::cores(), case.workers as usize);
    let upstream_at = SocketAddr::from(([127, 0, 0, 1], options.port_base));
    let upstream = campaign::upstream(&dir, upstream_at, case.connections, &load_cores, case.bytes)?;
    take_short_turns(upstream.pid());
    let ground = Ground {
        dir,
        shm: shm.path().to_owned(),
        upstream: upstream_at,
        kafka: kafka.clone(),
        cores,
        tollgate: options.tollgate.clone(),
        relay: PathBuf::new(),
        card: PathBuf::new(),
    };
    let bench = Bench {
        case: &case,
        kafka: &kafka,
        others: cluster.pids().into_iter().chain([upstream.pid()]).collect(),
        cores: &load_cores,
    };
    let mut contestants = start(options, &case, &ground)?;
    let capacity = capacity(&bench, &mut contestants)?;
    println!("The slowest of them can do {capacity:.0} requests/s.");
    cluster.give_way();
    let mut targets: Vec<Target> = contestants.iter().map(|one| (one.who.title(), one.address)).collect();
    targets.push((UPSTREAM, upstream_at));
    for share in &options.shares {
        let rate = capacity * f64::from(*share) / 100.0;
        let rows = at_rate(options, &case, &targets, rate)?;
        report(*share, rate, &targets, &rows);
    }
    contestants.iter().filter(|one| one.who.records()).try_for_each(|one| check_records(one, &kafka))
}

/// Every request of a contestant that records must have its record in the end.
fn check_records(contestant: &Contestant, kafka: &str) -> Outcome {
    let (served, recorded) = settled(|| {
        let served = contestant.served()?.ok_or("a contestant that records counts its requests")?;
        Ok((served, wire::record_count(kafka, &topic(contestant.who))?))
    })?;
    if recorded > served {
        return Err(format!("{}: {served} requests, {recorded} records", contestant.who.title()));
    }
    println!("\n{}: {served} requests, {recorded} records in Kafka.", contestant.who.title());
    Ok(())
}

fn topic(who: Who) -> String {
    format!("bench-latency-{}", who.name())
}

fn start(options: &Options, case: &Case, ground: &Ground) -> Outcome<Vec<Contestant>> {
    let start = |(index, who): (usize, Who)| {
        let topic = topic(who);
        if who.records() {
            wire::create_topic(&ground.kafka, &topic, PARTITIONS, 1)?;
        }
        let contestant =
            Contestant::start(who, case, ground, options.port_base + PORTS_EACH * (index as u16 + 1), &topic)?;
        contestant.check(case)?;
        Ok(contestant)
    };
    WHO.into_iter().enumerate().map(start).collect()
}

/// Requests per second of the slowest, after a first load that warms everybody up.
fn capacity(bench: &Bench<'_>, contestants: &mut [Contestant]) -> Outcome<f64> {
    let mut least = f64::INFINITY;
    for contestant in contestants {
        bench.warm_up(contestant, CAPACITY_S)?;
        least = least.min(bench.measure(contestant, CAPACITY_S)?.requests_per_s);
    }
    Ok(least)
}

fn at_rate(options: &Options, case: &Case, targets: &[Target], rate: f64) -> Outcome<Vec<Row>> {
    let mut rows: Vec<Row> = targets.iter().map(|_| Row::default()).collect();
    for round in 0..options.rounds {
        for step in 0..targets.len() {
            // Another one begins each round, and every other one runs backwards, so that none always follows the same neighbour.
            let step = if round % 2 == 0 { step } else { targets.len() - 1 - step };
            let index = (step + round as usize) % targets.len();
            let (title, target) = targets[index];
            stop::pause(PAUSE)?;
            let plan = Plan {
                target,
                host: "bench.test".to_owned(),
                path: case.path.to_owned(),
                connections: case.connections,
                rate,
                warm_up: open_loop::WARM_UP,
                seconds: options.seconds,
                core: machine::cores() - 1,
            };
            let seen = open_loop::run(&plan)?;
            rows[index].take(rate, round, title, &seen);
        }
    }
    Ok(rows)
}

fn report(share: u8, rate: f64, targets: &[Target], rows: &[Row]) {
    println!("\nAt {share} % of that, {rate:.0} requests/s, from when a request was due:\n");
    println!(
        "| who | p50 µs | p99 µs | p99.9 µs | p99 ÷ nginx | p99.9 ÷ nginx | failed |\n|---|---:|---:|---:|---:|---:|---:|"
    );
    let nginx = &rows[WHO.len() - 1];
    for ((title, _), row) in targets.iter().zip(rows) {
        let [p99, p999] = [(&row.p99_us, &nginx.p99_us), (&row.p999_us, &nginx.p999_us)]
            .map(|(ours, theirs)| figures::text(paired(ours, theirs).as_ref(), 2));
        println!("| {title} | {} | {p99} | {p999} | {} |", row.cells(), row.failed);
    }
}
