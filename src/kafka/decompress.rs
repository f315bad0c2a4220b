//! Takes a record batch's records out of their compression, with a bound on what comes out. Compressing is `kafka::compress`'s.

/// Bytes one batch's records may have when unpacked; a batch over it is refused, not cut.
pub const UNPACKED_BYTES: usize = 64 * 1024 * 1024;

/// How a batch's records are compressed: bits 0–2 of its attributes (Kafka protocol guide, record batch).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packing {
    /// As they are.
    None,
    /// RFC 1952.
    Gzip,
    /// Raw snappy, or snappy-java's blocks ("xerial").
    Snappy,
    /// LZ4 frame.
    Lz4,
    /// RFC 8878.
    Zstd,
}
