//! Who asks the Admin API: the TCP peer, either of our own listener or as a worker names it in a PROXY protocol line when it
//! relays a request from the proxy port. Never a request header.

use std::fs;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, UnixListener, UnixStream};
use tokio::sync::mpsc;

/// Bytes of the longest PROXY protocol v1 line with its CRLF (PROXY protocol §2.1); a longer one is refused.
pub const PROXY_LINE_BYTES: usize = 107;
/// Time in which a relayed connection must have sent its PROXY line, in ms; then it is closed.
pub const PROXY_LINE_MS: u64 = 2_000;
/// Relayed connections that wait for the Admin API; further ones wait in the kernel.
const RELAYED_WAITING: usize = 16;

/// Who is on the other end of the TCP connection that a request came in by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// This address.
    Known(SocketAddr),
    /// The worker could not say (`PROXY UNKNOWN`): nobody, whom only an empty `allow_admin` lets in.
    Unknown,
}

impl Peer {
    /// Its IP address, if it is known.
    pub fn ip(self) -> Option<IpAddr> {
        match self {
            Self::Known(address) => Some(address.ip()),
            Self::Unknown => None,
        }
    }
}

impl Connected<IncomingStream<'_, TcpListener>> for Peer {
    fn connect_info(stream: IncomingStream<'_, TcpListener>) -> Self {
        Self::Known(*stream.remote_addr())
    }
}

impl Connected<IncomingStream<'_, Relayed>> for Peer {
    fn connect_info(stream: IncomingStream<'_, Relayed>) -> Self {
        *stream.remote_addr()
    }
}

/// The private Unix socket on which workers relay Admin requests. Each connection starts with one PROXY protocol v1 line; a
/// connection that does not is closed without an answer.
#[derive(Debug)]
pub struct Relayed {
    named: mpsc::Receiver<(UnixStream, Peer)>,
}

impl Relayed {
    /// Listens at `path`, mode 0600, in place of a socket that an earlier run left there. Must be called inside the runtime.
    pub fn bind(path: &Path) -> io::Result<Self> {
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(path)?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
        let (sender, named) = mpsc::channel(RELAYED_WAITING);
        tokio::spawn(accept_all(listener, sender));
        Ok(Self { named })
    }
}

impl Listener for Relayed {
    type Io = UnixStream;
    type Addr = Peer;

    async fn accept(&mut self) -> (UnixStream, Peer) {
        match self.named.recv().await {
            Some(named) => named,
            // The accepting task only ends with the runtime.
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<Peer> {
        Ok(Peer::Unknown)
    }
}

async fn accept_all(listener: UnixListener, named: mpsc::Sender<(UnixStream, Peer)>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                tokio::spawn(name_peer(stream, named.clone()));
            }
            Err(error) => {
                log::warn!("the Admin API's relay socket cannot accept: {error}");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
        if named.is_closed() {
            return;
        }
    }
}

async fn name_peer(mut stream: UnixStream, named: mpsc::Sender<(UnixStream, Peer)>) {
    let line = tokio::time::timeout(Duration::from_millis(PROXY_LINE_MS), read_line(&mut stream)).await;
    match line.ok().flatten().and_then(|line| parse_proxy_line(&line)) {
        Some(peer) => {
            let _ = named.send((stream, peer)).await;
        }
        None => log::warn!("a connection to the Admin API's relay socket did not say whom it speaks for: refused"),
    }
}

/// One byte at a time, so that nothing of the request behind the line is taken. A cold path.
async fn read_line(stream: &mut UnixStream) -> Option<Vec<u8>> {
    let mut line = Vec::with_capacity(PROXY_LINE_BYTES);
    while line.len() < PROXY_LINE_BYTES {
        line.push(stream.read_u8().await.ok()?);
        if line.ends_with(b"\r\n") {
            return Some(line);
        }
    }
    None
}

/// The source address of `PROXY TCP4 src dst sport dport\r\n` or `PROXY TCP6 …`; nobody for `PROXY UNKNOWN`, whatever stands behind
/// it (PROXY protocol v1, §2.1). Nothing else is taken.
pub fn parse_proxy_line(line: &[u8]) -> Option<Peer> {
    let line = std::str::from_utf8(line).ok()?.strip_suffix("\r\n")?;
    if line.strip_prefix("PROXY UNKNOWN").is_some_and(|rest| rest.is_empty() || rest.starts_with(' ')) {
        return Some(Peer::Unknown);
    }
    let words: Vec<&str> = line.split(' ').collect();
    let [proxy, family, source, destination, source_port, destination_port] = words[..] else { return None };
    if proxy != "PROXY" {
        return None;
    }
    let source: IpAddr = source.parse().ok()?;
    let destination: IpAddr = destination.parse().ok()?;
    let fits = match family {
        "TCP4" => source.is_ipv4() && destination.is_ipv4(),
        "TCP6" => source.is_ipv6() && destination.is_ipv6(),
        _ => false,
    };
    destination_port.parse::<u16>().ok()?;
    fits.then_some(Peer::Known(SocketAddr::new(source, source_port.parse().ok()?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_line_names_its_source() {
        let known = |address: &str| Some(Peer::Known(address.parse().unwrap()));
        assert_eq!(parse_proxy_line(b"PROXY TCP4 10.0.0.7 127.0.0.1 5555 9080\r\n"), known("10.0.0.7:5555"));
        assert_eq!(parse_proxy_line(b"PROXY TCP6 ::1 ::1 5555 9080\r\n"), known("[::1]:5555"));
    }

    #[test]
    fn an_unknown_peer_is_nobody_whatever_is_said_of_it() {
        assert_eq!(parse_proxy_line(b"PROXY UNKNOWN\r\n"), Some(Peer::Unknown));
        assert_eq!(parse_proxy_line(b"PROXY UNKNOWN 127.0.0.1 127.0.0.1 1 2\r\n"), Some(Peer::Unknown));
        assert_eq!(Peer::Unknown.ip(), None);
    }

    #[test]
    fn anything_else_is_no_proxy_line() {
        for line in [
            "PROXY UNKNOWNS\r\n",
            "PROXY UNKNOWN",
            "PROXY TCP4 ::1 ::1 1 2\r\n",
            "PROXY TCP6 127.0.0.1 127.0.0.1 1 2\r\n",
            "PROXY TCP4 127.0.0.1 127.0.0.1 1\r\n",
            "PROXY TCP4 127.0.0.1 127.0.0.1 1 70000\r\n",
            "PROXY TCP4 127.0.0.1 127.0.0.1 1 2",
            "PROXY  TCP4 127.0.0.1 127.0.0.1 1 2\r\n",
            "GET / HTTP/1.1\r\n",
            "",
        ] {
            assert_eq!(parse_proxy_line(line.as_bytes()), None, "{line:?}");
        }
    }
}
