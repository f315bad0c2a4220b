//! Bodies in both directions: every framing, large ones in bounded memory, responses that have none.

use std::time::Duration;

use crate::support::client::get;
use crate::support::message::Framing;
use crate::support::upstream::{Answers, in_chunks, ok, raw};
use crate::support::{Gateway, Setup, Step, Upstream, pattern, wait_for};

/// Bytes of a large body.
const LARGE: usize = 10 * 1024 * 1024;
/// Resident memory that a large body may add: relay buffers, and a huge page for each core where the kernel gives them (2 MiB each).
/// The body itself would show.
const GROWTH_BYTES: u64 = 8 * 1024 * 1024;

fn post(path: &str, length: usize) -> String {
    format!("POST {path} HTTP/1.1\r\nHost: test\r\nContent-Length: {length}\r\n\r\n")
}

const POST_CHUNKED: &str = "POST /up HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n";

#[test]
fn a_body_with_a_length_arrives_as_it_was_sent() {
    let upstream = Upstream::start(|request| ok(&request.body));
    let gateway = Gateway::before(&upstream);
    let mut client = gateway.connect();
    for length in [0, 1, 100, 65_535, 65_536, 65_537, 300_000] {
        let body = pattern(length);
        let response = client.exchange([post("/up", length).as_bytes(), &body].concat());
        assert_eq!((response.status, response.framing), (200, Framing::Length));
        assert!(response.body == body, "{length} bytes came back as {}", response.body.len());
    }
    assert!(upstream.seen().iter().all(|request| request.framing == Framing::Length));
    assert_eq!(upstream.connections(), 1);
}

#[test]
fn a_chunked_body_arrives_whole_whatever_its_chunks() {
    let upstream = Upstream::start(|request| ok(&request.body));
    let gateway = Gateway::before(&upstream);
    let mut client = gateway.connect();
    for (length, size) in [(0, 1), (1, 1), (500, 1), (100_000, 7), (300_000, 65_536), (300_000, 300_000)] {
        let body = pattern(length);
        let response = client.exchange([POST_CHUNKED.as_bytes(), &in_chunks(&body, size)].concat());
        assert_eq!(response.status, 200);
        assert!(response.body == body, "{length} bytes in chunks of {size} came back as {}", response.body.len());
    }
}

#[test]
fn chunk_extensions_and_trailers_do_not_end_up_in_the_body() {
    let upstream = Upstream::start(|request| ok(&request.body));
    let gateway = Gateway::before(&upstream);
    let mut client = gateway.connect();
    client.send(POST_CHUNKED).send("5;a=b;c=\"d\"\r\nhello\r\n0;last\r\nX-Trailer: x\r\n\r\n");
    assert_eq!(client.response().text(), "hello");
    assert_eq!(client.exchange(get("/next")).status, 200, "the connection is still in step");
}

#[test]
fn trailers_go_on_to_a_client_that_gets_chunks_and_to_no_other() {
    let body = "3\r\nabc\r\n0\r\nX-Sum: 7\r\n\r\n";
    let upstream = Upstream::start(move |_| {
        let head = "HTTP/1.1 200 OK\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n";
        // The trailers come apart from the payload, and in two pieces.
        let (first, second) = body.split_at(body.len() - 9);
        let pause = Step::Pause(Duration::from_millis(20));
        vec![Step::Send([head, first].concat().into_bytes()), pause, Step::Send(second.as_bytes().to_vec())]
    });
    let gateway = Gateway::before(&upstream);
    let rest = gateway.connect().send("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").rest();
    let text = String::from_utf8_lossy(&rest);
    assert!(text.contains("\r\nTrailer: X-Sum\r\n") && text.ends_with(body), "{text}");
    let rest = gateway.connect().send("GET / HTTP/1.0\r\nHost: a\r\n\r\n").rest();
    let text = String::from_utf8_lossy(&rest);
    assert!(!text.contains("X-Sum") && text.ends_with("\r\n\r\nabc"), "{text}");
}

#[test]
fn a_chunked_response_arrives_whole_and_the_connection_goes_on() {
    let body = pattern(200_000);
    let sent = body.clone();
    let upstream = Upstream::start(move |_| {
        let head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
        vec![Step::Send(head), Step::Send(in_chunks(&sent, 1234))]
    });
    let gateway = Gateway::before(&upstream);
    let mut client = gateway.connect();
    for _ in 0..3 {
        let response = client.exchange(get("/down"));
        assert_eq!(response.framing, Framing::Chunked);
        assert!(response.body == body);
    }
    assert_eq!(upstream.connections(), 1);
}

#[test]
fn a_response_that_ends_with_its_connection_arrives_whole_and_the_clients_connection_goes_on() {
    let body = pattern(200_000);
    let sent = body.clone();
    let upstream = Upstream::start(move |_| {
        vec![Step::Send(b"HTTP/1.1 200 OK\r\n\r\n".to_vec()), Step::Send(sent.clone()), Step::Close]
    });
    let gateway = Gateway::before(&upstream);
    let mut client = gateway.connect();
    for _ in 0..3 {
        let response = client.exchange(get("/down"));
        assert_eq!(response.framing, Framing::Chunked, "its end must be told from a cut");
        assert!(response.body == body);
    }
}

#[test]
fn the_first_part_of_a_response_is_passed_on_before_the_last_one_exists() {
    let upstream = Upstream::start(|_| {
        let first = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfirst".to_vec();
        vec![Step::Send(first), Step::Hang]
    });
    let gateway = Gateway::before(&upstream);
    let mut client = gateway.connect();
    client.send(get("/stream"));
    assert_eq!(client.response_head().status, 200);
    let mut body = Vec::new();
    while body.len() < 5 {
        body.extend(client.read_some(5).expect("the first half comes while the upstream hangs"));
    }
    assert_eq!(body, b"first");
}

#[test]
fn the_first_part_of_a_request_is_passed_on_before_the_last_one_exists() {
    let upstream = Upstream::start_with(Answers::Heads, |_| vec![Step::Hang]);
    let gateway = Gateway::before(&upstream);
    let mut client = gateway.connect();
    client.send(post("/up", 1_000_000)).send([b'a'; 1000]);
    wait_for("the head reaches the upstream", || (!upstream.seen().is_empty()).then_some(()));
}

#[test]
fn large_bodies_pass_both_ways_in_bounded_memory() {
    let upstream = Upstream::start(|request| match request.framing {
        Framing::Chunked => {
            let head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
            vec![Step::Send(head), Step::Send(in_chunks(&request.body, 50_000))]
        }
        _ => ok(&request.body),
    });
    let gateway = Gateway::before(&upstream);
    let mut client = gateway.connect();
    // What is taken once, on the first exchange, is not the body's.
    client.exchange([post("/up", 200_000).as_bytes(), &pattern(200_000)].concat());
    let before = gateway.resident_bytes();
    let body = pattern(LARGE);
    let chunked = [POST_CHUNKED.as_bytes(), &in_chunks(&body, 50_000)].concat();
    for request in [[post("/up", LARGE).as_bytes(), &body].concat(), chunked] {
        let response = client.exchange(request);
        assert!(response.body == body, "{} bytes came back", response.body.len());
        let grown = gateway.resident_bytes().saturating_sub(before);
        assert!(grown < GROWTH_BYTES, "resident memory grew by {grown} bytes");
    }
}

#[test]
fn a_client_that_does_not_read_makes_the_upstream_wait() {
    const MUCH: usize = 64 * 1024 * 1024;
    let upstream = Upstream::start(|_| {
        let mut steps = raw(format!("HTTP/1.1 200 OK\r\nContent-Length: {MUCH}\r\n\r\n"));
        steps.extend((0..MUCH / LARGE.min(1 << 20)).map(|_| Step::Send(vec![b'a'; 1 << 20])));
        steps
    });
    let gateway = Gateway::before(&upstream);
    let mut first = gateway.connect();
    first.send(get("/much"));
    assert_eq!(first.response_head().status, 200);
    let before = gateway.resident_bytes();
    // Nothing is read for a while: what the gateway took in by then is what it holds.
    let mut most = before;
    for _ in 0..20 {
        std::thread::sleep(Duration::from_millis(25));
        most = most.max(gateway.resident_bytes());
    }
    assert!(most - before < GROWTH_BYTES, "resident memory grew by {} bytes", most - before);
    let mut got = 0;
    while got < MUCH {
        let piece = first.read_some(1 << 20).expect("the rest comes when it is read");
        assert!(!piece.is_empty(), "closed after {got} bytes");
        got += piece.len();
    }
}

#[test]
fn responses_without_a_body_leave_the_connection_in_step() {
    let upstream = Upstream::start(|request| match request.target.as_str() {
        "/204" => raw("HTTP/1.1 204 No Content\r\n\r\n"),
        "/304" => raw("HTTP/1.1 304 Not Modified\r\nContent-Length: 100\r\nETag: \"a\"\r\n\r\n"),
        "/304-chunked" => raw("HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n"),
        _ => ok("hello"),
    });
    let gateway = Gateway::before(&upstream);
    let mut client = gateway.connect();
    for (path, status) in [("/204", 204), ("/304", 304), ("/304-chunked", 304), ("/", 200)] {
        assert_eq!(client.exchange(get(path)).status, status);
        assert_eq!(client.exchange(get("/")).text(), "hello", "after {path}");
    }
    assert_eq!(upstream.connections(), 1);
}

#[test]
fn a_response_to_head_has_the_headers_of_a_body_and_none() {
    let upstream = Upstream::start(|request| match (request.method.as_str(), request.target.as_str()) {
        ("HEAD", "/chunked") => raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
        ("HEAD", _) => raw("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"),
        _ => ok("hello"),
    });
    let gateway = Gateway::before(&upstream);
    let mut client = gateway.connect();
    let head = client.send("HEAD / HTTP/1.1\r\nHost: test\r\n\r\n").response_to_head();
    assert_eq!((head.status, head.headers.one("content-length")), (200, Some("5")));
    assert_eq!(client.exchange(get("/")).text(), "hello");
    assert_eq!(client.send("HEAD /chunked HTTP/1.1\r\nHost: test\r\n\r\n").response_to_head().status, 200);
    assert_eq!(client.exchange(get("/")).text(), "hello");
    assert_eq!(upstream.connections(), 1);
}

#[test]
fn interim_responses_come_before_the_final_one() {
    let upstream = Upstream::start(|_| {
        raw("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")
    });
    let gateway = Gateway::before(&upstream);
    let mut client = gateway.connect();
    for _ in 0..2 {
        let mut response = client.exchange(get("/"));
        // Passing an interim response on is allowed, not asked for (RFC 9110 §15.2).
        if response.status == 103 {
            response = client.response();
        }
        assert_eq!((response.status, response.text().as_str()), (200, "hello"));
    }
}

#[test]
fn a_client_that_waits_for_100_continue_is_not_left_waiting() {
    let upstream = Upstream::start(|request| ok(&request.body));
    let gateway = Gateway::before(&upstream);
    let mut client = gateway.connect();
    client.send("POST / HTTP/1.1\r\nHost: test\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n");
    assert_eq!(client.response_head().status, 100);
    assert_eq!(client.exchange("hello").text(), "hello");
}

#[test]
fn a_response_that_is_cut_cuts_the_client() {
    let lengths = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this";
    let chunks = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nonly this\r\n";
    for (what, start) in [("length", lengths), ("chunks", chunks)] {
        for end in [Step::Close, Step::Reset] {
            // A reset may overtake what was sent before it: give the relay time to pass it on.
            let steps = vec![Step::Send(start.into()), Step::Pause(Duration::from_millis(200)), end.clone()];
            let upstream = Upstream::start(move |_| steps.clone());
            let gateway = Gateway::before(&upstream);
            let mut client = gateway.connect();
            let bytes = client.send(get("/")).rest();
            let text = String::from_utf8_lossy(&bytes);
            assert!(text.starts_with("HTTP/1.1 200 "), "{what} {end:?}: {text}");
            assert!(text.contains("only this"), "{what} {end:?}: {text}");
            assert!(!text.ends_with("0\r\n\r\n"), "{what} {end:?}: a cut must not look like an end");
        }
    }
}

#[test]
fn a_client_that_goes_away_takes_its_request_to_the_upstream_with_it() {
    let upstream = Upstream::start(|_| vec![Step::Hang]);
    let gateway = Gateway::before(&upstream);
    let mut client = gateway.connect();
    client.send(get("/"));
    wait_for("the request reaches the upstream", || (upstream.open() == 1).then_some(()));
    drop(client);
    wait_for("the upstream's connection is given up", || (upstream.open() == 0).then_some(()));
}

#[test]
fn an_answer_before_the_end_of_the_body_leaves_the_clients_connection_in_step() {
    let upstream = Upstream::start_with(Answers::Heads, |_| ok("no need"));
    let gateway = Gateway::before(&upstream);
    let mut client = gateway.connect();
    for number in 0..3 {
        client.send(post(&format!("/{number}"), 300_000));
        assert_eq!(client.response().text(), "no need");
        // The rest comes after the answer, and the next request right behind it.
        client.send(pattern(300_000));
    }
    client.send(get("/last"));
    assert_eq!(client.response().text(), "no need");
    let paths: Vec<_> = upstream.seen().iter().map(|request| request.target.clone()).collect();
    assert_eq!(paths, ["/0", "/1", "/2", "/last"]);
}

#[test]
fn a_small_body_that_did_not_fit_behind_its_head_goes_up_with_it() {
    let upstream = Upstream::start(|request| ok(&request.body));
    let gateway = Gateway::before(&upstream);
    let mut client = gateway.connect();
    for length in [1, 400, 513, 2_000, 9_000, 20_000] {
        let body = pattern(length);
        client.send([post("/", length).as_bytes(), &body].concat());
        assert_eq!(client.response().body, body);
    }
    assert_eq!(upstream.connections(), 1);
}

#[test]
fn an_upstream_may_pause_for_longer_than_a_client_may_take_to_read() {
    let upstream = Upstream::start(|_| {
        let first = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfirst".to_vec();
        vec![Step::Send(first), Step::Pause(Duration::from_millis(2_500)), Step::Send(b"later".to_vec())]
    });
    let config = serde_json::json!({"nginx_config": {"http": {"send_timeout": "1s"}}});
    let gateway = Gateway::start_with(&Setup::with(config));
    gateway.admin().route("all", "/*", &[(&upstream.node(), 1)]);
    assert_eq!(gateway.connect().exchange(get("/stream")).text(), "firstlater");
}

#[test]
fn an_upstream_that_dies_during_a_long_upload_is_a_502_and_no_reset() {
    let upstream = Upstream::start_with(Answers::Heads, |_| vec![Step::Reset]);
    let gateway = Gateway::before(&upstream);
    let mut client = gateway.connect();
    client.send(post("/up", 1_000_000)).send([b'a'; 1000]);
    // The client is slow and still means to send the rest.
    assert_eq!(client.response_head().status, 502);
}
