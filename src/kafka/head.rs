//! The Produce request around a batch (API key 0, versions 3 to 13): a head written right-aligned into the slot's headroom and, from
//! version 9 on, three empty tagged fields behind the batch, so that head, batch and tail are one range of memory. One request
//! carries one batch of one partition. Written by hand because the crate's encoder copies the records.

use std::ops::Range;

use super::batch::{HEADROOM_BYTES, Out, TAILROOM_BYTES};
use super::options::CLIENT_ID_BYTES;
use super::varint::push_unsigned;

/// Oldest version of Produce that carries record batches of magic 2 (Kafka 0.11).
pub const PRODUCE_VERSION_MIN: i16 = 3;
/// Newest version written here (KIP-516's topic ids).
pub const PRODUCE_VERSION_MAX: i16 = 13;
/// First version that names a topic by its id alone.
pub const PRODUCE_VERSION_TOPIC_ID: i16 = 13;
/// First flexible version (KIP-482).
const FLEXIBLE: i16 = 9;
/// Kafka's longest topic name, in bytes.
pub const TOPIC_NAME_BYTES: usize = 249;
/// The most bytes a head can take: size, header, fixed fields, client id, name, counts.
pub const HEAD_BYTES_MAX: usize = 64 + CLIENT_ID_BYTES + TOPIC_NAME_BYTES;

const _: () = assert!(HEAD_BYTES_MAX <= HEADROOM_BYTES / 2, "half of the headroom stays free for a batch's identity");

/// What a Produce head says.
#[derive(Clone, Copy, Debug)]
pub struct Head<'a> {
    /// Negotiated, 3 to 13.
    pub version: i16,
    /// Comes back in the answer.
    pub correlation: i32,
    /// At most `CLIENT_ID_BYTES`.
    pub client_id: &'a str,
    /// -1: all replicas; 1: the leader.
    pub acks: i16,
    /// What the broker waits for its replicas, in milliseconds.
    pub timeout_ms: i32,
    /// Up to version 12.
    pub topic: &'a str,
    /// From version 13 on.
    pub topic_id: [u8; 16],
    /// Which partition.
    pub partition: i32,
}

/// Writes the request around the batch that ends at `batch_end`; returns the range that is the whole request. None, and nothing
/// written, if a name is too long or the slot has no room.
pub fn write_head(memory: &mut [u8], head: &Head<'_>, batch_end: usize) -> Option<Range<usize>> {
    let flexible = head.version >= FLEXIBLE;
    let tail_end = batch_end + if flexible { 3 } else { 0 };
    if head.topic.len() > TOPIC_NAME_BYTES || memory.len() < tail_end.max(batch_end + TAILROOM_BYTES - 1) {
        return None;
    }
    let batch_bytes = batch_end.checked_sub(HEADROOM_BYTES)?;
    let mut room = [0u8; HEAD_BYTES_MAX];
    let mut out = Out::new(&mut room);
    out.push(&[0; 4]); // size, below
    request_header(&mut out, head, flexible);
    if flexible {
        compact_body(&mut out, head, batch_bytes)
    } else {
        plain_body(&mut out, head, batch_bytes)
    }
    if out.overflowed() {
        return None;
    }
    let head_bytes = out.len();
    let start = HEADROOM_BYTES - head_bytes;
    let size = (tail_end - start - 4) as u32;
    room[..4].copy_from_slice(&size.to_be_bytes());
    memory[start..HEADROOM_BYTES].copy_from_slice(&room[..head_bytes]);
    memory[batch_end..tail_end].fill(0); // no tagged fields: partition, topic, request
    Some(start..tail_end)
}

fn request_header(out: &mut Out<'_>, head: &Head<'_>, flexible: bool) {
    out.push(&0i16.to_be_bytes()); // Produce
    out.push(&head.version.to_be_bytes());
    out.push(&head.correlation.to_be_bytes());
    out.push(&(head.client_id.len() as i16).to_be_bytes());
    out.push(head.client_id.as_bytes());
    if flexible {
        out.push_byte(0);
    }
}

fn plain_body(out: &mut Out<'_>, head: &Head<'_>, batch_bytes: usize) {
    out.push(&(-1i16).to_be_bytes()); // no transaction
    out.push(&head.acks.to_be_bytes());
    out.push(&head.timeout_ms.to_be_bytes());
    out.push(&1i32.to_be_bytes());
    out.push(&(head.topic.len() as i16).to_be_bytes());
    out.push(head.topic.as_bytes());
    out.push(&1i32.to_be_bytes());
    out.push(&head.partition.to_be_bytes());
    out.push(&(batch_bytes as i32).to_be_bytes());
}

fn compact_body(out: &mut Out<'_>, head: &Head<'_>, batch_bytes: usize) {
    // Compact lengths are one more than what they count; 0 is null.
    out.push_byte(0);
    out.push(&head.acks.to_be_bytes());
    out.push(&head.timeout_ms.to_be_bytes());
    out.push_byte(2);
    if head.version >= PRODUCE_VERSION_TOPIC_ID {
        out.push(&head.topic_id);
    } else {
        push_unsigned(out, head.topic.len() as u64 + 1);
        out.push(head.topic.as_bytes());
    }
    out.push_byte(2);
    out.push(&head.partition.to_be_bytes());
    push_unsigned(out, batch_bytes as u64 + 1);
}
