//! How large one head may be, as a value: the configuration may change the defaults of `base::limits`.

use crate::base::limits;

/// Bytes of the longest method we read; a longer one is a 501 (RFC 9112 §3).
pub const METHOD_BYTES: usize = 64;

/// Bounds of one request or response head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeadLimits {
    /// Bytes of the whole head, first line, header lines and the blank line (431; a response over it is malformed).
    pub head_bytes: usize,
    /// Header lines (431; malformed).
    pub header_count: usize,
    /// Bytes of the request target (414).
    pub target_bytes: usize,
}

impl Default for HeadLimits {
    fn default() -> Self {
        Self { head_bytes: limits::HEAD_BYTES, header_count: limits::HEADER_COUNT, target_bytes: limits::TARGET_BYTES }
    }
}
