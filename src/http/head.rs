//! What request and response heads share: finding the end, reading header lines, the fields that decide about framing.
//! Strict (RFC 9112 §2.2, §5): CRLF only, no folding, no space before the colon, no control characters.

use memchr::{memchr, memchr_iter};

use super::fields::{Field, Fields, Span};

/// Whether a head was whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parsed {
    /// More bytes are needed.
    Partial,
    /// The head is whole; its length is in the head.
    Complete,
}

/// A request that must not be served: the status and the reason for it. The connection cannot be used any further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reject {
    /// 400, 405, 413, 414, 431, 501 or 505.
    pub status: u16,
    /// For people.
    pub reason: &'static str,
}

/// `400 Bad Request` for this reason.
pub const fn bad(reason: &'static str) -> Reject {
    Reject { status: 400, reason }
}

/// Finds the end of a head (the offset behind its empty line), looking only at what came since `scanned`.
///
/// # Errors
/// A line feed without a carriage return (RFC 9112 §2.2 lets a recipient take it as a line end; smugglers count on that).
pub fn find_end(bytes: &[u8], scanned: usize, start: usize) -> Result<Option<usize>, Reject> {
    for at in memchr_iter(b'\n', &bytes[scanned..]) {
        let at = scanned + at;
        if at == 0 || bytes[at - 1] != b'\r' {
            return Err(bad("a line ends in a bare line feed"));
        }
        if at >= start + 3 && bytes[at - 3..=at] == *b"\r\n\r\n" {
            return Ok(Some(at + 1));
        }
    }
    Ok(None)
}

/// The line that starts at `start`: its end (before CRLF) and where the next one starts. `bytes` holds a whole head.
pub fn line(bytes: &[u8], start: usize) -> Result<(usize, usize), Reject> {
    let feed = memchr(b'\n', &bytes[start..]).ok_or(bad("a line does not end"))? + start;
    let end = feed - 1;
    if memchr(b'\r', &bytes[start..end]).is_some() {
        return Err(bad("a bare carriage return"));
    }
    Ok((end, feed + 1))
}

/// Reads header lines from `start` until the empty line.
///
/// # Errors
/// Any line that breaks RFC 9112 §5, or more lines than `count_max` (431).
pub fn fields(bytes: &[u8], mut start: usize, count_max: usize, fields: &mut Fields) -> Result<(), Reject> {
    loop {
        let (end, next) = line(bytes, start)?;
        if end == start {
            return Ok(());
        }
        if fields.len() == count_max {
            return Err(Reject { status: 431, reason: "too many header lines" });
        }
        fields.push(field(bytes, start, end)?);
        start = next;
    }
}

fn field(bytes: &[u8], start: usize, end: usize) -> Result<Field, Reject> {
    if matches!(bytes[start], b' ' | b'\t') {
        return Err(bad("a folded header line"));
    }
    let colon = memchr(b':', &bytes[start..end]).ok_or(bad("a header line without a colon"))? + start;
    if colon == start || !bytes[start..colon].iter().all(|byte| is_token(*byte)) {
        return Err(bad("a header name with a character that no name may have"));
    }
    let (mut from, mut to) = (colon + 1, end);
    while from < to && matches!(bytes[from], b' ' | b'\t') {
        from += 1;
    }
    while to > from && matches!(bytes[to - 1], b' ' | b'\t') {
        to -= 1;
    }
    if !bytes[from..to].iter().all(|byte| is_field_byte(*byte)) {
        return Err(bad("a control character in a header value"));
    }
    Ok(Field { name: Span::new(start, colon), value: Span::new(from, to) })
}

/// `tchar` of RFC 9110 §5.6.2.
pub const fn is_token(byte: u8) -> bool {
    TOKEN[byte as usize]
}

const fn is_field_byte(byte: u8) -> bool {
    byte >= 0x20 && byte != 0x7f || byte == b'\t'
}

static TOKEN: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = (byte as u8).is_ascii_alphanumeric();
        byte += 1;
    }
    let marks = b"!#$%&'*+-.^_`|~";
    let mut at = 0;
    while at < marks.len() {
        table[marks[at] as usize] = true;
        at += 1;
    }
    table
};

/// A Content-Length: digits and nothing else (RFC 9110 §8.6). A list, a sign, white space or an overflow is `None`.
pub fn content_length(value: &[u8]) -> Option<u64> {
    if value.is_empty() || value.len() > 19 || !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(value.iter().fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0')))
}

/// The members of a comma-separated list, without white space and empty members (RFC 9110 §5.6.1).
pub fn members(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii).filter(|member| !member.is_empty())
}

/// What a head says about its body's framing, collected line by line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Framing {
    /// Content-Length.
    pub length: Option<u64>,
    /// Transfer-Encoding is exactly `chunked`.
    pub chunked: bool,
}

impl Framing {
    /// Takes a Content-Length line.
    ///
    /// # Errors
    /// Malformed or repeated, even with the same value.
    pub fn length(&mut self, value: &[u8]) -> Result<(), Reject> {
        let length = content_length(value).ok_or(bad("a malformed Content-Length"))?;
        if self.length.replace(length).is_some() {
            return Err(bad("more than one Content-Length"));
        }
        Ok(())
    }

    /// Takes a Transfer-Encoding line.
    ///
    /// # Errors
    /// Repeated, empty or not ending in chunked (400); with a coding that we do not know (501).
    pub fn coding(&mut self, value: &[u8]) -> Result<(), Reject> {
        if std::mem::replace(&mut self.chunked, true) {
            return Err(bad("more than one Transfer-Encoding"));
        }
        let count = value.split(|byte| *byte == b',').count();
        let chunks = members(value).filter(|coding| coding.eq_ignore_ascii_case(b"chunked")).count();
        match (chunks, count) {
            (1, 1) => Ok(()),
            (0, _) if members(value).next().is_some() => {
                Err(Reject { status: 501, reason: "a transfer coding that is not known here" })
            }
            (1, _) if members(value).last().is_some_and(|last| last.eq_ignore_ascii_case(b"chunked")) => {
                Err(Reject { status: 501, reason: "a transfer coding besides chunked" })
            }
            _ => Err(bad("a Transfer-Encoding that does not end in one chunked")),
        }
    }
}

/// What the Connection lines say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConnectionOptions {
    /// `close`.
    pub close: bool,
    /// `keep-alive`.
    pub keep_alive: bool,
    /// `upgrade`.
    pub upgrade: bool,
    /// It names other fields, which end here.
    pub nominates: bool,
}

impl ConnectionOptions {
    /// Takes a Connection line.
    pub fn take(&mut self, value: &[u8]) {
        for option in members(value) {
            if option.eq_ignore_ascii_case(b"close") {
                self.close = true;
            } else if option.eq_ignore_ascii_case(b"keep-alive") {
                self.keep_alive = true;
            } else if option.eq_ignore_ascii_case(b"upgrade") {
                self.upgrade = true;
            } else {
                self.nominates = true;
            }
        }
    }
}
