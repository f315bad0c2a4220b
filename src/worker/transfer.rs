//! One request on one upstream connection: body up and answer down, at the same time where there is a body.

use std::cell::Cell;
use std::os::fd::RawFd;
use std::pin::pin;
use std::rc::Rc;

use super::connection::{After, Client, LINGER_MS};
use super::core::Core;
use super::inbox::Inbox;
use super::planted::{self, Place};
use super::pool::UpstreamConnection;
use super::proxy::note_status;
use super::relay::{Capture, Download};
use super::scratch::Scratch;
use super::tunnel::{self, End};
use super::upload::{Upload, Uploaded};
use crate::base::Mono;
use crate::base::fault::{Fault, Kind, Side};
use crate::config::snapshot::Timeouts;
use crate::http::fields::Fields;
use crate::http::message::{Method, Parsed, Version};
use crate::http::policy::{self, CONTINUE, Respond, ResponseFraming, SentBody};
use crate::http::recall::Recalled;
use crate::http::recode::Outgoing;
use crate::http::request::{BodyLength, RequestHead};
use crate::http::response::{self, Asked, ResponseHead};
use crate::io::deadline::Deadline;
use crate::io::duplex::both;
use crate::io::socket::{shut_down, shut_down_reading};

/// Why a try failed, and how far it had come.
#[derive(Clone, Copy, Debug)]
pub struct Failed {
    /// What broke.
    pub fault: Fault,
    /// Part of an answer was sent to the client.
    pub head_sent: bool,
    /// An interim response was.
    pub interim_sent: bool,
    /// The connection had carried a request before.
    pub reused: bool,
}

/// What becomes of the part of a request's body that has not come yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rest {
    /// It goes to the upstream.
    Goes,
    /// The answer ended before it: it is thrown away.
    Discarded,
    /// The try failed and another may follow: that one reads on.
    Waits,
}

/// One try: its bounds, and how far it has come.
#[derive(Debug)]
pub struct Course {
    /// Its bounds.
    pub timeouts: Timeouts,
    /// The request went out as a WebSocket handshake: 101 is an answer.
    pub may_switch: bool,
    /// Bytes that the answer will have, if it is like the upstream's last one.
    pub expected: usize,
    began: Mono,
    /// Part of an answer went to the client.
    head_sent: Cell<bool>,
    /// An interim response did.
    interim_sent: Cell<bool>,
    /// What becomes of the rest of the request's body.
    pub rest: Cell<Rest>,
    /// Another try may follow this one, should it fail before an answer: the body so far is kept.
    pub may_be_followed: Cell<bool>,
    /// The request is still on its way up.
    pub uploading: Cell<bool>,
    /// The answer is being waited for.
    pub receiving: Cell<bool>,
    /// We ended the upstream's connection ourselves: its end is not the answer's.
    pub let_go: Cell<bool>,
}

impl Course {
    /// A try that began at `began`.
    pub const fn new(timeouts: Timeouts, began: Mono) -> Self {
        Self {
            timeouts,
            may_switch: false,
            expected: 0,
            began,
            head_sent: Cell::new(false),
            interim_sent: Cell::new(false),
            rest: Cell::new(Rest::Goes),
            may_be_followed: Cell::new(false),
            uploading: Cell::new(true),
            receiving: Cell::new(false),
            let_go: Cell::new(false),
        }
    }
}

impl Course {
    /// True if the rest of the body is for the next try, now that this one's answer `ended` so.
    fn waits_after(&self, ended: &Result<Answered, Fault>) -> bool {
        let is_upstreams = ended.as_ref().is_err_and(|fault| fault.side == Side::Upstream);
        is_upstreams && self.may_be_followed.get() && !self.interim_sent.get() && !self.head_sent.get()
    }
}

/// Sends what stands in `scratch.head_up` and the request's body, relays the answer. Gives what becomes of the client's
/// connection, and whether the upstream's can be used again.
///
/// # Errors
/// What broke, and whether another try is still possible.
pub async fn transfer(
    core: &Rc<Core>,
    client: &mut Client,
    scratch: &mut Scratch,
    upstream: &mut UpstreamConnection,
    course: &Course,
) -> Result<(After, bool), Failed> {
    let reused = upstream.is_reused();
    let fail = |fault| {
        let (head_sent, interim_sent) = (course.head_sent.get(), course.interim_sent.get());
        Failed { fault, head_sent, interim_sent, reused }
    };
    continue_if_expected(core, client, &scratch.request).await.map_err(fail)?;
    client.deadline.watch_for(Some(upstream.socket.fd()));
    let directions = Directions::new(core, client, scratch, upstream, course);
    let (ended, uploaded) = match directions.body {
        BodyLength::None | BodyLength::Length(0) => directions.in_turn().await,
        BodyLength::Length(_) | BodyLength::Chunked => directions.at_once().await,
    };
    client.deadline.watch_for(None);
    client.deadline.clear();
    let gone = client.deadline.gone();
    let ended = ended.map(|answered| Answered { keep_upstream: answered.keep_upstream && !gone, ..answered });
    settle(core, client, scratch, ended, uploaded, course.rest.get()).map_err(fail)
}

/// Both directions of one try, with what they need of client, scratch and upstream.
struct Directions<'a> {
    course: &'a Course,
    client_deadline: &'a Deadline,
    client_fd: RawFd,
    upstream_fd: RawFd,
    up: Upload<'a>,
    head_up: &'a mut Vec<u8>,
    /// What of the body came along with the head.
    first: &'a [u8],
    body: BodyLength,
    down: Answer<'a>,
}

impl<'a> Directions<'a> {
    fn new(
        core: &'a Rc<Core>,
        client: &'a mut Client,
        scratch: &'a mut Scratch,
        upstream: &'a mut UpstreamConnection,
        course: &'a Course,
    ) -> Self {
        let Client { socket: client_socket, deadline: client_deadline, input, .. } = client;
        let UpstreamConnection { socket: upstream_socket, deadline: upstream_deadline, .. } = upstream;
        let Scratch { request, response, recalled_response: recalled, sent, head_up, head_down, upstream_in, .. } =
            scratch;
        let (client_fd, upstream_fd) = (client_socket.fd(), upstream_socket.fd());
        let relay = Download {
            core,
            course,
            reader: &mut upstream_socket.reader,
            writer: &mut client_socket.writer,
            client_deadline,
            upstream_deadline,
            capture: Capture { body: &mut scratch.response_body, budget: &core.capture_budget },
            tail: &mut scratch.tail,
            facts: &mut scratch.facts,
            at_once: None,
        };
        let up = Upload {
            core,
            course,
            reader: &mut client_socket.reader,
            writer: &mut upstream_socket.writer,
            client_deadline,
            upstream_deadline,
            capture: Capture { body: &mut scratch.request_body, budget: &core.capture_budget },
            replay: &mut scratch.replay,
        };
        let (first, body) = (&input[request.len..], request.body);
        let down = Answer { core, request, course, response, recalled, sent, head_down, upstream_in, relay };
        Self { course, client_deadline, client_fd, upstream_fd, up, head_up, first, body, down }
    }

    /// Without a body: the head up, then the answer down, and what follows it if that was a 101.
    async fn in_turn(mut self) -> (Result<Answered, Fault>, Uploaded) {
        let mut uploaded = self.up.run(self.head_up, self.first, self.body).await;
        if let Some(fault) = uploaded.fault {
            return (Err(fault), uploaded);
        }
        let ended = self.down.run().await;
        if ended.as_ref().is_ok_and(|answered| answered.switched) {
            uploaded.sent_bytes += self.tunnel().await;
        }
        (ended, uploaded)
    }

    /// Relays what the two sides say to each other after a 101. Gives the number of bytes that went up.
    async fn tunnel(&mut self) -> u64 {
        let (core, timeouts) = (self.up.core, self.course.timeouts);
        let Answer { relay, response, upstream_in, .. } = &mut self.down;
        // From here on a client that sends nothing more may still listen.
        self.client_deadline.watch_for(None);
        let client = End {
            reader: self.up.reader,
            writer: relay.writer,
            deadline: self.client_deadline,
            fd: self.client_fd,
            send_ms: core.settings.send_timeout_ms,
        };
        let upstream = End {
            reader: relay.reader,
            writer: self.up.writer,
            deadline: relay.upstream_deadline,
            fd: self.upstream_fd,
            send_ms: timeouts.send_ms,
        };
        let from_upstream = &upstream_in[response.len..];
        // In memory of its own: few connections ever need it, and all would have the room.
        let tunnel = tunnel::run(core, client, upstream, self.first, from_upstream, timeouts.read_ms);
        let moved = Box::pin(tunnel).await;
        let facts = &mut *relay.facts;
        facts.sent_bytes += moved.down;
        facts.sent_body_bytes += moved.down;
        facts.upstream_received_bytes += moved.down;
        moved.up
    }

    /// With a body: the upstream may answer while it still comes.
    async fn at_once(self) -> (Result<Answered, Fault>, Uploaded) {
        let Self { course, client_deadline, client_fd, upstream_fd, mut up, head_up, first, body, mut down } = self;
        let is_held = down.relay.tail.is_held();
        let whole = Cell::new(false);
        let up = pin!(async {
            let mut uploaded = up.run(head_up, first, body).await;
            match uploaded.fault {
                None => whole.set(course.rest.get() == Rest::Goes),
                // The client will not finish: the upstream must not wait for the rest, nor we for its answer.
                Some(fault) if fault.side == Side::Downstream && course.rest.get() == Rest::Goes => {
                    course.let_go.set(true);
                    shut_down(upstream_fd);
                }
                // What ends after the answer did is not the client's fault.
                Some(_) if course.rest.get() != Rest::Goes => {
                    uploaded.fault = Some(Fault::new(Side::Upstream, Kind::Closed))
                }
                Some(_) => {}
            }
            uploaded
        });
        both(pin!(down.run()), up, |ended| {
            if whole.get() {
                return;
            }
            course.rest.set(if course.waits_after(ended) { Rest::Waits } else { Rest::Discarded });
            shut_down(upstream_fd);
            if course.rest.get() == Rest::Waits {
                // A read that the kernel has begun cannot be taken back: what it brings is kept for the next try.
            } else if ended.is_ok() && !is_held {
                // Answered before the body was here: what still comes is thrown away for a while.
                client_deadline.set_ms(LINGER_MS);
            } else {
                // No more of the body is wanted; an answer of ours, or one that is held, can still be written.
                shut_down_reading(client_fd);
            }
        })
        .await
    }
}

/// What was agreed on when an answer's last byte was sent.
struct Answered {
    /// It was a 101: what follows is no HTTP.
    switched: bool,
    /// The client's connection may carry another request.
    keep_client: bool,
    /// The upstream's connection stands exactly behind the answer.
    keep_upstream: bool,
}

/// Adds up what both directions did.
fn settle(
    core: &Core,
    client: &mut Client,
    scratch: &mut Scratch,
    ended: Result<Answered, Fault>,
    uploaded: Uploaded,
    rest: Rest,
) -> Result<(After, bool), Fault> {
    client.consumed = scratch.request.len + uploaded.from_input;
    if ended.is_err() && scratch.replay.serves() {
        scratch.replay.put_back(&mut client.input, core);
    } else if !uploaded.ahead.is_empty() {
        client.input.truncate(client.consumed);
        client.input.extend_from_slice(&uploaded.ahead);
    }
    let facts = &mut scratch.facts;
    facts.request_body_bytes = uploaded.payload_bytes;
    facts.upstream_sent_bytes = uploaded.sent_bytes;
    match (ended, uploaded.fault) {
        (Err(_), Some(fault)) if fault.side == Side::Downstream => Err(fault),
        (Err(fault), _) => Err(fault),
        (Ok(answered), fault) => {
            facts.complete = true;
            // Read to its end, whether all of it went up or an early answer made the rest useless.
            let is_read = fault.is_none();
            let after = match (is_read, answered.keep_client) {
                (false, _) => After::Linger,
                (true, true) => After::Keep,
                (true, false) => After::Close,
            };
            Ok((after, is_read && rest == Rest::Goes && answered.keep_upstream))
        }
    }
}

async fn continue_if_expected(core: &Core, client: &mut Client, request: &RequestHead) -> Result<(), Fault> {
    if !request.expect_continue || client.input.len() > request.len {
        return Ok(());
    }
    client.deadline.set_send_ms(core.settings.send_timeout_ms);
    let (result, _) = client.socket.write_all(CONTINUE).await;
    client.deadline.clear_send();
    result.map_err(|_| Fault::new(Side::Downstream, Kind::Closed))
}

/// The answer on its way down.
struct Answer<'a> {
    core: &'a Rc<Core>,
    request: &'a RequestHead,
    course: &'a Course,
    response: &'a mut ResponseHead,
    recalled: &'a mut Recalled<ResponseHead>,
    sent: &'a mut Fields,
    head_down: &'a mut Vec<u8>,
    upstream_in: &'a mut Inbox,
    relay: Download<'a>,
}

impl Answer<'_> {
    async fn run(&mut self) -> Result<Answered, Fault> {
        self.head().await?;
        let framing = self.frame();
        self.write_head(framing);
        planted::panic_here(Place::Response, self.response.reason.of(self.upstream_in));
        if self.response.status == 101 {
            self.course.head_sent.set(true);
            self.relay.send_at_once(self.head_down).await?;
            return Ok(Answered { switched: true, keep_client: false, keep_upstream: false });
        }
        let outgoing = if framing.body == SentBody::Chunked { Outgoing::Chunked } else { Outgoing::Raw };
        self.course.head_sent.set(true);
        self.relay.tail.ends_with_connection(framing.body == SentBody::Close);
        let how = (self.response.body, outgoing);
        let in_step = self.relay.run(self.head_down, self.upstream_in, self.response.len, how).await?;
        let keep_upstream = in_step && self.response.keep_alive;
        Ok(Answered { switched: false, keep_client: framing.keep_alive, keep_upstream })
    }

    /// Reads until the final head is whole; interim ones go on to a client that knows them (RFC 9110 §15.2).
    async fn head(&mut self) -> Result<(), Fault> {
        let asked = Asked { method: self.request.method_kind, upgrade: self.course.may_switch };
        self.response.clear();
        loop {
            let parsed = self.parse(asked)?;
            if parsed == Parsed::Partial {
                self.relay.read_head_bytes(self.upstream_in).await?;
                continue;
            }
            if !self.response.is_interim() {
                break;
            }
            if self.request.version == Version::Http11 {
                self.head_down.clear();
                policy::write_interim(self.head_down, self.upstream_in, self.response);
                self.course.interim_sent.set(true);
                self.relay.send_at_once(self.head_down).await?;
            }
            self.upstream_in.skip(self.response.len);
            self.response.clear();
        }
        let facts = &mut *self.relay.facts;
        facts.header_ns = Some(self.core.clock.mono().ns_since(self.course.began));
        facts.has_upstream_head = true;
        facts.status = self.response.status;
        note_status(facts, self.response.status);
        Ok(())
    }

    /// Reads the head, as far as it is there.
    fn parse(&mut self, asked: Asked) -> Result<Parsed, Fault> {
        let Self { core, response, recalled, upstream_in, .. } = self;
        let (limits, recall) = (&core.settings.response_limits, &mut *core.responses.borrow_mut());
        response::recall_response(upstream_in, limits, asked, response, recall, recalled)
            .map_err(|_| Fault::new(Side::Upstream, Kind::Malformed))
    }

    fn frame(&self) -> ResponseFraming {
        let keep_alive = self.request.keep_alive && self.core.may_keep();
        let is_head = self.request.method_kind == Method::Head;
        policy::frame_response(self.response, self.request.version, keep_alive, is_head)
    }

    fn write_head(&mut self, framing: ResponseFraming) {
        let settings = &self.core.settings;
        let told = settings.show_upstream_status || self.response.status >= 500;
        let respond = Respond {
            server: settings.server.as_bytes(),
            date: &self.core.date(),
            upstream_status: told.then_some(self.relay.facts.upstream_status.as_bytes()),
            framing,
            via: settings.via.as_deref().map(str::as_bytes),
        };
        self.head_down.clear();
        let (bytes, head, recalled) = (&**self.upstream_in, &*self.response, &*self.recalled);
        policy::write_recalled_response(self.head_down, bytes, head, &respond, self.sent, recalled);
    }
}
