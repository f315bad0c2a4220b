//! The lines of a head as they arrive: each one once, ended by CRLF and nothing else (RFC 9112 §2.2), and what the field lines say
//! about framing. Requests and responses draw their own conclusions from it.

use std::ops::Range;

use super::fields::{Field, Span};
use super::message::Reject;
use super::syntax::{content_length, is_blank, is_field_value, is_token, is_token_byte, list, trim};

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
    let is = |other: &[u8]| name.eq_ignore_ascii_case(other);
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
