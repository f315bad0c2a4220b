//! A body's bytes as they leave us: payload as it is, or in chunks of our own, so that nothing but payload and checked
//! trailers passes. Finding them is [`super::chunked`]'s.

use std::ops::Range;

use super::chunked::{CHUNK_END, ChunkedDecoder, LAST_CHUNK_LINE, write_chunk_head};
use super::reads::reads;
use crate::base::fault::{Fault, Kind, Side};

/// How a body that we pass on is delimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outgoing {
    /// As many bytes as the head says, or until close: payload as it is. Trailers have no place there.
    Raw,
    /// Chunks of our own.
    Chunked,
}

/// Appends a piece of payload, which is not empty.
pub fn put(out: &mut Vec<u8>, payload: &[u8], outgoing: Outgoing) {
    if outgoing == Outgoing::Raw {
        out.extend_from_slice(payload);
    } else {
        write_chunk_head(out, payload.len());
        out.extend_from_slice(payload);
        out.extend_from_slice(CHUNK_END);
    }
}

/// One body on its way from one side's chunks into what the other side gets.
#[derive(Debug)]
pub struct Recoder {
    decoder: ChunkedDecoder,
    /// Whose chunks they are.
    from: Side,
    outgoing: Outgoing,
    /// The last chunk's line went out: trailers follow.
    in_trailers: bool,
}

impl Recoder {
    /// Before the first chunk.
    pub fn new(from: Side, outgoing: Outgoing) -> Self {
        Self { decoder: ChunkedDecoder::new(), from, outgoing, in_trailers: false }
    }

    /// Takes the next bytes, shows `note` each piece of payload and appends to `out` what goes on. If the body ended: the
    /// number of bytes of `input` that belong to it.
    ///
    /// # Errors
    /// `Malformed` for broken chunks; what `note` said.
    pub fn take(
        &mut self,
        input: &[u8],
        out: &mut Vec<u8>,
        mut note: impl FnMut(&[u8]) -> Result<(), Fault>,
    ) -> Result<Option<usize>, Fault> {
        let mut at = 0;
        while at < input.len() {
            let step = self.decoder.advance(&input[at..]).map_err(|_| Fault::new(self.from, Kind::Malformed))?;
            let payload = &input[shifted(&step.data, at)];
            if !payload.is_empty() {
                note(payload)?;
                put(out, payload, self.outgoing);
            }
            self.put_trailers(out, &input[shifted(&step.trailers, at)]);
            at += step.consumed;
            if step.done {
                return Ok(Some(at));
            }
        }
        Ok(None)
    }

    /// A piece of the trailers; the blank line that ends them is part of the last one.
    fn put_trailers(&mut self, out: &mut Vec<u8>, piece: &[u8]) {
        if self.outgoing == Outgoing::Raw || piece.is_empty() {
            return;
        }
        if !std::mem::replace(&mut self.in_trailers, true) {
            out.extend_from_slice(LAST_CHUNK_LINE);
        }
        out.extend_from_slice(piece);
    }
}

/// A range found in a part that starts `by` bytes later.
const fn shifted(range: &Range<usize>, by: usize) -> Range<usize> {
    range.start + by..range.end + by
}

/// For fuzzing, both ways a body goes: however the bytes are cut into reads, the same payload goes on, framed as it is to be, and what we
/// framed reads back as the same payload and trailers.
#[doc(hidden)]
pub fn fuzz_recode(bytes: &[u8]) {
    let whole = recoded(bytes, Outgoing::Raw, std::iter::once(bytes.len()));
    assert_eq!(whole, recoded(bytes, Outgoing::Raw, reads(bytes)));
    let chunked = recoded(bytes, Outgoing::Chunked, reads(bytes));
    let (Ok((raw, end)), Ok((framed, chunked_end))) = (whole, chunked) else {
        return assert!(recoded(bytes, Outgoing::Chunked, std::iter::once(bytes.len())).is_err());
    };
    assert_eq!(end, chunked_end);
    let Some(end) = end else { return };
    assert!(end <= bytes.len() && raw.len() <= end);
    let (again, again_end) = recoded(&framed, Outgoing::Raw, reads(&framed)).expect("what we write is well-formed");
    assert_eq!((again, again_end), (raw, Some(framed.len())));
    let (framed_again, _) = recoded(&framed, Outgoing::Chunked, std::iter::once(framed.len())).expect("the same bytes");
    let (trailers, trailers_again) = (trailers_of(&framed), trailers_of(&framed_again));
    assert_eq!(trailers, trailers_again);
    assert!(!trailers.windows(1).any(|byte| byte == b"\0") && trailers.ends_with(CHUNK_END));
}

/// What goes on, and where the body ended in `bytes`, which come in reads that end where `ends` says.
fn recoded(
    bytes: &[u8],
    outgoing: Outgoing,
    ends: impl Iterator<Item = usize>,
) -> Result<(Vec<u8>, Option<usize>), Fault> {
    let mut recoder = Recoder::new(Side::Upstream, outgoing);
    let (mut out, mut payload, mut at) = (Vec::new(), 0, 0);
    for end in ends {
        let read = &bytes[at..end];
        let note = |piece: &[u8]| {
            assert!(!piece.is_empty());
            payload += piece.len();
            Ok(())
        };
        if let Some(taken) = recoder.take(read, &mut out, note)? {
            assert!(taken <= read.len() && (outgoing == Outgoing::Chunked || payload == out.len()));
            return Ok((out, Some(at + taken)));
        }
        at = end;
    }
    Ok((out, None))
}

/// The trailers of a body that we framed, its last blank line included.
fn trailers_of(framed: &[u8]) -> Vec<u8> {
    let mut decoder = ChunkedDecoder::new();
    let (mut found, mut at) = (Vec::new(), 0);
    while at < framed.len() {
        let step = decoder.advance(&framed[at..]).expect("what we write is well-formed");
        found.extend_from_slice(&framed[shifted(&step.trailers, at)]);
        at += step.consumed;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &[u8] = b"5;a=b\r\nhello\r\n1\r\n!\r\n0;last\r\nX-Sum: 7\r\nX-More: 8\r\n\r\nGET /next";

    /// What goes on and what was noted, with reads of `stride` bytes; the end in the whole.
    fn recoded(outgoing: Outgoing, stride: usize) -> (String, String, usize) {
        let mut recoder = Recoder::new(Side::Upstream, outgoing);
        let (mut out, mut noted) = (Vec::new(), Vec::new());
        for (index, read) in BODY.chunks(stride).enumerate() {
            let mut note = |piece: &[u8]| {
                noted.extend_from_slice(piece);
                Ok(())
            };
            if let Some(end) = recoder.take(read, &mut out, &mut note).unwrap() {
                return (String::from_utf8(out).unwrap(), String::from_utf8(noted).unwrap(), index * stride + end);
            }
        }
        panic!("the body has an end");
    }

    #[test]
    fn payload_and_trailers_go_on_and_extensions_do_not_however_the_bytes_come() {
        let end = BODY.len() - "GET /next".len();
        for stride in 1..=BODY.len() {
            let (out, noted, at) = recoded(Outgoing::Chunked, stride);
            assert_eq!((noted.as_str(), at), ("hello!", end));
            assert!(out.ends_with("\r\n0\r\nX-Sum: 7\r\nX-More: 8\r\n\r\n"), "{stride}: {out}");
            assert!(!out.contains("a=b") && !out.contains("last"));
            let (raw, ..) = recoded(Outgoing::Raw, stride);
            assert_eq!(raw, "hello!");
        }
    }

    #[test]
    fn a_body_without_trailers_ends_with_the_last_chunk() {
        let mut recoder = Recoder::new(Side::Downstream, Outgoing::Chunked);
        let mut out = Vec::new();
        assert_eq!(recoder.take(b"2\r\nok\r\n0\r\n\r\n", &mut out, |_| Ok(())), Ok(Some(12)));
        assert_eq!(out, b"2\r\nok\r\n0\r\n\r\n");
    }

    #[test]
    fn broken_chunks_are_the_fault_of_the_side_they_came_from() {
        let mut recoder = Recoder::new(Side::Downstream, Outgoing::Chunked);
        let fault = Fault::new(Side::Downstream, Kind::Malformed);
        assert_eq!(recoder.take(b"2\nok", &mut Vec::new(), |_| Ok(())), Err(fault));
    }
}
