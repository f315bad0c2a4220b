//! A request's head, strictly (RFC 9112 §2, §3; RFC 9110 §7.2). What two readers might read differently is refused.

use memchr::memchr;

use super::fields::{Fields, Span};
use super::head::{self, ConnectionOptions, Framing, bad, is_token};
use super::limits::HeadLimits;

pub use super::head::{Parsed, Reject};

/// A request method (RFC 9110 §9, RFC 5789).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Method {
    /// GET.
    #[default]
    Get,
    /// HEAD.
    Head,
    /// POST.
    Post,
    /// PUT.
    Put,
    /// DELETE.
    Delete,
    /// OPTIONS.
    Options,
    /// TRACE.
    Trace,
    /// PATCH.
    Patch,
    /// Any other token.
    Other,
}

impl Method {
    fn of(name: &[u8]) -> Self {
        match name {
            b"GET" => Self::Get,
            b"HEAD" => Self::Head,
            b"POST" => Self::Post,
            b"PUT" => Self::Put,
            b"DELETE" => Self::Delete,
            b"OPTIONS" => Self::Options,
            b"TRACE" => Self::Trace,
            b"PATCH" => Self::Patch,
            _ => Self::Other,
        }
    }

    /// Its response has no body (RFC 9110 §9.3.2).
    pub const fn is_head(self) -> bool {
        matches!(self, Self::Head)
    }

    /// Twice is as good as once (RFC 9110 §9.2.2). An unknown method may not be.
    pub const fn is_idempotent(self) -> bool {
        !matches!(self, Self::Post | Self::Patch | Self::Other)
    }
}

/// The version in a request or status line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Version {
    /// HTTP/1.0.
    Http10,
    /// HTTP/1.1.
    #[default]
    Http11,
}

impl Version {
    /// As it is written.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Http10 => "HTTP/1.0",
            Self::Http11 => "HTTP/1.1",
        }
    }
}

/// How a request's body is delimited (RFC 9112 §6.3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BodyLength {
    /// There is none.
    #[default]
    None,
    /// This many bytes, at least one.
    Length(u64),
    /// Chunks.
    Chunked,
}

/// A request's head, as positions in the bytes it was read from. Reusable.
#[derive(Clone, Debug, Default)]
pub struct RequestHead {
    /// The request line, without its end.
    pub line: Span,
    /// The method as sent.
    pub method: Span,
    /// The method as far as it is known.
    pub method_kind: Method,
    /// The target as sent.
    pub target: Span,
    /// The target's path, undecoded; `/` of absolute-form without a path is an empty span, `*` stands for itself.
    pub path: Span,
    /// What stands behind the first `?`.
    pub query: Option<Span>,
    /// The version.
    pub version: Version,
    /// The header lines.
    pub fields: Fields,
    /// The host without port, from an absolute target or from Host; empty if there is none (HTTP/1.0).
    pub host: Span,
    /// Host with port, from where `host` comes.
    pub authority: Span,
    /// The port in it.
    pub host_port: Option<u16>,
    /// How the body is delimited.
    pub body: BodyLength,
    /// The client means to send another request (RFC 9112 §9.3).
    pub keep_alive: bool,
    /// Connection names fields that end here.
    pub nominates: bool,
    /// `Expect: 100-continue` (RFC 9110 §10.1.1).
    pub expect_continue: bool,
    /// The value of Upgrade, if Connection names it.
    pub upgrade: Option<Span>,
    /// Bytes of the head.
    pub len: usize,
    scanned: usize,
}

impl RequestHead {
    /// Forgets everything and keeps the memory.
    pub fn clear(&mut self) {
        let mut fields = std::mem::take(&mut self.fields);
        fields.clear();
        *self = Self { fields, ..Self::default() };
    }
}

/// Reads a head from the front of `bytes`. To be called again with more bytes at the same front after `Partial`; a head that was
/// complete or rejected must be cleared first.
///
/// # Errors
/// The status to refuse it with, and why. Nothing behind such a head can be trusted.
pub fn parse_request(bytes: &[u8], limits: &HeadLimits, head: &mut RequestHead) -> Result<Parsed, Reject> {
    // One empty line may stand in front (RFC 9112 §2.2).
    let start = if bytes.starts_with(b"\r\n") { 2 } else { 0 };
    let Some(end) = head::find_end(bytes, head.scanned.max(start), start)? else {
        head.scanned = bytes.len();
        if bytes.len() > limits.head_bytes {
            return Err(too_large(bytes, start, limits));
        }
        return Ok(Parsed::Partial);
    };
    if end > limits.head_bytes {
        return Err(too_large(bytes, start, limits));
    }
    head.clear();
    let bytes = &bytes[..end];
    let next = request_line(bytes, start, limits, head)?;
    header_lines(bytes, next, limits, head)?;
    head.len = end;
    Ok(Parsed::Complete)
}

fn too_large(bytes: &[u8], start: usize, limits: &HeadLimits) -> Reject {
    let line = memchr(b'\n', &bytes[start..]).unwrap_or(bytes.len());
    if line > limits.target_bytes {
        Reject { status: 414, reason: "the request line is too long" }
    } else {
        Reject { status: 431, reason: "the head is too large" }
    }
}

fn request_line(bytes: &[u8], start: usize, limits: &HeadLimits, head: &mut RequestHead) -> Result<usize, Reject> {
    let (end, next) = head::line(bytes, start)?;
    head.line = Span::new(start, end);
    let line = &bytes[start..end];
    let method_end = memchr(b' ', line).ok_or(bad("a request line without a target"))?;
    let target_end =
        memchr(b' ', &line[method_end + 1..]).ok_or(bad("a request line without a version"))? + method_end + 1;
    head.version = match &line[target_end + 1..] {
        b"HTTP/1.1" => Version::Http11,
        b"HTTP/1.0" => Version::Http10,
        other if is_version(other) => return Err(Reject { status: 505, reason: "a version that is not served" }),
        _ => return Err(bad("a malformed version")),
    };
    let method = &line[..method_end];
    if method.is_empty() || !method.iter().all(|byte| is_token(*byte)) {
        return Err(bad("a malformed method"));
    }
    head.method = Span::new(start, start + method_end);
    head.method_kind = Method::of(method);
    if method == b"CONNECT" {
        return Err(Reject { status: 405, reason: "CONNECT is not served" });
    }
    head.target = Span::new(start + method_end + 1, start + target_end);
    target(bytes, limits, head)?;
    Ok(next)
}

/// `HTTP/` digit `.` digit (RFC 9112 §2.3).
fn is_version(text: &[u8]) -> bool {
    matches!(text, [b'H', b'T', b'T', b'P', b'/', major, b'.', minor] if major.is_ascii_digit() && minor.is_ascii_digit())
}

/// origin-form, absolute-form, or `*` for OPTIONS (RFC 9112 §3.2).
fn target(bytes: &[u8], limits: &HeadLimits, head: &mut RequestHead) -> Result<(), Reject> {
    let (start, target) = (head.target.start as usize, head.target.of(bytes));
    if target.len() > limits.target_bytes {
        return Err(Reject { status: 414, reason: "the target is too long" });
    }
    if !target.iter().all(|byte| (0x21..0x7f).contains(byte) && *byte != b'#') {
        return Err(bad("a character in the target that no target may have"));
    }
    let path_at = match target {
        [b'/', ..] => 0,
        b"*" if head.method_kind == Method::Options => {
            head.path = head.target;
            return Ok(());
        }
        _ => absolute(bytes, head)?,
    };
    let rest = &target[path_at..];
    let path_len = memchr(b'?', rest).unwrap_or(rest.len());
    head.path = Span::new(start + path_at, start + path_at + path_len);
    if path_len < rest.len() {
        head.query = Some(Span::new(start + path_at + path_len + 1, start + target.len()));
    }
    Ok(())
}

/// `http://authority/…`: the authority counts instead of Host (RFC 9112 §3.2.2). Gives where the path starts.
fn absolute(bytes: &[u8], head: &mut RequestHead) -> Result<usize, Reject> {
    let (start, target) = (head.target.start as usize, head.target.of(bytes));
    let scheme = [&b"http://"[..], b"https://"]
        .into_iter()
        .find(|scheme| target.get(..scheme.len()).is_some_and(|front| front.eq_ignore_ascii_case(scheme)))
        .ok_or(bad("a target that is neither a path nor a URI"))?
        .len();
    let end =
        target[scheme..].iter().position(|byte| matches!(byte, b'/' | b'?')).map_or(target.len(), |at| at + scheme);
    authority(bytes, Span::new(start + scheme, start + end), head)?;
    Ok(end)
}

/// `uri-host [":" port]` (RFC 9110 §7.2, RFC 3986 §3.2); no userinfo, no list, no white space.
fn authority(bytes: &[u8], span: Span, head: &mut RequestHead) -> Result<(), Reject> {
    let text = span.of(bytes);
    let start = span.start as usize;
    let host_len = match text.first() {
        Some(b'[') => memchr(b']', text).ok_or(bad("a malformed Host"))? + 1,
        _ => memchr(b':', text).unwrap_or(text.len()),
    };
    let (host, port) = text.split_at(host_len);
    let good = match host {
        [] => false,
        [b'[', inner @ .., b']'] => {
            std::str::from_utf8(inner).is_ok_and(|inner| inner.parse::<std::net::Ipv6Addr>().is_ok())
        }
        _ => host.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+;=%".contains(byte)),
    };
    if !good {
        return Err(bad("a malformed Host"));
    }
    head.host_port = match port {
        [] | [b':'] => None,
        [b':', digits @ ..] if digits.len() <= 5 && digits.iter().all(u8::is_ascii_digit) => {
            let port = digits.iter().fold(0_u32, |sum, digit| sum * 10 + u32::from(digit - b'0'));
            Some(u16::try_from(port).map_err(|_| bad("a malformed port in Host"))?)
        }
        _ => return Err(bad("a malformed port in Host")),
    };
    head.host = Span::new(start, start + host_len);
    head.authority = span;
    Ok(())
}

fn header_lines(bytes: &[u8], start: usize, limits: &HeadLimits, head: &mut RequestHead) -> Result<(), Reject> {
    let mut framing = Framing::default();
    let mut options = ConnectionOptions::default();
    let (mut host, mut hosts, mut upgrade, mut expects) = (None, 0, None, false);
    head::fields(bytes, start, limits.header_count, &mut head.fields)?;
    for field in head.fields.as_slice() {
        let (name, value) = (field.name.of(bytes), field.value);
        match name.len() {
            4 if name.eq_ignore_ascii_case(b"host") => {
                hosts += 1;
                host = Some(value);
            }
            6 if name.eq_ignore_ascii_case(b"expect") => {
                expects |= value.of(bytes).eq_ignore_ascii_case(b"100-continue");
            }
            7 if name.eq_ignore_ascii_case(b"upgrade") => upgrade = Some(value),
            10 if name.eq_ignore_ascii_case(b"connection") => options.take(value.of(bytes)),
            14 if name.eq_ignore_ascii_case(b"content-length") => framing.length(value.of(bytes))?,
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => framing.coding(value.of(bytes))?,
            _ => {}
        }
    }
    host_line(bytes, head, host, hosts)?;
    head.body = body(framing, head.version)?;
    head.keep_alive = match head.version {
        Version::Http11 => !options.close,
        Version::Http10 => options.keep_alive && !options.close,
    };
    head.nominates = options.nominates;
    // A 1.0 client cannot wait for a 100 (RFC 9110 §10.1.1).
    head.expect_continue = expects && head.version == Version::Http11;
    head.upgrade = upgrade.filter(|_| options.upgrade && head.version == Version::Http11);
    Ok(())
}

fn host_line(bytes: &[u8], head: &mut RequestHead, host: Option<Span>, hosts: usize) -> Result<(), Reject> {
    match (host, hosts) {
        (None, _) if head.version == Version::Http11 => Err(bad("no Host")),
        (None, _) => Ok(()),
        (Some(_), 2..) => Err(bad("more than one Host")),
        (Some(host), _) => {
            // The Host line must be well-formed even where the target's authority replaces it (RFC 9112 §3.2.2).
            let absolute = (!head.authority.is_empty()).then_some((head.host, head.authority, head.host_port));
            authority(bytes, host, head)?;
            if let Some(target) = absolute {
                (head.host, head.authority, head.host_port) = target;
            }
            Ok(())
        }
    }
}

fn body(framing: Framing, version: Version) -> Result<BodyLength, Reject> {
    match (framing.length, framing.chunked) {
        (Some(_), true) => Err(bad("both Content-Length and Transfer-Encoding")),
        (None, true) if version == Version::Http10 => Err(bad("Transfer-Encoding in HTTP/1.0")),
        (None, true) => Ok(BodyLength::Chunked),
        (Some(1..), false) => Ok(BodyLength::Length(framing.length.unwrap_or(0))),
        _ => Ok(BodyLength::None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &[u8]) -> Result<(Parsed, RequestHead), Reject> {
        let mut head = RequestHead::default();
        parse_request(text, &HeadLimits::default(), &mut head).map(|parsed| (parsed, head))
    }

    fn status(text: &str) -> u16 {
        parse(text.as_bytes()).map_or_else(|reject| reject.status, |(parsed, _)| u16::from(parsed == Parsed::Complete))
    }

    #[test]
    fn any_split_gives_the_same_head() {
        let text = b"\r\nPOST /a/b?c=d HTTP/1.1\r\nHost: A.example:81\r\nContent-Length: 3\r\nX: y\r\n\r\nabc";
        for cut in 1..text.len() - 3 {
            let mut head = RequestHead::default();
            let parsed = parse_request(&text[..cut], &HeadLimits::default(), &mut head);
            assert_eq!(parsed, Ok(if cut < text.len() - 3 { Parsed::Partial } else { Parsed::Complete }), "cut {cut}");
            assert_eq!(parse_request(text, &HeadLimits::default(), &mut head), Ok(Parsed::Complete), "cut {cut}");
            assert_eq!(head.len, text.len() - 3);
            assert_eq!((head.path.of(text), head.query.unwrap().of(text)), (&b"/a/b"[..], &b"c=d"[..]));
            assert_eq!((head.host.of(text), head.host_port), (&b"A.example"[..], Some(81)));
            assert_eq!((head.body, head.keep_alive), (BodyLength::Length(3), true));
        }
    }

    #[test]
    fn what_is_legal_passes() {
        for text in [
            "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET / HTTP/1.0\r\n\r\n",
            "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET http://a/b HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET /%41?%zz HTTP/1.1\r\nHost: [::1]:8080\r\n\r\n",
            "M-SEARCH / HTTP/1.1\r\nHost: a:\r\nX:\r\nY:\t z \r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nX: \u{e9}\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: CHUNKED\r\n\r\n",
        ] {
            assert_eq!(status(text), 1, "{text:?}");
        }
    }

    #[test]
    fn what_is_not_is_refused_with_its_status() {
        for (text, expected) in [
            ("GET / HTTP/1.1\nHost: a\n\n", 400),
            ("GET / HTTP/1.1\r\nHost: a\nX: y\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\n Host: a\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nHost: a\r\nno colon\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nHost: a\r\n: empty\r\n\r\n", 400),
            ("G<T / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
            (" GET / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
            ("GET  / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
            ("GET / HTTP/1.1 \r\nHost: a\r\n\r\n", 400),
            ("GET /\r\nHost: a\r\n\r\n", 400),
            ("GET a HTTP/1.1\r\nHost: a\r\n\r\n", 400),
            ("GET * HTTP/1.1\r\nHost: a\r\n\r\n", 400),
            ("GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n", 400),
            ("GET /\u{e9} HTTP/1.1\r\nHost: a\r\n\r\n", 400),
            ("GET http://u@a/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
            ("GET / http/1.1\r\nHost: a\r\n\r\n", 400),
            ("GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505),
            ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
            ("CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n", 405),
            ("GET / HTTP/1.1\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nHost: a:b\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nHost: a:65536\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nHost:\r\n\r\n", 400),
            ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n", 400),
            ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1, 1\r\n\r\n", 400),
            ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\n", 400),
            ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x1\r\n\r\n", 400),
            ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\n", 400),
            ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\n", 400),
            ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
            ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
            ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, chunked\r\n\r\n", 400),
            ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, gzip\r\n\r\n", 400),
            ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\r\n\r\n", 400),
            ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 501),
            ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n", 501),
            ("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        ] {
            assert_eq!(status(text), expected, "{text:?}");
        }
    }

    #[test]
    fn every_limit_has_its_status() {
        let long = "a".repeat(crate::base::limits::TARGET_BYTES + 1);
        assert_eq!(status(&format!("GET /{long} HTTP/1.1\r\nHost: a\r\n\r\n")), 414);
        assert_eq!(status(&format!("GET /{long}{long}{long}")), 414);
        let wide = format!("X: {}\r\n", "a".repeat(crate::base::limits::HEAD_BYTES));
        assert_eq!(status(&format!("GET / HTTP/1.1\r\nHost: a\r\n{wide}\r\n")), 431);
        let many = "X: y\r\n".repeat(crate::base::limits::HEADER_COUNT);
        assert_eq!(status(&format!("GET / HTTP/1.1\r\nHost: a\r\n{many}\r\n")), 431);
    }

    #[test]
    fn connection_and_version_decide_about_another_request() {
        let keep = |text: &str| parse(text.as_bytes()).unwrap().1.keep_alive;
        assert!(keep("GET / HTTP/1.1\r\nHost: a\r\n\r\n"));
        assert!(!keep("GET / HTTP/1.1\r\nHost: a\r\nConnection: x, Close\r\n\r\n"));
        assert!(!keep("GET / HTTP/1.0\r\n\r\n"));
        assert!(keep("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n"));
    }
}
