//! Requests that two readers might read differently, or that break a limit: refused, and the connection is over.
//! RFC 9112 §2.2, §3, §5, §6, §7.1, §11.2.

use crate::support::client::get;
use crate::support::{Gateway, Setup, Upstream, pattern};

/// Sends bytes and expects one refusal with one of these statuses, then the end of the connection, and nothing upstream.
fn refuses(gateway: &Gateway, upstream: &Upstream, what: &str, bytes: &[u8], statuses: &[u16]) {
    let before = upstream.seen().len();
    let mut client = gateway.connect();
    client.send(bytes).finish();
    let rest = client.rest();
    let text = String::from_utf8_lossy(&rest);
    let status = text.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)).and_then(|code| code.parse().ok());
    assert!(status.is_some_and(|status| statuses.contains(&status)), "{what}: wanted {statuses:?}, got {text:?}");
    assert_eq!(text.matches("HTTP/1.1 ").count(), 1, "{what}: one answer and no more: {text}");
    assert!(text.to_ascii_lowercase().contains("\r\nconnection: close\r\n"), "{what}: {text}");
    assert_eq!(upstream.seen().len(), before, "{what}: nothing reaches the upstream");
}

/// What follows a request that hides a second one.
const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";

#[test]
fn ambiguous_framing_is_refused_and_the_connection_closed() {
    let upstream = Upstream::saying("hello");
    let gateway = Gateway::before(&upstream);
    let headers = [
        ("length and chunked", "Content-Length: 5\r\nTransfer-Encoding: chunked"),
        ("chunked and length", "Transfer-Encoding: chunked\r\nContent-Length: 5"),
        ("two lengths", "Content-Length: 5\r\nContent-Length: 6"),
        ("a list of two lengths", "Content-Length: 5, 6"),
        ("a length with a sign", "Content-Length: +5"),
        ("a negative length", "Content-Length: -5"),
        ("a length in hex", "Content-Length: 0x5"),
        ("a length with a space in it", "Content-Length: 5 5"),
        ("an empty length", "Content-Length: "),
        ("a length beyond 64 bits", "Content-Length: 99999999999999999999999"),
        ("an unknown coding", "Transfer-Encoding: xchunked"),
        ("chunked twice", "Transfer-Encoding: chunked, chunked"),
        ("chunked twice in two lines", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked"),
        ("chunked is not last", "Transfer-Encoding: chunked, gzip"),
        ("a coding with a vertical tab", "Transfer-Encoding: \x0bchunked"),
        ("an empty coding", "Transfer-Encoding: "),
        ("a space before the colon", "Content-Length : 5"),
        ("a folded line", "Transfer-Encoding:\r\n chunked"),
        ("a folded length", "Content-Length: 5\r\n 0"),
        ("a bare line feed", "X-A: b\nContent-Length: 5"),
        ("a bare carriage return", "X-A: b\rContent-Length: 5"),
        ("a NUL in a value", "X-A: a\0b"),
        ("a name with a space", "X A: b"),
        ("an empty name", ": b"),
        ("a line without a colon", "nothing"),
    ];
    for (what, lines) in headers {
        let request = format!("POST / HTTP/1.1\r\nHost: a\r\n{lines}\r\n\r\n0\r\n\r\n{SMUGGLED}");
        refuses(&gateway, &upstream, what, request.as_bytes(), &[400, 501]);
    }
    assert_eq!(gateway.get("/").status, 200, "the gateway still serves");
}

#[test]
fn a_coding_in_http_1_0_is_refused() {
    let upstream = Upstream::saying("hello");
    let gateway = Gateway::before(&upstream);
    let request = "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    refuses(&gateway, &upstream, "chunked in 1.0", request.as_bytes(), &[400]);
}

#[test]
fn request_lines_that_are_none_are_refused() {
    let upstream = Upstream::saying("hello");
    let gateway = Gateway::before(&upstream);
    let lines: &[(&str, &str, &[u16])] = &[
        ("no version", "GET /", &[400]),
        ("two spaces", "GET  / HTTP/1.1", &[400]),
        ("a space in the target", "GET /a b HTTP/1.1", &[400]),
        ("a tab", "GET\t/ HTTP/1.1", &[400]),
        ("lower case HTTP", "GET / http/1.1", &[400]),
        ("HTTP/2", "GET / HTTP/2.0", &[400, 505]),
        ("HTTP/0.9's cousin", "GET / HTTP/0.9", &[400, 505]),
        ("an empty target", "GET  HTTP/1.1", &[400]),
        ("a control character", "GET /\x01 HTTP/1.1", &[400]),
        ("not a method", "G@T / HTTP/1.1", &[400]),
        ("a relative target", "GET a HTTP/1.1", &[400]),
    ];
    for (what, line, statuses) in lines {
        refuses(&gateway, &upstream, what, format!("{line}\r\nHost: a\r\n\r\n").as_bytes(), statuses);
    }
}

#[test]
fn hosts_that_are_none_or_two_are_refused() {
    let upstream = Upstream::saying("hello");
    let gateway = Gateway::before(&upstream);
    for (what, lines) in [
        ("no host", ""),
        ("two hosts", "Host: a\r\nHost: b\r\n"),
        ("the same host twice", "Host: a\r\nHost: a\r\n"),
        ("a host with a space", "Host: a b\r\n"),
        ("a host with a slash", "Host: a/b\r\n"),
    ] {
        refuses(&gateway, &upstream, what, format!("GET / HTTP/1.1\r\n{lines}\r\n").as_bytes(), &[400]);
    }
}

#[test]
fn chunks_that_are_none_end_the_connection() {
    let upstream = Upstream::saying("hello");
    let gateway = Gateway::before(&upstream);
    for (what, body) in [
        ("no size", "\r\nhello\r\n0\r\n\r\n"),
        ("a size that is no number", "x\r\nhello\r\n0\r\n\r\n"),
        ("a size with a sign", "+5\r\nhello\r\n0\r\n\r\n"),
        ("a size with a prefix", "0x5\r\nhello\r\n0\r\n\r\n"),
        ("a size with a space before it", " 5\r\nhello\r\n0\r\n\r\n"),
        ("a size beyond 64 bits", "fffffffffffffffff\r\nhello"),
        ("a bare line feed behind the size", "5\nhello\r\n0\r\n\r\n"),
        ("a chunk longer than its size", "3\r\nhello\r\n0\r\n\r\n"),
        ("a bare line feed behind the chunk", "5\r\nhello\n0\r\n\r\n"),
        ("a bare line feed in an extension", "5;a\nb\r\nhello\r\n0\r\n\r\n"),
        ("an endless size line", &format!("5;{}", "a".repeat(70_000))),
    ] {
        let mut client = gateway.connect();
        client.send(format!("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{body}{SMUGGLED}"));
        let rest = client.finish().rest();
        let text = String::from_utf8_lossy(&rest);
        assert!(text.is_empty() || text.starts_with("HTTP/1.1 4"), "{what}: {text}");
        assert!(upstream.seen().is_empty(), "{what}: the upstream must not take it for a whole request");
    }
    assert_eq!(gateway.get("/").status, 200, "the gateway still serves");
}

#[test]
fn heads_over_a_limit_are_refused() {
    let upstream = Upstream::saying("hello");
    let gateway = Gateway::before(&upstream);
    let long = "a".repeat(60_000);
    let many = (0..5000).map(|number| format!("X-{number}: a\r\n")).collect::<String>();
    for (what, request, status) in [
        ("a long target", format!("GET /{long} HTTP/1.1\r\nHost: a\r\n\r\n"), 414),
        ("a long value", format!("GET / HTTP/1.1\r\nHost: a\r\nX-A: {long}\r\n\r\n"), 431),
        ("a long name", format!("GET / HTTP/1.1\r\nHost: a\r\n{long}: a\r\n\r\n"), 431),
        ("many lines", format!("GET / HTTP/1.1\r\nHost: a\r\n{many}\r\n"), 431),
    ] {
        refuses(&gateway, &upstream, what, request.as_bytes(), &[status]);
    }
}

#[test]
fn noise_is_refused_and_hurts_nobody_else() {
    let upstream = Upstream::saying("hello");
    let gateway = Gateway::before(&upstream);
    let mut bystander = gateway.connect();
    assert_eq!(bystander.exchange(get("/")).status, 200);
    let noise = pattern(20_000);
    for start in (0..noise.len()).step_by(500) {
        let mut client = gateway.connect();
        let rest = client.send(&noise[start..start + 500]).finish().rest();
        assert!(rest.is_empty() || rest.starts_with(b"HTTP/1.1 4") || rest.starts_with(b"HTTP/1.1 5"));
    }
    // A TLS client on the plain port.
    let rest = gateway.connect().send(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03").finish().rest();
    assert!(rest.is_empty() || rest.starts_with(b"HTTP/1.1 400 "));
    assert_eq!(bystander.exchange(get("/")).status, 200);
    assert_eq!(upstream.seen().len(), 2);
}

#[test]
fn a_request_that_ends_in_the_middle_is_not_passed_on_as_whole() {
    let upstream = Upstream::saying("hello");
    let gateway = Gateway::before(&upstream);
    for part in [
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhalf",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
    ] {
        let mut client = gateway.connect();
        let rest = client.send(part).finish().rest();
        let text = String::from_utf8_lossy(&rest);
        assert!(text.is_empty() || text.starts_with("HTTP/1.1 4"), "{text}");
    }
    assert!(upstream.seen().is_empty());
}

#[test]
fn what_cannot_become_a_request_is_refused_at_its_first_byte() {
    let config = serde_json::json!({"nginx_config": {"http": {"client_header_timeout": "60s"}}});
    let gateway = Gateway::start_with(&Setup::with(config));
    for bytes in [&b"\x16\x03\x01\x02"[..], b"\0", b" GET / HTTP/1.1", b"\nGET"] {
        // The client keeps its side open and waits: no time-out is needed to see that this is none.
        let rest = gateway.connect().send(bytes).rest();
        assert!(rest.starts_with(b"HTTP/1.1 400 "), "{bytes:?}: {}", String::from_utf8_lossy(&rest));
    }
}
