//! HTTP/1 messages as the tests read them: plainly, from any byte stream, with every oddity kept visible.

use std::io::{self, BufRead, Read};

/// Header lines in order, names as received.
#[derive(Clone, Debug, Default)]
pub struct Headers(pub Vec<(String, String)>);

impl Headers {
    /// The values of every line of this name.
    pub fn all(&self, name: &str) -> Vec<&str> {
        self.0.iter().filter(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str()).collect()
    }

    /// The value of the only line of this name; a second one is a failure.
    pub fn one(&self, name: &str) -> Option<&str> {
        let all = self.all(name);
        assert!(all.len() <= 1, "{name} is there {} times: {all:?}", all.len());
        all.first().copied()
    }
}

/// How a body was framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// There is none.
    None,
    /// Content-Length.
    Length,
    /// Transfer-Encoding: chunked.
    Chunked,
    /// Until the connection closes.
    Close,
}

/// A request as an upstream received it.
#[derive(Clone, Debug)]
pub struct Request {
    /// The request line's first word.
    pub method: String,
    /// The request line's second word.
    pub target: String,
    /// The request line's third word.
    pub version: String,
    /// The header lines.
    pub headers: Headers,
    /// The body without its framing.
    pub body: Vec<u8>,
    /// How the body came.
    pub framing: Framing,
    /// Which connection of this upstream it came on, from 0.
    pub connection: usize,
}

/// A response as a client received it.
#[derive(Clone, Debug)]
pub struct Response {
    /// The status.
    pub status: u16,
    /// The status line.
    pub line: String,
    /// The header lines.
    pub headers: Headers,
    /// The body without its framing.
    pub body: Vec<u8>,
    /// How the body came.
    pub framing: Framing,
}

impl Response {
    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

fn broken(what: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.into())
}

/// A line without its CRLF. `None`: the stream ended before its first byte.
fn line(stream: &mut impl BufRead) -> io::Result<Option<String>> {
    let mut bytes = Vec::new();
    if stream.read_until(b'\n', &mut bytes)? == 0 {
        return Ok(None);
    }
    match bytes.strip_suffix(b"\r\n") {
        Some(line) => Ok(Some(String::from_utf8_lossy(line).into_owned())),
        None if bytes.ends_with(b"\n") => Err(broken("a line ends without CR")),
        None => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

fn headers(stream: &mut impl BufRead) -> io::Result<Headers> {
    let mut headers = Headers::default();
    loop {
        let line = line(stream)?.ok_or(io::ErrorKind::UnexpectedEof)?;
        if line.is_empty() {
            return Ok(headers);
        }
        let (name, value) = line.split_once(':').ok_or_else(|| broken(format!("no colon in {line:?}")))?;
        headers.0.push((name.to_owned(), value.trim().to_owned()));
    }
}

fn chunked(stream: &mut impl BufRead) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let head = line(stream)?.ok_or(io::ErrorKind::UnexpectedEof)?;
        let digits = head.split(';').next().unwrap_or_default();
        let size = usize::from_str_radix(digits, 16).map_err(|_| broken(format!("chunk size {head:?}")))?;
        if size == 0 {
            // Trailers, if there are any, are header lines.
            headers(stream)?;
            return Ok(body);
        }
        let start = body.len();
        body.resize(start + size, 0);
        stream.read_exact(&mut body[start..])?;
        if line(stream)?.as_deref() != Some("") {
            return Err(broken("a chunk does not end where it said"));
        }
    }
}

fn exactly(stream: &mut impl Read, length: usize) -> io::Result<Vec<u8>> {
    let mut body = vec![0; length];
    stream.read_exact(&mut body)?;
    Ok(body)
}

/// How the headers say that a body is framed, if they do.
fn framing(headers: &Headers) -> io::Result<Option<(Framing, usize)>> {
    if headers.one("transfer-encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked")) {
        return Ok(Some((Framing::Chunked, 0)));
    }
    let length = headers.one("content-length").map(|value| value.parse().map_err(|_| broken("Content-Length")));
    Ok(length.transpose()?.map(|length| (Framing::Length, length)))
}

/// Reads a request's head. `None`: the peer closed between two requests.
pub fn read_request_head(stream: &mut impl BufRead) -> io::Result<Option<Request>> {
    let Some(first) = line(stream)? else { return Ok(None) };
    let words: Vec<&str> = first.split(' ').collect();
    let [method, target, version] = words[..] else { return Err(broken(format!("request line {first:?}"))) };
    let headers = headers(stream)?;
    let framing = framing(&headers)?.map_or(Framing::None, |(framing, _)| framing);
    let [method, target, version] = [method, target, version].map(str::to_owned);
    Ok(Some(Request { method, target, version, headers, body: Vec::new(), framing, connection: 0 }))
}

/// Reads the body that a request's head announced.
pub fn read_request_body(stream: &mut impl BufRead, request: &mut Request) -> io::Result<()> {
    request.body = match framing(&request.headers)? {
        Some((Framing::Chunked, _)) => chunked(stream)?,
        Some((_, length)) => exactly(stream, length)?,
        None => Vec::new(),
    };
    Ok(())
}

/// Reads a response's head: its body is empty yet.
pub fn read_response_head(stream: &mut impl BufRead) -> io::Result<Response> {
    let first = line(stream)?.ok_or(io::ErrorKind::UnexpectedEof)?;
    let status = first.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)).and_then(|code| code.parse().ok());
    let status = status.ok_or_else(|| broken(format!("status line {first:?}")))?;
    let headers = headers(stream)?;
    Ok(Response { status, line: first, headers, body: Vec::new(), framing: Framing::None })
}

/// Reads the body behind a response's head. `to_head`: the request was a HEAD.
pub fn read_response_body(stream: &mut impl BufRead, response: &mut Response, to_head: bool) -> io::Result<()> {
    let has_none = to_head || matches!(response.status, 100..=199 | 204 | 304);
    if has_none {
        return Ok(());
    }
    let (framing, length) = framing(&response.headers)?.unwrap_or((Framing::Close, 0));
    response.framing = framing;
    response.body = match framing {
        Framing::Chunked => chunked(stream)?,
        Framing::Length => exactly(stream, length)?,
        Framing::Close | Framing::None => {
            let mut body = Vec::new();
            stream.read_to_end(&mut body)?;
            body
        }
    };
    Ok(())
}
