//! Body capture within a per-core budget, and undoing content codings for the log (APISIX-COMPAT §2.7).

use super::exchange::Captured;

/// What a core may still keep of bodies.
#[derive(Debug)]
pub struct CaptureBudget {
    left_bytes: usize,
}

impl CaptureBudget {
    /// A budget of `bytes`: `limits::BODY_CAPTURE_BYTES`.
    pub const fn new(bytes: usize) -> Self {
        Self { left_bytes: bytes }
    }

    /// Bytes not in use.
    pub const fn left_bytes(&self) -> usize {
        self.left_bytes
    }
}

/// Why a capture ended before the body did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Cut {
    /// It did not.
    #[default]
    No,
    /// The logger's limit.
    Limit,
    /// The core's budget: count `BodiesCut`.
    Budget,
}

/// The first bytes of one body. Give its bytes back with [`BodyCapture::release`] before it is dropped or used again.
#[derive(Debug, Default)]
pub struct BodyCapture {
    bytes: Vec<u8>,
    limit_bytes: usize,
    cut: Cut,
}

impl BodyCapture {
    /// Starts a body of which at most `limit_bytes` are kept.
    pub fn begin(&mut self, _limit_bytes: usize) {
        todo!()
    }

    /// Takes what the limit and the budget allow of the body's next piece.
    pub fn push(&mut self, _piece: &[u8], _budget: &mut CaptureBudget) {
        todo!()
    }

    /// What was kept.
    pub fn captured(&self) -> Captured<'_> {
        todo!()
    }

    /// Whether and why it is not all.
    pub const fn cut(&self) -> Cut {
        self.cut
    }

    /// Gives the bytes back to the budget and forgets them.
    pub fn release(&mut self, _budget: &mut CaptureBudget) {
        todo!()
    }
}
