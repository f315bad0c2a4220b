//! The request head: read once, strictly, into positions (RFC 9112 §2–§6, RFC 9110 §7). What is ambiguous is refused, so
//! that nobody behind us can see another request than the one that was routed and recorded. Bodies: see `chunked`.

use std::ops::Range;

use super::fields::{Field, Fields, Span};
use super::host;
use super::limits::{HeadLimits, METHOD_BYTES};
use super::lines::{Framing, Known, Line, Progress, field, known, run};
use super::message::{Method, Parsed, Reject, Version};
use super::reads::reads;
use super::recall::{Look, Recall, Recalled};
use super::syntax::{MAX_BODY_BYTES, content_length, is_field_value, is_target, is_token, is_token_byte, trim};
use crate::base::block;

/// How the end of a request's body is found (RFC 9112 §6.3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BodyLength {
    /// Neither Content-Length nor Transfer-Encoding: no body.
    #[default]
    None,
    /// Content-Length, in bytes; may be 0.
    Length(u64),
    /// `Transfer-Encoding: chunked`.
    Chunked,
}

/// Which form the request target has (RFC 9112 §3.2). Authority-form belongs to CONNECT, which is refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TargetForm {
    /// `/path?query`
    #[default]
    Origin,
    /// `http://host/path?query`
    Absolute,
    /// `OPTIONS *`, or `OPTIONS http://host` which means the same to an origin (RFC 9112 §3.2.4).
    Asterisk,
}

/// One request head. Reusable: [`RequestHead::clear`] keeps the memory. All spans lie in the bytes that were parsed.
#[derive(Clone, Debug, Default)]
pub struct RequestHead {
    /// The request line as received, without its CRLF.
    pub line: Span,
    /// The method's token.
    pub method: Span,
    /// The same, recognised.
    pub method_kind: Method,
    /// The request target as received, in any form.
    pub target: Span,
    /// Which form that is.
    pub form: TargetForm,
    /// The target's path, raw (still percent-encoded); for absolute-form what follows the authority, `/` if that is empty;
    /// `*` for `OPTIONS *`. Never empty. (`OPTIONS http://host` has `/` here.)
    pub path: Span,
    /// The query without its `?`, raw; `None` without a `?`, empty for a bare one.
    pub query: Option<Span>,
    /// HTTP/1.0 or 1.1.
    pub version: Version,
    /// The header lines in order, framing and hop-by-hop ones included.
    pub fields: Fields,
    /// Host and port as sent: absolute-form's authority, else the Host field (RFC 9112 §3.2.2). Empty only if a 1.0 request has none.
    pub authority: Span,
    /// Its host without the port, case as sent, brackets kept around IPv6.
    pub host: Span,
    /// Its port, 1–65535.
    pub host_port: Option<u16>,
    /// How the body ends.
    pub body: BodyLength,
    /// True if the client wants to send another request after this one (RFC 9112 §9.3).
    pub keep_alive: bool,
    /// True if the client waits for a 100 before it sends the body (RFC 9110 §10.1.1); false without a body and on 1.0.
    pub expect_continue: bool,
    /// The Upgrade field's value if a 1.1 request without a body nominates it in Connection (RFC 9110 §7.8).
    pub upgrade: Option<Span>,
    /// Max-Forwards of TRACE and OPTIONS: at 0 the request ends here (RFC 9110 §7.6.2). Of other methods it is a field like any other.
    pub max_forwards: Option<u64>,
    /// Bytes of the head with its blank line, and with the empty line that may come before it (RFC 9112 §2.2).
    pub len: usize,
    progress: Progress,
    pub(super) framing: Framing,
    has_host: bool,
    expects: bool,
    expects_other: bool,
}

impl RequestHead {
    /// Ready for another head; keeps the memory.
    pub fn clear(&mut self) {
        let mut fields = std::mem::take(&mut self.fields);
        fields.clear();
        *self = Self { fields, ..Self::default() };
    }

    /// Takes over what the field lines at the end of `other`, `len` bytes of it, said: they are the same bytes as those that begin at
    /// `progress.at`. False, and nothing is done, if they are too many or too long for this head.
    fn adopt(&mut self, other: &Self, len: usize, limits: &HeadLimits) -> bool {
        let at = self.progress.at;
        let end = at + len;
        if end > limits.head_bytes || other.fields.len() > limits.header_count {
            return false;
        }
        let by = (end as u32).wrapping_sub(other.len as u32);
        self.fields.copy_from(&other.fields, by);
        self.framing = Framing { upgrade: other.framing.upgrade.map(|value| value.moved(by)), ..other.framing };
        (self.has_host, self.expects, self.expects_other) = (other.has_host, other.expects, other.expects_other);
        if other.has_host {
            (self.authority, self.host) = (other.authority.moved(by), other.host.moved(by));
            self.host_port = other.host_port;
        }
        (self.progress, self.len) = (Progress::read_to(end), end);
        true
    }

    /// True if the client asks for a WebSocket (RFC 6455 §4.1): the only upgrade that is ever passed on, because another one
    /// (`h2c`) would hide requests from the gateway.
    pub fn asks_websocket(&self, bytes: &[u8]) -> bool {
        self.upgrade.is_some_and(|value| value.of(bytes).eq_ignore_ascii_case(b"websocket"))
    }
}

/// Reads a request head from the start of `bytes`. Call it with a cleared `head`; after [`Parsed::Partial`] with the same
/// `head` and the same bytes with more behind them (the buffer may have moved). Work is linear in the bytes, however they
/// arrive, and any split gives the same answer. After an error or [`Parsed::Complete`], clear before the next use.
pub fn parse_request(bytes: &[u8], limits: &HeadLimits, head: &mut RequestHead) -> Result<Parsed, Reject> {
    if !head.progress.in_fields && read_request_line(bytes, limits, head)? == Parsed::Partial {
        return Ok(Parsed::Partial);
    }
    read_fields(bytes, limits, head)
}

/// The same, with the help of what came before: field lines that are known, all of them and whole, are not read again.
pub fn recall_request(
    bytes: &[u8],
    limits: &HeadLimits,
    head: &mut RequestHead,
    recall: &mut Recall<RequestHead>,
    recalled: &mut Recalled<RequestHead>,
) -> Result<Parsed, Reject> {
    recalled.clear();
    if head.progress.in_fields {
        return read_fields(bytes, limits, head);
    }
    if read_request_line(bytes, limits, head)? == Parsed::Partial {
        return Ok(Parsed::Partial);
    }
    let at = head.progress.at;
    // What the lines mean then depends on the request line.
    if head.form != TargetForm::Origin || matches!(head.method_kind, Method::Trace | Method::Options) {
        return read_fields(bytes, limits, head);
    }
    match recall.look(&bytes[at..]) {
        Look::Known(known) if head.adopt(&known.head, known.len(), limits) => {
            recalled.know(Some(known));
            conclude(bytes, head)?;
            Ok(Parsed::Complete)
        }
        Look::Unknown(unknown) => {
            let parsed = read_fields(bytes, limits, head)?;
            if parsed == Parsed::Complete {
                recall.note(unknown, &bytes[at..], head);
            }
            Ok(parsed)
        }
        Look::Known(_) | Look::Nothing => read_fields(bytes, limits, head),
    }
}

fn read_fields(bytes: &[u8], limits: &HeadLimits, head: &mut RequestHead) -> Result<Parsed, Reject> {
    loop {
        while let Some(field) = head.progress.ordinary_field(bytes, limits.head_bytes) {
            take_field(bytes, field, limits, head)?;
        }
        match head.progress.line(bytes, limits.head_bytes)? {
            Line::Partial => return Ok(Parsed::Partial),
            Line::TooLong => return Err(Reject::with(431, "the head is too long")),
            Line::Whole(line) if line.is_empty() => break,
            Line::Whole(line) => take_field(bytes, field(bytes, line)?, limits, head)?,
        }
    }
    head.len = head.progress.at;
    conclude(bytes, head)?;
    Ok(Parsed::Complete)
}

/// Reads the request line, after at most one empty line (RFC 9112 §2.2). Says `Complete` once it stands.
fn read_request_line(bytes: &[u8], limits: &HeadLimits, head: &mut RequestHead) -> Result<Parsed, Reject> {
    loop {
        let start = head.progress.at;
        let Some(&first) = bytes.get(start) else { return Ok(Parsed::Partial) };
        if !(is_token_byte(first) || (first == b'\r' && start == 0)) {
            // A TLS handshake or garbage need not be waited out.
            return Err(Reject::bad("no method"));
        }
        let longest = METHOD_BYTES + limits.target_bytes + " ".len() + " HTTP/1.1\r\n".len();
        match head.progress.line(bytes, limits.head_bytes.min(start + longest))? {
            Line::Partial => return Ok(Parsed::Partial),
            Line::TooLong => return Err(Reject::with(414, "the request line is too long")),
            Line::Whole(line) if line.is_empty() => {}
            Line::Whole(line) => {
                head.progress.in_fields = true;
                take_request_line(bytes, line, limits, head)?;
                return Ok(Parsed::Complete);
            }
        }
    }
}

fn take_request_line(
    bytes: &[u8],
    line: Range<usize>,
    limits: &HeadLimits,
    head: &mut RequestHead,
) -> Result<(), Reject> {
    let text = &bytes[line.clone()];
    let is_space = |byte: &u8| *byte == b' ';
    let method_len = text.iter().position(is_space).ok_or(Reject::bad("a request line of one word"))?;
    let (method, rest) = (&text[..method_len], &text[method_len + 1..]);
    // Up to the first byte that cannot stand in one; where that is not the space, it is found again for the answer.
    let is_clean = |len: &usize| rest.get(*len).is_some_and(is_space);
    let clean_len = run(rest, block::untargeted).filter(is_clean);
    let target_len =
        clean_len.or_else(|| rest.iter().position(is_space)).ok_or(Reject::bad("a request line without a version"))?;
    let (target, version) = (&rest[..target_len], &rest[target_len + 1..]);
    if !is_token(method) {
        return Err(Reject::bad("the method is no token"));
    }
    if method_len > METHOD_BYTES {
        return Err(Reject::with(501, "the method is too long"));
    }
    if target.is_empty() || clean_len.is_none() {
        return Err(Reject::bad("a character in the target that must be escaped"));
    }
    head.version = read_version(version)?;
    if target_len > limits.target_bytes {
        return Err(Reject::with(414, "the target is too long"));
    }
    head.line = Span::new(line.start, line.end);
    head.method = Span::new(line.start, line.start + method_len);
    head.method_kind = Method::from_name(method);
    let target_start = line.start + method_len + 1;
    head.target = Span::new(target_start, target_start + target_len);
    take_target(target, target_start, head)
}

fn read_version(text: &[u8]) -> Result<Version, Reject> {
    match text {
        b"HTTP/1.1" => Ok(Version::Http11),
        b"HTTP/1.0" => Ok(Version::Http10),
        [b'H', b'T', b'T', b'P', b'/', major, b'.', minor] if major.is_ascii_digit() && minor.is_ascii_digit() => {
            Err(Reject::with(505, "a version other than 1.0 and 1.1"))
        }
        _ => Err(Reject::bad("no HTTP version")),
    }
}

/// Tells the four forms apart (RFC 9112 §3.2). `start` is the target's offset in the head.
fn take_target(target: &[u8], start: usize, head: &mut RequestHead) -> Result<(), Reject> {
    if head.method_kind == Method::Connect {
        return Err(Reject::with(405, "CONNECT to a gateway"));
    }
    let path_start = match target {
        [b'/', ..] => 0,
        b"*" if head.method_kind == Method::Options => {
            head.form = TargetForm::Asterisk;
            head.path = head.target;
            return Ok(());
        }
        b"*" => return Err(Reject::bad("* with another method than OPTIONS")),
        _ => take_authority(target, start, head)?,
    };
    let query = memchr::memchr(b'?', &target[path_start..]).map(|found| path_start + found);
    head.query = query.map(|mark| Span::new(start + mark + 1, start + target.len()));
    let path_end = query.unwrap_or(target.len());
    if path_end > path_start {
        head.path = Span::new(start + path_start, start + path_end);
        return Ok(());
    }
    // `http://host`: the path is `/`, and there is one in `://`.
    let slash = memchr::memchr(b'/', target).unwrap_or_default();
    head.path = Span::new(start + slash, start + slash + 1);
    if head.method_kind == Method::Options && query.is_none() {
        head.form = TargetForm::Asterisk;
    }
    Ok(())
}

/// Reads scheme and authority of absolute-form and says where the path begins.
fn take_authority(target: &[u8], start: usize, head: &mut RequestHead) -> Result<usize, Reject> {
    let scheme_len = [&b"http://"[..], b"https://"]
        .into_iter()
        .find(|scheme| target.len() > scheme.len() && target[..scheme.len()].eq_ignore_ascii_case(scheme))
        .map(<[u8]>::len)
        .ok_or(Reject::bad("a target that is neither a path nor an http URI"))?;
    let rest = &target[scheme_len..];
    let len = memchr::memchr2(b'/', b'?', rest).unwrap_or(rest.len());
    head.form = TargetForm::Absolute;
    set_host(&rest[..len], start + scheme_len, head)?;
    Ok(scheme_len + len)
}

fn set_host(authority: &[u8], start: usize, head: &mut RequestHead) -> Result<(), Reject> {
    let (host_len, port) = host::split(authority).ok_or(Reject::bad("a malformed host"))?;
    head.authority = Span::new(start, start + authority.len());
    head.host = Span::new(start, start + host_len);
    head.host_port = port;
    Ok(())
}

fn take_field(bytes: &[u8], field: Field, limits: &HeadLimits, head: &mut RequestHead) -> Result<(), Reject> {
    if head.fields.len() == limits.header_count {
        return Err(Reject::with(431, "too many header lines"));
    }
    head.fields.push(field);
    match known(field.name.of(bytes)) {
        Known::Host => take_host(bytes, field, head),
        Known::Expect => {
            head.expects = true;
            head.expects_other |= !field.value.of(bytes).eq_ignore_ascii_case(b"100-continue");
            Ok(())
        }
        Known::MaxForwards => take_max_forwards(field.value.of(bytes), head),
        Known::Disguised => Err(Reject::bad("a framing field spelt with an underscore")),
        known => head.framing.take(known, field, bytes),
    }
}

fn take_host(bytes: &[u8], field: Field, head: &mut RequestHead) -> Result<(), Reject> {
    if std::mem::replace(&mut head.has_host, true) {
        return Err(Reject::bad("Host is repeated"));
    }
    let value = field.value.of(bytes);
    if head.authority.is_empty() {
        return set_host(value, field.value.start as usize, head);
    }
    // Absolute-form decides; the field is dropped (RFC 9112 §3.2.2), but must still be one.
    host::split(value).map(|_| ()).ok_or(Reject::bad("a malformed host"))
}

/// A number that is larger than ours is as good as ours (RFC 9110 §7.6.2); two of them, or none, would be read differently.
fn take_max_forwards(value: &[u8], head: &mut RequestHead) -> Result<(), Reject> {
    if !matches!(head.method_kind, Method::Trace | Method::Options) {
        return Ok(());
    }
    if head.max_forwards.is_some() || value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return Err(Reject::bad("Max-Forwards is not one number"));
    }
    head.max_forwards = Some(content_length(value).unwrap_or(MAX_BODY_BYTES));
    Ok(())
}

/// What all lines together mean.
fn conclude(bytes: &[u8], head: &mut RequestHead) -> Result<(), Reject> {
    let framing = head.framing;
    let is_11 = head.version == Version::Http11;
    if is_11 && !head.has_host {
        return Err(Reject::bad("no Host"));
    }
    framing.check()?;
    if framing.chunked && !is_11 {
        return Err(Reject::bad("Transfer-Encoding in HTTP/1.0"));
    }
    if is_11 && head.expects_other {
        return Err(Reject::with(417, "an expectation other than 100-continue"));
    }
    head.body = match framing.length {
        Some(length) => BodyLength::Length(length),
        None if framing.chunked => BodyLength::Chunked,
        None => BodyLength::None,
    };
    let has_body = !matches!(head.body, BodyLength::None | BodyLength::Length(0));
    if has_body && head.method_kind == Method::Trace {
        return Err(Reject::bad("TRACE with a body"));
    }
    head.keep_alive = !framing.close && (is_11 || framing.keep_alive);
    head.expect_continue = is_11 && head.expects && has_body;
    // With a body it would not be clear in which protocol that is written; ignoring Upgrade is always allowed.
    let upgrades = is_11 && framing.upgrades && !has_body;
    head.upgrade = framing.upgrade.filter(|value| upgrades && !value.of(bytes).is_empty());
    Ok(())
}

/// For fuzzing: whatever the bytes are, no panic; any split gives the same answer; what is accepted keeps its promises.
#[doc(hidden)]
pub fn fuzz_request(bytes: &[u8]) {
    let limits = HeadLimits { head_bytes: 4096, header_count: 16, target_bytes: 1024 };
    let mut whole = RequestHead::default();
    let answer = parse_request(bytes, &limits, &mut whole);
    let mut pieces = RequestHead::default();
    let mut answers = reads(bytes).map(|end| parse_request(&bytes[..end], &limits, &mut pieces));
    let piecewise = answers.find(|answer| *answer != Ok(Parsed::Partial)).unwrap_or(Ok(Parsed::Partial));
    assert_eq!(answer, piecewise);
    fuzz_recall(bytes, &limits, answer, &whole);
    // A blank line before the request line is no part of the head.
    assert!(answer != Ok(Parsed::Partial) || bytes.len() <= limits.head_bytes + 4);
    if answer != Ok(Parsed::Complete) {
        return;
    }
    assert_eq!(format!("{whole:?}"), format!("{pieces:?}"));
    assert!(whole.len <= bytes.len() && bytes[..whole.len].ends_with(b"\r\n\r\n"));
    assert!(is_token(whole.method.of(bytes)) && !whole.path.is_empty() && is_target(whole.target.of(bytes)));
    assert!(whole.len <= limits.head_bytes && whole.fields.len() <= limits.header_count);
    assert!(whole.version == Version::Http10 || !whole.host.is_empty());
    for (name, value) in whole.fields.iter(bytes) {
        assert!(is_token(name) && is_field_value(value) && trim(value).len() == value.len());
    }
    let framed = |name| whole.fields.all(bytes, name).count();
    assert!(framed(b"content-length") + framed(b"transfer-encoding") <= 1 && framed(b"host") <= 1);
}

/// Also where the same lines came before, after this request line or another one, the answer is the same.
fn fuzz_recall(bytes: &[u8], limits: &HeadLimits, answer: Result<Parsed, Reject>, whole: &RequestHead) {
    let line_end = memchr::memchr(b'\n', bytes).map_or(bytes.len(), |feed| feed + 1);
    let after_another = [b"GET /another?target HTTP/1.1\r\n", &bytes[line_end..]].concat();
    for first in [bytes, &after_another] {
        let (mut recall, mut recalled) = (Recall::default(), Recalled::default());
        for _ in 0..3 {
            let _ = recall_request(first, limits, &mut RequestHead::default(), &mut recall, &mut recalled);
        }
        let mut head = RequestHead::default();
        assert_eq!(recall_request(bytes, limits, &mut head, &mut recall, &mut recalled), answer);
        assert!(answer != Ok(Parsed::Complete) || format!("{head:?}") == format!("{whole:?}"));
    }
}

#[cfg(test)]
#[path = "request_tests.rs"]
mod tests;
