//! The response head of an upstream, as strict as a request's (RFC 9112 §4, §6; RFC 9110 §15). What is broken is a 502.

use std::ops::Range;

use super::fields::{Field, Fields, Span};
use super::limits::HeadLimits;
use super::lines::{Framing, Line, Progress, field, known};
use super::message::{Malformed, Method, Parsed, Version};
use super::reads::reads;
use super::recall::{Look, Recall, Recalled};
use super::syntax::{is_field_value, is_token, trim};

/// How the end of a response's body is found (RFC 9112 §6.3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ResponseBody {
    /// No body: HEAD, 1xx, 204, 304.
    #[default]
    None,
    /// Content-Length, in bytes; may be 0.
    Length(u64),
    /// `Transfer-Encoding: chunked`.
    Chunked,
    /// Everything until the upstream closes.
    UntilClose,
}

/// What the response answers: its framing depends on it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// The request's method.
    pub method: Method,
    /// True if the request went out with `Upgrade: websocket`: only then 101 is an answer, and to that only.
    pub upgrade: bool,
}

/// One response head. Reusable: [`ResponseHead::clear`] keeps the memory. All spans lie in the bytes that were parsed.
#[derive(Clone, Debug, Default)]
pub struct ResponseHead {
    /// The status code, 100–999.
    pub status: u16,
    /// The reason phrase as received; may be empty.
    pub reason: Span,
    /// HTTP/1.0 or 1.1.
    pub version: Version,
    /// The header lines in order, framing and hop-by-hop ones included.
    pub fields: Fields,
    /// How the body ends.
    pub body: ResponseBody,
    /// The value of Content-Length, also where there is no body (HEAD, 304): what the client is told.
    pub declared_length: Option<u64>,
    /// True if the connection may carry another request once the body has ended.
    pub keep_alive: bool,
    /// A 101's Upgrade value.
    pub upgrade: Option<Span>,
    /// Bytes of the head with its blank line.
    pub len: usize,
    progress: Progress,
    pub(super) framing: Framing,
}

impl ResponseHead {
    /// Ready for another head; keeps the memory.
    pub fn clear(&mut self) {
        let mut fields = std::mem::take(&mut self.fields);
        fields.clear();
        *self = Self { fields, ..Self::default() };
    }

    /// Takes over what the status line and the field lines of `other` say, which is the same bytes.
    fn adopt(&mut self, other: &Self) {
        self.fields.copy_from(&other.fields, 0);
        (self.status, self.reason, self.version) = (other.status, other.reason, other.version);
        (self.framing, self.len, self.progress) = (other.framing, other.len, other.progress);
    }

    /// True for 1xx but not 101: another head follows on the same connection (RFC 9110 §15.2).
    pub const fn is_interim(&self) -> bool {
        self.status >= 100 && self.status < 200 && self.status != 101
    }
}

/// As [`parse_response`], with the help of what came before: a head that is known, status line and all, is not read again.
///
/// # Errors
/// Those of [`parse_response`].
pub fn recall_response(
    bytes: &[u8],
    limits: &HeadLimits,
    asked: Asked,
    head: &mut ResponseHead,
    recall: &mut Recall<ResponseHead>,
    recalled: &mut Recalled<ResponseHead>,
) -> Result<Parsed, Malformed> {
    recalled.clear();
    if head.progress.at > 0 || bytes.is_empty() {
        return parse_response(bytes, limits, asked, head);
    }
    match recall.look(bytes) {
        Look::Known(known) if known.head.len <= limits.head_bytes && known.head.fields.len() <= limits.header_count => {
            head.adopt(&known.head);
            recalled.know(Some(known));
            conclude(bytes, asked, head)?;
            Ok(Parsed::Complete)
        }
        Look::Unknown(unknown) => {
            let parsed = parse_response(bytes, limits, asked, head)?;
            if parsed == Parsed::Complete {
                recall.note(unknown, bytes, head);
            }
            Ok(parsed)
        }
        Look::Known(_) | Look::Nothing => parse_response(bytes, limits, asked, head),
    }
}

/// Reads a response head from the start of `bytes`; the contract of `request::parse_request`.
pub fn parse_response(
    bytes: &[u8],
    limits: &HeadLimits,
    asked: Asked,
    head: &mut ResponseHead,
) -> Result<Parsed, Malformed> {
    if !head.progress.in_fields {
        begins_like_http(bytes)?;
    }
    loop {
        while let Some(field) = head.progress.ordinary_field(bytes, limits.head_bytes) {
            take_field(bytes, field, limits, head)?;
        }
        match head.progress.line(bytes, limits.head_bytes)? {
            Line::Partial => return Ok(Parsed::Partial),
            Line::TooLong => return Err(Malformed { reason: "the head is too long" }),
            Line::Whole(line) if !head.progress.in_fields => {
                head.progress.in_fields = true;
                take_status_line(bytes, line, head)?;
            }
            Line::Whole(line) if line.is_empty() => break,
            Line::Whole(line) => take_field(bytes, field(bytes, line)?, limits, head)?,
        }
    }
    head.len = head.progress.at;
    conclude(bytes, asked, head)?;
    Ok(Parsed::Complete)
}

/// Garbage without a line end need not be waited out.
fn begins_like_http(bytes: &[u8]) -> Result<(), Malformed> {
    const START: &[u8] = b"HTTP/1.";
    let len = bytes.len().min(START.len());
    if bytes[..len] == START[..len] { Ok(()) } else { Err(NOT_A_STATUS_LINE) }
}

const NOT_A_STATUS_LINE: Malformed = Malformed { reason: "no HTTP/1 status line" };

/// `HTTP/1.x SP 3DIGIT [SP reason]` (RFC 9112 §4). The space before an empty reason is often forgotten; it decides nothing.
fn take_status_line(bytes: &[u8], line: Range<usize>, head: &mut ResponseHead) -> Result<(), Malformed> {
    let text = &bytes[line.clone()];
    let (version, rest) = text.split_at_checked(9).ok_or(NOT_A_STATUS_LINE)?;
    head.version = match version {
        b"HTTP/1.1 " => Version::Http11,
        b"HTTP/1.0 " => Version::Http10,
        _ => return Err(NOT_A_STATUS_LINE),
    };
    let (digits, reason) = rest.split_at_checked(3).ok_or(NOT_A_STATUS_LINE)?;
    if !digits.iter().all(u8::is_ascii_digit) || digits[0] == b'0' {
        return Err(Malformed { reason: "the status is not a number of three digits" });
    }
    head.status = digits.iter().fold(0, |status, digit| status * 10 + u16::from(digit - b'0'));
    let reason = match reason {
        [] => reason,
        [b' ', reason @ ..] if is_field_value(reason) => reason,
        _ => return Err(Malformed { reason: "a malformed reason phrase" }),
    };
    head.reason = Span::new(line.end - reason.len(), line.end);
    Ok(())
}

fn take_field(bytes: &[u8], field: Field, limits: &HeadLimits, head: &mut ResponseHead) -> Result<(), Malformed> {
    if head.fields.len() == limits.header_count {
        return Err(Malformed { reason: "too many header lines" });
    }
    head.fields.push(field);
    head.framing.take(known(field.name.of(bytes)), field, bytes)?;
    Ok(())
}

/// What all lines together mean (RFC 9112 §6.3).
fn conclude(bytes: &[u8], asked: Asked, head: &mut ResponseHead) -> Result<(), Malformed> {
    let framing = head.framing;
    let is_11 = head.version == Version::Http11;
    framing.check()?;
    if framing.chunked && !is_11 {
        return Err(Malformed { reason: "Transfer-Encoding in HTTP/1.0" });
    }
    let promises_body = framing.chunked || framing.length.is_some_and(|length| length > 0);
    if head.status < 200 {
        if promises_body {
            return Err(Malformed { reason: "an interim response with a body" });
        }
        return conclude_informational(bytes, asked, head);
    }
    head.declared_length = framing.length;
    head.keep_alive = !framing.close && (is_11 || framing.keep_alive);
    head.body = match framing.length {
        _ if asked.method == Method::Head || head.status == 204 || head.status == 304 => ResponseBody::None,
        Some(length) => ResponseBody::Length(length),
        None if framing.chunked => ResponseBody::Chunked,
        None => ResponseBody::UntilClose,
    };
    // A 204 has no body, but one that promises one may send it: what follows could be taken for the next response.
    head.keep_alive &= head.body != ResponseBody::UntilClose && !(head.status == 204 && promises_body);
    Ok(())
}

fn conclude_informational(bytes: &[u8], asked: Asked, head: &mut ResponseHead) -> Result<(), Malformed> {
    if head.status != 101 {
        head.keep_alive = true;
        return Ok(());
    }
    if !asked.upgrade {
        return Err(Malformed { reason: "101 that nobody asked for" });
    }
    head.upgrade = head.framing.upgrade;
    match head.upgrade {
        Some(value) if value.of(bytes).eq_ignore_ascii_case(b"websocket") => Ok(()),
        Some(_) => Err(Malformed { reason: "101 to another protocol than was asked for" }),
        None => Err(Malformed { reason: "101 without Upgrade" }),
    }
}

/// For fuzzing: whatever the bytes are, no panic; any split gives the same answer; what is accepted keeps its promises.
#[doc(hidden)]
pub fn fuzz_response(bytes: &[u8]) {
    let limits = HeadLimits { head_bytes: 4096, header_count: 16, target_bytes: 1024 };
    let seed = bytes.first().map_or(0, |&byte| usize::from(byte));
    let asked = Asked { method: if seed & 1 == 0 { Method::Get } else { Method::Head }, upgrade: seed & 2 == 0 };
    // The first byte steers; the rest is the response.
    let bytes = bytes.get(1..).unwrap_or_default();
    let mut whole = ResponseHead::default();
    let answer = parse_response(bytes, &limits, asked, &mut whole);
    let mut pieces = ResponseHead::default();
    let mut answers = reads(bytes).map(|end| parse_response(&bytes[..end], &limits, asked, &mut pieces));
    let piecewise = answers.find(|answer| *answer != Ok(Parsed::Partial)).unwrap_or(Ok(Parsed::Partial));
    assert_eq!(answer, piecewise);
    // Also where the same head came before, in answer to something else.
    let (mut recall, mut recalled) = (Recall::default(), Recalled::default());
    let other = Asked { method: Method::Head, upgrade: !asked.upgrade };
    for _ in 0..3 {
        let _ = recall_response(bytes, &limits, other, &mut ResponseHead::default(), &mut recall, &mut recalled);
    }
    let mut head = ResponseHead::default();
    assert_eq!(recall_response(bytes, &limits, asked, &mut head, &mut recall, &mut recalled), answer);
    assert!(answer != Ok(Parsed::Complete) || format!("{head:?}") == format!("{whole:?}"));
    assert!(answer != Ok(Parsed::Partial) || bytes.len() <= limits.head_bytes);
    if answer != Ok(Parsed::Complete) {
        return;
    }
    assert_eq!(format!("{whole:?}"), format!("{pieces:?}"));
    assert!(whole.len <= bytes.len() && bytes[..whole.len].ends_with(b"\r\n\r\n"));
    assert!(whole.len <= limits.head_bytes && whole.fields.len() <= limits.header_count);
    assert!(is_field_value(whole.reason.of(bytes)));
    assert!((100..=999).contains(&whole.status));
    assert!(whole.status != 101 || asked.upgrade);
    for (name, value) in whole.fields.iter(bytes) {
        assert!(is_token(name) && is_field_value(value) && trim(value).len() == value.len());
    }
}

#[cfg(test)]
#[path = "response_tests.rs"]
mod tests;
