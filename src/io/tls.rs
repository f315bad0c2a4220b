//! A broker's socket with TLS or without. The session is rustls's state machine; here its bytes are moved, in both directions at
//! the same time: reader and writer share it and borrow it only between two waits.

use std::cell::RefCell;
use std::io::{self, Read, Write};
use std::rc::Rc;

use monoio::buf::IoBuf;
use rustls::ClientConnection;

use super::buffer::BUFFER_BYTES;
use super::socket::{Reader, Socket, Writer};
use crate::kafka::Tls;
use crate::kafka::tls::explain;

/// Bytes of a batch that are encrypted in one go, between which the core has its other work.
const PIECE_BYTES: usize = 64 * 1024;

type Session = Rc<RefCell<ClientConnection>>;

/// The receiving direction of a broker's connection.
#[derive(Debug)]
pub enum BrokerReader {
    /// As it comes.
    Plain(Reader),
    /// Decrypted.
    Tls(TlsReader),
}

/// The sending direction of a broker's connection.
#[derive(Debug)]
pub enum BrokerWriter {
    /// As it is: a batch goes from its slot to the kernel.
    Plain(Writer),
    /// Encrypted, which is a copy.
    Tls(TlsWriter),
}

/// See [`BrokerReader::Tls`].
#[derive(Debug)]
pub struct TlsReader {
    session: Session,
    socket: Reader,
    /// Bytes from the peer that the session has not taken yet, from `at` on.
    inbox: Vec<u8>,
    at: usize,
    host: String,
}

/// See [`BrokerWriter::Tls`].
#[derive(Debug)]
pub struct TlsWriter {
    session: Session,
    socket: Writer,
    outbox: Vec<u8>,
}

/// The two directions of a socket without TLS.
pub fn plain(socket: Socket) -> (BrokerReader, BrokerWriter) {
    (BrokerReader::Plain(socket.reader), BrokerWriter::Plain(socket.writer))
}

/// Does the handshake with the broker called `host`. Its end is the caller's: to shut the socket down ends it.
///
/// # Errors
/// Why not, in words, and what to do.
pub async fn handshake(socket: Socket, tls: &Tls, host: &str) -> Result<(BrokerReader, BrokerWriter), String> {
    let session = Rc::new(RefCell::new(tls.session(host)?));
    let inbox = Vec::with_capacity(BUFFER_BYTES);
    let Socket { reader, writer, .. } = socket;
    let mut writer = TlsWriter { session: Rc::clone(&session), socket: writer, outbox: Vec::new() };
    let mut reader = TlsReader { session, socket: reader, inbox, at: 0, host: host.to_owned() };
    loop {
        writer.flush().await.map_err(|error| error.to_string())?;
        if !reader.session.borrow().is_handshaking() {
            return Ok((BrokerReader::Tls(reader), BrokerWriter::Tls(writer)));
        }
        match reader.feed().await {
            Ok(0) => return Err("the broker closed the connection in the handshake: is it a TLS listener?".to_owned()),
            Ok(_) => {}
            Err(why) => {
                // The peer is told why, as far as it still listens.
                let _ = writer.flush().await;
                return Err(why);
            }
        }
    }
}

impl BrokerReader {
    /// Reads what is there, at least a byte, into `buffer`, which is emptied first. 0 is the end.
    pub async fn read(&mut self, mut buffer: Vec<u8>) -> (Result<usize, String>, Vec<u8>) {
        buffer.clear();
        match self {
            Self::Plain(reader) => {
                let (result, buffer) = reader.read(buffer).await;
                (result.map_err(|error| error.to_string()), buffer)
            }
            Self::Tls(reader) => reader.read(buffer).await,
        }
    }
}

impl BrokerWriter {
    /// Sends all of `bytes`.
    ///
    /// # Errors
    /// The connection is broken.
    pub async fn write_all<B: IoBuf>(&mut self, bytes: B) -> io::Result<()> {
        match self {
            Self::Plain(writer) => writer.write_all(bytes).await.0,
            Self::Tls(writer) => {
                // SAFETY: `read_ptr` and `bytes_init` of an `IoBuf` name memory that is initialised and neither moves nor is
                // written while the buffer is held, and it is held to the end of this block.
                let all = unsafe { std::slice::from_raw_parts(bytes.read_ptr(), bytes.bytes_init()) };
                writer.write_all(all).await
            }
        }
    }
}

impl TlsReader {
    async fn read(&mut self, mut buffer: Vec<u8>) -> (Result<usize, String>, Vec<u8>) {
        loop {
            let taken = take_plain(&mut self.session.borrow_mut(), &mut buffer);
            match taken {
                Ok(0) => {}
                Ok(count) => return (Ok(count), buffer),
                Err(error) => return (Err(error.to_string()), buffer),
            }
            match self.feed().await {
                Ok(0) => return (Ok(0), buffer),
                Ok(_) => {}
                Err(why) => return (Err(why), buffer),
            }
        }
    }

    /// Hands the session what the peer sent. 0 is the end: of the connection, or of what the peer will send.
    async fn feed(&mut self) -> Result<usize, String> {
        if self.at == self.inbox.len() {
            let mut inbox = std::mem::take(&mut self.inbox);
            inbox.clear();
            let (result, inbox) = self.socket.read(inbox).await;
            (self.inbox, self.at) = (inbox, 0);
            if result.map_err(|error| error.to_string())? == 0 {
                return Ok(0);
            }
        }
        let mut session = self.session.borrow_mut();
        let mut rest = &self.inbox[self.at..];
        let count = session.read_tls(&mut rest).map_err(|error| error.to_string())?;
        self.at += count;
        let state = session.process_new_packets().map_err(|error| explain(&error, &self.host))?;
        if state.peer_has_closed() && state.plaintext_bytes_to_read() == 0 {
            return Ok(0);
        }
        Ok(count)
    }
}

/// Moves what is decrypted into `buffer`, up to its capacity; 0: nothing is there now.
fn take_plain(session: &mut ClientConnection, buffer: &mut Vec<u8>) -> io::Result<usize> {
    let room = buffer.capacity().max(BUFFER_BYTES);
    buffer.resize(room, 0);
    let taken = match session.reader().read(buffer) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
        // A peer that ends without saying so: the socket's own end follows.
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(0),
        other => other,
    };
    buffer.truncate(*taken.as_ref().unwrap_or(&0));
    taken
}

impl TlsWriter {
    async fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
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
        if outbox.is_empty() {
            self.outbox = outbox;
            return Ok(());
        }
        let (result, outbox) = self.socket.write_all(outbox).await;
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
    use crate::kafka::tls::TlsSettings;

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
            let (mut reader, mut writer) = handshake(socket, &tls, "kafka.test").await.unwrap();
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
                }
                got
            };
            let (read, write) = (std::pin::pin!(read), std::pin::pin!(writer.write_all(out)));
            let (got, written) = both(read, write, |_| ()).await;
            written.unwrap();
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
            let failed = handshake(socket, &tls, "kafka.test").await.err().unwrap();
            assert!(failed.contains("closed") || failed.contains("reset"), "{failed}");
        })
        .unwrap();
    }
}
