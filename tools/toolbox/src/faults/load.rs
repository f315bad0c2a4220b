//! The load: requests at a fixed rate over keep-alive connections, whatever the answers do (open loop), each with a name of its own.
//! A connection has one request under way; what it could not send in time goes out late, and its latency counts from when it was due.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::ledger::{Exchange, Fate, Id, Pace};
use crate::Outcome;

/// How long requests that are due may be late, at the end of the load, before the client gives them up.
const GRACE: Duration = Duration::from_secs(60);
/// How often a blocked read or a refused connect looks whether the time is up.
const SLICE: Duration = Duration::from_millis(100);
/// How long a client waits before it connects again.
const RECONNECT: Duration = Duration::from_millis(20);
/// Time between two requests of a slow connection: each takes most of it.
const SLOW_STEP: Duration = Duration::from_millis(1500);
/// Header lines of a response that are looked at.
const HEADER_LINES: usize = 64;

/// What the threads share.
#[derive(Debug)]
struct Shared {
    target: SocketAddr,
    begin: Instant,
    /// Microseconds from `begin` at which no more requests fall due; moved by `end_at`.
    end_us: AtomicU64,
    /// Set: give up at once.
    is_over: AtomicBool,
    connections: AtomicU32,
    complete: AtomicU64,
    cut: AtomicU64,
}

/// A load that runs.
pub struct Load {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<(Vec<Exchange>, u64)>>,
}

/// What the clients saw.
#[derive(Debug)]
pub struct Seen {
    /// Every request that was sent.
    pub exchanges: Vec<Exchange>,
    /// Requests that fell due and could not be sent: nobody took the connection.
    pub unsent: u64,
}

impl Load {
    /// Starts `count` connections that send `rate` requests per second together, and `slow` ones beside them, until `end_at`.
    pub fn start(target: SocketAddr, count: u32, rate: u32, slow: u32) -> Outcome<Self> {
        let shared = Arc::new(Shared {
            target,
            begin: Instant::now(),
            end_us: AtomicU64::new(u64::MAX),
            is_over: AtomicBool::new(false),
            connections: AtomicU32::new(0),
            complete: AtomicU64::new(0),
            cut: AtomicU64::new(0),
        });
        let mut load = Self { shared, threads: Vec::new() };
        load.add(count, Duration::from_secs(1) * count / rate, Pace::Usual)?;
        load.add(slow, SLOW_STEP, Pace::Slow)?;
        Ok(load)
    }

    /// Clients that each send a request every `step`, one after the other.
    fn add(&mut self, count: u32, step: Duration, pace: Pace) -> Outcome {
        for index in 0..count {
            let client = Client { shared: Arc::clone(&self.shared), first_due: step * index / count, step, pace };
            let thread = std::thread::Builder::new().name(format!("client-{index}")).spawn(move || client.run());
            self.threads.push(thread.map_err(|error| format!("a thread for a client: {error}"))?);
        }
        Ok(())
    }

    /// When it began.
    pub fn begin(&self) -> Instant {
        self.shared.begin
    }

    /// Nothing falls due from this time on.
    pub fn end_at(&self, time: Instant) {
        let after = time.saturating_duration_since(self.shared.begin);
        self.shared.end_us.store(after.as_micros() as u64, Ordering::Relaxed);
    }

    /// Whole responses and cut ones so far.
    pub fn progress(&self) -> impl Fn() -> (u64, u64) + Send + use<> {
        let shared = Arc::clone(&self.shared);
        move || (shared.complete.load(Ordering::Relaxed), shared.cut.load(Ordering::Relaxed))
    }

    /// True when every client has done what was due, or has given up.
    pub fn is_done(&self) -> bool {
        self.threads.iter().all(JoinHandle::is_finished)
    }

    /// Waits for all clients and gives what they saw.
    pub fn finish(mut self) -> Outcome<Seen> {
        let mut seen = Seen { exchanges: Vec::new(), unsent: 0 };
        for thread in std::mem::take(&mut self.threads) {
            let (exchanges, unsent) = thread.join().map_err(|_| "a client panicked".to_owned())?;
            seen.exchanges.extend(exchanges);
            seen.unsent += unsent;
        }
        Ok(seen)
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::Relaxed);
        for thread in std::mem::take(&mut self.threads) {
            let _ = thread.join();
        }
    }
}

struct Client {
    shared: Arc<Shared>,
    first_due: Duration,
    /// Time between two requests.
    step: Duration,
    pace: Pace,
}

/// A connection with its number.
struct Connection {
    stream: TcpStream,
    number: u32,
    /// Bytes of the response that is being read.
    buffer: Vec<u8>,
}

impl Connection {
    /// False if the other side has closed it, as far as is known here.
    fn is_open(&self) -> bool {
        let waits = self.stream.set_nonblocking(true).and_then(|()| self.stream.peek(&mut [0]));
        let is_back = self.stream.set_nonblocking(false).is_ok();
        is_back && waits.is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
    }
}

impl Client {
    fn run(self) -> (Vec<Exchange>, u64) {
        // Beside the gateway, not beside brokers that start.
        crate::process::stay_on(0);
        let (mut exchanges, mut unsent, mut connection) = (Vec::new(), 0, None);
        for sequence in 0.. {
            let due = self.first_due + self.step * sequence;
            if !self.wait_due(due) {
                break;
            }
            // As clients do: a connection that was closed while it was idle is not used again.
            let idle = connection.take().filter(Connection::is_open);
            let Some(mut open) = idle.or_else(|| self.connect()) else {
                unsent += 1;
                continue;
            };
            let (fate, keeps) = self.exchange(&mut open, sequence);
            let latency = self.shared.begin.elapsed().saturating_sub(due);
            let id = Id { connection: open.number, sequence };
            let (due_us, latency_us) = (due.as_micros() as u64, latency.as_micros() as u64);
            exchanges.push(Exchange { id, pace: self.pace, fate, due_us, latency_us });
            let count = if fate == Fate::Cut { &self.shared.cut } else { &self.shared.complete };
            count.fetch_add(1, Ordering::Relaxed);
            connection = keeps.then_some(open);
        }
        (exchanges, unsent)
    }

    fn end(&self) -> Duration {
        Duration::from_micros(self.shared.end_us.load(Ordering::Relaxed))
    }

    /// False if the load ends before.
    fn wait_due(&self, due: Duration) -> bool {
        loop {
            if due >= self.end() || self.shared.is_over.load(Ordering::Relaxed) {
                return false;
            }
            let left = due.saturating_sub(self.shared.begin.elapsed());
            if left.is_zero() {
                return true;
            }
            std::thread::sleep(left.min(SLICE));
        }
    }

    fn has_given_up(&self) -> bool {
        let is_late = self.shared.begin.elapsed().saturating_sub(GRACE) > self.end();
        is_late || self.shared.is_over.load(Ordering::Relaxed)
    }

    fn connect(&self) -> Option<Connection> {
        while !self.has_given_up() {
            let Ok(stream) = TcpStream::connect_timeout(&self.shared.target, Duration::from_secs(1)) else {
                std::thread::sleep(RECONNECT);
                continue;
            };
            if stream.set_nodelay(true).is_ok() && stream.set_read_timeout(Some(SLICE)).is_ok() {
                let number = self.shared.connections.fetch_add(1, Ordering::Relaxed);
                return Some(Connection { stream, number, buffer: Vec::new() });
            }
        }
        None
    }

    /// Sends one request and reads its response. False: the connection is not to be used again.
    fn exchange(&self, open: &mut Connection, sequence: u32) -> (Fate, bool) {
        let (path, number, target) = (self.pace.path(), open.number, &self.shared.target);
        let request = format!("GET {path}{number}-{sequence} HTTP/1.1\r\nHost: {target}\r\n\r\n");
        if open.stream.write_all(request.as_bytes()).is_err() {
            return (Fate::Cut, false);
        }
        open.buffer.clear();
        let mut chunk = [0; 4096];
        loop {
            match open.stream.read(&mut chunk) {
                Ok(0) => return (Fate::Cut, false),
                Ok(count) => open.buffer.extend_from_slice(&chunk[..count]),
                Err(error) if is_pause(error.kind()) && !self.has_given_up() => continue,
                Err(_) => return (Fate::Cut, false),
            }
            match read_response(&open.buffer) {
                Some(Response::Whole { status, keeps }) => return (Fate::Complete(status), keeps),
                Some(Response::Broken) => return (Fate::Cut, false),
                None => {}
            }
        }
    }
}

fn is_pause(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
}

/// What the bytes so far are.
#[derive(Debug, PartialEq, Eq)]
enum Response {
    Whole { status: u16, keeps: bool },
    Broken,
}

/// Nothing while bytes are still to come. A response has a Content-Length or ends with the last chunk.
fn read_response(bytes: &[u8]) -> Option<Response> {
    let mut lines = [httparse::EMPTY_HEADER; HEADER_LINES];
    let mut head = httparse::Response::new(&mut lines);
    let body_at = match head.parse(bytes) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return None,
        Err(_) => return Some(Response::Broken),
    };
    let value = |name: &str| {
        let line = head.headers.iter().find(|line| line.name.eq_ignore_ascii_case(name))?;
        std::str::from_utf8(line.value).ok().map(str::to_ascii_lowercase)
    };
    let keeps = value("connection").is_none_or(|value| !value.contains("close"));
    let (body, status) = (&bytes[body_at..], head.code.unwrap_or(0));
    let is_whole = match (value("content-length").map(|text| text.parse::<usize>()), value("transfer-encoding")) {
        (Some(Ok(length)), None) if body.len() > length => return Some(Response::Broken),
        (Some(Ok(length)), None) => body.len() == length,
        (None, Some(_)) => body == b"0\r\n\r\n" || body.ends_with(b"\r\n0\r\n\r\n"),
        _ => return Some(Response::Broken),
    };
    is_whole.then_some(Response::Whole { status, keeps })
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn a_response_is_whole_with_its_last_byte_only() {
        let whole = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab";
        assert_eq!(read_response(whole), Some(Response::Whole { status: 200, keeps: true }));
        for short in 0..whole.len() {
            assert_eq!(read_response(&whole[..short]), None, "{short} bytes");
        }
        let chunked = b"HTTP/1.1 503 No\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n2\r\nab\r\n0\r\n\r\n";
        assert_eq!(read_response(chunked), Some(Response::Whole { status: 503, keeps: false }));
        assert_eq!(read_response(&chunked[..chunked.len() - 1]), None);
    }

    #[test]
    fn more_than_the_response_is_broken() {
        assert_eq!(read_response(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nab"), Some(Response::Broken));
        assert_eq!(read_response(b"HTTP/1.1 200 OK\r\n\r\nab"), Some(Response::Broken));
    }

    #[test]
    fn a_slow_client_asks_for_what_is_slow() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let target = listener.local_addr().expect("bound");
        let load = Load::start(target, 1, 100, 1).expect("starts");
        let mut asked = std::collections::BTreeSet::new();
        for mut stream in listener.incoming().flatten().take(2) {
            let mut request = [0; 512];
            let length = stream.read(&mut request).expect("a request");
            asked.insert(String::from_utf8_lossy(&request[..length]).split('/').nth(1).unwrap_or_default().to_owned());
        }
        drop(load);
        assert_eq!(asked, ["id".to_owned(), "slow".to_owned()].into());
    }

    /// Answers the first request of each connection whole and ends the second in the middle.
    fn half_server() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("bound");
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                std::thread::spawn(move || {
                    let mut request = [0; 512];
                    let _ = stream.read(&mut request);
                    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab");
                    let _ = stream.read(&mut request);
                    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\na");
                });
            }
        });
        address
    }

    #[test]
    fn cut_responses_are_cut_and_every_connection_has_its_own_number() {
        let load = Load::start(half_server(), 2, 200, 0).expect("threads");
        load.end_at(load.begin() + Duration::from_millis(200));
        let seen = load.finish().expect("clients end");
        assert_eq!(seen.exchanges.len(), 40, "200 requests per second for 0.2 s");
        let cut = seen.exchanges.iter().filter(|exchange| exchange.fate == Fate::Cut).count();
        assert_eq!((cut, seen.unsent), (20, 0));
        let mut connections: Vec<u32> = seen.exchanges.iter().map(|exchange| exchange.id.connection).collect();
        connections.sort_unstable();
        connections.dedup();
        assert_eq!(connections, (0..20).collect::<Vec<_>>(), "two requests on each");
    }

    #[test]
    fn a_connection_that_was_closed_while_idle_is_not_used_again() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("bound");
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let mut request = [0; 512];
                let _ = stream.read(&mut request);
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
                // Closed here, though the response says nothing of it.
            }
        });
        let load = Load::start(address, 1, 20, 0).expect("a thread");
        load.end_at(load.begin() + Duration::from_millis(250));
        let seen = load.finish().expect("the client ends");
        let fates: Vec<Fate> = seen.exchanges.iter().map(|exchange| exchange.fate).collect();
        assert_eq!(fates, [Fate::Complete(200); 5]);
    }

    #[test]
    fn a_late_answer_counts_from_when_the_request_was_due() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("bound");
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("one client");
            let mut request = [0; 512];
            let mut is_first = true;
            while stream.read(&mut request).is_ok_and(|count| count > 0) {
                if std::mem::take(&mut is_first) {
                    std::thread::sleep(Duration::from_millis(300));
                }
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
            }
        });
        let load = Load::start(address, 1, 100, 0).expect("a thread");
        load.end_at(load.begin() + Duration::from_millis(200));
        let seen = load.finish().expect("the client ends");
        assert_eq!(seen.exchanges.len(), 20);
        assert!(seen.exchanges[1].latency_us > 250_000, "due at 10 ms, answered after 300 ms");
        assert!(seen.exchanges[19].latency_us > 80_000, "due at 190 ms, answered after 300 ms");
    }
}
