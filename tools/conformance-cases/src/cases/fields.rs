//! Field lines (RFC 9112 §2.2, §5; RFC 9110 §5).

use super::{Refusal, Served, either, refused, served};
use crate::case::{Case, Check};

const BAD: &[u16] = &[400];
const OK: Check = Check::Statuses(&[200]);

pub fn cases() -> Vec<Case> {
    [refused(REFUSED), served(SERVED), either(EITHER)].concat()
}

#[rustfmt::skip]
const REFUSED: &[Refusal] = &[
    ("field-space-colon", "9112 §5.1", "a space before the colon", "GET / HTTP/1.1\r\nHost: a\r\nX : y\r\n\r\n", BAD),
    ("field-tab-colon", "9112 §5.1", "a tab before the colon", "GET / HTTP/1.1\r\nHost: a\r\nX\t: y\r\n\r\n", BAD),
    ("field-space-colon-length", "9112 §5.1", "a space before Content-Length's colon", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length : 5\r\n\r\nhello", BAD),
    ("field-space-colon-coding", "9112 §5.1", "a space before Transfer-Encoding's colon", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n", BAD),
    ("field-space-host", "9112 §5.1", "a space before Host's colon", "GET / HTTP/1.1\r\nHost : a\r\n\r\n", BAD),
    ("field-first-space", "9112 §2.2", "white space between request line and first field", "GET / HTTP/1.1\r\n Host: a\r\n\r\n", BAD),
    ("field-first-tab", "9112 §2.2", "a tab between request line and first field", "GET / HTTP/1.1\r\n\tX: y\r\nHost: a\r\n\r\n", BAD),
    ("field-no-colon", "9112 §5", "a line without a colon", "GET / HTTP/1.1\r\nHost: a\r\nnothing\r\n\r\n", BAD),
    ("field-no-name", "9112 §5", "an empty name", "GET / HTTP/1.1\r\nHost: a\r\n: y\r\n\r\n", BAD),
    ("field-name-space", "9110 §5.1", "a space in a name", "GET / HTTP/1.1\r\nHost: a\r\nX Y: z\r\n\r\n", BAD),
    ("field-name-nul", "9110 §5.1", "a NUL in a name", "GET / HTTP/1.1\r\nHost: a\r\nX\0Y: z\r\n\r\n", BAD),
    ("field-name-paren", "9110 §5.1", "a parenthesis in a name", "GET / HTTP/1.1\r\nHost: a\r\nX(Y): z\r\n\r\n", BAD),
    ("field-name-quote", "9110 §5.1", "a quoted name", "GET / HTTP/1.1\r\nHost: a\r\n\"X\": z\r\n\r\n", BAD),
    ("field-name-slash", "9110 §5.1", "a slash in a name", "GET / HTTP/1.1\r\nHost: a\r\nX/Y: z\r\n\r\n", BAD),
    ("field-name-brace", "9110 §5.1", "a brace in a name", "GET / HTTP/1.1\r\nHost: a\r\nX{Y: z\r\n\r\n", BAD),
    ("field-name-comma", "9110 §5.1", "a comma in a name", "GET / HTTP/1.1\r\nHost: a\r\nX,Y: z\r\n\r\n", BAD),
    ("field-name-at", "9110 §5.1", "an at sign in a name", "GET / HTTP/1.1\r\nHost: a\r\nX@Y: z\r\n\r\n", BAD),
    ("field-name-high", "9110 §5.1", "a byte above 127 in a name", "GET / HTTP/1.1\r\nHost: a\r\nX\u{e4}: z\r\n\r\n", BAD),
    ("field-name-control", "9110 §5.1", "a control character in a name", "GET / HTTP/1.1\r\nHost: a\r\nX\x01: z\r\n\r\n", BAD),
    ("field-name-delete", "9110 §5.1", "a DEL in a name", "GET / HTTP/1.1\r\nHost: a\r\nX\x7f: z\r\n\r\n", BAD),
];

#[rustfmt::skip]
const SERVED: &[Served] = &[
    ("field-ows", "9110 §5.5", "white space around a value is not part of it", "GET / HTTP/1.1\r\nHost: a\r\nX-A: \t y z \t\r\n\r\n", &[OK, Check::Up("x-a", "y z")]),
    ("field-no-ows", "9112 §5", "no white space behind the colon", "GET / HTTP/1.1\r\nHost: a\r\nX-A:y\r\n\r\n", &[OK, Check::Up("x-a", "y")]),
    ("field-empty", "9110 §5.5", "an empty value", "GET / HTTP/1.1\r\nHost: a\r\nX-A:\r\n\r\n", &[OK, Check::Up("x-a", "")]),
    ("field-blank", "9110 §5.5", "a value of blanks is empty", "GET / HTTP/1.1\r\nHost: a\r\nX-A:  \t \r\n\r\n", &[OK, Check::Up("x-a", "")]),
    ("field-obs-text", "9110 §5.5", "bytes above 127 are opaque", "GET / HTTP/1.1\r\nHost: a\r\nX-A: \u{e4}\u{ff}\r\n\r\n", &[OK, Check::Up("x-a", "\u{e4}\u{ff}")]),
    ("field-tab-inside", "9110 §5.5", "a tab inside a value", "GET / HTTP/1.1\r\nHost: a\r\nX-A: y\tz\r\n\r\n", &[OK, Check::Up("x-a", "y\tz")]),
    ("field-token-name", "9110 §5.6.2", "every token character in a name", "GET / HTTP/1.1\r\nHost: a\r\nX!#$%&'*+-.^`|~9: y\r\n\r\n", &[OK, Check::Up("x!#$%&'*+-.^`|~9", "y")]),
    ("field-order", "9110 §5.3", "fields of one name stay in order", "GET / HTTP/1.1\r\nHost: a\r\nX-A: 1\r\nX-B: 2\r\nX-A: 3\r\n\r\n",
        &[OK, Check::OneOf(&[&[Check::UpAll("x-a", &["1", "3"])], &[Check::Up("x-a", "1, 3")], &[Check::Up("x-a", "1,3")]])]),
    ("field-colons", "9112 §5", "a value with colons", "GET / HTTP/1.1\r\nHost: a\r\nX-A: b: c::d\r\n\r\n", &[OK, Check::Up("x-a", "b: c::d")]),
    ("field-quoted", "9110 §5.6.4", "a quoted string is not looked into", "GET / HTTP/1.1\r\nHost: a\r\nX-A: \"a\\\"b, c\"\r\n\r\n", &[OK, Check::Up("x-a", "\"a\\\"b, c\"")]),
    ("field-cookie", "9110 §5.3", "two Cookie lines", "GET / HTTP/1.1\r\nHost: a\r\nCookie: a=1\r\nCookie: b=2\r\n\r\n",
        &[OK, Check::UpHolds("cookie", "a=1"), Check::UpHolds("cookie", "b=2")]),
    ("field-unknown", "9110 §5.1", "a field that nobody knows goes on", "GET / HTTP/1.1\r\nHost: a\r\nX-Never-Heard: of\r\n\r\n", &[OK, Check::Up("x-never-heard", "of")]),
    ("field-range", "9110 §14.2", "Range goes on", "GET / HTTP/1.1\r\nHost: a\r\nRange: bytes=0-1\r\n\r\n", &[OK, Check::Up("range", "bytes=0-1")]),
    ("field-authorization", "9110 §11.6.2", "Authorization goes on unchanged", "GET / HTTP/1.1\r\nHost: a\r\nAuthorization: Basic eDp5\r\n\r\n", &[OK, Check::Up("authorization", "Basic eDp5")]),
    ("field-no-transform", "9110 §7.7", "Cache-Control goes on", "GET / HTTP/1.1\r\nHost: a\r\nCache-Control: no-transform\r\n\r\n", &[OK, Check::Up("cache-control", "no-transform")]),
];

/// What must be refused or mended, never passed on.
#[rustfmt::skip]
const EITHER: &[Served] = &[
    ("fold", "9112 §5.2", "a folded value: refused, or joined with spaces", "GET / HTTP/1.1\r\nHost: a\r\nX-A: y\r\n z\r\n\r\n",
        &[Check::OneOf(&[&[Check::Refused(BAD)], &[OK, Check::UpHolds("x-a", "y"), Check::UpHolds("x-a", "z"), Check::UpNo("z")]])]),
    ("fold-tab", "9112 §5.2", "the same with a tab", "GET / HTTP/1.1\r\nHost: a\r\nX-A: y\r\n\tz\r\n\r\n",
        &[Check::OneOf(&[&[Check::Refused(BAD)], &[OK, Check::UpHolds("x-a", "y"), Check::UpHolds("x-a", "z")]])]),
    ("fold-coding", "9112 §5.2", "a folded Transfer-Encoding", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\r\n chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        &[Check::OneOf(&[&[Check::Refused(&[400, 501])], &[OK, Check::UpBody("hello")]])]),
    ("fold-length", "9112 §5.2", "a folded Content-Length", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n 5\r\n\r\nhello",
        &[Check::OneOf(&[&[Check::Refused(BAD)], &[OK, Check::UpBody("hello")]])]),
    ("fold-host", "9112 §5.2", "a folded Host", "GET / HTTP/1.1\r\nHost: a\r\n b\r\n\r\n", &[Check::Refused(BAD)]),
    ("bare-lf", "9112 §2.2", "bare line feeds: refused, or taken as line ends and written as CRLF", "GET / HTTP/1.1\nHost: a\nX-A: y\n\n",
        &[Check::OneOf(&[&[Check::Refused(BAD)], &[OK, Check::Up("x-a", "y")]])]),
    ("bare-lf-last", "9112 §2.2", "the blank line as a bare line feed", "GET / HTTP/1.1\r\nHost: a\r\nX-A: y\r\n\n",
        &[Check::OneOf(&[&[Check::Refused(BAD)], &[OK, Check::Up("x-a", "y")]])]),
    ("bare-lf-value", "9110 §5.5", "a line feed that hides a field", "GET / HTTP/1.1\r\nHost: a\r\nX-A: y\nX-B: z\r\n\r\n",
        &[Check::OneOf(&[&[Check::Refused(BAD)], &[OK, Check::Up("x-a", "y"), Check::Up("x-b", "z")], &[OK, Check::Up("x-a", "y X-B: z")]])]),
    ("bare-cr-value", "9112 §2.2", "a bare CR in a value: refused, or a space", "GET / HTTP/1.1\r\nHost: a\r\nX-A: y\rz\r\n\r\n",
        &[Check::OneOf(&[&[Check::Refused(BAD)], &[OK, Check::Up("x-a", "y z")]])]),
    ("bare-cr-field", "9112 §2.2", "a bare CR that hides a field", "GET / HTTP/1.1\r\nHost: a\r\nX-A: y\rX-B: z\r\n\r\n",
        &[Check::OneOf(&[&[Check::Refused(BAD)], &[OK, Check::Up("x-a", "y X-B: z"), Check::UpNo("x-b")]])]),
    ("bare-cr-end", "9112 §2.2", "two CRs before the line feed", "GET / HTTP/1.1\r\nHost: a\r\r\n\r\n",
        &[Check::OneOf(&[&[Check::Refused(BAD)], &[OK, Check::Up("host", "a")]])]),
    ("nul-value", "9110 §5.5", "a NUL in a value: refused, or a space", "GET / HTTP/1.1\r\nHost: a\r\nX-A: y\0z\r\n\r\n",
        &[Check::OneOf(&[&[Check::Refused(BAD)], &[OK, Check::Up("x-a", "y z")]])]),
    ("control-value", "9110 §5.5", "a control character in a value: refused, or kept as it is", "GET / HTTP/1.1\r\nHost: a\r\nX-A: y\x01z\r\n\r\n",
        &[Check::OneOf(&[&[Check::Refused(BAD)], &[OK, Check::UpHolds("x-a", "z")]])]),
    ("delete-value", "9110 §5.5", "a DEL in a value: refused, or kept as it is", "GET / HTTP/1.1\r\nHost: a\r\nX-A: y\x7fz\r\n\r\n",
        &[Check::OneOf(&[&[Check::Refused(BAD)], &[OK, Check::UpHolds("x-a", "z")]])]),
    ("field-underscore", "9110 §5.1", "an underscore in a name is legal: it goes on, or is dropped for safety", "GET / HTTP/1.1\r\nHost: a\r\nX_A: y\r\n\r\n",
        &[OK, Check::OneOf(&[&[Check::Up("x_a", "y")], &[Check::UpNo("x_a")]])]),
];
