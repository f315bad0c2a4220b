//! `tools/churn`: minutes of clients and upstreams that misbehave in every way at once, while the configuration changes and Kafka's
//! connections are cut; and whether the gateway is in the end as it was after the first of it: descriptors, memory, operations in the
//! kernel, connections. And whether every request has its record.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use devbroker::{Broker, Options};
use serde_json::{Value, json};

use self::level::Level;
use crate::call::Caller;
use crate::started::{Process, check_free, fresh};
use crate::{Outcome, stop};

mod clients;
mod level;
mod upstream;

/// Where the records go.
const TOPIC: &str = "churn";
/// Between two changes of the configuration.
const CHANGE_EVERY: Duration = Duration::from_millis(250);
/// Between two cuts of the connections to Kafka.
const CUT_EVERY: Duration = Duration::from_secs(7);
/// Between two lines about how it goes.
const SAY_EVERY: Duration = Duration::from_secs(30);
/// How long the gateway may take to rest once nobody comes any more.
const REST_LIMIT: Duration = Duration::from_secs(30);
/// How much more memory than after the warm-up is level: a part of it, and a floor. Allocators keep what they had at their worst moment.
const MEMORY_SHARE: u64 = 10;
/// See [`MEMORY_SHARE`]. On a busy machine a worst moment that the warm-up did not have costs 10 MiB in the short form; ten minutes ended below their
/// beginning.
const MEMORY_FLOOR_KIB: u64 = 16 * 1024;
/// With this the gateway's Admin API is asked.
const CALLER: Caller = Caller { key: "churn-only", limit: Duration::from_secs(5) };

/// Minutes of mixed misbehaviour against a gateway, and whether it is in the end as it was.
#[derive(clap::Args)]
pub struct Args {
    /// Minutes of it after the warm-up.
    #[arg(long, default_value_t = 10.0)]
    minutes: f64,
    /// Seconds of the same before the level is taken.
    #[arg(long, default_value_t = 30)]
    warm_up: u64,
    /// Clients at once.
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..=1000))]
    clients: u32,
    /// Threads of the gateway.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=64))]
    workers: u32,
    /// io_uring, epoll or auto.
    #[arg(long, default_value = "auto")]
    driver: String,
    /// The gateway.
    #[arg(long, default_value = "target/release/tollgate")]
    tollgate: PathBuf,
    /// Ports of 127.0.0.1 from here on.
    #[arg(long, default_value_t = 26_400, value_parser = clap::value_parser!(u16).range(1024..60_000))]
    port_base: u16,
    /// Where the gateway's files go.
    #[arg(long, default_value = "target/churn")]
    dir: PathBuf,
}

/// Where everybody is.
#[derive(Clone, Copy)]
struct Ports {
    proxy: SocketAddr,
    admin: SocketAddr,
    metrics: SocketAddr,
    /// Nobody listens there.
    dead: SocketAddr,
}

/// Runs it.
///
/// # Errors
/// What stands in the way; and what is not as it was.
pub fn run(args: Args) -> Outcome {
    stop::install();
    crate::process::allow_many_files();
    let [proxy, admin, metrics, dead] = [0, 1, 2, 3].map(|n| SocketAddr::from(([127, 0, 0, 1], args.port_base + n)));
    let ports = Ports { proxy, admin, metrics, dead };
    check_free(&[proxy, admin, metrics, dead])?;
    let dir = fresh(&args.dir)?;
    let broker = Broker::start(Options { partitions: 2, retention_bytes: 1 << 20, ..Options::default() });
    let broker = broker.map_err(|error| format!("no broker: {error}"))?;
    let upstream = upstream::start().map_err(|error| format!("no upstream: {error}"))?;
    let config = dir.join("config.yaml");
    let text = configuration(&args, ports, &dir.to_string_lossy()).to_string();
    fs::write(&config, text).map_err(|error| format!("{}: {error}", config.display()))?;
    let binary = std::path::absolute(&args.tollgate).map_err(|error| error.to_string())?;
    let mut command = Command::new(binary);
    command.args(["run", "--config"]).arg(&config).current_dir(&dir);
    let mut gateway = Process::start(command, dir.join("tollgate.log"))?;
    [admin, proxy, metrics].into_iter().try_for_each(|address| gateway.wait_listening(address))?;
    configure(ports, upstream, broker.addr())?;
    println!("warming up for {} s", args.warm_up);
    stir(&args, ports, upstream, &broker, Duration::from_secs(args.warm_up))?;
    let before = rest(&gateway, ports, None)?;
    println!("after the warm-up  {before}");
    let whole = stir(&args, ports, upstream, &broker, Duration::from_secs_f64(args.minutes * 60.0))?;
    let after = rest(&gateway, ports, Some(before))?;
    println!("in the end         {after}");
    gateway.still_runs()?;
    let mut faults = after.faults_against(&before);
    faults.extend(accounts(ports, &broker, whole)?);
    let ended = gateway.end()?;
    println!("SIGTERM: {ended}");
    if !ended.starts_with("exit code 0 ") {
        faults.push(format!("the gateway ended with {ended}"));
    }
    if faults.is_empty() { Ok(()) } else { Err(faults.join("\n")) }
}

fn configuration(args: &Args, ports: Ports, dir: &str) -> Value {
    let at = |address: SocketAddr| json!({"ip": address.ip().to_string(), "port": address.port()});
    json!({
        "apisix": {"node_listen": [at(ports.proxy)], "enable_ipv6": false, "enable_control": false},
        "plugin_attr": {"prometheus": {"export_addr": at(ports.metrics)}},
        "deployment": {"admin": {
            "admin_listen": at(ports.admin),
            "admin_key": [{"name": "admin", "key": CALLER.key, "role": "admin"}],
        }},
        "nginx_config": {"worker_processes": args.workers, "http": {
            "client_header_timeout": "1s", "client_body_timeout": "1s", "send_timeout": "1s", "keepalive_timeout": "2s",
            "client_max_body_size": "1m",
            "upstream": {"keepalive_timeout": "1s", "keepalive_requests": 50},
        }},
        "tollgate": {
            "data_dir": format!("{dir}/data"), "driver": args.driver,
            "ring": {"path": format!("{dir}/ring"), "bytes": "8m"},
        },
    })
}

/// A global rule that records everything, and the routes.
fn configure(ports: Ports, upstream: SocketAddr, broker: SocketAddr) -> Outcome {
    let brokers = json!([{"host": broker.ip().to_string(), "port": broker.port()}]);
    let logger = json!({"brokers": brokers, "kafka_topic": TOPIC, "batch_max_size": 1, "include_req_body": true});
    put(ports, "global_rules/1", &json!({"plugins": {"kafka-logger": logger}}))?;
    change(ports, upstream, 0)
}

/// One of the configurations that take turns. The first makes every route.
fn change(ports: Ports, upstream: SocketAddr, turn: u64) -> Outcome {
    let timeout = json!({"connect": 1, "send": 1, "read": 1});
    let route = |uri: &str, balancing: &str, nodes: Value| {
        json!({"uri": uri, "enable_websocket": true, "timeout": timeout,
               "upstream": {"type": balancing, "nodes": nodes, "retries": 1}})
    };
    let one = json!({upstream.to_string(): 1});
    // With a node that refuses every connection.
    let two = json!({upstream.to_string(): 1, ports.dead.to_string(): 1});
    match turn % 4 {
        0 => {
            put(ports, "routes/all", &route("/*", "roundrobin", one.clone()))?;
            put(ports, "routes/two", &route("/two/*", "roundrobin", two))
        }
        1 => put(ports, "routes/two", &route("/two/*", "least_conn", two)),
        2 => put(ports, "routes/all", &route("/*", "ewma", one)),
        _ => call(ports, "DELETE", "routes/two", ""),
    }
}

fn put(ports: Ports, path: &str, object: &Value) -> Outcome {
    call(ports, "PUT", path, &object.to_string())
}

fn call(ports: Ports, method: &str, path: &str, body: &str) -> Outcome {
    let (status, answer) = CALLER.http(ports.admin, method, &format!("/apisix/admin/{path}"), body)?;
    if matches!(status, 200 | 201) { Ok(()) } else { Err(format!("{method} {path}: {status} {answer}")) }
}

/// Everything at once for this long. Gives how many responses came whole.
fn stir(args: &Args, ports: Ports, upstream: SocketAddr, broker: &Broker, time: Duration) -> Outcome<u64> {
    let (ends, whole, began) = (AtomicBool::new(false), AtomicU64::new(0), Instant::now());
    let outcome = std::thread::scope(|scope| {
        for seed in 0..args.clients {
            let (ends, whole) = (&ends, &whole);
            scope.spawn(move || clients::misbehave(ports.proxy, seed, ends, whole));
        }
        let look = || -> Outcome {
            let (mut turn, mut cut_at, mut say_at) = (0, CUT_EVERY, SAY_EVERY);
            while began.elapsed() < time {
                stop::pause(CHANGE_EVERY)?;
                turn += 1;
                change(ports, upstream, turn)?;
                if began.elapsed() >= cut_at {
                    cut_at += CUT_EVERY;
                    broker.cut_connections();
                }
                if began.elapsed() >= say_at {
                    say_at += SAY_EVERY;
                    println!("  {:>4} s, {} whole responses", began.elapsed().as_secs(), whole.load(Ordering::Relaxed));
                }
            }
            // What the next part finds is what this one began with.
            change(ports, upstream, 0)
        };
        let outcome = look();
        ends.store(true, Ordering::Relaxed);
        outcome
    });
    outcome.map(|()| whole.into_inner())
}

/// Waits until nothing is on its way any more, and, if there is a level to come back to, until it is reached or will not be.
fn rest(gateway: &Process, ports: Ports, wanted: Option<Level>) -> Outcome<Level> {
    let mut found = Level::read(gateway.pid(), ports.metrics)?;
    stop::poll(REST_LIMIT, Duration::from_millis(500), || {
        let last = std::mem::replace(&mut found, Level::read(gateway.pid(), ports.metrics)?);
        let rests = found.rests() && last.same_counts(&found);
        Ok(rests && wanted.is_none_or(|wanted| found.faults_against(&wanted).is_empty()))
    })?;
    Ok(found)
}

/// Requests against records, the gateway's numbers against Kafka's.
fn accounts(ports: Ports, broker: &Broker, whole: u64) -> Outcome<Vec<String>> {
    let names = [
        "tollgate_requests_total",
        "tollgate_log_entries_accepted_total",
        "tollgate_log_entries_delivered_total",
        "tollgate_bad_requests_total",
        "tollgate_panics_total",
        "tollgate_kafka_batches_retried_total",
    ];
    let [requests, accepted, delivered, bad, panics, retried] = level::metrics(ports.metrics, names)?;
    let ends = [0, 1].map(|partition| broker.offsets(TOPIC, partition).map_or(0, |(_, end)| end));
    let in_kafka = ends.iter().sum::<i64>() as u64;
    println!(
        "{requests} requests, {accepted} records accepted, {delivered} delivered, {in_kafka} in Kafka; {whole} responses came whole, \
         {bad} requests were refused unread, {retried} batches were sent again, {panics} panics"
    );
    let mut faults = Vec::new();
    if [accepted, delivered, in_kafka].iter().any(|count| *count != requests) {
        faults.push("not every request has one record".to_owned());
    }
    if panics > 0 || whole > requests || whole == 0 {
        faults.push(format!("{panics} panics, {whole} whole responses of {requests} requests"));
    }
    Ok(faults)
}
