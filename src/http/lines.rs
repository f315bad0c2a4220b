//! The lines of a head as they arrive: each one once, ended by CRLF and nothing else (RFC 9112 §2.2), and what the field lines say
//! about framing. Requests and responses draw their own conclusions from it.

use std::ops::Range;

use super::fields::{Field, Span};
use super::message::Reject;
use super::syntax::{content_length, is_blank, is_field_value, is_token, is_token_byte, list, trim};
use crate::base::block;

/// How far a head has been read. Kept in the head, so that more bytes continue where the last ones ended.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Progress {
    /// Where the line that is being read begins.
    pub at: usize,
    /// No line feed lies between `at` and here.
    searched: usize,
    /// The first line has been read.
    pub in_fields: bool,
}

/// What [`Progress::line`] found.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// Not yet ended.
    Partial,
    /// Not ended within the limit.
    TooLong,
    /// This one, without its CRLF; `at` stands behind it.
    Whole(Range<usize>),
}

impl Progress {
    /// A whole head was read up to here.
    pub const fn read_to(at: usize) -> Self {
        Self { at, searched: at, in_fields: true }
    }

    /// The next line, if it ends before `limit` (an offset into `bytes`).
    pub fn line(&mut self, bytes: &[u8], limit: usize) -> Result<Line, Reject> {
        let end = bytes.len().min(limit);
        let from = self.searched.max(self.at).min(end);
        let Some(found) = memchr::memchr(b'\n', &bytes[from..end]) else {
            self.searched = end;
            return Ok(if bytes.len() >= limit { Line::TooLong } else { Line::Partial });
        };
        let (start, feed) = (self.at, from + found);
        self.searched = feed + 1;
        if feed == start || bytes[feed - 1] != b'\r' {
            return Err(Reject::bad("a line ends with a bare line feed"));
        }
        self.at = feed + 1;
        Ok(Line::Whole(start..feed - 1))
    }

    /// The next field line if it is one as nearly all are, and all of it is there: a name of letters, digits and dashes, one space, a value
    /// without control characters, CRLF. `None` decides nothing: the line is then read with [`Progress::line`] and [`field`].
    pub fn ordinary_field(&mut self, bytes: &[u8], limit: usize) -> Option<Field> {
        if !self.in_fields || self.searched > self.at {
            return None;
        }
        let line = bytes.get(self.at..)?;
        let name_len = run(line, block::unnamed)?;
        let [b':', b' ', value @ ..] = line.get(name_len..)? else { return None };
        let value_len = run(value, block::controls)?;
        let (value, [b'\r', b'\n', ..]) = value.split_at_checked(value_len)? else { return None };
        let next = self.at + name_len + b": ".len() + value_len + b"\r\n".len();
        if name_len == 0 || next > limit || value.first() == Some(&b' ') || value.last() == Some(&b' ') {
            return None;
        }
        let (name, value) = (self.at, self.at + name_len + b": ".len());
        (self.at, self.searched) = (next, next);
        Some(Field { name: Span::new(name, name + name_len), value: Span::new(value, value + value_len) })
    }
}

/// How many bytes come before the first that `ends` marks. It must mark a zero.
#[inline(always)]
pub(super) fn run(text: &[u8], ends: impl Fn(&block::Block) -> u32) -> Option<usize> {
    let mut at = 0;
    loop {
        let found = ends(&block::first_of(text.get(at..)?));
        if found != 0 {
            return Some(at + found.trailing_zeros() as usize);
        }
        at += block::BYTES;
    }
}

/// Reads one field line (RFC 9112 §5).
pub(super) fn field(bytes: &[u8], line: Range<usize>) -> Result<Field, Reject> {
    let text = &bytes[line.clone()];
    if text.first().copied().is_some_and(is_blank) {
        return Err(Reject::bad("a field line is folded"));
    }
    let name_len = text.iter().position(|&byte| !is_token_byte(byte)).unwrap_or(text.len());
    match text.get(name_len) {
        Some(b':') if name_len > 0 => {}
        Some(b' ' | b'\t') => return Err(Reject::bad("white space in or after a field name")),
        _ => return Err(Reject::bad("a field line without a valid name and a colon")),
    }
    let raw = &text[name_len + 1..];
    if !is_field_value(raw) {
        return Err(Reject::bad("a control character in a field value"));
    }
    let value = trim(raw);
    let value_start = line.end - trim_start(raw).len();
    Ok(Field {
        name: Span::new(line.start, line.start + name_len),
        value: Span::new(value_start, value_start + value.len()),
    })
}

fn trim_start(bytes: &[u8]) -> &[u8] {
    let blanks = bytes.iter().position(|&byte| !is_blank(byte)).unwrap_or(bytes.len());
    &bytes[blanks..]
}

/// The fields that decide about framing, routing and the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Known {
    Host,
    ContentLength,
    TransferEncoding,
    Connection,
    Expect,
    Upgrade,
    MaxForwards,
    /// `Content_Length`, `Transfer_Encoding`: CGI and WSGI give both spellings one name.
    Disguised,
    Other,
}

/// Which of them `name` is.
pub(super) fn known(name: &[u8]) -> Known {
    let is = |other: &[u8]| name[0] | 0x20 == other[0] && name.eq_ignore_ascii_case(other);
    match name.len() {
        4 if is(b"host") => Known::Host,
        6 if is(b"expect") => Known::Expect,
        7 if is(b"upgrade") => Known::Upgrade,
        10 if is(b"connection") => Known::Connection,
        12 if is(b"max-forwards") => Known::MaxForwards,
        14 if is(b"content-length") => Known::ContentLength,
        14 if is(b"content_length") => Known::Disguised,
        17 if is(b"transfer-encoding") => Known::TransferEncoding,
        17 if is(b"transfer_encoding") => Known::Disguised,
        _ => Known::Other,
    }
}

/// What the field lines said so far about framing and the connection.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Framing {
    /// Content-Length.
    pub length: Option<u64>,
    /// Transfer-Encoding, which was exactly `chunked`.
    pub chunked: bool,
    /// Connection: close.
    pub close: bool,
    /// Connection: keep-alive.
    pub keep_alive: bool,
    /// Connection: upgrade.
    pub upgrades: bool,
    /// Connection names another field, which must not be passed on.
    pub nominates: bool,
    /// The first Upgrade value.
    pub upgrade: Option<Span>,
}

impl Framing {
    /// Takes in one line.
    pub fn take(&mut self, known: Known, field: Field, bytes: &[u8]) -> Result<(), Reject> {
        let value = field.value.of(bytes);
        match known {
            Known::ContentLength => self.content_length(value),
            Known::TransferEncoding => self.transfer_encoding(value),
            Known::Connection => {
                self.connection(value);
                Ok(())
            }
            Known::Upgrade => {
                self.upgrade = self.upgrade.or(Some(field.value));
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn content_length(&mut self, value: &[u8]) -> Result<(), Reject> {
        let length = content_length(value).ok_or(Reject::bad("Content-Length is not one number"))?;
        match self.length.replace(length) {
            None => Ok(()),
            Some(_) => Err(Reject::bad("Content-Length is repeated")),
        }
    }

    fn transfer_encoding(&mut self, value: &[u8]) -> Result<(), Reject> {
        let repeated = std::mem::replace(&mut self.chunked, true);
        if repeated {
            return Err(Reject::bad("Transfer-Encoding is repeated"));
        }
        if value.eq_ignore_ascii_case(b"chunked") { Ok(()) } else { Err(refused_coding(value)) }
    }

    fn connection(&mut self, value: &[u8]) {
        for option in list(value) {
            let seen = match option.len() {
                5 if option.eq_ignore_ascii_case(b"close") => &mut self.close,
                7 if option.eq_ignore_ascii_case(b"upgrade") => &mut self.upgrades,
                10 if option.eq_ignore_ascii_case(b"keep-alive") => &mut self.keep_alive,
                _ => &mut self.nominates,
            };
            *seen = true;
        }
    }

    /// Both lengths at once are how requests are smuggled (RFC 9112 §6.1).
    pub const fn check(&self) -> Result<(), Reject> {
        if self.chunked && self.length.is_some() {
            return Err(Reject::bad("both Content-Length and Transfer-Encoding"));
        }
        Ok(())
    }
}

/// 501 for codings that we do not have, as long as the list is sane (RFC 9112 §6.1); 400 for chunked in a wrong place.
fn refused_coding(value: &[u8]) -> Reject {
    let mut codings = value.split(|&byte| byte == b',').map(trim);
    let last = codings.next_back().unwrap_or_default();
    let strange = |coding: &[u8]| {
        let name = trim(coding.split(|&byte| byte == b';').next().unwrap_or_default());
        is_token(name) && !name.eq_ignore_ascii_case(b"chunked")
    };
    let others = codings.clone().count();
    if codings.all(strange) && (strange(last) || (others > 0 && last.eq_ignore_ascii_case(b"chunked"))) {
        return Reject::with(501, "a transfer coding other than chunked");
    }
    Reject::bad("Transfer-Encoding is not a final chunked")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The line at the start of `bytes`, the slow way.
    fn slowly(bytes: &[u8], limit: usize) -> Option<(Field, usize)> {
        let mut progress = Progress { in_fields: true, ..Progress::default() };
        match progress.line(bytes, limit) {
            Ok(Line::Whole(line)) => field(bytes, line).ok().map(|field| (field, progress.at)),
            _ => None,
        }
    }

    /// The same the quick way.
    fn quickly(bytes: &[u8], limit: usize) -> Option<(Field, usize)> {
        let mut progress = Progress { in_fields: true, ..Progress::default() };
        progress.ordinary_field(bytes, limit).map(|field| (field, progress.at))
    }

    #[test]
    fn what_is_read_quickly_is_read_the_same_slowly() {
        let mut ordinary = 0;
        for (name_len, value_len) in (0..40).flat_map(|name| (0..40).map(move |value| (name, value))) {
            let line =
                [&b"x-Name-9".repeat(5)[..name_len], b": ", &b"a value, ".repeat(5)[..value_len], b"\r\nNext: 1"]
                    .concat();
            let (quick, slow) = (quickly(&line, 1000), slowly(&line, 1000));
            assert!(quick.is_none() || quick == slow, "{name_len} {value_len}");
            ordinary += usize::from(quick.is_some());
        }
        assert!(ordinary > 1000, "{ordinary}");
    }

    #[test]
    fn any_byte_at_any_place_is_never_read_differently() {
        let line = b"Accept-Language: en-GB,en;q=0.9\r\nX: y\r\n\r\n";
        for (at, byte) in (0..line.len()).flat_map(|at| (0..=255).map(move |byte| (at, byte))) {
            let mut changed = *line;
            changed[at] = byte;
            for end in [at + 1, 33, line.len()] {
                let (quick, slow) = (quickly(&changed[..end], 1000), slowly(&changed[..end], 1000));
                assert!(quick.is_none() || quick == slow, "{byte:#x} at {at} of {end}");
            }
        }
    }

    #[test]
    fn a_line_over_the_limit_or_begun_before_is_left_to_the_slow_way() {
        let line = b"Accept: text/html\r\n\r\n";
        assert!(quickly(line, 19).is_some() && slowly(line, 19).is_some());
        assert!(quickly(line, 18).is_none() && slowly(line, 18).is_none());
        let mut progress = Progress { in_fields: true, searched: 3, at: 0 };
        assert!(progress.ordinary_field(line, 100).is_none());
        let mut progress = Progress::default();
        assert!(progress.ordinary_field(line, 100).is_none());
    }
}
