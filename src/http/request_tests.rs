//! Cases of `http::request`, table by table.

use super::*;

fn parse(bytes: &[u8]) -> Result<RequestHead, Reject> {
    let mut head = RequestHead::default();
    match parse_request(bytes, &HeadLimits::default(), &mut head)? {
        Parsed::Complete => Ok(head),
        Parsed::Partial => panic!("partial: {}", bytes.escape_ascii()),
    }
}

fn status(bytes: &[u8]) -> u16 {
    parse(bytes).expect_err(&bytes.escape_ascii().to_string()).status
}

/// A request with these header lines after Host.
fn with_lines(lines: &str) -> Vec<u8> {
    format!("POST / HTTP/1.1\r\nHost: a\r\n{lines}\r\n").into_bytes()
}

#[test]
fn a_whole_head_gives_its_parts_and_its_length() {
    let bytes = b"POST /a%20b/?x=1&y HTTP/1.1\r\nHost: Example.com:9080\r\nX-Empty:\r\nX-Tab:\t v w \t\r\nContent-Length: 3\r\n\r\nabcGET";
    let head = parse(bytes).unwrap();
    assert_eq!(head.line.of(bytes), b"POST /a%20b/?x=1&y HTTP/1.1");
    assert_eq!((head.method.of(bytes), head.method_kind), (&b"POST"[..], Method::Post));
    assert_eq!(head.target.of(bytes), b"/a%20b/?x=1&y");
    assert_eq!((head.path.of(bytes), head.query.unwrap().of(bytes)), (&b"/a%20b/"[..], &b"x=1&y"[..]));
    assert_eq!((head.host.of(bytes), head.host_port), (&b"Example.com"[..], Some(9080)));
    assert_eq!(head.authority.of(bytes), b"Example.com:9080");
    assert_eq!(head.fields.first(bytes, b"x-empty"), Some(&b""[..]));
    assert_eq!(head.fields.first(bytes, b"x-tab"), Some(&b"v w"[..]));
    assert_eq!((head.body, head.keep_alive, head.len), (BodyLength::Length(3), true, bytes.len() - 6));
}

#[test]
fn targets_of_every_form_give_path_query_and_host() {
    let cases: &[(&str, &str, Option<&str>, &str, TargetForm)] = &[
        ("GET / HTTP/1.1", "/", None, "h", TargetForm::Origin),
        ("GET /? HTTP/1.1", "/", Some(""), "h", TargetForm::Origin),
        ("GET /a?b?c HTTP/1.1", "/a", Some("b?c"), "h", TargetForm::Origin),
        ("GET //a//b HTTP/1.1", "//a//b", None, "h", TargetForm::Origin),
        ("GET /{a}|\"<>^`\\ HTTP/1.1", "/{a}|\"<>^`\\", None, "h", TargetForm::Origin),
        ("GET /http://x/ HTTP/1.1", "/http://x/", None, "h", TargetForm::Origin),
        ("GET http://x.example/p?q HTTP/1.1", "/p", Some("q"), "x.example", TargetForm::Absolute),
        ("GET HTTP://x:81 HTTP/1.1", "/", None, "x", TargetForm::Absolute),
        ("GET https://[::1]:81?q HTTP/1.1", "/", Some("q"), "[::1]", TargetForm::Absolute),
        ("OPTIONS * HTTP/1.1", "*", None, "h", TargetForm::Asterisk),
        ("OPTIONS http://x HTTP/1.1", "/", None, "x", TargetForm::Asterisk),
        ("OPTIONS http://x/ HTTP/1.1", "/", None, "x", TargetForm::Absolute),
    ];
    for (line, path, query, host, form) in cases {
        let bytes = format!("{line}\r\nHost: h\r\n\r\n").into_bytes();
        let head = parse(&bytes).unwrap_or_else(|reject| panic!("{line}: {reject:?}"));
        assert_eq!(head.path.of(&bytes), path.as_bytes(), "{line}");
        assert_eq!(head.query.map(|span| span.of(&bytes)), query.map(str::as_bytes), "{line}");
        assert_eq!((head.host.of(&bytes), head.form), (host.as_bytes(), *form), "{line}");
    }
}

#[test]
fn bad_request_lines_are_refused_with_their_status() {
    let long_method = format!("{} / HTTP/1.1", "M".repeat(METHOD_BYTES + 1));
    let long_target = format!("GET /{} HTTP/1.1", "a".repeat(16 * 1024));
    let cases: &[(&str, u16)] = &[
        ("GET /", 400),
        ("GET", 400),
        ("GET  / HTTP/1.1", 400),
        ("GET /  HTTP/1.1", 400),
        ("GET / HTTP/1.1 ", 400),
        (" GET / HTTP/1.1", 400),
        ("\tGET / HTTP/1.1", 400),
        ("GET\t/ HTTP/1.1", 400),
        ("GET /a b HTTP/1.1", 400),
        ("GET /a\tb HTTP/1.1", 400),
        ("GET /\u{e4} HTTP/1.1", 400),
        ("GET /\0 HTTP/1.1", 400),
        ("GET /\x7f HTTP/1.1", 400),
        ("GET /a#b HTTP/1.1", 400),
        ("GET /\rX: y HTTP/1.1", 400),
        ("GET / HTTP/1.1\r", 400),
        ("GET a HTTP/1.1", 400),
        ("GET ?a HTTP/1.1", 400),
        ("GET example.com:80 HTTP/1.1", 400),
        ("GET ftp://a/ HTTP/1.1", 400),
        ("GET http:///a HTTP/1.1", 400),
        ("GET http:// HTTP/1.1", 400),
        ("GET http://u@a/ HTTP/1.1", 400),
        ("GET http://a:0/ HTTP/1.1", 400),
        ("GET http://a\\b/ HTTP/1.1", 400),
        ("GET http://a,b/ HTTP/1.1", 400),
        ("GET * HTTP/1.1", 400),
        ("OPTIONS ** HTTP/1.1", 400),
        ("CONNECT a:80 HTTP/1.1", 405),
        ("CONNECT / HTTP/1.1", 405),
        ("G@T / HTTP/1.1", 400),
        ("GE(T / HTTP/1.1", 400),
        ("G\u{c4}T / HTTP/1.1", 400),
        ("GET / HTTP/1.2", 505),
        ("GET / HTTP/0.9", 505),
        ("GET / HTTP/2.0", 505),
        ("PRI * HTTP/2.0", 505),
        ("GET / HTTP/3.0", 505),
        ("GET / HTTP/11", 400),
        ("GET / HTTP/1.10", 400),
        ("GET / HTTP/1", 400),
        ("GET / http/1.1", 400),
        ("GET / HTTPS/1.1", 400),
        ("GET / HTTP/1,1", 400),
        ("GET / HTTP /1.1", 400),
        (&long_method, 501),
        (&long_target, 414),
    ];
    for (line, expected) in cases {
        assert_eq!(status(format!("{line}\r\nHost: a\r\n\r\n").as_bytes()), *expected, "{line:.60?}");
    }
}

#[test]
fn bad_header_lines_are_refused() {
    for line in [
        "X : a",
        "X\t: a",
        " X: a",
        "\tX: a",
        "X: a\r\n folded",
        "X: a\r\n\tfolded",
        ": a",
        "X",
        "X a",
        "X(: a",
        "X\u{e4}: a",
        "X\0: a",
        "X: a\0b",
        "X: a\rb",
        "X: a\r",
        "X: a\nY: b",
        "X: a\n",
        "X: a\x01",
        "X: a\x0bb",
        "X: \x7f",
        "\"X\": a",
        "{X}: a",
        "Content_Length: 3",
        "TRANSFER_ENCODING: chunked",
        "Content-Length : 3",
        "Content-Length\r\n: 3",
        "\r: a",
    ] {
        assert_eq!(status(&with_lines(&format!("{line}\r\n"))), 400, "{line:?}");
    }
}

#[test]
fn legal_header_lines_pass_unharmed() {
    for (line, value) in [
        ("X:a", &b"a"[..]),
        ("X:", b""),
        ("X: \t ", b""),
        ("X: a: b", b"a: b"),
        ("X: \u{c3}\u{a4}\u{ff}", b"\xc3\xa4\xff"),
        ("!#$%&'*+-.^_`|~09X: y", b"y"),
        ("X:\ta\tb\t", b"a\tb"),
        ("X_Y: under", b"under"),
    ] {
        // The line as Latin-1 bytes, so that a test can write any byte.
        let mut bytes = b"GET / HTTP/1.1\r\nHost: a\r\n".to_vec();
        bytes.extend(line.chars().map(|letter| letter as u8));
        bytes.extend(b"\r\n\r\n");
        let head = parse(&bytes).unwrap_or_else(|reject| panic!("{line}: {reject:?}"));
        assert_eq!(head.fields.as_slice()[1].value.of(&bytes), value, "{line}");
    }
}

#[test]
fn host_must_be_there_once_and_be_one_host() {
    for (head, expected) in [
        ("GET / HTTP/1.1\r\n\r\n", 400),
        ("GET http://a/ HTTP/1.1\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost:\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nhOST: b\r\n\r\n", 400),
        ("GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a:x\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400),
        ("GET http://a/ HTTP/1.1\r\nHost: u@b\r\n\r\n", 400),
        ("GET http://a/ HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400),
        ("GET / HTTP/1.0\r\nHost:\r\n\r\n", 400),
    ] {
        assert_eq!(status(head.as_bytes()), expected, "{head:?}");
    }
    let bytes = b"GET / HTTP/1.0\r\n\r\n";
    assert!(parse(bytes).unwrap().host.is_empty());
    let bytes = b"GET http://b:81/ HTTP/1.1\r\nHost: a:80\r\n\r\n";
    let head = parse(bytes).unwrap();
    assert_eq!((head.host.of(bytes), head.host_port), (&b"b"[..], Some(81)));
}

#[test]
fn every_doubtful_framing_is_refused() {
    for (lines, expected) in [
        ("Content-Length: 3\r\nTransfer-Encoding: chunked\r\n", 400),
        ("Transfer-Encoding: chunked\r\nContent-Length: 3\r\n", 400),
        ("Content-Length: 0\r\nTransfer-Encoding: chunked\r\n", 400),
        ("Content-Length: 3\r\nContent-Length: 3\r\n", 400),
        ("Content-Length: 3\r\nContent-Length: 4\r\n", 400),
        ("Content-Length: 3, 3\r\n", 400),
        ("Content-Length: 3,\r\n", 400),
        ("Content-Length: +3\r\n", 400),
        ("Content-Length: -3\r\n", 400),
        ("Content-Length: 0x3\r\n", 400),
        ("Content-Length: 3.0\r\n", 400),
        ("Content-Length: 3 \t3\r\n", 400),
        ("Content-Length: \"3\"\r\n", 400),
        ("Content-Length:\r\n", 400),
        ("Content-Length: 99999999999999999999\r\n", 400),
        ("Content-Length: 9223372036854775808\r\n", 400),
        ("Transfer-Encoding:\r\n", 400),
        ("Transfer-Encoding: chunked, chunked\r\n", 400),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", 400),
        ("Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n", 501),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: gzip\r\n", 400),
        ("Transfer-Encoding: chunked, gzip\r\n", 400),
        ("Transfer-Encoding: chunked, identity\r\n", 400),
        ("Transfer-Encoding: gzip, chunked\r\n", 501),
        ("Transfer-Encoding: gzip\r\n", 501),
        ("Transfer-Encoding: identity\r\n", 501),
        ("Transfer-Encoding: xchunked\r\n", 501),
        ("Transfer-Encoding: chunke\r\n", 501),
        ("Transfer-Encoding: chunked;a=b\r\n", 400),
        ("Transfer-Encoding: ,chunked\r\n", 400),
        ("Transfer-Encoding: chunked,\r\n", 400),
        ("Transfer-Encoding: \"chunked\"\r\n", 400),
        ("Transfer-Encoding: chunked chunked\r\n", 400),
        ("Transfer-Encoding: \x0bchunked\r\n", 400),
        ("Transfer-Encoding\r\n : chunked\r\n", 400),
        ("Transfer-Encoding : chunked\r\n", 400),
    ] {
        assert_eq!(status(&with_lines(lines)), expected, "{lines:?}");
    }
    assert_eq!(status(b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"), 400);
    assert_eq!(status(b"TRACE / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n"), 400);
}

#[test]
fn the_body_ends_as_its_one_field_says() {
    for (lines, body) in [
        ("", BodyLength::None),
        ("Content-Length: 0\r\n", BodyLength::Length(0)),
        ("content-length:\t 42 \r\n", BodyLength::Length(42)),
        ("Content-Length: 9223372036854775807\r\n", BodyLength::Length(i64::MAX as u64)),
        ("Transfer-Encoding: chunked\r\n", BodyLength::Chunked),
        ("TRANSFER-ENCODING: Chunked \r\n", BodyLength::Chunked),
    ] {
        assert_eq!(parse(&with_lines(lines)).unwrap().body, body, "{lines:?}");
    }
}

#[test]
fn the_connection_stays_open_when_version_and_options_say_so() {
    for (version, lines, keep_alive) in [
        ("1.1", "", true),
        ("1.1", "Connection: close\r\n", false),
        ("1.1", "Connection: x, CLOSE ,y\r\n", false),
        ("1.1", "Connection: keep-alive\r\nConnection: close\r\n", false),
        ("1.1", "Connection: closed\r\n", true),
        ("1.0", "", false),
        ("1.0", "Connection: Keep-Alive\r\n", true),
        ("1.0", "Connection: keep-alive, close\r\n", false),
    ] {
        let bytes = format!("GET / HTTP/{version}\r\nHost: a\r\n{lines}\r\n").into_bytes();
        assert_eq!(parse(&bytes).unwrap().keep_alive, keep_alive, "{version} {lines:?}");
    }
}

#[test]
fn an_expectation_counts_only_with_a_body_and_in_11() {
    let body = "Content-Length: 3\r\n";
    assert!(parse(&with_lines(&format!("{body}Expect: 100-Continue\r\n"))).unwrap().expect_continue);
    assert!(!parse(&with_lines("Expect: 100-continue\r\n")).unwrap().expect_continue);
    assert!(!parse(b"POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n").unwrap().expect_continue);
    assert_eq!(status(&with_lines("Expect: tea\r\n")), 417);
}

#[test]
fn an_upgrade_needs_its_connection_option_and_no_body() {
    let upgrade = |lines: &str| {
        let bytes = with_lines(lines);
        let head = parse(&bytes).unwrap();
        (head.upgrade.is_some(), head.asks_websocket(&bytes))
    };
    assert_eq!(upgrade("Upgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n"), (true, true));
    assert_eq!(upgrade("Upgrade: h2c\r\nConnection: upgrade\r\n"), (true, false));
    assert_eq!(upgrade("Upgrade: websocket, h2c\r\nConnection: upgrade\r\n"), (true, false));
    assert_eq!(upgrade("Upgrade: websocket\r\n"), (false, false));
    assert_eq!(upgrade("Upgrade: websocket\r\nConnection: upgrade\r\nContent-Length: 1\r\n"), (false, false));
    let bytes = b"GET / HTTP/1.0\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n";
    assert!(parse(bytes).unwrap().upgrade.is_none());
}

#[test]
fn one_empty_line_before_the_request_is_forgiven() {
    let bytes = b"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n";
    let head = parse(bytes).unwrap();
    assert_eq!((head.line.of(bytes), head.len), (&b"GET / HTTP/1.1"[..], bytes.len()));
    assert_eq!(status(b"\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"), 400);
    assert_eq!(status(b"\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"), 400);
    assert_eq!(status(b"\rGET / HTTP/1.1\r\nHost: a\r\n\r\n"), 400);
}

#[test]
fn garbage_is_refused_before_it_ends() {
    assert_eq!(status(b"\x16\x03\x01"), 400);
    assert_eq!(status(b"GET / HTTP/1.1\n"), 400);
    assert_eq!(status(b"GET /\r\n"), 400);
    assert_eq!(status(b"GET / HTTP/1.1\r\nX : y\r\n"), 400);
}

#[test]
fn limits_hold_to_the_byte() {
    let limits = HeadLimits { head_bytes: 64, header_count: 2, target_bytes: 8 };
    let parse = |text: &str| {
        let mut head = RequestHead::default();
        parse_request(text.as_bytes(), &limits, &mut head).map_err(|reject| reject.status)
    };
    let filled = |fill: usize| format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "y".repeat(fill));
    let room = 64 - filled(0).len();
    assert_eq!(parse(&filled(room)), Ok(Parsed::Complete));
    assert_eq!(parse(&filled(room + 1)), Err(431));
    assert_eq!(parse(&filled(room)[..63]), Ok(Parsed::Partial));
    assert_eq!(parse("GET / HTTP/1.1\r\nHost: a\r\nA: b\r\nC: d\r\n\r\n"), Err(431));
    assert_eq!(parse("GET /2345678 HTTP/1.1\r\nHost: a\r\n\r\n"), Ok(Parsed::Complete));
    assert_eq!(parse("GET /23456789 HTTP/1.1\r\nHost: a\r\n\r\n"), Err(414));
    assert_eq!(parse(&format!("GET /{}", "a".repeat(200))), Err(414));
    assert_eq!(parse(&format!("\r\nGET / HTTP/1.1\r\nA: {}", "a".repeat(99))), Err(431));
}

#[test]
fn a_cleared_head_keeps_no_trace() {
    let mut head = parse(&with_lines("Content-Length: 3\r\nExpect: 100-continue\r\nConnection: close\r\n")).unwrap();
    head.clear();
    assert_eq!(format!("{head:?}"), format!("{:?}", RequestHead::default()));
    let bytes = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    assert_eq!(parse_request(bytes, &HeadLimits::default(), &mut head), Ok(Parsed::Complete));
    assert_eq!((head.body, head.keep_alive), (BodyLength::None, true));
}

#[test]
fn any_split_of_the_bytes_gives_the_same_answer() {
    for text in [
        "GET /a?b HTTP/1.1\r\nHost: a\r\nX: y\r\n\r\nrest",
        "\r\nPOST http://a:1/ HTTP/1.1\r\nHost: b\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n5\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX : y\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\nX: y\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "\r\n\r\n",
    ] {
        let bytes = text.as_bytes();
        let mut whole = RequestHead::default();
        let answer = parse_request(bytes, &HeadLimits::default(), &mut whole);
        for first in 0..bytes.len() {
            for second in first..bytes.len() {
                let mut head = RequestHead::default();
                let mut split = Ok(Parsed::Partial);
                for end in [first, second, bytes.len()] {
                    if split == Ok(Parsed::Partial) {
                        split = parse_request(&bytes[..end], &HeadLimits::default(), &mut head);
                    }
                }
                assert_eq!(split, answer, "{text:?} at {first}, {second}");
                if answer.is_ok() {
                    assert_eq!(format!("{head:?}"), format!("{whole:?}"), "{text:?} at {first}, {second}");
                }
            }
        }
    }
}

#[test]
fn damaged_heads_keep_the_fuzz_invariants() {
    let seeds: [&[u8]; 3] = [
        b"GET /a?b HTTP/1.1\r\nHost: a\r\nConnection: close, x\r\n\r\n",
        b"POST http://a:1/ HTTP/1.1\r\nHost: b\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"\r\nPUT /x HTTP/1.0\r\nContent-Length: 5\r\nUpgrade: websocket\r\n\r\nhello",
    ];
    let alphabet = b"\r\n :;,\0\t/?*#a1\xff\x7f";
    for seed in seeds {
        for at in 0..seed.len() {
            for &byte in alphabet {
                let mut bytes = seed.to_vec();
                bytes[at] = byte;
                fuzz_request(&bytes);
                bytes.insert(at, byte);
                fuzz_request(&bytes);
                bytes.drain(at..(at + 2).min(bytes.len()));
                fuzz_request(&bytes);
            }
        }
    }
}
