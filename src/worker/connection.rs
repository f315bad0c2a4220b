//! A client's connection: reads request heads, one exchange after another, until either side has had enough.

use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;

use super::core::Core;
use super::exchange;
use super::scratch::Scratch;
use crate::base::counters::Counter;
use crate::http::message::{Parsed, Reject};
use crate::http::policy::{self, Forwarded, Peer, PeerTrust};
use crate::http::reply::{self, Content, Reply};
use crate::http::request::{self, BodyLength, RequestHead};
use crate::io::deadline::{Deadline, Rest};
use crate::io::socket::Socket;

/// Bytes of the buffer that a connection begins with: enough for a small head, little enough for 10,000 of them. A larger head makes it grow
/// once.
const IDLE_BUFFER_BYTES: usize = 512;
/// Bytes of a buffer that a connection keeps between two requests, so that heads of a usual size allocate nothing.
const KEPT_BUFFER_BYTES: usize = 4 * 1024;
/// Bytes of a body, at most, that are taken along with its head although the buffer had no room for them.
const SMALL_BODY_BYTES: usize = 16 * 1024;
/// Milliseconds for which the rest of an unread request is thrown away before the connection is closed, so that the client
/// reads our answer and not a reset (RFC 9112 §9.6).
pub const LINGER_MS: u64 = 2_000;
/// How long a core that drains waits for the first request of a connection, in milliseconds.
pub const FIRST_REQUEST_MS: u64 = 1_000;
/// Bytes thrown away at most while lingering.
const LINGER_BYTES: usize = 1024 * 1024;

/// Whether the connection lives on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    /// For another request.
    Keep,
    /// Closed now.
    Close,
    /// Closed after what the client still sends was thrown away.
    Linger,
}

/// A client's connection.
pub struct Client {
    /// Its deadline; goes before the socket closes.
    pub deadline: Deadline,
    /// The socket.
    pub socket: Socket,
    /// What was read and not yet used; the current request's head stands at its front.
    pub input: Vec<u8>,
    /// Bytes of `input` that belong to the current request.
    pub consumed: usize,
    /// The TCP peer.
    pub peer: SocketAddr,
    /// Where the peer connected to.
    pub local: Option<SocketAddr>,
    /// The client's address after real-ip processing of the current request, with its text.
    pub remote: IpAddr,
    /// `remote` as text.
    pub remote_text: String,
    /// The peer's address as text.
    pub peer_text: String,
    /// The local address as text.
    pub local_text: String,
    /// The listener's port.
    pub listen_port: u16,
    /// `listen_port` as text.
    pub listen_port_text: String,
    /// Number of the connection on this core.
    pub serial: u64,
    /// Requests so far.
    pub requests: u64,
    /// The current request was in the buffer before the last answer was finished.
    pub pipelined: bool,
}

/// What an exchange has of the core's, given back however it ends: a panic must not take it along.
struct Lent<'a> {
    core: &'a Core,
    scratch: &'a mut Scratch,
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        // Nobody holds it here: what borrowed it was unwound before.
        if let Ok(mut budget) = self.core.capture_budget.try_borrow_mut() {
            self.scratch.request_body.release(&mut budget);
            self.scratch.response_body.release(&mut budget);
        }
    }
}

/// Reads the head at the front of `input`, or more of it.
fn recall(core: &Core, input: &[u8], scratch: &mut Scratch) -> Result<Parsed, Reject> {
    let limits = &core.settings.request_limits;
    let Scratch { request, recalled_request, .. } = scratch;
    request::recall_request(input, limits, request, &mut core.requests.borrow_mut(), recalled_request)
}

/// Serves a connection until it ends.
pub async fn serve(core: Rc<Core>, socket: Socket, peer: SocketAddr, listen_port: u16) {
    let mut client = Client::new(&core, socket, peer, listen_port);
    let mut after = After::Keep;
    while after == After::Keep
        && let Some(mut scratch) = client.next_request(&core).await
    {
        let lent = Lent { core: &core, scratch: &mut scratch };
        after = core.lodging.take_in(|| exchange::run(&core, &mut client, lent.scratch)).await;
        drop(lent);
        core.scratches.give(scratch);
        client.forget_request();
    }
    if after == After::Linger {
        Box::pin(client.linger()).await;
    }
}

impl Client {
    fn new(core: &Core, socket: Socket, peer: SocketAddr, listen_port: u16) -> Self {
        let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
        let local = socket.local_address();
        let peer_text = peer.ip().to_string();
        Self {
            deadline: core.deadlines.watch(socket.fd()),
            socket,
            input: Vec::with_capacity(IDLE_BUFFER_BYTES),
            consumed: 0,
            peer,
            local,
            remote: peer.ip(),
            remote_text: peer_text.clone(),
            peer_text,
            local_text: local.map_or_else(String::new, |local| local.ip().to_canonical().to_string()),
            listen_port,
            listen_port_text: listen_port.to_string(),
            serial: core.next_serial(),
            requests: 0,
            pipelined: false,
        }
    }

    /// Reads until a whole head stands at the front of `input`. `None`: the connection is to be closed.
    async fn next_request(&mut self, core: &Rc<Core>) -> Option<Box<Scratch>> {
        let mut scratch = None;
        self.pipelined = !self.input.is_empty();
        let mut fresh = !self.pipelined;
        self.deadline.clear();
        loop {
            if !fresh {
                let begun = scratch.get_or_insert_with(|| core.scratches.take(core.clock.now()));
                match recall(core, &self.input, begun) {
                    Ok(Parsed::Complete) => {
                        self.take_rest_of_body(&begun.request);
                        self.consumed = begun.request.len;
                        self.deadline.clear();
                        return scratch;
                    }
                    Ok(Parsed::Partial) => {}
                    Err(reject) => {
                        let mut begun = scratch?;
                        // In memory of its own: a connection that rests has no room for it.
                        if Box::pin(self.refuse(core, &mut begun, reject)).await == After::Linger {
                            Box::pin(self.linger()).await;
                        }
                        return None;
                    }
                }
            }
            if !self.read_more(core, fresh).await {
                return None;
            }
            fresh = false;
        }
    }

    /// A small body that did not fit behind its head is likely here already: then both go up in one piece, and an upstream that does not want
    /// it cannot answer in between.
    fn take_rest_of_body(&mut self, request: &RequestHead) {
        let BodyLength::Length(length) = request.body else { return };
        let here = (self.input.len() - request.len) as u64;
        let missing = usize::try_from(length.saturating_sub(here)).unwrap_or(usize::MAX);
        let was_cut = self.input.len() == self.input.capacity();
        if was_cut && (1..=SMALL_BODY_BYTES).contains(&missing) && !request.expect_continue {
            self.socket.read_ready(&mut self.input, missing);
        }
    }

    /// Reads once. False at the end of the connection. `fresh`: nothing of a request has been read yet.
    async fn read_more(&mut self, core: &Core, fresh: bool) -> bool {
        let timeout_ms = match (fresh, self.requests) {
            (true, 1..) if core.draining.get() => return false,
            (true, 1..) => core.settings.keepalive_timeout_ms,
            // It was accepted, so its first request is answered, if it comes.
            (true, 0) if core.draining.get() => core.settings.header_timeout_ms.min(FIRST_REQUEST_MS),
            _ => core.settings.header_timeout_ms,
        };
        if timeout_ms == 0 {
            return false;
        }
        // A head has one deadline, however slowly its bytes trickle in.
        if fresh || !self.deadline.is_set() {
            self.deadline.set_ms(timeout_ms);
        }
        self.deadline.rest(match (fresh, self.requests) {
            (false, _) => Rest::No,
            (true, 0) => Rest::BeforeTheFirst,
            (true, _) => Rest::Between,
        });
        let mut input = std::mem::take(&mut self.input);
        if input.len() == input.capacity() {
            input.reserve(input.capacity().max(IDLE_BUFFER_BYTES));
        }
        let (result, input) = self.socket.read(input).await;
        self.input = input;
        self.deadline.rest(Rest::No);
        if fresh {
            self.deadline.set_ms(core.settings.header_timeout_ms);
        }
        matches!(result, Ok(1..)) && !self.deadline.fired()
    }

    /// Answers bytes that are no request; nothing after them can be trusted.
    pub async fn refuse(&mut self, core: &Core, scratch: &mut Scratch, reject: Reject) -> After {
        core.counters.add(Counter::BadRequests, 1);
        scratch.head_down.clear();
        let reply = Reply {
            status: reject.status,
            content: Content::Page,
            keep_alive: false,
            head_only: false,
            server: core.settings.server.as_bytes(),
            date: &core.date(),
            upstream_status: None,
        };
        reply::write_reply(&mut scratch.head_down, &reply, &mut scratch.sent);
        self.deadline.set_send_ms(core.settings.send_timeout_ms);
        let (result, head_down) = self.socket.write_all(std::mem::take(&mut scratch.head_down)).await;
        self.deadline.clear_send();
        scratch.head_down = head_down;
        if result.is_ok() { After::Linger } else { After::Close }
    }

    /// Who asked, and what its word is worth (`trusted_addresses`).
    pub fn as_peer(&self, core: &Core) -> Peer<'_> {
        let address = self.peer.ip();
        let trust = match core.settings.trusted.as_deref() {
            None => PeerTrust::Unconfigured,
            Some(nets) if nets.iter().any(|net| net.contains(address)) => PeerTrust::Trusted,
            Some(_) => PeerTrust::Untrusted,
        };
        Peer {
            remote_addr: self.remote_text.as_bytes(),
            scheme: b"http",
            port: self.listen_port_text.as_bytes(),
            trust,
        }
    }

    /// What the gateway says in X-Forwarded-Proto, -Host and -Port of the current request.
    pub fn forwarded<'a>(&'a self, core: &Core, request: &'a RequestHead) -> Forwarded<'a> {
        policy::forwarded(&self.input, request, &self.as_peer(core))
    }

    /// Drops the current request's bytes; what a client sent ahead moves to the front.
    fn forget_request(&mut self) {
        if self.consumed >= self.input.len() {
            self.input.clear();
            if self.input.capacity() > KEPT_BUFFER_BYTES {
                self.input = Vec::with_capacity(IDLE_BUFFER_BYTES);
            }
        } else {
            self.input.drain(..self.consumed);
        }
        self.consumed = 0;
    }

    /// Throws away what the client still sends, for a bounded time, so that closing does not reset the answer away.
    async fn linger(&mut self) {
        self.socket.finish_sending();
        self.deadline.set_ms(LINGER_MS);
        let mut left = LINGER_BYTES;
        let mut buffer = std::mem::take(&mut self.input);
        loop {
            buffer.clear();
            let (result, filled) = self.socket.read(buffer).await;
            buffer = filled;
            match result {
                Ok(count @ 1..) if count < left && !self.deadline.over() => left -= count,
                _ => return,
            }
        }
    }
}
