//! What belongs to one connection and what a proxy adds (RFC 9110 §7.6), on the way up.

use super::{Served, either, served};
use crate::case::{Case, Check};

const OK: Check = Check::Statuses(&[200]);

pub fn cases() -> Vec<Case> {
    [served(SERVED), either(EITHER)].concat()
}

#[rustfmt::skip]
const SERVED: &[Served] = &[
    ("hop-nominated", "9110 §7.6.1", "a nominated field is removed", "GET / HTTP/1.1\r\nHost: a\r\nConnection: X-Mine\r\nX-Mine: 1\r\nX-Yours: 2\r\n\r\n", &[OK, Check::UpNo("x-mine"), Check::Up("x-yours", "2")]),
    ("hop-nominated-list", "9110 §7.6.1", "a list nominates", "GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, X-A ,\tX-B\r\nX-A: 1\r\nX-B: 2\r\nX-C: 3\r\n\r\n", &[OK, Check::UpNo("x-a"), Check::UpNo("x-b"), Check::Up("x-c", "3")]),
    ("hop-nominated-case", "9110 §7.6.1", "nominated in another case", "GET / HTTP/1.1\r\nHost: a\r\nConnection: x-MINE\r\nX-Mine: 1\r\n\r\n", &[OK, Check::UpNo("x-mine")]),
    ("hop-nominated-before", "9110 §7.6.1", "the nominated field stands before Connection", "GET / HTTP/1.1\r\nHost: a\r\nX-Mine: 1\r\nConnection: X-Mine\r\n\r\n", &[OK, Check::UpNo("x-mine")]),
    ("hop-nominated-two", "9110 §7.6.1", "two Connection lines", "GET / HTTP/1.1\r\nHost: a\r\nConnection: X-A\r\nConnection: X-B\r\nX-A: 1\r\nX-B: 2\r\n\r\n", &[OK, Check::UpNo("x-a"), Check::UpNo("x-b")]),
    ("hop-nominated-repeated", "9110 §7.6.1", "every line of a nominated field", "GET / HTTP/1.1\r\nHost: a\r\nConnection: X-A\r\nX-A: 1\r\nX-A: 2\r\n\r\n", &[OK, Check::UpNo("x-a")]),
    ("hop-nominated-absent", "9110 §7.6.1", "a nominated field that is not there", "GET / HTTP/1.1\r\nHost: a\r\nConnection: X-A\r\n\r\n", &[OK]),
    ("hop-connection", "9110 §7.6.1", "Connection's options do not go on", "GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, X-Option\r\n\r\n",
        &[OK, Check::OneOf(&[&[Check::UpNo("connection")], &[Check::Up("connection", "close")], &[Check::Up("connection", "keep-alive")], &[Check::Up("connection", "")]])]),
    ("hop-keep-alive", "9110 §7.6.1", "Keep-Alive does not go on", "GET / HTTP/1.1\r\nHost: a\r\nKeep-Alive: timeout=5\r\n\r\n", &[OK, Check::UpNo("keep-alive")]),
    ("hop-proxy-connection", "9110 §7.6.1", "Proxy-Connection does not go on", "GET / HTTP/1.1\r\nHost: a\r\nProxy-Connection: keep-alive\r\n\r\n", &[OK, Check::UpNo("proxy-connection")]),
    ("hop-te", "9110 §10.1.4", "TE does not go on", "GET / HTTP/1.1\r\nHost: a\r\nConnection: TE\r\nTE: trailers, gzip\r\n\r\n", &[OK, Check::OneOf(&[&[Check::UpNo("te")], &[Check::Up("te", "trailers"), Check::UpHolds("connection", "te")]])]),
    ("hop-upgrade", "9110 §7.8", "Upgrade does not go on unasked", "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: x-other\r\n\r\n", &[OK, Check::UpNo("upgrade")]),
    ("hop-http2-settings", "9110 §7.8", "an h2c upgrade ends at the proxy", "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n", &[OK, Check::UpNo("upgrade"), Check::UpNo("http2-settings")]),
    ("hop-nominates-end-to-end", "9110 §7.6.1", "Cache-Control may not be nominated away silently by a proxy's own Connection", "GET / HTTP/1.1\r\nHost: a\r\nCache-Control: no-store\r\n\r\n", &[OK, Check::Up("cache-control", "no-store")]),
    ("up-version", "9110 §2.5", "what goes on has the proxy's own version", "GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n", &[OK, Check::OneOf(&[&[Check::UpLine("GET / HTTP/1.1")], &[Check::UpLine("GET / HTTP/1.0")]])]),
    ("up-host", "9110 §7.2", "Host goes on", "GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n", &[OK, Check::Up("host", "shop.example")]),
    ("up-via", "9110 §7.6.3", "Via is sent, with the version received", "GET / HTTP/1.1\r\nHost: a\r\n\r\n", &[OK, Check::UpHolds("via", "1.1 ")]),
    ("up-via-1-0", "9110 §7.6.3", "Via says 1.0 for a 1.0 request", "GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n", &[OK, Check::UpHolds("via", "1.0 ")]),
    ("up-via-kept", "9110 §7.6.3", "earlier Via entries stay, in order and before ours", "GET / HTTP/1.1\r\nHost: a\r\nVia: 1.0 first, 1.1 second\r\n\r\n", &[OK, Check::UpHolds("via", "1.0 first, 1.1 second")]),
    ("up-max-forwards", "9110 §7.6.2", "Max-Forwards of OPTIONS is counted down", "OPTIONS /a HTTP/1.1\r\nHost: a\r\nMax-Forwards: 5\r\n\r\n", &[OK, Check::Up("max-forwards", "4")]),
    ("up-max-forwards-get", "9110 §7.6.2", "of GET it is a field like any other", "GET /a HTTP/1.1\r\nHost: a\r\nMax-Forwards: 0\r\n\r\n", &[OK, Check::Requests(1)]),
    ("up-max-forwards-large", "9110 §7.6.2", "a Max-Forwards larger than any number of ours", "OPTIONS /a HTTP/1.1\r\nHost: a\r\nMax-Forwards: 99999999999999999999999\r\n\r\n", &[OK, Check::Requests(1)]),
    ("up-forwarded-for", "9110 §7.6", "X-Forwarded-For grows", "GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 192.0.2.1\r\n\r\n", &[OK, Check::UpHolds("x-forwarded-for", "127.0.0.1")]),
];

#[rustfmt::skip]
const EITHER: &[Served] = &[
    ("up-max-forwards-zero", "9110 §7.6.2", "OPTIONS with Max-Forwards: 0 ends at the proxy", "OPTIONS /a HTTP/1.1\r\nHost: a\r\nMax-Forwards: 0\r\n\r\n", &[Check::StatusIn(&[200, 204, 405, 501]), Check::Requests(0)]),
    ("up-max-forwards-trace", "9110 §7.6.2", "TRACE with Max-Forwards: 0 ends at the proxy", "TRACE /a HTTP/1.1\r\nHost: a\r\nMax-Forwards: 0\r\n\r\n", &[Check::StatusIn(&[200, 403, 405, 501]), Check::Requests(0)]),
    ("up-max-forwards-word", "9110 §7.6.2", "a Max-Forwards that is no number is not passed on as one", "OPTIONS /a HTTP/1.1\r\nHost: a\r\nMax-Forwards: x\r\n\r\n",
        &[Check::OneOf(&[&[Check::Refused(&[400])], &[OK]])]),
    ("hop-nominated-host", "9110 §7.6.1", "Host nominated away: the upstream has one all the same", "GET / HTTP/1.1\r\nHost: a\r\nConnection: Host\r\n\r\n", &[Check::OneOf(&[&[Check::Refused(&[400])], &[OK, Check::Up("host", "a")]])]),
    ("hop-nominated-length", "9112 §6.3", "Content-Length nominated away: framing stays", "POST / HTTP/1.1\r\nHost: a\r\nConnection: Content-Length\r\nContent-Length: 5\r\n\r\nhello", &[Check::OneOf(&[&[Check::Refused(&[400])], &[OK, Check::UpBody("hello")]])]),
    ("hop-nominated-coding", "9112 §6.3", "Transfer-Encoding nominated away: framing stays", "POST / HTTP/1.1\r\nHost: a\r\nConnection: Transfer-Encoding\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", &[Check::OneOf(&[&[Check::Refused(&[400])], &[OK, Check::UpBody("hello")]])]),
    ("hop-nominated-forwarded", "9110 §7.6.1", "a forwarding field nominated away: the proxy's own is sent all the same", "GET / HTTP/1.1\r\nHost: a\r\nConnection: X-Forwarded-For\r\nX-Forwarded-For: 192.0.2.1\r\n\r\n", &[Check::OneOf(&[&[Check::Refused(&[400])], &[OK, Check::UpHolds("x-forwarded-for", "127.0.0.1")]])]),
];
