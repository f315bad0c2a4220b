//! WebSocket handshakes and what follows them (RFC 9110 §7.8, RFC 6455 §4): bytes in both directions, unread, until both sides end.

use std::time::Duration;

use serde_json::json;

use crate::support::client::{Client, End, get};
use crate::support::upstream::raw;
use crate::support::{Gateway, Setup, Step, Upstream, pattern, wait_for};

const HANDSHAKE: &str = "GET /chat HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n\
                         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
const SWITCHING: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                         Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

/// A gateway whose only route takes WebSockets, with `read` seconds of silence allowed.
fn gateway(upstream: &Upstream, read: u64, config: serde_json::Value) -> Gateway {
    let gateway = Gateway::start_with(&Setup { metrics: true, ..Setup::with(config) });
    let route = json!({"uri": "/*", "enable_websocket": true, "timeout": {"connect": 5, "send": 5, "read": read},
        "upstream": {"type": "roundrobin", "nodes": {upstream.node(): 1}}});
    gateway.admin().put("routes/ws", &route);
    gateway
}

/// An upstream that switches, says `first` with the head, and sends back what it gets.
fn echo(first: &'static str) -> Upstream {
    Upstream::start(move |_| vec![Step::Send([SWITCHING, first].concat().into_bytes()), Step::Echo])
}

/// Exactly `count` bytes.
fn exactly(client: &mut Client, count: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while bytes.len() < count {
        let more = client.read_some(count - bytes.len()).expect("in time");
        assert!(!more.is_empty(), "the tunnel ends after {} of {count} bytes", bytes.len());
        bytes.extend_from_slice(&more);
    }
    bytes
}

#[test]
fn a_handshake_passes_and_bytes_go_both_ways_until_both_sides_end() {
    let upstream = echo("hello");
    let gateway = gateway(&upstream, 5, json!({}));
    let mut client = gateway.connect();
    // What comes along with the handshake belongs to the tunnel already.
    let head = client.send([HANDSHAKE, "early"].concat()).response_head();
    assert_eq!(head.status, 101);
    let one = |name| head.headers.one(name).map(str::to_ascii_lowercase);
    assert_eq!((one("upgrade").as_deref(), one("connection").as_deref()), (Some("websocket"), Some("upgrade")));
    assert_eq!(head.headers.one("sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    assert_eq!(head.headers.all("content-length").len() + head.headers.all("transfer-encoding").len(), 0);
    assert_eq!(exactly(&mut client, 10), b"helloearly");
    client.send(b"GET / HTTP/1.1\r\n\0\xff");
    assert_eq!(exactly(&mut client, 18), b"GET / HTTP/1.1\r\n\0\xff");
    client.finish().expect_close();
    let seen = upstream.seen();
    assert_eq!(seen.len(), 1, "what is said inside is no request");
    let one = |name| seen[0].headers.one(name).map(str::to_ascii_lowercase);
    assert_eq!((one("upgrade").as_deref(), one("connection").as_deref()), (Some("websocket"), Some("upgrade")));
    assert_eq!(seen[0].headers.one("sec-websocket-key"), Some("dGhlIHNhbXBsZSBub25jZQ=="));
    wait_for("the upstream's connection is closed", || (upstream.open() == 0).then_some(()));
    wait_for("the client's connection is gone", || (gateway.metric("tollgate_connections_open") == 0).then_some(()));
}

#[test]
fn a_large_flood_passes_whole_in_bounded_memory() {
    let upstream = echo("");
    let gateway = gateway(&upstream, 5, json!({}));
    let mut client = gateway.connect();
    assert_eq!(client.send(HANDSHAKE).response_head().status, 101);
    let before = gateway.resident_bytes();
    let piece = pattern(64 * 1024);
    for _ in 0..64 {
        client.send(&piece);
        assert!(exactly(&mut client, piece.len()) == piece);
    }
    assert!(gateway.resident_bytes() < before + 8 * 1024 * 1024);
}

#[test]
fn the_upstreams_end_reaches_the_client_and_its_own_words_still_arrive() {
    let upstream = Upstream::start(|_| {
        vec![
            Step::Send(SWITCHING.into()),
            Step::Pause(Duration::from_millis(50)),
            Step::Send("bye".into()),
            Step::Close,
        ]
    });
    let gateway = gateway(&upstream, 5, json!({}));
    let mut client = gateway.connect();
    assert_eq!(client.send(HANDSHAKE).response_head().status, 101);
    assert_eq!(client.rest(), b"bye");
}

#[test]
fn a_tunnel_in_which_nothing_moves_is_closed_after_the_read_timeout_and_a_talking_one_is_not() {
    let upstream = echo("");
    let gateway = gateway(&upstream, 1, json!({}));
    let mut client = gateway.connect();
    assert_eq!(client.send(HANDSHAKE).response_head().status, 101);
    for _ in 0..8 {
        client.send("x");
        assert_eq!(exactly(&mut client, 1), b"x");
        std::thread::sleep(Duration::from_millis(300));
    }
    assert_eq!(client.end_within(Duration::from_millis(300)), End::Open);
    client.expect_close();
    wait_for("the upstream's side is closed too", || (upstream.open() == 0).then_some(()));
}

#[test]
fn an_upstream_that_does_not_switch_answers_as_usual_and_the_connection_goes_on() {
    let upstream = Upstream::saying("no");
    let gateway = gateway(&upstream, 5, json!({}));
    let mut client = gateway.connect();
    let response = client.exchange([HANDSHAKE, &get("/next")].concat());
    assert_eq!((response.status, response.text().as_str()), (200, "no"));
    assert_eq!(client.response().status, 200, "what came along was the next request");
    assert_eq!(upstream.seen().iter().map(|seen| seen.target.as_str()).collect::<Vec<_>>(), ["/chat", "/next"]);
}

#[test]
fn a_101_that_nobody_asked_for_or_to_another_protocol_is_a_502() {
    for (switching, request) in [
        (SWITCHING, get("/")),
        (SWITCHING, HANDSHAKE.replace("WebSocket\r\n", "h2c\r\n")),
        (SWITCHING, HANDSHAKE.replace("keep-alive, Upgrade", "keep-alive")),
        ("HTTP/1.1 101 Switching\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n", HANDSHAKE.to_owned()),
        ("HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\n\r\n", HANDSHAKE.to_owned()),
    ] {
        let upstream = Upstream::start(move |_| raw(switching));
        let gateway = gateway(&upstream, 5, json!({}));
        assert_eq!(gateway.connect().exchange(&request).status, 502, "{switching} to {request}");
    }
}

#[test]
fn without_enable_websocket_the_handshake_is_an_ordinary_request() {
    let upstream = echo("");
    let gateway = Gateway::before(&upstream);
    assert_eq!(gateway.connect().exchange(HANDSHAKE).status, 502, "101 was not asked for");
    assert_eq!(upstream.seen()[0].headers.all("upgrade").len(), 0);
}

#[test]
fn a_client_that_goes_away_takes_the_upstreams_connection_with_it() {
    let upstream = echo("");
    let gateway = gateway(&upstream, 60, json!({}));
    let mut client = gateway.connect();
    assert_eq!(client.send(HANDSHAKE).response_head().status, 101);
    drop(client);
    wait_for("the upstream's connection is closed", || (upstream.open() == 0).then_some(()));
    assert_eq!(gateway.get("/").status, 502, "the gateway goes on: the upstream switches again, unasked");
}

#[test]
fn a_stop_waits_for_a_tunnel_and_cuts_it_in_the_end() {
    let upstream = echo("");
    let mut gateway = gateway(&upstream, 60, json!({"tollgate": {"shutdown_timeout_ms": 1_000}}));
    let mut client = gateway.connect();
    assert_eq!(client.send(HANDSHAKE).response_head().status, 101);
    gateway.terminate();
    client.send("still");
    assert_eq!(exactly(&mut client, 5), b"still");
    client.expect_close();
    assert!(gateway.wait_end().success());
}
