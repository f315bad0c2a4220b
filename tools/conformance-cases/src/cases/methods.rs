//! Methods (RFC 9110 §9).

use super::{Refusal, Served, refused, served};
use crate::case::{After, Answer, Case, Check};

const OK: Check = Check::Statuses(&[200]);

pub fn cases() -> Vec<Case> {
    let mut cases = [refused(REFUSED), served(SERVED)].concat();
    cases.extend(heads());
    cases
}

#[rustfmt::skip]
const REFUSED: &[Refusal] = &[
    ("connect", "9110 §9.3.6", "CONNECT to a gateway", "CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", &[400, 403, 405, 501]),
    ("connect-path", "9110 §9.3.6", "CONNECT with a path", "CONNECT / HTTP/1.1\r\nHost: a\r\n\r\n", &[400, 403, 405, 501]),
    ("connect-no-port", "9110 §9.3.6", "CONNECT without a port", "CONNECT a HTTP/1.1\r\nHost: a\r\n\r\n", &[400, 403, 405, 501]),
    ("trace-body", "9110 §9.3.8", "TRACE with a body", "TRACE / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello", &[400, 403, 405, 501]),
];

#[rustfmt::skip]
const SERVED: &[Served] = &[
    ("method-put", "9110 §9.3.4", "PUT goes on", "PUT /a HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello", &[OK, Check::UpLine("PUT /a HTTP/1.1"), Check::UpBody("hello")]),
    ("method-patch", "9110 §9.1", "PATCH goes on", "PATCH /a HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello", &[OK, Check::UpLine("PATCH /a HTTP/1.1"), Check::UpBody("hello")]),
    ("method-delete", "9110 §9.3.5", "DELETE goes on", "DELETE /a HTTP/1.1\r\nHost: a\r\n\r\n", &[OK, Check::UpLine("DELETE /a HTTP/1.1")]),
    ("method-options", "9110 §9.3.7", "OPTIONS goes on", "OPTIONS /a HTTP/1.1\r\nHost: a\r\n\r\n", &[OK, Check::UpLine("OPTIONS /a HTTP/1.1")]),
    ("method-unknown", "9110 §9.1", "a method that nobody knows goes on", "BREW /a HTTP/1.1\r\nHost: a\r\n\r\n", &[OK, Check::UpLine("BREW /a HTTP/1.1")]),
    ("method-webdav", "9110 §9.1", "a registered method", "PROPFIND /a HTTP/1.1\r\nHost: a\r\nDepth: 0\r\n\r\n", &[OK, Check::UpLine("PROPFIND /a HTTP/1.1")]),
    ("method-lower-case", "9110 §9.1", "methods are case-sensitive: get is not GET", "get /a HTTP/1.1\r\nHost: a\r\n\r\n",
        &[Check::OneOf(&[&[OK, Check::UpLine("get /a HTTP/1.1")], &[Check::Refused(&[400, 405, 501])]])]),
];

/// HEAD: the head of a GET's answer, never a body.
fn heads() -> Vec<Case> {
    const HEAD: &str = "HEAD /a HTTP/1.1\r\nHost: a\r\n\r\n";
    let case = |id: &str, what: &str, answer, checks: &[Check]| Case {
        answers: vec![Answer::Says(answer)],
        checks: checks.to_vec(),
        after: After::Open,
        heads: &[true],
        ..Case::new(id, "9110 §9.3.2", what, HEAD)
    };
    vec![
        case(
            "head-length",
            "HEAD with a length",
            "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n",
            &[OK, Check::Down("content-length", "1000"), Check::UpLine("HEAD /a HTTP/1.1")],
        ),
        case("head-chunked", "HEAD with a coding", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", &[OK]),
        case("head-nothing", "HEAD without either", "HTTP/1.1 200 OK\r\nX: y\r\n\r\n", &[OK, Check::Down("x", "y")]),
        case(
            "head-404",
            "HEAD answered with an error",
            "HTTP/1.1 404 Not Found\r\nContent-Length: 9\r\n\r\n",
            &[Check::Statuses(&[404])],
        ),
    ]
}
