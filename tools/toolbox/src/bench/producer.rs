//! `tools/bench producer`: our ring and producer on their own beside librdkafka, records per CPU second.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;

use super::PARTITIONS;
use super::figures::{median, paired};
use crate::kafka::OwnCluster;
use crate::process::pinned_to;
use crate::started::fresh;
use crate::{Outcome, stop, wire};

/// Where the other producer and the value go.
const PLACE: &str = "target/bench/producer";
/// The other producer's source.
const SOURCE: &str = "tools/bench.d/librdkafka.c";
/// How many times as many records per CPU second it should be.
const MUST: f64 = 1.5;
/// A default entry as the gateway writes it for a small request; the zeros become the record's number.
const VALUE: &str = r#"{"request":{"url":"http://127.0.0.1:9080/get?n=0000000000","uri":"/get?n=1","method":"GET","headers":{"host":"127.0.0.1:9080","user-agent":"curl/7.88.1","accept":"*/*","x-forwarded-proto":"http","x-forwarded-host":"127.0.0.1:9080","x-forwarded-port":"9080"},"querystring":{"n":"1"},"size":88},"response":{"status":200,"headers":{"server":"tollgate/0.1.0","content-type":"text/plain","date":"Thu, 26 Nov 2026 12:00:00 GMT","content-length":"16","connection":"keep-alive"},"size":164},"server":{"hostname":"gateway-1","version":"0.1.0"},"upstream":"127.0.0.1:1980","service_id":"","route_id":"1","client_ip":"127.0.0.1","start_time":1764158400000,"latency":1.2,"upstream_latency":1.0,"apisix_latency":0.2}"#;

/// Options of `producer`.
#[derive(clap::Args, Debug)]
pub struct Options {
    /// Records of each measurement.
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1000..=100_000_000))]
    records: u64,
    /// Rounds; each measures both producers once, with and without lz4. From five on ratios have bounds.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=50))]
    rounds: u32,
    /// A Kafka that is there (plain, by address), instead of one of our own. Topics bench-* are made in it and removed again.
    #[arg(long, value_name = "HOST:PORT")]
    kafka: Option<String>,
    /// Our producer (benches/producer).
    #[arg(long, default_value = "target/packaged/producer")]
    producer: PathBuf,
    /// The first of the ports that are used; they lie up to 2,100 above it.
    #[arg(long, default_value_t = 23_000, value_parser = clap::value_parser!(u16).range(1024..29_000))]
    port_base: u16,
}

/// What a producer says of itself.
#[derive(Clone, Copy, Debug, Deserialize)]
struct Said {
    records: u64,
    unacknowledged: u64,
    cpu_s: f64,
    wall_s: f64,
}

impl Said {
    fn per_cpu_s(self) -> f64 {
        self.records as f64 / self.cpu_s.max(0.001)
    }
}

/// One line of the table.
struct Row {
    who: &'static str,
    compression: &'static str,
    said: Vec<Said>,
    in_kafka: u64,
}

impl Row {
    fn column(&self, of: impl Fn(&Said) -> f64) -> Vec<f64> {
        self.said.iter().map(of).collect()
    }
}

/// Measures both, alternately, and says how they compare.
pub fn run(options: &Options) -> Outcome {
    stop::install();
    let dir = fresh(Path::new(PLACE))?;
    let value = dir.join("value.json");
    fs::write(&value, VALUE).map_err(|error| format!("{}: {error}", value.display()))?;
    let other = compile(&dir)?;
    let (cluster, kafka) = match &options.kafka {
        Some(address) => (None, address.clone()),
        None => OwnCluster::up("bench", options.port_base + 2000).map(|(own, address)| (Some(own), address))?,
    };
    let mut rows: Vec<Row> = ["none", "lz4"]
        .into_iter()
        .flat_map(|compression| {
            ["ours", "librdkafka"].map(|who| Row { who, compression, said: Vec::new(), in_kafka: 0 })
        })
        .collect();
    for round in 0..options.rounds {
        for step in 0..rows.len() {
            stop::check()?;
            // Another one begins each round, so that none always follows the same neighbour.
            let row = &mut rows[(step + round as usize) % 4];
            let topic = format!("bench-producer-{}-{round}-{step}", std::process::id());
            wire::create_topic(&kafka, &topic, PARTITIONS, 1)?;
            let said = measure(options, row, (&kafka, &topic), &value, &other)?;
            row.in_kafka += wire::record_count(&kafka, &topic)?;
            row.said.push(said);
            eprintln!(
                "round {}: {:<10} {:<4} {:>9.0} records per CPU second, {:>8.0} per second",
                round + 1,
                row.who,
                row.compression,
                said.per_cpu_s(),
                said.records as f64 / said.wall_s
            );
            wire::delete_topic(&kafka, &topic)?;
        }
    }
    drop(cluster);
    report(&rows)
}

/// librdkafka's part, by the system's compiler.
fn compile(dir: &Path) -> Outcome<PathBuf> {
    let binary = dir.join("librdkafka");
    let output = Command::new("cc").args(["-O2", "-o"]).arg(&binary).args([SOURCE, "-lrdkafka"]).output();
    let output = output.map_err(|error| format!("cc does not start: {error}"))?;
    if output.status.success() {
        return Ok(binary);
    }
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(format!("{SOURCE} does not compile (apt-get install gcc librdkafka-dev):\n{text}"))
}

fn measure(options: &Options, row: &Row, (kafka, topic): (&str, &str), value: &Path, other: &Path) -> Outcome<Said> {
    let records = options.records.to_string();
    let program = if row.who == "ours" { &options.producer } else { other };
    let mut command = pinned_to(&program.to_string_lossy(), "0");
    if row.who == "ours" {
        command.args(["--kafka", kafka, "--topic", topic, "--records", &records, "--compression", row.compression]);
        command.arg("--value").arg(value);
    } else {
        command.args([kafka, topic, &records]).arg(value).arg(row.compression);
    }
    let output = command.output().map_err(|error| format!("{} does not start: {error}", row.who))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    serde_json::from_str(&text)
        .map_err(|_| format!("{} failed: {text}{}", row.who, String::from_utf8_lossy(&output.stderr)))
}

fn report(rows: &[Row]) -> Outcome {
    println!(
        "\n| who | compression | records per CPU s | CPU µs per record | records per s | unacknowledged | in Kafka / sent |"
    );
    println!("|---|---|---:|---:|---:|---:|---:|");
    for row in rows {
        let sent: u64 = row.said.iter().map(|said| said.records).sum();
        let unacknowledged: u64 = row.said.iter().map(|said| said.unacknowledged).sum();
        println!(
            "| {} | {} | {:.0} | {:.3} | {:.0} | {unacknowledged} | {} / {sent} |",
            row.who,
            row.compression,
            median(&row.column(|said| said.per_cpu_s())),
            median(&row.column(|said| said.cpu_s / said.records as f64 * 1e6)),
            median(&row.column(|said| said.records as f64 / said.wall_s)),
            row.in_kafka,
        );
    }
    println!();
    for pair in rows.chunks(2) {
        let [ours, theirs] = pair else { continue };
        let per_cpu_s = |row: &Row| row.column(|said| said.per_cpu_s());
        let Some(ratio) = paired(&per_cpu_s(ours), &per_cpu_s(theirs)) else { continue };
        let grade = if ratio.median >= MUST { "MUST reached" } else { "MISSED" };
        let compression = ours.compression;
        println!(
            "- {grade}: records per CPU second, ours ÷ librdkafka, compression {compression}: {ratio} (must ≥ {MUST})"
        );
    }
    let is_whole = |row: &Row| row.in_kafka == row.said.iter().map(|said| said.records).sum::<u64>();
    if rows.iter().all(is_whole) { Ok(()) } else { Err("Kafka does not hold what was sent: see the table.".to_owned()) }
}
