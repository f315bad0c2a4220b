//! Record batches (magic 2, KIP-98) in their wire layout, written in place as entries arrive; and [`Out`], the bounded writer
//! that entries are rendered through. Not here: the Produce request around a batch (`head`), compression (`compress`), and who
//! owns the memory (`ring`).
//!
//! ```text
//! slot  [ headroom for the Produce head | batch header, 61 bytes | records … | tailroom ]
//!       0                               HEADROOM_BYTES           RECORDS_START          limit
//! ```

use super::trace::{STREAM_BYTES_MAX, headers_len, put_headers};
use super::varint::{length_len, push_signed, put_signed};
use crate::base::block::{self, Block};

/// Bytes kept free before a batch. The Produce head needs at most `head::HEAD_BYTES_MAX`; the rest is for the identity that issue
/// B's crash-proof ring keeps beside each batch.
pub const HEADROOM_BYTES: usize = 1024;
/// Where the part of the record headers lies that is the same in all records of a slot: between what a crash-proof ring keeps in
/// front of it and the Produce head behind it, so that a slot has all that an open array needs to be closed.
pub const TRACE_AT: usize = 504;
/// Bytes of a record batch's header, from the base offset to the record count.
pub const HEADER_BYTES: usize = 61;
/// Bytes kept free behind a batch, for the flexible versions' empty tagged fields.
pub const TAILROOM_BYTES: usize = 4;
/// Where the first record lies in a slot.
pub const RECORDS_START: usize = HEADROOM_BYTES + HEADER_BYTES;
/// The least memory a slot may have, in bytes: below it no record fits.
pub const SLOT_BYTES_MIN: usize = RECORDS_START + 256 + TAILROOM_BYTES;

/// Bytes that an open batch's progress takes, written down.
pub const PROGRESS_BYTES: usize = 72;

const _: () = assert!(TRACE_AT + STREAM_BYTES_MAX <= HEADROOM_BYTES - super::head::HEAD_BYTES_MAX);

/// Where the CRC lies in a batch, and where the bytes that it covers begin.
const CRC_AT: usize = 17;
const CRC_FROM: usize = 21;
/// `batchLength` counts from here.
const LENGTH_FROM: usize = 12;

/// A bounded writer over a slice. It never panics: once something did not fit, nothing more is written, and [`Out::len`] goes on
/// counting what would have been needed.
#[derive(Debug)]
pub struct Out<'a> {
    bytes: &'a mut [u8],
    len: usize,
}

impl<'a> Out<'a> {
    /// A writer that starts at the front of `bytes`.
    pub fn new(bytes: &'a mut [u8]) -> Self {
        Self { bytes, len: 0 }
    }

    /// Adds `piece`, or only counts it if it does not fit.
    #[inline]
    pub fn push(&mut self, piece: &[u8]) {
        let end = self.len.saturating_add(piece.len());
        if let Some(room) = self.bytes.get_mut(self.len..end) {
            room.copy_from_slice(piece);
        }
        self.len = end;
    }

    /// Adds the first `len` bytes of a block, or only counts them. Cheaper than a copy of so few: what lies behind is written too where there
    /// is room, and written over by what comes next.
    #[inline]
    pub fn push_some(&mut self, block: &Block, len: usize) {
        let len = len.min(block::BYTES);
        match self.bytes.get_mut(self.len..).and_then(<[u8]>::first_chunk_mut) {
            Some(room) => {
                *room = *block;
                self.len += len;
            }
            None => self.push(&block[..len]),
        }
    }

    /// Adds a text of `len` bytes that is kept in blocks, the last one filled up.
    #[inline]
    pub fn push_blocks(&mut self, blocks: &[Block], len: usize) {
        let end = self.len.saturating_add(blocks.len() * block::BYTES);
        match self.bytes.get_mut(self.len..end) {
            Some(room) => {
                let (rooms, _) = room.as_chunks_mut();
                rooms.iter_mut().zip(blocks).for_each(|(room, block)| *room = *block);
                self.len += len.min(blocks.len() * block::BYTES);
            }
            None => self.push(blocks.as_flattened().get(..len).unwrap_or_default()),
        }
    }

    /// Adds one byte, or only counts it.
    #[inline]
    pub fn push_byte(&mut self, byte: u8) {
        if let Some(room) = self.bytes.get_mut(self.len) {
            *room = byte;
        }
        self.len = self.len.saturating_add(1);
    }

    /// Room for `len` bytes, which the caller fills. `None`, and nothing is counted, if they do not fit.
    #[inline]
    pub fn claim(&mut self, len: usize) -> Option<&mut [u8]> {
        let end = self.len.saturating_add(len);
        let room = self.bytes.get_mut(self.len..end)?;
        self.len = end;
        Some(room)
    }

    /// Bytes pushed so far, whether they fitted or not.
    #[inline]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// True if nothing was pushed.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// True if something did not fit: what was written is of no use.
    #[inline]
    pub const fn overflowed(&self) -> bool {
        self.len > self.bytes.len()
    }

    /// What was written; empty after an overflow.
    pub fn written(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }

    /// Takes back everything after the first `len` bytes. After an overflow, and for a `len` ahead of the writer, nothing changes.
    pub fn truncate(&mut self, len: usize) {
        if len < self.len && !self.overflowed() {
            self.len = len;
        }
    }
}

/// Who sent a batch, for the broker's duplicate detection (KIP-98). Frozen once the batch was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Producer id; -1 without idempotence.
    pub producer_id: i64,
    /// Producer epoch; -1 without idempotence.
    pub epoch: i16,
    /// Sequence number of the first record; -1 without idempotence.
    pub sequence: i32,
}

impl Identity {
    /// Of a producer that is not idempotent.
    pub const NONE: Self = Self { producer_id: -1, epoch: -1, sequence: -1 };

    /// True if both count as one: the broker tells a gap between them.
    pub const fn same_producer(&self, other: &Self) -> bool {
        self.producer_id == other.producer_id && self.epoch == other.epoch
    }
}

/// A batch that takes no more entries. Its bytes are in its slot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sealed {
    /// Offset behind the last record.
    pub end: usize,
    /// The codec's number (bits 0–2).
    pub attributes: u16,
    /// Records.
    pub records: u32,
    /// Entries, in all records.
    pub entries: u64,
    /// Of the first entry, in milliseconds since 1970.
    pub base_timestamp_ms: i64,
    /// The latest, in milliseconds since 1970.
    pub max_timestamp_ms: i64,
}

/// An entry did not fit; nothing of it was kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overflow {
    /// The entry's own size in bytes.
    pub entry_bytes: usize,
}

/// A record whose value is being written: lengths are reserved by a guess and put right at the end.
#[derive(Clone, Copy, Debug)]
struct Frame {
    at: usize,
    guess: usize,
    value: usize,
}

/// An array that is being filled.
#[derive(Clone, Copy, Debug)]
struct Array {
    frame: Frame,
    value_end: usize,
    entries: u32,
    timestamp_ms: i64,
}

/// The bookkeeping of an open batch; the bytes are its slot's, which every call is handed.
#[derive(Clone, Copy, Debug)]
pub struct OpenBatch {
    end: usize,
    limit: usize,
    guess: usize,
    records: u32,
    entries: u64,
    base_timestamp_ms: i64,
    max_timestamp_ms: i64,
    array: Option<Array>,
    /// Number of the first entry in its lane, and bytes of the lane's part of the record headers at [`TRACE_AT`]; 0: no headers.
    /// Both stay as long as the batch is open.
    first: u64,
    trace_bytes: usize,
}

impl OpenBatch {
    /// An empty batch in a slot of `slot_bytes`; a record's lengths are at first taken to need `guess` bytes (2 up to 8 KiB, 3 up
    /// to 1 MiB).
    pub fn new(slot_bytes: usize, guess: usize) -> Self {
        Self {
            end: RECORDS_START,
            limit: slot_bytes.saturating_sub(TAILROOM_BYTES),
            guess,
            records: 0,
            entries: 0,
            base_timestamp_ms: 0,
            max_timestamp_ms: 0,
            array: None,
            first: 0,
            trace_bytes: 0,
        }
    }

    /// Every record gets a header that says which entries it holds (`trace`): `prefix` is its stream's, and the first entry to come has the
    /// number `first`. Only while the batch is empty; no headers for an empty prefix, or one that is longer than a stream's can be.
    pub fn trace(&mut self, memory: &mut [u8], prefix: &[u8], first: u64) {
        let fits = prefix.len() <= STREAM_BYTES_MAX && self.entries() == 0;
        let room = memory.get_mut(TRACE_AT..TRACE_AT + prefix.len()).filter(|_| fits);
        if let Some(room) = room {
            room.copy_from_slice(prefix);
            (self.first, self.trace_bytes) = (first, prefix.len());
        }
    }

    /// Bytes so far, header included and an open array as far as it goes.
    #[inline]
    pub fn bytes(&self) -> usize {
        self.array.map_or(self.end, |array| array.value_end) - HEADROOM_BYTES
    }

    /// Entries so far, those of an open array included.
    pub fn entries(&self) -> u64 {
        self.entries + self.array.map_or(0, |array| u64::from(array.entries))
    }

    /// Records that are complete.
    pub const fn records(&self) -> u32 {
        self.records
    }

    /// Entries in the open array; 0 if none is open.
    pub fn array_entries(&self) -> u32 {
        self.array.map_or(0, |array| array.entries)
    }

    /// Adds an entry as a record of its own. `key` is [`key_bytes`].
    pub fn push_record(
        &mut self,
        memory: &mut [u8],
        key: &[u8],
        timestamp_ms: i64,
        render: &mut dyn FnMut(&mut Out<'_>),
    ) -> Result<(), Overflow> {
        let frame = self.begin(memory, key, timestamp_ms);
        let room = memory.get_mut(frame.value..self.limit).unwrap_or_default();
        let mut out = Out::new(room);
        render(&mut out);
        let (entry_bytes, overflowed) = (out.len(), out.overflowed());
        let end = if overflowed { None } else { self.finish(memory, frame, entry_bytes, 1) };
        let Some(end) = end else { return Err(Overflow { entry_bytes }) };
        self.keep(end, 1, timestamp_ms);
        Ok(())
    }

    /// Adds an entry to the open array, or opens one. The batch that would carry this array alone stays within `array_bytes`,
    /// unless one entry alone is larger.
    pub fn push_element(
        &mut self,
        memory: &mut [u8],
        key: &[u8],
        timestamp_ms: i64,
        array_bytes: usize,
        render: &mut dyn FnMut(&mut Out<'_>),
    ) -> Result<(), Overflow> {
        let mut array = self.array.unwrap_or_else(|| {
            let frame = self.begin(memory, key, timestamp_ms);
            Array { frame, value_end: frame.value, entries: 0, timestamp_ms }
        });
        let mut out = Out::new(memory.get_mut(array.value_end..self.limit).unwrap_or_default());
        out.push_byte(if array.entries == 0 { b'[' } else { b',' });
        render(&mut out);
        let (written, overflowed) = (out.len(), out.overflowed());
        let value_end = array.value_end.saturating_add(written);
        let value_bytes = value_end.saturating_add(1) - array.frame.value;
        let end = frame_end(array.frame, value_bytes, self.headers_len(array.entries + 1));
        let too_long = array.entries > 0 && end - array.frame.at + HEADER_BYTES > array_bytes;
        if overflowed || end > self.limit || too_long {
            return Err(Overflow { entry_bytes: written - 1 });
        }
        array.value_end = value_end;
        array.entries += 1;
        self.array = Some(array);
        Ok(())
    }

    /// Closes the open array, which becomes a record; returns its entries. None if no array is open.
    pub fn close_array(&mut self, memory: &mut [u8]) -> Option<u32> {
        let array = self.array.take()?;
        memory[array.value_end] = b']';
        let end = self.finish(memory, array.frame, array.value_end + 1 - array.frame.value, array.entries)?;
        self.keep(end, array.entries, array.timestamp_ms);
        Some(array.entries)
    }

    /// Takes the open array out of this batch and into the empty batch `to`, whose trace is the same lane's. False, and nothing
    /// changed, if none is open or `to` has not the room.
    pub fn carry_array(&mut self, memory: &[u8], to: &mut Self, to_memory: &mut [u8], key: &[u8]) -> bool {
        let Some(array) = self.array else { return false };
        let value = &memory[array.frame.value..array.value_end];
        to.first = self.first + self.entries;
        let frame = to.begin(to_memory, key, array.timestamp_ms);
        let value_end = frame.value + value.len();
        if frame_end(frame, value.len() + 1, to.headers_len(array.entries)) > to.limit {
            return false;
        }
        to_memory[frame.value..value_end].copy_from_slice(value);
        to.array = Some(Array { frame, value_end, ..array });
        self.array = None;
        true
    }

    /// Where the open array's record lies so far, and where the room behind it ends.
    pub fn open_array(&self) -> Option<(std::ops::Range<usize>, usize)> {
        self.array.map(|array| (array.frame.at..array.value_end, self.limit))
    }

    /// Leaves the open array out: it lies in another batch.
    pub const fn forget_array(&mut self) {
        self.array = None;
    }

    /// The batch as it is. An array that is still open is not part of it.
    pub const fn sealed(&self) -> Sealed {
        Sealed {
            end: self.end,
            attributes: 0,
            records: self.records,
            entries: self.entries,
            base_timestamp_ms: self.base_timestamp_ms,
            max_timestamp_ms: self.max_timestamp_ms,
        }
    }

    /// Writes down how far it is, so that it can be taken up again in another process: see [`OpenBatch::restore`].
    #[inline]
    pub fn save(&self, to: &mut [u8; PROGRESS_BYTES]) {
        let mut words = [0u32; PROGRESS_BYTES / 4];
        words[0] = self.end as u32;
        words[1] = self.records;
        words[2] = self.entries as u32;
        (words[3], words[4]) = halves(self.base_timestamp_ms);
        (words[5], words[6]) = halves(self.max_timestamp_ms);
        words[7] = self.guess as u32;
        if let Some(array) = &self.array {
            words[8] = array.frame.at as u32;
            words[9] = array.frame.guess as u32;
            words[10] = array.frame.value as u32;
            words[11] = array.value_end as u32;
            words[12] = array.entries;
            (words[13], words[14]) = halves(array.timestamp_ms);
        }
        (words[15], words[16]) = halves(self.first as i64);
        words[17] = self.trace_bytes as u32;
        for (room, word) in to.chunks_exact_mut(4).zip(words) {
            room.copy_from_slice(&word.to_ne_bytes());
        }
    }

    /// The batch that was written down by [`OpenBatch::save`], in a slot of `slot_bytes`. None if it cannot have been one of such
    /// a slot.
    pub fn restore(from: &[u8; PROGRESS_BYTES], slot_bytes: usize) -> Option<Self> {
        let mut words = [0u32; PROGRESS_BYTES / 4];
        for (word, bytes) in words.iter_mut().zip(from.chunks_exact(4)) {
            *word = u32::from_ne_bytes(bytes.try_into().ok()?);
        }
        let array = (words[12] > 0).then(|| Array {
            frame: Frame { at: words[8] as usize, guess: words[9] as usize, value: words[10] as usize },
            value_end: words[11] as usize,
            entries: words[12],
            timestamp_ms: whole(words[13], words[14]),
        });
        let batch = Self {
            end: words[0] as usize,
            guess: words[7] as usize,
            records: words[1],
            entries: u64::from(words[2]),
            base_timestamp_ms: whole(words[3], words[4]),
            max_timestamp_ms: whole(words[5], words[6]),
            array,
            first: whole(words[15], words[16]) as u64,
            trace_bytes: (words[17] as usize).min(STREAM_BYTES_MAX),
            ..Self::new(slot_bytes, 0)
        };
        let in_order = |array: &Array| {
            let frame = &array.frame;
            frame.at == batch.end
                && (1..=5).contains(&frame.guess)
                && frame.value > frame.at + 2 * frame.guess
                && frame.value < array.value_end
                && array.value_end < batch.limit
        };
        let sound = (RECORDS_START..=batch.limit).contains(&batch.end) && batch.array.as_ref().is_none_or(in_order);
        sound.then_some(batch)
    }

    /// Writes a record up to its value. What does not fit shows when the record is finished.
    fn begin(&mut self, memory: &mut [u8], key: &[u8], timestamp_ms: i64) -> Frame {
        if self.records == 0 {
            (self.base_timestamp_ms, self.max_timestamp_ms) = (timestamp_ms, timestamp_ms);
        }
        let (at, guess) = (self.end, self.guess);
        let mut out = Out::new(memory.get_mut(at + guess..self.limit).unwrap_or_default());
        out.push_byte(0);
        push_signed(&mut out, timestamp_ms.wrapping_sub(self.base_timestamp_ms));
        push_signed(&mut out, i64::from(self.records));
        out.push(key);
        Frame { at, guess, value: at + guess + out.len() + guess }
    }

    /// Puts a record's lengths right and closes it; returns the offset behind it. None if it does not fit.
    fn finish(&mut self, memory: &mut [u8], frame: Frame, value_bytes: usize, entries: u32) -> Option<usize> {
        let headers = self.headers_len(entries);
        let end = frame_end(frame, value_bytes, headers);
        // Before the lengths are put right the value may lie a few bytes further back.
        let bytes = memory.get_mut(..end.max(frame.value + value_bytes)).filter(|_| end <= self.limit)?;
        let prefix = frame.value - frame.at - 2 * frame.guess;
        let value_len = length_len(value_bytes);
        let body = prefix + value_len + value_bytes + headers;
        let body_len = length_len(body);
        let (from_prefix, to_prefix) = (frame.at + frame.guess, frame.at + body_len);
        let to_value = to_prefix + prefix + value_len;
        // Towards the front the prefix goes first, towards the back the value: neither runs over the other.
        if body_len < frame.guess {
            bytes.copy_within(from_prefix..from_prefix + prefix, to_prefix);
        }
        if to_value != frame.value {
            bytes.copy_within(frame.value..frame.value + value_bytes, to_value);
        }
        if body_len > frame.guess {
            bytes.copy_within(from_prefix..from_prefix + prefix, to_prefix);
        }
        put_signed(bytes, frame.at, body as i64);
        put_signed(bytes, to_prefix + prefix, value_bytes as i64);
        if self.trace_bytes == 0 {
            bytes[end - 1] = 0;
        } else {
            let prefix = TRACE_AT..TRACE_AT + self.trace_bytes;
            put_headers(bytes, end - headers, prefix, self.first + self.entries, entries);
        }
        self.guess = value_len;
        Some(end)
    }

    /// Bytes that stand behind the value of the next record to be complete if it holds so many entries.
    #[inline]
    const fn headers_len(&self, entries: u32) -> usize {
        if self.trace_bytes == 0 { 1 } else { headers_len(self.trace_bytes, self.first + self.entries, entries) }
    }

    const fn keep(&mut self, end: usize, entries: u32, timestamp_ms: i64) {
        self.end = end;
        self.records += 1;
        self.entries += entries as u64;
        if timestamp_ms > self.max_timestamp_ms {
            self.max_timestamp_ms = timestamp_ms;
        }
    }
}

const fn halves(number: i64) -> (u32, u32) {
    ((number as u64 >> 32) as u32, number as u32)
}

const fn whole(high: u32, low: u32) -> i64 {
    ((high as u64) << 32 | low as u64) as i64
}

/// Where a record with this value, and so many bytes of headers, would end.
const fn frame_end(frame: Frame, value_bytes: usize, headers: usize) -> usize {
    let prefix = frame.value - frame.at - 2 * frame.guess;
    let body = prefix + length_len(value_bytes) + value_bytes + headers;
    frame.at + length_len(body) + body
}

/// A record's key as it stands in every record of a lane: its length and its bytes; None is null.
pub fn key_bytes(key: Option<&[u8]>) -> Vec<u8> {
    let mut bytes = vec![0; key.map_or(0, <[u8]>::len) + super::varint::VARINT_BYTES];
    let mut out = Out::new(&mut bytes);
    push_signed(&mut out, key.map_or(-1, |key| key.len() as i64));
    out.push(key.unwrap_or_default());
    let len = out.len();
    bytes.truncate(len);
    bytes
}

/// Fills the header of the batch whose records lie in `memory` from [`RECORDS_START`] to `sealed.end`, CRC-32C included.
pub fn write_header(memory: &mut [u8], sealed: &Sealed, identity: Identity) {
    let batch = &mut memory[HEADROOM_BYTES..sealed.end];
    let length = (batch.len() - LENGTH_FROM) as i32;
    let mut out = Out::new(&mut batch[..HEADER_BYTES]);
    out.push(&0i64.to_be_bytes()); // base offset: the broker's to give
    out.push(&length.to_be_bytes());
    out.push(&(-1i32).to_be_bytes()); // partition leader epoch: the broker's
    out.push_byte(2); // magic
    out.push(&[0; 4]); // CRC, below
    out.push(&sealed.attributes.to_be_bytes());
    out.push(&(sealed.records as i32 - 1).to_be_bytes());
    out.push(&sealed.base_timestamp_ms.to_be_bytes());
    out.push(&sealed.max_timestamp_ms.to_be_bytes());
    out.push(&identity.producer_id.to_be_bytes());
    out.push(&identity.epoch.to_be_bytes());
    out.push(&identity.sequence.to_be_bytes());
    out.push(&sealed.records.to_be_bytes());
    let crc = crc32c::crc32c(&batch[CRC_FROM..]);
    batch[CRC_AT..CRC_FROM].copy_from_slice(&crc.to_be_bytes());
}

/// True if the batch that ends at `end` is whole: its length and its CRC are right.
pub fn crc_is_right(memory: &[u8], end: usize) -> bool {
    let Some(batch) = memory.get(HEADROOM_BYTES..end).filter(|batch| batch.len() >= HEADER_BYTES) else { return false };
    let number = |at: usize| u32::from_be_bytes([batch[at], batch[at + 1], batch[at + 2], batch[at + 3]]);
    number(8) as usize == batch.len() - LENGTH_FROM && number(CRC_AT) == crc32c::crc32c(&batch[CRC_FROM..])
}
