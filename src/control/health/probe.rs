//! One probe of one node: connects, asks if it is to ask, and gives what that says. Never more than a status line is read.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::base::limits::PROBE_LINE_BYTES;
use crate::config::address;
use crate::config::snapshot::{ActiveCheck, CheckKind};
use crate::kafka::tls::{Tls, server_name};
use crate::upstream::health::Outcome;

/// How a node is asked.
#[derive(Debug)]
pub struct Probe {
    /// Where.
    pub address: SocketAddr,
    /// The name that the certificate must have; without port and brackets.
    pub server_name: String,
    /// The bytes of the request; none for `tcp`.
    pub request: Vec<u8>,
    /// For `https`.
    pub tls: Option<Tls>,
}

impl Probe {
    /// The probe of the node at `address`, whose Host is `host`.
    pub fn new(active: &ActiveCheck, mut address: SocketAddr, host: &str, tls: Option<Tls>) -> Self {
        if let Some(port) = active.port {
            address.set_port(port);
        }
        let request = if active.kind == CheckKind::Tcp { Vec::new() } else { request(active, host) };
        let (name, _) = address::split(host);
        Self { address, server_name: address::without_brackets(name).to_owned(), request, tls }
    }

    /// Asks. `None` if the answer's status is in neither list.
    pub async fn ask(&self, active: &ActiveCheck) -> Option<Outcome> {
        match timeout(Duration::from_millis(active.timeout_ms), self.status_line()).await {
            Err(_) => Some(Outcome::Timeout),
            Ok(Err(_)) => Some(Outcome::TcpFailure),
            Ok(Ok(None)) => Some(Outcome::Success),
            Ok(Ok(Some(line))) => match status_of(&line) {
                Some(status) => active.rules.of_status(status),
                None => Some(Outcome::HttpFailure),
            },
        }
    }

    /// The answer's first line; `None` if a connection was all that was wanted.
    async fn status_line(&self) -> io::Result<Option<Vec<u8>>> {
        let stream = TcpStream::connect(self.address).await?;
        if self.request.is_empty() {
            return Ok(None);
        }
        let Some(tls) = &self.tls else { return exchange(stream, &self.request).await.map(Some) };
        let name = server_name(&self.server_name).map_err(io::Error::other)?;
        let stream = TlsConnector::from(Arc::clone(&tls.config())).connect(name, stream).await?;
        exchange(stream, &self.request).await.map(Some)
    }
}

fn request(active: &ActiveCheck, host: &str) -> Vec<u8> {
    let mut text = format!("{} {} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n", active.method, active.path);
    for line in &active.headers {
        text.push_str(line);
        text.push_str("\r\n");
    }
    if !active.body.is_empty() {
        text.push_str(&format!("Content-Length: {}\r\n", active.body.len()));
    }
    text.push_str("\r\n");
    text.push_str(&active.body);
    text.into_bytes()
}

async fn exchange(mut stream: impl AsyncRead + AsyncWrite + Unpin, request: &[u8]) -> io::Result<Vec<u8>> {
    stream.write_all(request).await?;
    stream.flush().await?;
    let (mut line, mut piece) = (Vec::new(), [0; 512]);
    while !line.contains(&b'\n') && line.len() < PROBE_LINE_BYTES {
        match stream.read(&mut piece).await? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            count => line.extend_from_slice(&piece[..count]),
        }
    }
    Ok(line)
}

/// The status in `HTTP/1.1 200 OK`.
fn status_of(line: &[u8]) -> Option<u16> {
    let rest = line.strip_prefix(b"HTTP/")?;
    let space = rest.iter().position(|byte| *byte == b' ')?;
    let digits = rest[space..].trim_ascii_start();
    let end = digits.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(digits.len());
    std::str::from_utf8(&digits[..end]).ok()?.parse().ok().filter(|_| end == 3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_three_digits_behind_a_version() {
        assert_eq!(status_of(b"HTTP/1.1 200 OK\r\n"), Some(200));
        assert_eq!(status_of(b"HTTP/1.0  503\r\n"), Some(503));
        for broken in [&b"HTTP/1.1 20\r\n"[..], b"HTTP/1.1\r\n", b"ICY 200 OK\r\n", b"HTTP/1.1 2000\r\n", b""] {
            assert_eq!(status_of(broken), None, "{broken:?}");
        }
    }
}
