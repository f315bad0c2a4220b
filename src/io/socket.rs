//! A connected stream socket, TCP or Unix, bare or under TLS: reads append to a buffer, writes send all of it. Connecting has a deadline.
//! Who the peer must be under TLS is decided elsewhere: `io::tls` moves a session's bytes.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::rc::Rc;

use monoio::buf::{IoBuf, IoBufMut};
use monoio::io::{AsyncReadRent, AsyncWriteRent, OwnedReadHalf, OwnedWriteHalf, Splitable};
use monoio::net::TcpStream;
use socket2::{Domain, SockAddr, SockRef, Type};

use super::deadline::Deadlines;
use super::driver;
use super::tls::{TlsReader, TlsWriter};

/// A connected socket with its two directions, which may be used at the same time.
#[derive(Debug)]
pub struct Socket {
    /// The receiving direction.
    pub reader: Reader,
    /// The sending direction.
    pub writer: Writer,
    fd: RawFd,
}

/// The receiving direction of a [`Socket`].
#[derive(Debug)]
pub enum Reader {
    /// As it comes.
    Plain(PlainReader),
    /// Decrypted. In memory of its own: most connections are bare, and should not carry its room.
    Tls(Box<TlsReader>),
}

/// The sending direction of a [`Socket`].
#[derive(Debug)]
pub enum Writer {
    /// As it is.
    Plain(PlainWriter),
    /// Encrypted, which is a copy.
    Tls(Box<TlsWriter>),
}

/// See [`Reader::Plain`].
#[derive(Debug)]
pub struct PlainReader {
    half: OwnedReadHalf<TcpStream>,
    fd: RawFd,
}

/// See [`Writer::Plain`].
#[derive(Debug)]
pub struct PlainWriter {
    half: OwnedWriteHalf<TcpStream>,
    fd: RawFd,
}

impl Socket {
    /// Wraps an accepted stream.
    pub fn new(stream: TcpStream) -> Self {
        let fd = stream.as_raw_fd();
        let (reader, writer) = stream.into_split();
        let (reader, writer) = (PlainReader { half: reader, fd }, PlainWriter { half: writer, fd });
        Self { reader: Reader::Plain(reader), writer: Writer::Plain(writer), fd }
    }

    /// Wraps a Unix stream. recv and send do not care which family a stream socket is of.
    ///
    /// # Errors
    /// When the runtime's driver refuses the descriptor.
    pub fn from_unix(stream: UnixStream) -> io::Result<Self> {
        Self::adopt(socket2::Socket::from(std::os::fd::OwnedFd::from(stream)))
    }

    fn adopt(socket: socket2::Socket) -> io::Result<Self> {
        socket.set_nonblocking(driver::wants_nonblocking())?;
        Ok(Self::new(TcpStream::from_std(socket.into())?))
    }

    /// The descriptor and the bare directions; `None` instead of them if they are under TLS already.
    pub(super) fn into_plain(self) -> (RawFd, Option<(PlainReader, PlainWriter)>) {
        match (self.reader, self.writer) {
            (Reader::Plain(reader), Writer::Plain(writer)) => (self.fd, Some((reader, writer))),
            _ => (self.fd, None),
        }
    }

    /// The two directions of descriptor `fd`.
    pub(super) const fn from_parts(fd: RawFd, reader: Reader, writer: Writer) -> Self {
        Self { reader, writer, fd }
    }

    /// The descriptor, for [`Deadlines::watch`].
    pub const fn fd(&self) -> RawFd {
        self.fd
    }

    /// Reads what is there, at least a byte, behind what `buffer` holds; needs spare capacity. 0 is the end.
    pub async fn read(&mut self, buffer: Vec<u8>) -> (io::Result<usize>, Vec<u8>) {
        self.reader.read(buffer).await
    }

    /// As [`Reader::read_now`], with room made for `count` bytes.
    pub fn read_ready(&mut self, buffer: &mut Vec<u8>, count: usize) {
        if matches!(self.reader, Reader::Plain(_)) {
            buffer.reserve(count);
        }
        self.reader.read_now(buffer, count);
    }

    /// Sends all of `buffer` and gives it back.
    pub async fn write_all<B: IoBuf>(&mut self, buffer: B) -> (io::Result<()>, B) {
        self.writer.write_all(buffer).await
    }

    /// True if the peer has not closed and has sent nothing unasked: an idle connection may be used again.
    pub fn is_quiet(&self) -> bool {
        if matches!(&self.reader, Reader::Tls(reader) if !reader.is_empty()) {
            return false;
        }
        let mut byte = [std::mem::MaybeUninit::uninit(); 1];
        match with_socket(self.fd, |socket| socket.recv_with_flags(&mut byte, libc::MSG_PEEK | libc::MSG_DONTWAIT)) {
            Err(error) => error.kind() == io::ErrorKind::WouldBlock,
            Ok(_) => false,
        }
    }

    /// Ends both directions; waiting operations return.
    pub fn shut_down(&self) {
        shut_down(self.fd);
    }

    /// Says that nothing more will be sent.
    pub fn finish_sending(&self) {
        let _ = with_socket(self.fd, |socket| socket.shutdown(std::net::Shutdown::Write));
    }

    /// Ends the connection by a reset, so that the peer does not take its end for the end of what was sent. (With SO_LINGER it
    /// would come too late: monoio shuts the sending direction down before it closes.)
    pub fn reset(&self) {
        let nowhere = libc::sockaddr { sa_family: libc::AF_UNSPEC as libc::sa_family_t, sa_data: [0; 14] };
        let size = size_of::<libc::sockaddr>() as libc::socklen_t;
        // SAFETY: the descriptor is open as long as `self`; the kernel reads `size` bytes at `nowhere` and keeps no pointer.
        // TCP takes an address of no family for the wish to disconnect (connect(2)), and tells the peer by a reset.
        let _ = unsafe { libc::connect(self.fd, &raw const nowhere, size) };
    }

    /// The local address; `None` for a Unix socket.
    pub fn local_address(&self) -> Option<SocketAddr> {
        with_socket(self.fd, |socket| socket.local_addr()).ok().and_then(|address| address.as_socket())
    }
}

impl Reader {
    /// As [`Socket::read`].
    pub async fn read(&mut self, buffer: Vec<u8>) -> (io::Result<usize>, Vec<u8>) {
        self.read_at_most(buffer, usize::MAX).await
    }

    /// As [`Socket::read`], and not more than `at_most` bytes. Under TLS an end that the peer did not announce is an error,
    /// `UnexpectedEof`: somebody in between may have made it (RFC 8446 §6.1).
    pub async fn read_at_most(&mut self, buffer: Vec<u8>, at_most: usize) -> (io::Result<usize>, Vec<u8>) {
        let end = buffer.capacity().min(buffer.len().saturating_add(at_most));
        if buffer.len() == end {
            return (Err(io::Error::from(io::ErrorKind::OutOfMemory)), buffer);
        }
        match self {
            Self::Plain(reader) => reader.read_to(buffer, end).await,
            // Apart, so that the room of it is not in the state of every bare connection.
            Self::Tls(reader) => Box::pin(reader.read_to(buffer, end)).await,
        }
    }
}

impl Reader {
    /// Reads what is there already, at most `at_most` bytes, behind what `buffer` holds and within its capacity. Waits for nothing. `None` if
    /// nothing is there, or at the end, or under TLS, or if something is wrong: the next read will say so.
    pub fn read_now(&mut self, buffer: &mut Vec<u8>, at_most: usize) -> Option<usize> {
        let Self::Plain(reader) = self else { return None };
        let (start, room) = (buffer.len(), buffer.spare_capacity_mut());
        let most = room.len().min(at_most);
        let room = &mut room[..most];
        let read = with_socket(reader.fd, |socket| socket.recv_with_flags(room, libc::MSG_DONTWAIT)).ok()?;
        // SAFETY: the kernel has written `read` bytes behind the buffer's length, within its capacity.
        unsafe { buffer.set_len(start + read.min(most)) };
        (read > 0).then_some(read)
    }
}

impl PlainReader {
    /// Reads behind what `buffer` holds, up to `end` in it.
    pub(super) async fn read_to(&mut self, buffer: Vec<u8>, end: usize) -> (io::Result<usize>, Vec<u8>) {
        let start = buffer.len();
        let (result, slice) = self.half.read(buffer.slice_mut(start..end)).await;
        let mut buffer = slice.into_inner();
        // monoio sets the length only on success.
        if result.is_err() {
            buffer.truncate(start);
        }
        (result, buffer)
    }
}

impl Writer {
    /// As [`Socket::write_all`].
    pub async fn write_all<B: IoBuf>(&mut self, buffer: B) -> (io::Result<()>, B) {
        let end = buffer.bytes_init();
        self.write_range(buffer, 0, end).await
    }

    /// Says that nothing more will be sent.
    ///
    /// # Errors
    /// What the kernel said: the peer is gone.
    pub async fn finish(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(writer) => writer.finish().await,
            Self::Tls(writer) => Box::pin(writer.finish()).await,
        }
    }

    /// Sends `start..end` of `buffer` and gives it back.
    pub async fn write_range<B: IoBuf>(&mut self, buffer: B, start: usize, end: usize) -> (io::Result<()>, B) {
        match self {
            Self::Plain(writer) => writer.write_range(buffer, start, end).await,
            Self::Tls(writer) => {
                let end = end.min(buffer.bytes_init());
                // SAFETY: `read_ptr` and `bytes_init` of an `IoBuf` name memory that is initialised and neither moves nor is
                // written while the buffer is held, and it is held to the end of this block.
                let all = unsafe { std::slice::from_raw_parts(buffer.read_ptr(), end) };
                let result = Box::pin(writer.write_all(&all[start.min(end)..])).await;
                (result, buffer)
            }
        }
    }
}

impl Writer {
    /// Sends of `bytes` what the kernel takes at once, and says how much that was. Waits for nothing. 0 if it takes none, or under TLS, or if
    /// something is wrong: the next write will say so.
    pub fn write_now(&mut self, bytes: &[u8]) -> usize {
        let Self::Plain(writer) = self else { return 0 };
        let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
        with_socket(writer.fd, |socket| socket.send_with_flags(bytes, flags)).unwrap_or(0)
    }
}

impl PlainWriter {
    pub(super) async fn finish(&mut self) -> io::Result<()> {
        self.half.shutdown().await
    }

    pub(super) async fn write_range<B: IoBuf>(
        &mut self,
        mut buffer: B,
        mut start: usize,
        end: usize,
    ) -> (io::Result<()>, B) {
        while start < end {
            let (result, slice) = self.half.write(buffer.slice(start..end)).await;
            buffer = slice.into_inner();
            match result {
                Ok(0) => return (Err(io::Error::from(io::ErrorKind::WriteZero)), buffer),
                Ok(count) => start += count,
                Err(error) => return (Err(error), buffer),
            }
        }
        (Ok(()), buffer)
    }
}

/// Where to connect.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    /// A TCP address.
    Tcp(SocketAddr),
    /// A Unix socket's path.
    Unix(Rc<Path>),
}

/// Connects within `timeout_ms`. The socket is made here, so that the deadline can shut it down: a connect that monoio has
/// begun must never be dropped (it leaks the descriptor).
///
/// # Errors
/// What the kernel said; `TimedOut` after the deadline.
pub async fn connect(target: &Target, timeout_ms: u64, deadlines: &Rc<Deadlines>) -> io::Result<Socket> {
    let (domain, address) = match target {
        Target::Tcp(address) => (Domain::for_address(*address), SockAddr::from(*address)),
        Target::Unix(path) => (Domain::UNIX, SockAddr::unix(path)?),
    };
    let socket = socket2::Socket::new(domain, Type::STREAM.nonblocking(), None)?;
    if matches!(target, Target::Tcp(_)) {
        socket.set_tcp_nodelay(true)?;
    }
    let pending = match socket.connect(&address) {
        Ok(()) => false,
        Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => true,
        Err(error) => return Err(error),
    };
    let fd = socket.as_raw_fd();
    let stream = TcpStream::from_std(socket.into())?;
    if pending {
        let deadline = deadlines.watch(fd);
        deadline.set_ms(timeout_ms);
        let waited = stream.writable(false).await;
        if deadline.fired() {
            return Err(io::Error::from(io::ErrorKind::TimedOut));
        }
        waited?;
        if let Some(error) = with_socket(fd, |socket| socket.take_error())? {
            return Err(error);
        }
    }
    with_socket(fd, |socket| socket.set_nonblocking(driver::wants_nonblocking()))?;
    Ok(Socket::new(stream))
}

/// Ends the receiving direction: a waiting read returns what is there, or the end.
pub fn shut_down_reading(fd: RawFd) {
    let _ = with_socket(fd, |socket| socket.shutdown(std::net::Shutdown::Read));
}

/// Ends both directions of a socket; an error means that it is closed already.
pub fn shut_down(fd: RawFd) {
    let _ = with_socket(fd, |socket| socket.shutdown(std::net::Shutdown::Both));
}

/// True if the peer has said that it will send nothing more; bytes that it sent before hide that.
pub fn is_closed(fd: RawFd) -> bool {
    let mut byte = [std::mem::MaybeUninit::uninit(); 1];
    let peeked = with_socket(fd, |socket| socket.recv_with_flags(&mut byte, libc::MSG_PEEK | libc::MSG_DONTWAIT));
    match peeked {
        Ok(count) => count == 0,
        Err(error) => error.kind() != io::ErrorKind::WouldBlock,
    }
}

fn with_socket<T>(fd: RawFd, ask: impl FnOnce(SockRef<'_>) -> T) -> T {
    // SAFETY: callers hold the socket (or the deadline guard that must go before it), so the descriptor is open while `ask` runs.
    let borrowed = unsafe { BorrowedFd::borrow_raw(fd) };
    ask(SockRef::from(&borrowed))
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};

    use super::*;
    use crate::io::driver::Driver;

    /// More than any socket's buffers hold.
    const TOO_MUCH: usize = 64 << 20;

    fn pair() -> (Socket, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let accepted = listener.accept().unwrap().0;
        (Socket::adopt(socket2::Socket::from(accepted)).unwrap(), peer)
    }

    fn on_both(test: impl AsyncFn()) {
        let drivers = [driver::probe().ok(), Some(Driver::Epoll)].into_iter().flatten();
        drivers.for_each(|driver| driver::run(driver, test()).unwrap());
    }

    #[test]
    fn what_is_there_is_read_at_once_and_the_rest_is_left_to_the_next_read() {
        on_both(async || {
            let (mut socket, mut peer) = pair();
            let mut buffer = Vec::with_capacity(8);
            buffer.push(b'<');
            assert_eq!(socket.reader.read_now(&mut buffer, 100), None, "nothing is there");
            peer.write_all(b"0123456789").unwrap();
            assert_eq!(socket.reader.read_now(&mut buffer, 3), Some(3));
            assert_eq!(buffer, b"<012");
            let room = buffer.capacity() - buffer.len();
            assert_eq!(socket.reader.read_now(&mut buffer, 100), Some(room.min(7)));
            assert_eq!(socket.reader.read_now(&mut buffer, 100), None, "no room, or nothing more");
            let (read, rest) = socket.read(Vec::with_capacity(100)).await;
            assert_eq!(read.unwrap(), rest.len());
            assert_eq!([&buffer[..], &rest].concat(), b"<0123456789");
            drop(peer);
            buffer.clear();
            assert_eq!(socket.reader.read_now(&mut buffer, 100), None, "the end is the next read's to say");
            assert_eq!(socket.read(buffer).await.0.unwrap(), 0);
        });
    }

    #[test]
    fn what_the_kernel_takes_is_sent_at_once_and_no_byte_more_counts() {
        on_both(async || {
            let (mut socket, mut peer) = pair();
            let bytes: Vec<u8> = (0..TOO_MUCH).map(|at| (at % 251) as u8).collect();
            let mut sent = socket.writer.write_now(&bytes);
            assert!((1..TOO_MUCH).contains(&sent), "{sent}");
            let reader = std::thread::spawn(move || {
                let mut all = Vec::new();
                peer.read_to_end(&mut all).map(|_| all)
            });
            let (result, bytes) = socket.writer.write_range(bytes, sent, 2 * TOO_MUCH / 3).await;
            result.unwrap();
            sent = 2 * TOO_MUCH / 3;
            socket.finish_sending();
            assert_eq!(socket.writer.write_now(&bytes), 0, "what is wrong is the next write's to say");
            assert!(reader.join().unwrap().unwrap() == bytes[..sent]);
        });
    }
}
