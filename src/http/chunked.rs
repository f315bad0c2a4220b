//! The chunked coding (RFC 9112 §7.1): a decoder that takes the body in any pieces and finds its exact end; our own chunks.

use std::ops::Range;

use super::head::{Reject, bad, is_token};
use crate::base::limits;

/// The end of a body in chunks, without trailers.
pub const LAST_CHUNK: &[u8] = b"0\r\n\r\n";
/// Hexadecimal digits of a chunk size: what a `u64` holds.
const SIZE_DIGITS: usize = 16;

/// The line in front of a chunk of `size` bytes, which must not be 0.
pub fn write_chunk_head(out: &mut Vec<u8>, size: usize) {
    debug_assert!(size > 0, "a chunk of 0 bytes is the last one");
    let mut digits = [0; SIZE_DIGITS];
    let (mut at, mut left) = (SIZE_DIGITS, size);
    while left > 0 {
        at -= 1;
        digits[at] = b"0123456789abcdef"[left & 15];
        left >>= 4;
    }
    out.extend_from_slice(&digits[at..]);
    out.extend_from_slice(b"\r\n");
}

/// What one call of [`ChunkedDecoder::advance`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Bytes used up; with more left and the body not done, call again with the rest.
    pub consumed: usize,
    /// Payload among them.
    pub data: Range<usize>,
    /// The body ends here.
    pub done: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Size,
    Extension,
    SizeFeed,
    Data,
    DataReturn,
    DataFeed,
    TrailerStart,
    TrailerName,
    TrailerValue,
    TrailerFeed,
    EndFeed,
    Done,
}

/// Decodes one body.
#[derive(Clone, Debug, Default)]
pub struct ChunkedDecoder {
    state: State,
    size: u64,
    digits: usize,
    line_bytes: usize,
    trailer_bytes: usize,
    name: Vec<u8>,
}

impl ChunkedDecoder {
    /// Takes the next bytes of the body, up to the end of one run of payload.
    ///
    /// # Errors
    /// Anything that RFC 9112 §7.1 does not allow, an extension or trailers over their bounds, a trailer that frames.
    pub fn advance(&mut self, bytes: &[u8]) -> Result<Step, Reject> {
        let mut at = 0;
        while at < bytes.len() {
            if self.state == State::Data {
                let take = usize::try_from(self.size).unwrap_or(usize::MAX).min(bytes.len() - at);
                self.size -= take as u64;
                if self.size == 0 {
                    self.state = State::DataReturn;
                }
                return Ok(Step { consumed: at + take, data: at..at + take, done: false });
            }
            self.byte(bytes[at])?;
            at += 1;
            if self.state == State::Done {
                break;
            }
        }
        Ok(Step { consumed: at, data: at..at, done: self.state == State::Done })
    }

    fn byte(&mut self, byte: u8) -> Result<(), Reject> {
        self.state = match (self.state, byte) {
            (State::Size, _) => self.size_byte(byte)?,
            (State::Extension, b'\r') => State::SizeFeed,
            (State::Extension, _) => self.extension_byte(byte)?,
            (State::SizeFeed, b'\n') if self.size == 0 => State::TrailerStart,
            (State::SizeFeed, b'\n') => State::Data,
            (State::DataReturn, b'\r') => State::DataFeed,
            (State::DataFeed, b'\n') => self.next_chunk(),
            (State::TrailerStart, b'\r') => State::EndFeed,
            (State::TrailerStart | State::TrailerName, _) => self.trailer_name(byte)?,
            (State::TrailerValue, b'\r') => State::TrailerFeed,
            (State::TrailerValue, _) => self.trailer_value(byte)?,
            (State::TrailerFeed, b'\n') => State::TrailerStart,
            (State::EndFeed, b'\n') => State::Done,
            _ => return Err(bad("a chunk that is not framed as one")),
        };
        Ok(())
    }

    fn next_chunk(&mut self) -> State {
        (self.size, self.digits, self.line_bytes) = (0, 0, 0);
        State::Size
    }

    fn size_byte(&mut self, byte: u8) -> Result<State, Reject> {
        let digit = match byte {
            b'0'..=b'9' => byte - b'0',
            b'a'..=b'f' => byte - b'a' + 10,
            b'A'..=b'F' => byte - b'A' + 10,
            b'\r' if self.digits > 0 => return Ok(State::SizeFeed),
            b';' if self.digits > 0 => return Ok(State::Extension),
            _ => return Err(bad("a malformed chunk size")),
        };
        self.digits += 1;
        if self.digits > SIZE_DIGITS {
            return Err(bad("a chunk size with too many digits"));
        }
        self.size = self.size << 4 | u64::from(digit);
        Ok(State::Size)
    }

    fn extension_byte(&mut self, byte: u8) -> Result<State, Reject> {
        self.line_bytes += 1;
        if self.line_bytes > limits::CHUNK_LINE_BYTES {
            return Err(bad("a chunk extension over the limit"));
        }
        if byte < 0x20 && byte != b'\t' || byte == 0x7f {
            return Err(bad("a control character in a chunk extension"));
        }
        Ok(State::Extension)
    }

    fn count_trailer(&mut self) -> Result<(), Reject> {
        self.trailer_bytes += 1;
        if self.trailer_bytes > limits::TRAILER_BYTES {
            return Err(Reject { status: 431, reason: "the trailers are too large" });
        }
        Ok(())
    }

    fn trailer_name(&mut self, byte: u8) -> Result<State, Reject> {
        self.count_trailer()?;
        if byte == b':' && !self.name.is_empty() {
            let frames = [&b"content-length"[..], b"transfer-encoding", b"host", b"trailer"];
            if frames.iter().any(|name| self.name.eq_ignore_ascii_case(name)) {
                return Err(bad("a trailer that would frame a message"));
            }
            self.name.clear();
            return Ok(State::TrailerValue);
        }
        if !is_token(byte) {
            return Err(bad("a malformed trailer"));
        }
        self.name.push(byte);
        Ok(State::TrailerName)
    }

    fn trailer_value(&mut self, byte: u8) -> Result<State, Reject> {
        self.count_trailer()?;
        if byte < 0x20 && byte != b'\t' || byte == 0x7f {
            return Err(bad("a control character in a trailer"));
        }
        Ok(State::TrailerValue)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Payload and bytes behind the end, from pieces of `size` bytes.
    fn decode(bytes: &[u8], size: usize) -> Result<(Vec<u8>, Option<usize>), Reject> {
        let (mut decoder, mut payload, mut used) = (ChunkedDecoder::default(), Vec::new(), 0);
        for piece in bytes.chunks(size) {
            let mut at = 0;
            while at < piece.len() {
                let step = decoder.advance(&piece[at..])?;
                payload.extend_from_slice(&piece[at..][step.data.clone()]);
                at += step.consumed;
                if step.done {
                    return Ok((payload, Some(bytes.len() - used - at)));
                }
            }
            used += piece.len();
        }
        Ok((payload, None))
    }

    #[test]
    fn any_split_gives_the_same_payload_and_end() {
        let body = b"5;a=\"b\"\r\nhello\r\n1A\r\nabcdefghijklmnopqrstuvwxyz\r\n0\r\nX-Sum: 1\r\n\r\nGET / HTTP/1.1";
        for size in 1..body.len() {
            let expected = (b"helloabcdefghijklmnopqrstuvwxyz".to_vec(), Some(14));
            assert_eq!(decode(body, size), Ok(expected), "pieces of {size}");
        }
    }

    #[test]
    fn what_two_readers_might_read_differently_is_refused() {
        let cases: &[&[u8]] = &[
            b"\r\nabc\r\n0\r\n\r\n",
            b"5\nhello\r\n0\r\n\r\n",
            b"5\r\nhello0\r\n\r\n",
            b"5\r\nhello\n0\r\n\r\n",
            b"-1\r\n",
            b"+5\r\nhello\r\n0\r\n\r\n",
            b"0x5\r\nhello\r\n0\r\n\r\n",
            b" 5\r\nhello\r\n0\r\n\r\n",
            b"5 \r\nhello\r\n0\r\n\r\n",
            b"11111111111111111\r\n",
            b"5;a\nb\r\nhello\r\n0\r\n\r\n",
            b"0\r\nContent-Length: 5\r\n\r\n",
            b"0\r\nTransfer-Encoding: chunked\r\n\r\n",
            b"0\r\nX : 1\r\n\r\n",
            b"0\r\n X: 1\r\n\r\n",
            b"0\r\nX: 1\n\r\n",
            b"0\r\n\n",
        ];
        for case in cases {
            let text = String::from_utf8_lossy(case);
            for size in [1, 2, case.len()] {
                assert!(decode(case, size).is_err(), "{text:?} in pieces of {size}");
            }
        }
    }

    #[test]
    fn endless_extensions_and_trailers_are_refused() {
        let mut body = b"1;".to_vec();
        body.resize(limits::CHUNK_LINE_BYTES + 10, b'x');
        assert!(decode(&body, 100).is_err());
        let mut body = b"0\r\nX: ".to_vec();
        body.resize(limits::TRAILER_BYTES + 100, b'x');
        assert!(decode(&body, 100).is_err());
    }

    #[test]
    fn our_chunks_are_read_back() {
        for size in [1, 9, 10, 255, 256, 65_535, 1 << 20] {
            let mut body = Vec::new();
            write_chunk_head(&mut body, size);
            body.resize(body.len() + size, b'z');
            body.extend_from_slice(b"\r\n");
            body.extend_from_slice(LAST_CHUNK);
            assert_eq!(decode(&body, 4096).map(|(payload, rest)| (payload.len(), rest)), Ok((size, Some(0))));
        }
    }
}
