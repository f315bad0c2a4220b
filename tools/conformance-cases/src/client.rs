//! The client of a case: sends its pieces, reads what comes, looks what became of the connection.

use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::case::{After, Case, Piece, bytes};
use crate::judge::Ended;
use crate::message::{Ends, Message, Read, body, ends, head};

/// Milliseconds that a case waits for what must come.
const PATIENCE_MS: u64 = 3_000;
/// A request that finds out whether the connection still works.
const PROBE: &str = "GET /probe HTTP/1.1\r\nHost: probe\r\n\r\n";

/// What a client saw.
#[derive(Debug, Default)]
pub struct View {
    /// Interim responses.
    pub interims: Vec<Message>,
    /// Final responses; the last may be cut.
    pub finals: Vec<Message>,
    /// Bytes that are no response.
    pub broken: Option<String>,
    /// What became of the connection.
    pub ended: Ended,
}

struct Client<'a> {
    stream: TcpStream,
    input: Vec<u8>,
    closed: bool,
    heads: &'a [bool],
    view: View,
}

/// Runs the client's side of a case. `before_probe` is called once the case itself is over.
///
/// # Errors
/// When nobody takes the connection.
pub fn run(case: &Case, proxy: SocketAddr, before_probe: impl FnOnce()) -> io::Result<View> {
    let stream = TcpStream::connect_timeout(&proxy, Duration::from_millis(PATIENCE_MS))?;
    stream.set_nodelay(true)?;
    let mut client = Client { stream, input: Vec::new(), closed: false, heads: case.heads, view: View::default() };
    for piece in &case.send {
        client.send(*piece);
    }
    client.await_finals(case.awaited().unwrap_or(usize::MAX));
    before_probe();
    client.look_at_end(case.after);
    Ok(client.view)
}

impl Client<'_> {
    /// Sends; a peer that has closed already has said what it had to say.
    fn send(&mut self, piece: Piece) {
        let _ = match piece {
            Piece::Text(text) => self.stream.write_all(&bytes(text)),
            Piece::Repeated(text, times) => self.stream.write_all(&bytes(text).repeat(times)),
            Piece::Pause(ms) => {
                std::thread::sleep(Duration::from_millis(ms));
                Ok(())
            }
            Piece::AwaitHead => {
                let began = self.view.interims.len() + self.view.finals.len();
                self.await_until(|view| view.interims.len() + view.finals.len() > began);
                Ok(())
            }
            Piece::Finish => self.stream.shutdown(Shutdown::Write),
        };
    }

    fn await_finals(&mut self, count: usize) {
        self.await_until(|view| view.finals.iter().filter(|message| message.is_whole).count() >= count);
    }

    fn await_until(&mut self, enough: impl Fn(&View) -> bool) {
        let deadline = Instant::now() + Duration::from_millis(PATIENCE_MS);
        loop {
            self.parse();
            if enough(&self.view) || self.closed || self.view.broken.is_some() || !self.read_until(deadline) {
                return;
            }
        }
    }

    /// False when time is up.
    fn read_until(&mut self, deadline: Instant) -> bool {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return false;
        }
        let _ = self.stream.set_read_timeout(Some(left));
        let mut piece = [0; 16 * 1024];
        match self.stream.read(&mut piece) {
            Ok(0) => self.closed = true,
            Ok(count) => self.input.extend_from_slice(&piece[..count]),
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => return false,
            Err(_) => self.closed = true,
        }
        true
    }

    /// Takes whole responses from the input; a cut one only once the connection has ended.
    fn parse(&mut self) {
        while !self.input.is_empty() && self.view.broken.is_none() {
            let (mut message, length) = match head(&self.input) {
                Read::Whole(message, length) => (message, length),
                Read::Partial => return,
                Read::Broken(text) => return self.view.broken = Some(text),
            };
            if !message.line.starts_with("HTTP/1.") || message.status() < 100 {
                return self.view.broken = Some(message.line);
            }
            if message.status() < 200 && message.status() != 101 {
                self.input.drain(..length);
                self.view.interims.push(message);
                continue;
            }
            let ends = match self.ends(&message) {
                Ok(ends) => ends,
                Err(text) => return self.view.broken = Some(text),
            };
            match body(&mut message, ends, &self.input[length..], self.closed) {
                Read::Whole(message, taken) => {
                    self.input.drain(..length + taken);
                    self.view.finals.push(message);
                }
                Read::Partial if self.closed => {
                    self.input.clear();
                    self.view.finals.push(message);
                }
                Read::Partial => return,
                Read::Broken(text) => self.view.broken = Some(text),
            }
        }
    }

    fn ends(&self, message: &Message) -> Result<Ends, String> {
        let to_head = self.heads.get(self.view.finals.len()).copied().unwrap_or(false);
        let declared = ends(message, Ends::WithConnection)?;
        let none = to_head || matches!(message.status(), 101 | 204 | 304);
        Ok(if none { Ends::Nowhere } else { declared })
    }

    fn look_at_end(&mut self, after: After) {
        let deadline = Instant::now() + Duration::from_millis(PATIENCE_MS);
        match after {
            After::Any => {}
            After::Closed => while !self.closed && self.input.is_empty() && self.read_until(deadline) {},
            After::Open => self.probe(),
        }
        self.view.ended = match (after, self.closed) {
            (After::Open, _) => self.view.ended,
            _ if !self.input.is_empty() => Ended::WithMore,
            (_, true) => Ended::Closed,
            (_, false) => Ended::Open,
        };
    }

    /// One more request; its answer is not the case's.
    fn probe(&mut self) {
        let before = self.view.finals.len();
        self.heads = &[];
        self.send(Piece::Text(PROBE));
        self.await_finals(before + 1);
        let answered = self.view.finals.len() == before + 1 && self.view.finals[before].body == b"ok";
        self.view.finals.truncate(before);
        self.view.ended = match (answered, self.closed) {
            (true, _) => Ended::Open,
            (false, true) => Ended::Closed,
            (false, false) => Ended::OutOfStep,
        };
    }
}
