//! Messages as the two ends of a case read them: one head, then a body as long as the head says. Strict where a proxy could hide
//! something; everything is kept.

/// A head and its body.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message {
    /// The first line.
    pub line: String,
    /// Names in lower case, values trimmed.
    pub fields: Vec<(String, String)>,
    /// Without framing.
    pub body: Vec<u8>,
    /// It ended as its framing says.
    pub is_whole: bool,
    /// Trailer lines.
    pub trailers: Vec<(String, String)>,
}

impl Message {
    /// All values of a field.
    pub fn all(&self, name: &str) -> Vec<&str> {
        self.fields.iter().filter(|(found, _)| found == name).map(|(_, value)| value.as_str()).collect()
    }

    /// The status of a response.
    pub fn status(&self) -> u16 {
        self.line.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0)
    }
}

/// How a body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ends {
    /// There is none.
    Nowhere,
    /// After so many bytes.
    After(usize),
    /// With the last chunk.
    Chunked,
    /// With the connection.
    WithConnection,
}

/// What stands at the front of `bytes`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Read {
    /// Not all of it is there.
    Partial,
    /// It is no HTTP/1.1.
    Broken(String),
    /// A message and how many bytes it takes.
    Whole(Message, usize),
}

/// A head at the front of `bytes`: the message without its body, and the head's length.
pub fn head(bytes: &[u8]) -> Read {
    let Some(end) = find(bytes, b"\r\n\r\n") else { return Read::Partial };
    let text: String = bytes[..end].iter().map(|&byte| char::from(byte)).collect();
    let mut lines = text.split("\r\n");
    let line = lines.next().unwrap_or_default().to_owned();
    match lines.map(field).collect::<Result<Vec<_>, _>>() {
        Ok(fields) => Read::Whole(Message { line, fields, ..Message::default() }, end + 4),
        Err(text) => Read::Broken(text),
    }
}

fn field(line: &str) -> Result<(String, String), String> {
    let (name, value) = line.split_once(':').ok_or_else(|| format!("no colon in {line:?}"))?;
    let is_good = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic());
    if !is_good || value.contains(['\r', '\n', '\0']) {
        return Err(format!("a malformed field line {line:?}"));
    }
    Ok((name.to_ascii_lowercase(), value.trim_matches([' ', '\t']).to_owned()))
}

/// How the fields say that a body ends, `otherwise` if they do not.
pub fn ends(message: &Message, otherwise: Ends) -> Result<Ends, String> {
    let (codings, lengths) = (message.all("transfer-encoding"), message.all("content-length"));
    match (&codings[..], &lengths[..]) {
        ([], []) => Ok(otherwise),
        ([], [length]) => match length.parse() {
            Ok(length) if length_is_digits(lengths[0]) => Ok(Ends::After(length)),
            _ => Err(format!("Content-Length: {length}")),
        },
        ([coding], []) if coding.eq_ignore_ascii_case("chunked") => Ok(Ends::Chunked),
        _ => Err(format!("framed by {codings:?} and {lengths:?}")),
    }
}

fn length_is_digits(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
}

/// The body at the front of `bytes`: fills it into `message` and says how many bytes it took. `closed`: no more will come.
pub fn body(message: &mut Message, ends: Ends, bytes: &[u8], closed: bool) -> Read {
    match ends {
        Ends::Nowhere => whole(message, &[], 0),
        Ends::After(length) if bytes.len() >= length => whole(message, &bytes[..length], length),
        Ends::WithConnection if closed => whole(message, bytes, bytes.len()),
        Ends::After(_) | Ends::WithConnection => {
            message.body = bytes.to_vec();
            Read::Partial
        }
        Ends::Chunked => chunked(message, bytes),
    }
}

fn whole(message: &Message, body: &[u8], taken: usize) -> Read {
    Read::Whole(Message { body: body.to_vec(), is_whole: true, ..message.clone() }, taken)
}

fn chunked(message: &mut Message, bytes: &[u8]) -> Read {
    let mut at = 0;
    message.body.clear();
    loop {
        let Some(end) = find(&bytes[at..], b"\r\n") else { return Read::Partial };
        let line = String::from_utf8_lossy(&bytes[at..at + end]).into_owned();
        let size = match usize::from_str_radix(&line, 16) {
            Ok(size) if !line.starts_with('+') => size,
            _ => return Read::Broken(format!("chunk size {line:?}")),
        };
        at += end + 2;
        if size == 0 {
            return trailers(message, bytes, at);
        }
        let Some(data) = bytes.get(at..at + size) else { return Read::Partial };
        message.body.extend_from_slice(data);
        at += size;
        match bytes.get(at..at + 2) {
            None => return Read::Partial,
            Some(b"\r\n") => at += 2,
            Some(_) => return Read::Broken("a chunk longer than its size".to_owned()),
        }
    }
}

fn trailers(message: &mut Message, bytes: &[u8], mut at: usize) -> Read {
    let mut found = Vec::new();
    loop {
        let Some(end) = find(&bytes[at..], b"\r\n") else { return Read::Partial };
        if end == 0 {
            let body = std::mem::take(&mut message.body);
            message.trailers = found;
            return whole(message, &body, at + 2);
        }
        match field(&String::from_utf8_lossy(&bytes[at..at + end])) {
            Ok(line) => found.push(line),
            Err(text) => return Read::Broken(text),
        }
        at += end + 2;
    }
}

/// Where `what` begins in `bytes`.
pub fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}
