//! An upstream that records what it is sent and answers what the test says, byte by byte.

use std::io::{BufReader, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use super::message::{Request, read_request_body, read_request_head};

/// What an upstream does, in order, once it has a request.
#[derive(Clone, Debug)]
pub enum Step {
    /// Sends bytes.
    Send(Vec<u8>),
    /// Waits.
    Pause(Duration),
    /// Closes the connection.
    Close,
    /// Closes it with a reset, so that the peer's read fails.
    Reset,
    /// Answers nothing more until the peer goes away.
    Hang,
    /// Sends back whatever comes, until the peer ends its side; then ends its own.
    Echo,
}

/// When a request is handed to the test's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answers {
    /// When its body is there: the usual server.
    WholeRequests,
    /// When its head is there; the body is never read.
    Heads,
}

type Answer = dyn Fn(&Request) -> Vec<Step> + Send + Sync;

struct Shared {
    answer: Box<Answer>,
    answers: Answers,
    seen: Mutex<Vec<Request>>,
    connections: AtomicUsize,
    open: AtomicUsize,
    stop: AtomicBool,
}

/// A server on a free port of 127.0.0.1.
pub struct Upstream {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: Option<JoinHandle<()>>,
}

/// A response with a length.
pub fn ok(body: impl AsRef<[u8]>) -> Vec<Step> {
    let body = body.as_ref();
    let mut bytes = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len()).into_bytes();
    bytes.extend_from_slice(body);
    vec![Step::Send(bytes)]
}

/// Exact bytes.
pub fn raw(bytes: impl AsRef<[u8]>) -> Vec<Step> {
    vec![Step::Send(bytes.as_ref().to_vec())]
}

/// `body` in chunks of `size` bytes, with the last chunk.
pub fn in_chunks(body: &[u8], size: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(body.len() + body.len() / size * 8 + 16);
    for chunk in body.chunks(size) {
        bytes.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        bytes.extend_from_slice(chunk);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(b"0\r\n\r\n");
    bytes
}

impl Upstream {
    /// Answers whole requests.
    pub fn start(answer: impl Fn(&Request) -> Vec<Step> + Send + Sync + 'static) -> Self {
        Self::start_with(Answers::WholeRequests, answer)
    }

    /// Answers `200` with `body` to everything.
    pub fn saying(body: &'static str) -> Self {
        Self::start(move |_| ok(body))
    }

    /// Answers heads or whole requests.
    pub fn start_with(answers: Answers, answer: impl Fn(&Request) -> Vec<Step> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("bound");
        let shared = Arc::new(Shared {
            answer: Box::new(answer),
            answers,
            seen: Mutex::default(),
            connections: AtomicUsize::new(0),
            open: AtomicUsize::new(0),
            stop: AtomicBool::new(false),
        });
        let for_thread = Arc::clone(&shared);
        let accepting = std::thread::spawn(move || accept(&listener, &for_thread));
        Self { address, shared, accepting: Some(accepting) }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its address as a node of an upstream object.
    pub fn node(&self) -> String {
        self.address.to_string()
    }

    /// What it was sent so far, whole requests in the order in which they were whole.
    pub fn seen(&self) -> Vec<Request> {
        self.shared.seen.lock().expect("no panic while it is held").clone()
    }

    /// How many connections were made to it.
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::Relaxed)
    }

    /// How many are open now.
    pub fn open(&self) -> usize {
        self.shared.open.load(Ordering::Relaxed)
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        // Wakes the accept; connections end with their peers.
        let _ = TcpStream::connect(self.address);
        if let Some(accepting) = self.accepting.take() {
            let _ = accepting.join();
        }
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    for stream in listener.incoming() {
        if shared.stop.load(Ordering::Relaxed) {
            return;
        }
        let Ok(stream) = stream else { continue };
        let connection = shared.connections.fetch_add(1, Ordering::Relaxed);
        let shared = Arc::clone(shared);
        std::thread::spawn(move || {
            shared.open.fetch_add(1, Ordering::Relaxed);
            // A peer that goes away ends the connection: that is no failure of the test by itself.
            let _ = serve(stream, connection, &shared);
            shared.open.fetch_sub(1, Ordering::Relaxed);
        });
    }
}

fn serve(stream: TcpStream, connection: usize, shared: &Shared) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream);
    while let Some(mut request) = read_request_head(&mut reader)? {
        request.connection = connection;
        if shared.answers == Answers::WholeRequests {
            read_request_body(&mut reader, &mut request)?;
        }
        let steps = (shared.answer)(&request);
        shared.seen.lock().expect("no panic while it is held").push(request);
        for step in steps {
            if !take(&step, &mut reader)? {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// Does one step. False if the connection is over.
fn take(step: &Step, reader: &mut BufReader<TcpStream>) -> std::io::Result<bool> {
    if matches!(step, Step::Echo) {
        let mut back = reader.get_ref().try_clone()?;
        std::io::copy(reader, &mut back)?;
        back.shutdown(Shutdown::Write)?;
        return Ok(false);
    }
    let stream = reader.get_mut();
    match step {
        Step::Send(bytes) => stream.write_all(bytes)?,
        Step::Pause(time) => std::thread::sleep(*time),
        Step::Close => {
            stream.shutdown(Shutdown::Both)?;
            return Ok(false);
        }
        Step::Reset => {
            socket2::SockRef::from(&*stream).set_linger(Some(Duration::ZERO))?;
            return Ok(false);
        }
        Step::Echo => {}
        Step::Hang => {
            let mut nothing = [0; 1024];
            while std::io::Read::read(stream, &mut nothing)? > 0 {}
            return Ok(false);
        }
    }
    Ok(true)
}

/// A port of 127.0.0.1 where connections are refused for as long as this lives: bound, never listening.
pub struct Refusing(socket2::Socket, SocketAddr);

impl Refusing {
    /// Takes a port.
    pub fn new() -> Self {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
        socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).expect("a free port");
        let address = socket.local_addr().ok().and_then(|address| address.as_socket()).expect("bound");
        Self(socket, address)
    }

    /// Its address as a node of an upstream object.
    pub fn node(&self) -> String {
        self.1.to_string()
    }
}

/// A port of 127.0.0.1 where a connection is neither taken nor refused: its queue is full, so the kernel drops the SYN.
pub struct Unreachable {
    address: SocketAddr,
    _listener: TcpListener,
    _waiting: Vec<TcpStream>,
}

impl Unreachable {
    /// Fills the queue of a listener that never accepts.
    pub fn new() -> Self {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
        socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).expect("a free port");
        socket.listen(0).expect("a bound socket");
        let listener = TcpListener::from(socket);
        let address = listener.local_addr().expect("bound");
        let connect = |_| TcpStream::connect_timeout(&address, Duration::from_millis(200)).ok();
        // A queue of 0 takes one, with some kernels two; the first that is not taken ends it.
        let waiting = (0..8).map_while(connect).collect();
        Self { address, _listener: listener, _waiting: waiting }
    }

    /// Its address as a node of an upstream object.
    pub fn node(&self) -> String {
        self.address.to_string()
    }
}
