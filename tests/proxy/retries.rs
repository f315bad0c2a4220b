//! When a failed try is followed by another, with the body's part that has come already (RFC 9110 §9.2.2): never twice what must
//! not be, and never a body that is not the client's.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::client::get;
use crate::support::upstream::{Answers, Refusing, in_chunks, ok, raw};
use crate::support::{Gateway, Step, Upstream, pattern, wait_for};

/// A gateway whose route goes to `first` while that works, then to `second`.
fn before(first: &str, second: &Upstream, more: &Value) -> Gateway {
    let gateway = Gateway::start();
    let nodes = json!([
        {"host": host(first), "port": port(first), "weight": 1, "priority": 1},
        {"host": "127.0.0.1", "port": second.address().port(), "weight": 1, "priority": 0},
    ]);
    let mut upstream = json!({"type": "roundrobin", "nodes": nodes});
    for (key, value) in more.as_object().into_iter().flatten() {
        upstream[key] = value.clone();
    }
    gateway.admin().put("routes/all", &json!({"uri": "/*", "upstream": upstream}));
    gateway
}

fn host(node: &str) -> &str {
    node.rsplit_once(':').expect("a port").0
}

fn port(node: &str) -> u16 {
    node.rsplit_once(':').and_then(|(_, port)| port.parse().ok()).expect("a port")
}

/// Takes heads and closes at once.
fn closing() -> Upstream {
    Upstream::start_with(Answers::Heads, |_| vec![Step::Pause(Duration::from_millis(30)), Step::Close])
}

fn put(length: usize) -> String {
    format!("PUT /up HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n")
}

const PUT_CHUNKED: &str = "PUT /up HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";

#[test]
fn a_body_that_is_still_here_goes_to_the_next_node_whole_though_it_came_in_pieces() {
    let (first, second) = (closing(), Upstream::start(|request| ok(&request.body)));
    let gateway = before(&first.node(), &second, &json!({}));
    let body = pattern(50_000);
    let mut client = gateway.connect();
    client.send(put(body.len())).send(&body[..10_000]);
    std::thread::sleep(Duration::from_millis(10));
    client.send(&body[10_000..20_000]);
    wait_for("the first node closes", || (!first.seen().is_empty() && first.open() == 0).then_some(()));
    std::thread::sleep(Duration::from_millis(50));
    client.send(&body[20_000..]);
    let response = client.response();
    assert_eq!(response.status, 200);
    assert!(response.body == body, "{} bytes came back", response.body.len());
    assert_eq!((first.seen().len(), second.seen().len()), (1, 1));
    assert_eq!(client.exchange(get("/next")).status, 200, "the connection is in step");
}

#[test]
fn chunks_are_sent_again_too_and_what_was_pipelined_behind_them_is_the_next_request() {
    let (first, second) = (closing(), Upstream::start(|request| ok(&request.body)));
    let gateway = before(&first.node(), &second, &json!({}));
    let body = pattern(40_000);
    let chunks = in_chunks(&body, 1_000);
    let mut client = gateway.connect();
    client.send(PUT_CHUNKED).send(&chunks[..15_003]);
    wait_for("the first node closes", || (!first.seen().is_empty() && first.open() == 0).then_some(()));
    client.send([&chunks[15_003..], get("/next").as_bytes()].concat());
    let response = client.response();
    assert_eq!(response.status, 200);
    assert!(response.body == body, "{} bytes came back", response.body.len());
    assert_eq!(client.response().status, 200);
    let targets: Vec<_> = second.seen().iter().map(|request| request.target.clone()).collect();
    assert_eq!(targets, ["/up", "/next"]);
}

#[test]
fn a_body_of_which_a_part_is_gone_is_not_sent_again() {
    let first = Upstream::start_with(Answers::Heads, |_| vec![Step::Pause(Duration::from_millis(300)), Step::Close]);
    let second = Upstream::saying("hello");
    let gateway = before(&first.node(), &second, &json!({}));
    let mut client = gateway.connect();
    let body = pattern(200_000);
    client.send(put(body.len() + 1)).send(&body);
    let response = client.response();
    assert_eq!((response.status, second.seen().len()), (502, 0));
    client.expect_close();
}

#[test]
fn a_post_is_never_sent_twice_once_its_bytes_went_out() {
    let (first, second) = (closing(), Upstream::saying("hello"));
    let gateway = before(&first.node(), &second, &json!({}));
    for body in ["", "hello"] {
        let length = body.len();
        let request = format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n{body}");
        assert_eq!(gateway.connect().exchange(request).status, 502);
    }
    assert_eq!((first.seen().len(), second.seen().len()), (2, 0));
}

#[test]
fn a_post_that_nobody_can_have_seen_goes_to_the_next_node() {
    let (first, second) = (Refusing::new(), Upstream::start(|request| ok(&request.body)));
    let gateway = before(&first.node(), &second, &json!({}));
    let body = pattern(150_000);
    let head = format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", body.len());
    let response = gateway.connect().exchange([head.as_bytes(), &body].concat());
    assert!(response.status == 200 && response.body == body);
}

#[test]
fn nothing_is_sent_again_once_a_part_of_the_answer_has_gone_out() {
    let first =
        Upstream::start(|_| vec![Step::Send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhal".to_vec()), Step::Close]);
    let second = Upstream::saying("hello");
    let gateway = before(&first.node(), &second, &json!({}));
    let mut client = gateway.connect();
    client.send(get("/"));
    let rest = client.rest();
    assert!(rest.ends_with(b"\r\n\r\nhal"), "{}", String::from_utf8_lossy(&rest));
    assert_eq!(second.seen().len(), 0);
}

#[test]
fn nothing_is_sent_again_once_an_interim_answer_has_gone_out() {
    let first =
        Upstream::start(|_| vec![Step::Send(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n".to_vec()), Step::Close]);
    let second = Upstream::saying("hello");
    let gateway = before(&first.node(), &second, &json!({}));
    let mut client = gateway.connect();
    assert_eq!(client.send(get("/")).response_head().status, 103);
    assert_eq!((client.response().status, second.seen().len()), (502, 0));
}

#[test]
fn a_broken_answer_to_what_may_be_repeated_is_asked_for_elsewhere() {
    let (first, second) = (Upstream::start(|_| raw("garbage\r\n\r\n")), Upstream::saying("hello"));
    let gateway = before(&first.node(), &second, &json!({}));
    assert_eq!(gateway.get("/").text(), "hello");
    assert_eq!(gateway.connect().exchange("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n").status, 502);
}

#[test]
fn after_the_retry_timeout_no_other_node_is_asked() {
    let slow = Upstream::start(|_| vec![Step::Pause(Duration::from_millis(400)), Step::Close]);
    let second = Upstream::saying("hello");
    let gateway = before(&slow.node(), &second, &json!({"retry_timeout": 0.2}));
    assert_eq!((gateway.get("/").status, second.seen().len()), (502, 0));
}

#[test]
fn a_put_on_a_connection_that_died_at_rest_is_sent_once_more_with_its_body_and_counts_as_one_try() {
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    // The first request is answered; the second one on that connection meets its end.
    let upstream =
        Upstream::start_with(Answers::WholeRequests, move |request| match counted.fetch_add(1, Ordering::Relaxed) {
            1 => vec![Step::Close],
            _ => ok(&request.body),
        });
    let gateway = Gateway::start();
    let object = json!({"type": "roundrobin", "nodes": {upstream.node(): 1}, "retries": 0});
    gateway.admin().put("routes/all", &json!({"uri": "/*", "upstream": object}));
    let mut client = gateway.connect();
    let body = pattern(30_000);
    for _ in 0..2 {
        let response = client.exchange([put(body.len()).as_bytes(), &body].concat());
        assert!(response.status == 200 && response.body == body, "{}", response.status);
    }
    assert_eq!((count.load(Ordering::Relaxed), upstream.connections()), (3, 2));
}
