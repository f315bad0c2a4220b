//! What was read of a request's body behind the input buffer, kept while the request may still be sent again. The input buffer
//! itself stays as it is during an exchange: both together are the body so far, as the client framed it.

use super::core::Core;
use crate::base::limits::REPLAY_BYTES;

/// The kept part of one request's body.
#[derive(Debug, Default)]
pub struct Replay {
    bytes: Vec<u8>,
    keeps: bool,
    gone: bool,
}

impl Replay {
    /// Before the first try of a request.
    pub fn begin(&mut self, core: &Core) {
        self.release(core);
        self.gone = false;
    }

    /// Before each try: whether another one may follow it.
    pub const fn keep(&mut self, another_may_follow: bool) {
        self.keeps = another_may_follow;
    }

    /// Takes what was just read from the client. What is over [`REPLAY_BYTES`] makes an end of replaying.
    pub fn push(&mut self, piece: &[u8], core: &Core) {
        self.gone |= !self.keeps || self.bytes.len() + piece.len() > REPLAY_BYTES;
        if self.gone {
            return self.release(core);
        }
        if self.bytes.capacity() == 0 {
            self.bytes = core.buffers.take();
        }
        self.bytes.extend_from_slice(piece);
    }

    /// True if something was read that is not here any more: the request cannot be sent again.
    pub const fn is_gone(&self) -> bool {
        self.gone
    }

    /// True if a try that fails now may be followed by another.
    pub const fn serves(&self) -> bool {
        self.keeps && !self.gone
    }

    /// Puts what is kept where the next try begins to read.
    pub fn put_back(&mut self, input: &mut Vec<u8>, core: &Core) {
        input.extend_from_slice(&self.bytes);
        self.release(core);
    }

    fn release(&mut self, core: &Core) {
        core.buffers.give(std::mem::take(&mut self.bytes));
    }
}
