//! Where a response ends (RFC 9112 §6.3), for a load that counts responses and looks at nothing else. Pure.

/// Bytes of the longest head.
const HEAD_BYTES: usize = 64 * 1024;

/// What is still to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rest {
    Head,
    /// So many bytes of the body.
    Bytes(u64),
    /// A line with a chunk's size.
    ChunkSize,
    /// A chunk's bytes and the line end behind them.
    Chunk(u64),
    /// Lines behind the last chunk, up to an empty one.
    Trailers,
    /// Everything until the connection ends.
    UntilClosed,
}

/// A response that is whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Whole {
    /// Its status.
    pub status: u16,
    /// Whether the connection takes another request.
    pub stays_open: bool,
}

/// Reads one response after the other on a connection with one request under way at a time.
#[derive(Debug)]
pub struct Reader {
    rest: Rest,
    /// Of the head, or of a line.
    kept: Vec<u8>,
    whole: Whole,
}

impl Default for Reader {
    fn default() -> Self {
        Self { rest: Rest::Head, kept: Vec::new(), whole: Whole { status: 0, stays_open: true } }
    }
}

impl Reader {
    /// Takes what came. `Some` when it ends a response; what is behind one was not asked for, and is an error, like anything that is
    /// not HTTP.
    pub fn feed(&mut self, mut bytes: &[u8]) -> Result<Option<Whole>, &'static str> {
        loop {
            if self.rest == Rest::Bytes(0) {
                *self = Self { whole: self.whole, ..Self::default() };
                return if bytes.is_empty() { Ok(Some(self.whole)) } else { Err("more than was asked for") };
            }
            if bytes.is_empty() {
                return Ok(None);
            }
            match self.rest {
                Rest::UntilClosed => return Ok(None),
                Rest::Bytes(left) | Rest::Chunk(left) => {
                    let taken = left.min(bytes.len() as u64);
                    bytes = &bytes[taken as usize..];
                    self.rest = match self.rest {
                        Rest::Chunk(_) if taken == left => Rest::ChunkSize,
                        Rest::Chunk(_) => Rest::Chunk(left - taken),
                        _ => Rest::Bytes(left - taken),
                    };
                }
                Rest::Head | Rest::ChunkSize | Rest::Trailers => bytes = self.line(bytes)?,
            }
        }
    }

    /// The connection has ended: true if that ends the response as it should.
    pub fn is_ended_by_close(&self) -> bool {
        self.rest == Rest::UntilClosed
    }

    /// Takes one line, or what there is of it.
    fn line<'a>(&mut self, bytes: &'a [u8]) -> Result<&'a [u8], &'static str> {
        let end = bytes.iter().position(|byte| *byte == b'\n').map(|at| at + 1);
        self.kept.extend_from_slice(&bytes[..end.unwrap_or(bytes.len())]);
        if self.kept.len() > HEAD_BYTES {
            return Err("a head without an end");
        }
        if end.is_some() {
            self.rest = match self.rest {
                Rest::Head if self.kept.ends_with(b"\r\n\r\n") => {
                    let head = std::mem::take(&mut self.kept);
                    self.head(&head)?
                }
                Rest::Head => Rest::Head,
                Rest::ChunkSize => chunk(&std::mem::take(&mut self.kept))?,
                _ if std::mem::take(&mut self.kept) == b"\r\n" => Rest::Bytes(0),
                _ => Rest::Trailers,
            };
        }
        Ok(&bytes[end.unwrap_or(bytes.len())..])
    }

    fn head(&mut self, head: &[u8]) -> Result<Rest, &'static str> {
        let mut lines = [httparse::EMPTY_HEADER; 128];
        let mut response = httparse::Response::new(&mut lines);
        response.parse(head).map_err(|_| "not an HTTP response")?;
        let status = response.code.unwrap_or(0);
        if (100..200).contains(&status) {
            return Ok(Rest::Head);
        }
        let value = |name: &str| {
            let found = response.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name));
            found.map(|header| String::from_utf8_lossy(header.value).trim().to_ascii_lowercase())
        };
        self.whole = Whole { status, stays_open: value("connection").is_none_or(|value| value != "close") };
        if matches!(status, 204 | 304) {
            return Ok(Rest::Bytes(0));
        }
        if value("transfer-encoding").is_some_and(|value| value.ends_with("chunked")) {
            return Ok(Rest::ChunkSize);
        }
        match value("content-length") {
            Some(length) => length.parse().map(Rest::Bytes).map_err(|_| "a Content-Length that is no number"),
            None => Ok(Rest::UntilClosed),
        }
    }
}

/// What follows a line with a chunk's size.
fn chunk(line: &[u8]) -> Result<Rest, &'static str> {
    let digits = line.split(|byte| matches!(byte, b';' | b'\r' | b'\n' | b' ')).next().unwrap_or_default();
    let size = std::str::from_utf8(digits).ok().and_then(|digits| u64::from_str_radix(digits, 16).ok());
    match size {
        Some(0) => Ok(Rest::Trailers),
        // Its line end counts as part of it.
        Some(size) => size.checked_add(2).map(Rest::Chunk).ok_or("a chunk without bounds"),
        None => Err("a chunk without a size"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds it whole and byte by byte: the same must come out.
    fn read(text: &str) -> Result<Option<Whole>, &'static str> {
        let whole = Reader::default().feed(text.as_bytes());
        let mut reader = Reader::default();
        let mut last = Ok(None);
        for byte in text.as_bytes() {
            last = reader.feed(std::slice::from_ref(byte));
        }
        if whole.is_ok() {
            assert_eq!(whole, last);
        }
        whole
    }

    const OPEN: Option<Whole> = Some(Whole { status: 200, stays_open: true });

    #[test]
    fn a_response_ends_where_its_length_says() {
        assert_eq!(read("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc"), Ok(OPEN));
        assert_eq!(read("HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nab"), Ok(None));
        assert_eq!(read("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"), Ok(OPEN));
        assert!(read("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabcd").is_err());
        let closed = Whole { status: 503, stays_open: false };
        assert_eq!(read("HTTP/1.1 503 No\r\nConnection: close\r\nContent-Length: 1\r\n\r\na"), Ok(Some(closed)));
    }

    #[test]
    fn a_chunked_response_ends_with_its_trailers() {
        let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        assert_eq!(read(&format!("{head}3;x=y\r\nabc\r\nA\r\n0123456789\r\n0\r\n\r\n")), Ok(OPEN));
        assert_eq!(read(&format!("{head}3\r\nabc\r\n0\r\nA: b\r\n\r\n")), Ok(OPEN));
        assert_eq!(read(&format!("{head}3\r\nabc\r\n0\r\nA: b\r\n")), Ok(None));
        assert!(read(&format!("{head}x\r\n")).is_err());
    }

    #[test]
    fn what_comes_before_and_what_has_no_body_is_known() {
        let text = "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na";
        assert_eq!(read(text), Ok(OPEN));
        assert_eq!(read("HTTP/1.1 204 No\r\n\r\n"), Ok(Some(Whole { status: 204, stays_open: true })));
        assert!(read("SSH-2.0-a\r\n\r\n").is_err());
    }

    #[test]
    fn a_response_without_a_length_ends_with_its_connection() {
        let mut reader = Reader::default();
        assert_eq!(reader.feed(b"HTTP/1.1 200 OK\r\n\r\nabc"), Ok(None));
        assert!(reader.is_ended_by_close());
        assert!(!Reader::default().is_ended_by_close());
    }

    #[test]
    fn one_response_after_the_other_is_read() {
        let mut reader = Reader::default();
        for _ in 0..3 {
            assert_eq!(reader.feed(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na"), Ok(OPEN));
        }
    }
}
