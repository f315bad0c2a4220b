//! The last part of a response, which stays here until the exchange's record is where it must be. For every response that is
//! recorded that is the ring: whoever has seen a whole response finds its record in Kafka, even if this process is killed in between.
//! With `ack_before_response` it is Kafka. What was said of a response when it was recorded is what it will have been once that part
//! is sent.

use std::ops::Range;
use std::rc::Rc;

use super::connection::{After, Client};
use super::core::Core;
use super::scratch::Scratch;
use super::waiters::{Ended, Waiter};
use crate::base::counters::Counter;
use crate::config::snapshot::{Hold, OnLogFailure};
use crate::http::message::Method;
use crate::http::reply::{self, Content, Reply};

/// What Kafka's silence is answered with.
const NOT_RECORDED: u16 = 503;

/// Where the last part of a response lies that goes out once the record is made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Parked {
    /// Nowhere: there is none.
    #[default]
    Nothing,
    /// In the scratch's `head_down`: it is the response's first part too.
    Head,
    /// In the scratch's `upstream_in`, the head with it.
    Inbox { start: usize, end: usize },
    /// In `Tail::bytes`.
    Bytes,
}

/// The part of a response that was not sent yet. Empty, and in nobody's way, for responses that are not recorded.
#[derive(Debug, Default)]
pub struct Tail {
    hold: Option<Hold>,
    /// The last part waits until the record is made.
    parks: bool,
    parked: Parked,
    bytes: Vec<u8>,
    /// Something went to the client before.
    sent: bool,
    /// The client does not take what is sent.
    lost: bool,
    /// The response ends with the connection: a client cannot tell a cut one from a whole one.
    endless: bool,
    waiter: Option<Waiter>,
}

/// How much may go out for what comes in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Overflow {
    /// Of the oldest bytes kept.
    pub kept: usize,
    /// Of the new ones, after those.
    pub new: usize,
}

impl Tail {
    /// True if the response is held.
    pub const fn is_held(&self) -> bool {
        self.hold.is_some()
    }

    /// This response is recorded: its last part waits for that.
    pub fn park_last(&mut self) {
        (self.parks, self.parked) = (true, Parked::Nothing);
    }

    /// True if a part that is the last waits.
    pub const fn parks(&self) -> bool {
        self.parks
    }

    /// The last part stands where the first does.
    pub const fn park_head(&mut self) {
        self.parked = Parked::Head;
    }

    /// The last part stands in what the upstream sent.
    pub const fn park_inbox(&mut self, part: Range<usize>) {
        self.parked = Parked::Inbox { start: part.start, end: part.end };
    }

    /// Keeps the last part.
    pub fn park(&mut self, bytes: Vec<u8>) {
        (self.parked, self.bytes) = (Parked::Bytes, bytes);
    }

    /// This response will be held.
    fn begin(&mut self, hold: Hold, buffer: Vec<u8>) {
        (self.hold, self.bytes) = (Some(hold), buffer);
    }

    /// What must go before `count` more bytes can be kept.
    pub fn overflow(&self, count: usize) -> Overflow {
        let most = self.hold.map_or(0, |hold| hold.part_bytes);
        let over = (self.bytes.len() + count).saturating_sub(most);
        let kept = over.min(self.bytes.len());
        Overflow { kept, new: over - kept }
    }

    /// Keeps bytes.
    pub fn keep(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Takes the bytes out, to send the first of them; [`Tail::put_back`] keeps the rest.
    pub fn take(&mut self) -> Vec<u8> {
        self.sent = true;
        std::mem::take(&mut self.bytes)
    }

    /// See [`Tail::take`].
    pub fn put_back(&mut self, mut bytes: Vec<u8>, sent: usize) {
        bytes.drain(..sent);
        self.bytes = bytes;
    }

    /// Bytes go to the client that were never kept.
    pub const fn passed_on(&mut self) {
        self.sent = true;
    }

    /// The client does not take what is sent: gives how many bytes it will not get.
    pub fn lose(&mut self) -> usize {
        self.lost = true;
        let count = self.bytes.len();
        self.bytes.clear();
        count
    }

    /// Notes whether the response ends with the connection.
    pub const fn ends_with_connection(&mut self, does: bool) {
        self.endless = does;
    }
}

/// From here on, what is sent to the client is held.
pub fn begin(core: &Core, scratch: &mut Scratch, hold: Hold) {
    scratch.tail.begin(hold, core.buffers.take());
}

/// The record is in the ring: sends what waited for that. Gives what becomes of the connection.
pub async fn send_parked(core: &Core, client: &mut Client, scratch: &mut Scratch, after: After) -> After {
    let Tail { parked, bytes, .. } = std::mem::take(&mut scratch.tail);
    let is_sent = match parked {
        Parked::Nothing => true,
        Parked::Head => {
            let (is_sent, head_down) = send(core, client, std::mem::take(&mut scratch.head_down)).await;
            scratch.head_down = head_down;
            is_sent
        }
        Parked::Inbox { start, end } => {
            let (is_sent, bytes) = send_part(core, client, scratch.upstream_in.take(), start..end).await;
            scratch.upstream_in.put_back(bytes);
            is_sent
        }
        Parked::Bytes => {
            let (is_sent, bytes) = send(core, client, bytes).await;
            core.buffers.give(bytes);
            is_sent
        }
    };
    if is_sent { after } else { After::Close }
}

/// Before the record is made: somebody who will wait for it, if there is a part to send and a client to send it to.
pub fn enter(core: &Core, client: &Client, scratch: &mut Scratch) {
    let tail = &mut scratch.tail;
    let is_there = !tail.lost && !client.deadline.gone() && !client.deadline.over();
    if let Some(hold) = tail.hold.filter(|_| is_there && !tail.bytes.is_empty()) {
        tail.waiter = Some(core.ship.waiters.enter(hold.timeout_ms));
    }
}

/// Who waits for the record that is being made.
pub const fn waiter(scratch: &Scratch) -> Option<&Waiter> {
    scratch.tail.waiter.as_ref()
}

/// Waits for the record, then sends the part or does what the operator wants instead. Gives what becomes of the connection.
pub async fn release(core: &Rc<Core>, client: &mut Client, scratch: &mut Scratch, after: After) -> After {
    let Tail { bytes, sent, endless, waiter, .. } = std::mem::take(&mut scratch.tail);
    let Some(waiter) = waiter else {
        core.buffers.give(bytes);
        return after;
    };
    // Of a client whose request was not read to its end, reading was ended by us: its leaving does not show.
    let fd = (after != After::Linger).then(|| client.socket.fd());
    let ended = waiter.ended(fd).await;
    drop(waiter);
    core.counters.add(counter(ended), 1);
    match ended {
        Ended::Acknowledged | Ended::Failed(OnLogFailure::Pass) => {
            let (is_sent, bytes) = send(core, client, bytes).await;
            core.buffers.give(bytes);
            if is_sent { after } else { After::Close }
        }
        Ended::Failed(OnLogFailure::Reject) if !sent => {
            core.buffers.give(bytes);
            reject(core, client, scratch, after).await
        }
        Ended::Failed(OnLogFailure::Reject) | Ended::Gone => {
            core.buffers.give(bytes);
            if endless {
                client.socket.reset();
            }
            After::Close
        }
    }
}

const fn counter(ended: Ended) -> Counter {
    match ended {
        Ended::Acknowledged => Counter::HeldAcknowledged,
        Ended::Failed(OnLogFailure::Pass) => Counter::HeldPassed,
        Ended::Failed(OnLogFailure::Reject) => Counter::HeldRejected,
        Ended::Gone => Counter::HeldAbandoned,
    }
}

async fn send(core: &Core, client: &mut Client, bytes: Vec<u8>) -> (bool, Vec<u8>) {
    let end = bytes.len();
    send_part(core, client, bytes, 0..end).await
}

async fn send_part(core: &Core, client: &mut Client, bytes: Vec<u8>, part: Range<usize>) -> (bool, Vec<u8>) {
    client.deadline.set_send_ms(core.settings.send_timeout_ms);
    let (result, bytes) = client.socket.writer.write_range(bytes, part.start, part.end).await;
    client.deadline.clear_send();
    (result.is_ok(), bytes)
}

/// Answers in the place of a response of which the client has seen nothing. It is not recorded: the record says what it replaces.
async fn reject(core: &Rc<Core>, client: &mut Client, scratch: &mut Scratch, after: After) -> After {
    let keep_alive = after == After::Keep && core.may_keep();
    let reply = Reply {
        status: NOT_RECORDED,
        content: Content::Page,
        keep_alive,
        head_only: scratch.request.method_kind == Method::Head,
        server: core.settings.server.as_bytes(),
        date: &core.date(),
        upstream_status: None,
    };
    scratch.head_down.clear();
    reply::write_reply(&mut scratch.head_down, &reply, &mut scratch.sent);
    let (is_sent, head_down) = send(core, client, std::mem::take(&mut scratch.head_down)).await;
    scratch.head_down = head_down;
    match after {
        _ if !is_sent => After::Close,
        After::Keep if !keep_alive => After::Close,
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tail(part_bytes: usize) -> Tail {
        let mut tail = Tail::default();
        tail.begin(Hold { part_bytes, timeout_ms: 1, on_failure: OnLogFailure::Pass }, Vec::new());
        tail
    }

    #[test]
    fn of_whatever_comes_in_the_last_bytes_stay() {
        for part_bytes in 1..12 {
            for size in 1..12 {
                let (mut tail, mut out) = (tail(part_bytes), Vec::new());
                let all: Vec<u8> = (0..40).collect();
                for piece in all.chunks(size) {
                    let Overflow { kept, new } = tail.overflow(piece.len());
                    let bytes = tail.take();
                    out.extend_from_slice(&bytes[..kept]);
                    tail.put_back(bytes, kept);
                    out.extend_from_slice(&piece[..new]);
                    tail.keep(&piece[new..]);
                }
                assert_eq!((out.as_slice(), tail.bytes.as_slice()), all.split_at(40 - part_bytes));
            }
        }
    }
}
