//! Request bodies on their way up: chunks, trailers, 100-continue, bodies that do not end (RFC 9112 §7, §8; RFC 9110 §6.5, §10.1.1).

use super::{Served, either, served};
use crate::case::{After, Answer, Case, Check, Piece};

const OK: Check = Check::Statuses(&[200]);
const CHUNKED: &str = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
/// What a hidden second request would look like.
const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";

pub fn cases() -> Vec<Case> {
    let mut cases = [served(SERVED), either(EITHER), broken_chunks()].concat();
    cases.extend(unfinished());
    cases.extend(expectations());
    cases
}

/// A chunked body that must not be taken for a whole one, whatever follows it.
#[rustfmt::skip]
const BROKEN: &[(&str, &str, &str, &str)] = &[
    ("chunk-no-size", "9112 §7.1", "no size", "\r\nhello\r\n0\r\n\r\n"),
    ("chunk-size-word", "9112 §7.1", "a size that is no number", "xyz\r\nhello\r\n0\r\n\r\n"),
    ("chunk-size-plus", "9112 §7.1", "a size with a sign", "+5\r\nhello\r\n0\r\n\r\n"),
    ("chunk-size-minus", "9112 §7.1", "a negative size", "-5\r\nhello\r\n0\r\n\r\n"),
    ("chunk-size-prefix", "9112 §7.1", "a size with 0x", "0x5\r\nhello\r\n0\r\n\r\n"),
    ("chunk-size-space-before", "9112 §7.1", "a space before the size", " 5\r\nhello\r\n0\r\n\r\n"),
    ("chunk-size-junk", "9112 §7.1", "junk behind the size", "5h\r\nhello\r\n0\r\n\r\n"),
    ("chunk-size-comma", "9112 §7.1", "a comma behind the size", "5,5\r\nhello\r\n0\r\n\r\n"),
    ("chunk-size-point", "9112 §7.1", "a fraction", "5.0\r\nhello\r\n0\r\n\r\n"),
    ("chunk-size-underscore", "9112 §7.1", "an underscore in the size", "0_5\r\nhello\r\n0\r\n\r\n"),
    ("chunk-size-nul", "9112 §7.1", "a NUL behind the size", "5\0\r\nhello\r\n0\r\n\r\n"),
    ("chunk-size-64", "9112 §7.1", "a size that wraps in 64 bits", "10000000000000005\r\nhello\r\n0\r\n\r\n"),
    ("chunk-size-huge", "9112 §7.1", "a size of seventeen digits", "fffffffffffffffff\r\nhello\r\n0\r\n\r\n"),
    ("chunk-size-32", "9112 §7.1", "a size that wraps in 32 bits", "100000005\r\nhello\r\n0\r\n\r\n"),
    ("chunk-long", "9112 §7.1", "a chunk longer than its size", "3\r\nhello\r\n0\r\n\r\n"),
    ("chunk-no-crlf", "9112 §7.1", "no CRLF behind the data", "5\r\nhello0\r\n\r\n"),
    ("chunk-lf-data", "9112 §7.1", "a bare line feed behind the data", "5\r\nhello\n0\r\n\r\n"),
    ("chunk-cr-data", "9112 §7.1", "a bare CR behind the data", "5\r\nhello\r0\r\n\r\n"),
    ("chunk-bare-cr-size", "9112 §7.1", "a bare CR behind the size", "5\rhello\r\n0\r\n\r\n"),
    ("chunk-ext-cr", "9112 §7.1.1", "a bare CR in an extension", "5;a\rb\r\nhello\r\n0\r\n\r\n"),
    ("chunk-ext-nul", "9112 §7.1.1", "a NUL in an extension", "5;a=\0\r\nhello\r\n0\r\n\r\n"),
    ("trailer-no-colon", "9112 §7.1.2", "a trailer without a colon", "0\r\nnothing\r\n\r\n"),
    ("trailer-space-colon", "9112 §5.1", "a trailer with a space before the colon", "0\r\nX : y\r\n\r\n"),
    ("trailer-no-name", "9112 §7.1.2", "a trailer without a name", "0\r\n: y\r\n\r\n"),
    ("trailer-nul", "9110 §5.5", "a NUL in a trailer", "0\r\nX: \0\r\n\r\n"),
];

/// The request must not reach the upstream as a whole one; an answer is a refusal.
fn broken_chunks() -> Vec<Case> {
    let case = |(id, section, what, body): &(&str, &'static str, &str, &'static str)| Case {
        send: vec![Piece::Text(CHUNKED), Piece::Text(body), Piece::Text(SMUGGLED), Piece::Pause(10), Piece::Finish],
        checks: vec![Check::NoWholeRequest],
        after: After::Closed,
        ..Case::new(id, section, what, "")
    };
    BROKEN.iter().map(case).collect()
}

#[rustfmt::skip]
const SERVED: &[Served] = &[
    ("chunks-many", "9112 §7.1", "several chunks", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nh\r\n3\r\nell\r\n01\r\no\r\n0\r\n\r\n", &[OK, Check::UpBody("hello")]),
    ("chunks-hex-case", "9112 §7.1", "hex digits in both cases", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nA\r\n0123456789\r\na\r\n0123456789\r\n0\r\n\r\n", &[OK, Check::UpBody("01234567890123456789")]),
    ("chunks-zeros", "9112 §7.1", "leading zeros", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0005\r\nhello\r\n000\r\n\r\n", &[OK, Check::UpBody("hello")]),
    ("chunks-empty", "9112 §7.1", "no chunk but the last", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", &[OK, Check::UpBody("")]),
    ("chunks-crlf-data", "9112 §7.1", "data that looks like framing", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n7\r\n\r\n0\r\n\r\n\r\n0\r\n\r\n", &[OK, Check::UpBody("\r\n0\r\n\r\n")]),
    ("chunk-ext", "9112 §7.1.1", "an extension is ignored", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5;a\r\nhello\r\n0\r\n\r\n", &[OK, Check::UpBody("hello")]),
    ("chunk-ext-value", "9112 §7.1.1", "an extension with a value", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b;c=\"d;e\"\r\nhello\r\n0;f\r\n\r\n", &[OK, Check::UpBody("hello")]),
    ("trailer-sent", "9110 §6.5", "trailers are read and end the body", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-Sum: 7\r\nX-More: 8\r\n\r\n", &[OK, Check::UpBody("hello"), Check::UpNo("x-sum")]),
];

#[rustfmt::skip]
const EITHER: &[Served] = &[
    ("chunk-lf-size", "9112 §7.1", "a bare line feed behind the size: refused, or the same body", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\nhello\r\n0\r\n\r\n",
        &[Check::OneOf(&[&[Check::StatusIn(&[400, 502])], &[OK, Check::UpBody("hello")]])]),
    ("chunk-space-behind", "9112 §7.1", "a space behind the size: refused, or the same body", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5 \r\nhello\r\n0\r\n\r\n",
        &[Check::OneOf(&[&[Check::StatusIn(&[400, 502])], &[OK, Check::UpBody("hello")]])]),
    ("chunk-ext-lf", "9112 §7.1.1", "a line feed in an extension: refused, or the same end for both", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5;a\nb\r\nhello\r\n0\r\n\r\n",
        &[Check::OneOf(&[&[Check::StatusIn(&[400, 502])], &[OK, Check::UpBody("hello")]])]),
    ("trailer-length", "9110 §6.5.1", "Content-Length as a trailer is never merged", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nContent-Length: 9\r\n\r\n",
        &[Check::OneOf(&[&[Check::StatusIn(&[400, 502])], &[OK, Check::UpBody("hello"), Check::UpNoTrailer("content-length")]])]),
    ("trailer-coding", "9110 §6.5.1", "Transfer-Encoding as a trailer is never merged", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nTransfer-Encoding: gzip\r\n\r\n",
        &[Check::OneOf(&[&[Check::StatusIn(&[400, 502])], &[OK, Check::UpBody("hello"), Check::UpNoTrailer("transfer-encoding")]])]),
    ("trailer-host", "9110 §6.5.1", "Host as a trailer is never merged", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nHost: evil\r\n\r\n",
        &[Check::OneOf(&[&[Check::StatusIn(&[400, 502])], &[OK, Check::Up("host", "a"), Check::UpNoTrailer("host")]])]),
    ("trailer-forwarded-for", "9110 §6.5.1", "a forged address as a trailer is never merged", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-Forwarded-For: 1.2.3.4\r\n\r\n",
        &[Check::OneOf(&[&[Check::StatusIn(&[400, 502])], &[OK, Check::UpNoTrailer("x-forwarded-for")]])]),
];

/// Bodies that end before their end: the upstream never has a whole one.
fn unfinished() -> Vec<Case> {
    let case = |id: &str, section, what: &str, send: Vec<Piece>| Case {
        send,
        checks: vec![Check::NoWholeRequest],
        after: After::Closed,
        ..Case::new(id, section, what, "")
    };
    let (length, chunked) =
        (Piece::Text("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n"), Piece::Text(CHUNKED));
    vec![
        case(
            "cut-length",
            "9112 §8",
            "a body shorter than its length",
            vec![length, Piece::Text("hello"), Piece::Pause(30), Piece::Finish],
        ),
        case("cut-length-nothing", "9112 §8", "a length and no body", vec![length, Piece::Pause(30), Piece::Finish]),
        case(
            "cut-chunk",
            "9112 §8",
            "an end inside a chunk",
            vec![chunked, Piece::Text("5\r\nhel"), Piece::Pause(30), Piece::Finish],
        ),
        case(
            "cut-last-chunk",
            "9112 §8",
            "an end before the last chunk",
            vec![chunked, Piece::Text("5\r\nhello\r\n"), Piece::Pause(30), Piece::Finish],
        ),
        case(
            "cut-last-crlf",
            "9112 §8",
            "an end before the last CRLF",
            vec![chunked, Piece::Text("5\r\nhello\r\n0\r\n"), Piece::Pause(30), Piece::Finish],
        ),
        case(
            "cut-trailer",
            "9112 §8",
            "an end inside the trailers",
            vec![chunked, Piece::Text("0\r\nX: y"), Piece::Pause(30), Piece::Finish],
        ),
        case(
            "cut-head",
            "9112 §8",
            "an end inside the head",
            vec![Piece::Text("GET / HTTP/1.1\r\nHost: a\r\n"), Piece::Pause(30), Piece::Finish],
        ),
        case(
            "cut-line",
            "9112 §8",
            "an end inside the request line",
            vec![Piece::Text("GET / HT"), Piece::Pause(30), Piece::Finish],
        ),
    ]
}

/// Expect: 100-continue (RFC 9110 §10.1.1), and answers that come before the body's end (RFC 9112 §9.5).
#[rustfmt::skip]
fn expectations() -> Vec<Case> {
    let head = Piece::Text("POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n");
    let case = |id: &str, section, what: &str, send: Vec<Piece>, checks: Vec<Check>, after| Case { send, checks, after, ..Case::new(id, section, what, "") };
    vec![
        case("expect-continue", "9110 §10.1.1", "a client that waits is told to go on", vec![head, Piece::AwaitHead, Piece::Text("hello")],
            vec![OK, Check::Interims(&[100]), Check::UpBody("hello")], After::Open),
        case("expect-at-once", "9110 §10.1.1", "a client that does not wait is served too", vec![head, Piece::Text("hello")], vec![OK, Check::UpBody("hello")], After::Open),
        case("expect-case", "9110 §10.1.1", "the expectation in any case", vec![Piece::Text("POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-Continue\r\nContent-Length: 5\r\n\r\n"), Piece::AwaitHead, Piece::Text("hello")],
            vec![OK, Check::Interims(&[100]), Check::UpBody("hello")], After::Open),
        case("expect-1-0", "9110 §10.1.1", "a 1.0 client is sent no 100", vec![Piece::Text("POST / HTTP/1.0\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n"), Piece::Pause(60), Piece::Text("hello")],
            vec![OK, Check::Interims(&[])], After::Closed),
        case("expect-other", "9110 §10.1.1", "another expectation: 417, or passed on", vec![Piece::Text("GET / HTTP/1.1\r\nHost: a\r\nExpect: the-unexpected\r\n\r\n")],
            vec![Check::OneOf(&[&[Check::Refused(&[417])], &[OK]])], After::Any),
        case("expect-no-body", "9110 §10.1.1", "an expectation without a body", vec![Piece::Text("GET / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n\r\n")], vec![OK], After::Open),
        Case {
            answers: vec![Answer::SaysAtHead("HTTP/1.1 413 Content Too Large\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno")],
            ..case("early-answer", "9112 §9.5", "an answer before the body's end reaches the client", vec![Piece::Text("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\nhello")],
                vec![Check::Statuses(&[413]), Check::DownBody("no")], After::Any)
        },
        case("slow-pieces", "9112 §2.1", "a request that comes byte by byte in pieces", vec![Piece::Text("PO"), Piece::Pause(5), Piece::Text("ST / HTTP/1.1\r"), Piece::Pause(5), Piece::Text("\nHost: a\r\nContent-Le"), Piece::Pause(5),
            Piece::Text("ngth: 5\r\n\r"), Piece::Pause(5), Piece::Text("\nhel"), Piece::Pause(5), Piece::Text("lo")], vec![OK, Check::UpBody("hello")], After::Open),
    ]
}
