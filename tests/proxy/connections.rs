//! Connections on both sides: kept, closed, shared by pipelined requests, found stale.

use std::time::Duration;

use crate::support::client::{End, get};
use crate::support::upstream::{ok, raw};
use crate::support::{Gateway, Setup, Step, Upstream, wait_for};

#[test]
fn requests_of_one_connection_share_one_upstream_connection() {
    let upstream = Upstream::saying("hello");
    let gateway = Gateway::before(&upstream);
    let mut client = gateway.connect();
    for _ in 0..5 {
        let response = client.exchange(get("/get"));
        assert_eq!((response.status, response.text().as_str()), (200, "hello"));
    }
    assert_eq!((upstream.seen().len(), upstream.connections()), (5, 1));
}

#[test]
fn clients_after_each_other_share_one_upstream_connection() {
    let upstream = Upstream::saying("hello");
    let gateway = Gateway::before(&upstream);
    for _ in 0..5 {
        assert_eq!(gateway.get("/get").status, 200);
    }
    assert_eq!((upstream.seen().len(), upstream.connections()), (5, 1));
}

#[test]
fn a_client_that_asks_for_close_is_closed_after_its_response() {
    let upstream = Upstream::saying("hello");
    let gateway = Gateway::before(&upstream);
    let mut client = gateway.connect();
    let response = client.exchange("GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
    assert_eq!(response.headers.one("connection"), Some("close"));
    client.expect_close();
    assert_eq!(gateway.get("/").status, 200);
    assert_eq!(upstream.connections(), 1, "the upstream's connection is not the client's to close");
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let upstream = Upstream::start(|request| {
        let mut steps = ok(&request.target);
        if request.target == "/1" {
            steps.insert(0, Step::Pause(Duration::from_millis(50)));
        }
        steps
    });
    let gateway = Gateway::before(&upstream);
    let mut client = gateway.connect();
    client.send(["/1", "/2", "/3", "/4"].map(get).concat());
    for target in ["/1", "/2", "/3", "/4"] {
        assert_eq!(client.response().text(), target);
    }
}

#[test]
fn a_pipelined_request_behind_a_body_is_found_at_the_bodys_end() {
    let upstream = Upstream::start(|request| ok([request.target.as_bytes(), b" ", &request.body[..]].concat()));
    let gateway = Gateway::before(&upstream);
    let mut client = gateway.connect();
    client.send("POST /a HTTP/1.1\r\nHost: test\r\nContent-Length: 3\r\n\r\nGETPOST /b HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nGET \r\n0\r\n\r\nGET /c HTTP/1.1\r\nHost: test\r\n\r\n");
    assert_eq!(client.response().text(), "/a GET");
    assert_eq!(client.response().text(), "/b GET ");
    assert_eq!(client.response().text(), "/c ");
}

#[test]
fn a_request_that_comes_byte_by_byte_is_one_request() {
    let upstream = Upstream::saying("hello");
    let gateway = Gateway::before(&upstream);
    let mut client = gateway.connect();
    for byte in get("/slow").bytes() {
        client.send([byte]);
    }
    assert_eq!(client.response().status, 200);
    assert_eq!(upstream.seen()[0].target, "/slow");
}

#[test]
fn a_kept_connection_that_the_upstream_closed_is_not_the_clients_failure() {
    let upstream = Upstream::start(|_| [ok("hello"), vec![Step::Close]].concat());
    let gateway = Gateway::before(&upstream);
    let mut client = gateway.connect();
    for number in 0..10 {
        let response = client.exchange(get("/get"));
        assert_eq!(response.status, 200, "request {number}: the upstream closes behind every response");
    }
    assert_eq!(upstream.seen().len(), 10, "no request is sent twice");
}

#[test]
fn an_upstream_that_announces_close_is_not_kept() {
    let upstream = Upstream::start(|_| raw("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok"));
    let gateway = Gateway::before(&upstream);
    let mut client = gateway.connect();
    for _ in 0..3 {
        let response = client.exchange(get("/get"));
        assert_ne!(response.headers.one("connection"), Some("close"), "the upstream's close is not the client's");
    }
    assert_eq!(upstream.connections(), 3);
}

#[test]
fn an_idle_client_is_closed_when_its_time_is_up() {
    let upstream = Upstream::saying("hello");
    let config = serde_json::json!({"nginx_config": {"http": {"keepalive_timeout": "1s"}}});
    let gateway = Gateway::start_with(&Setup::with(config));
    gateway.admin().route("all", "/*", &[(&upstream.node(), 1)]);
    let mut client = gateway.connect();
    assert_eq!(client.exchange(get("/")).status, 200);
    assert_eq!(client.end_within(Duration::from_millis(200)), End::Open);
    client.expect_close();
}

#[test]
fn a_client_that_never_finishes_its_head_is_closed_when_its_time_is_up() {
    let config = serde_json::json!({"nginx_config": {"http": {"client_header_timeout": "1s"}}});
    let gateway = Gateway::start_with(&Setup::with(config));
    let mut client = gateway.connect();
    client.send("GET / HTTP/1.1\r\nHost: te");
    let rest = String::from_utf8_lossy(&client.rest()).into_owned();
    assert!(rest.is_empty() || rest.starts_with("HTTP/1.1 408 "), "{rest}");
}

#[test]
fn many_clients_at_once_are_all_answered() {
    let upstream = Upstream::saying("hello");
    let gateway = Gateway::start_with(&Setup { workers: 2, ..Setup::default() });
    gateway.admin().route("all", "/*", &[(&upstream.node(), 1)]);
    let mut clients: Vec<_> = (0..200).map(|_| gateway.connect()).collect();
    for client in &mut clients {
        client.send(get("/get"));
    }
    for client in &mut clients {
        assert_eq!(client.response().status, 200);
    }
    drop(clients);
    drop(gateway);
    wait_for("connections end with the gateway", || (upstream.open() == 0).then_some(()));
}
