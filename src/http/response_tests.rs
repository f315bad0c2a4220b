//! Cases of `http::response`, table by table.

use super::*;

const GET: Asked = Asked { method: Method::Get, upgrade: false };

fn parse_for(asked: Asked, bytes: &[u8]) -> Result<ResponseHead, Malformed> {
    let mut head = ResponseHead::default();
    match parse_response(bytes, &HeadLimits::default(), asked, &mut head)? {
        Parsed::Complete => Ok(head),
        Parsed::Partial => panic!("partial: {}", bytes.escape_ascii()),
    }
}

#[test]
fn a_whole_head_gives_its_parts_and_its_length() {
    let bytes = b"HTTP/1.1 404 Not Found\r\nContent-Length: 3\r\nSet-Cookie: a\r\nSet-Cookie: b\r\n\r\nabc";
    let head = parse_for(GET, bytes).unwrap();
    assert_eq!((head.status, head.reason.of(bytes)), (404, &b"Not Found"[..]));
    assert_eq!((head.body, head.declared_length), (ResponseBody::Length(3), Some(3)));
    assert_eq!((head.keep_alive, head.len), (true, bytes.len() - 3));
    assert_eq!(head.fields.all(bytes, b"set-cookie").count(), 2);
}

#[test]
fn the_body_ends_as_the_rfc_lists_it() {
    let head = Asked { method: Method::Head, upgrade: false };
    for (asked, text, body, keep_alive) in [
        (GET, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", ResponseBody::Length(0), true),
        (GET, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", ResponseBody::Chunked, true),
        (GET, "HTTP/1.1 200 OK\r\n\r\n", ResponseBody::UntilClose, false),
        (GET, "HTTP/1.1 200\r\nContent-Length: 1\r\n\r\n", ResponseBody::Length(1), true),
        (GET, "HTTP/1.1 200 \r\nContent-Length: 1\r\n\r\n", ResponseBody::Length(1), true),
        (GET, "HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\n", ResponseBody::Length(1), false),
        (GET, "HTTP/1.0 200 OK\r\nContent-Length: 1\r\nConnection: keep-alive\r\n\r\n", ResponseBody::Length(1), true),
        (GET, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nConnection: close\r\n\r\n", ResponseBody::Length(1), false),
        (GET, "HTTP/1.1 204 No Content\r\n\r\n", ResponseBody::None, true),
        (GET, "HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n", ResponseBody::None, true),
        (GET, "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n", ResponseBody::None, false),
        (GET, "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", ResponseBody::None, true),
        (head, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", ResponseBody::None, true),
        (head, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", ResponseBody::None, true),
        (head, "HTTP/1.1 200 OK\r\n\r\n", ResponseBody::None, true),
        (GET, "HTTP/1.1 999 Odd\r\nContent-Length: 2\r\n\r\n", ResponseBody::Length(2), true),
    ] {
        let parsed = parse_for(asked, text.as_bytes()).unwrap_or_else(|fault| panic!("{text}: {fault:?}"));
        assert_eq!((parsed.body, parsed.keep_alive), (body, keep_alive), "{text:?}");
    }
}

#[test]
fn broken_responses_are_malformed() {
    let long = format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "y".repeat(40_000));
    for text in [
        "HTTP/1.1 20 OK\r\n\r\n",
        "HTTP/1.1 2000 OK\r\n\r\n",
        "HTTP/1.1 099 OK\r\n\r\n",
        "HTTP/1.1 2x0 OK\r\n\r\n",
        "HTTP/1.1 -20 OK\r\n\r\n",
        "HTTP/1.1  200 OK\r\n\r\n",
        "HTTP/1.1\t200 OK\r\n\r\n",
        "HTTP/1.1 200OK\r\n\r\n",
        "HTTP/1.1 200 O\0K\r\n\r\n",
        "HTTP/1.1 200 O\rK\r\n\r\n",
        "HTTP/1.1\r\n\r\n",
        "HTTP/1.2 200 OK\r\n\r\n",
        "HTTP/2 200\r\n\r\n",
        "HTTP/0.9 200 OK\r\n\r\n",
        "http/1.1 200 OK\r\n\r\n",
        "ICY 200 OK\r\n\r\n",
        "<html>",
        "\r\nHTTP/1.1 200 OK\r\n\r\n",
        " HTTP/1.1 200 OK\r\n\r\n",
        "HTTP/1.1 200 OK\n\n",
        "HTTP/1.1 200 OK\r\nX: y\n\r\n",
        "HTTP/1.1 200 OK\r\nX : y\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX: y\r\n z\r\n\r\n",
        "HTTP/1.1 200 OK\r\n X: y\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX: \0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 3, 3\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: +3\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: -3\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, chunked\r\n\r\n",
        "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n",
        "HTTP/1.1 100 Continue\r\nContent-Length: 5\r\n\r\n",
        "HTTP/1.1 103 Early Hints\r\nTransfer-Encoding: chunked\r\n\r\n",
        &long,
    ] {
        assert!(parse_for(GET, text.as_bytes()).is_err(), "{text:.80?}");
    }
}

#[test]
fn interim_responses_are_recognised_and_101_only_when_asked_for() {
    assert!(parse_for(GET, b"HTTP/1.1 100 Continue\r\n\r\n").unwrap().is_interim());
    assert!(parse_for(GET, b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n").unwrap().is_interim());
    assert!(!parse_for(GET, b"HTTP/1.1 200 OK\r\n\r\n").unwrap().is_interim());
    let asked = Asked { method: Method::Get, upgrade: true };
    let bytes = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n";
    let head = parse_for(asked, bytes).unwrap();
    assert_eq!(head.upgrade.unwrap().of(bytes), b"websocket");
    assert!(!head.is_interim() && !head.keep_alive && head.body == ResponseBody::None);
    assert!(parse_for(asked, b"HTTP/1.1 101 Switching\r\n\r\n").is_err());
}

#[test]
fn any_split_of_the_bytes_gives_the_same_answer() {
    for text in [
        "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nabc",
        "HTTP/1.0 301 Moved\r\nLocation: /a\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX: y\n\r\n",
        "HTTX\nGET",
        "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\n",
    ] {
        let bytes = text.as_bytes();
        let mut whole = ResponseHead::default();
        let answer = parse_response(bytes, &HeadLimits::default(), GET, &mut whole);
        for first in 0..bytes.len() {
            for second in first..bytes.len() {
                let mut head = ResponseHead::default();
                let mut split = Ok(Parsed::Partial);
                for end in [first, second, bytes.len()] {
                    if split == Ok(Parsed::Partial) {
                        split = parse_response(&bytes[..end], &HeadLimits::default(), GET, &mut head);
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
    let seeds: [&[u8]; 2] = [
        b"\x00HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close, x\r\n\r\n",
        b"\x04HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\nTransfer-Encoding: chunked\r\n\r\n",
    ];
    for seed in seeds {
        for at in 0..seed.len() {
            for &byte in b"\r\n :;,\0\t/1a\xff\x7f" {
                let mut bytes = seed.to_vec();
                bytes[at] = byte;
                fuzz_response(&bytes);
                bytes.insert(at, byte);
                fuzz_response(&bytes);
                bytes.drain(at..(at + 2).min(bytes.len()));
                fuzz_response(&bytes);
            }
        }
    }
}
