//! One request on one upstream connection: body up and answer down, at the same time where there is a body.

use std::cell::Cell;
use std::rc::Rc;

use super::connection::{After, Client, LINGER_MS};
use super::core::Core;
use super::pool::UpstreamConnection;
use super::proxy::note_status;
use super::relay::{Capture, Download, Outgoing};
use super::scratch::Scratch;
use super::upload::{Upload, Uploaded};
use crate::base::Mono;
use crate::base::fault::{Fault, Kind, Side};
use crate::config::snapshot::Timeouts;
use crate::http::fields::Fields;
use crate::http::limits::HeadLimits;
use crate::http::policy::{self, OutBody, Respond, ResponseFraming};
use crate::http::request::{BodyLength, Parsed, RequestHead, Version};
use crate::http::response::{self, Asked, ResponseHead};
use crate::io::duplex::both;
use crate::io::socket::{Socket, shut_down};

/// The line that a client waits for before it sends its body (RFC 9110 §10.1.1).
const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// Why a try failed, and how far it had come.
#[derive(Clone, Copy, Debug)]
pub struct Failed {
    /// What broke.
    pub fault: Fault,
    /// Part of an answer was sent to the client.
    pub head_sent: bool,
    /// The connection had carried a request before.
    pub reused: bool,
}

/// Sends what stands in `scratch.head_up` and the request's body, relays the answer. Gives what becomes of the client's
/// connection, and whether the upstream's can be used again.
pub async fn transfer(
    core: &Rc<Core>,
    client: &mut Client,
    scratch: &mut Scratch,
    timeouts: Timeouts,
    upstream: &mut UpstreamConnection,
    began: Mono,
) -> Result<(After, bool), Failed> {
    let reused = upstream.is_reused();
    let fail = |fault, head_sent| Failed { fault, head_sent, reused };
    continue_if_expected(core, client, &scratch.request).await.map_err(|fault| fail(fault, false))?;
    let head_sent = Cell::new(false);
    let Client { socket, deadline, input, .. } = client;
    let Scratch {
        request, response, sent, head_up, head_down, upstream_in, request_body, response_body, facts, ..
    } = &mut *scratch;
    let UpstreamConnection { deadline: upstream_deadline, socket: upstream, .. } = upstream;
    let upstream_fd = upstream.fd();
    let Socket { reader: upstream_reader, writer: upstream_writer, .. } = upstream;
    let Socket { reader: client_reader, writer: client_writer, .. } = socket;
    let discard = Cell::new(false);
    let upload = Upload {
        core,
        timeouts,
        reader: client_reader,
        writer: upstream_writer,
        client_deadline: deadline,
        upstream_deadline,
        capture: Capture { body: request_body, budget: &core.capture_budget },
        discard: &discard,
    };
    let down = Answer {
        core,
        request,
        began,
        response,
        sent,
        head_down,
        upstream_in,
        head_sent: &head_sent,
        relay: Download {
            core,
            timeouts,
            reader: upstream_reader,
            writer: client_writer,
            client_deadline: deadline,
            upstream_deadline,
            capture: Capture { body: response_body, budget: &core.capture_budget },
            facts,
        },
    };
    let first = &input[request.len..];
    deadline.watch_for(Some(upstream_fd));
    let (ended, uploaded) = if request.body == BodyLength::None {
        let uploaded = upload.run(head_up, first, BodyLength::None).await;
        match uploaded.fault {
            Some(fault) => (Err(fault), uploaded),
            None => (down.run().await, uploaded),
        }
    } else {
        let whole = Cell::new(false);
        let up = async {
            let uploaded = upload.run(head_up, first, request.body).await;
            match uploaded.fault {
                None => whole.set(!discard.get()),
                // The client will not finish: the upstream must not wait for the rest, nor we for its answer.
                Some(fault) if fault.side == Side::Downstream => shut_down(upstream_fd),
                Some(_) => {}
            }
            uploaded
        };
        both(down.run(), up, |_| {
            if !whole.get() {
                // Answered before the body was here: let the upstream go, throw the rest away.
                discard.set(true);
                shut_down(upstream_fd);
                deadline.set_ms(LINGER_MS);
            }
        })
        .await
    };
    client.deadline.watch_for(None);
    settle(client, scratch, ended, uploaded, discard.get()).map_err(|fault| fail(fault, head_sent.get()))
}

/// What was agreed on when an answer's last byte was sent.
struct Answered {
    /// The client's connection may carry another request.
    keep_client: bool,
    /// The upstream's connection stands exactly behind the answer.
    keep_upstream: bool,
}

/// Adds up what both directions did.
fn settle(
    client: &mut Client,
    scratch: &mut Scratch,
    ended: Result<Answered, Fault>,
    uploaded: Uploaded,
    discarded: bool,
) -> Result<(After, bool), Fault> {
    client.consumed = scratch.request.len + uploaded.from_input;
    if !uploaded.ahead.is_empty() {
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
            let whole = fault.is_none() && !discarded;
            let after = match (whole, answered.keep_client) {
                (false, _) => After::Linger,
                (true, true) => After::Keep,
                (true, false) => After::Close,
            };
            Ok((after, whole && answered.keep_upstream))
        }
    }
}

async fn continue_if_expected(core: &Core, client: &mut Client, request: &RequestHead) -> Result<(), Fault> {
    if !request.expect_continue || request.body == BodyLength::None || client.input.len() > request.len {
        return Ok(());
    }
    client.deadline.set_ms(core.settings.send_timeout_ms);
    let (result, _) = client.socket.write_all(CONTINUE).await;
    result.map_err(|_| Fault::new(Side::Downstream, Kind::Closed))
}

/// The answer on its way down.
struct Answer<'a> {
    core: &'a Rc<Core>,
    request: &'a RequestHead,
    began: Mono,
    response: &'a mut ResponseHead,
    sent: &'a mut Fields,
    head_down: &'a mut Vec<u8>,
    upstream_in: &'a mut Vec<u8>,
    head_sent: &'a Cell<bool>,
    relay: Download<'a>,
}

impl Answer<'_> {
    async fn run(mut self) -> Result<Answered, Fault> {
        self.head().await?;
        let framing = self.frame();
        self.write_head(framing);
        let outgoing = if framing.body == OutBody::Chunked { Outgoing::Chunked } else { Outgoing::Raw };
        self.head_sent.set(true);
        let first = &self.upstream_in[self.response.len..];
        let in_step = self.relay.run(self.head_down, first, self.response.body, outgoing).await?;
        Ok(Answered { keep_client: framing.keep_alive, keep_upstream: in_step && self.response.keep_alive })
    }

    /// Reads until the final head is whole; interim ones go on to a client that knows them (RFC 9110 §15.2).
    async fn head(&mut self) -> Result<(), Fault> {
        let asked = Asked { method: self.request.method_kind, upgrade: false };
        self.response.clear();
        loop {
            let parsed = response::parse_response(self.upstream_in, &HeadLimits::default(), asked, self.response)
                .map_err(|_| Fault::new(Side::Upstream, Kind::Malformed))?;
            if parsed == Parsed::Partial || self.upstream_in.is_empty() {
                self.relay.read_head_bytes(self.upstream_in).await?;
                continue;
            }
            if !self.response.is_interim() {
                break;
            }
            if self.request.version == Version::Http11 {
                self.head_down.clear();
                policy::write_interim(self.head_down, self.upstream_in, self.response);
                self.relay.send(self.head_down).await?;
            }
            self.upstream_in.drain(..self.response.len);
            self.response.clear();
        }
        let facts = &mut *self.relay.facts;
        facts.header_ns = Some(self.core.clock.mono().ns_since(self.began));
        facts.has_upstream_head = true;
        facts.status = self.response.status;
        note_status(facts, self.response.status);
        Ok(())
    }

    fn frame(&self) -> ResponseFraming {
        let keep_alive = self.request.keep_alive && self.core.may_keep();
        policy::frame_response(self.response, self.request.version, keep_alive)
    }

    fn write_head(&mut self, framing: ResponseFraming) {
        let settings = &self.core.settings;
        let told = settings.show_upstream_status || self.response.status >= 500;
        let respond = Respond {
            framing,
            client: self.request.version,
            server: settings.server.as_bytes(),
            upstream_status: told.then_some(self.relay.facts.upstream_status.as_bytes()),
        };
        self.head_down.clear();
        self.sent.clear();
        policy::write_response(self.head_down, self.upstream_in, self.response, &respond, self.sent);
    }
}
