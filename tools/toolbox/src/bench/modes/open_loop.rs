//! The open loop: requests fall due at a fixed rate whatever the answers do, as users come. A connection has one request under way; what
//! it could not send in time waits, and its latency counts from when it was due (as in wrk2), so that waiting is not left out.
//!
//! One thread, all connections in one epoll: the load has one core, and shares it with the upstream.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use super::response::Reader;
use crate::process::{stay_on, take_short_turns};
use crate::{Outcome, stop};

/// How long answers may still come after the last request was due.
const GRACE: Duration = Duration::from_secs(5);
/// How long a load usually runs before its latencies count: connections' first answers and cold caches are no steady state.
pub const WARM_UP: Duration = Duration::from_millis(250);
/// How long a connect may take.
const CONNECT: Duration = Duration::from_secs(5);
/// How often a wait looks whether somebody wants the tool to end.
const SLICE: Duration = Duration::from_millis(100);
/// Events taken at once.
const EVENTS: usize = 512;
/// Digits that a latency keeps.
const DIGITS: u8 = 3;

/// What to load, and how.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Where to connect.
    pub target: SocketAddr,
    /// The Host line's value.
    pub host: String,
    /// The path that is asked for.
    pub path: String,
    /// Connections; request `k` goes over the `k`th of them, round and round.
    pub connections: u32,
    /// Requests per second of all connections together.
    pub rate: f64,
    /// What falls due so long from the start on is answered and counted, but its latency is not.
    pub warm_up: Duration,
    /// Seconds during which requests fall due after that.
    pub seconds: u32,
    /// The core of the load.
    pub core: usize,
}

/// What the clients saw.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Microseconds from when a request was due until its response was whole.
    pub latency_us: Histogram<u64>,
    /// Whole responses with a status below 400.
    pub answered: u64,
    /// Other statuses, broken responses and connections.
    pub errors: u64,
    /// Requests that were due and have no answer.
    pub unanswered: u64,
}

impl Seen {
    /// A percentile in microseconds.
    pub fn percentile_us(&self, percent: f64) -> f64 {
        self.latency_us.value_at_percentile(percent) as f64
    }
}

/// When the `k`th request is due, from the start.
fn due(k: u64, rate: f64) -> Duration {
    Duration::from_secs_f64(k as f64 / rate)
}

/// Loads from a thread of its own on the plan's core.
pub fn run(plan: &Plan) -> Outcome<Seen> {
    let plan = plan.clone();
    let load = move || {
        stay_on(plan.core);
        take_short_turns(0);
        Load::new(&plan)?.run()
    };
    let thread = std::thread::Builder::new().name("open-loop".to_owned()).spawn(load);
    let thread = thread.map_err(|error| format!("a thread for the load: {error}"))?;
    thread.join().map_err(|_| "the load panicked".to_owned())?
}

struct Connection {
    stream: TcpStream,
    reader: Reader,
    /// When the request under way was due.
    under_way: Option<Instant>,
    /// When those behind it were due.
    waiting: VecDeque<Instant>,
}

struct Load<'a> {
    plan: &'a Plan,
    request: Vec<u8>,
    epoll: OwnedFd,
    connections: Vec<Connection>,
    seen: Seen,
    /// From when on latencies count.
    counts_from: Instant,
    buffer: Vec<u8>,
}

impl<'a> Load<'a> {
    fn new(plan: &'a Plan) -> Outcome<Self> {
        // SAFETY: the call touches no memory of ours; a descriptor that it gives is ours alone.
        let epoll = unsafe {
            match libc::epoll_create1(libc::EPOLL_CLOEXEC) {
                ..0 => return Err(std::io::Error::last_os_error().to_string()),
                fd => OwnedFd::from_raw_fd(fd),
            }
        };
        let latency_us = Histogram::new(DIGITS).map_err(|error| error.to_string())?;
        let request = format!("GET {} HTTP/1.1\r\nHost: {}\r\n\r\n", plan.path, plan.host).into_bytes();
        let seen = Seen { latency_us, answered: 0, errors: 0, unanswered: 0 };
        let (connections, counts_from, buffer) = (Vec::new(), Instant::now(), vec![0; 256 * 1024]);
        let mut load = Self { plan, request, epoll, connections, seen, counts_from, buffer };
        for index in 0..plan.connections {
            let stream = load.connect(index)?;
            let (reader, waiting) = (Reader::default(), VecDeque::new());
            load.connections.push(Connection { stream, reader, under_way: None, waiting });
        }
        Ok(load)
    }

    fn connect(&self, index: u32) -> Outcome<TcpStream> {
        let text = |error: std::io::Error| format!("{}: {error}", self.plan.target);
        let stream = TcpStream::connect_timeout(&self.plan.target, CONNECT).map_err(text)?;
        stream.set_nodelay(true).and_then(|()| stream.set_nonblocking(true)).map_err(text)?;
        let mut event = libc::epoll_event { events: (libc::EPOLLIN | libc::EPOLLRDHUP) as u32, u64: index.into() };
        // SAFETY: both descriptors are open; the event lives through the call, which copies it.
        let added =
            unsafe { libc::epoll_ctl(self.epoll.as_raw_fd(), libc::EPOLL_CTL_ADD, stream.as_raw_fd(), &raw mut event) };
        if added == 0 { Ok(stream) } else { Err(std::io::Error::last_os_error().to_string()) }
    }

    fn run(mut self) -> Outcome<Seen> {
        let begin = Instant::now();
        self.counts_from = begin + self.plan.warm_up;
        let count = (self.plan.rate * (self.plan.warm_up.as_secs_f64() + f64::from(self.plan.seconds))) as u64;
        let mut next = 0;
        loop {
            stop::check()?;
            while next < count && begin + due(next, self.plan.rate) <= Instant::now() {
                let index = (next % u64::from(self.plan.connections)) as usize;
                self.connections[index].waiting.push_back(begin + due(next, self.plan.rate));
                self.send(index)?;
                next += 1;
            }
            let is_answered = || self.connections.iter().all(|one| one.under_way.is_none());
            let over = begin + due(count, self.plan.rate) + GRACE;
            if next == count && (is_answered() || Instant::now() > over) {
                break;
            }
            let wake = if next < count { begin + due(next, self.plan.rate) } else { over };
            self.wait(wake.saturating_duration_since(Instant::now()).min(SLICE))?;
        }
        let left = self.connections.iter().map(|one| one.waiting.len() as u64 + u64::from(one.under_way.is_some()));
        self.seen.unanswered = left.sum();
        Ok(self.seen)
    }

    /// Waits for answers until the next request is due, to the nanosecond: a millisecond would be a latency of its own.
    fn wait(&mut self, limit: Duration) -> Outcome {
        let mut events = [libc::epoll_event { events: 0, u64: 0 }; EVENTS];
        let time = libc::timespec { tv_sec: limit.as_secs() as i64, tv_nsec: limit.subsec_nanos().into() };
        let epoll = self.epoll.as_raw_fd();
        // SAFETY: the kernel writes at most EVENTS events, the array's length, and reads one timespec; no signals are masked.
        let count = unsafe {
            let nobody = std::ptr::null::<libc::sigset_t>();
            let (events, time) = (events.as_mut_ptr(), &raw const time);
            libc::syscall(libc::SYS_epoll_pwait2, epoll, events, EVENTS as libc::c_int, time, nobody, 0_usize)
        };
        match std::io::Error::last_os_error() {
            _ if count >= 0 => {}
            error if error.kind() == ErrorKind::Interrupted => return Ok(()),
            error => return Err(format!("epoll_pwait2 (Linux 5.11): {error}")),
        }
        for event in &events[..count as usize] {
            self.receive(event.u64 as usize)?;
        }
        Ok(())
    }

    /// Sends the next request of a connection if none is under way.
    fn send(&mut self, index: usize) -> Outcome {
        let connection = &mut self.connections[index];
        if connection.under_way.is_some() {
            return Ok(());
        }
        let Some(due) = connection.waiting.pop_front() else { return Ok(()) };
        connection.under_way = Some(due);
        match connection.stream.write(&self.request) {
            Ok(count) if count == self.request.len() => Ok(()),
            _ => self.broken(index),
        }
    }

    fn receive(&mut self, index: usize) -> Outcome {
        loop {
            let connection = &mut self.connections[index];
            let count = match connection.stream.read(&mut self.buffer) {
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(_) => return self.broken(index),
            };
            if count == 0 {
                // A connection may end between two requests; what was under way has no answer then, unless this is its end.
                return match (connection.under_way, connection.reader.is_ended_by_close()) {
                    (None, _) => self.again(index),
                    (Some(due), true) => self.answered(index, due, true).and_then(|()| self.again(index)),
                    (Some(_), false) => self.broken(index),
                };
            }
            let whole = connection.reader.feed(&self.buffer[..count]);
            let (Ok(whole), Some(due)) = (whole, connection.under_way) else { return self.broken(index) };
            if let Some(whole) = whole {
                self.answered(index, due, whole.status < 400)?;
                return if whole.stays_open { self.send(index) } else { self.again(index) };
            }
        }
    }

    fn answered(&mut self, index: usize, due: Instant, is_good: bool) -> Outcome {
        self.connections[index].under_way = None;
        if is_good {
            self.seen.answered += 1;
        } else {
            self.seen.errors += 1;
        }
        if due < self.counts_from {
            return Ok(());
        }
        let latency = due.elapsed().as_micros() as u64;
        self.seen.latency_us.record(latency.max(1)).map_err(|error| error.to_string())
    }

    /// The request under way is lost, and the connection with it.
    fn broken(&mut self, index: usize) -> Outcome {
        self.seen.errors += 1;
        self.again(index)
    }

    /// Another connection in its place.
    fn again(&mut self, index: usize) -> Outcome {
        let stream = self.connect(index as u32)?;
        let connection = &mut self.connections[index];
        (connection.stream, connection.reader, connection.under_way) = (stream, Reader::default(), None);
        self.send(index)
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    /// Answers each request after a pause, one connection per thread.
    fn server(pause: Duration, answers_each: usize) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("its address");
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                std::thread::spawn(move || {
                    let mut buffer = [0; 4096];
                    for _ in 0..answers_each {
                        if stream.read(&mut buffer).is_ok_and(|count| count > 0) {
                            std::thread::sleep(pause);
                            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na");
                        }
                    }
                });
            }
        });
        address
    }

    fn plan(target: SocketAddr, connections: u32, rate: f64) -> Plan {
        let (host, path) = ("h".to_owned(), "/".to_owned());
        Plan { target, host, path, connections, rate, warm_up: Duration::ZERO, seconds: 1, core: 0 }
    }

    #[test]
    fn every_request_that_falls_due_is_sent_and_answered() {
        let seen = run(&plan(server(Duration::ZERO, usize::MAX), 4, 200.0)).expect("a load");
        assert_eq!((seen.answered, seen.errors, seen.unanswered), (200, 0, 0));
        assert_eq!(seen.latency_us.len(), 200);
    }

    #[test]
    fn latencies_count_from_the_end_of_the_warm_up_on() {
        let warm = Plan { warm_up: Duration::from_millis(500), ..plan(server(Duration::ZERO, usize::MAX), 4, 200.0) };
        let seen = run(&warm).expect("a load");
        assert_eq!((seen.answered, seen.latency_us.len()), (300, 200));
    }

    #[test]
    fn waiting_for_the_answer_before_counts_as_latency() {
        // One connection, 20 ms an answer, one request due every 10 ms: the last of 100 waits for about a second.
        let seen = run(&plan(server(Duration::from_millis(20), usize::MAX), 1, 100.0)).expect("a load");
        assert_eq!(seen.answered, 100);
        let (p50, p99) = (seen.percentile_us(50.0), seen.percentile_us(99.0));
        assert!(p50 > 300_000.0 && p99 > 800_000.0, "{p50} {p99}");
    }

    #[test]
    fn a_connection_that_ends_between_requests_is_replaced_and_one_that_ends_within_one_is_an_error() {
        let seen = run(&plan(server(Duration::ZERO, 10), 1, 50.0)).expect("a load");
        // The server closes behind its tenth answer: that is seen before the next request, or by it.
        assert_eq!(seen.answered + seen.errors + seen.unanswered, 50);
        assert!(seen.answered >= 45, "{seen:?}");
    }

    #[test]
    fn requests_fall_due_evenly() {
        assert_eq!(due(0, 1000.0), Duration::ZERO);
        assert_eq!(due(1500, 1000.0), Duration::from_millis(1500));
    }
}
