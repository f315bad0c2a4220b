//! Request lines and targets (RFC 9112 §2.2, §3; RFC 9110 §4.2, §7.1).

use super::{Refusal, Served, either, refused, served};
use crate::case::{After, Case, Check, Piece};

const BAD: &[u16] = &[400];
const BAD_OR_VERSION: &[u16] = &[400, 505];
const BAD_OR_METHOD: &[u16] = &[400, 405, 501];

pub fn cases() -> Vec<Case> {
    let mut cases = [refused(REFUSED), served(SERVED), either(EITHER)].concat();
    cases.extend(limits());
    cases
}

#[rustfmt::skip]
const REFUSED: &[Refusal] = &[
    ("line-one-word", "9112 §3", "a request line of one word", "GET\r\nHost: a\r\n\r\n", BAD),
    ("line-two-spaces", "9112 §3", "two spaces behind the method", "GET  / HTTP/1.1\r\nHost: a\r\n\r\n", BAD),
    ("line-two-spaces-version", "9112 §3", "two spaces before the version", "GET /  HTTP/1.1\r\nHost: a\r\n\r\n", BAD),
    ("line-trailing-space", "9112 §3", "a space behind the version", "GET / HTTP/1.1 \r\nHost: a\r\n\r\n", BAD),
    ("line-leading-space", "9112 §3", "a space before the method", " GET / HTTP/1.1\r\nHost: a\r\n\r\n", BAD),
    ("line-tab", "9112 §3", "a tab between method and target", "GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n", BAD),
    ("line-tab-version", "9112 §3", "a tab before the version", "GET /\tHTTP/1.1\r\nHost: a\r\n\r\n", BAD),
    ("line-space-in-target", "9112 §3.2", "a space in the target", "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", BAD),
    ("line-form-feed", "9112 §3", "a form feed as white space", "GET\x0c/ HTTP/1.1\r\nHost: a\r\n\r\n", BAD),
    ("line-vertical-tab", "9112 §3", "a vertical tab as white space", "GET\x0b/ HTTP/1.1\r\nHost: a\r\n\r\n", BAD),
    ("line-nul-target", "9112 §3.2", "a NUL in the target", "GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n", BAD),
    ("line-control-target", "9112 §3.2", "a control character in the target", "GET /\x01 HTTP/1.1\r\nHost: a\r\n\r\n", BAD),
    ("line-delete-target", "9112 §3.2", "a DEL in the target", "GET /\x7f HTTP/1.1\r\nHost: a\r\n\r\n", BAD),
    ("line-bare-cr-target", "9112 §2.2", "a bare CR in the target", "GET /\rX HTTP/1.1\r\nHost: a\r\n\r\n", BAD),
    ("line-bare-cr-version", "9112 §2.2", "a bare CR behind the version", "GET / HTTP/1.1\rX\r\nHost: a\r\n\r\n", BAD),
    ("line-fragment", "9112 §3.2.1", "a fragment in the target", "GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n", BAD),
    ("line-empty-target", "9112 §3.2", "an empty target", "GET  HTTP/1.1\r\nHost: a\r\n\r\n", BAD),
    ("line-relative", "9112 §3.2", "a target without a slash", "GET a HTTP/1.1\r\nHost: a\r\n\r\n", BAD),
    ("line-authority-get", "9112 §3.2.3", "authority-form with GET", "GET a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n", BAD),
    ("line-asterisk-get", "9112 §3.2.4", "* with GET", "GET * HTTP/1.1\r\nHost: a\r\n\r\n", BAD),
    ("line-scheme-file", "9112 §3.2.2", "a scheme that is not HTTP's", "GET file:///etc/passwd HTTP/1.1\r\nHost: a\r\n\r\n", BAD),
    ("line-absolute-no-host", "9110 §4.2.1", "an http URI without a host", "GET http:///a HTTP/1.1\r\nHost: a\r\n\r\n", BAD),
    ("line-absolute-userinfo", "9110 §4.2.4", "user information in the target", "GET http://u:p@a/ HTTP/1.1\r\nHost: a\r\n\r\n", BAD),
    ("line-absolute-bad-port", "9110 §4.2.1", "a port that is no number", "GET http://a:x/ HTTP/1.1\r\nHost: a\r\n\r\n", BAD),
    ("method-at", "9110 §9.1", "a method that is no token", "G@T / HTTP/1.1\r\nHost: a\r\n\r\n", BAD_OR_METHOD),
    ("method-quotes", "9110 §9.1", "a quoted method", "\"GET\" / HTTP/1.1\r\nHost: a\r\n\r\n", BAD_OR_METHOD),
    ("method-nul", "9110 §9.1", "a NUL in the method", "G\0T / HTTP/1.1\r\nHost: a\r\n\r\n", BAD_OR_METHOD),
    ("method-colon", "9110 §9.1", "a method with a colon", "GET: / HTTP/1.1\r\nHost: a\r\n\r\n", BAD_OR_METHOD),
    ("method-empty", "9110 §9.1", "no method", " / HTTP/1.1\r\nHost: a\r\n\r\n", BAD_OR_METHOD),
    ("version-lower-case", "9112 §2.3", "http in lower case", "GET / http/1.1\r\nHost: a\r\n\r\n", BAD_OR_VERSION),
    ("version-two-digits", "9112 §2.3", "a minor version of two digits", "GET / HTTP/1.10\r\nHost: a\r\n\r\n", BAD_OR_VERSION),
    ("version-leading-zero", "9112 §2.3", "a major version of two digits", "GET / HTTP/01.1\r\nHost: a\r\n\r\n", BAD_OR_VERSION),
    ("version-no-minor", "9112 §2.3", "no minor version", "GET / HTTP/1\r\nHost: a\r\n\r\n", BAD_OR_VERSION),
    ("version-2", "9110 §2.5", "a major version of 2 in HTTP/1 form", "GET / HTTP/2.0\r\nHost: a\r\n\r\n", BAD_OR_VERSION),
    ("version-3", "9110 §2.5", "a major version of 3", "GET / HTTP/3.0\r\nHost: a\r\n\r\n", BAD_OR_VERSION),
    ("version-sign", "9112 §2.3", "a sign in the version", "GET / HTTP/1.+1\r\nHost: a\r\n\r\n", BAD_OR_VERSION),
    ("version-space", "9112 §2.3", "a space in the version", "GET / HTTP/ 1.1\r\nHost: a\r\n\r\n", BAD_OR_VERSION),
    ("version-comma", "9112 §2.3", "a comma in the version", "GET / HTTP/1,1\r\nHost: a\r\n\r\n", BAD_OR_VERSION),
    ("version-other", "9112 §2.3", "another protocol's name", "GET / HTCPCP/1.0\r\nHost: a\r\n\r\n", BAD_OR_VERSION),
    ("garbage-binary", "9112 §2.2", "bytes that are no request", "\x16\x03\x01\x02\0\x01\0\r\n\r\n", &[0, 400]),
    ("host-none-beside-others", "9112 §3.2", "no Host beside other fields", "GET / HTTP/1.1\r\nAccept: */*\r\nX-Host: a\r\n\r\n", BAD),
    ("host-none", "9112 §3.2", "no Host in HTTP/1.1", "GET / HTTP/1.1\r\n\r\n", BAD),
    ("host-twice", "9112 §3.2", "two Host fields", "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", BAD),
    ("host-twice-same", "9112 §3.2", "the same Host twice", "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", BAD),
    ("host-twice-apart", "9112 §3.2", "two Host fields apart", "GET / HTTP/1.1\r\nHost: a\r\nX: y\r\nhost: a\r\n\r\n", BAD),
    ("host-list", "9112 §3.2", "a list of hosts", "GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", BAD),
    ("host-userinfo", "9110 §4.2.4", "user information in Host", "GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", BAD),
    ("host-port-word", "9112 §3.2", "a port that is no number", "GET / HTTP/1.1\r\nHost: a:b\r\n\r\n", BAD),
    ("host-port-twice", "9112 §3.2", "two ports", "GET / HTTP/1.1\r\nHost: a:80:80\r\n\r\n", BAD),
    ("host-space", "9112 §3.2", "a space in Host", "GET / HTTP/1.1\r\nHost: a b\r\n\r\n", BAD),
    ("host-slash", "9112 §3.2", "a path in Host", "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", BAD),
    ("host-question", "9112 §3.2", "a query in Host", "GET / HTTP/1.1\r\nHost: a?b\r\n\r\n", BAD),
    ("host-fragment", "9112 §3.2", "a fragment in Host", "GET / HTTP/1.1\r\nHost: a#b\r\n\r\n", BAD),
    ("host-backslash", "9112 §3.2", "a backslash in Host", "GET / HTTP/1.1\r\nHost: a\\b\r\n\r\n", BAD),
    ("host-scheme", "9112 §3.2", "a whole URI in Host", "GET / HTTP/1.1\r\nHost: http://a\r\n\r\n", BAD),
    ("host-v6-open", "9110 §4.2", "an IPv6 address without its end", "GET / HTTP/1.1\r\nHost: [::1\r\n\r\n", BAD),
    ("host-v6-junk", "9110 §4.2", "brackets around no address", "GET / HTTP/1.1\r\nHost: [x]\r\n\r\n", BAD),
    ("host-nul", "9112 §3.2", "a NUL in Host", "GET / HTTP/1.1\r\nHost: a\0\r\n\r\n", BAD),
    ("host-tab", "9112 §3.2", "a tab in Host", "GET / HTTP/1.1\r\nHost: a\tb\r\n\r\n", BAD),
];

/// Where the grammar allows it and good sense need not.
#[rustfmt::skip]
const EITHER: &[Served] = &[
    ("version-1-2", "9110 §2.5", "a higher minor version is served as 1.1 or refused", "GET / HTTP/1.2\r\nHost: a\r\n\r\n",
        &[Check::OneOf(&[&[Check::Statuses(&[200]), Check::UpLine("GET / HTTP/1.1")], &[Check::Refused(&[400, 505])]])]),
    ("line-percent-nul", "9110 §4.2", "an escaped NUL in the path: refused, or passed on as it is", "GET /%00 HTTP/1.1\r\nHost: a\r\n\r\n",
        &[Check::OneOf(&[&[Check::Refused(BAD)], &[Check::Statuses(&[200]), Check::UpLine("GET /%00 HTTP/1.1")]])]),
    ("line-percent-broken", "9110 §4.2", "a broken escape: refused, or passed on as it is", "GET /%zz HTTP/1.1\r\nHost: a\r\n\r\n",
        &[Check::OneOf(&[&[Check::Refused(BAD)], &[Check::Statuses(&[200]), Check::UpLine("GET /%zz HTTP/1.1")]])]),
    ("line-dots", "9110 §4.2.3", "a path above the root: refused, or passed on in some form", "GET /../a HTTP/1.1\r\nHost: a\r\n\r\n",
        &[Check::OneOf(&[&[Check::Refused(BAD)], &[Check::Statuses(&[200]), Check::Requests(1)]])]),
    ("host-comma", "9110 §7.2", "a comma in Host is legal: refused, or passed on as it is", "GET / HTTP/1.1\r\nHost: a,b\r\n\r\n",
        &[Check::OneOf(&[&[Check::Refused(BAD)], &[Check::Statuses(&[200]), Check::Up("host", "a,b")]])]),
    ("host-port-large", "9110 §4.2", "a port over 65535: refused, or passed on as it is", "GET / HTTP/1.1\r\nHost: a:65536\r\n\r\n",
        &[Check::OneOf(&[&[Check::Refused(BAD)], &[Check::Statuses(&[200]), Check::Up("host", "a:65536")]])]),
    ("host-empty-port", "9110 §4.2", "a colon without a port is legal", "GET / HTTP/1.1\r\nHost: a:\r\n\r\n",
        &[Check::OneOf(&[&[Check::Statuses(&[200]), Check::UpHolds("host", "a")], &[Check::Refused(BAD)]])]),
];

#[rustfmt::skip]
const SERVED: &[Served] = &[
    ("line-origin", "9112 §3.2.1", "origin-form goes on as it is", "GET /a/b?c=d&e HTTP/1.1\r\nHost: a\r\n\r\n",
        &[Check::Statuses(&[200]), Check::UpLine("GET /a/b?c=d&e HTTP/1.1")]),
    ("line-escapes", "9110 §4.2.3", "escapes go on as they are", "GET /%41%2fb%C3%A4?x=%20 HTTP/1.1\r\nHost: a\r\n\r\n",
        &[Check::Statuses(&[200]), Check::UpLine("GET /%41%2fb%C3%A4?x=%20 HTTP/1.1")]),
    ("line-empty-query", "9110 §4.2", "an empty query stays", "GET /a? HTTP/1.1\r\nHost: a\r\n\r\n",
        &[Check::Statuses(&[200]), Check::UpLine("GET /a? HTTP/1.1")]),
    ("line-odd-path", "9112 §3.2.1", "every legal character of a path", "GET /-._~!$&'()*+,;=:@/ HTTP/1.1\r\nHost: a\r\n\r\n",
        &[Check::Statuses(&[200]), Check::UpLine("GET /-._~!$&'()*+,;=:@/ HTTP/1.1")]),
    ("line-empty-before", "9112 §2.2", "an empty line before the request is ignored", "\r\nGET /a HTTP/1.1\r\nHost: a\r\n\r\n",
        &[Check::Statuses(&[200]), Check::UpLine("GET /a HTTP/1.1")]),
    ("line-absolute", "9112 §3.2.2", "absolute-form is taken", "GET http://b.example/x?y HTTP/1.1\r\nHost: b.example\r\n\r\n",
        &[Check::Statuses(&[200]), Check::Requests(1), Check::OneOf(&[
            &[Check::UpLine("GET /x?y HTTP/1.1")], &[Check::UpLine("GET http://b.example/x?y HTTP/1.1")]])]),
    ("line-absolute-host-wins", "9112 §3.2.2", "absolute-form's host replaces Host",
        "GET http://b.example/x HTTP/1.1\r\nHost: other.example\r\n\r\n",
        &[Check::Statuses(&[200]), Check::Up("host", "b.example")]),
    ("line-absolute-scheme-case", "9110 §4.2.3", "a scheme in capitals", "GET HTTP://a/x HTTP/1.1\r\nHost: a\r\n\r\n",
        &[Check::Statuses(&[200]), Check::Requests(1)]),
    ("line-absolute-empty-path", "9112 §3.2.1", "an absolute target without a path means /",
        "GET http://a HTTP/1.1\r\nHost: a\r\n\r\n",
        &[Check::Statuses(&[200]), Check::OneOf(&[&[Check::UpLine("GET / HTTP/1.1")], &[Check::UpLine("GET http://a HTTP/1.1")],
            &[Check::UpLine("GET http://a/ HTTP/1.1")]])]),
    ("line-options-asterisk", "9112 §3.2.4", "OPTIONS * goes on as *", "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
        &[Check::OneOf(&[&[Check::Statuses(&[200]), Check::UpLine("OPTIONS * HTTP/1.1")], &[Check::StatusIn(&[200, 204, 405, 501]), Check::Requests(0)]])]),
    ("line-options-absolute", "9112 §3.2.4", "OPTIONS on an authority means *", "OPTIONS http://a HTTP/1.1\r\nHost: a\r\n\r\n",
        &[Check::OneOf(&[&[Check::Statuses(&[200]), Check::UpLine("OPTIONS * HTTP/1.1")],
            &[Check::StatusIn(&[200, 204, 400, 405, 501]), Check::Requests(0)]])]),
    ("host-port", "9112 §3.2", "a host with a port", "GET / HTTP/1.1\r\nHost: a.example:8080\r\n\r\n",
        &[Check::Statuses(&[200]), Check::Up("host", "a.example:8080")]),
    ("host-v6", "9110 §4.2", "an IPv6 host", "GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n",
        &[Check::Statuses(&[200]), Check::Up("host", "[::1]:80")]),
    ("host-spaces-around", "9110 §5.5", "white space around Host is not part of it", "GET / HTTP/1.1\r\nHost: \t a \t\r\n\r\n",
        &[Check::Statuses(&[200]), Check::Up("host", "a")]),
    ("host-name-case", "9110 §5.1", "the field's name in any case", "GET / HTTP/1.1\r\nhOsT: a\r\n\r\n",
        &[Check::Statuses(&[200]), Check::Up("host", "a")]),
];

/// Heads that are larger than anybody takes.
#[rustfmt::skip]
fn limits() -> Vec<Case> {
    let long = |id: &str, section, what: &str, send: Vec<Piece>, statuses: &'static [u16]| Case {
        send,
        checks: vec![Check::Refused(statuses)],
        after: After::Closed,
        ..Case::new(id, section, what, "")
    };
    let (get, host, end) = (Piece::Text("GET /"), Piece::Text(" HTTP/1.1\r\nHost: a\r\n"), Piece::Text("\r\n"));
    vec![
        long("limit-target", "9112 §3", "a target of a mebibyte", vec![get, Piece::Repeated("a", 1 << 20), host, end], &[400, 414, 431]),
        long("limit-field", "9110 §5.4", "a field of a mebibyte",
            vec![get, host, Piece::Text("X: "), Piece::Repeated("a", 1 << 20), end, end], &[400, 413, 431]),
        long("limit-name", "9110 §5.4", "a field name of 70 KiB",
            vec![get, host, Piece::Repeated("a", 70 << 10), Piece::Text(": b\r\n"), end], &[400, 413, 431]),
        long("limit-fields", "9110 §5.4", "twenty thousand fields", vec![get, host, Piece::Repeated("X: y\r\n", 20_000), end], &[400, 413, 431]),
        long("limit-method", "9112 §3", "a method of a mebibyte", vec![Piece::Repeated("A", 1 << 20), Piece::Text(" /"), host, end], &[400, 405, 413, 414, 431, 501]),
        Case {
            send: vec![get, Piece::Repeated("a", 8_000 - 300), host, end],
            checks: vec![Check::Statuses(&[200]), Check::Requests(1)],
            after: After::Open,
            ..Case::new("limit-target-8000", "9112 §3", "a request line of nearly 8,000 bytes is taken", "")
        },
    ]
}
