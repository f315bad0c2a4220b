//! The chunked transfer coding (RFC 9112 §7.1), read strictly: where payload lies, where the body ends, trailers included.
//! Finds positions and copies nothing, so that a relay may pass the bytes on as they are or frame the payload anew.

use std::ops::Range;

use super::message::Reject;
use super::reads::reads;
use super::syntax::{MAX_BODY_BYTES, hex, is_blank, is_field_value, is_token_byte};
use crate::base::limits::{CHUNK_LINE_BYTES, HEADER_COUNT, TRAILER_BYTES};

/// The end of a chunked body without trailers.
pub const LAST_CHUNK: &[u8] = b"0\r\n\r\n";
/// The last chunk's line; what [`Step::trailers`] marks follows it, the blank line included.
pub const LAST_CHUNK_LINE: &[u8] = b"0\r\n";
/// What follows each chunk's payload.
pub const CHUNK_END: &[u8] = b"\r\n";
/// Hexadecimal digits of a chunk size, leading zeros included (400).
pub const SIZE_DIGITS: u8 = 16;
/// Bytes of chunk extensions that a body may be ahead of its payload (400): one-byte chunks with long extensions would cost
/// thousands of bytes for each byte that counts.
pub const EXTENSION_DEBT_BYTES: u64 = 16 * 1024;

/// Longest name in [`is_refused_trailer`].
const REFUSED_NAME_BYTES: usize = "transfer-encoding".len();

/// What one [`ChunkedDecoder::advance`] found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Step {
    /// Bytes that were read, framing and payload: all of `bytes`, or up to the end of one stretch of payload, or of the body.
    /// 0 only for no bytes or after the end.
    pub consumed: usize,
    /// Where payload lies in `bytes`; empty if this step had none. Ends at `consumed` unless empty.
    pub data: Range<usize>,
    /// Where trailer lines lie in `bytes`, the final blank line included; empty before the last chunk. Ends at `consumed` unless empty.
    pub trailers: Range<usize>,
    /// True if the body and its trailers have ended: what lies behind `consumed` belongs to the next message.
    pub done: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// Before the first digit of a size.
    #[default]
    SizeStart,
    /// Behind a digit.
    Size,
    /// Blanks behind a size or an extension: only `;` may follow.
    BeforeSemicolon,
    /// Behind `;`.
    NameStart,
    Name,
    /// Blanks behind an extension's name: `=` or `;` follows.
    NameEnd,
    /// Behind `=`.
    ValueStart,
    Value,
    Quoted,
    /// Behind a backslash in a quoted string.
    Escaped,
    QuotedEnd,
    /// Behind the CR of a size line.
    SizeLf,
    Data,
    DataCr,
    DataLf,
    /// At the start of a trailer line or of the blank line.
    TrailerStart,
    TrailerName,
    TrailerValue,
    TrailerLf,
    /// Behind the CR of the blank line.
    EndLf,
    Done,
}

/// Reads one chunked body, in pieces as they come. Holds no buffer: a few words per connection.
#[derive(Clone, Debug, Default)]
pub struct ChunkedDecoder {
    state: State,
    /// Payload of this chunk that has not come yet; while its size line is read, the size so far.
    left: u64,
    digits: u8,
    /// Bytes of this size line.
    line_bytes: usize,
    /// Extension bytes that no payload has made up for yet.
    debt: u64,
    trailer_bytes: usize,
    trailer_count: usize,
    /// The trailer's name as [`is_refused_trailer`] spells it, as far as it could be a refused one.
    name: [u8; REFUSED_NAME_BYTES],
    name_len: usize,
}

impl ChunkedDecoder {
    /// Before the first chunk.
    pub fn new() -> Self {
        Self::default()
    }

    /// True if the body and its trailers have ended.
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Reads on. Call again with what lies behind `consumed` until that is nothing, or until `done`. An error is final: 400
    /// for broken framing, 431 for trailers over the limit; from an upstream both mean that the response is malformed.
    pub fn advance(&mut self, bytes: &[u8]) -> Result<Step, Reject> {
        let mut trailers_from = self.in_trailers().then_some(0);
        let mut at = 0;
        while at < bytes.len() && self.state != State::Done {
            if self.state == State::Data {
                let data = at..at + usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len() - at);
                self.take_payload(data.len());
                return Ok(Step { consumed: data.end, data, ..Step::default() });
            }
            self.take_byte(bytes[at])?;
            at += 1;
            if trailers_from.is_none() && self.in_trailers() {
                trailers_from = Some(at);
            }
        }
        let trailers = trailers_from.map_or(0..0, |from| from..at);
        Ok(Step { consumed: at, data: 0..0, trailers, done: self.is_done() })
    }

    const fn in_trailers(&self) -> bool {
        matches!(
            self.state,
            State::TrailerStart | State::TrailerName | State::TrailerValue | State::TrailerLf | State::EndLf
        )
    }

    const fn take_payload(&mut self, len: usize) {
        self.left -= len as u64;
        self.debt = self.debt.saturating_sub(len as u64);
        if self.left == 0 {
            self.state = State::DataCr;
        }
    }

    fn take_byte(&mut self, byte: u8) -> Result<(), Reject> {
        self.state = match self.state {
            State::DataCr if byte == b'\r' => State::DataLf,
            State::DataLf if byte == b'\n' => State::SizeStart,
            State::DataCr | State::DataLf => return Err(Reject::bad("a chunk is longer than its size")),
            State::TrailerStart | State::TrailerName | State::TrailerValue | State::TrailerLf | State::EndLf => {
                self.trailer(byte)?
            }
            State::Data | State::Done => self.state,
            _ => self.size_line(byte)?,
        };
        Ok(())
    }

    fn size_line(&mut self, byte: u8) -> Result<State, Reject> {
        self.line_bytes += 1;
        if self.line_bytes > CHUNK_LINE_BYTES {
            return Err(Reject::bad("a chunk size line is too long"));
        }
        match self.state {
            State::SizeStart => {
                (self.left, self.digits) = (0, 0);
                self.digit(byte)
            }
            State::Size if hex(byte).is_some() => self.digit(byte),
            State::SizeLf if byte == b'\n' => {
                self.line_bytes = 0;
                Ok(if self.left == 0 { State::TrailerStart } else { State::Data })
            }
            State::SizeLf => Err(Reject::bad("a bare CR in a chunk size line")),
            _ => {
                self.debt += u64::from(byte != b'\r');
                if self.debt > EXTENSION_DEBT_BYTES {
                    return Err(Reject::bad("more chunk extensions than payload"));
                }
                after_size(self.state, byte).ok_or(Reject::bad("a malformed chunk size line"))
            }
        }
    }

    fn digit(&mut self, byte: u8) -> Result<State, Reject> {
        let value = hex(byte).ok_or(Reject::bad("a chunk size that is no hexadecimal number"))?;
        self.digits += 1;
        if self.digits > SIZE_DIGITS || self.left > MAX_BODY_BYTES >> 4 {
            return Err(Reject::bad("a chunk size that is too large"));
        }
        self.left = self.left << 4 | u64::from(value);
        Ok(State::Size)
    }

    fn trailer(&mut self, byte: u8) -> Result<State, Reject> {
        self.trailer_bytes += 1;
        if self.trailer_bytes > TRAILER_BYTES {
            return Err(Reject::with(431, "the trailers are too long"));
        }
        match (self.state, byte) {
            (State::TrailerStart, b'\r') => Ok(State::EndLf),
            (State::EndLf, b'\n') => Ok(State::Done),
            (State::TrailerStart, _) if is_token_byte(byte) => {
                self.trailer_count += 1;
                if self.trailer_count > HEADER_COUNT {
                    return Err(Reject::with(431, "too many trailers"));
                }
                self.name_len = 0;
                self.name_byte(byte);
                Ok(State::TrailerName)
            }
            (State::TrailerName, b':') => {
                if self.name.get(..self.name_len).is_some_and(is_refused_trailer) {
                    return Err(Reject::bad("a trailer that may only be a header"));
                }
                Ok(State::TrailerValue)
            }
            (State::TrailerName, _) if is_token_byte(byte) => {
                self.name_byte(byte);
                Ok(State::TrailerName)
            }
            (State::TrailerValue, b'\r') => Ok(State::TrailerLf),
            (State::TrailerValue, _) if is_field_value(&[byte]) => Ok(State::TrailerValue),
            (State::TrailerLf, b'\n') => Ok(State::TrailerStart),
            _ => Err(Reject::bad("a malformed trailer")),
        }
    }

    fn name_byte(&mut self, byte: u8) {
        if let Some(place) = self.name.get_mut(self.name_len) {
            // CGI and WSGI give `-` and `_` one name.
            *place = if byte == b'_' { b'-' } else { byte.to_ascii_lowercase() };
        }
        self.name_len += 1;
    }
}

/// The state behind `byte` in `chunk-ext` (RFC 9112 §7.1.1); `None` if it may not stand there.
fn after_size(state: State, byte: u8) -> Option<State> {
    let blank = is_blank(byte);
    let token = is_token_byte(byte);
    let text = is_field_value(&[byte]);
    Some(match (state, byte) {
        (State::Size | State::Name | State::Value | State::QuotedEnd, b'\r') => State::SizeLf,
        (State::Size | State::BeforeSemicolon | State::Name | State::NameEnd, b';') => State::NameStart,
        (State::Value | State::QuotedEnd, b';') => State::NameStart,
        (State::Size | State::BeforeSemicolon | State::Value | State::QuotedEnd, _) if blank => State::BeforeSemicolon,
        (State::NameStart, _) if blank => State::NameStart,
        (State::NameStart | State::Name, _) if token => State::Name,
        (State::Name | State::NameEnd, b'=') => State::ValueStart,
        (State::Name | State::NameEnd, _) if blank => State::NameEnd,
        (State::ValueStart, b'"') => State::Quoted,
        (State::ValueStart, _) if blank => State::ValueStart,
        (State::ValueStart | State::Value, _) if token => State::Value,
        (State::Quoted, b'"') => State::QuotedEnd,
        (State::Quoted, b'\\') => State::Escaped,
        (State::Quoted | State::Escaped, _) if text => State::Quoted,
        _ => return None,
    })
}

/// Fields that decide about framing, routing or who asked: as trailers they come too late for us and might not for the next hop
/// (RFC 9110 §6.5.1). Lower case, `-` for `_`.
fn is_refused_trailer(name: &[u8]) -> bool {
    matches!(
        name,
        b"content-length"
            | b"transfer-encoding"
            | b"host"
            | b"connection"
            | b"proxy-connection"
            | b"keep-alive"
            | b"te"
            | b"trailer"
            | b"upgrade"
            | b"http2-settings"
            | b"expect"
            | b"forwarded"
            | b"x-real-ip"
            | b"x-forwarded-for"
            | b"x-forwarded-proto"
            | b"x-forwarded-host"
            | b"x-forwarded-port"
    )
}

/// Appends a chunk's first line, `len` in hex; `len` is not 0 (that would end the body).
pub fn write_chunk_head(out: &mut Vec<u8>, len: usize) {
    debug_assert!(len > 0, "an empty chunk ends the body");
    let digits = (usize::BITS - len.leading_zeros()).div_ceil(4).max(1);
    out.extend((0..digits).rev().map(|digit| b"0123456789abcdef"[len >> (4 * digit) & 15]));
    out.extend_from_slice(CHUNK_END);
}

/// For fuzzing: any split finds the same payload, trailers, end and verdict; framed anew, the payload reads back.
#[doc(hidden)]
pub fn fuzz_chunked(bytes: &[u8]) {
    let whole = decode(bytes, std::iter::once(bytes.len()));
    assert_eq!(whole, decode(bytes, reads(bytes)));
    let Ok(found) = whole else { return };
    assert!(found.consumed <= bytes.len() && (found.done || found.consumed == bytes.len()));
    if !found.done {
        return;
    }
    let mut again = Vec::new();
    for piece in found.payload.chunks(1 + bytes.len() % 7) {
        write_chunk_head(&mut again, piece.len());
        again.extend_from_slice(piece);
        again.extend_from_slice(CHUNK_END);
    }
    again.extend_from_slice(LAST_CHUNK_LINE);
    again.extend_from_slice(&found.trailers);
    let read = decode(&again, reads(&again)).expect("what we write is well-formed");
    assert!(read.done && read.consumed == again.len());
    assert_eq!((read.payload, read.trailers), (found.payload, found.trailers));
}

/// A body read to its end, or as far as the bytes go.
#[derive(Debug, Default, PartialEq, Eq)]
struct Decoded {
    payload: Vec<u8>,
    trailers: Vec<u8>,
    consumed: usize,
    done: bool,
}

/// Decodes with reads that end where `ends` says.
fn decode(bytes: &[u8], ends: impl Iterator<Item = usize>) -> Result<Decoded, Reject> {
    let mut decoder = ChunkedDecoder::new();
    let mut found = Decoded::default();
    let mut at = 0;
    for end in ends {
        let mut rest = &bytes[at..end];
        at = end;
        while !rest.is_empty() && !found.done {
            let step = decoder.advance(rest)?;
            assert!(step.consumed > 0 && step.consumed <= rest.len());
            assert!(step.data.is_empty() || step.data.end == step.consumed);
            assert!(step.trailers.is_empty() || step.trailers.end == step.consumed);
            found.payload.extend_from_slice(&rest[step.data]);
            found.trailers.extend_from_slice(&rest[step.trailers]);
            found.consumed += step.consumed;
            found.done = step.done;
            rest = &rest[step.consumed..];
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ends of reads of `stride` bytes each.
    fn every(stride: usize, text: &str) -> impl Iterator<Item = usize> + use<> {
        let (len, stride) = (text.len(), stride.max(1));
        (0..len.div_ceil(stride)).map(move |index| ((index + 1) * stride).min(len))
    }

    fn found(text: &str) -> Decoded {
        let whole =
            decode(text.as_bytes(), every(text.len(), text)).unwrap_or_else(|reject| panic!("{text:?}: {reject:?}"));
        for stride in 1..text.len() {
            assert_eq!(decode(text.as_bytes(), every(stride, text)).as_ref(), Ok(&whole), "{text:?} by {stride}");
        }
        whole
    }

    #[test]
    fn well_formed_bodies_give_payload_and_end() {
        for (text, payload) in [
            ("0\r\n\r\n", ""),
            ("00000000\r\n\r\n", ""),
            ("5\r\nhello\r\n0\r\n\r\n", "hello"),
            ("0000000000000005\r\nhello\r\n0\r\n\r\n", "hello"),
            ("1\r\na\r\nA\r\n0123456789\r\n0\r\n\r\n", "a0123456789"),
            ("a\r\n0123456789\r\n0\r\n\r\n", "0123456789"),
            ("2\r\n\r\n\r\n0\r\n\r\n", "\r\n"),
            ("1;a\r\nx\r\n0;b=c\r\n\r\n", "x"),
            ("1 ; a = b ;c\t= \"d;\\\" \u{e4}\" ; e\r\nx\r\n0\r\n\r\n", "x"),
            ("1\r\nx\r\n0\r\nA: b\r\nC:\r\n\r\n", "x"),
        ] {
            let body = found(text);
            assert_eq!((body.payload.as_slice(), body.done, body.consumed), (payload.as_bytes(), true, text.len()));
        }
    }

    #[test]
    fn what_follows_the_body_stays() {
        let body = found("1\r\nx\r\n0\r\n\r\nGET / HTTP/1.1\r\n");
        assert_eq!((body.consumed, body.done), (11, true));
        let mut decoder = ChunkedDecoder::new();
        assert!(decoder.advance(b"0\r\n\r\n").unwrap().done && decoder.is_done());
        assert_eq!(decoder.advance(b"more").unwrap().consumed, 0);
    }

    #[test]
    fn an_unfinished_body_is_not_done() {
        for text in ["", "5", "5\r", "5\r\nhel", "5\r\nhello", "5\r\nhello\r\n", "0\r\n", "0\r\n\r", "0\r\nA: b\r\n"] {
            assert!(!found(text).done, "{text:?}");
        }
    }

    #[test]
    fn trailers_are_marked_with_their_blank_line() {
        assert_eq!(found("1\r\nx\r\n0\r\nA: b\r\nC: d\r\n\r\nrest").trailers, b"A: b\r\nC: d\r\n\r\n");
        assert_eq!(found("0\r\n\r\n").trailers, b"\r\n");
    }

    #[test]
    fn broken_framing_is_refused_however_it_arrives() {
        refuses_each(&[
            "\r\n",
            " 5\r\n",
            "\t5\r\n",
            "+5\r\n",
            "-5\r\n",
            "0x5\r\n",
            "5h\r\n",
            "g\r\n",
            ";a\r\n",
            "\"5\"\r\n",
            "5 \r\n",
            "5\t\r\n",
            "5 5\r\n",
            "5\n",
            "5\rhello",
            "5\r\r\n",
            "5,5\r\n",
            "5.0\r\n",
            "\u{665}\r\n",
            "5\0\r\n",
            "5_0\r\n",
            "8000000000000000\r\n",
            "ffffffffffffffff\r\n",
            "10000000000000000\r\n",
            "00000000000000005\r\n",
            "5\r\nhello0\r\n",
            "5\r\nhello\n0\r\n",
            "5\r\nhello\r0",
            "5\r\nhello!\r\n",
            "5\r\nhello\r\n\r\n",
            "5;\r\n",
            "5;;a\r\n",
            "5;a=\r\n",
            "5;=a\r\n",
            "5;a b\r\n",
            "5;a=b c\r\n",
            "5;a\n",
            "5;a\rb",
            "5;a=\"b\r\n",
            "5;a=\"b\n\"\r\n",
            "5;a=\"b\\\n\"\r\n",
            "5;a=\"b\"c\r\n",
            "5;a \r\n",
            "5;a=b \r\n",
            "5;a=\"\0\"\r\n",
            "5;a@\r\n",
        ]);
    }

    #[test]
    fn broken_trailers_are_refused_however_they_arrive() {
        refuses_each(&[
            "0\n\r\n",
            "0\r\n\n",
            "0\r\n\rx",
            "0\r\n A: b\r\n",
            "0\r\nA : b\r\n",
            "0\r\nA\r\n",
            "0\r\n: b\r\n",
            "0\r\nA: b\n",
            "0\r\nA: b\rc",
            "0\r\nA: \0\r\n",
            "0\r\nA: b\r\n c\r\n",
            "0\r\nA(: b\r\n",
            "0\r\nContent-Length: 5\r\n",
            "0\r\nTRANSFER-ENCODING: chunked\r\n",
            "0\r\nHost: a\r\n",
            "0\r\nA: b\r\nhost: a\r\n",
            "0\r\nTransfer_Encoding: x\r\n",
            "0\r\nX-Forwarded-For: 1.1.1.1\r\n",
            "0\r\nTE: x\r\n",
            // Found by fuzzing.
            "0\r\nHTTP2-Settings: x\r\n",
            "0\r\nX_Forwarded_For: 1.1.1.1\r\n",
            "0\r\nConnection: x\r\n",
        ]);
    }

    fn refuses_each(texts: &[&str]) {
        for text in texts {
            for stride in 1..=text.len() {
                let verdict = decode(text.as_bytes(), every(stride, text));
                assert_eq!(verdict.map_err(|reject| reject.status), Err(400), "{text:?} by {stride}");
            }
        }
    }

    #[test]
    fn names_that_only_begin_like_refused_ones_pass() {
        for name in ["Hosts", "X-Host", "Content-Length2", "Transfer-Encodings", "Content-MD5", "T"] {
            assert!(found(&format!("0\r\n{name}: a\r\n\r\n")).done, "{name}");
        }
    }

    #[test]
    fn extensions_and_trailers_are_bounded() {
        let status = |text: &str| {
            decode(text.as_bytes(), every(1000, text)).map(|body| body.done).map_err(|reject| reject.status)
        };
        let line = |len: usize| format!("1;{}\r\nx\r\n0\r\n\r\n", "a".repeat(len - "1;\r\n".len()));
        assert_eq!(status(&line(CHUNK_LINE_BYTES)), Ok(true));
        assert_eq!(status(&line(CHUNK_LINE_BYTES + 1)), Err(400));
        let amplified = format!("1;{}\r\nx\r\n", "a".repeat(1000)).repeat(20);
        assert_eq!(status(&amplified), Err(400));
        let harmless = format!("80;{}\r\n{}\r\n", "a".repeat(100), "x".repeat(128)).repeat(1000);
        assert_eq!(status(&harmless), Ok(false));
        let trailer = |len: usize| format!("0\r\nA:{}\r\n\r\n", "b".repeat(len - "A:\r\n\r\n".len()));
        assert_eq!(status(&trailer(TRAILER_BYTES)), Ok(true));
        assert_eq!(status(&trailer(TRAILER_BYTES + 1)), Err(431));
        let lines = |count: usize| format!("0\r\n{}\r\n", "A:\r\n".repeat(count));
        assert_eq!(status(&lines(HEADER_COUNT)), Ok(true));
        assert_eq!(status(&lines(HEADER_COUNT + 1)), Err(431));
    }

    #[test]
    fn the_largest_size_is_counted_right() {
        let mut decoder = ChunkedDecoder::new();
        let step = decoder.advance(b"7fffffffffffffff\r\nabc").unwrap();
        assert_eq!((step.data, step.consumed), (18..21, 21));
        assert_eq!(decoder.advance(b"de").unwrap().data, 0..2);
        assert_eq!(decoder.left, MAX_BODY_BYTES - 5);
    }

    #[test]
    fn chunk_heads_are_plain_hexadecimal() {
        for len in [1usize, 9, 10, 15, 16, 255, 256, 4095, 65_536, usize::MAX >> 1, usize::MAX] {
            let mut out = Vec::new();
            write_chunk_head(&mut out, len);
            assert_eq!(out, format!("{len:x}\r\n").into_bytes());
        }
    }

    #[test]
    fn damaged_bodies_keep_the_fuzz_invariants() {
        let seed = b"\x035;a=\"b\\\"\" ;c\r\nhello\r\n1\r\nx\r\n0\r\nA: b\r\nHost2: c\r\n\r\nGET";
        for at in 0..seed.len() {
            for &byte in b"\r\n :;,\0\"=0aF\xff" {
                let mut bytes = seed.to_vec();
                bytes[at] = byte;
                fuzz_chunked(&bytes);
                bytes.insert(at, byte);
                fuzz_chunked(&bytes);
                bytes.drain(at..(at + 2).min(bytes.len()));
                fuzz_chunked(&bytes);
            }
        }
    }
}
