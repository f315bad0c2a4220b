//! An upstream's response head, with the same strictness (RFC 9112 §4, §6): a broken one is a 502, never a guess.

use super::fields::{Fields, Span};
use super::head::{self, ConnectionOptions, Framing, bad};
use super::limits::HeadLimits;
use super::request::{Method, Version};

pub use super::head::{Parsed, Reject};

/// How a response's body is delimited (RFC 9112 §6.3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ResponseBody {
    /// There is none, whatever the fields say.
    #[default]
    None,
    /// This many bytes.
    Length(u64),
    /// Chunks.
    Chunked,
    /// Everything until the upstream closes.
    UntilClose,
}

/// A response's head, as positions in the bytes it was read from. Reusable.
#[derive(Clone, Debug, Default)]
pub struct ResponseHead {
    /// The status code.
    pub status: u16,
    /// The reason phrase; may be empty.
    pub reason: Span,
    /// The version.
    pub version: Version,
    /// The header lines.
    pub fields: Fields,
    /// How the body is delimited.
    pub body: ResponseBody,
    /// Content-Length as sent, also where there is no body (HEAD, 304).
    pub length: Option<u64>,
    /// The connection can be used again after the body.
    pub keep_alive: bool,
    /// Connection names fields that end here.
    pub nominates: bool,
    /// Bytes of the head.
    pub len: usize,
    scanned: usize,
}

impl ResponseHead {
    /// Forgets everything and keeps the memory.
    pub fn clear(&mut self) {
        let mut fields = std::mem::take(&mut self.fields);
        fields.clear();
        *self = Self { fields, ..Self::default() };
    }

    /// 1xx other than 101: another head follows (RFC 9110 §15.2).
    pub const fn is_interim(&self) -> bool {
        self.status < 200 && self.status != 101
    }
}

/// What the request allows its response to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked {
    /// The request's method: HEAD has no body.
    pub method: Method,
    /// The request asked to upgrade: 101 may come.
    pub upgrade: bool,
}

/// Reads a head from the front of `bytes`. To be called again with more bytes after `Partial`.
///
/// # Errors
/// What is wrong with it; the status in it means nothing here.
pub fn parse_response(
    bytes: &[u8],
    limits: &HeadLimits,
    asked: Asked,
    head: &mut ResponseHead,
) -> Result<Parsed, Reject> {
    let Some(end) = head::find_end(bytes, head.scanned, 0)? else {
        head.scanned = bytes.len();
        return if bytes.len() > limits.head_bytes { Err(bad("the head is too large")) } else { Ok(Parsed::Partial) };
    };
    if end > limits.head_bytes {
        return Err(bad("the head is too large"));
    }
    head.clear();
    let bytes = &bytes[..end];
    let next = status_line(bytes, head)?;
    header_lines(bytes, next, limits, asked, head)?;
    head.len = end;
    Ok(Parsed::Complete)
}

fn status_line(bytes: &[u8], head: &mut ResponseHead) -> Result<usize, Reject> {
    let (end, next) = head::line(bytes, 0)?;
    let line = &bytes[..end];
    head.version = match line.get(..9) {
        Some(b"HTTP/1.1 ") => Version::Http11,
        Some(b"HTTP/1.0 ") => Version::Http10,
        _ => return Err(bad("a status line that is not HTTP/1")),
    };
    let code = line.get(9..12).filter(|code| code.iter().all(u8::is_ascii_digit)).ok_or(bad("a malformed status"))?;
    head.status = code.iter().fold(0, |sum, digit| sum * 10 + u16::from(digit - b'0'));
    if head.status < 100 {
        return Err(bad("a status below 100"));
    }
    // Some servers leave the space out along with the phrase (RFC 9112 §4 wants it).
    match line.get(12) {
        None => head.reason = Span::new(12, 12),
        Some(b' ') => head.reason = Span::new(13, end),
        Some(_) => return Err(bad("a malformed status")),
    }
    if head.reason.of(bytes).iter().any(|byte| *byte < 0x20 && *byte != b'\t' || *byte == 0x7f) {
        return Err(bad("a control character in the reason phrase"));
    }
    Ok(next)
}

fn header_lines(
    bytes: &[u8],
    start: usize,
    limits: &HeadLimits,
    asked: Asked,
    head: &mut ResponseHead,
) -> Result<(), Reject> {
    let mut framing = Framing::default();
    let mut options = ConnectionOptions::default();
    head::fields(bytes, start, limits.header_count, &mut head.fields)?;
    for field in head.fields.as_slice() {
        let (name, value) = (field.name.of(bytes), field.value);
        match name.len() {
            10 if name.eq_ignore_ascii_case(b"connection") => options.take(value.of(bytes)),
            14 if name.eq_ignore_ascii_case(b"content-length") => framing.length(value.of(bytes))?,
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => framing.coding(value.of(bytes))?,
            _ => {}
        }
    }
    head.nominates = options.nominates;
    head.length = framing.length;
    head.body = body(head, framing, asked)?;
    head.keep_alive = head.body != ResponseBody::UntilClose
        && match head.version {
            Version::Http11 => !options.close,
            Version::Http10 => options.keep_alive && !options.close,
        };
    Ok(())
}

fn body(head: &ResponseHead, framing: Framing, asked: Asked) -> Result<ResponseBody, Reject> {
    if framing.chunked && (framing.length.is_some() || head.version == Version::Http10) {
        return Err(bad("Transfer-Encoding where it cannot be"));
    }
    if head.status == 101 && !asked.upgrade {
        return Err(bad("101 without being asked"));
    }
    if asked.method.is_head() || head.status < 200 || matches!(head.status, 204 | 304) {
        return Ok(ResponseBody::None);
    }
    Ok(match (framing.chunked, framing.length) {
        (true, _) => ResponseBody::Chunked,
        (false, Some(length)) => ResponseBody::Length(length),
        (false, None) => ResponseBody::UntilClose,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const GET: Asked = Asked { method: Method::Get, upgrade: false };

    fn parse(text: &str, asked: Asked) -> Result<(Parsed, ResponseHead), Reject> {
        let mut head = ResponseHead::default();
        parse_response(text.as_bytes(), &HeadLimits::default(), asked, &mut head).map(|parsed| (parsed, head))
    }

    #[test]
    fn the_body_is_delimited_as_the_rfc_says() {
        let body = |text: &str, asked| parse(text, asked).unwrap().1.body;
        let head = Asked { method: Method::Head, upgrade: false };
        assert_eq!(body("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", GET), ResponseBody::Length(5));
        assert_eq!(body("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", head), ResponseBody::None);
        assert_eq!(body("HTTP/1.1 200\r\nTransfer-Encoding: chunked\r\n\r\n", GET), ResponseBody::Chunked);
        assert_eq!(body("HTTP/1.1 200 \r\n\r\n", GET), ResponseBody::UntilClose);
        assert_eq!(body("HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", GET), ResponseBody::None);
        assert_eq!(body("HTTP/1.1 204 No Content\r\n\r\n", GET), ResponseBody::None);
    }

    #[test]
    fn a_connection_is_used_again_only_if_both_the_head_and_the_body_say_so() {
        let keep = |text: &str| parse(text, GET).unwrap().1.keep_alive;
        assert!(keep("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"));
        assert!(!keep("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"));
        assert!(!keep("HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n"));
        assert!(!keep("HTTP/1.1 200 OK\r\n\r\n"));
    }

    #[test]
    fn a_broken_response_is_refused() {
        for text in [
            "HTTP/1.1 20 OK\r\n\r\n",
            "HTTP/1.1 2000 OK\r\n\r\n",
            "HTTP/1.1 +20 OK\r\n\r\n",
            "HTTP/2 200 OK\r\n\r\n",
            "hello\r\n\r\n",
            "HTTP/1.1 200 OK\n\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
            "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            "HTTP/1.1 200 OK\r\nX: a\0b\r\n\r\n",
            "HTTP/1.1 200 OK\r\nX : a\r\n\r\n",
            "HTTP/1.1 101 Switching Protocols\r\n\r\n",
            "HTTP/1.1 099 Low\r\n\r\n",
        ] {
            assert!(parse(text, GET).is_err(), "{text:?}");
        }
    }

    #[test]
    fn any_split_gives_the_same_head() {
        let text = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nX: y\r\n\r\nabc";
        for cut in 1..text.len() - 3 {
            let mut head = ResponseHead::default();
            assert_eq!(parse_response(&text[..cut], &HeadLimits::default(), GET, &mut head), Ok(Parsed::Partial));
            assert_eq!(parse_response(text, &HeadLimits::default(), GET, &mut head), Ok(Parsed::Complete));
            assert_eq!((head.status, head.len, head.fields.len()), (200, text.len() - 3, 2));
        }
    }
}
