//! A response's bytes on their way from the upstream to the client, streamed with bounded memory.

use std::cell::RefCell;
use std::ops::Range;

use super::core::Core;
use super::hold::Tail;
use super::inbox::Inbox;
use super::scratch::Facts;
use super::transfer::Course;
use crate::base::fault::{Fault, Kind, Side};
use crate::base::limits;
use crate::http::chunked::LAST_CHUNK;
use crate::http::recode::{Outgoing, Recoder, put};
use crate::http::response::ResponseBody;
use crate::io::deadline::Deadline;
use crate::io::socket::{Reader, Writer};
use crate::log::body::{BodyCapture, CaptureBudget};

/// From so many bytes of body on, our head is copied in front of it, and not it behind our head.
const STAYS_BYTES: usize = 2 * 1024;

/// Bytes of a body that are read and sent, piece by piece, before others get their turn. A piece that is sent while it is still in the
/// core's cache costs a quarter less; one that waits until all other connections have read theirs is not there any more.
const BURST_BYTES: usize = 4 * limits::RELAY_BYTES;

/// Where a body's payload is kept for the record, as far as a logger wants it.
pub struct Capture<'a> {
    /// What is kept.
    pub body: &'a mut BodyCapture,
    /// The core's budget.
    pub budget: &'a RefCell<CaptureBudget>,
}

impl Capture<'_> {
    /// Keeps what it may of a piece.
    pub fn push(&mut self, piece: &[u8]) {
        self.body.push(piece, &mut self.budget.borrow_mut());
    }
}

/// A response on its way down.
pub struct Download<'a> {
    /// Its settings and relay buffers.
    pub core: &'a Core,
    /// The try's bounds and how far it is.
    pub course: &'a Course,
    /// From the upstream.
    pub reader: &'a mut Reader,
    /// To the client.
    pub writer: &'a mut Writer,
    /// The client's deadline.
    pub client_deadline: &'a Deadline,
    /// The upstream's deadline.
    pub upstream_deadline: &'a Deadline,
    /// For the record.
    pub capture: Capture<'a>,
    /// What is held of it.
    pub tail: &'a mut Tail,
    /// What is counted.
    pub facts: &'a mut Facts,
    /// Bytes that may still be moved before others get their turn. `None` until what comes behind the first piece is moved.
    pub at_once: Option<usize>,
}

impl Download<'_> {
    /// Sends `head` with what of the body was read along with the upstream's head (`input`, `from` there on), then the rest. True if the upstream's connection
    /// stands exactly behind the body.
    ///
    /// # Errors
    /// Whose side broke, after the head may have been sent.
    pub async fn run(
        &mut self,
        head: &mut Vec<u8>,
        input: &mut Inbox,
        from: usize,
        (body, outgoing): (ResponseBody, Outgoing),
    ) -> Result<bool, Fault> {
        let first = &input[from..];
        match body {
            ResponseBody::None => {
                if self.tail.is_held() {
                    self.facts.sent_bytes += head.len() as u64;
                    self.tail.keep(head);
                } else {
                    self.send_head(head, true).await?;
                }
                Ok(first.is_empty())
            }
            ResponseBody::Length(length) => self.counted(head, input, from, length).await,
            ResponseBody::Chunked => self.chunked(head, first, outgoing).await,
            ResponseBody::UntilClose => self.until_close(head, first, outgoing).await,
        }
    }

    /// Sends all of `head` and leaves it as it is.
    ///
    /// # Errors
    /// The client is gone or does not read.
    pub async fn send(&mut self, head: &mut Vec<u8>) -> Result<(), Fault> {
        let bytes = std::mem::take(head);
        let (result, bytes) = self.send_bytes(bytes).await;
        *head = bytes;
        result
    }

    /// Sends all of `head` and leaves it as it is. If it is the response's last part too, that waits until it is recorded.
    async fn send_head(&mut self, head: &mut Vec<u8>, is_last: bool) -> Result<(), Fault> {
        if is_last && self.parks_now() {
            self.facts.sent_bytes += head.len() as u64;
            self.tail.park_head();
            return Ok(());
        }
        self.send(head).await
    }

    /// Sends `bytes`. If they are the response's last part, that waits until it is recorded, and what is given back is empty.
    async fn send_part(&mut self, bytes: Vec<u8>, is_last: bool) -> (Result<(), Fault>, Vec<u8>) {
        if is_last && self.parks_now() {
            self.facts.sent_bytes += bytes.len() as u64;
            self.tail.park(bytes);
            return (Ok(()), Vec::new());
        }
        self.send_bytes(bytes).await
    }

    /// While the request's body still comes, a client may wait for the answer before it ends that: then nothing is kept from it.
    fn parks_now(&self) -> bool {
        self.tail.parks() && !self.course.uploading.get()
    }

    /// Sends all of `head`, whether the response is held or not: it is not the response yet.
    ///
    /// # Errors
    /// The client is gone or does not read.
    pub async fn send_at_once(&mut self, head: &mut Vec<u8>) -> Result<(), Fault> {
        let end = head.len();
        let (result, bytes) = self.write(std::mem::take(head), 0..end).await;
        *head = bytes;
        result
    }

    async fn send_bytes(&mut self, bytes: Vec<u8>) -> (Result<(), Fault>, Vec<u8>) {
        if self.tail.is_held() {
            return self.send_late(bytes).await;
        }
        let end = bytes.len();
        self.write(bytes, 0..end).await
    }

    /// Keeps the last bytes of the response so far and sends those before them. All of them count as sent.
    async fn send_late(&mut self, mut bytes: Vec<u8>) -> (Result<(), Fault>, Vec<u8>) {
        let over = self.tail.overflow(bytes.len());
        let mut result = Ok(());
        if over.kept > 0 {
            let kept = self.tail.take();
            // They were counted when they came.
            self.facts.sent_bytes -= over.kept as u64;
            let (written, kept) = self.write(kept, 0..over.kept).await;
            self.tail.put_back(kept, over.kept);
            result = written;
        }
        if over.new > 0 && result.is_ok() {
            self.tail.passed_on();
            (result, bytes) = self.write(bytes, 0..over.new).await;
        }
        match result {
            Ok(()) => {
                self.facts.sent_bytes += (bytes.len() - over.new) as u64;
                self.tail.keep(&bytes[over.new..]);
            }
            Err(_) => self.facts.sent_bytes -= self.tail.lose() as u64,
        }
        (result, bytes)
    }

    /// Hands a part of the bytes to the kernel.
    async fn write(&mut self, bytes: Vec<u8>, part: Range<usize>) -> (Result<(), Fault>, Vec<u8>) {
        let now = if self.at_once.is_some() { self.writer.write_now(&bytes[part.clone()]) } else { 0 };
        if now == part.len() {
            self.facts.sent_bytes += now as u64;
            return (Ok(()), bytes);
        }
        self.client_deadline.set_send_ms(self.core.settings.send_timeout_ms);
        let (result, bytes) = self.writer.write_range(bytes, part.start + now, part.end).await;
        self.client_deadline.clear_send();
        let result = match result {
            Ok(()) => {
                self.facts.sent_bytes += part.len() as u64;
                Ok(())
            }
            Err(_) if self.client_deadline.fired() => Err(Fault::new(Side::Downstream, Kind::Timeout)),
            Err(_) => Err(Fault::new(Side::Downstream, Kind::Closed)),
        };
        (result, bytes)
    }

    /// More of a body behind its first piece: at once what is there, as long as others may wait.
    async fn receive_more(&mut self, mut buffer: Vec<u8>, at_most: usize) -> (Result<usize, Fault>, Vec<u8>) {
        let left = self.at_once.unwrap_or(BURST_BYTES);
        if left > 0
            && let Some(count) = self.reader.read_now(&mut buffer, at_most)
        {
            self.at_once = Some(left.saturating_sub(count));
            self.facts.upstream_received_bytes += count as u64;
            return (Ok(count), buffer);
        }
        self.at_once = Some(BURST_BYTES);
        self.receive(buffer, at_most).await
    }

    async fn receive(&mut self, buffer: Vec<u8>, at_most: usize) -> (Result<usize, Fault>, Vec<u8>) {
        // While the request's body still comes, its own bounds hold; the answer's begin with the last byte sent.
        self.course.receiving.set(true);
        if !self.course.uploading.get() {
            self.upstream_deadline.set_ms(self.course.timeouts.read_ms);
        }
        let (result, buffer) = self.reader.read_at_most(buffer, at_most).await;
        self.course.receiving.set(false);
        self.upstream_deadline.clear();
        let result = match result {
            _ if self.upstream_deadline.fired() => Err(Fault::new(Side::Upstream, Kind::Timeout)),
            Ok(count) => {
                self.facts.upstream_received_bytes += count as u64;
                Ok(count)
            }
            Err(_) => Err(Fault::new(Side::Upstream, Kind::Closed)),
        };
        (result, buffer)
    }

    /// Reads more of a head that is not whole.
    ///
    /// # Errors
    /// The upstream closed, or did not answer in time.
    pub async fn read_head_bytes(&mut self, into: &mut Inbox) -> Result<(), Fault> {
        let (received, filled) = self.receive(into.take_to_read(self.course.expected), usize::MAX).await;
        into.put_back(filled);
        match received? {
            0 => Err(Fault::new(Side::Upstream, Kind::Closed)),
            _ => Ok(()),
        }
    }

    fn note(&mut self, payload: &[u8]) {
        self.facts.sent_body_bytes += payload.len() as u64;
        self.capture.push(payload);
    }

    /// Sends a part of `input`, which is the last part of the response if `is_last` says so.
    async fn send_inbox(&mut self, input: &mut Inbox, part: Range<usize>, is_last: bool) -> Result<(), Fault> {
        if is_last && self.parks_now() {
            self.facts.sent_bytes += part.len() as u64;
            self.tail.park_inbox(part);
            return Ok(());
        }
        let (result, bytes) = self.write(input.take(), part).await;
        input.put_back(bytes);
        result
    }

    /// A body of known length. What came along with the head goes out with it, copied behind it if it is small.
    async fn counted(
        &mut self,
        head: &mut Vec<u8>,
        input: &mut Inbox,
        from: usize,
        length: u64,
    ) -> Result<bool, Fault> {
        let here = (input.len() - from).min(usize::try_from(length).unwrap_or(usize::MAX));
        let is_all = from + here == input.len();
        self.note(&input[from..from + here]);
        let mut left = length - here as u64;
        let in_place =
            if here >= STAYS_BYTES && !self.tail.is_held() { input.replace_head(from, head, here) } else { None };
        match in_place {
            Some(part) => self.send_inbox(input, part, left == 0).await?,
            None => {
                head.extend_from_slice(&input[from..from + here]);
                self.send_head(head, left == 0).await?;
            }
        }
        let mut buffer = if left > 0 { self.core.buffers.take() } else { Vec::new() };
        let mut result = Ok(is_all);
        while left > 0 {
            buffer.clear();
            let (received, filled) = self.receive_more(buffer, usize::try_from(left).unwrap_or(usize::MAX)).await;
            buffer = filled;
            match received {
                Ok(0) => result = Err(Fault::new(Side::Upstream, Kind::Closed)),
                Ok(count) => {
                    left -= count as u64;
                    self.note(&buffer);
                    let (sent, kept) = self.send_part(buffer, left == 0).await;
                    buffer = kept;
                    if let Err(fault) = sent {
                        result = Err(fault);
                    }
                }
                Err(fault) => result = Err(fault),
            }
            if result.is_err() {
                break;
            }
        }
        self.core.buffers.give(buffer);
        result
    }

    async fn chunked(&mut self, head: &mut Vec<u8>, first: &[u8], outgoing: Outgoing) -> Result<bool, Fault> {
        let mut recoder = Recoder::new(Side::Upstream, outgoing);
        // The head's buffer keeps the head for the record: only the first payload goes out with it.
        let mut end = self.recode(&mut recoder, first, head)?;
        self.send_head(head, end.is_some()).await?;
        let mut input = self.core.buffers.take();
        let mut out = self.core.buffers.take();
        let mut result = Ok(());
        while end.is_none() && result.is_ok() {
            (result, end) = self.next_chunks(&mut recoder, &mut input, &mut out).await;
        }
        self.core.buffers.give(out);
        self.core.buffers.give(input);
        result.map(|()| end == Some(0))
    }

    async fn next_chunks(
        &mut self,
        recoder: &mut Recoder,
        input: &mut Vec<u8>,
        out: &mut Vec<u8>,
    ) -> (Result<(), Fault>, Option<usize>) {
        input.clear();
        out.clear();
        let (received, filled) = self.receive_more(std::mem::take(input), usize::MAX).await;
        *input = filled;
        let end = match received {
            Ok(0) => Err(Fault::new(Side::Upstream, Kind::Closed)),
            Ok(_) => self.recode(recoder, input, out),
            Err(fault) => Err(fault),
        };
        match end {
            Err(fault) => (Err(fault), None),
            Ok(end) if out.is_empty() => (Ok(()), end),
            Ok(end) => {
                let (sent, kept) = self.send_part(std::mem::take(out), end.is_some()).await;
                *out = kept;
                (sent, end)
            }
        }
    }

    /// Takes what came in out of the upstream's chunks. If the body ended: how many bytes stand behind it.
    fn recode(&mut self, recoder: &mut Recoder, input: &[u8], out: &mut Vec<u8>) -> Result<Option<usize>, Fault> {
        let end = recoder.take(input, out, |payload| {
            self.note(payload);
            Ok(())
        })?;
        Ok(end.map(|at| input.len() - at))
    }

    async fn until_close(&mut self, head: &mut Vec<u8>, first: &[u8], outgoing: Outgoing) -> Result<bool, Fault> {
        self.note(first);
        if !first.is_empty() {
            put(head, first, outgoing);
        }
        self.send(head).await?;
        let mut out = self.core.buffers.take();
        let mut input = self.core.buffers.take();
        let result = loop {
            input.clear();
            let (received, filled) = self.receive_more(input, usize::MAX).await;
            input = filled;
            out.clear();
            match received {
                // We ended it ourselves: what was sent is not the whole.
                Ok(0) if self.course.let_go.get() || self.client_deadline.gone() => {
                    break Err(Fault::new(Side::Downstream, Kind::Closed));
                }
                Ok(0) if outgoing == Outgoing::Raw => break Ok(false),
                Ok(0) => out.extend_from_slice(LAST_CHUNK),
                Ok(_) => {
                    self.note(&input);
                    put(&mut out, &input, outgoing);
                }
                Err(fault) => break Err(fault),
            }
            let (sent, kept) = self.send_part(out, received == Ok(0)).await;
            out = kept;
            match sent {
                Err(fault) => break Err(fault),
                Ok(()) if received == Ok(0) => break Ok(false),
                Ok(()) => {}
            }
        };
        self.core.buffers.give(out);
        self.core.buffers.give(input);
        result
    }
}
