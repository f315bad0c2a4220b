//! Takes a record batch's records out of their compression, with a bound on what comes out. Compressing is `kafka::compress`'s.

use std::io::Read;

/// Bytes one batch's records may have when unpacked; a batch over it is refused, not cut.
pub const UNPACKED_BYTES: usize = 64 * 1024 * 1024;
/// zstd: log2 of the largest window taken from a peer (RFC 8878 §3.1.1.1.2 recommends 8 MiB; level 19 uses it).
const ZSTD_WINDOW_LOG: u32 = 25;
/// snappy-java's stream head: its magic, then two versions that nobody checks.
const XERIAL_MAGIC: &[u8] = b"\x82SNAPPY\0";
const XERIAL_HEAD_BYTES: usize = 16;

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

impl Packing {
    /// The packing that a batch's attributes name; none if the number means nothing.
    pub const fn of(attributes: i16) -> Option<Self> {
        match attributes & 7 {
            0 => Some(Self::None),
            1 => Some(Self::Gzip),
            2 => Some(Self::Snappy),
            3 => Some(Self::Lz4),
            4 => Some(Self::Zstd),
            _ => None,
        }
    }
}

/// Appends what `input` holds to `out`, at most `limit` bytes.
///
/// # Errors
/// What is wrong, in words: broken data, or more than `limit`. `out` then holds some of it.
pub fn unpack(packing: Packing, input: &[u8], limit: usize, out: &mut Vec<u8>) -> Result<(), &'static str> {
    match packing {
        Packing::None if input.len() > limit => Err(TOO_LARGE),
        Packing::None => {
            out.extend_from_slice(input);
            Ok(())
        }
        Packing::Gzip => drain(flate2::read::MultiGzDecoder::new(input), limit, out, "its gzip data is broken"),
        Packing::Snappy => snappy(input, limit, out),
        Packing::Lz4 => drain(lz4_flex::frame::FrameDecoder::new(input), limit, out, "its lz4 data is broken"),
        Packing::Zstd => zstd(input, limit, out).map_err(|reason| reason.unwrap_or("its zstd data is broken")),
    }
}

const TOO_LARGE: &str = "it unpacks to more than the limit";
const BROKEN_SNAPPY: &str = "its snappy data is broken";

fn drain(from: impl Read, limit: usize, out: &mut Vec<u8>, broken: &'static str) -> Result<(), &'static str> {
    let before = out.len();
    from.take(limit as u64 + 1).read_to_end(out).map_err(|_| broken)?;
    if out.len() - before > limit { Err(TOO_LARGE) } else { Ok(()) }
}

fn zstd(input: &[u8], limit: usize, out: &mut Vec<u8>) -> Result<(), Option<&'static str>> {
    let mut decoder = zstd::stream::read::Decoder::with_buffer(input).map_err(|_| None)?;
    decoder.window_log_max(ZSTD_WINDOW_LOG).map_err(|_| None)?;
    drain(decoder, limit, out, "its zstd data is broken").map_err(Some)
}

fn snappy(input: &[u8], limit: usize, out: &mut Vec<u8>) -> Result<(), &'static str> {
    if !input.starts_with(XERIAL_MAGIC) {
        return snappy_block(input, limit, out);
    }
    let mut rest = input.get(XERIAL_HEAD_BYTES..).ok_or(BROKEN_SNAPPY)?;
    let before = out.len();
    while let Some((length, behind)) = rest.split_first_chunk::<4>() {
        let length = u32::from_be_bytes(*length) as usize;
        let block = behind.get(..length).ok_or(BROKEN_SNAPPY)?;
        rest = &behind[length..];
        snappy_block(block, limit - (out.len() - before), out)?;
    }
    if rest.is_empty() { Ok(()) } else { Err(BROKEN_SNAPPY) }
}

fn snappy_block(block: &[u8], limit: usize, out: &mut Vec<u8>) -> Result<(), &'static str> {
    let length = snap::raw::decompress_len(block).map_err(|_| BROKEN_SNAPPY)?;
    if length > limit {
        return Err(TOO_LARGE);
    }
    let at = out.len();
    out.resize(at + length, 0);
    snap::raw::Decoder::new().decompress(block, &mut out[at..]).map(|_| ()).map_err(|_| BROKEN_SNAPPY)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use std::io::Write;

    pub(crate) const ALL: [Packing; 5] = [Packing::None, Packing::Gzip, Packing::Snappy, Packing::Lz4, Packing::Zstd];

    pub(crate) fn pack(packing: Packing, input: &[u8]) -> Vec<u8> {
        match packing {
            Packing::None => input.to_vec(),
            Packing::Gzip => {
                let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
                encoder.write_all(input).unwrap();
                encoder.finish().unwrap()
            }
            Packing::Snappy => snap::raw::Encoder::new().compress_vec(input).unwrap(),
            Packing::Lz4 => {
                let mut encoder = lz4_flex::frame::FrameEncoder::new(Vec::new());
                encoder.write_all(input).unwrap();
                encoder.finish().unwrap()
            }
            Packing::Zstd => zstd::encode_all(input, 1).unwrap(),
        }
    }

    fn xerial(blocks: &[&[u8]]) -> Vec<u8> {
        let mut bytes = XERIAL_MAGIC.to_vec();
        bytes.extend([0, 0, 0, 1, 0, 0, 0, 1]);
        for block in blocks {
            let packed = pack(Packing::Snappy, block);
            bytes.extend((packed.len() as u32).to_be_bytes());
            bytes.extend(packed);
        }
        bytes
    }

    #[test]
    fn every_packing_gives_back_what_went_in_and_keeps_the_limit() {
        let text = b"one two three two one ".repeat(5_000);
        for packing in ALL {
            let packed = pack(packing, &text);
            let mut out = b"before".to_vec();
            assert_eq!(unpack(packing, &packed, text.len(), &mut out), Ok(()), "{packing:?}");
            assert_eq!(&out[6..], text, "{packing:?}");
            assert_eq!(unpack(packing, &packed, text.len() - 1, &mut Vec::new()), Err(TOO_LARGE), "{packing:?}");
        }
    }

    #[test]
    fn snappy_javas_blocks_are_joined_and_bounded_together() {
        let packed = xerial(&[b"hello ", b"world"]);
        let mut out = Vec::new();
        assert_eq!(unpack(Packing::Snappy, &packed, 11, &mut out), Ok(()));
        assert_eq!(out, b"hello world");
        assert_eq!(unpack(Packing::Snappy, &packed, 10, &mut Vec::new()), Err(TOO_LARGE));
        assert_eq!(unpack(Packing::Snappy, &packed[..packed.len() - 1], 11, &mut Vec::new()), Err(BROKEN_SNAPPY));
        assert_eq!(unpack(Packing::Snappy, &packed[..18], 11, &mut Vec::new()), Err(BROKEN_SNAPPY));
    }

    #[test]
    fn cut_and_flipped_data_never_panics_and_never_passes_the_limit() {
        let text = b"abcabcabdabcabc".repeat(40);
        for packing in ALL {
            let packed = pack(packing, &text);
            for at in 0..packed.len() {
                let mut flipped = packed.clone();
                flipped[at] ^= 0x55;
                for bad in [&packed[..at], flipped.as_slice()] {
                    let mut out = Vec::new();
                    let _ = unpack(packing, bad, 10_000, &mut out);
                    assert!(out.len() <= 10_001, "{packing:?} at {at}");
                }
            }
        }
    }
}
