//! One HTTP exchange with a gateway on a connection of its own: its Admin API and its metrics.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::Outcome;

/// Who calls.
pub struct Caller {
    /// The Admin API's key; the API listens on loopback for as long as the tool runs.
    pub key: &'static str,
    /// Deadline of each connect, write and read.
    pub limit: Duration,
}

impl Caller {
    /// Gives status and body.
    pub fn http(&self, address: SocketAddr, method: &str, path: &str, body: &str) -> Outcome<(u16, String)> {
        self.http_as(address, None, method, path, body)
    }

    /// The same for another host than the address.
    pub fn http_as(
        &self,
        address: SocketAddr,
        host: Option<&str>,
        method: &str,
        path: &str,
        body: &str,
    ) -> Outcome<(u16, String)> {
        let host = host.map_or_else(|| address.to_string(), str::to_owned);
        let text = |error: std::io::Error| format!("{address}: {error}");
        let mut stream = TcpStream::connect_timeout(&address, self.limit).map_err(text)?;
        stream.set_read_timeout(Some(self.limit)).map_err(text)?;
        stream.set_write_timeout(Some(self.limit)).map_err(text)?;
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {host}\r\nX-API-KEY: {}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
            self.key,
            body.len()
        );
        stream.write_all(request.as_bytes()).map_err(text)?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).map_err(text)?;
        let answer = String::from_utf8_lossy(&answer);
        let status =
            answer.get(9..12).and_then(|code| code.parse().ok()).ok_or_else(|| format!("{address}: not HTTP"))?;
        let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        Ok((status, body.to_owned()))
    }
}
