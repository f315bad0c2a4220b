//! Bodies in entries (APISIX-COMPAT §2.7): which, how much of them, decoded for the log and never for the client.

use std::io::Write;
use std::sync::atomic::{AtomicUsize, Ordering};

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};

use crate::Logged;
use crate::support::client::{Client, get};
use crate::support::message::Framing;
use crate::support::upstream::{in_chunks, ok};
use crate::support::{Setup, Step, Upstream, pattern};

fn echo() -> Upstream {
    Upstream::start(|request| ok(&request.body))
}

fn post(client: &mut Client, path: &str, body: &[u8]) {
    let mut request = format!("POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", body.len()).into_bytes();
    request.extend_from_slice(body);
    let response = client.exchange(request);
    assert_eq!((response.status, response.body.as_slice()), (200, body), "the client's stream is untouched");
}

/// Request and response body of each entry, in the order of the requests.
fn bodies(logged: Logged) -> Vec<(Value, Value)> {
    let body = |message: &Value| message.get("body").cloned().unwrap_or(json!("(absent)"));
    logged.finish_entries().iter().map(|entry| (body(&entry["request"]), body(&entry["response"]))).collect()
}

#[test]
fn bodies_are_absent_unless_asked_for() {
    let logged = Logged::on(&Setup::default(), echo(), &json!({}));
    post(&mut logged.gateway.connect(), "/", b"secret");
    assert_eq!(bodies(logged), [(json!("(absent)"), json!("(absent)"))]);
}

#[test]
fn bodies_are_cut_at_their_own_limits() {
    let plugin = json!({"include_req_body": true, "max_req_body_bytes": 3, "include_resp_body": true,
                        "max_resp_body_bytes": 5, "key": "k"});
    let logged = Logged::on(&Setup::default(), echo(), &plugin);
    let mut client = logged.gateway.connect();
    for body in [&b"ab"[..], b"abc", b"abcd", b"abcde", b"abcdef"] {
        post(&mut client, "/", body);
    }
    let pair = |request: &str, response: &str| (json!(request), json!(response));
    assert_eq!(
        bodies(logged),
        [pair("ab", "ab"), pair("abc", "abc"), pair("abc", "abcd"), pair("abc", "abcde"), pair("abc", "abcde")]
    );
}

#[test]
fn without_a_limit_half_a_mebibyte_is_kept() {
    let plugin = json!({"include_req_body": true, "include_resp_body": false, "compression": "lz4"});
    let logged = Logged::on(&Setup::default(), echo(), &plugin);
    post(&mut logged.gateway.connect(), "/", &b"0123456789".repeat(60_000));
    let (request, _) = bodies(logged).remove(0);
    assert_eq!(request.as_str().map(str::len), Some(524_288));
}

#[test]
fn expressions_choose_whose_bodies_are_logged() {
    let plugin = json!({
        "include_req_body": true, "include_req_body_expr": [["arg_request", "==", "yes"]],
        "include_resp_body": true, "include_resp_body_expr": [["status", "==", 200], ["arg_response", "==", "yes"]],
        "key": "k",
    });
    let logged = Logged::on(&Setup::default(), echo(), &plugin);
    let mut client = logged.gateway.connect();
    for path in ["/", "/?request=yes", "/?response=yes", "/?request=yes&response=yes"] {
        post(&mut client, path, b"text");
    }
    let (text, none) = (json!("text"), json!("(absent)"));
    assert_eq!(
        bodies(logged),
        [
            (none.clone(), none.clone()),
            (text.clone(), none.clone()),
            (none.clone(), text.clone()),
            (text.clone(), text)
        ]
    );
}

#[test]
fn chunked_bodies_are_logged_without_their_framing() {
    let upstream = Upstream::start(|request| {
        let head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
        vec![Step::Send(head), Step::Send(in_chunks(&request.body, 7))]
    });
    let logged = Logged::on(&Setup::default(), upstream, &json!({"include_req_body": true, "include_resp_body": true}));
    let text = "in chunks of three, answered in chunks of seven";
    let mut request = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    request.extend_from_slice(&in_chunks(text.as_bytes(), 3));
    let response = logged.gateway.connect().exchange(request);
    assert_eq!((response.text().as_str(), response.framing), (text, Framing::Chunked));
    assert_eq!(bodies(logged), [(json!(text), json!(text))]);
}

#[test]
fn a_large_response_streams_whole_while_its_beginning_is_logged() {
    let body = pattern(3_000_000);
    let whole = body.clone();
    let upstream = Upstream::start(move |_| {
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
        vec![Step::Send(head.into_bytes()), Step::Send(b"beginning ".to_vec()), Step::Send(body[10..].to_vec())]
    });
    let logged = Logged::on(&Setup::default(), upstream, &json!({"include_resp_body": true, "max_resp_body_bytes": 9}));
    let response = logged.gateway.get("/");
    assert_eq!((response.body.len(), response.body[10..] == whole[10..]), (3_000_000, true));
    assert_eq!(bodies(logged), [(json!("(absent)"), json!("beginning"))]);
}

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text).expect("memory");
    encoder.finish().expect("memory")
}

/// An upstream that answers everything with this gzip stream.
fn coded(stream: Vec<u8>) -> Upstream {
    Upstream::start(move |_| {
        let head = format!("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {}\r\n\r\n", stream.len());
        vec![Step::Send(head.into_bytes()), Step::Send(stream.clone())]
    })
}

#[test]
fn a_gzip_response_is_decoded_for_the_log_and_not_for_the_client() {
    let stream = gzip("text with \"quotes\" and é".repeat(100).as_bytes());
    let logged = Logged::on(&Setup::default(), coded(stream.clone()), &json!({"include_resp_body": true}));
    let response = logged.gateway.get("/");
    assert_eq!((response.body, response.headers.one("content-encoding")), (stream, Some("gzip")));
    let entry = logged.only_entry();
    assert_eq!(entry["response"]["body"], "text with \"quotes\" and é".repeat(100));
    assert_eq!(entry["response"]["headers"]["content-encoding"], "gzip");
}

#[test]
fn a_gzip_response_that_was_cut_is_logged_as_it_is() {
    let stream = gzip(&pattern(4_000));
    let plugin = json!({"include_resp_body": true, "max_resp_body_bytes": 100});
    let logged = Logged::on(&Setup::default(), coded(stream.clone()), &plugin);
    assert_eq!(logged.gateway.get("/").body, stream);
    let entry = logged.only_entry();
    assert_eq!(entry["response"]["body"], String::from_utf8_lossy(&stream[..100]).into_owned());
}

#[test]
fn formats_name_bodies_as_variables() {
    let plugin = json!({
        "log_format": {"request": "$request_body", "response": "$resp_body"},
        "include_resp_body": true, "max_req_body_bytes": 4, "key": "k",
    });
    let logged = Logged::on(&Setup::default(), echo(), &plugin);
    let mut client = logged.gateway.connect();
    post(&mut client, "/", b"123456");
    assert_eq!(client.exchange(get("/")).status, 200);
    let entries = logged.finish_entries();
    assert_eq!(entries.len(), 2);
    assert_eq!(entries[0], json!({"request": "1234", "response": "123456", "route_id": "r1"}));
    assert!(entries[1].get("request").is_none(), "a request without a body: {}", entries[1]);
}

#[test]
fn a_body_that_was_sent_twice_to_the_upstream_is_logged_once() {
    let count = AtomicUsize::new(0);
    // The second request on the first connection meets its end and is sent once more on another.
    let upstream = Upstream::start(move |request| match count.fetch_add(1, Ordering::Relaxed) {
        1 => vec![Step::Close],
        _ => ok(&request.body),
    });
    let logged = Logged::on(&Setup::default(), upstream, &json!({"include_req_body": true, "key": "k"}));
    let mut client = logged.gateway.connect();
    for body in ["first", "second"] {
        let request = format!("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        assert_eq!(client.exchange(request).text(), body);
    }
    assert_eq!(logged.upstream.connections(), 2);
    let requests: Vec<_> = bodies(logged).into_iter().map(|(request, _)| request).collect();
    assert_eq!(requests, [json!("first"), json!("second")]);
}
