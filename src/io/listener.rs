//! A listening socket per core: SO_REUSEPORT lets the kernel spread connections, several accepts are outstanding at once. Or one that a
//! supervisor holds and hands to this process, and to the one after it (systemd's socket activation, sd_listen_fds(3)): then all cores accept on
//! that one, and an end takes nothing along that waits in its queue.

use std::cell::Cell;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};

use monoio::io::{CancelHandle, Canceller};
use monoio::net::{TcpListener, TcpStream};
use socket2::{Domain, Socket as RawSocket, Type};

use super::socket::{Socket, shut_down};
use crate::base::limits;

/// The first descriptor that a supervisor hands over (sd_listen_fds(3), `SD_LISTEN_FDS_START`).
const FIRST_INHERITED: RawFd = 3;

/// Whose a listening socket is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// This process's: nobody listens on it afterwards.
    Us,
    /// A supervisor's: another process will accept what waits.
    Supervisor,
}

/// A core's listening socket.
pub struct Listener {
    inner: TcpListener,
    fd: RawFd,
    /// Of a socket that is not ours: how accepts under way are taken back.
    taking_back: Option<(Cell<Option<Canceller>>, CancelHandle)>,
    accepting: Cell<usize>,
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

/// The listening sockets that a supervisor handed over, `count` of them. To be called once, before any other descriptor is opened by this process
/// in their places, and only if `LISTEN_PID` names this process.
///
/// # Errors
/// One of them is no listening TCP socket.
pub fn inherited(count: usize) -> io::Result<Vec<std::net::TcpListener>> {
    let places = FIRST_INHERITED..FIRST_INHERITED.saturating_add(RawFd::try_from(count).unwrap_or(0));
    places
        .map(|fd| {
            // SAFETY: F_GETFD only looks; a descriptor that is not open is an error.
            if unsafe { libc::fcntl(fd, libc::F_GETFD) } < 0 {
                return Err(io::Error::last_os_error());
            }
            // SAFETY: it is open, and by the protocol it is for this process alone to close.
            let socket = RawSocket::from(unsafe { OwnedFd::from_raw_fd(fd) });
            if !socket.is_listener()? || socket.local_addr()?.as_socket().is_none() {
                return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a listening TCP socket"));
            }
            socket.set_cloexec(true)?;
            socket.set_tcp_nodelay(true)?;
            socket.set_nonblocking(true)?;
            Ok(socket.into())
        })
        .collect()
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
    pub fn new(listener: std::net::TcpListener, owner: Owner) -> io::Result<Self> {
        let fd = listener.as_raw_fd();
        let taking_back = (owner == Owner::Supervisor).then(|| {
            let canceller = Canceller::new();
            let handle = canceller.handle();
            (Cell::new(Some(canceller)), handle)
        });
        Ok(Self { inner: TcpListener::from_std(listener)?, fd, taking_back, accepting: Cell::new(0) })
    }

    /// The next connection and its peer.
    ///
    /// # Errors
    /// What the kernel said; `InvalidInput` after [`Listener::stop`].
    pub async fn accept(&self) -> io::Result<(Accepted, SocketAddr)> {
        self.accepting.set(self.accepting.get() + 1);
        let accepted = match &self.taking_back {
            None => self.inner.accept().await,
            Some((_, handle)) => self.inner.cancelable_accept(handle.clone()).await,
        };
        self.accepting.set(self.accepting.get() - 1);
        let (stream, peer) = accepted?;
        Ok((Accepted(stream), peer))
    }

    /// No more connections: every outstanding accept returns, an error or a last connection. A supervisor's socket goes on listening.
    pub fn stop(&self) {
        match &self.taking_back {
            None => shut_down(self.fd),
            Some((canceller, _)) => drop(canceller.take().map(Canceller::cancel)),
        }
    }

    /// True while the kernel may still put a connection into an accept of ours.
    pub fn is_accepting(&self) -> bool {
        self.accepting.get() > 0
    }
}
