//! Sockets and threads: one thread accepts, one per connection reads a request, has it answered, writes. Requests of a connection are answered
//! one after another, as Kafka does it. Decides nothing about Kafka.

use crate::answer::{self, Context, Refused, Request, Work};
use crate::script::{Fault, Script};
use crate::state::State;
use crate::{Api, Options};
use bytes::Bytes;
use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Connections at once; a further one is closed as it comes.
const CONNECTIONS: usize = 512;
/// How long stopping waits for connections to end.
const STOP_WAIT: Duration = Duration::from_secs(2);
/// How long accept rests after an error (out of descriptors).
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// How long one answer may take to write to a client that does not read.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// What all threads share.
#[derive(Debug)]
pub struct Shared {
    options: Options,
    advertised: (String, u16),
    state: Mutex<State>,
    grown: Condvar,
    pub script: Script,
    connections: Mutex<HashMap<u64, TcpStream>>,
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
    pub fn new(options: Options, addr: SocketAddr, state: State) -> Arc<Self> {
        let advertised = options.advertised.clone().unwrap_or_else(|| (addr.ip().to_string(), addr.port()));
        Arc::new(Self {
            options,
            advertised,
            state: Mutex::new(state),
            grown: Condvar::new(),
            script: Script::default(),
            connections: Mutex::default(),
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

    /// Accepts until stopped.
    pub fn accept(self: &Arc<Self>, listener: &TcpListener) {
        let mut next_id = 0;
        while !self.stopping() {
            let Ok((stream, _)) = listener.accept() else {
                std::thread::sleep(ACCEPT_PAUSE);
                continue;
            };
            next_id += 1;
            let _ = self.admit(next_id, stream);
        }
    }

    fn admit(self: &Arc<Self>, id: u64, stream: TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        stream.set_write_timeout(Some(WRITE_TIMEOUT))?;
        let mut connections = lock(&self.connections);
        if connections.len() >= CONNECTIONS || self.stopping() {
            return Ok(());
        }
        connections.insert(id, stream.try_clone()?);
        drop(connections);
        let shared = Arc::clone(self);
        let spawned = std::thread::Builder::new().name(format!("devbroker-{id}")).spawn(move || {
            // A panic here is a bug, but one connection's: the others and the state's lock live on.
            let run = std::panic::AssertUnwindSafe(|| shared.serve(id, stream));
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

    /// Closes every connection that is open now.
    pub fn cut_connections(&self) {
        for stream in lock(&self.connections).values() {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// Ends all threads; the accepting one needs `addr` knocked on.
    pub fn stop(&self, addr: SocketAddr) {
        self.stopping.store(true, Ordering::Release);
        let _ = TcpStream::connect_timeout(&addr, STOP_WAIT);
        self.cut_connections();
        drop(self.state());
        self.grown.notify_all();
        let open = lock(&self.connections);
        let _ = self.gone.wait_timeout_while(open, STOP_WAIT, |open| !open.is_empty());
    }

    fn serve(&self, id: u64, mut stream: TcpStream) {
        while let Ok(Some(frame)) = read_frame(&mut stream, self.options.frame_bytes) {
            match self.one(id, &mut stream, &frame) {
                Ok(Next::GoOn) if !self.stopping() => {}
                _ => break,
            }
        }
        let _ = stream.shutdown(Shutdown::Both);
    }

    fn one(&self, id: u64, stream: &mut TcpStream, frame: &Bytes) -> io::Result<Next> {
        let request = match answer::parse(frame) {
            Ok(request) => request,
            Err(Refused::Answer(bytes)) => return stream.write_all(&bytes).map(|()| Next::GoOn),
            Err(Refused::Close) => return Ok(Next::Close),
        };
        let fault = self.script.next(request.api);
        let error = match fault {
            Fault::Cut => return Ok(Next::Close),
            Fault::Error(code) => Some((code, Work::Skipped)),
            Fault::ErrorAfter(code) => Some((code, Work::Done)),
            Fault::Delay(time) => {
                self.pause(time);
                None
            }
            _ => None,
        };
        let Ok(answer) = self.answer(id, &request, error) else { return Ok(Next::Close) };
        match (fault, answer) {
            (Fault::NoAnswer, _) | (_, None) => Ok(Next::GoOn),
            (Fault::CutAnswer(bytes), Some(answer)) => {
                stream.write_all(&answer[..bytes.min(answer.len())]).map(|()| Next::Close)
            }
            (_, Some(answer)) => stream.write_all(&answer).map(|()| Next::GoOn),
        }
    }

    fn pause(&self, time: Duration) {
        let state = self.state();
        let _ = self.grown.wait_timeout_while(state, time, |_| !self.stopping());
    }

    fn answer(&self, id: u64, request: &Request, error: Option<(i16, Work)>) -> Result<Option<Bytes>, ()> {
        if request.api == Api::Fetch {
            return self.fetch(request, error.map(|(code, _)| code)).map(Some);
        }
        let mut state = self.state();
        let mut context = Context {
            state: &mut state,
            advertised: (&self.advertised.0, self.advertised.1),
            auto_create: self.options.auto_create,
            error,
            connection: id,
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

    fn fetch(&self, request: &Request, error: Option<i16>) -> Result<Bytes, ()> {
        let wanted = answer::wanted(request)?;
        let until = Instant::now() + Duration::from_millis(wanted.max_wait_ms);
        let mut state = self.state();
        loop {
            let found = answer::find(&wanted, &state, error);
            let left = until.saturating_duration_since(Instant::now());
            if found.enough || left.is_zero() || self.stopping() {
                drop(state);
                return found.encode(request);
            }
            state = self.grown.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

/// One frame without its length; none at the end of the stream. Memory is taken as bytes arrive, not as they are promised.
fn read_frame(stream: &mut TcpStream, most: usize) -> io::Result<Option<Bytes>> {
    let mut head = [0; 4];
    match stream.read_exact(&mut head) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        read => read?,
    }
    let length = usize::try_from(i32::from_be_bytes(head)).unwrap_or(usize::MAX);
    if length > most {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut frame = Vec::new();
    let read = stream.take(length as u64).read_to_end(&mut frame)?;
    if read == length { Ok(Some(frame.into())) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}
