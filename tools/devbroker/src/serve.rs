//! Sockets and threads: one thread per node accepts, one per connection reads a request, has it answered, writes. Requests of a connection are
//! answered one after another, as Kafka does it. Decides nothing about Kafka.

use crate::answer::{self, Context, Refused, Request, Work};
use crate::journal::{Journal, Seen};
use crate::script::{Fault, Script};
use crate::state::State;
use crate::{Api, Options, code};
use bytes::Bytes;
use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Connections at once; a further one is closed as it comes.
const CONNECTIONS: usize = 512;
/// How long stopping waits for connections to end.
const STOP_WAIT: Duration = Duration::from_secs(2);
/// How long accept rests after an error (out of descriptors).
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Bytes of a request that say what is asked.
const KEY_BYTES: usize = 2;
/// Bytes looked at for requests that wait behind another.
const PEEK_BYTES: usize = 256 * 1024;
/// How long one answer may take to write to a client that does not read.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// What all threads share.
#[derive(Debug)]
pub struct Shared {
    options: Options,
    state: Mutex<State>,
    grown: Condvar,
    pub script: Script,
    journal: Mutex<Journal>,
    connections: Mutex<HashMap<u64, (i32, TcpStream)>>,
    next_connection: AtomicU64,
    gone: Condvar,
    stopping: AtomicBool,
    started: Instant,
}

/// What becomes of the connection.
enum Next {
    GoOn,
    Close,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    pub fn new(options: Options, state: State) -> Arc<Self> {
        Arc::new(Self {
            options,
            state: Mutex::new(state),
            grown: Condvar::new(),
            script: Script::default(),
            journal: Mutex::default(),
            connections: Mutex::default(),
            next_connection: AtomicU64::new(0),
            gone: Condvar::new(),
            stopping: AtomicBool::new(false),
            started: Instant::now(),
        })
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Tells those who wait for records that there may be some.
    pub fn wake(&self) {
        self.grown.notify_all();
    }

    fn stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    /// What came so far.
    pub fn journal(&self) -> Vec<Seen> {
        lock(&self.journal).seen()
    }

    /// Accepts for one node until it is down or all is stopped.
    pub fn accept(self: &Arc<Self>, node: i32, listener: &TcpListener) {
        while !self.stopping() && self.is_up(node) {
            let Ok((stream, _)) = listener.accept() else {
                std::thread::sleep(ACCEPT_PAUSE);
                continue;
            };
            let id = self.next_connection.fetch_add(1, Ordering::Relaxed) + 1;
            let _ = self.admit(node, id, stream);
        }
    }

    fn is_up(&self, node: i32) -> bool {
        self.state().node(node).is_some_and(|node| node.up)
    }

    fn admit(self: &Arc<Self>, node: i32, id: u64, stream: TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        stream.set_write_timeout(Some(WRITE_TIMEOUT))?;
        let is_up = self.is_up(node);
        let mut connections = lock(&self.connections);
        if connections.len() >= CONNECTIONS || self.stopping() || !is_up {
            return Ok(());
        }
        connections.insert(id, (node, stream.try_clone()?));
        drop(connections);
        let shared = Arc::clone(self);
        let spawned = std::thread::Builder::new().name(format!("devbroker-{id}")).spawn(move || {
            // A panic here is a bug, but one connection's: the others and the state's lock live on.
            let run = std::panic::AssertUnwindSafe(|| shared.serve(node, id, stream));
            let _ = std::panic::catch_unwind(run);
            shared.forget(id);
        });
        spawned.map(drop).inspect_err(|_| self.forget(id))
    }

    fn forget(&self, id: u64) {
        self.state().groups.disconnect(id);
        lock(&self.connections).remove(&id);
        self.gone.notify_all();
    }

    /// Closes every connection that is open now, to all nodes or to one.
    pub fn cut_connections(&self, only: Option<i32>) {
        for (node, stream) in lock(&self.connections).values() {
            if only.is_none_or(|only| only == *node) {
                let _ = stream.shutdown(Shutdown::Both);
            }
        }
    }

    /// Ends all threads; the accepting ones need `addrs` knocked on.
    pub fn stop(&self, addrs: &[SocketAddr]) {
        self.stopping.store(true, Ordering::Release);
        for addr in addrs {
            let _ = TcpStream::connect_timeout(addr, STOP_WAIT);
        }
        self.cut_connections(None);
        drop(self.state());
        self.grown.notify_all();
        let open = lock(&self.connections);
        let _ = self.gone.wait_timeout_while(open, STOP_WAIT, |open| !open.is_empty());
    }

    fn serve(&self, node: i32, id: u64, mut stream: TcpStream) {
        while let Ok(Some(frame)) = self.read_frame(&mut stream) {
            self.wait_while_frozen(node);
            match self.one(node, id, &mut stream, &frame) {
                Ok(Next::GoOn) if !self.stopping() => {}
                _ => break,
            }
        }
        let _ = stream.shutdown(Shutdown::Both);
    }

    fn wait_while_frozen(&self, node: i32) {
        let state = self.state();
        let frozen = |state: &mut State| !self.stopping() && state.node(node).is_some_and(|node| node.frozen);
        drop(self.grown.wait_while(state, frozen));
    }

    fn one(&self, node: i32, id: u64, stream: &mut TcpStream, frame: &Bytes) -> io::Result<Next> {
        let parsed = answer::parse(frame, &self.state().versions);
        let request = match parsed {
            Ok(request) => request,
            Err(Refused::Answer(bytes)) => return stream.write_all(&bytes).map(|()| Next::GoOn),
            Err(Refused::Close) => return Ok(Next::Close),
        };
        let number = self.note(node, id, &request);
        let fault = self.script.next(request.api);
        let mut throttle = Duration::ZERO;
        let error = match fault {
            Fault::Cut => return Ok(Next::Close),
            Fault::Hang => return io::copy(stream, &mut io::sink()).map(|_| Next::Close),
            Fault::Error(code) => Some((code, Work::Skipped)),
            Fault::NotLeader { leader, epoch } => Some((code::NOT_LEADER_OR_FOLLOWER, Work::Hinted(leader, epoch))),
            Fault::ErrorAfter(code) => Some((code, Work::Done)),
            Fault::Delay(time) => {
                self.pause(time);
                None
            }
            Fault::Throttle(time) => {
                throttle = time;
                None
            }
            _ => None,
        };
        let answer = self.answer((node, id), &request, error, throttle);
        let answer = match (&fault, answer) {
            (_, Err(())) => return Ok(Next::Close),
            (Fault::NoAnswer, _) | (_, Ok(None)) => return Ok(Next::GoOn),
            (_, Ok(Some(answer))) => answer,
        };
        if self.options.journal > 0 {
            lock(&self.journal).answered(number, produces_behind(stream));
        }
        self.write(stream, &fault, &answer)
    }

    /// Writes an answer as the script wants it.
    fn write(&self, stream: &mut TcpStream, fault: &Fault, answer: &Bytes) -> io::Result<Next> {
        match *fault {
            Fault::CutAnswer(bytes) => {
                return stream.write_all(&answer[..bytes.min(answer.len())]).map(|()| Next::Close);
            }
            Fault::Trickle(bytes, every) => {
                for piece in answer.chunks(bytes.max(1)) {
                    stream.write_all(piece)?;
                    self.pause(every);
                }
            }
            Fault::Twice => stream.write_all(&[&answer[..], answer].concat())?,
            Fault::WrongCorrelation => {
                let mut wrong = answer.to_vec();
                wrong[4..8].iter_mut().for_each(|byte| *byte ^= 0x55);
                stream.write_all(&wrong)?;
            }
            _ => stream.write_all(answer)?,
        }
        Ok(Next::GoOn)
    }

    fn note(&self, node: i32, connection: u64, request: &Request) -> u64 {
        if self.options.journal == 0 {
            return 0;
        }
        let is_produce = request.api == Api::Produce;
        let batches = if is_produce { answer::batches(request, &self.state()) } else { Vec::new() };
        let (api, version, at) = (request.api, request.version, Instant::now());
        let seen = Seen { number: 0, node, connection, api, version, at, answered: None, behind: 0, batches };
        lock(&self.journal).note(self.options.journal, seen)
    }

    fn pause(&self, time: Duration) {
        let state = self.state();
        let _ = self.grown.wait_timeout_while(state, time, |_| !self.stopping());
    }

    fn answer(
        &self,
        (node, connection): (i32, u64),
        request: &Request,
        error: Option<(i16, Work)>,
        throttle: Duration,
    ) -> Result<Option<Bytes>, ()> {
        if request.api == Api::Fetch {
            return self.fetch(request, node, error.map(|(code, _)| code)).map(Some);
        }
        let mut state = self.state();
        let mut context = Context {
            state: &mut state,
            node,
            auto_create: self.options.auto_create,
            error,
            throttle_ms: i32::try_from(throttle.as_millis()).unwrap_or(i32::MAX),
            connection,
            now_ms: self.started.elapsed().as_millis() as u64,
            wall_ms: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as i64),
        };
        let answer = answer::answer(request, &mut context);
        drop(state);
        if request.api == Api::Produce {
            self.wake();
        }
        answer
    }

    fn fetch(&self, request: &Request, node: i32, error: Option<i16>) -> Result<Bytes, ()> {
        let wanted = answer::wanted(request)?;
        let until = Instant::now() + Duration::from_millis(wanted.max_wait_ms);
        let mut state = self.state();
        loop {
            let found = answer::find(&wanted, &state, node, error);
            let left = until.saturating_duration_since(Instant::now());
            if found.enough || left.is_zero() || self.stopping() {
                drop(state);
                return found.encode(request);
            }
            state = self.grown.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// One frame without its length; none at the end of the stream, or where the script cuts it. Memory is taken as bytes arrive, not as
    /// they are promised.
    fn read_frame(&self, stream: &mut TcpStream) -> io::Result<Option<Bytes>> {
        let mut head = [0; 4];
        match stream.read_exact(&mut head) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            read => read?,
        }
        let length = usize::try_from(i32::from_be_bytes(head)).unwrap_or(usize::MAX);
        if length > self.options.frame_bytes {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let mut frame = Vec::new();
        stream.take(length.min(KEY_BYTES) as u64).read_to_end(&mut frame)?;
        let api = frame.first_chunk().and_then(|key| Api::from_key(i16::from_be_bytes(*key)));
        if let Some(bytes) = api.and_then(|api| self.script.cut_request(api)) {
            let rest = bytes.saturating_sub(head.len() + frame.len()).min(length - frame.len());
            stream.take(rest as u64).read_to_end(&mut frame)?;
            return Ok(None);
        }
        let read = frame.len() + stream.take((length - frame.len()) as u64).read_to_end(&mut frame)?;
        if read == length { Ok(Some(frame.into())) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }
}

/// Produce requests that lie whole in the connection's receive buffer, as far as [`PEEK_BYTES`] shows them.
fn produces_behind(stream: &TcpStream) -> usize {
    let mut bytes = vec![0; PEEK_BYTES];
    let peeked = stream.set_nonblocking(true).and_then(|()| stream.peek(&mut bytes)).unwrap_or(0);
    let _ = stream.set_nonblocking(false);
    let mut rest = &bytes[..peeked];
    let mut count = 0;
    while let Some((length, behind)) = rest.split_first_chunk() {
        let length = usize::try_from(i32::from_be_bytes(*length)).unwrap_or(usize::MAX);
        let Some((frame, next)) = behind.split_at_checked(length) else { break };
        count += usize::from(frame.starts_with(&(Api::Produce as i16).to_be_bytes()));
        rest = next;
    }
    count
}
