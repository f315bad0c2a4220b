//! What upstreams say: broken answers are never passed on as whole ones, good ones arrive unharmed (RFC 9112 §4, §6, §8; RFC 9110 §15).

use super::{Answered, GET, answered};
use crate::case::{After, Answer, Case, Check};
use Answer::{Says, SaysAndCloses, SaysInTwo};

const OK: Check = Check::Statuses(&[200]);

pub fn cases() -> Vec<Case> {
    let mut cases = [
        answered(BROKEN, After::Any),
        answered(CUT, After::Closed),
        answered(GOOD, After::Open),
        answered(MENDED, After::Any),
    ]
    .concat();
    cases.extend(to_old_clients());
    cases
}

/// Must become a 502.
#[rustfmt::skip]
const BROKEN: &[Answered] = &[
    ("down-garbage", "9112 §4", "garbage", SaysAndCloses("garbage\r\n\r\n"), &[Check::StatusIn(&[502])]),
    ("down-status-two", "9112 §4", "a status of two digits", SaysAndCloses("HTTP/1.1 20 OK\r\nContent-Length: 2\r\n\r\nok"), &[Check::StatusIn(&[502])]),
    ("down-status-four", "9112 §4", "a status of four digits", SaysAndCloses("HTTP/1.1 2000 OK\r\nContent-Length: 2\r\n\r\nok"), &[Check::StatusIn(&[502])]),
    ("down-status-word", "9112 §4", "a status that is a word", SaysAndCloses("HTTP/1.1 abc OK\r\nContent-Length: 2\r\n\r\nok"), &[Check::StatusIn(&[502])]),
    ("down-status-0", "9110 §15", "a status below 100", SaysAndCloses("HTTP/1.1 099 OK\r\nContent-Length: 2\r\n\r\nok"), &[Check::StatusIn(&[502])]),
    ("down-status-0-bare", "9110 §15", "a status below 100 without a body", SaysAndCloses("HTTP/1.1 099 OK\r\n\r\n"), &[Check::StatusIn(&[502])]),
    ("down-status-none", "9112 §4", "no status", SaysAndCloses("HTTP/1.1\r\nContent-Length: 2\r\n\r\nok"), &[Check::StatusIn(&[502])]),
    ("down-version", "9112 §2.3", "another protocol", SaysAndCloses("ICY 200 OK\r\nContent-Length: 2\r\n\r\nok"), &[Check::StatusIn(&[502])]),
    ("down-version-2", "9112 §2.3", "HTTP/2.0 in HTTP/1 form", SaysAndCloses("HTTP/2.0 200 OK\r\nContent-Length: 2\r\n\r\nok"), &[Check::StatusIn(&[502])]),
    ("down-length-two", "9112 §6.3", "two different lengths", SaysAndCloses("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok!"), &[Check::StatusIn(&[502])]),
    ("down-length-list", "9112 §6.3", "a list of different lengths", SaysAndCloses("HTTP/1.1 200 OK\r\nContent-Length: 2, 3\r\n\r\nok!"), &[Check::StatusIn(&[502])]),
    ("down-length-plus", "9110 §8.6", "a length with a sign", SaysAndCloses("HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nok"), &[Check::StatusIn(&[502])]),
    ("down-length-minus", "9110 §8.6", "a negative length", SaysAndCloses("HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\nok"), &[Check::StatusIn(&[502])]),
    ("down-length-word", "9110 §8.6", "a length that is a word", SaysAndCloses("HTTP/1.1 200 OK\r\nContent-Length: two\r\n\r\nok"), &[Check::StatusIn(&[502])]),
    ("down-length-huge", "9110 §8.6", "a length of thirty digits", SaysAndCloses("HTTP/1.1 200 OK\r\nContent-Length: 999999999999999999999999999999\r\n\r\nok"), &[Check::StatusIn(&[502])]),
    ("down-length-empty", "9110 §8.6", "an empty length", SaysAndCloses("HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\nok"), &[Check::StatusIn(&[502])]),
    ("down-nul-value", "9110 §5.5", "a NUL in a value", SaysAndCloses("HTTP/1.1 200 OK\r\nX: a\0b\r\nContent-Length: 2\r\n\r\nok"), &[Check::OneOf(&[&[Check::StatusIn(&[502])], &[OK, Check::Down("x", "a b")]])]),
    ("down-name-space", "9112 §5.1", "a space inside a name", SaysAndCloses("HTTP/1.1 200 OK\r\nX Y: a\r\nContent-Length: 2\r\n\r\nok"), &[Check::StatusIn(&[502])]),
    ("down-no-colon", "9112 §5", "a line without a colon", SaysAndCloses("HTTP/1.1 200 OK\r\nnothing\r\nContent-Length: 2\r\n\r\nok"), &[Check::StatusIn(&[502])]),
    ("down-first-space", "9112 §2.2", "white space before the first field", SaysAndCloses("HTTP/1.1 200 OK\r\n X: a\r\nContent-Length: 2\r\n\r\nok"), &[Check::OneOf(&[&[Check::StatusIn(&[502])], &[OK, Check::DownNo("x")]])]),
    ("down-101-websocket", "9110 §15.2.2", "101 to WebSocket that nobody asked for", SaysAndCloses("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"), &[Check::StatusIn(&[502])]),
    ("down-101", "9110 §15.2.2", "101 that nobody asked for", SaysAndCloses("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n"), &[Check::StatusIn(&[502])]),
    ("down-nothing", "9112 §8", "an end without an answer", SaysAndCloses(""), &[Check::StatusIn(&[502, 504])]),
    ("down-half-head", "9112 §8", "an end inside the head", SaysAndCloses("HTTP/1.1 200 OK\r\nContent-Le"), &[Check::StatusIn(&[502, 504])]),
    ("down-interim-end", "9112 §8", "an end behind an interim answer", SaysAndCloses("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"), &[Check::StatusIn(&[502, 504])]),
    ("down-coding-1-0", "9112 §6.1", "a coding in HTTP/1.0", SaysAndCloses("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"), &[Check::OneOf(&[&[Check::StatusIn(&[502])], &[OK, Check::DownBody("ok")]])]),
];

/// Must never look whole.
#[rustfmt::skip]
const CUT: &[Answered] = &[
    ("cut-down-length", "9112 §8", "a body shorter than its length", SaysAndCloses("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello"), &[Check::NeverWhole]),
    ("cut-down-length-0", "9112 §8", "a length and nothing of the body", SaysAndCloses("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n"), &[Check::NeverWhole]),
    ("cut-down-chunk", "9112 §8", "an end inside a chunk", SaysAndCloses("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel"), &[Check::NeverWhole]),
    ("cut-down-chunks", "9112 §8", "an end between chunks", SaysAndCloses("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"), &[Check::NeverWhole]),
    ("cut-down-last", "9112 §8", "an end before the last CRLF", SaysAndCloses("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n"), &[Check::NeverWhole]),
    ("cut-down-no-chunk", "9112 §8", "a coding and no chunk", SaysAndCloses("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"), &[Check::NeverWhole]),
    ("cut-down-size", "9112 §7.1", "a chunk size that is no number", SaysAndCloses("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\nhello\r\n0\r\n\r\n"), &[Check::NeverWhole]),
    ("cut-down-size-empty", "9112 §7.1", "an empty chunk size", SaysAndCloses("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n\r\n\r\n"), &[Check::NeverWhole]),
    ("cut-down-size-minus", "9112 §7.1", "a negative chunk size", SaysAndCloses("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-2\r\nok\r\n0\r\n\r\n"), &[Check::NeverWhole]),
    ("cut-down-size-large", "9112 §7.1", "a chunk size of seventeen digits", SaysAndCloses("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n10000000000000002\r\nok\r\n0\r\n\r\n"), &[Check::NeverWhole]),
    ("cut-down-long", "9112 §7.1", "a chunk longer than its size", SaysAndCloses("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhello\r\n0\r\n\r\n"), &[Check::NeverWhole]),
    ("cut-down-second", "9112 §7.1", "a broken second chunk behind a good one", SaysInTwo("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n", "zz\r\n!\r\n0\r\n\r\n"), &[Check::NeverWhole]),
];

/// Must arrive as it is, and leave the client's connection in step.
#[rustfmt::skip]
const GOOD: &[Answered] = &[
    ("down-length", "9112 §6.2", "a length", Says("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"), &[OK, Check::DownBody("hello")]),
    ("down-length-zero", "9112 §6.3", "a length of 0", Says("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"), &[OK, Check::DownBody("")]),
    ("down-chunked", "9112 §7.1", "chunks", Says("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n1;ext\r\n!\r\n0\r\n\r\n"), &[OK, Check::DownBody("hello!")]),
    ("down-chunked-case", "9112 §7", "the coding in capitals", Says("HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"), &[OK, Check::DownBody("hello")]),
    ("down-trailers", "9112 §7.1.2", "trailers end the body and are no fields", Says("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n5\r\nhello\r\n0\r\nX-Sum: 7\r\n\r\n"), &[OK, Check::DownBody("hello"), Check::DownNo("x-sum")]),
    ("down-pieces", "9112 §6.2", "a body in two pieces", SaysInTwo("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello", "world"), &[OK, Check::DownBody("helloworld")]),
    ("down-head-pieces", "9112 §4", "a head in two pieces", SaysInTwo("HTTP/1.1 200 O", "K\r\nContent-Length: 5\r\n\r\nhello"), &[OK, Check::DownBody("hello")]),
    ("down-no-reason", "9112 §4", "an empty reason", Says("HTTP/1.1 200 \r\nContent-Length: 5\r\n\r\nhello"), &[OK, Check::DownBody("hello")]),
    ("down-reason", "9112 §4", "a reason of several words", Says("HTTP/1.1 200 All is well\r\nContent-Length: 5\r\n\r\nhello"), &[OK, Check::DownBody("hello")]),
    ("down-204", "9110 §15.3.5", "204 has no body and no length", Says("HTTP/1.1 204 No Content\r\n\r\n"), &[Check::Statuses(&[204]), Check::DownNo("transfer-encoding"), Check::DownNo("content-length")]),
    ("down-304", "9110 §15.4.5", "304 has no body", Says("HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\n\r\n"), &[Check::Statuses(&[304]), Check::Down("etag", "\"x\""), Check::DownNo("transfer-encoding")]),
    ("down-304-length", "9110 §8.6", "a 304 may say the length that 200 would have", Says("HTTP/1.1 304 Not Modified\r\nContent-Length: 1000\r\nETag: \"x\"\r\n\r\n"), &[Check::Statuses(&[304])]),
    ("down-404", "9110 §15.5.5", "errors are passed on", Says("HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\nnone"), &[Check::Statuses(&[404]), Check::DownBody("none")]),
    ("down-500", "9110 §15.6.1", "an upstream's 500 too", Says("HTTP/1.1 500 Oh\r\nContent-Length: 4\r\n\r\nbad!"), &[Check::Statuses(&[500]), Check::DownBody("bad!")]),
    ("down-599", "9110 §15", "an unknown status of a known class", Says("HTTP/1.1 299 Odd\r\nContent-Length: 2\r\n\r\nok"), &[Check::Statuses(&[299]), Check::DownBody("ok")]),
    ("down-103", "9110 §15.2", "an interim answer reaches a 1.1 client", Says("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"), &[OK, Check::Interims(&[103]), Check::DownBody("hello")]),
    ("down-103-twice", "9110 §15.2", "two interim answers", Says("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </b>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"), &[OK, Check::Interims(&[103, 103])]),
    ("down-100-unasked", "9110 §15.2", "a 100 that nobody asked for does no harm", Says("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"), &[OK, Check::DownBody("hello")]),
    ("down-cookies", "9110 §5.3", "two Set-Cookie lines stay two", Says("HTTP/1.1 200 OK\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\nContent-Length: 2\r\n\r\nok"), &[OK, Check::DownAll("set-cookie", &["a=1", "b=2"])]),
    ("down-obs-text", "9110 §5.5", "bytes above 127", Says("HTTP/1.1 200 OK\r\nX: \u{e4}\r\nContent-Length: 2\r\n\r\nok"), &[OK, Check::Down("x", "\u{e4}")]),
    ("down-date", "9110 §6.6.1", "an upstream's Date stays", Says("HTTP/1.1 200 OK\r\nDate: Tue, 15 Nov 1994 08:12:31 GMT\r\nContent-Length: 2\r\n\r\nok"), &[OK, Check::Down("date", "Tue, 15 Nov 1994 08:12:31 GMT")]),
    ("down-no-date", "9110 §6.6.1", "a missing Date is added", Says("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"), &[OK, Check::DownHas("date")]),
    ("down-etag", "9110 §8.8.3", "validators stay", Says("HTTP/1.1 200 OK\r\nETag: W/\"a\"\r\nLast-Modified: Tue, 15 Nov 1994 08:12:31 GMT\r\nContent-Length: 2\r\n\r\nok"), &[OK, Check::Down("etag", "W/\"a\"")]),
    ("down-encoding", "9110 §7.7", "Content-Encoding and its bytes stay", Says("HTTP/1.1 200 OK\r\nContent-Encoding: x-any\r\nContent-Length: 2\r\n\r\nok"), &[OK, Check::Down("content-encoding", "x-any"), Check::DownBody("ok")]),
    ("down-nominated", "9110 §7.6.1", "a nominated field ends at the proxy", Says("HTTP/1.1 200 OK\r\nConnection: X-Mine\r\nX-Mine: 1\r\nX-Yours: 2\r\nContent-Length: 2\r\n\r\nok"), &[OK, Check::DownNo("x-mine"), Check::Down("x-yours", "2")]),
    ("down-keep-alive", "9110 §7.6.1", "an upstream's Keep-Alive ends at the proxy", Says("HTTP/1.1 200 OK\r\nConnection: Keep-Alive\r\nKeep-Alive: timeout=77\r\nContent-Length: 2\r\n\r\nok"), &[OK, Check::OneOf(&[&[Check::DownNo("keep-alive")], &[Check::DownHolds("keep-alive", "timeout=6")]])]),
    ("down-proxy-connection", "9110 §7.6.1", "Proxy-Connection ends at the proxy", Says("HTTP/1.1 200 OK\r\nProxy-Connection: keep-alive\r\nContent-Length: 2\r\n\r\nok"), &[OK, Check::DownNo("proxy-connection")]),
    ("down-upgrade", "9110 §7.8", "an offer to upgrade ends at the proxy", Says("HTTP/1.1 200 OK\r\nConnection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 2\r\n\r\nok"), &[OK, Check::DownNo("upgrade")]),
    ("down-until-close", "9112 §6.3", "a body that ends with the upstream's connection", SaysAndCloses("HTTP/1.1 200 OK\r\n\r\nhello"), &[OK, Check::DownBody("hello")]),
    ("down-old", "9112 §6.3", "an HTTP/1.0 answer", SaysAndCloses("HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello"), &[OK, Check::DownBody("hello"), Check::DownLine("HTTP/1.1 ")]),
    ("down-old-close", "9112 §6.3", "an HTTP/1.0 answer without a length", SaysAndCloses("HTTP/1.0 200 OK\r\n\r\nhello"), &[OK, Check::DownBody("hello")]),
    ("down-empty-line", "9112 §6", "a body of empty lines", Says("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n\r\n\r\n\r\n"), &[OK, Check::DownBody("\r\n\r\n\r\n")]),
    ("down-looks", "9112 §6", "a body that looks like an answer", Says("HTTP/1.1 200 OK\r\nContent-Length: 38\r\n\r\nHTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n"), &[OK, Check::DownBody("HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n")]),
];

/// Refused, or mended in the one way that is right.
#[rustfmt::skip]
const MENDED: &[Answered] = &[
    ("down-both", "9112 §6.3", "a length and a coding: 502, or the coding's body without the length", SaysAndCloses("HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"),
        &[Check::OneOf(&[&[Check::StatusIn(&[502])], &[OK, Check::DownBody("hello"), Check::DownNo("content-length")], &[OK, Check::DownBody("hello"), Check::DownNo("transfer-encoding")]])]),
    ("down-length-same", "9110 §8.6", "the same length twice: 502, or once", SaysAndCloses("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok"), &[Check::OneOf(&[&[Check::StatusIn(&[502])], &[OK, Check::Down("content-length", "2"), Check::DownBody("ok")]])]),
    ("down-space-colon", "9112 §5.1", "a space before the colon: removed, or 502", SaysAndCloses("HTTP/1.1 200 OK\r\nX : a\r\nContent-Length: 2\r\n\r\nok"), &[Check::OneOf(&[&[Check::StatusIn(&[502])], &[OK, Check::Down("x", "a")], &[OK, Check::DownNo("x")]])]),
    ("down-fold", "9112 §5.2", "a folded value: joined, or 502", SaysAndCloses("HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 2\r\n\r\nok"), &[Check::OneOf(&[&[Check::StatusIn(&[502])], &[OK, Check::DownHolds("x", "a"), Check::DownHolds("x", "b")]])]),
    ("down-bare-lf", "9112 §2.2", "bare line feeds: 502, or taken as line ends", SaysAndCloses("HTTP/1.1 200 OK\nX: a\nContent-Length: 2\n\nok"), &[Check::OneOf(&[&[Check::StatusIn(&[502])], &[OK, Check::Down("x", "a"), Check::DownBody("ok")]])]),
    ("down-bare-cr", "9112 §2.2", "a bare CR in a value: 502, or a space", SaysAndCloses("HTTP/1.1 200 OK\r\nX: a\rb\r\nContent-Length: 2\r\n\r\nok"), &[Check::OneOf(&[&[Check::StatusIn(&[502])], &[OK, Check::Down("x", "a b")]])]),
    ("down-coding-unknown", "9112 §6.3", "a coding that nobody has: 502, or until the end", SaysAndCloses("HTTP/1.1 200 OK\r\nTransfer-Encoding: xyz\r\n\r\nhello"), &[Check::OneOf(&[&[Check::StatusIn(&[502])], &[Check::StatusIn(&[200])]])]),
    ("down-more", "9112 §6.3", "bytes behind the answer are never another's answer", SaysAndCloses("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"), &[OK, Check::DownBody("ok")]),
    ("down-204-body", "9110 §15.3.5", "a 204 with a length and a body: the body is nobody's", SaysAndCloses("HTTP/1.1 204 No Content\r\nContent-Length: 4\r\n\r\nevil"), &[Check::OneOf(&[&[Check::StatusIn(&[502])], &[Check::Statuses(&[204])]])]),
    ("down-204-coding", "9112 §6.1", "a 204 with a coding: the coding is not passed on", SaysAndCloses("HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), &[Check::OneOf(&[&[Check::StatusIn(&[502])], &[Check::Statuses(&[204]), Check::DownNo("transfer-encoding")]])]),
    ("down-interim-length", "9110 §15.2", "an interim answer with a length", SaysAndCloses("HTTP/1.1 103 Early Hints\r\nContent-Length: 5\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"), &[Check::OneOf(&[&[Check::StatusIn(&[502])], &[OK, Check::DownBody("ok")]])]),
];

/// HTTP/1.0 clients know neither chunks nor interim answers.
fn to_old_clients() -> Vec<Case> {
    const OLD: &str = "GET / HTTP/1.0\r\nHost: a\r\n\r\n";
    let case = |id: &str, section, what: &str, answer, checks: &[Check]| Case {
        answers: vec![answer],
        checks: checks.to_vec(),
        after: After::Closed,
        ..Case::new(id, section, what, OLD)
    };
    let chunked = Says("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-Sum: 7\r\n\r\n");
    let interim = Says("HTTP/1.1 103 Early Hints\r\nX: y\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello");
    let close = SaysAndCloses("HTTP/1.1 200 OK\r\n\r\nhello");
    vec![
        case(
            "old-chunked",
            "9112 §6.1",
            "chunks are undone for a 1.0 client",
            chunked,
            &[OK, Check::DownBody("hello"), Check::DownNo("transfer-encoding")],
        ),
        case(
            "old-interim",
            "9110 §15.2",
            "a 1.0 client is sent no interim answer",
            interim,
            &[OK, Check::Interims(&[]), Check::DownBody("hello")],
        ),
        case("old-until-close", "9112 §6.3", "a body until the end stays one", close, &[OK, Check::DownBody("hello")]),
        Case { after: After::Open, ..Case::new("plain", "9112 §2", "a plain exchange", GET) }.with(&[OK]),
    ]
}
