//! `tools/bench all`: ours, the peers and the floor, in turns, in one run; tables, a picture, and what they say.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::json;

use self::case::{Case, Who};
use self::contestant::{Contestant, Ground};
use self::sample::{Bench, Sample};
use self::table::{Look, Table};
use crate::bench::PARTITIONS;
use crate::kafka::OwnCluster;
use crate::process::pinned_to;
use crate::started::{self, Process, Scratch, program};
use crate::{Outcome, stop, wire};

pub mod case;
pub mod contestant;
pub mod machine;
pub mod meter;
mod ours;
pub mod picture;
pub mod sample;
mod table;
mod verdict;

/// Where configurations and logs go.
const PLACE: &str = "target/bench";
/// Bytes of the smallest responses.
const SMALL_BYTES: usize = 16;
/// Bytes of the longest body that stands in nginx's configuration; it takes no longer word than 4 KiB.
const IN_MEMORY_BYTES: usize = 4000;
/// Seconds of load before a contestant's first round of a case.
const WARM_UP_S: u32 = 1;
/// The same for the first contestant that records: a broker just started is slow.
const FIRST_WARM_UP_S: u32 = 3;
/// Ports between two contestants.
pub const PORTS_EACH: u16 = 10;
/// From so many connections on the upstream closes idle ones soon: those of all contestants together would be too many.
const MANY_CONNECTIONS: u32 = 256;

/// Options of `all`.
#[derive(clap::Args, Clone, Debug)]
pub struct Options {
    /// Cases, with commas between them: 16, 8k, 64k, 1m, close, 256, 1000, 2500, 5000, routes10, routes1000, routes100k, fields4,
    /// bodies, workers2; or all.
    #[arg(long, default_value = "16,8k,64k,1m,close,2500")]
    cases: String,
    /// Contestants: off, async, sync, held, nginx, haproxy, nginx-rsyslog, relay, card; or all.
    #[arg(long, default_value = "all")]
    only: String,
    /// Rounds; each measures every contestant once, in another order. From five on ratios have bounds.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// Seconds of each measurement.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=600))]
    seconds: u32,
    /// Where bench.md, bench.json, bench.svg and bench.png go.
    #[arg(long, default_value = "target/bench/result")]
    out: PathBuf,
    /// A Kafka that is there, instead of one of our own. Topics bench-* are made in it and removed again.
    #[arg(long, value_name = "HOST:PORT")]
    kafka: Option<String>,
    /// The gateway to measure.
    #[arg(long, default_value = "target/packaged/tollgate")]
    tollgate: PathBuf,
    /// The bare relay (benches/relay).
    #[arg(long, default_value = "target/packaged/relay")]
    relay: PathBuf,
    /// The literal card (tools/card); without it there is no such row.
    #[arg(long, default_value = "target/packaged/card")]
    card: PathBuf,
    /// The first of the ports that are used; they lie up to 2,100 above it.
    #[arg(long, default_value_t = 23_000, value_parser = clap::value_parser!(u16).range(1024..29_000))]
    port_base: u16,
}

/// What is being done, and how long it will still take.
struct Progress {
    begin: Instant,
    done: u32,
    all: u32,
}

impl Progress {
    fn say(&mut self, text: &str) {
        self.done += 1;
        let each = self.begin.elapsed() / self.done;
        let left = each * (self.all - self.done.min(self.all));
        eprintln!("[{}/{}, {} left] {text}", self.done, self.all, minutes(left));
    }
}

fn minutes(time: Duration) -> String {
    format!("{}:{:02}", time.as_secs() / 60, time.as_secs() % 60)
}

/// Measures everything that was asked for and writes it down, also when it was ended early.
pub fn run(options: &Options) -> Outcome {
    let cases = Case::read(&options.cases)?;
    let who = Who::read(&options.only)?;
    program("wrk")?;
    program("nginx")?;
    stop::install();
    crate::process::allow_many_files();
    let busy = machine::busy_before()?;
    if busy > 0.05 {
        eprintln!("The machine is busy ({:.0} % in use by others): figures will be doubtful.", busy * 100.0);
    }
    let mut tables = Vec::new();
    let outcome = measure_all(options, &cases, &who, &mut tables);
    tables.retain(|table: &Table| table.rows.iter().any(|row| !row.samples.is_empty()));
    if !tables.is_empty() {
        report(options, &tables, busy)?;
    }
    outcome?;
    if tables.iter().any(Table::is_broken) {
        return Err("A row does not hold one record per request: see the tables.".to_owned());
    }
    let ours_missing = |table: &Table| table.absent.iter().any(|(who, _)| who.is_ours() || *who == Who::Relay);
    if tables.iter().any(ours_missing) { Err("Something of ours could not be measured.".to_owned()) } else { Ok(()) }
}

fn measure_all(options: &Options, cases: &[Case], who: &[Who], tables: &mut Vec<Table>) -> Outcome {
    let dir = started::fresh(Path::new(PLACE).join("contestants").as_path())?;
    let shm = Scratch::new(&format!("/dev/shm/tollgate-bench-{}", std::process::id()));
    let (cluster, kafka) = match &options.kafka {
        Some(address) => (None, address.clone()),
        None => OwnCluster::up("bench", options.port_base + 2000).map(|(own, address)| (Some(own), address))?,
    };
    let kafka_pids = cluster.as_ref().map_or_else(Vec::new, OwnCluster::pids);
    let of = |case: &Case| who.iter().filter(|who| case.who.contains(who)).count() as u32;
    let all = cases.iter().map(|case| of(case) * (options.rounds + 1)).sum();
    let mut progress = Progress { begin: Instant::now(), done: 0, all };
    let upstream_at = SocketAddr::from(([127, 0, 0, 1], options.port_base));
    for case in cases {
        let (contestant_cores, load_cores) = machine::split(machine::cores(), case.workers as usize);
        let upstream = upstream(&dir, upstream_at, case.connections, &load_cores, SMALL_BYTES)?;
        let ground = Ground {
            dir: dir.clone(),
            shm: shm.path().to_owned(),
            upstream: upstream_at,
            kafka: kafka.clone(),
            cores: contestant_cores,
            tollgate: options.tollgate.clone(),
            relay: options.relay.clone(),
            card: options.card.clone(),
        };
        let others = kafka_pids.iter().copied().chain([upstream.pid()]).collect();
        let bench = Bench { case, kafka: &kafka, others, cores: &load_cores };
        let who: Vec<Who> = who.iter().copied().filter(|who| case.who.contains(who)).collect();
        tables.push(Table::new(*case, &who));
        let table = tables.last_mut().ok_or("no table")?;
        measure_case(options, &ground, &bench, table, &mut progress)?;
    }
    Ok(())
}

fn measure_case(
    options: &Options,
    ground: &Ground,
    bench: &Bench<'_>,
    table: &mut Table,
    progress: &mut Progress,
) -> Outcome {
    let case = table.case;
    let mut contestants = start_all(options, ground, bench, table, progress)?;
    for round in 0..options.rounds {
        for step in 0..contestants.len() {
            stop::check()?;
            // Another one begins each round, so that none always follows the same neighbour.
            let index = (step + round as usize) % contestants.len();
            let Some(contestant) = &mut contestants[index] else { continue };
            let who = contestant.who;
            match contestant.still_runs().and_then(|()| bench.measure(contestant, options.seconds)) {
                Ok(sample) => {
                    progress.say(&format!(
                        "{}, round {}: {:<24} {}",
                        case.title,
                        round + 1,
                        who.title(),
                        line(&sample)
                    ));
                    let row = table.rows.iter_mut().find(|row| row.who == who);
                    row.into_iter().for_each(|row| row.samples.push(sample.clone()));
                }
                Err(text) => {
                    stop::check()?;
                    progress.say(&format!("{}: {}: {text}", case.title, who.title()));
                    table.absent.push((who, format!("ended in round {}: {text}", round + 1)));
                    contestants[index] = None;
                }
            }
        }
        eprintln!();
    }
    let topics: Vec<String> = contestants.iter().flatten().map(|one| one.topic.clone()).collect();
    drop(contestants);
    for topic in topics.iter().filter(|topic| !topic.is_empty()) {
        wire::delete_topic(bench.kafka, topic)?;
    }
    Ok(())
}

/// Starts all of a case, asks each once and warms it up. Who cannot take part is noted in the table.
fn start_all(
    options: &Options,
    ground: &Ground,
    bench: &Bench<'_>,
    table: &mut Table,
    progress: &mut Progress,
) -> Outcome<Vec<Option<Contestant>>> {
    let case = table.case;
    let run = std::time::SystemTime::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_secs());
    let mut contestants = Vec::new();
    let mut warm_up = if progress.done == 0 { FIRST_WARM_UP_S } else { WARM_UP_S };
    for (index, who) in table.rows.iter().map(|row| row.who).enumerate() {
        stop::check()?;
        let topic = format!("bench-{}-{}-{run}", case.name, who.name());
        let port = options.port_base + PORTS_EACH * (index as u16 + 1);
        let ready = missing(who, ground).and_then(|()| {
            if who.records() {
                wire::create_topic(&ground.kafka, &topic, PARTITIONS, 1)?;
            }
            let contestant = Contestant::start(who, &case, ground, port, &topic)?;
            contestant.check(&case)?;
            bench.warm_up(
                &contestant,
                if who.records() { std::mem::replace(&mut warm_up, WARM_UP_S) } else { WARM_UP_S },
            )?;
            Ok(contestant)
        });
        stop::check()?;
        match ready {
            Ok(contestant) => {
                progress.say(&format!("{}: {} is ready", case.title, who.title()));
                contestants.push(Some(contestant));
            }
            Err(text) => {
                progress.say(&format!("{}: without {}: {text}", case.title, who.title()));
                progress.all = progress.all.saturating_sub(options.rounds);
                table.absent.push((who, text));
            }
        }
    }
    Ok(contestants)
}

/// What has to be there before a contestant can be started.
fn missing(who: Who, ground: &Ground) -> Outcome {
    let built = |path: &Path| if path.is_file() { Ok(()) } else { Err(format!("{} was not built", path.display())) };
    match who {
        Who::Off | Who::Async | Who::Sync | Who::Held => built(&ground.tollgate),
        Who::Nginx => program("nginx").map(|_| ()),
        Who::NginxRsyslog => {
            let modules =
                ["/usr/lib/x86_64-linux-gnu/rsyslog", "/usr/lib/aarch64-linux-gnu/rsyslog", "/usr/lib/rsyslog"];
            let has_module = modules.iter().any(|dir| Path::new(dir).join("omkafka.so").is_file());
            program("rsyslogd")?;
            if has_module { Ok(()) } else { Err("omkafka.so is missing: apt-get install rsyslog-kafka".to_owned()) }
        }
        Who::Haproxy => program("haproxy").map(|_| ()),
        Who::Relay => built(&ground.relay),
        Who::Card => built(&ground.card),
    }
}

fn line(sample: &Sample) -> String {
    let records =
        sample.records.map_or_else(String::new, |records| format!(", {records} records of {}", sample.served));
    let errors = if sample.errors > 0 { format!(", {} ERRORS", sample.errors) } else { String::new() };
    let foreign = if sample.foreign_share > 0.05 {
        format!(", others {:.0} %", sample.foreign_share * 100.0)
    } else {
        String::new()
    };
    format!(
        "{:>7.0}/s, CPU {:.2} s/1M, p99 {:.0} µs{records}{errors}{foreign}",
        sample.requests_per_s,
        sample.cpu_s_per_million(),
        sample.p99_us
    )
}

/// nginx in one process: few bytes from memory, the rest from files in the page cache.
pub fn upstream(dir: &Path, address: SocketAddr, connections: u32, cores: &str, bytes: usize) -> Outcome<Process> {
    let dir = started::fresh(&dir.join("upstream"))?;
    let bodies = dir.join("bodies");
    fs::create_dir_all(&bodies).map_err(|error| format!("{}: {error}", bodies.display()))?;
    for (name, bytes) in [("8k", 8 << 10), ("64k", 64 << 10), ("1m", 1 << 20), ("any", bytes)] {
        fs::write(bodies.join(name), vec![b'a'; bytes]).map_err(|error| format!("{name}: {error}"))?;
    }
    started::check_free(&[address])?;
    let idle = if connections > MANY_CONNECTIONS { "8s" } else { "600s" };
    let values = [
        ("DIR", dir.to_string_lossy().into_owned()),
        ("UPSTREAM", address.to_string()),
        ("SMALL", "a".repeat(SMALL_BYTES)),
        ("KIB", "a".repeat(1024)),
        (
            "ANY",
            if bytes <= IN_MEMORY_BYTES { format!("return 200 \"{}\";", "a".repeat(bytes)) } else { String::new() },
        ),
        ("IDLE", idle.to_owned()),
    ];
    let config = started::fill("tools/bench.d", "upstream.conf", &dir, &values)?;
    let mut command: Command = pinned_to(program("nginx")?, cores);
    command.args(["-e", "stderr", "-p"]).arg(&dir).arg("-c").arg(config);
    let mut process = Process::start(command, dir.join("upstream.log"))?;
    process.wait_listening(address)?;
    Ok(process)
}

fn report(options: &Options, tables: &[Table], busy: f64) -> Outcome {
    let out = &options.out;
    fs::create_dir_all(out).map_err(|error| format!("{}: {error}", out.display()))?;
    let described = machine::description();
    let said = |name: &str| described[name].as_str().map_or_else(|| described[name].to_string(), str::to_owned);
    let command = format!(
        "tools/bench all --cases {} --only {} --rounds {} --seconds {}",
        options.cases, options.only, options.rounds, options.seconds
    );
    let caption = format!(
        "{}, {} cores, Linux {}, TCP {}, {}; {} rounds of {} s",
        said("cpu"),
        said("cores"),
        said("kernel"),
        said("congestion_control"),
        said("date"),
        options.rounds,
        options.seconds
    );
    let doubts = verdict::doubts(tables, busy);
    let verdicts = verdict::verdicts(tables);
    let page = |look| {
        let mut text = format!(
            "{caption}; {}; {}; {}; commit {}.\n`{command}`\n\nContestant on the first core, load and upstream on the last, Kafka where it \
             likes. CPU: all processes of the contestant, until its last record was in Kafka. Medians; ratios within each round, from \
             five rounds on with the 95 % bounds of a bootstrap. Compare inside one table only.\n\n",
            said("nginx"),
            said("haproxy"),
            said("rsyslog"),
            said("commit")
        );
        text += &tables.iter().map(|table| table.markdown(look) + "\n").collect::<String>();
        text += "### Against the targets\n\n";
        text += &verdicts.iter().map(|verdict| format!("- {verdict}\n")).collect::<String>();
        text += "\n### May this run be believed?\n\n";
        match doubts[..] {
            [] => text += "- Yes: the bare relay lies where it must beside nginx, and nobody else used the machine.\n",
            _ => text += &doubts.iter().map(|doubt| format!("- {doubt}\n")).collect::<String>(),
        }
        text
    };
    let save = |name: &str, text: &str| {
        let path = out.join(name);
        fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))
    };
    save("bench.md", &page(Look::Page))?;
    save("bench.svg", &picture::svg(tables, &caption))?;
    let all = json!({
        "machine": described,
        "command": command,
        "busy_before_share": busy,
        "doubts": doubts,
        "verdicts": verdicts,
        "cases": tables.iter().map(Table::json).collect::<Vec<_>>(),
    });
    save("bench.json", &serde_json::to_string_pretty(&all).map_err(|error| error.to_string())?)?;
    println!("{}", page(Look::Terminal));
    let png = program("rsvg-convert").and_then(|program| {
        let mut command = Command::new(program);
        command.arg("--zoom=2").arg("-o").arg(out.join("bench.png")).arg(out.join("bench.svg"));
        crate::process::run_quietly(&mut command)
    });
    match png {
        Ok(_) => println!("In {}: bench.md, bench.json, bench.svg, bench.png", out.display()),
        Err(text) => println!("In {}: bench.md, bench.json, bench.svg; no bench.png: {text}", out.display()),
    }
    Ok(())
}
