//! What follows a 101: bytes in both directions, unread, until both sides have ended or nothing has moved for too long
//! (RFC 9110 §7.8, RFC 6455 §1.5). The handshake is `transfer`'s; what is said inside is nobody's business here.

use std::os::fd::RawFd;
use std::pin::pin;

use super::core::Core;
use crate::io::deadline::Deadline;
use crate::io::duplex::both;
use crate::io::socket::{Reader, Writer, shut_down};

/// Bytes of the buffer with which a quiet direction waits. A busy one borrows a relay buffer for as long as it fills this one.
const QUIET_BYTES: usize = 2 * 1024;

/// One side of a tunnel.
pub struct End<'a> {
    /// From it.
    pub reader: &'a mut Reader,
    /// To it.
    pub writer: &'a mut Writer,
    /// Its deadline.
    pub deadline: &'a Deadline,
    /// Its descriptor.
    pub fd: RawFd,
    /// Milliseconds between two writes to it.
    pub send_ms: u64,
}

/// How many bytes went where.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moved {
    /// To the upstream.
    pub up: u64,
    /// To the client.
    pub down: u64,
}

/// Both ends as either direction sees them.
#[derive(Clone, Copy)]
struct Line<'a> {
    core: &'a Core,
    ends: [(&'a Deadline, RawFd); 2],
    idle_ms: u64,
}

impl Line<'_> {
    /// Something moved: both sides have their time again.
    fn moved(&self) {
        self.ends.iter().for_each(|(deadline, _)| deadline.set_ms(self.idle_ms));
    }

    /// One side is broken or silent: nothing of it may keep the other waiting.
    fn cut(&self) {
        self.ends.iter().for_each(|(_, fd)| shut_down(*fd));
    }

    fn is_over(&self) -> bool {
        self.ends.iter().any(|(deadline, _)| deadline.fired())
    }
}

/// Moves bytes until both sides have ended. `from_client` and `from_upstream` were read along with the heads. `idle_ms` is how long
/// nothing may move in either direction.
pub async fn run(
    core: &Core,
    client: End<'_>,
    upstream: End<'_>,
    from_client: &[u8],
    from_upstream: &[u8],
    idle_ms: u64,
) -> Moved {
    let line = Line { core, ends: [(client.deadline, client.fd), (upstream.deadline, upstream.fd)], idle_ms };
    line.moved();
    let to_upstream = (upstream.writer, upstream.deadline, upstream.send_ms);
    let to_client = (client.writer, client.deadline, client.send_ms);
    let up = pin!(pump(line, client.reader, to_upstream, from_client));
    let down = pin!(pump(line, upstream.reader, to_client, from_upstream));
    let (up, down) = both(up, down, |_| {}).await;
    Moved { up, down }
}

/// One direction. Its end is passed on as an end; whatever else happens ends the whole tunnel.
async fn pump(line: Line<'_>, reader: &mut Reader, to: (&mut Writer, &Deadline, u64), first: &[u8]) -> u64 {
    let (writer, deadline, send_ms) = to;
    let mut moved = 0;
    let mut buffer = Vec::with_capacity(QUIET_BYTES.max(first.len()));
    buffer.extend_from_slice(first);
    loop {
        if !buffer.is_empty() {
            line.moved();
            deadline.set_send_ms(send_ms);
            let (result, sent) = writer.write_all(buffer).await;
            deadline.clear_send();
            buffer = sent;
            if result.is_err() {
                line.cut();
                break;
            }
            moved += buffer.len() as u64;
        }
        buffer = fitting(line.core, buffer);
        let (result, filled) = reader.read(buffer).await;
        buffer = filled;
        match result {
            _ if line.is_over() => line.cut(),
            Ok(1..) => continue,
            Ok(0) if writer.finish().await.is_ok() => {}
            Ok(0) | Err(_) => line.cut(),
        }
        break;
    }
    if buffer.capacity() > QUIET_BYTES {
        line.core.buffers.give(buffer);
    }
    moved
}

/// An empty buffer for the next read: a large one behind a read that filled a small one, a small one behind a read that would have fitted.
fn fitting(core: &Core, mut buffer: Vec<u8>) -> Vec<u8> {
    let (filled, capacity) = (buffer.len(), buffer.capacity());
    buffer.clear();
    if filled == capacity && capacity <= QUIET_BYTES {
        return core.buffers.take();
    }
    if filled <= QUIET_BYTES && capacity > QUIET_BYTES {
        core.buffers.give(buffer);
        return Vec::with_capacity(QUIET_BYTES);
    }
    buffer
}
