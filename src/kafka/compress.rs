//! Compression of a batch's records, at the settings that cost least per byte saved (KAFKA.md §1): zstd level 1 with a context
//! that is kept, LZ4 frames of independent blocks, Snappy in xerial's framing, gzip level 1.

use std::io::Write;

use super::batch::{RECORDS_START, Sealed};
use super::options::Compression;

/// zstd's and gzip's level.
const LEVEL: i32 = 1;
/// Bytes of one Snappy block in xerial's framing: what snappy-java uses.
const XERIAL_BLOCK_BYTES: usize = 32 * 1024;
/// xerial's stream header: magic, version 1, compatible with 1.
const XERIAL_HEADER: [u8; 16] = [0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0, 0, 0, 0, 1, 0, 0, 0, 1];

/// A shipper's compressor: one scratch buffer and the contexts that are worth keeping.
#[derive(Default)]
pub struct Compressor {
    scratch: Vec<u8>,
    zstd: Option<zstd::bulk::Compressor<'static>>,
    snappy: Option<snap::raw::Encoder>,
}

impl std::fmt::Debug for Compressor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Compressor").field("scratch", &self.scratch.len()).finish_non_exhaustive()
    }
}

impl Compressor {
    /// Compresses the records of a sealed batch in place and says so in `sealed`. They stay as they are if that would not make
    /// them smaller, or if the codec fails.
    pub fn compress_batch(&mut self, codec: Compression, memory: &mut [u8], sealed: &mut Sealed) {
        let Some(records) = memory.get_mut(RECORDS_START..sealed.end) else { return };
        let mut scratch = std::mem::take(&mut self.scratch);
        scratch.clear();
        let smaller = self.compress(codec, records, &mut scratch).is_ok() && scratch.len() < records.len();
        if codec != Compression::None && smaller {
            records[..scratch.len()].copy_from_slice(&scratch);
            sealed.end = RECORDS_START + scratch.len();
            sealed.attributes = codec as u16;
        }
        self.scratch = scratch;
    }

    /// The same, for the codec that a batch's attributes name.
    pub fn compress_attributes(&mut self, attributes: u16, memory: &mut [u8], sealed: &mut Sealed) {
        use Compression::{Gzip, Lz4, Snappy, Zstd};
        if let Some(codec) = [Gzip, Snappy, Lz4, Zstd].into_iter().find(|codec| *codec as u16 == attributes & 7) {
            self.compress_batch(codec, memory, sealed);
        }
    }

    /// Appends `input`, compressed, to `out`. Errors are the codec's own and mean that `out` is of no use.
    pub fn compress(&mut self, codec: Compression, input: &[u8], out: &mut Vec<u8>) -> std::io::Result<()> {
        match codec {
            Compression::None => out.extend_from_slice(input),
            Compression::Gzip => gzip(input, out)?,
            Compression::Snappy => self.snappy(input, out)?,
            Compression::Lz4 => lz4(input, out)?,
            Compression::Zstd => self.zstd(input, out)?,
        }
        Ok(())
    }

    fn snappy(&mut self, input: &[u8], out: &mut Vec<u8>) -> std::io::Result<()> {
        let encoder = self.snappy.get_or_insert_with(snap::raw::Encoder::new);
        out.extend_from_slice(&XERIAL_HEADER);
        for block in input.chunks(XERIAL_BLOCK_BYTES) {
            let at = out.len();
            out.resize(at + 4 + snap::raw::max_compress_len(block.len()), 0);
            let len = encoder.compress(block, &mut out[at + 4..])?;
            out[at..at + 4].copy_from_slice(&(len as u32).to_be_bytes());
            out.truncate(at + 4 + len);
        }
        Ok(())
    }

    fn zstd(&mut self, input: &[u8], out: &mut Vec<u8>) -> std::io::Result<()> {
        let context = match &mut self.zstd {
            Some(context) => context,
            none => none.insert(zstd::bulk::Compressor::new(LEVEL)?),
        };
        let at = out.len();
        out.resize(at + zstd::zstd_safe::compress_bound(input.len()), 0);
        let len = context.compress_to_buffer(input, &mut out[at..])?;
        out.truncate(at + len);
        Ok(())
    }
}

fn gzip(input: &[u8], out: &mut Vec<u8>) -> std::io::Result<()> {
    let mut encoder = flate2::write::GzEncoder::new(out, flate2::Compression::new(LEVEL as u32));
    encoder.write_all(input)?;
    encoder.finish().map(drop)
}

fn lz4(input: &[u8], out: &mut Vec<u8>) -> std::io::Result<()> {
    let info = lz4_flex::frame::FrameInfo::new()
        .block_mode(lz4_flex::frame::BlockMode::Independent)
        .block_size(lz4_flex::frame::BlockSize::Max64KB);
    let mut encoder = lz4_flex::frame::FrameEncoder::with_frame_info(info, out);
    encoder.write_all(input)?;
    encoder.finish().map(drop).map_err(std::io::Error::other)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::kafka::decompress::{Packing, unpack};

    /// The inverse, for tests.
    pub(in crate::kafka) fn expanded(attributes: u16, input: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        let packing = Packing::of(attributes as i16).expect("a codec");
        unpack(packing, input, 4 << 20, &mut out).expect("what was compressed expands");
        out
    }

    const CODECS: [Compression; 4] = [Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];

    #[test]
    fn every_codec_gives_the_bytes_back_also_the_second_time() {
        let text: Vec<u8> = (0..9000).flat_map(|n: u32| format!("{{\"n\":{n}}},").into_bytes()).collect();
        let mut compressor = Compressor::default();
        for codec in CODECS {
            for input in [&text[..], &text[..100], &text[5000..]] {
                let mut out = Vec::new();
                compressor.compress(codec, input, &mut out).expect("compresses");
                assert_eq!(expanded(codec as u16, &out), input, "{codec:?}");
            }
        }
    }

    #[test]
    fn records_that_do_not_shrink_stay_as_they_are() {
        let mut compressor = Compressor::default();
        for codec in CODECS {
            let mut memory = vec![0u8; RECORDS_START + 16];
            memory[RECORDS_START..].copy_from_slice(b"0f8Jq2_z7Wk+1Xc~");
            let before = memory.clone();
            let mut sealed = Sealed { end: memory.len(), ..Sealed::default() };
            compressor.compress_batch(codec, &mut memory, &mut sealed);
            assert_eq!((sealed.end, sealed.attributes), (before.len(), 0), "{codec:?}");
            assert_eq!(memory, before);
        }
    }
}
