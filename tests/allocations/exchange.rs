//! Keep-alive requests through a whole gateway in this process: what its core asks the allocator for, a request.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use devbroker::{Broker, Options};
use serde_json::{Value, json};
use tollgate::command::run;
use tollgate::config::file::FileConfig;
use tollgate::config::publish::Stage;

use super::{CORES, COUNTING_CORES};

/// Requests that warm buffers, scratches and pools.
const WARM: usize = 500;
/// Requests that are counted.
const COUNTED: usize = 5_000;

fn upstream(body: &'static str) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let address = listener.local_addr().expect("bound");
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
                let (mut head, mut at) = ([0; 4096], 0);
                while let Ok(count @ 1..) = stream.read(&mut head[at..]) {
                    at += count;
                    if head[..at].ends_with(b"\r\n\r\n") {
                        at = 0;
                        let _ = stream.write_all(answer.as_bytes());
                    }
                }
            });
        }
    });
    address
}

/// One request and its answer; only to be used with answers that end with `end`.
fn ask(client: &mut TcpStream, end: &str) {
    client
        .write_all(b"GET /some/path?a=1 HTTP/1.1\r\nHost: shop.test\r\nUser-Agent: test\r\n\r\n")
        .expect("it is there");
    let (mut answer, mut at) = ([0; 4096], 0);
    while !answer[..at].ends_with(end.as_bytes()) {
        let count = client.read(&mut answer[at..]).expect("an answer");
        assert!(count > 0, "{}", answer[..at].escape_ascii());
        at += count;
    }
    assert!(answer.starts_with(b"HTTP/1.1 200 OK\r\n"));
}

/// What the core asks for while `COUNTED` requests pass on a route with these plugins, and how long they took.
fn counted(plugins: &Value) -> (usize, Duration) {
    let (dir, up) =
        (std::env::temp_dir().join(format!("tollgate-allocations-{}", std::process::id())), upstream("hello"));
    std::fs::create_dir_all(&dir).expect("a directory for what is temporary");
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port").local_addr().expect("bound");
    let config = json!({
        "apisix": {"node_listen": [{"ip": "127.0.0.1", "port": free.port()}], "enable_ipv6": false, "enable_control": false},
        "plugin_attr": {"prometheus": {"enable_export_server": false}},
        "deployment": {"role": "data_plane", "role_data_plane": {"config_provider": "json"}},
        "nginx_config": {"worker_processes": 1, "error_log_level": "error"},
        "tollgate": {"data_dir": dir.join("data").to_string_lossy(), "ring": {"path": "none"}},
    });
    let nodes = json!({"type": "roundrobin", "nodes": {up.to_string(): 1}});
    let routes = json!({"routes": [{"id": "all", "uri": "/*", "plugins": plugins, "upstream": nodes}]});
    std::fs::write(dir.join("apisix.json"), routes.to_string()).expect("a directory of ours");
    let (config, _) = FileConfig::parse(&config.to_string(), &|_| None).expect("a good configuration");
    let gateway = run::start(config, &dir.join("config.yaml")).expect("started");
    let board = gateway.board();
    let waits = std::thread::spawn(move || gateway.wait());
    let mut client = TcpStream::connect(free).expect("it listens");
    client.set_nodelay(true).expect("a socket");
    (0..WARM).for_each(|_| ask(&mut client, "hello"));
    let (before, begin) = (CORES.load(Ordering::Relaxed), Instant::now());
    COUNTING_CORES.store(true, Ordering::Relaxed);
    (0..COUNTED).for_each(|_| ask(&mut client, "hello"));
    COUNTING_CORES.store(false, Ordering::Relaxed);
    let (count, took) = (CORES.load(Ordering::Relaxed) - before, begin.elapsed());
    board.advance(Stage::Drain);
    drop(client);
    waits.join().expect("it ended");
    let _ = std::fs::remove_dir_all(&dir);
    (count, took)
}

#[test]
fn a_keep_alive_request_allocates_nothing_and_a_record_only_for_its_batch() {
    let (without, took) = counted(&json!({}));
    println!("without a record: {without} allocations in {COUNTED} requests, {took:?}");
    let broker = Broker::start(Options { retention_bytes: 8 << 20, ..Options::default() }).expect("a broker");
    let brokers = json!([{"host": "127.0.0.1", "port": broker.addr().port()}]);
    let logger = json!({"kafka-logger": {"brokers": brokers, "kafka_topic": "t", "batch_max_size": 1}});
    let (with, took) = counted(&logger);
    let batches = broker.batches("t", 0).len();
    println!("with one: {with}, {batches} batches, {took:?}");
    // What is left is the core's tick, ten times a second, and the timer of each.
    assert!(without < 100, "{without} allocations in {COUNTED} requests");
    // A batch that is sent asks once or twice: never a request for itself.
    assert!(
        with < 100 + 3 * batches && with < COUNTED / 2,
        "{with} allocations in {COUNTED} requests, {batches} batches"
    );
}
