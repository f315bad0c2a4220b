//! `tollgate doctor`: what this machine lets Tollgate do, one line a finding, with the fix. `run` and `demo` ask it quietly.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::Args as ClapArgs;

use super::access::AccessWords;
use crate::config::file::FileConfig;
use crate::control::records::{Access, KafkaReader};
use crate::io::{driver, listener, process};

/// Open files below which a busy gateway runs dry: two sockets for each of 2,000 clients.
const OPEN_FILES_WANTED: u64 = 4_096;
/// Bytes of locked memory that old kernels count an io_uring against.
const MEMLOCK_WANTED: u64 = 8 * 1024 * 1024;
/// 2024-01-01: a clock before it is wrong, and Kafka would sort the records to the wrong end.
const CLOCK_SANE_S: u64 = 1_704_067_200;

/// The words of `tollgate doctor`.
#[derive(Debug, Default, ClapArgs)]
pub struct Args {
    /// Also look at what this configuration file needs: its ports.
    #[arg(long, short)]
    config: Option<PathBuf>,
    /// Also look at this Kafka: HOST:PORT, comma-separated.
    #[arg(long, short, value_delimiter = ',')]
    kafka: Vec<String>,
    /// Also look at this topic's replication (needs --kafka).
    #[arg(long, short)]
    topic: Option<String>,
    #[command(flatten)]
    access: AccessWords,
}

/// How a finding is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Good,
    Odd,
    Slow,
    Bad,
}

/// One line.
#[derive(Debug, PartialEq, Eq)]
struct Finding {
    verdict: Verdict,
    about: &'static str,
    text: String,
}

fn finding(verdict: Verdict, about: &'static str, text: impl Into<String>) -> Finding {
    Finding { verdict, about, text: text.into() }
}

/// Prints every finding. 0 if nothing is bad.
pub fn doctor(args: &Args) -> ExitCode {
    let mut findings = machine();
    if let Some(file) = &args.config {
        match super::run::read_file(file) {
            Ok((config, warnings)) => {
                findings.extend(warnings.into_iter().map(|line| finding(Verdict::Odd, "config", line)));
                findings.extend(ports(&config));
            }
            Err(lines) => findings.extend(lines.into_iter().map(|line| finding(Verdict::Bad, "config", line))),
        }
    }
    if !args.kafka.is_empty() {
        findings.extend(match args.access.access() {
            Ok(access) => kafka(&args.kafka, args.topic.as_deref(), &access),
            Err(error) => vec![finding(Verdict::Bad, "kafka", error)],
        });
    }
    for finding in &findings {
        let mark = match finding.verdict {
            Verdict::Good => "ok  ",
            Verdict::Odd => "odd ",
            Verdict::Slow => "slow",
            Verdict::Bad => "BAD ",
        };
        println!("{mark}  {:<10} {}", finding.about, finding.text);
    }
    if findings.iter().any(|finding| finding.verdict == Verdict::Bad) { ExitCode::from(1) } else { ExitCode::SUCCESS }
}

/// Logs what is not good, and nothing else. (The driver's own line is written where it is chosen.)
pub fn quietly(config: &FileConfig) {
    let _ = config;
    for finding in machine().iter().filter(|one| one.verdict != Verdict::Good && one.about != "io_uring") {
        log::warn!("{}: {}", finding.about, finding.text);
    }
}

fn machine() -> Vec<Finding> {
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let mut findings = vec![kernel_finding(kernel.trim())];
    findings.push(match driver::probe() {
        Ok(driver::Driver::PlainUring) => {
            let text = "without COOP_TASKRUN, which kernels have from 5.19 on: `driver: auto` takes epoll";
            finding(Verdict::Slow, "io_uring", text)
        }
        Ok(driver) => {
            finding(Verdict::Good, "io_uring", format!("{driver} with COOP_TASKRUN: taken by `driver: auto`"))
        }
        Err(reason) => {
            finding(Verdict::Slow, "io_uring", format!("{reason}; `driver: auto` takes epoll, about 8 % dearer"))
        }
    });
    findings.push(seccomp(&std::fs::read_to_string("/proc/self/status").unwrap_or_default()));
    findings.push(memlock(&std::fs::read_to_string("/proc/self/limits").unwrap_or_default(), kernel.trim()));
    findings.push(match process::open_files() {
        Ok((_, hard)) if hard < OPEN_FILES_WANTED => {
            let fix = format!("the hard limit of open files is {hard}: raise it (ulimit -Hn, LimitNOFILE=) to {OPEN_FILES_WANTED} or more");
            finding(Verdict::Slow, "open files", fix)
        }
        Ok((soft, hard)) => finding(Verdict::Good, "open files", format!("{soft}, raised to {hard} at start")),
        Err(error) => finding(Verdict::Slow, "open files", format!("the limit cannot be read: {error}")),
    });
    findings.push(clock());
    findings
}

fn kernel_finding(release: &str) -> Finding {
    let mut numbers = release.split(['.', '-']).map(|part| part.parse::<u32>().unwrap_or(0));
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    if version >= (5, 19) {
        finding(Verdict::Good, "kernel", release)
    } else {
        finding(Verdict::Slow, "kernel", format!("{release}: io_uring is worth its while from 5.19 on; epoll is used"))
    }
}

fn seccomp(status: &str) -> Finding {
    let mode = status.lines().find_map(|line| line.strip_prefix("Seccomp:")).map_or("", str::trim);
    match mode {
        "0" | "" => finding(Verdict::Good, "seccomp", "no filter"),
        _ => finding(
            Verdict::Good,
            "seccomp",
            "a filter is active; the line about io_uring says whether it stands in the way",
        ),
    }
}

fn memlock(limits: &str, release: &str) -> Finding {
    let line = limits.lines().find(|line| line.starts_with("Max locked memory")).unwrap_or("");
    let hard = line.split_whitespace().rev().nth(1).unwrap_or("unlimited");
    match hard.parse::<u64>() {
        Ok(bytes) if bytes < MEMLOCK_WANTED && release.starts_with("5.") => {
            finding(Verdict::Slow, "memlock", format!("{bytes} bytes: raise it (ulimit -l) if io_uring gets no memory"))
        }
        Ok(bytes) => finding(Verdict::Good, "memlock", format!("{bytes} bytes")),
        Err(_) => finding(Verdict::Good, "memlock", "unlimited"),
    }
}

fn clock() -> Finding {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    if now >= CLOCK_SANE_S {
        finding(Verdict::Good, "clock", format!("{now} seconds since 1970"))
    } else {
        finding(
            Verdict::Bad,
            "clock",
            format!("{now} seconds since 1970 is long ago: set the clock, records carry its time"),
        )
    }
}

fn ports(config: &FileConfig) -> Vec<Finding> {
    let proxy = config.listen.iter().map(|address| (*address, "apisix.node_listen"));
    let admin = config.admin.enabled.then_some((config.admin.listen, "deployment.admin.admin_listen"));
    let metrics = config.prometheus.as_ref().map(|one| (one.listen, "plugin_attr.prometheus.export_addr"));
    let control = config.control.map(|address| (address, "apisix.control"));
    proxy
        .chain(admin)
        .chain(metrics)
        .chain(control)
        .map(|(address, key)| match listener::probe(address) {
            Ok(()) => finding(Verdict::Good, "port", format!("{address} is free ({key})")),
            Err(error) => finding(Verdict::Bad, "port", format!("{address}: {error}; change {key}")),
        })
        .collect()
}

fn kafka(brokers: &[String], topic: Option<&str>, access: &Access) -> Vec<Finding> {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return vec![finding(Verdict::Bad, "kafka", format!("no runtime: {error}"))],
    };
    runtime.block_on(async {
        let mut findings = Vec::new();
        for broker in brokers {
            findings.push(match ask(broker, access).await {
                Ok(text) => finding(Verdict::Good, "kafka", text),
                Err(error) => finding(Verdict::Bad, "kafka", error),
            });
        }
        if let (Some(topic), Some(broker)) = (topic, brokers.first()) {
            findings.push(replication(broker, topic, access).await);
        }
        findings
    })
}

fn host_port(broker: &str) -> Result<(&str, u16), String> {
    let parsed = broker.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse().ok()?)));
    parsed.ok_or_else(|| format!("{broker}: HOST:PORT is needed"))
}

async fn ask(broker: &str, access: &Access) -> Result<String, String> {
    let mut reader = KafkaReader::connect_as(&[host_port(broker)?], access.clone()).await?;
    let topics = reader.topics().await?.len();
    Ok(format!("{broker}: {}, {topics} topics", reader.release()))
}

async fn replication(broker: &str, topic: &str, access: &Access) -> Finding {
    let partitions =
        async { KafkaReader::connect_as(&[host_port(broker)?], access.clone()).await?.partitions(topic).await };
    match partitions.await {
        Err(error) => finding(Verdict::Bad, "topic", error),
        Ok(partitions) => {
            let replicas = partitions.iter().map(|one| one.replicas).min().unwrap_or(0);
            let behind = partitions.iter().filter(|one| one.in_sync < one.replicas).count();
            let text = format!("{topic}: {} partitions, {replicas} replicas, {behind} not in sync", partitions.len());
            match replicas {
                0 | 1 => finding(
                    Verdict::Slow,
                    "topic",
                    format!("{text}; a lost disk loses records: use 3 replicas, min.insync.replicas 2"),
                ),
                _ => finding(Verdict::Good, "topic", text),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_kernel_is_called_slow_and_a_new_one_good() {
        assert_eq!(kernel_finding("5.10.0-28-amd64").verdict, Verdict::Slow);
        assert_eq!(kernel_finding("6.1.0").verdict, Verdict::Good);
        assert_eq!(kernel_finding("").verdict, Verdict::Slow);
    }

    #[test]
    fn little_locked_memory_matters_to_old_kernels_only() {
        let limits = "Max locked memory         65536                65536                bytes     \n";
        assert_eq!(memlock(limits, "5.10.0").verdict, Verdict::Slow);
        assert_eq!(memlock(limits, "6.1.0").verdict, Verdict::Good);
    }
}
