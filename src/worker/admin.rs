//! The Admin API on the proxy's port (off by default): such a request is relayed to the control thread over a private Unix
//! socket. A PROXY line in front names the TCP peer, so that `allow_admin` never trusts a header.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

use super::connection::{After, Client};
use super::core::Core;
use super::exchange::answer;
use super::pool::{NodePool, UpstreamConnection};
use super::scratch::Scratch;
use super::transfer::{Course, transfer};
use crate::config::snapshot::Timeouts;
use crate::http::policy::{self, Forward, HostHeader, Upgrade};
use crate::http::reply::status_of;
use crate::io::socket::Target;

/// The Admin API's own bounds, in milliseconds.
const TIMEOUTS: Timeouts = Timeouts { connect_ms: 5_000, send_ms: 60_000, read_ms: 60_000 };

/// True for `/apisix/admin` and everything below it.
pub fn is_admin_path(path: &[u8]) -> bool {
    path.strip_prefix(b"/apisix/admin").is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
}

/// Relays one Admin request. It is not recorded: it is no request of the service.
pub async fn relay(core: &Rc<Core>, client: &mut Client, scratch: &mut Scratch, socket: &Arc<Path>) -> After {
    let control = NodePool::new(Target::Unix(Rc::from(&**socket)), None);
    let began = core.clock.mono();
    let Ok(mut upstream) = UpstreamConnection::open(&control, "", TIMEOUTS.connect_ms, &core.deadlines).await else {
        return answer(core, client, scratch, 502).await;
    };
    scratch.head_up.clear();
    proxy_line(&mut scratch.head_up, client.peer, client.local);
    let forward = Forward {
        host: HostHeader::Pass { fallback: b"localhost" },
        peer: client.as_peer(core),
        forwarded: client.forwarded(core, &scratch.request),
        upgrade: Upgrade::Drop,
        target: None,
        via: None,
    };
    policy::write_request(&mut scratch.head_up, &client.input, &scratch.request, &forward);
    match transfer(core, client, scratch, &mut upstream, &Course::new(TIMEOUTS, began)).await {
        Ok((after, _)) => after,
        Err(failed) if failed.head_sent => After::Close,
        Err(failed) => answer(core, client, scratch, status_of(failed.fault)).await,
    }
}

/// PROXY protocol, version 1 (HAProxy's proxy-protocol.txt §2.1).
fn proxy_line(out: &mut Vec<u8>, peer: SocketAddr, local: Option<SocketAddr>) {
    let local = local.map_or(peer, |local| SocketAddr::new(local.ip().to_canonical(), local.port()));
    let _ = match (peer, local) {
        (SocketAddr::V4(from), SocketAddr::V4(to)) => {
            write!(out, "PROXY TCP4 {} {} {} {}\r\n", from.ip(), to.ip(), from.port(), to.port())
        }
        (SocketAddr::V6(from), SocketAddr::V6(to)) => {
            write!(out, "PROXY TCP6 {} {} {} {}\r\n", from.ip(), to.ip(), from.port(), to.port())
        }
        _ => write!(out, "PROXY UNKNOWN\r\n"),
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_admin_prefix_is_an_admin_path() {
        assert!(is_admin_path(b"/apisix/admin") && is_admin_path(b"/apisix/admin/routes/1"));
        assert!(!is_admin_path(b"/apisix/administrator") && !is_admin_path(b"/apisix"));
    }

    #[test]
    fn the_proxy_line_names_peer_and_port() {
        let mut out = Vec::new();
        let local = "127.0.0.1:9080".parse().ok();
        proxy_line(&mut out, "10.0.0.1:4000".parse().unwrap(), local);
        assert_eq!(out, b"PROXY TCP4 10.0.0.1 127.0.0.1 4000 9080\r\n");
    }
}
