//! Body capture within a per-core budget, and undoing content codings for the log (APISIX-COMPAT §2.7): cut first, decode second, and
//! what cannot be decoded is logged as it came. The client's bytes are never touched.

use std::io::Read;

use super::exchange::Captured;

/// Bytes of a body after its content coding was undone; the rest is left out. More could not travel in one Kafka message beside the
/// other half of the entry.
pub const DECODED_BODY_BYTES: usize = 512 * 1024;
/// Bytes of memory that a capture keeps for the next body; what is above is given back to the allocator.
pub const CAPTURE_KEPT_BYTES: usize = 64 * 1024;
/// Bytes that the brotli decoder reads at once.
const BROTLI_READ_BYTES: usize = 4096;

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

/// The first bytes of one body. Give its bytes back with [`BodyCapture::release`] before it is dropped.
#[derive(Debug, Default)]
pub struct BodyCapture {
    bytes: Vec<u8>,
    limit_bytes: usize,
    cut: Cut,
}

impl BodyCapture {
    /// Starts a body of which at most `limit_bytes` are kept; gives back what was held before.
    pub fn begin(&mut self, limit_bytes: usize, budget: &mut CaptureBudget) {
        self.release(budget);
        self.limit_bytes = limit_bytes;
    }

    /// Forgets what was kept: the body is read from its beginning once more, for another try.
    pub fn restart(&mut self, budget: &mut CaptureBudget) {
        self.begin(self.limit_bytes, budget);
    }

    /// Takes what the limit and the budget allow of the body's next piece. Once something was left out, nothing more is taken.
    pub fn push(&mut self, piece: &[u8], budget: &mut CaptureBudget) {
        if self.cut != Cut::No {
            return;
        }
        let allowed = self.limit_bytes.saturating_sub(self.bytes.len());
        let taken = piece.len().min(allowed).min(budget.left_bytes);
        if taken < piece.len() {
            self.cut = if taken == allowed { Cut::Limit } else { Cut::Budget };
        }
        budget.left_bytes -= taken;
        self.bytes.extend_from_slice(&piece[..taken]);
    }

    /// What was kept.
    pub fn captured(&self) -> Captured<'_> {
        Captured { bytes: &self.bytes, truncated: self.cut != Cut::No }
    }

    /// Whether and why it is not all.
    pub const fn cut(&self) -> Cut {
        self.cut
    }

    /// Gives the bytes back to the budget and forgets them.
    pub fn release(&mut self, budget: &mut CaptureBudget) {
        budget.left_bytes += self.bytes.len();
        self.bytes.clear();
        self.bytes.shrink_to(CAPTURE_KEPT_BYTES);
        self.limit_bytes = 0;
        self.cut = Cut::No;
    }
}

/// What became of a body's content coding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decoded {
    /// There was none.
    Plain,
    /// It was undone; the text is in the buffer.
    Text,
    /// It could not be: broken, cut, or unknown.
    Failed,
}

/// Undoes `coding` (a `Content-Encoding`) into `text`, at most [`DECODED_BODY_BYTES`] of it. Allocates in the decoder.
pub fn decode(coding: &[u8], body: &[u8], text: &mut Vec<u8>) -> Decoded {
    text.clear();
    let coding = coding.trim_ascii();
    if body.is_empty() || coding.is_empty() || coding.eq_ignore_ascii_case(b"identity") {
        return Decoded::Plain;
    }
    let limit = DECODED_BODY_BYTES as u64;
    let read = if coding.eq_ignore_ascii_case(b"gzip") || coding.eq_ignore_ascii_case(b"x-gzip") {
        flate2::bufread::MultiGzDecoder::new(body).take(limit).read_to_end(text)
    } else if coding.eq_ignore_ascii_case(b"br") {
        brotli_decompressor::Decompressor::new(body, BROTLI_READ_BYTES).take(limit).read_to_end(text)
    } else {
        return Decoded::Failed;
    };
    if read.is_ok() { Decoded::Text } else { Decoded::Failed }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    const BROTLI_HELLO: &[u8] = b"\x0b\x02\x80hello\x03";

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        writer.write_all(text).unwrap();
        writer.finish().unwrap()
    }

    #[test]
    fn a_body_that_is_read_again_is_kept_once_and_gives_its_budget_back() {
        let (mut budget, mut body) = (CaptureBudget::new(100), BodyCapture::default());
        body.begin(5, &mut budget);
        body.push(b"hello, world", &mut budget);
        body.restart(&mut budget);
        assert_eq!((budget.left_bytes(), body.cut()), (100, Cut::No));
        body.push(b"hell", &mut budget);
        assert_eq!((body.captured().bytes, budget.left_bytes()), (&b"hell"[..], 96));
    }

    #[test]
    fn a_body_within_its_limit_is_kept_whole() {
        let (mut budget, mut body) = (CaptureBudget::new(100), BodyCapture::default());
        body.begin(10, &mut budget);
        body.push(b"01234", &mut budget);
        body.push(b"56789", &mut budget);
        assert_eq!(body.captured(), Captured { bytes: b"0123456789", truncated: false });
        assert_eq!((body.cut(), budget.left_bytes()), (Cut::No, 90));
        body.push(b"", &mut budget);
        assert_eq!(body.cut(), Cut::No);
    }

    #[test]
    fn a_body_over_its_limit_is_cut_at_the_byte_and_stays_cut() {
        let (mut budget, mut body) = (CaptureBudget::new(100), BodyCapture::default());
        body.begin(3, &mut budget);
        body.push(b"01", &mut budget);
        body.push(b"234", &mut budget);
        body.push(b"5", &mut budget);
        assert_eq!(body.captured(), Captured { bytes: b"012", truncated: true });
        assert_eq!((body.cut(), budget.left_bytes()), (Cut::Limit, 97));
    }

    #[test]
    fn the_cores_budget_cuts_and_gets_everything_back() {
        let (mut budget, mut first, mut second) =
            (CaptureBudget::new(6), BodyCapture::default(), BodyCapture::default());
        first.begin(10, &mut budget);
        first.push(b"0123", &mut budget);
        second.begin(10, &mut budget);
        second.push(b"abc", &mut budget);
        assert_eq!(second.captured(), Captured { bytes: b"ab", truncated: true });
        assert_eq!((second.cut(), budget.left_bytes()), (Cut::Budget, 0));
        first.release(&mut budget);
        second.push(b"d", &mut budget);
        assert_eq!(second.captured().bytes, b"ab", "no hole after a cut");
        second.begin(10, &mut budget);
        assert_eq!((second.cut(), budget.left_bytes()), (Cut::No, 6));
    }

    #[test]
    fn a_released_capture_keeps_little_memory() {
        let (mut budget, mut body) = (CaptureBudget::new(1 << 20), BodyCapture::default());
        body.begin(1 << 20, &mut budget);
        body.push(&vec![b'x'; 1 << 20], &mut budget);
        body.release(&mut budget);
        assert!(body.bytes.capacity() <= CAPTURE_KEPT_BYTES);
        assert_eq!(budget.left_bytes(), 1 << 20);
    }

    #[test]
    fn gzip_and_brotli_are_undone() {
        let mut text = Vec::new();
        assert_eq!(decode(b"gzip", &gzip(b"hello"), &mut text), Decoded::Text);
        assert_eq!(text, b"hello");
        assert_eq!(decode(b" GZip ", &gzip(b"again"), &mut text), Decoded::Text);
        assert_eq!(text, b"again");
        assert_eq!(decode(b"br", BROTLI_HELLO, &mut text), Decoded::Text);
        assert_eq!(text, b"hello");
    }

    #[test]
    fn a_cut_broken_or_unknown_coding_fails() {
        let mut text = Vec::new();
        let whole = gzip(&b"hello ".repeat(1000));
        assert_eq!(decode(b"gzip", &whole[..whole.len() / 2], &mut text), Decoded::Failed);
        assert_eq!(decode(b"gzip", b"not gzip at all", &mut text), Decoded::Failed);
        assert_eq!(decode(b"br", b"\xff\xff\xff\xff", &mut text), Decoded::Failed);
        assert_eq!(decode(b"br", &BROTLI_HELLO[..5], &mut text), Decoded::Failed);
        assert_eq!(decode(b"zstd", b"x", &mut text), Decoded::Failed);
        assert_eq!(decode(b"identity", b"x", &mut text), Decoded::Plain);
        assert_eq!(decode(b"gzip", b"", &mut text), Decoded::Plain);
    }

    #[test]
    fn a_bomb_is_cut_at_the_limit() {
        let bomb = gzip(&vec![0; 32 * 1024 * 1024]);
        assert!(bomb.len() < DECODED_BODY_BYTES);
        let mut text = Vec::new();
        assert_eq!(decode(b"gzip", &bomb, &mut text), Decoded::Text);
        assert_eq!(text.len(), DECODED_BODY_BYTES);
    }
}
