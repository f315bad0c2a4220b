//! TLS on a socket of ours that another side answers: a broker, or an upstream. The session is rustls's state machine; here its bytes are
//! moved, in both directions at the same time: reader and writer share it and borrow it only between two waits.

use std::cell::RefCell;
use std::io::{self, Read, Write};
use std::rc::Rc;

use rustls::ClientConnection;

use super::buffer::BUFFER_BYTES;
use super::socket::{PlainReader, PlainWriter, Reader, Socket, Writer};
use crate::kafka::Tls;

/// Bytes that are encrypted in one go, between which the core has its other work.
const PIECE_BYTES: usize = 64 * 1024;

type Session = Rc<RefCell<ClientConnection>>;

/// The receiving direction under TLS.
#[derive(Debug)]
pub struct TlsReader {
    session: Session,
    socket: PlainReader,
    /// Bytes from the peer that the session has not taken yet, from `at` on.
    inbox: Vec<u8>,
    at: usize,
    host: String,
    explain: Explain,
}

/// Puts into words what went wrong with the peer of this name.
pub type Explain = fn(&rustls::Error, &str) -> String;

/// The sending direction under TLS.
#[derive(Debug)]
pub struct TlsWriter {
    session: Session,
    socket: PlainWriter,
    outbox: Vec<u8>,
}

/// Does the handshake with the peer called `host`. Its end is the caller's: to shut the socket down ends it.
///
/// # Errors
/// Why not, in words, and what to do.
pub async fn handshake(socket: Socket, tls: &Tls, host: &str, explain: Explain) -> Result<Socket, String> {
    let session = Rc::new(RefCell::new(tls.session(host)?));
    let (fd, directions) = socket.into_plain();
    let (reader, writer) = directions.ok_or_else(|| "TLS in TLS is not possible here".to_owned())?;
    let mut writer = TlsWriter { session: Rc::clone(&session), socket: writer, outbox: Vec::new() };
    let inbox = Vec::with_capacity(BUFFER_BYTES);
    let mut reader = TlsReader { session, socket: reader, inbox, at: 0, host: host.to_owned(), explain };
    loop {
        writer.flush().await.map_err(|error| error.to_string())?;
        if !reader.session.borrow().is_handshaking() {
            return Ok(Socket::from_parts(fd, Reader::Tls(Box::new(reader)), Writer::Tls(Box::new(writer))));
        }
        match reader.feed().await {
            Ok(Fed::End) => {
                return Err("the peer closed the connection in the handshake: is it a TLS listener?".to_owned());
            }
            Ok(Fed::Bytes) => {}
            Err(why) => {
                // The peer is told why, as far as it still listens.
                let _ = writer.flush().await;
                return Err(why.to_string());
            }
        }
    }
}

/// What came from the socket.
enum Fed {
    /// Something.
    Bytes,
    /// Nothing more will.
    End,
}

/// What the session has for the reader.
enum Taken {
    /// So many bytes.
    Bytes(usize),
    /// Nothing now.
    Nothing,
    /// The end, as the peer said.
    End,
}

impl TlsReader {
    /// True if nothing that the peer sent waits here.
    pub fn is_empty(&self) -> bool {
        let state = self.session.borrow_mut().process_new_packets();
        self.at == self.inbox.len()
            && state.is_ok_and(|state| state.plaintext_bytes_to_read() == 0 && !state.peer_has_closed())
    }

    /// Reads behind what `buffer` holds, up to `end` in it. 0 is the end that the peer announced.
    pub(super) async fn read_to(&mut self, mut buffer: Vec<u8>, end: usize) -> (io::Result<usize>, Vec<u8>) {
        loop {
            let taken = take_plain(&mut self.session.borrow_mut(), &mut buffer, end);
            match taken {
                Ok(Taken::Bytes(count)) => return (Ok(count), buffer),
                Ok(Taken::End) => return (Ok(0), buffer),
                Ok(Taken::Nothing) => {}
                Err(error) => return (Err(error), buffer),
            }
            if let Err(error) = self.feed().await {
                return (Err(error), buffer);
            }
        }
    }

    /// Hands the session what the peer sent, or that it will send nothing more.
    async fn feed(&mut self) -> io::Result<Fed> {
        if self.at == self.inbox.len() {
            let mut inbox = std::mem::take(&mut self.inbox);
            inbox.clear();
            let room = inbox.capacity();
            let (result, inbox) = self.socket.read_to(inbox, room).await;
            (self.inbox, self.at) = (inbox, 0);
            if result? == 0 {
                // The session then knows whether that end was announced.
                self.session.borrow_mut().read_tls(&mut io::empty())?;
                return Ok(Fed::End);
            }
        }
        let mut session = self.session.borrow_mut();
        let mut rest = &self.inbox[self.at..];
        self.at += match session.read_tls(&mut rest)? {
            // Behind the end that the peer announced nothing counts.
            0 => rest.len(),
            count => count,
        };
        session.process_new_packets().map_err(|error| io::Error::other((self.explain)(&error, &self.host)))?;
        Ok(Fed::Bytes)
    }
}

/// Moves what is decrypted into `buffer`, up to `end` in it.
fn take_plain(session: &mut ClientConnection, buffer: &mut Vec<u8>, end: usize) -> io::Result<Taken> {
    let start = buffer.len();
    buffer.resize(end, 0);
    let taken = session.reader().read(&mut buffer[start..]);
    buffer.truncate(start + *taken.as_ref().unwrap_or(&0));
    match taken {
        Ok(0) => Ok(Taken::End),
        Ok(count) => Ok(Taken::Bytes(count)),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Taken::Nothing),
        Err(error) => Err(error),
    }
}

impl TlsWriter {
    pub(super) async fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        for piece in bytes.chunks(PIECE_BYTES) {
            let mut left = piece;
            while !left.is_empty() {
                let count = self.session.borrow_mut().writer().write(left)?;
                left = &left[count..];
                self.flush().await?;
                if count == 0 {
                    return Err(io::ErrorKind::WriteZero.into());
                }
            }
        }
        Ok(())
    }

    /// Says that nothing more will be sent, to the session and to the socket.
    pub(super) async fn finish(&mut self) -> io::Result<()> {
        self.session.borrow_mut().send_close_notify();
        self.flush().await?;
        self.socket.finish().await
    }

    /// Sends what the session has to say: records, and in a handshake its own messages.
    async fn flush(&mut self) -> io::Result<()> {
        let mut outbox = std::mem::take(&mut self.outbox);
        outbox.clear();
        {
            let mut session = self.session.borrow_mut();
            while session.wants_write() {
                session.write_tls(&mut outbox)?;
            }
        }
        let len = outbox.len();
        let (result, outbox) = self.socket.write_range(outbox, 0, len).await;
        self.outbox = outbox;
        result
    }
}

#[cfg(test)]
mod tests {
    use std::net::{SocketAddr, TcpListener};
    use std::sync::Arc;

    use rustls::pki_types::PrivatePkcs8KeyDer;
    use rustls::{ServerConfig, ServerConnection, StreamOwned};

    use super::*;
    use crate::io::deadline::Deadlines;
    use crate::io::driver::{self, Driver};
    use crate::io::duplex::both;
    use crate::io::socket::{Target, connect};
    use crate::kafka::tls::{TlsSettings, explain};

    /// Takes one connection and sends back what comes, 64 KiB at a time, until the peer ends.
    fn echo() -> SocketAddr {
        let own = rcgen::generate_simple_self_signed(["kafka.test".to_owned()]).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let key = PrivatePkcs8KeyDer::from(own.signing_key.serialize_der()).into();
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![own.cert.der().clone()], key)
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            let (socket, _) = listener.accept().unwrap();
            let mut stream = StreamOwned::new(ServerConnection::new(Arc::new(config)).unwrap(), socket);
            let mut buffer = vec![0; 64 * 1024];
            while let Ok(count @ 1..) = stream.read(&mut buffer) {
                if stream.write_all(&buffer[..count]).and_then(|()| stream.flush()).is_err() {
                    return;
                }
            }
        });
        address
    }

    #[test]
    fn megabytes_go_both_ways_at_the_same_time() {
        let address = echo();
        driver::run(Driver::Epoll, async move {
            let deadlines = Rc::new(Deadlines::default());
            let socket = connect(&Target::Tcp(address), 5_000, &deadlines).await.unwrap();
            let tls = Tls::new(TlsSettings { verify: None, identity: None }).unwrap();
            let Socket { mut reader, mut writer, .. } = handshake(socket, &tls, "kafka.test", explain).await.unwrap();
            // More than both kernels hold: it ends only if reading goes on beside writing.
            let sent: Vec<u8> = (0..16_000_000_u32).map(|at| (at / 7) as u8).collect();
            let (out, expected) = (sent.clone(), sent.len());
            let read = async {
                let (mut got, mut buffer) = (Vec::new(), Vec::with_capacity(BUFFER_BYTES));
                while got.len() < expected {
                    let (result, filled) = reader.read(buffer).await;
                    assert!(result.unwrap() > 0, "the end after {} bytes", got.len());
                    got.extend_from_slice(&filled);
                    buffer = filled;
                    buffer.clear();
                }
                got
            };
            let (read, write) = (std::pin::pin!(read), std::pin::pin!(writer.write_all(out)));
            let (got, written) = both(read, write, |_| ()).await;
            written.0.unwrap();
            assert!(got == sent, "what comes back is what was sent");
        })
        .unwrap();
    }

    #[test]
    fn a_peer_that_closes_in_the_handshake_is_said_to() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || drop(listener.accept()));
        driver::run(Driver::Epoll, async move {
            let deadlines = Rc::new(Deadlines::default());
            let socket = connect(&Target::Tcp(address), 5_000, &deadlines).await.unwrap();
            let tls = Tls::new(TlsSettings { verify: None, identity: None }).unwrap();
            let failed = handshake(socket, &tls, "kafka.test", explain).await.err().unwrap();
            assert!(failed.contains("closed") || failed.contains("reset"), "{failed}");
        })
        .unwrap();
    }
}
