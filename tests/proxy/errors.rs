//! What the gateway answers by itself: no route, no node, an upstream that refuses, hangs or is silent (APISIX-COMPAT §6.6).

use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::client::{End, get};
use crate::support::upstream::{Refusing, Unreachable};
use crate::support::{Gateway, Step, Upstream};

/// A route to one node with a second for everything.
fn impatient(gateway: &Gateway, node: &str) {
    let upstream = json!({"type": "roundrobin", "nodes": {node: 1}, "retries": 0});
    let timeout = json!({"connect": 1, "send": 1, "read": 1});
    gateway.admin().put("routes/all", &json!({"uri": "/*", "timeout": timeout, "upstream": upstream}));
}

#[test]
fn a_request_without_a_route_is_404_in_apisixs_words() {
    let gateway = Gateway::start();
    let mut client = gateway.connect();
    for _ in 0..2 {
        let response = client.exchange(get("/nowhere"));
        assert_eq!(response.status, 404);
        assert_eq!(response.text(), "{\"error_msg\":\"404 Route Not Found\"}\n");
    }
}

#[test]
fn a_request_body_without_a_route_does_not_become_the_next_request() {
    let gateway = Gateway::start();
    let mut client = gateway.connect();
    let body = get("/smuggled");
    client.send(format!("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: {}\r\n\r\n{body}", body.len()));
    assert_eq!(client.response().status, 404);
    // Either the body was read and thrown away or the connection ends; more bytes would be an answer to the body.
    let end = client.end_within(Duration::from_millis(300));
    assert!(!matches!(end, End::Bytes(_)), "{end:?}");
}

#[test]
fn an_upstream_that_refuses_is_502() {
    let gateway = Gateway::start();
    let refusing = Refusing::new();
    gateway.admin().route("all", "/*", &[(&refusing.node(), 1)]);
    let mut client = gateway.connect();
    for _ in 0..2 {
        let response = client.exchange(get("/"));
        assert_eq!(response.status, 502);
        assert!(response.text().contains("502 Bad Gateway"));
        assert_eq!(response.headers.one("x-apisix-upstream-status"), Some("502"));
    }
}

#[test]
fn an_upstream_that_closes_or_resets_before_it_answers_is_502() {
    for end in [Step::Close, Step::Reset] {
        let step = end.clone();
        let upstream = Upstream::start(move |_| vec![step.clone()]);
        let gateway = Gateway::start();
        impatient(&gateway, &upstream.node());
        assert_eq!(gateway.get("/").status, 502, "{end:?}");
    }
}

#[test]
fn a_request_that_may_not_be_repeated_is_sent_once() {
    let upstream = Upstream::start(|_| vec![Step::Close]);
    let gateway = Gateway::before(&upstream);
    let response = gateway.connect().exchange("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 2\r\n\r\nok");
    assert_eq!(response.status, 502);
    assert_eq!(upstream.seen().len(), 1);
}

#[test]
fn an_upstream_without_nodes_is_503() {
    let gateway = Gateway::start();
    gateway.admin().route("all", "/*", &[]);
    let response = gateway.get("/");
    assert_eq!(response.status, 503);
    assert!(response.text().contains("503 Service"));
}

#[test]
fn an_upstream_whose_name_does_not_resolve_is_503() {
    let gateway = Gateway::start();
    gateway.admin().route("all", "/*", &[("no-such-name.invalid:80", 1)]);
    assert_eq!(gateway.get("/").status, 503);
}

#[test]
fn an_upstream_that_does_not_answer_is_504_when_its_time_is_up() {
    let upstream = Upstream::start(|_| vec![Step::Hang]);
    let gateway = Gateway::start();
    impatient(&gateway, &upstream.node());
    let begin = Instant::now();
    let response = gateway.get("/");
    assert_eq!(response.status, 504);
    assert!(response.text().contains("504 Gateway Time-out"));
    let took = begin.elapsed();
    assert!((Duration::from_millis(900)..Duration::from_secs(5)).contains(&took), "after {took:?}");
}

#[test]
fn an_upstream_that_cannot_be_reached_is_504_when_its_time_is_up() {
    let gateway = Gateway::start();
    let unreachable = Unreachable::new();
    impatient(&gateway, &unreachable.node());
    let begin = Instant::now();
    assert_eq!(gateway.get("/").status, 504);
    assert!(begin.elapsed() < Duration::from_secs(5));
}

#[test]
fn an_upstream_that_stops_in_the_middle_is_cut_off_when_its_time_is_up() {
    let upstream = Upstream::start(|_| {
        vec![Step::Send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nsome".to_vec()), Step::Hang]
    });
    let gateway = Gateway::start();
    impatient(&gateway, &upstream.node());
    let mut client = gateway.connect();
    let bytes = client.send(get("/")).rest();
    assert!(bytes.ends_with(b"some"));
}

#[test]
fn a_slow_upstream_that_keeps_talking_is_not_cut_off() {
    let upstream = Upstream::start(|_| {
        let mut steps = vec![Step::Send(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n".to_vec())];
        for _ in 0..6 {
            steps.extend([Step::Pause(Duration::from_millis(400)), Step::Send(b"a".to_vec())]);
        }
        steps
    });
    let gateway = Gateway::start();
    impatient(&gateway, &upstream.node());
    assert_eq!(gateway.get("/").text(), "aaaaaa", "the time counts from byte to byte");
}

#[test]
fn our_own_answers_to_head_have_no_body() {
    let gateway = Gateway::start();
    let mut client = gateway.connect();
    let head = client.send("HEAD /nowhere HTTP/1.1\r\nHost: test\r\n\r\n").response_to_head();
    assert_eq!(head.status, 404);
    assert_eq!(client.exchange(get("/nowhere")).status, 404, "the connection is still in step");
}
