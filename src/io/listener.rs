//! A listening socket per core: SO_REUSEPORT lets the kernel spread connections, several accepts are outstanding at once.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};

use monoio::net::{TcpListener, TcpStream};
use socket2::{Domain, Socket as RawSocket, Type};

use super::socket::{Socket, shut_down};
use crate::base::limits;

/// A core's listening socket.
#[derive(Debug)]
pub struct Listener {
    inner: TcpListener,
    fd: RawFd,
}

/// Binds and listens; done before any core starts so that a taken port is one clear error.
///
/// # Errors
/// What the kernel said, usually `AddrInUse`.
pub fn bind(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let socket = RawSocket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // Accepted sockets inherit it: one system call less per connection.
    socket.set_tcp_nodelay(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(limits::LISTEN_BACKLOG)?;
    Ok(socket.into())
}

/// Binds as a stranger would and lets go again.
///
/// # Errors
/// `AddrInUse` if another process listens on `address`.
pub fn probe(address: SocketAddr) -> io::Result<()> {
    let socket = RawSocket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.bind(&address.into())
}

/// A connection of which nothing was read yet: it may still change the core.
#[derive(Debug)]
pub struct Accepted(TcpStream);

impl Accepted {
    /// For this core.
    pub fn into_socket(self) -> Socket {
        Socket::new(self.0)
    }

    /// For another core: no part of this core's runtime knows it any more.
    pub fn into_fd(self) -> OwnedFd {
        let fd = self.0.into_raw_fd();
        // SAFETY: monoio has just given up the descriptor: it is open and nobody else closes it.
        unsafe { OwnedFd::from_raw_fd(fd) }
    }

    /// What another core accepted, on this core's runtime. Its driver must be of the same kind.
    ///
    /// # Errors
    /// When the runtime's driver refuses the descriptor.
    pub fn from_fd(fd: OwnedFd) -> io::Result<Self> {
        TcpStream::from_std(fd.into()).map(Self)
    }
}

impl Listener {
    /// The listener on the core's own runtime.
    ///
    /// # Errors
    /// When the runtime's driver refuses the descriptor.
    pub fn new(listener: std::net::TcpListener) -> io::Result<Self> {
        let fd = listener.as_raw_fd();
        Ok(Self { inner: TcpListener::from_std(listener)?, fd })
    }

    /// The next connection and its peer.
    ///
    /// # Errors
    /// What the kernel said; `InvalidInput` after [`Listener::stop`].
    pub async fn accept(&self) -> io::Result<(Accepted, SocketAddr)> {
        let (stream, peer) = self.inner.accept().await?;
        Ok((Accepted(stream), peer))
    }

    /// No more connections: every outstanding accept returns an error.
    pub fn stop(&self) {
        shut_down(self.fd);
    }
}
