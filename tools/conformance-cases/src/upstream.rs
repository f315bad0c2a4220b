//! The upstream of all cases: one listener, which reads strictly, writes down every request, and answers what the case says.

use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::case::{Answer, bytes};
use crate::message::{Ends, Message, Read, body, ends, head};

/// What a request gets when the case says nothing.
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
/// Milliseconds between the two pieces of an answer.
const PIECE_PAUSE_MS: u64 = 30;

#[derive(Debug, Default)]
struct State {
    answers: Vec<Answer>,
    next: usize,
    /// Which case this is: what an earlier one left behind is not this one's.
    case: u64,
    requests: Vec<Message>,
    /// Bytes that are no request.
    broken: Vec<String>,
}

/// A listening upstream.
#[derive(Clone, Debug)]
pub struct Upstream {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

impl Upstream {
    /// Listens on a free port of 127.0.0.1, for as long as the process lives.
    ///
    /// # Errors
    /// What the kernel said.
    pub fn start() -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let upstream = Self { address: listener.local_addr()?, state: Arc::default() };
        let serving = upstream.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let serving = serving.clone();
                std::thread::spawn(move || serving.serve(stream));
            }
        });
        Ok(upstream)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Forgets what it saw and takes the answers of the next case.
    pub fn begin(&self, answers: &[Answer]) {
        let mut state = self.state();
        *state = State { answers: answers.to_vec(), case: state.case + 1, ..State::default() };
    }

    /// The requests of this case, and what came that was none.
    pub fn seen(&self) -> (Vec<Message>, Vec<String>) {
        let state = self.state();
        (state.requests.clone(), state.broken.clone())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn serve(&self, mut stream: TcpStream) {
        let mut input = Vec::new();
        let _ = stream.set_nodelay(true);
        while let Ok(true) = self.one(&mut stream, &mut input) {}
        let _ = stream.shutdown(Shutdown::Both);
    }

    /// One request and its answer. False at the end of the connection.
    fn one(&self, stream: &mut TcpStream, input: &mut Vec<u8>) -> io::Result<bool> {
        let (mut message, length) = loop {
            match head(input) {
                Read::Whole(message, length) => break (message, length),
                Read::Partial if more(stream, input)? => {}
                Read::Partial => return Ok(self.gone(input)),
                Read::Broken(text) => return Ok(self.broke(text)),
            }
        };
        input.drain(..length);
        let ends = match ends(&message, Ends::Nowhere) {
            Ok(ends) => ends,
            Err(text) => return Ok(self.broke(text)),
        };
        let (answer, case) = self.answer();
        if let Answer::SaysAtHead(text) = answer {
            stream.write_all(&bytes(text))?;
        }
        let (message, taken) = loop {
            match body(&mut message, ends, input, false) {
                Read::Whole(message, taken) => break (message, taken),
                Read::Partial if more(stream, input)? => {}
                Read::Partial => {
                    self.note(message, case);
                    return Ok(false);
                }
                Read::Broken(text) => return Ok(self.broke(text)),
            }
        };
        input.drain(..taken);
        self.note(message, case);
        reply(stream, answer)
    }

    fn answer(&self) -> (Answer, u64) {
        let mut state = self.state();
        state.next += 1;
        (state.answers.get(state.next - 1).copied().unwrap_or(Answer::Says(OK)), state.case)
    }

    fn note(&self, message: Message, case: u64) {
        let mut state = self.state();
        if state.case == case {
            state.requests.push(message);
        }
    }

    fn broke(&self, text: String) -> bool {
        self.state().broken.push(text);
        false
    }

    fn gone(&self, input: &[u8]) -> bool {
        if !input.is_empty() {
            self.broke(format!("a connection that ends in {}", input.escape_ascii()));
        }
        false
    }
}

fn reply(stream: &mut TcpStream, answer: Answer) -> io::Result<bool> {
    match answer {
        Answer::Says(text) => stream.write_all(&bytes(text))?,
        Answer::SaysAndCloses(text) => {
            stream.write_all(&bytes(text))?;
            return Ok(false);
        }
        Answer::SaysInTwo(first, second) => {
            stream.write_all(&bytes(first))?;
            std::thread::sleep(Duration::from_millis(PIECE_PAUSE_MS));
            stream.write_all(&bytes(second))?;
        }
        Answer::SaysAtHead(_) => {}
    }
    Ok(true)
}

fn more(stream: &mut TcpStream, input: &mut Vec<u8>) -> io::Result<bool> {
    let mut piece = [0; 16 * 1024];
    let count = stream.read(&mut piece)?;
    input.extend_from_slice(&piece[..count]);
    Ok(count > 0)
}
