//! Connections in numbers: many that rest, and many that come and go.

use std::fs;
use std::time::{Duration, Instant};

use crate::support::client::get;
use crate::support::{Client, Gateway, Setup, Upstream, wait_for};

/// As many as a test process may open everywhere.
const IDLE: usize = 2_000;
/// As many as are promised, and the resident bytes of the whole gateway with them.
const MANY_IDLE: usize = 10_000;
const MANY_IDLE_BYTES: u64 = 60_000_000;
/// Resident bytes of each, in a debug build whose futures are as large as the release's.
const IDLE_BYTES: u64 = 8 * 1024;
/// Short connections a second, and seconds of them.
const SHORT_RATE: u32 = 2_000;
const SHORT_S: u32 = 3;

fn gateway(upstream: &Upstream) -> Gateway {
    let gateway = Gateway::start_with(&Setup { workers: 2, metrics: true, ..Setup::default() });
    gateway.admin().route("all", "/*", &[(&upstream.node(), 1)]);
    gateway
}

fn open_files(gateway: &Gateway) -> usize {
    fs::read_dir(format!("/proc/{}/fd", gateway.pid())).expect("it runs").count()
}

/// Lets this process open as many files as it may.
fn allow_many_files() {
    let me = std::process::id().to_string();
    let status = std::process::Command::new("sh")
        .args(["-c", &format!("prlimit --pid {me} --nofile=$(ulimit -Hn):")])
        .status()
        .expect("prlimit of util-linux");
    assert!(status.success());
}

#[test]
fn idle_connections_keep_little_memory() {
    allow_many_files();
    let upstream = Upstream::saying("hello");
    let gateway = gateway(&upstream);
    // What is taken once is not a connection's.
    let mut first: Vec<Client> = (0..50).map(|_| gateway.connect()).collect();
    first.iter_mut().for_each(|client| assert_eq!(client.exchange(get("/")).status, 200));
    let before = gateway.resident_bytes();
    let mut clients: Vec<Client> = (0..IDLE).map(|_| gateway.connect()).collect();
    clients.iter_mut().for_each(|client| assert_eq!(client.exchange(get("/")).status, 200));
    let grown = gateway.resident_bytes().saturating_sub(before);
    assert!(grown < IDLE as u64 * IDLE_BYTES, "{IDLE} idle connections keep {grown} bytes");
    // They are no less alive for it.
    clients.iter_mut().for_each(|client| assert_eq!(client.exchange(get("/")).status, 200));
}

#[test]
#[ignore = "of a release build, where this process may open 10,500 files: cargo test --release --test proxy -- --ignored ten_thousand"]
fn ten_thousand_idle_connections_are_below_60_mb() {
    allow_many_files();
    let upstream = Upstream::saying("hello");
    let gateway = gateway(&upstream);
    let mut clients: Vec<Client> = (0..MANY_IDLE).map(|_| gateway.connect()).collect();
    clients.iter_mut().for_each(|client| assert_eq!(client.exchange(get("/")).status, 200));
    let resident = gateway.resident_bytes();
    println!("{MANY_IDLE} idle connections, each with one request behind it: {} KiB resident", resident / 1024);
    assert!(resident < MANY_IDLE_BYTES, "{resident} bytes");
}

#[test]
fn two_thousand_short_connections_a_second_leak_nothing() {
    let upstream = Upstream::saying("hello");
    let gateway = gateway(&upstream);
    let burst = |seconds: u32| {
        let (begin, count) = (Instant::now(), SHORT_RATE * seconds);
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let gateway = &gateway;
                scope.spawn(move || {
                    for number in (thread..count).step_by(4) {
                        let due = begin + Duration::from_secs(1) * number / SHORT_RATE;
                        std::thread::sleep(due.saturating_duration_since(Instant::now()));
                        // Every other one asks for something; the rest leaves at once.
                        if number % 8 < 4 {
                            assert_eq!(gateway.get("/").status, 200);
                        } else {
                            drop(gateway.connect());
                        }
                    }
                });
            }
        });
        wait_for("all have left", || (gateway.metric("tollgate_connections_open") == 0).then_some(()));
    };
    burst(1);
    let (files, memory) = (open_files(&gateway), gateway.resident_bytes());
    burst(SHORT_S);
    wait_for("descriptors are back", || (open_files(&gateway) <= files + 4).then_some(()));
    let grown = gateway.resident_bytes().saturating_sub(memory);
    assert!(grown < 4 * 1024 * 1024, "{} short connections left {grown} bytes", SHORT_RATE * SHORT_S);
    let accepted = gateway.metric("tollgate_connections_accepted_total");
    assert!(accepted >= u64::from(SHORT_RATE * (1 + SHORT_S)), "{accepted}");
}
