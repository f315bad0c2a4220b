//! More connections than there is room for: limits of ours, and descriptors that run out.

use std::fs;
use std::net::SocketAddr;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::client::{End, get};
use crate::support::{Client, Gateway, PATIENCE, Setup, wait_for};

/// Clock ticks of `/proc/PID/stat` per second: `USER_HZ`, the same on every Linux.
const TICKS: u64 = 100;

fn gateway(workers: u32, tollgate: Value) -> Gateway {
    Gateway::start_with(&Setup { workers, metrics: true, config: json!({"tollgate": tollgate}), ..Setup::default() })
}

/// True if a request on this connection is answered; false if the gateway closed it.
fn is_served(client: &mut Client) -> bool {
    client.send(get("/")).try_response().is_ok_and(|response| response.status == 404)
}

/// A connection whose own address is `from`.
fn connect_from(from: &str, to: SocketAddr) -> Client {
    let socket = socket2::Socket::new(socket2::Domain::for_address(to), socket2::Type::STREAM, None).expect("a socket");
    let from: std::net::IpAddr = from.parse().expect("an address");
    socket.bind(&SocketAddr::new(from, 0).into()).expect("an address of this machine");
    socket.connect(&to.into()).expect("the kernel takes it");
    Client::over(socket.into()).expect("a TCP socket")
}

fn refused(gateway: &Gateway, reason: &str) -> u64 {
    let text = gateway.scrape();
    let of_reason = |line: &&str| {
        line.starts_with("tollgate_connections_refused_total{") && line.contains(&format!("reason=\"{reason}\""))
    };
    let counts = text.lines().filter(of_reason).filter_map(|line| line.rsplit_once(' ')?.1.parse::<u64>().ok());
    counts.sum()
}

/// Waits until `open` connections are open: two looks with two of the core's ticks between them say so, for the number is told once a
/// tick.
fn settled(gateway: &Gateway, open: u64) {
    let mut since = None;
    wait_for("only these are open", || {
        // The one that asked whether the gateway is up was accepted before.
        let [accepted, now] = gateway.metrics(["tollgate_connections_accepted_total", "tollgate_connections_open"]);
        if accepted == 0 || now != open {
            since = None;
            return None;
        }
        let since = *since.get_or_insert_with(Instant::now);
        (since.elapsed() > Duration::from_millis(250)).then_some(())
    });
}

#[test]
fn connections_over_the_cores_limit_are_closed_at_once_and_counted() {
    let gateway = gateway(1, json!({"max_connections": 5}));
    settled(&gateway, 0);
    let mut clients: Vec<Client> = (0..8).map(|_| connect_from("127.0.0.1", gateway.address())).collect();
    let served: Vec<bool> = clients.iter_mut().map(is_served).collect();
    assert_eq!(served.iter().filter(|served| **served).count(), 5, "{served:?}");
    assert_eq!(["max_connections", "max_connections_per_address"].map(|reason| refused(&gateway, reason)), [3, 0]);
    // Those that are served stay so, and a place that is left is given again.
    assert!(is_served(&mut clients[0]));
    drop(clients.remove(0));
    wait_for("the place is free", || is_served(&mut connect_from("127.0.0.1", gateway.address())).then_some(()));
}

#[test]
fn an_address_has_as_many_connections_as_it_may_on_all_cores_together_and_hurts_no_other() {
    let gateway = gateway(4, json!({"max_connections_per_address": 6}));
    settled(&gateway, 0);
    let mut greedy: Vec<Client> = (0..20).map(|_| connect_from("127.0.0.1", gateway.address())).collect();
    let served: Vec<bool> = greedy.iter_mut().map(is_served).collect();
    assert_eq!(served.iter().filter(|served| **served).count(), 6, "{served:?}");
    assert_eq!(["max_connections", "max_connections_per_address"].map(|reason| refused(&gateway, reason)), [0, 14]);
    let mut others: Vec<Client> = (2..8).map(|n| connect_from(&format!("127.0.0.{n}"), gateway.address())).collect();
    assert!(others.iter_mut().all(is_served), "each has an address of its own");
    drop(greedy);
    settled(&gateway, 6);
    let mut again: Vec<Client> = (0..6).map(|_| connect_from("127.0.0.1", gateway.address())).collect();
    assert!(again.iter_mut().all(is_served), "all its places are free again");
}

/// Sets how many descriptors a process may have (`prlimit` of util-linux, which every Debian has).
fn limit_files(gateway: &Gateway, soft: usize) {
    let status = Command::new("prlimit")
        .args(["--pid", &gateway.pid().to_string(), &format!("--nofile={soft}:")])
        .status()
        .expect("prlimit is there");
    assert!(status.success());
}

fn open_files(gateway: &Gateway) -> usize {
    fs::read_dir(format!("/proc/{}/fd", gateway.pid())).expect("it runs").count()
}

/// Processor time that the process has used.
fn cpu(gateway: &Gateway) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{}/stat", gateway.pid())).expect("it runs");
    let (_, fields) = stat.rsplit_once(')').expect("proc(5)");
    let ticks: u64 = fields.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 1000 / TICKS)
}

#[test]
fn without_descriptors_accepting_waits_idly_and_goes_on_when_there_are_some() {
    out_of_files(json!({}));
}

#[test]
fn without_descriptors_epoll_does_the_same() {
    out_of_files(json!({"driver": "epoll"}));
}

fn out_of_files(tollgate: Value) {
    const ROOM: usize = 10;
    const CLIENTS: usize = 40;
    let gateway = gateway(1, tollgate);
    settled(&gateway, 0);
    let mut bystander = gateway.connect();
    assert_eq!(bystander.exchange(get("/")).status, 404);
    limit_files(&gateway, open_files(&gateway) + ROOM);
    let limited = Instant::now();
    let mut clients: Vec<Client> = (0..CLIENTS).map(|_| gateway.connect()).collect();
    for client in &mut clients {
        client.send(get("/"));
    }
    let mut waiting: Vec<Client> = Vec::new();
    let mut served: Vec<Client> = Vec::new();
    for mut client in clients {
        match client.end_within(Duration::from_millis(200)) {
            End::Bytes(_) => served.push(client),
            End::Open => waiting.push(client),
            End::Closed => panic!("nobody is sent away"),
        }
    }
    // Descriptors of the admin and metrics connections come and go.
    assert!((ROOM - 4..=ROOM + 4).contains(&served.len()), "{} are served", served.len());
    // It neither spins nor floods its log, and serves those that it has.
    let (before, began) = (cpu(&gateway), Instant::now());
    while began.elapsed() < Duration::from_secs(2) {
        assert_eq!(bystander.exchange(get("/")).status, 404);
        std::thread::sleep(Duration::from_millis(100));
    }
    let used = cpu(&gateway) - before;
    assert!(used < Duration::from_millis(200), "{used:?} of processor time in two seconds");
    let lines = gateway.log().matches("a connection could not be accepted").count();
    let most = 1 + limited.elapsed().as_secs() as usize / 10;
    assert!((1..=most).contains(&lines), "one line in ten seconds: {}", gateway.log());
    // As many as leave are let in, until all had their turn.
    while !waiting.is_empty() {
        served.clear();
        (served, waiting) = let_in(waiting);
        assert!(!served.is_empty(), "nobody was let in when {ROOM} had left");
    }
    drop(served);
    assert!(gateway.metric("tollgate_accept_failures_total") > 0);
    settled(&gateway, 1);
}

/// Tells those that have an answer from those that still wait, once somebody has one.
fn let_in(mut waiting: Vec<Client>) -> (Vec<Client>, Vec<Client>) {
    let (mut served, end) = (Vec::new(), Instant::now() + PATIENCE);
    while served.is_empty() && Instant::now() < end {
        let mut rest = Vec::new();
        for mut client in waiting {
            match client.end_within(Duration::from_millis(20)) {
                End::Bytes(_) => served.push(client),
                End::Open | End::Closed => rest.push(client),
            }
        }
        waiting = rest;
    }
    (served, waiting)
}
