//! A core's spare buffers: taken for an exchange, given back after it, so that a request allocates nothing and an idle
//! connection pins little.

use std::cell::RefCell;

use crate::base::limits;

/// Bytes of a fresh buffer.
pub const BUFFER_BYTES: usize = limits::RELAY_BYTES;
/// Buffers kept for reuse, per core; more are freed.
const SPARE_BUFFERS: usize = 256;
/// A buffer that grew beyond this is freed instead of kept, in bytes.
const KEEP_BYTES: usize = 2 * BUFFER_BYTES;

/// The spare buffers.
#[derive(Debug, Default)]
pub struct Buffers {
    spare: RefCell<Vec<Vec<u8>>>,
}

impl Buffers {
    /// An empty buffer with room for at least [`BUFFER_BYTES`].
    pub fn take(&self) -> Vec<u8> {
        self.spare.borrow_mut().pop().unwrap_or_else(|| Vec::with_capacity(BUFFER_BYTES))
    }

    /// Gives a buffer back; its content is forgotten.
    pub fn give(&self, mut buffer: Vec<u8>) {
        let mut spare = self.spare.borrow_mut();
        if spare.len() < SPARE_BUFFERS && (BUFFER_BYTES..=KEEP_BYTES).contains(&buffer.capacity()) {
            buffer.clear();
            spare.push(buffer);
        }
    }
}
