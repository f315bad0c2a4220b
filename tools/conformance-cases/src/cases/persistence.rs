//! Connections that live on, end, and carry several requests (RFC 9112 §9), and HTTP/1.0.

use super::{Served, served};
use crate::case::{After, Answer, Case, Check, Piece};

const OK: Check = Check::Statuses(&[200]);

pub fn cases() -> Vec<Case> {
    let closing = served(CLOSED).into_iter().map(|case| Case { after: After::Closed, ..case });
    let mut cases: Vec<Case> = closing.chain(served(OPEN)).collect();
    cases.extend(pipelines());
    cases
}

#[rustfmt::skip]
const CLOSED: &[Served] = &[
    ("close", "9112 §9.6", "close is honoured and said", "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", &[OK, Check::DownHolds("connection", "close")]),
    ("close-case", "9110 §7.6.1", "options in any case", "GET / HTTP/1.1\r\nHost: a\r\nConnection: CLOSE\r\n\r\n", &[OK, Check::DownHolds("connection", "close")]),
    ("close-list", "9112 §9.6", "close in a list", "GET / HTTP/1.1\r\nHost: a\r\nConnection: x-other, close\r\n\r\n", &[OK]),
    ("close-second-line", "9112 §9.6", "close in a second line", "GET / HTTP/1.1\r\nHost: a\r\nConnection: x-other\r\nConnection: close\r\n\r\n", &[OK]),
    ("close-beats-keep-alive", "9112 §9.3", "close beats keep-alive", "GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, close\r\n\r\n", &[OK]),
    ("close-ignores-more", "9112 §9.6", "a request behind close is not served", "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\nGET /second HTTP/1.1\r\nHost: a\r\n\r\n", &[OK, Check::Requests(1)]),
    ("old", "9112 §9.3", "HTTP/1.0 closes", "GET / HTTP/1.0\r\nHost: a\r\n\r\n", &[OK]),
    ("old-no-host", "9112 §3.2", "HTTP/1.0 needs no Host", "GET / HTTP/1.0\r\n\r\n", &[OK, Check::Requests(1)]),
    ("old-close", "9112 §9.3", "HTTP/1.0 with close", "GET / HTTP/1.0\r\nHost: a\r\nConnection: close\r\n\r\n", &[OK]),
    ("old-body", "9112 §6.3", "HTTP/1.0 with a body", "POST / HTTP/1.0\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello", &[OK, Check::UpBody("hello")]),
];

#[rustfmt::skip]
const OPEN: &[Served] = &[
    ("keep", "9112 §9.3", "HTTP/1.1 stays open", "GET / HTTP/1.1\r\nHost: a\r\n\r\n", &[OK]),
    ("keep-said", "9112 §9.3", "HTTP/1.1 with keep-alive", "GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive\r\n\r\n", &[OK]),
    ("keep-closely", "9110 §7.6.1", "an option that only looks like close", "GET / HTTP/1.1\r\nHost: a\r\nConnection: closed\r\n\r\n", &[OK]),
    ("keep-post", "9112 §9.3", "behind a body", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello", &[OK]),
];

#[rustfmt::skip]
fn pipelines() -> Vec<Case> {
    let case = |id: &str, section, what: &str, send: Vec<Piece>, checks: Vec<Check>| Case { send, checks, after: After::Open, ..Case::new(id, section, what, "") };
    let get = |path| Piece::Text(path);
    let (first, second, third) = ("GET /1 HTTP/1.1\r\nHost: a\r\n\r\n", "GET /2 HTTP/1.1\r\nHost: a\r\n\r\n", "GET /3 HTTP/1.1\r\nHost: a\r\n\r\n");
    let said = |body| Answer::Says(body);
    let three = vec![
        said("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n1"),
        Answer::SaysInTwo("HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n", "1\r\n2\r\n0\r\n\r\n"),
        said("HTTP/1.1 202 Accepted\r\nContent-Length: 1\r\n\r\n3"),
    ];
    vec![
        Case { answers: three.clone(), ..case("pipeline", "9112 §9.3.2", "three requests at once are answered in order", vec![get(first), get(second), get(third)],
            vec![Check::Statuses(&[200, 201, 202]), Check::DownBody("3"), Check::Requests(3)]) },
        Case { answers: three, ..case("pipeline-bodies", "9112 §9.3.2", "requests with bodies in between", vec![
            get("POST /1 HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello"), get("POST /2 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n"), get(third)],
            vec![Check::Statuses(&[200, 201, 202]), Check::Requests(3), Check::UpLine("GET /3 HTTP/1.1")]) },
        case("pipeline-split", "9112 §9.3.2", "a second request whose head comes later", vec![get(first), get("GET /2 HT"), Piece::Pause(20), get("TP/1.1\r\nHost: a\r\n\r\n")],
            vec![Check::Statuses(&[200, 200]), Check::Requests(2)]),
        Case { after: After::Closed, ..case("pipeline-bad", "9112 §9.3.2", "a bad request behind a good one: the good one is answered first", vec![get(first), get("GET / HTTP/1.1\r\n\r\n")],
            vec![Check::Statuses(&[200, 400]), Check::Requests(1)]) },
        case("pipeline-crlf", "9112 §2.2", "an empty line between two requests", vec![get(first), get("\r\n"), get(second)], vec![Check::Statuses(&[200, 200]), Check::Requests(2)]),
        case("pipeline-body-looks", "9112 §6", "a body that looks like a request is none", vec![get("POST /1 HTTP/1.1\r\nHost: a\r\nContent-Length: 28\r\n\r\n"), get(second)],
            vec![OK, Check::Requests(1), Check::UpBody("GET /2 HTTP/1.1\r\nHost: a\r\n\r\n")]),
        Case { heads: &[true, false], answers: vec![said("HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n"), said("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n2")],
            ..case("pipeline-head", "9112 §6.3", "HEAD, then GET: the second answer is not the first one's body", vec![get("HEAD /1 HTTP/1.1\r\nHost: a\r\n\r\n"), get(second)],
            vec![Check::Statuses(&[200, 200]), Check::DownBody("2")]) },
        Case { answers: vec![said("HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\nETag: \"x\"\r\n\r\n"), said("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n2")],
            ..case("pipeline-304", "9112 §6.3", "a 304 with a length, then GET", vec![get(first), get(second)], vec![Check::Statuses(&[304, 200]), Check::DownBody("2")]) },
        Case { answers: vec![said("HTTP/1.1 204 No Content\r\n\r\n"), said("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n2")],
            ..case("pipeline-204", "9112 §6.3", "a 204, then GET", vec![get(first), get(second)], vec![Check::Statuses(&[204, 200]), Check::DownBody("2")]) },
        Case { answers: vec![Answer::SaysAndCloses("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1\r\n\r\n1"), said("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n2")],
            ..case("upstream-closes", "9112 §9.6", "an upstream that closes does not close the client", vec![get(first), get(second)], vec![Check::Statuses(&[200, 200]), Check::DownBody("2")]) },
        case("old-keep-alive", "9112 §9.3", "HTTP/1.0 with keep-alive: kept and said so, or closed", vec![get("GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n")], vec![OK]).or_closed(),
    ]
}
