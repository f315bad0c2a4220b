//! Peers that are slow or stop: they cost bounded memory, block nobody, and are let go when their time is up. And those who are slow
//! and go on, are not.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::client::get;
use crate::support::upstream::{Answers, ok, raw};
use crate::support::{Client, Gateway, Setup, Step, Upstream, wait_for};

/// More than the kernel's buffers between the gateway and a client take.
const MUCH: usize = 64 * 1024 * 1024;
/// How late a deadline may be noticed on a busy machine, on top of what it is.
const LATE: Duration = Duration::from_secs(4);

fn gateway(http: Value, upstream: &Upstream) -> Gateway {
    let config = json!({"nginx_config": {"http": http}});
    let gateway = Gateway::start_with(&Setup { metrics: true, config, ..Setup::default() });
    gateway.admin().route("all", "/*", &[(&upstream.node(), 1)]);
    gateway
}

/// An upstream with as much as anybody wants to read on `/much`.
fn flood() -> Upstream {
    Upstream::start(|request| match request.target.as_str() {
        "/much" => {
            let mut steps = raw(format!("HTTP/1.1 200 OK\r\nContent-Length: {MUCH}\r\n\r\n"));
            steps.extend((0..MUCH >> 20).map(|_| Step::Send(vec![b'a'; 1 << 20])));
            steps
        }
        _ => ok("hello"),
    })
}

/// Waits for the end of a connection and gives when it came, counted from `begin`.
fn end_of(client: &mut Client, begin: Instant) -> Duration {
    client.rest();
    begin.elapsed()
}

#[test]
fn clients_that_read_nothing_cost_little_hurt_nobody_and_are_cut_when_their_time_is_up() {
    const SLOW: usize = 30;
    // Two relay buffers would be 128 KiB; what else one has is small.
    const EACH_BYTES: u64 = 256 * 1024;
    let upstream = flood();
    let gateway = gateway(json!({"send_timeout": "2s"}), &upstream);
    let mut bystander = gateway.connect();
    assert_eq!(bystander.exchange(get("/")).status, 200);
    let before = gateway.resident_bytes();
    let mut slow: Vec<Client> = (0..SLOW).map(|_| gateway.connect()).collect();
    for client in &mut slow {
        client.send(get("/much"));
    }
    let begin = Instant::now();
    let (mut most, mut slowest) = (0, Duration::ZERO);
    while begin.elapsed() < Duration::from_millis(1_500) {
        let asked = Instant::now();
        assert_eq!(bystander.exchange(get("/")).text(), "hello");
        slowest = slowest.max(asked.elapsed());
        most = most.max(gateway.resident_bytes());
    }
    let grown = most.saturating_sub(before);
    assert!(grown < SLOW as u64 * EACH_BYTES, "{SLOW} slow readers took {grown} bytes");
    assert!(slowest < Duration::from_secs(1), "somebody else waited {slowest:?}");
    wait_for("the slow ones are let go", || (gateway.metric("tollgate_connections_open") == 1).then_some(()));
    assert!(begin.elapsed() > Duration::from_millis(1_900), "not before their time");
    wait_for("their upstream connections too", || (upstream.open() <= 1).then_some(()));
    for client in &mut slow {
        assert!(client.rest().len() < MUCH, "the rest was never sent");
    }
    assert_eq!(bystander.exchange(get("/")).status, 200);
}

#[test]
fn a_client_that_reads_slowly_but_goes_on_gets_everything() {
    const PAUSE: Duration = Duration::from_millis(100);
    let upstream = flood();
    let gateway = gateway(json!({"send_timeout": "1s"}), &upstream);
    let mut client = gateway.connect();
    client.send(get("/much"));
    assert_eq!(client.response_head().status, 200);
    // Three times as long as the deadline, then at full speed to the end.
    let (mut got, begin) = (0, Instant::now());
    while got < MUCH {
        if begin.elapsed() < Duration::from_secs(3) {
            std::thread::sleep(PAUSE);
        }
        let piece = client.read_some(1 << 20).expect("nobody cuts it");
        assert!(!piece.is_empty(), "closed after {got} bytes");
        got += piece.len();
    }
    assert_eq!(got, MUCH);
    assert_eq!(client.exchange(get("/")).text(), "hello");
}

#[test]
fn a_head_has_one_deadline_however_slowly_its_bytes_trickle_in() {
    let upstream = Upstream::saying("hello");
    let gateway = gateway(json!({"client_header_timeout": "1s"}), &upstream);
    let (mut client, begin) = (gateway.connect(), Instant::now());
    client.send("GET / HTTP/1.1\r\nHost: test\r\n");
    // A new line before every look: no pause between two bytes is as long as the deadline.
    let cut = loop {
        std::thread::sleep(Duration::from_millis(100));
        if client.try_send("X-A: b\r\n").is_err() || begin.elapsed() > Duration::from_secs(10) {
            break begin.elapsed();
        }
    };
    assert!((Duration::from_millis(900)..Duration::from_secs(1) + LATE).contains(&cut), "{cut:?}");
    assert!(upstream.seen().is_empty());
}

#[test]
fn a_connection_on_which_nothing_ever_comes_is_closed_when_its_time_is_up() {
    let gateway = gateway(json!({"client_header_timeout": "1s"}), &Upstream::saying("hello"));
    let (mut client, begin) = (gateway.connect(), Instant::now());
    let took = end_of(&mut client, begin);
    assert!((Duration::from_millis(900)..Duration::from_secs(1) + LATE).contains(&took), "{took:?}");
}

#[test]
fn a_body_that_stops_is_a_408_and_the_upstream_is_let_go() {
    let upstream = Upstream::saying("hello");
    let gateway = gateway(json!({"client_body_timeout": "1s"}), &upstream);
    for part in [
        "POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 10\r\n\r\nhalf",
        "POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
        "POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nha",
    ] {
        let (mut client, begin) = (gateway.connect(), Instant::now());
        assert_eq!(client.exchange(part).status, 408, "{part}");
        let took = end_of(&mut client, begin);
        assert!((Duration::from_millis(900)..Duration::from_secs(1) + LATE).contains(&took), "{part}: {took:?}");
    }
    wait_for("no connection waits for the rest", || (upstream.open() == 0).then_some(()));
    assert!(upstream.seen().is_empty(), "none was whole");
}

#[test]
fn a_body_that_comes_slowly_and_goes_on_arrives() {
    let upstream = Upstream::start(|request| ok(&request.body));
    let gateway = gateway(json!({"client_body_timeout": "1s", "client_header_timeout": "1s"}), &upstream);
    let mut client = gateway.connect();
    client.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 8\r\n\r\n");
    for byte in "slow but".bytes() {
        std::thread::sleep(Duration::from_millis(250));
        client.send([byte]);
    }
    assert_eq!(client.response().text(), "slow but");
}

#[test]
fn an_upstream_that_takes_nothing_of_a_body_is_a_504_and_others_are_served_meanwhile() {
    let upstream = Upstream::start_with(Answers::Heads, |request| match request.target.as_str() {
        // Neither read nor answered.
        "/deaf" => vec![Step::Pause(Duration::from_secs(8)), Step::Close],
        _ => ok("hello"),
    });
    let gateway = Gateway::start();
    let object = json!({"type": "roundrobin", "nodes": {upstream.node(): 1}, "retries": 0});
    let timeout = json!({"connect": 1, "send": 1, "read": 30});
    gateway.admin().put("routes/all", &json!({"uri": "/*", "timeout": timeout, "upstream": object}));
    let mut client = gateway.connect();
    let before = gateway.resident_bytes();
    let begin = Instant::now();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while begin.elapsed() < Duration::from_millis(800) {
                assert_eq!(gateway.get("/").text(), "hello");
            }
        });
        client.send(format!("POST /deaf HTTP/1.1\r\nHost: test\r\nContent-Length: {MUCH}\r\n\r\n"));
        // What the kernel takes on the way, and then no more: the gateway reads no further than it can write.
        client.send(vec![b'a'; MUCH]);
        assert_eq!(client.response().status, 504);
    });
    assert!(begin.elapsed() < Duration::from_secs(1) + LATE, "{:?}", begin.elapsed());
    let grown = gateway.resident_bytes().saturating_sub(before);
    assert!(grown < 8 * 1024 * 1024, "resident memory grew by {grown} bytes");
}
