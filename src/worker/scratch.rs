//! What one exchange needs, kept for the next: heads, buffers, facts. A core has as many as it has exchanges at once.

use std::cell::RefCell;

use super::hold::Tail;
use super::inbox::Inbox;
use super::replay::Replay;
use crate::base::time::Now;
use crate::config::snapshot::LoggerIndex;
use crate::http::fields::Fields;
use crate::http::recall::Recalled;
use crate::http::request::RequestHead;
use crate::http::response::ResponseHead;
use crate::log::body::BodyCapture;
use crate::route::UriParams;

/// Scratches kept for reuse, per core.
const SPARE_SCRATCHES: usize = 1024;
/// A buffer that grew beyond this is freed instead of kept, in bytes.
const KEEP_BYTES: usize = 64 * 1024;

/// What is known of an exchange when it is recorded.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// When its first byte was read.
    pub started: Now,
    /// Status sent to the client; 499 if it left before an answer.
    pub status: u16,
    /// Bytes sent to the client, head and body.
    pub sent_bytes: u64,
    /// Bytes of the response body sent to the client.
    pub sent_body_bytes: u64,
    /// Bytes of the request body that were read.
    pub request_body_bytes: u64,
    /// `ip:port` of every node asked, with `, ` between.
    pub upstream_addr: String,
    /// The status of every try, likewise.
    pub upstream_status: String,
    /// Node asked last, as an index into the node set.
    pub node: Option<usize>,
    /// Time to connect, to the response's head, to its end, of the last try, in nanoseconds.
    pub connect_ns: Option<u64>,
    /// See `connect_ns`.
    pub header_ns: Option<u64>,
    /// See `connect_ns`.
    pub response_ns: Option<u64>,
    /// Bytes sent to the last node.
    pub upstream_sent_bytes: u64,
    /// Bytes received from the last node.
    pub upstream_received_bytes: u64,
    /// True if the last node's response head is in `response`/`upstream_in`.
    pub has_upstream_head: bool,
    /// True if everything was handed to the kernel.
    pub complete: bool,
}

impl Facts {
    fn reset(&mut self, started: Now) {
        let mut addr = std::mem::take(&mut self.upstream_addr);
        let mut status = std::mem::take(&mut self.upstream_status);
        addr.clear();
        status.clear();
        *self = Self { started, upstream_addr: addr, upstream_status: status, ..Self::default() };
    }
}

/// Everything one exchange writes into.
#[derive(Debug, Default)]
pub struct Scratch {
    /// The request's head, as positions in the client's input buffer.
    pub request: RequestHead,
    /// The response's head, as positions in `upstream_in`.
    pub response: ResponseHead,
    /// The request's field lines, if they came before.
    pub recalled_request: Recalled<RequestHead>,
    /// The response's head, if it came before.
    pub recalled_response: Recalled<ResponseHead>,
    /// The header lines sent to the client, as positions in `head_down`.
    pub sent: Fields,
    /// The normalised, decoded path.
    pub path: Vec<u8>,
    /// What a parameter route took from `path`: `$uri_param_*`.
    pub uri_params: UriParams,
    /// The host in lower case, without port.
    pub host: Vec<u8>,
    /// The request head for the upstream, and small bodies.
    pub head_up: Vec<u8>,
    /// The response head for the client, and small bodies.
    pub head_down: Vec<u8>,
    /// What was read from the upstream until its head was whole.
    pub upstream_in: Inbox,
    /// The request body as far as a logger wants it.
    pub request_body: BodyCapture,
    /// The response body as far as a logger wants it.
    pub response_body: BodyCapture,
    /// The request body as far as another try may need it.
    pub replay: Replay,
    /// What `chash` picks the node by.
    pub hash_key: Vec<u8>,
    /// Nodes that were asked.
    pub tried: Vec<usize>,
    /// Loggers whose `_meta.filter` said no when the request came in.
    pub silent: Vec<LoggerIndex>,
    /// What is held of the response.
    pub tail: Tail,
    /// For the record.
    pub facts: Facts,
}

/// A core's spare scratches.
#[derive(Debug, Default)]
#[expect(clippy::vec_box, reason = "a scratch is a kilobyte and is handed around: the box moves, not its content")]
pub struct Scratches {
    spare: RefCell<Vec<Box<Scratch>>>,
}

impl Scratches {
    /// One for an exchange whose first byte was read at `started`.
    pub fn take(&self, started: Now) -> Box<Scratch> {
        let mut scratch = self.spare.borrow_mut().pop().unwrap_or_default();
        scratch.facts.reset(started);
        scratch
    }

    /// Gives it back, emptied.
    pub fn give(&self, mut scratch: Box<Scratch>) {
        let mut spare = self.spare.borrow_mut();
        if spare.len() >= SPARE_SCRATCHES {
            return;
        }
        let inner = &mut *scratch;
        inner.request.clear();
        inner.response.clear();
        inner.recalled_request.clear();
        inner.recalled_response.clear();
        inner.sent.clear();
        inner.tried.clear();
        inner.silent.clear();
        inner.tail = Tail::default();
        inner.uri_params.clear();
        for buffer in [&mut inner.path, &mut inner.host, &mut inner.head_up, &mut inner.head_down, &mut inner.hash_key]
        {
            if buffer.capacity() > KEEP_BYTES {
                *buffer = Vec::new();
            }
            buffer.clear();
        }
        inner.upstream_in.clear(KEEP_BYTES);
        spare.push(scratch);
    }
}
