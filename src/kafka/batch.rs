//! Record batches (magic 2, KIP-98) in their wire layout, written in place as entries arrive; and [`Out`], the bounded writer
//! that entries are rendered through. Not here: the Produce request around a batch (`head`), compression (`compress`), and who
//! owns the memory (`ring`).
//!
//! ```text
//! slot  [ headroom for the Produce head | batch header, 61 bytes | records … | tailroom ]
//!       0                               HEADROOM_BYTES           RECORDS_START          limit
//! ```

/// Bytes kept free before a batch. The Produce head needs at most `head::HEAD_BYTES_MAX`; the rest is for the identity that issue
/// B's crash-proof ring keeps beside each batch.
pub const HEADROOM_BYTES: usize = 1024;
/// Bytes of a record batch's header, from the base offset to the record count.
pub const HEADER_BYTES: usize = 61;
/// Bytes kept free behind a batch, for the flexible versions' empty tagged fields.
pub const TAILROOM_BYTES: usize = 4;
/// Where the first record lies in a slot.
pub const RECORDS_START: usize = HEADROOM_BYTES + HEADER_BYTES;
/// The least memory a slot may have, in bytes: below it no record fits.
pub const SLOT_BYTES_MIN: usize = RECORDS_START + 256 + TAILROOM_BYTES;

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

    /// Adds one byte, or only counts it.
    #[inline]
    pub fn push_byte(&mut self, byte: u8) {
        if let Some(room) = self.bytes.get_mut(self.len) {
            *room = byte;
        }
        self.len = self.len.saturating_add(1);
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
