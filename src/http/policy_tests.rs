//! Cases of `http::policy`, table by table.

use std::cell::RefCell;

use super::*;
use crate::http::limits::HeadLimits;
use crate::http::message::Method;
use crate::http::response::{Asked, parse_response, recall_response};

const PEER: Peer<'static> =
    Peer { remote_addr: b"10.0.0.9", scheme: b"http", port: b"9080", trust: PeerTrust::Unconfigured };

fn request(text: &str) -> RequestHead {
    let mut head = RequestHead::default();
    assert_eq!(parse_request(text.as_bytes(), &HeadLimits::default(), &mut head), Ok(Parsed::Complete), "{text:?}");
    head
}

struct Way {
    peer: Peer<'static>,
    host: HostHeader<'static>,
    upgrade: Upgrade,
    target: Option<&'static [u8]>,
    via: Option<&'static [u8]>,
}

impl Default for Way {
    fn default() -> Self {
        let host = HostHeader::Pass { fallback: b"node:81" };
        Self { peer: PEER, host, upgrade: Upgrade::Drop, target: None, via: None }
    }
}

/// What goes upstream; it must itself be a good request with the same body.
fn forwarded_head(text: &str, way: &Way) -> String {
    let head = request(text);
    let bytes = text.as_bytes();
    let forwarded = forwarded(bytes, &head, &way.peer);
    let Way { peer, host, upgrade, target, via } = *way;
    let mut out = Vec::new();
    write_request(&mut out, bytes, &head, &Forward { host, peer, forwarded, upgrade, target, via });
    for other in [Upgrade::WebSocket, upgrade, upgrade] {
        recalled_head(bytes, &Forward { host, peer, forwarded, upgrade: other, target, via });
        let again = recalled_head(bytes, &Forward { host, peer, forwarded, upgrade, target, via });
        assert_eq!(again.escape_ascii().to_string(), out.escape_ascii().to_string());
    }
    let written = String::from_utf8(out).unwrap();
    let again = request(&written);
    assert_eq!((again.body, again.len, again.keep_alive), (head.body, written.len(), true), "{written}");
    written
}

thread_local! {
    static REQUESTS: RefCell<Recall<RequestHead>> = RefCell::default();
    static RESPONSES: RefCell<Recall<ResponseHead>> = RefCell::default();
}

/// The same where the lines came before: by another client, for another upgrade, behind another request line.
fn recalled_head(bytes: &[u8], forward: &Forward<'_>) -> Vec<u8> {
    let limits = HeadLimits::default();
    let mut recalled = Recalled::default();
    for _ in 0..3 {
        let mut head = RequestHead::default();
        REQUESTS.with_borrow_mut(|recall| recall_request(bytes, &limits, &mut head, recall, &mut recalled)).unwrap();
    }
    let mut head = RequestHead::default();
    REQUESTS.with_borrow_mut(|recall| recall_request(bytes, &limits, &mut head, recall, &mut recalled)).unwrap();
    assert_eq!(
        recalled.known().is_some(),
        head.form == TargetForm::Origin && head.max_forwards.is_none() && !head.fields.is_empty()
    );
    let mut out = Vec::new();
    write_recalled_request(&mut out, bytes, &head, forward, &recalled);
    out
}

fn lines(written: &str) -> Vec<&str> {
    written.trim_end().split("\r\n").collect()
}

#[test]
fn a_plain_request_goes_upstream_with_our_fields() {
    let text =
        "GET /a%20b?c HTTP/1.1\r\nhost: Ex.com:80\r\nUser-Agent: curl\r\nX_Custom: 1\r\nConnection: close\r\n\r\n";
    assert_eq!(
        forwarded_head(text, &Way::default()),
        "GET /a%20b?c HTTP/1.1\r\nHost: Ex.com:80\r\nX-Real-IP: 10.0.0.9\r\nX-Forwarded-For: 10.0.0.9\r\n\
         X-Forwarded-Proto: http\r\nX-Forwarded-Host: Ex.com:80\r\nX-Forwarded-Port: 80\r\nUser-Agent: curl\r\n\
         X_Custom: 1\r\n\r\n"
    );
}

#[test]
fn hop_by_hop_and_nominated_fields_stay_here() {
    let text = "GET / HTTP/1.1\r\nHost: a\r\nConnection: X-Secret, keep-alive\r\nconnection: x-other\r\nX-Secret: 1\r\n\
                X-OTHER: 2\r\nKeep-Alive: timeout=5\r\nTE: trailers\r\nTrailer: X\r\nProxy-Connection: keep-alive\r\n\
                Upgrade: h2c\r\nHTTP2-Settings: AAAA\r\nExpect: 100-continue\r\nX-Kept: 3\r\n\r\n";
    let written = forwarded_head(text, &Way::default());
    let expected = [
        "GET / HTTP/1.1",
        "Host: a",
        "X-Real-IP: 10.0.0.9",
        "X-Forwarded-For: 10.0.0.9",
        "X-Forwarded-Proto: http",
        "X-Forwarded-Host: a",
        "X-Forwarded-Port: 9080",
        "X-Kept: 3",
    ];
    assert_eq!(lines(&written), expected);
}

#[test]
fn nominating_what_we_write_changes_nothing() {
    let text = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nConnection: host, content-length, x-real-ip\r\n\r\n";
    let written = forwarded_head(text, &Way::default());
    assert!(written.contains("\r\nHost: a\r\n") && written.contains("\r\nContent-Length: 3\r\n"));
    assert!(written.contains("\r\nX-Real-IP: 10.0.0.9\r\n"));
}

#[test]
fn framing_is_written_anew() {
    let framed = |lines: &str| {
        let written = forwarded_head(&format!("POST / HTTP/1.1\r\nHost: a\r\n{lines}\r\n"), &Way::default());
        let lower = written.to_ascii_lowercase();
        (lower.matches("content-length: ").count(), lower.matches("transfer-encoding: chunked\r\n").count())
    };
    assert_eq!(framed("content-length: 007\r\n"), (1, 0));
    assert_eq!(framed("Content-Length: 0\r\n"), (1, 0));
    assert_eq!(framed("transfer-encoding: CHUNKED\r\n"), (0, 1));
    assert_eq!(framed(""), (0, 0));
    let text = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n";
    assert!(forwarded_head(text, &Way::default()).contains("Trailer: X-Sum\r\n"));
}

#[test]
fn the_target_goes_upstream_in_origin_form() {
    for (line, target) in [
        ("GET http://x.example:81/p?q HTTP/1.1", "GET /p?q HTTP/1.1"),
        ("GET http://x.example HTTP/1.1", "GET / HTTP/1.1"),
        ("GET http://x.example?q HTTP/1.1", "GET /?q HTTP/1.1"),
        ("OPTIONS * HTTP/1.1", "OPTIONS * HTTP/1.1"),
        ("OPTIONS http://x.example HTTP/1.1", "OPTIONS * HTTP/1.1"),
        ("GET //a/../%2e? HTTP/1.0", "GET //a/../%2e? HTTP/1.1"),
    ] {
        let written = forwarded_head(&format!("{line}\r\nHost: h\r\n\r\n"), &Way::default());
        assert_eq!(lines(&written)[0], target, "{line}");
        let host = if line.contains("x.example:81") {
            "Host: x.example:81"
        } else if line.contains("x.example") {
            "Host: x.example"
        } else {
            "Host: h"
        };
        assert_eq!(lines(&written)[1], host, "{line}");
    }
    let rewritten = Way { target: Some(b"/new?x"), ..Way::default() };
    assert!(forwarded_head("GET /old HTTP/1.1\r\nHost: a\r\n\r\n", &rewritten).starts_with("GET /new?x HTTP/1.1\r\n"));
}

#[test]
fn host_goes_as_pass_host_says() {
    let text = "GET / HTTP/1.1\r\nHost: a:1\r\n\r\n";
    let set = Way { host: HostHeader::Set(b"node.example"), ..Way::default() };
    let written = forwarded_head(text, &set);
    assert!(written.contains("\r\nHost: node.example\r\n") && written.contains("\r\nX-Forwarded-Host: a:1\r\n"));
    let written = forwarded_head("GET / HTTP/1.0\r\n\r\n", &Way::default());
    assert!(written.contains("\r\nHost: node:81\r\n") && !written.contains("X-Forwarded-Host"));
}

#[test]
fn forwarding_fields_follow_the_trust_in_the_peer() {
    let text = "GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 1.1.1.1\r\nX-Real-IP: 6.6.6.6\r\nX-Forwarded-For: 2.2.2.2\r\n\
                X-Forwarded-Proto: https\r\nX-Forwarded-Host: b\r\nX-Forwarded-Port: 443\r\nForwarded: for=1.1.1.1\r\n\
                X_Forwarded_For: 9.9.9.9\r\nx_real-ip: 9.9.9.9\r\n\r\n";
    for (trust, chain, proto, host, port, standard) in [
        (PeerTrust::Unconfigured, "1.1.1.1, 2.2.2.2, 10.0.0.9", "http", "a", "9080", false),
        (PeerTrust::Trusted, "1.1.1.1, 2.2.2.2, 10.0.0.9", "https", "b", "443", true),
        (PeerTrust::Untrusted, "10.0.0.9", "http", "a", "9080", false),
    ] {
        let written = forwarded_head(text, &Way { peer: Peer { trust, ..PEER }, ..Way::default() });
        let mut expected = vec![
            "GET / HTTP/1.1".to_owned(),
            "Host: a".to_owned(),
            "X-Real-IP: 10.0.0.9".to_owned(),
            format!("X-Forwarded-For: {chain}"),
            format!("X-Forwarded-Proto: {proto}"),
            format!("X-Forwarded-Host: {host}"),
            format!("X-Forwarded-Port: {port}"),
        ];
        if standard {
            expected.push("Forwarded: for=1.1.1.1".to_owned());
        }
        assert_eq!(lines(&written), expected, "{trust:?}");
    }
}

#[test]
fn a_websocket_passes_only_where_it_may_and_h2c_never() {
    let ask = |protocol: &str| {
        format!(
            "GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: {protocol}\r\n\
             Sec-WebSocket-Key: k\r\n\r\n"
        )
    };
    let open = Way { upgrade: Upgrade::WebSocket, ..Way::default() };
    let written = forwarded_head(&ask("WebSocket"), &open);
    assert!(written.contains("\r\nConnection: upgrade\r\nUpgrade: websocket\r\n"));
    assert!(written.contains("\r\nSec-WebSocket-Key: k\r\n"));
    for (protocol, way) in [("websocket", &Way::default()), ("h2c", &open), ("websocket, h2c", &open)] {
        assert!(!forwarded_head(&ask(protocol), way).to_ascii_lowercase().contains("upgrade"), "{protocol}");
    }
}

#[test]
fn via_is_added_only_when_asked_for() {
    let text = "GET / HTTP/1.0\r\nHost: a\r\nVia: 1.1 first\r\n\r\n";
    assert!(forwarded_head(text, &Way::default()).ends_with("Via: 1.1 first\r\n\r\n"));
    let named = Way { via: Some(b"tollgate"), ..Way::default() };
    assert!(forwarded_head(text, &named).ends_with("Via: 1.1 first\r\nVia: 1.0 tollgate\r\n\r\n"));
}

fn response(text: &str, asked: Asked) -> ResponseHead {
    let mut head = ResponseHead::default();
    assert_eq!(
        parse_response(text.as_bytes(), &HeadLimits::default(), asked, &mut head),
        Ok(Parsed::Complete),
        "{text:?}"
    );
    head
}

/// What is sent where the same head came before.
fn recalled_answer(bytes: &[u8], asked: Asked, respond: &Respond<'_>) -> (Vec<u8>, Fields) {
    let limits = HeadLimits::default();
    let (mut recalled, mut head) = (Recalled::default(), ResponseHead::default());
    for _ in 0..4 {
        head.clear();
        RESPONSES
            .with_borrow_mut(|recall| recall_response(bytes, &limits, asked, &mut head, recall, &mut recalled))
            .unwrap();
    }
    assert!(recalled.known().is_some());
    let (mut out, mut sent) = (Vec::new(), Fields::default());
    write_recalled_response(&mut out, bytes, &head, respond, &mut sent, &recalled);
    (out, sent)
}

const GET: Asked = Asked { method: Method::Get, upgrade: false };
const HEAD: Asked = Asked { method: Method::Head, upgrade: false };

/// What a client of `version` that wants to keep its connection is sent.
fn answered(text: &str, asked: Asked, version: Version, upstream_status: Option<&[u8]>) -> String {
    let head = response(text, asked);
    let framing = frame_response(&head, version, true, asked.method == Method::Head);
    let respond = Respond { server: b"APISIX", date: b"D", upstream_status, framing, via: None };
    let (mut out, mut sent) = (Vec::new(), Fields::default());
    write_response(&mut out, text.as_bytes(), &head, &respond, &mut sent);
    for keep_alive in [false, true, true] {
        let other = Respond { framing: ResponseFraming { keep_alive, ..framing }, date: b"later", ..respond };
        recalled_answer(text.as_bytes(), asked, &other);
        let (recalled, places) = recalled_answer(text.as_bytes(), asked, &respond);
        assert_eq!(String::from_utf8_lossy(&recalled), String::from_utf8_lossy(&out));
        assert_eq!(places.as_slice(), sent.as_slice());
    }
    let again = response(std::str::from_utf8(&out).unwrap(), asked);
    assert_eq!(again.len, out.len());
    assert_eq!(again.fields.as_slice(), sent.as_slice(), "sent names every line where it lies");
    String::from_utf8(out).unwrap()
}

#[test]
fn a_response_goes_to_the_client_with_our_fields() {
    let text = "HTTP/1.1 200 Fine\r\nserver: nginx\r\nDate: Mon\r\nContent-Type: a/b\r\nSet-Cookie: a\r\nSet-Cookie: b\r\n\
                X-Accel-Redirect: /x\r\nX-Pad: y\r\nConnection: close, X-Hop\r\nX-Hop: z\r\nKeep-Alive: 5\r\n\
                Proxy-Connection: close\r\nTE: x\r\nUpgrade: h2c\r\nTrailer: T\r\nContent-Length: 03\r\n\r\n";
    assert_eq!(
        answered(text, GET, Version::Http11, None),
        "HTTP/1.1 200 Fine\r\nServer: APISIX\r\nDate: Mon\r\nContent-Type: a/b\r\nSet-Cookie: a\r\nSet-Cookie: b\r\n\
         Content-Length: 3\r\nConnection: keep-alive\r\n\r\n"
    );
}

#[test]
fn the_client_is_framed_by_what_it_understands() {
    let chunked = "HTTP/1.1 200 OK\r\nDate: D\r\nTransfer-Encoding: chunked\r\nTrailer: T\r\n\r\n";
    let until_close = "HTTP/1.0 200 OK\r\nDate: D\r\n\r\n";
    let start = "HTTP/1.1 200 OK\r\nServer: APISIX\r\nDate: D\r\n";
    let streamed = "Transfer-Encoding: chunked\r\nConnection: keep-alive\r\n\r\n";
    for (text, asked, version, expected) in [
        (chunked, GET, Version::Http11, format!("{start}Trailer: T\r\n{streamed}")),
        (chunked, GET, Version::Http10, format!("{start}Connection: close\r\n\r\n")),
        (chunked, HEAD, Version::Http11, format!("{start}Connection: keep-alive\r\n\r\n")),
        (until_close, GET, Version::Http11, format!("{start}{streamed}")),
        (until_close, GET, Version::Http10, format!("{start}Connection: close\r\n\r\n")),
    ] {
        assert_eq!(answered(text, asked, version, None), expected);
    }
}

#[test]
fn framing_decisions_keep_the_connection_only_when_the_end_is_clear() {
    for (text, version, body, keep_alive) in [
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\n",
            Version::Http10,
            SentBody::Length(3),
            true,
        ),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", Version::Http11, SentBody::Chunked, true),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", Version::Http10, SentBody::Close, false),
        ("HTTP/1.1 200 OK\r\n\r\n", Version::Http11, SentBody::Chunked, true),
        ("HTTP/1.1 204 No\r\n\r\n", Version::Http11, SentBody::None, true),
    ] {
        let head = response(text, GET);
        assert_eq!(frame_response(&head, version, true, false), ResponseFraming { body, keep_alive }, "{text:?}");
        assert!(!frame_response(&head, version, false, false).keep_alive);
    }
}

#[test]
fn a_bodiless_response_tells_the_length_it_may_tell() {
    let length = "Content-Length: 5\r\n";
    let head = |status: &str| format!("HTTP/1.1 {status}\r\n{length}\r\n");
    assert!(answered(&head("200 OK"), HEAD, Version::Http11, None).contains(length));
    assert!(answered(&head("304 Not Modified"), GET, Version::Http11, None).contains(length));
    assert!(!answered(&head("204 No Content"), GET, Version::Http11, None).contains("Content-Length"));
}

#[test]
fn date_and_upstream_status_are_added_when_due() {
    let text = "HTTP/1.1 502 Bad\r\nContent-Length: 0\r\nX-APISIX-Upstream-Status: 1\r\n\r\n";
    let written = answered(text, GET, Version::Http11, Some(b"502, 502"));
    assert!(written.contains("\r\nDate: D\r\nX-APISIX-Upstream-Status: 502, 502\r\n"));
    assert_eq!(written.matches("X-APISIX-Upstream-Status").count(), 1);
    assert!(answered(text, GET, Version::Http11, None).contains("X-APISIX-Upstream-Status: 1\r\n"));
}

#[test]
fn a_101_keeps_its_upgrade() {
    let asked = Asked { method: Method::Get, upgrade: true };
    let text = "HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: x\r\n\r\n";
    let written = answered(text, asked, Version::Http11, None);
    assert!(written.ends_with("Upgrade: websocket\r\nConnection: upgrade\r\n\r\n"));
    assert!(written.contains("Sec-WebSocket-Accept: x\r\n"));
}

#[test]
fn an_interim_response_passes_without_hop_by_hop_fields() {
    let text = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nConnection: x\r\nX: y\r\nServer: z\r\n\r\n";
    let head = response(text, GET);
    let mut out = Vec::new();
    write_interim(&mut out, text.as_bytes(), &head);
    assert_eq!(out, b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n");
}

#[test]
fn a_head_and_a_buffer_are_used_again() {
    let text = "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nX: y\r\n\r\n";
    let mut head = RequestHead::default();
    let mut out = Vec::with_capacity(1024);
    let place = out.as_ptr();
    for _ in 0..3 {
        head.clear();
        out.clear();
        assert_eq!(parse_request(text.as_bytes(), &HeadLimits::default(), &mut head), Ok(Parsed::Complete));
        let forwarded = forwarded(text.as_bytes(), &head, &PEER);
        let host = HostHeader::Set(b"n");
        let forward = Forward { host, peer: PEER, forwarded, upgrade: Upgrade::Drop, target: None, via: None };
        write_request(&mut out, text.as_bytes(), &head, &forward);
        assert_eq!(out.as_ptr(), place);
    }
}

#[test]
fn damaged_requests_are_forwarded_as_what_was_accepted() {
    let seeds: [&[u8]; 4] = [
        b"GET /a?b HTTP/1.1\r\nHost: a\r\nConnection: close, x\r\nX: y\r\n\r\n",
        b"POST http://a:1/ HTTP/1.1\r\nHost: b\r\nTransfer-Encoding: chunked\r\nX-Forwarded-For: 1\r\n\r\n",
        b"PUT /x HTTP/1.0\r\nContent-Length: 5\r\nUpgrade: websocket\r\nForwarded: x\r\n\r\nhello",
        b"OPTIONS http://a HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n",
    ];
    for seed in seeds {
        for at in 0..seed.len() {
            for &byte in b"\r\n :;,\0\t/?*#a1\xff\x7f" {
                let mut bytes = seed.to_vec();
                bytes[at] = byte;
                fuzz_forward(&bytes);
                bytes.insert(at, byte);
                fuzz_forward(&bytes);
                bytes.drain(at..(at + 2).min(bytes.len()));
                fuzz_forward(&bytes);
            }
        }
    }
}

#[test]
fn another_parser_reads_what_we_forward_the_same_way() {
    let text = "POST http://a:1/x?y HTTP/1.1\r\nHost: b\r\nTransfer-Encoding: chunked\r\nA:\r\nB:  c d \r\n\r\n";
    let written = forwarded_head(text, &Way::default());
    let mut fields = [httparse::EMPTY_HEADER; 32];
    let mut request = httparse::Request::new(&mut fields);
    assert_eq!(request.parse(written.as_bytes()), Ok(httparse::Status::Complete(written.len())));
    assert_eq!((request.method, request.path, request.version), (Some("POST"), Some("/x?y"), Some(1)));
    let ours = self::request(&written);
    let theirs: Vec<_> = request.headers.iter().map(|field| (field.name.as_bytes(), field.value)).collect();
    assert_eq!(theirs, ours.fields.iter(written.as_bytes()).collect::<Vec<_>>());
}
