//! A request body's bytes on their way from the client to the upstream, streamed with bounded memory.

use super::core::Core;
use super::relay::Capture;
use super::replay::Replay;
use super::transfer::{Course, Rest};
use crate::base::fault::{Fault, Kind, Side};
use crate::base::limits;
use crate::http::recode::{Outgoing, Recoder};
use crate::http::request::BodyLength;
use crate::io::deadline::Deadline;
use crate::io::socket::{Reader, Writer};

/// A request body on its way up.
pub struct Upload<'a> {
    /// Its settings and relay buffers.
    pub core: &'a Core,
    /// The try's bounds and how far it is.
    pub course: &'a Course,
    /// From the client.
    pub reader: &'a mut Reader,
    /// To the upstream.
    pub writer: &'a mut Writer,
    /// The client's deadline.
    pub client_deadline: &'a Deadline,
    /// The upstream's deadline.
    pub upstream_deadline: &'a Deadline,
    /// For the record.
    pub capture: Capture<'a>,
    /// For another try.
    pub replay: &'a mut Replay,
}

/// How an upload ended.
#[derive(Debug, Default)]
pub struct Uploaded {
    /// Bytes of the request's input buffer that belong to the body.
    pub from_input: usize,
    /// Bytes of payload read.
    pub payload_bytes: u64,
    /// Bytes written to the upstream.
    pub sent_bytes: u64,
    /// What was read behind the end of the body: the next request's beginning.
    pub ahead: Vec<u8>,
    /// What broke, if the body did not arrive whole at the upstream.
    pub fault: Option<Fault>,
}

impl Upload<'_> {
    /// Sends `head`, then the body: first what stands in `first`, then what the client sends.
    pub async fn run(&mut self, head: &mut Vec<u8>, first: &[u8], body: BodyLength) -> Uploaded {
        let mut done = Uploaded::default();
        self.course.may_be_followed.set(self.replay.serves());
        done.fault = match body {
            BodyLength::None => self.send(head, &mut done).await.err(),
            BodyLength::Length(length) => self.counted(head, first, length, &mut done).await.err(),
            BodyLength::Chunked => self.chunked(head, first, &mut done).await.err(),
        };
        if done.fault.is_none() {
            self.answer_is_due();
        }
        done
    }

    /// The try is over: nothing more is sent.
    fn is_over(&self) -> bool {
        self.course.rest.get() != Rest::Goes
    }

    /// The upstream has the whole request: whoever waits for its answer waits no longer than this.
    fn answer_is_due(&self) {
        self.course.uploading.set(false);
        if self.course.receiving.get() {
            self.upstream_deadline.set_ms(self.course.timeouts.read_ms);
        }
    }

    async fn send(&mut self, bytes: &mut Vec<u8>, done: &mut Uploaded) -> Result<(), Fault> {
        if self.is_over() || bytes.is_empty() {
            return Ok(());
        }
        self.upstream_deadline.set_send_ms(self.course.timeouts.send_ms);
        let count = bytes.len() as u64;
        let (result, kept) = self.writer.write_all(std::mem::take(bytes)).await;
        self.upstream_deadline.clear_send();
        *bytes = kept;
        match result {
            Ok(()) => {
                done.sent_bytes += count;
                Ok(())
            }
            // The response ended first and the upstream was let go: the rest is thrown away, which is no fault.
            Err(_) if self.is_over() => Ok(()),
            Err(_) if self.upstream_deadline.fired() => Err(Fault::new(Side::Upstream, Kind::Timeout)),
            Err(_) => Err(Fault::new(Side::Upstream, Kind::Closed)),
        }
    }

    /// Reads into an empty buffer. An error also if the try is over and the next one will want what came.
    async fn receive(&mut self, buffer: Vec<u8>, at_most: usize) -> (Result<usize, Fault>, Vec<u8>) {
        if self.course.rest.get() == Rest::Waits {
            return (Err(Fault::new(Side::Upstream, Kind::Closed)), buffer);
        }
        if !self.is_over() {
            self.client_deadline.set_reading_ms(self.core.settings.body_timeout_ms);
        }
        let (result, buffer) = self.reader.read_at_most(buffer, at_most).await;
        if !self.is_over() {
            self.client_deadline.clear();
        }
        let result = match result {
            _ if self.client_deadline.fired() => Err(Fault::new(Side::Downstream, Kind::Timeout)),
            Ok(1..) => {
                self.replay.push(&buffer, self.core);
                self.course.may_be_followed.set(self.replay.serves());
                match self.course.rest.get() {
                    Rest::Waits => Err(Fault::new(Side::Upstream, Kind::Closed)),
                    Rest::Goes | Rest::Discarded => Ok(buffer.len()),
                }
            }
            Ok(0) | Err(_) => Err(Fault::new(Side::Downstream, Kind::Closed)),
        };
        (result, buffer)
    }

    fn note(&mut self, payload: &[u8], done: &mut Uploaded) -> Result<(), Fault> {
        done.payload_bytes += payload.len() as u64;
        if self.core.settings.body_bytes_max.is_some_and(|max| done.payload_bytes > max) {
            return Err(Fault::new(Side::Downstream, Kind::TooLarge));
        }
        self.capture.push(payload);
        Ok(())
    }

    async fn counted(
        &mut self,
        head: &mut Vec<u8>,
        first: &[u8],
        length: u64,
        done: &mut Uploaded,
    ) -> Result<(), Fault> {
        let here = first.len().min(usize::try_from(length).unwrap_or(usize::MAX));
        done.from_input = here;
        self.note(&first[..here], done)?;
        head.extend_from_slice(&first[..here]);
        self.send(head, done).await?;
        let mut left = length - here as u64;
        let mut buffer = if left > 0 { self.core.buffers.take() } else { Vec::new() };
        let mut result = Ok(());
        while left > 0 && result.is_ok() {
            buffer.clear();
            let (received, filled) = self.receive(buffer, usize::try_from(left).unwrap_or(usize::MAX)).await;
            buffer = filled;
            result = match received {
                Ok(count) => {
                    left -= count as u64;
                    match self.note(&buffer, done) {
                        Ok(()) => self.send(&mut buffer, done).await,
                        Err(fault) => Err(fault),
                    }
                }
                Err(fault) => Err(fault),
            };
        }
        self.core.buffers.give(buffer);
        result
    }

    async fn chunked(&mut self, head: &mut Vec<u8>, first: &[u8], done: &mut Uploaded) -> Result<(), Fault> {
        let mut input = self.core.buffers.take();
        input.extend_from_slice(first);
        let result = self.chunks(head, &mut input, first.len(), done).await;
        self.core.buffers.give(input);
        result
    }

    async fn chunks(
        &mut self,
        out: &mut Vec<u8>,
        input: &mut Vec<u8>,
        in_input: usize,
        done: &mut Uploaded,
    ) -> Result<(), Fault> {
        let mut recoder = Recoder::new(Side::Downstream, Outgoing::Chunked);
        let mut from_input = true;
        done.from_input = in_input;
        loop {
            let end = recoder.take(input, out, |payload| self.note(payload, done))?;
            self.send(out, done).await?;
            out.clear();
            match end {
                Some(at) if from_input => {
                    done.from_input = at;
                    return Ok(());
                }
                Some(at) => {
                    done.ahead.extend_from_slice(&input[at..]);
                    return Ok(());
                }
                None => {}
            }
            from_input = false;
            input.clear();
            let (received, filled) = self.receive(std::mem::take(input), limits::RELAY_BYTES).await;
            *input = filled;
            received?;
        }
    }
}
