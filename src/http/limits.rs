//! The bounds that a head is read within.

use crate::base::limits;

/// Bounds of one head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeadLimits {
    /// Bytes of the whole head (431 for a request, 502 for a response).
    pub head_bytes: usize,
    /// Header lines (431; 502).
    pub header_count: usize,
    /// Bytes of the request target (414).
    pub target_bytes: usize,
}

impl Default for HeadLimits {
    fn default() -> Self {
        Self { head_bytes: limits::HEAD_BYTES, header_count: limits::HEADER_COUNT, target_bytes: limits::TARGET_BYTES }
    }
}
