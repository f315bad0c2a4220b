//! A client that sends exactly the bytes it is given and reads with a deadline.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use super::message::{Response, read_response_body, read_response_head};
use super::{PATIENCE, wait_for};

/// One connection to the gateway.
pub struct Client {
    stream: BufReader<TcpStream>,
}

/// How a connection was found when nothing more was expected on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// The peer closed it, cleanly or by reset.
    Closed,
    /// It is open and silent.
    Open,
    /// There are more bytes.
    Bytes(Vec<u8>),
}

impl Client {
    /// Connects.
    pub fn connect(address: SocketAddr) -> Self {
        Self::try_connect(address).expect("the gateway takes connections")
    }

    /// Connects, if somebody listens.
    pub fn try_connect(address: SocketAddr) -> io::Result<Self> {
        Self::over(TcpStream::connect_timeout(&address, PATIENCE)?)
    }

    /// Takes a connection that was made in another way.
    pub fn over(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self { stream: BufReader::new(stream) })
    }

    /// Sends bytes as they are. A peer that has closed is no failure here: what it answered is still to be read.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        let _ = self.try_send(bytes);
        self
    }

    /// Sends bytes as they are.
    pub fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.stream.get_mut().write_all(bytes.as_ref())
    }

    /// Says that nothing more will come.
    pub fn finish(&mut self) -> &mut Self {
        let _ = self.stream.get_mut().shutdown(Shutdown::Write);
        self
    }

    /// Reads a response to anything but HEAD.
    pub fn response(&mut self) -> Response {
        self.try_response().unwrap_or_else(|error| panic!("no whole response: {error}"))
    }

    /// Reads a response to anything but HEAD.
    pub fn try_response(&mut self) -> io::Result<Response> {
        let mut response = read_response_head(&mut self.stream)?;
        read_response_body(&mut self.stream, &mut response, false)?;
        Ok(response)
    }

    /// Reads a response to HEAD.
    pub fn response_to_head(&mut self) -> Response {
        self.response_head()
    }

    /// Reads a response's head and leaves its body on the connection.
    pub fn response_head(&mut self) -> Response {
        read_response_head(&mut self.stream).unwrap_or_else(|error| panic!("no response: {error}"))
    }

    /// Sends a whole request and reads its response.
    pub fn exchange(&mut self, request: impl AsRef<[u8]>) -> Response {
        self.send(request).response()
    }

    /// Reads up to `count` bytes.
    pub fn read_some(&mut self, count: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; count];
        let got = self.stream.read(&mut bytes)?;
        bytes.truncate(got);
        Ok(bytes)
    }

    /// Everything until the peer closes or resets.
    pub fn rest(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut piece = [0; 16 * 1024];
        loop {
            match self.stream.read(&mut piece) {
                Ok(0) => return bytes,
                Ok(count) => bytes.extend_from_slice(&piece[..count]),
                Err(error) if is_timeout(&error) => panic!("the connection stays open after {} bytes", bytes.len()),
                Err(_) => return bytes,
            }
        }
    }

    /// Asserts that the peer closes the connection, without another byte.
    pub fn expect_close(&mut self) {
        let rest = self.rest();
        assert!(rest.is_empty(), "more bytes before the close: {:?}", String::from_utf8_lossy(&rest));
    }

    /// What the connection does within `limit` when nothing is sent.
    pub fn end_within(&mut self, limit: Duration) -> End {
        self.stream.get_ref().set_read_timeout(Some(limit)).expect("a TCP socket");
        let found = match self.stream.fill_buf() {
            Ok([]) => End::Closed,
            Ok(bytes) => End::Bytes(bytes.to_vec()),
            Err(error) if is_timeout(&error) => End::Open,
            Err(_) => End::Closed,
        };
        self.stream.get_ref().set_read_timeout(Some(PATIENCE)).expect("a TCP socket");
        found
    }
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

/// A GET without a body, keep-alive.
pub fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: test\r\n\r\n")
}

/// One GET on a connection of its own.
pub fn fetch(address: SocketAddr, path: &str) -> Response {
    Client::connect(address).exchange(get(path))
}

/// Waits until an address takes connections.
pub fn wait_listening(address: SocketAddr) {
    let connect = || TcpStream::connect_timeout(&address, Duration::from_secs(1)).ok();
    wait_for(&format!("somebody listens on {address}"), connect);
}
