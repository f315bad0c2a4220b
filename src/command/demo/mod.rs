//! `tollgate demo`: the tutorial in one command. A dev broker, an upstream like httpbin, the gateway; the tutorial's route, ten
//! requests, and their records read back through the Kafka protocol. Loopback only; writes only to a broker that it started
//! or that `--kafka` names.

mod client;
mod echo;

use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Args as ClapArgs;
use devbroker::Broker;

use crate::config::file::FileConfig;
use crate::config::publish::Stage;
use crate::control::records::{From, KafkaReader};

/// The tutorial's key, known to everybody: good enough for loopback and ten minutes.
const KEY: &str = "edd1c9f034335f136f87ad84b625c8f1";
/// The tutorial's topic.
const TOPIC: &str = "test";
/// Requests that the demo sends.
const REQUESTS: usize = 10;
/// The longest that the ten records may take to arrive, in seconds.
const ARRIVE_S: u64 = 20;

/// The words of `tollgate demo`.
#[derive(Clone, Debug, ClapArgs)]
pub struct Args {
    /// End when the ten records were seen: 0, or the reason why not.
    #[arg(long)]
    once: bool,
    /// Use this Kafka instead of the embedded dev broker; the topic `test` is written to.
    #[arg(long, value_name = "HOST:PORT")]
    kafka: Option<String>,
    /// The gateway's port.
    #[arg(long, default_value_t = 9080)]
    port: u16,
    /// The Admin API's port.
    #[arg(long, default_value_t = 9180)]
    admin_port: u16,
    /// The dev broker's port.
    #[arg(long, default_value_t = 9092)]
    kafka_port: u16,
}

/// Shows it.
pub fn demo(args: &Args) -> ExitCode {
    match prepare(args) {
        Ok(parts) => play(args, parts),
        Err(line) => {
            eprintln!("tollgate: demo: {line}");
            ExitCode::from(1)
        }
    }
}

/// What must live while the demo does.
struct Parts {
    broker: Option<Broker>,
    kafka: (String, u16),
    gateway: super::run::Gateway,
    data: PathBuf,
}

fn prepare(args: &Args) -> Result<Parts, String> {
    for (port, flag) in [(args.port, "--port"), (args.admin_port, "--admin-port")] {
        free(port, flag)?;
    }
    let (broker, kafka) = match &args.kafka {
        Some(address) => (None, host_port(address)?),
        None => {
            free(args.kafka_port, "--kafka-port (or --kafka HOST:PORT uses the Kafka that runs there)")?;
            let listen = SocketAddr::from(([127, 0, 0, 1], args.kafka_port));
            let options = devbroker::Options { listen, ..devbroker::Options::default() };
            let broker = Broker::start(options).map_err(|error| format!("the dev broker on {listen}: {error}"))?;
            (Some(broker), ("127.0.0.1".to_owned(), args.kafka_port))
        }
    };
    let echo = echo::start().map_err(|error| format!("the echo upstream: {error}"))?;
    let data = std::env::temp_dir().join(format!("tollgate-demo-{}", std::process::id()));
    let (config, _) = FileConfig::parse(&file(args, echo, &data), &|_| None)
        .map_err(|problems| problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))?;
    super::doctor::quietly(&config);
    let gateway = super::run::start(config, &data.join("config.yaml")).map_err(|lines| lines.join("; "))?;
    Ok(Parts { broker, kafka, gateway, data })
}

fn free(port: u16, flag: &str) -> Result<(), String> {
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    crate::io::listener::probe(address)
        .map_err(|error| format!("port {port} is taken ({error}): choose another with {flag}"))
}

fn host_port(address: &str) -> Result<(String, u16), String> {
    let parsed = address.rsplit_once(':').and_then(|(host, port)| Some((host.to_owned(), port.parse().ok()?)));
    parsed.ok_or_else(|| format!("--kafka {address}: HOST:PORT is needed, for example 127.0.0.1:9092"))
}

fn file(args: &Args, echo: SocketAddr, data: &std::path::Path) -> String {
    format!(
        "apisix:
  node_listen:
    - ip: 127.0.0.1
      port: {port}
  enable_ipv6: false
  enable_control: false
plugin_attr:
  prometheus:
    enable_export_server: false
deployment:
  admin:
    admin_listen:
      ip: 127.0.0.1
      port: {admin}
    admin_key:
      - name: admin
        key: {KEY}
        role: admin
tollgate:
  data_dir: {data}
  admin_on_proxy_port: true
  shutdown_timeout_ms: 5000
  hosts:
    httpbin.org:80: {echo}
",
        port = args.port,
        admin = args.admin_port,
        data = data.display(),
    )
}

fn play(args: &Args, parts: Parts) -> ExitCode {
    let Parts { broker, kafka, gateway, data } = parts;
    let board = gateway.board();
    let (words, target) = (args.clone(), kafka.clone());
    let embedded = broker.is_some();
    let story = std::thread::spawn(move || {
        let told = tell(&words, &target, embedded);
        if words.once || told.is_err() {
            board.advance(Stage::Drain);
        }
        told
    });
    let ended = gateway.wait();
    let told = story.join().unwrap_or_else(|_| Err("the demo itself broke".to_owned()));
    drop(broker);
    let _ = std::fs::remove_dir_all(data);
    match told {
        Ok(()) => ended,
        Err(line) => {
            eprintln!("tollgate: demo: {line}");
            ExitCode::from(1)
        }
    }
}

/// What the person at the terminal sees.
fn tell(args: &Args, kafka: &(String, u16), embedded: bool) -> Result<(), String> {
    let gateway = SocketAddr::from(([127, 0, 0, 1], args.port));
    let whose = if embedded { "the embedded dev broker (in memory)" } else { "your Kafka" };
    println!(
        "Tollgate demo: gateway on http://{gateway}, Admin API on http://127.0.0.1:{} and on http://{gateway},",
        args.admin_port
    );
    println!("Kafka on {}:{}, {whose}.", kafka.0, kafka.1);
    println!("The Admin key is the tutorial's, known to everybody: {KEY} (demo only, loopback only).");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| format!("no runtime: {error}"))?;
    let seen_before = runtime.block_on(end(kafka));
    println!("\n1. The tutorial's route, as the tutorial prints it:  PUT /apisix/admin/routes/r1");
    let answer = client::request(gateway, "PUT", "/apisix/admin/routes/r1", &[("X-API-KEY", KEY)], &route(kafka))?;
    if answer.status != 200 && answer.status != 201 {
        return Err(format!("the route was refused with {}: {}", answer.status, answer.body.trim()));
    }
    println!("   {} {}", answer.status, shortened(&answer.body));
    println!("\n2. Ten requests:  GET /get");
    for _ in 0..REQUESTS {
        let answer = client::request(gateway, "GET", "/get", &[], "")?;
        if answer.status != 200 {
            return Err(format!("GET /get was answered with {}: {}", answer.status, answer.body.trim()));
        }
    }
    println!("   10 × 200");
    println!("\n3. Their records, read back from topic {TOPIC} through the Kafka protocol:");
    let records = runtime.block_on(read_back(kafka, seen_before))?;
    for record in &records {
        println!("   {}", shortened(record));
    }
    println!("\n{} requests, {} records.", REQUESTS, records.len());
    if !args.once {
        next(gateway, kafka);
    }
    Ok(())
}

fn route(kafka: &(String, u16)) -> String {
    format!(
        r#"{{
    "uri": "/*",
    "plugins": {{
        "kafka-logger": {{
            "batch_max_size": 1,
            "broker_list": {{
                "{}": {}
            }},
            "disable": false,
            "kafka_topic": "{TOPIC}",
            "producer_type": "sync"
        }}
    }},
    "upstream": {{
        "nodes": {{
            "httpbin.org:80": 1
        }},
        "type": "roundrobin"
    }}
}}"#,
        kafka.0, kafka.1
    )
}

fn shortened(text: &str) -> String {
    const SHOWN: usize = 160;
    let text = text.trim();
    match text.char_indices().nth(SHOWN) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}

/// Records in the topic before the demo wrote any: only a real Kafka has some.
async fn end(kafka: &(String, u16)) -> usize {
    collect(kafka, usize::MAX).await.map_or(0, |records| records.len())
}

/// Waits until the ten records are there.
async fn read_back(kafka: &(String, u16), seen_before: usize) -> Result<Vec<String>, String> {
    let began = Instant::now();
    loop {
        let all = collect(kafka, usize::MAX).await;
        let news: Vec<String> = all.iter().flatten().skip(seen_before).cloned().collect();
        if news.len() >= REQUESTS {
            return Ok(news);
        }
        if began.elapsed() > Duration::from_secs(ARRIVE_S) {
            let why = all.err().map_or_else(String::new, |error| format!(" ({error})"));
            return Err(format!("{} of {REQUESTS} records arrived in {ARRIVE_S} s{why}", news.len()));
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn collect(kafka: &(String, u16), at_most: usize) -> Result<Vec<String>, String> {
    let mut reader = KafkaReader::connect(&[(&kafka.0, kafka.1)]).await?;
    let mut records = Vec::new();
    reader
        .tail(TOPIC, From::Beginning, false, &mut |record| {
            records.push((
                record.timestamp_ms,
                String::from_utf8_lossy(record.value.as_deref().unwrap_or(b"")).into_owned(),
            ));
            if records.len() < at_most { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })
        .await?;
    records.sort_by_key(|(timestamp_ms, _)| *timestamp_ms);
    Ok(records.into_iter().map(|(_, text)| text).collect())
}

fn next(gateway: SocketAddr, kafka: &(String, u16)) {
    let (host, port) = kafka;
    // As this program was called: after `cargo run` no `tollgate` is on the path.
    let tollgate = std::env::args().next().unwrap_or_else(|| "tollgate".to_owned());
    println!(
        "
Try next, in another terminal (it all stays up until Ctrl-C here):

  curl http://{gateway}/get                       # one more request …
  {tollgate} tail {TOPIC} --kafka {host}:{port}     # … and its record, as it comes
  {tollgate} topics --kafka {host}:{port}
  curl http://{gateway}/apisix/admin/routes/r1 -H 'X-API-KEY: {KEY}'
  curl -X PUT http://{gateway}/apisix/admin/plugin_metadata/kafka-logger -H 'X-API-KEY: {KEY}' \\
    -d '{{\"log_format\": {{\"host\": \"$host\", \"@timestamp\": \"$time_iso8601\", \"client_ip\": \"$remote_addr\"}}}}'
"
    );
}
