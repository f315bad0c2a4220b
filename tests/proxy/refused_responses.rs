//! Upstreams that break HTTP: the client gets 502 and nothing of theirs, and their connection is not used again.

use serde_json::json;

use crate::support::client::get;
use crate::support::upstream::{Answers, ok, raw};
use crate::support::{Gateway, Step, Upstream, pattern};

#[test]
fn a_response_that_is_none_is_502() {
    let responses: &[(&str, Vec<u8>)] = &[
        ("noise", pattern(2000)),
        ("a greeting of another protocol", b"220 mail.example ESMTP\r\n".to_vec()),
        ("no version", b"200 OK\r\n\r\n".to_vec()),
        ("HTTP/2", b"HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n".to_vec()),
        ("a status of two digits", b"HTTP/1.1 20 OK\r\nContent-Length: 0\r\n\r\n".to_vec()),
        ("a status that is no number", b"HTTP/1.1 abc OK\r\nContent-Length: 0\r\n\r\n".to_vec()),
        ("a line without a colon", b"HTTP/1.1 200 OK\r\nnothing\r\nContent-Length: 0\r\n\r\n".to_vec()),
        ("two lengths", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nabc".to_vec()),
        ("a length that is no number", b"HTTP/1.1 200 OK\r\nContent-Length: two\r\n\r\nab".to_vec()),
        (
            "length and chunked",
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".to_vec(),
        ),
        ("a NUL in a value", b"HTTP/1.1 200 OK\r\nX-A: a\0b\r\nContent-Length: 0\r\n\r\n".to_vec()),
        ("a head without an end", [b"HTTP/1.1 200 OK\r\nX-A: ".to_vec(), vec![b'a'; 200_000]].concat()),
        (
            "a protocol that nobody asked to switch to",
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n".to_vec(),
        ),
    ];
    for (what, bytes) in responses {
        let bytes = bytes.clone();
        let upstream = Upstream::start(move |_| vec![Step::Send(bytes.clone()), Step::Close]);
        let gateway = Gateway::start();
        let object = json!({"type": "roundrobin", "nodes": {upstream.node(): 1}, "retries": 0});
        gateway.admin().put("routes/all", &json!({"uri": "/*", "upstream": object}));
        let response = gateway.get("/");
        assert_eq!(response.status, 502, "{what}: {}", response.line);
        assert!(response.text().contains("502 Bad Gateway"), "{what}");
    }
}

#[test]
fn bytes_behind_a_response_are_not_the_next_ones_answer() {
    let upstream = Upstream::start(|request| match request.target.as_str() {
        "/first" => {
            raw("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
        }
        _ => ok("good"),
    });
    let gateway = Gateway::before(&upstream);
    let mut client = gateway.connect();
    for _ in 0..5 {
        assert_eq!(client.exchange(get("/first")).text(), "ok");
        assert_eq!(client.exchange(get("/second")).text(), "good");
    }
}

#[test]
fn broken_chunks_of_an_upstream_cut_the_client() {
    for broken in ["zz\r\nhello\r\n0\r\n\r\n", "5\r\nhelloX0\r\n\r\n", "\r\n0\r\n\r\n"] {
        let bytes = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n{broken}");
        let upstream = Upstream::start(move |_| raw(&bytes));
        let gateway = Gateway::before(&upstream);
        let mut client = gateway.connect();
        let rest = client.send(get("/")).rest();
        let text = String::from_utf8_lossy(&rest);
        assert!(!text.ends_with("0\r\n\r\n"), "{broken:?}: a broken body must not look like a whole one: {text}");
    }
}

#[test]
fn an_answer_before_the_request_has_ended_reaches_the_client() {
    let upstream = Upstream::start_with(Answers::Heads, |_| {
        vec![
            Step::Send(b"HTTP/1.1 413 Too Much\r\nConnection: close\r\nContent-Length: 3\r\n\r\nno!".to_vec()),
            Step::Hang,
        ]
    });
    let gateway = Gateway::before(&upstream);
    let mut client = gateway.connect();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\nthe beginning");
    let response = client.response();
    assert_eq!((response.status, response.text().as_str()), (413, "no!"));
}
