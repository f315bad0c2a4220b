//! Upgrade (RFC 9110 §7.8) where WebSocket is not switched on for the route: the offer is ignored and nothing is tunnelled.

use super::{Served, served};
use crate::case::{Case, Check};

const OK: Check = Check::Statuses(&[200]);

pub fn cases() -> Vec<Case> {
    served(SERVED)
}

#[rustfmt::skip]
const SERVED: &[Served] = &[
    ("upgrade-ignored", "9110 §7.8", "an upgrade that is not taken is an ordinary request", "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", &[OK, Check::UpNo("upgrade")]),
    ("upgrade-not-nominated", "9110 §7.8", "Upgrade without Connection's word does not go on", "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\r\n", &[OK, Check::UpNo("upgrade")]),
    ("upgrade-old", "9110 §7.8", "Upgrade in HTTP/1.0 is ignored", "GET / HTTP/1.0\r\nHost: a\r\nConnection: Upgrade, keep-alive\r\nUpgrade: websocket\r\n\r\n", &[OK, Check::UpNo("upgrade")]),
    ("upgrade-hidden", "9110 §7.8", "a request behind an ignored upgrade is a request of its own", "GET /1 HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n", &[Check::Statuses(&[200, 200]), Check::Requests(2), Check::UpLine("GET /2 HTTP/1.1")]),
    ("upgrade-body", "9110 §7.8", "an upgrade with a body", "POST / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 5\r\n\r\nhello", &[OK, Check::UpBody("hello"), Check::UpNo("upgrade")]),
];
