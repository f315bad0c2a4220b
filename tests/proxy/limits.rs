//! Limits that the configuration sets: what just fits passes, one more does not, and the answer is the one that the docs name.

use serde_json::json;

use crate::support::upstream::{Answers, ok, raw};
use crate::support::{Client, Gateway, Setup, Upstream};

/// A gateway with `config`, and one route to `upstream` without another try.
fn gateway(config: serde_json::Value, upstream: &Upstream) -> Gateway {
    let gateway = Gateway::start_with(&Setup::with(config));
    let object = json!({"type": "roundrobin", "nodes": {upstream.node(): 1}, "retries": 0});
    gateway.admin().put("routes/all", &json!({"uri": "/*", "upstream": object}));
    gateway
}

/// A GET whose head has `bytes` bytes.
fn head_of(bytes: usize) -> String {
    let (front, end) = ("GET / HTTP/1.1\r\nHost: test\r\nX-Fill: ", "\r\n\r\n");
    format!("{front}{}{end}", "a".repeat(bytes - front.len() - end.len()))
}

/// A GET with `count` header lines.
fn lines_of(count: usize) -> String {
    let more: String = (1..count).map(|number| format!("X-{number}: a\r\n")).collect();
    format!("GET / HTTP/1.1\r\nHost: test\r\n{more}\r\n")
}

/// A GET whose target has `bytes` bytes.
fn target_of(bytes: usize) -> String {
    format!("GET /{} HTTP/1.1\r\nHost: test\r\n\r\n", "a".repeat(bytes - 1))
}

/// Asserts that `last` passes, that its connection goes on, and that `first_over` is refused with `status` and the end of its connection.
fn bound(gateway: &Gateway, last: &str, first_over: &str, status: u16) {
    let mut client = gateway.connect();
    for _ in 0..2 {
        assert_eq!(client.exchange(last).status, 200);
    }
    assert_eq!(client.exchange(first_over).status, status);
    client.expect_close();
    // In two pieces as well: what was read before counts.
    let mut client = gateway.connect();
    let (front, rest) = first_over.split_at(20);
    client.send(front).send(rest);
    assert_eq!(client.response().status, status);
}

#[test]
fn a_request_head_may_be_as_large_as_the_keys_say_and_no_larger() {
    let upstream = Upstream::saying("hello");
    let limits = json!({"request_head_bytes": "2k", "request_header_count": 20, "request_target_bytes": 500});
    let gateway = gateway(json!({"tollgate": limits}), &upstream);
    bound(&gateway, &head_of(2048), &head_of(2049), 431);
    bound(&gateway, &lines_of(20), &lines_of(21), 431);
    bound(&gateway, &target_of(500), &target_of(501), 414);
    assert_eq!(upstream.seen().len(), 6);
}

#[test]
fn keys_can_also_allow_more_than_the_defaults() {
    let upstream = Upstream::saying("hello");
    let limits = json!({"request_head_bytes": "256k", "request_header_count": 1000, "request_target_bytes": "100k"});
    let gateway = gateway(json!({"tollgate": limits}), &upstream);
    bound(&gateway, &head_of(256 * 1024), &head_of(256 * 1024 + 1), 431);
    bound(&gateway, &lines_of(1000), &lines_of(1001), 431);
    bound(&gateway, &target_of(100 * 1024), &target_of(100 * 1024 + 1), 414);
}

#[test]
fn an_upstreams_head_over_its_own_keys_is_a_502() {
    let upstream = Upstream::start(|request| {
        let count: usize = request.target[1..].parse().expect("a number");
        let (front, end) = ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n", "\r\n");
        raw(match count {
            0..100 => format!("{front}{}{end}", "X: a\r\n".repeat(count - 1)),
            _ => format!("{front}X: {}\r\n{end}", "a".repeat(count - front.len() - end.len() - 5)),
        })
    });
    let limits = json!({"response_head_bytes": "4k", "response_header_count": 30});
    let gateway = gateway(json!({"tollgate": limits}), &upstream);
    for (target, status) in [("/4096", 200), ("/4097", 502), ("/30", 200), ("/31", 502)] {
        assert_eq!(gateway.get(target).status, status, "{target}");
    }
    // The client's own head is bound by other keys.
    assert_eq!(gateway.connect().exchange(lines_of(40)).status, 502, "no number in /");
}

#[test]
fn a_request_body_over_its_limit_is_a_413_before_or_while_it_comes() {
    let upstream = Upstream::start_with(Answers::WholeRequests, |_| ok("hello"));
    let gateway = gateway(json!({"nginx_config": {"http": {"client_max_body_size": 1000}}}), &upstream);
    let post = |framing: &str, body: &str| format!("POST / HTTP/1.1\r\nHost: test\r\n{framing}\r\n\r\n{body}");
    let whole = |bytes: usize| post(&format!("Content-Length: {bytes}"), &"a".repeat(bytes));
    let chunked = |bytes: usize| {
        let chunk = format!("{bytes:x}\r\n{}\r\n0\r\n\r\n", "a".repeat(bytes));
        post("Transfer-Encoding: chunked", &chunk)
    };
    let status = |request: String| Client::connect(gateway.address()).exchange(request).status;
    assert_eq!([status(whole(1000)), status(chunked(1000))], [200, 200]);
    assert_eq!([status(whole(1001)), status(chunked(1001))], [413, 413]);
    // Announced alone is enough: nobody waits for what would be refused.
    assert_eq!(status(post("Content-Length: 1001\r\nExpect: 100-continue", "")), 413);
    assert_eq!(upstream.seen().len(), 2, "none that is too large arrives whole");
}
