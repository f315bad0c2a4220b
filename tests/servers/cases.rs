//! What is sent: requests of which one server or another is known to read more, or other ones, than the client sent. `^` stands for
//! the number of the case in three digits, so that each request that is seen can be laid at its case's door.

/// What a server behind the gateway may see of a case.
#[derive(Clone, Debug)]
pub enum Expected {
    /// These requests, each once and in order: they are good ones.
    Exactly(Vec<Sent>),
    /// The first of these, or some more, or none: the gateway or the server may refuse.
    AtMost(Vec<Sent>),
}

/// A request that the client sent: method, target, body.
pub type Sent = (String, String, String);

/// One connection of a client.
#[derive(Clone, Debug)]
pub struct Case {
    /// All that it sends.
    pub bytes: Vec<u8>,
    /// What may be seen of it.
    pub expected: Expected,
}

/// A second request that a reader who ends the first one too early would find.
const HIDDEN: &str = "GET /^/hidden HTTP/1.1\r\nHost: test\r\n\r\n";

fn sent(method: &str, target: &str, body: &str) -> Sent {
    (method.to_owned(), target.to_owned(), body.to_owned())
}

fn case(bytes: impl AsRef<[u8]>, expected: Expected) -> Case {
    Case { bytes: bytes.as_ref().to_vec(), expected }
}

/// Nothing of it may be seen.
fn nothing(bytes: impl AsRef<[u8]>) -> Case {
    case(bytes, Expected::AtMost(Vec::new()))
}

/// The length of a text once the number stands in it.
fn sent_len(text: &str) -> usize {
    text.len() + 2 * text.matches('^').count()
}

/// All cases.
pub fn all() -> Vec<Case> {
    [codings(), lengths(), chunks(), lines(), targets(), fields(), pipelines(), versions()].concat()
}

/// Transfer-Encoding as it should not be, with and without a length that covers what follows.
fn codings() -> Vec<Case> {
    let spellings: [&[u8]; 46] = [
        b"Transfer-Encoding : chunked",
        b"Transfer-Encoding\t: chunked",
        b" Transfer-Encoding: chunked",
        b"\tTransfer-Encoding: chunked",
        b"Transfer-Encoding:\r\n chunked",
        b"Transfer-Encoding: \r\n\tchunked",
        b"X: y\r\n Transfer-Encoding: chunked",
        b"X: y\nTransfer-Encoding: chunked",
        b"X: y\rTransfer-Encoding: chunked",
        b"X: y\0Transfer-Encoding: chunked",
        b"Transfer-Encoding: chunked\n",
        b"Transfer-Encoding: \x0bchunked",
        b"Transfer-Encoding: \x0cchunked",
        b"Transfer-Encoding:\x0bchunked",
        b"Transfer-Encoding: chunked\x0b",
        b"Transfer-Encoding: chunked\0",
        b"Transfer-Encoding: \0chunked",
        b"Transfer-Encoding: \xa0chunked",
        b"Transfer-Encoding: chunked\xff",
        b"Transfer-Encoding: xchunked",
        b"Transfer-Encoding: chunkedx",
        b"Transfer-Encoding: chunke",
        b"Transfer-Encoding: \"chunked\"",
        b"Transfer-Encoding: 'chunked'",
        b"Transfer-Encoding: chunked;",
        b"Transfer-Encoding: chunked;q=0.5",
        b"Transfer-Encoding: chunked, identity",
        b"Transfer-Encoding: identity, chunked",
        b"Transfer-Encoding: identity",
        b"Transfer-Encoding: gzip",
        b"Transfer-Encoding: gzip, chunked",
        b"Transfer-Encoding: chunked, gzip",
        b"Transfer-Encoding: chunked, chunked",
        b"Transfer-Encoding: chunked,",
        b"Transfer-Encoding: ,chunked",
        b"Transfer-Encoding: chunked chunked",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
        b"Transfer-Encoding: identity\r\nTransfer-Encoding: chunked",
        b"Transfer-Encoding: \r\nTransfer-Encoding: chunked",
        b"Transfer-Encoding: ",
        b"Transfer-Encoding: none",
        b"Transfer_Encoding: chunked",
        b"Transfer Encoding: chunked",
        b"Transfer\xadEncoding: chunked",
        b"Transfer-Encoding",
    ];
    let rest = format!("0\r\n\r\n{HIDDEN}");
    let length = format!("Content-Length: {}", sent_len(&rest));
    let mut cases = Vec::new();
    for spelling in spellings {
        for fields in [&[spelling] as &[&[u8]], &[spelling, length.as_bytes()], &[length.as_bytes(), spelling]] {
            cases.push(nothing(post(fields, &rest)));
        }
    }
    // Both, as RFC 9112 §6.3 tells to distrust them.
    for coding in ["chunked", "Chunked", "\tchunked", "chunked "] {
        let coding = format!("Transfer-Encoding: {coding}");
        cases.push(nothing(post(&[coding.as_bytes(), length.as_bytes()], &rest)));
        cases.push(nothing(post(&[length.as_bytes(), coding.as_bytes()], &rest)));
        cases.push(nothing(post(&[b"Content-Length: 0", coding.as_bytes()], &rest)));
        // Alone it is a good one, and so is the next request.
        cases.push(case(
            post(&[coding.as_bytes()], &rest),
            Expected::Exactly(vec![sent("POST", "/^/first", ""), sent("GET", "/^/hidden", "")]),
        ));
    }
    cases
}

fn post(fields: &[&[u8]], rest: &str) -> Vec<u8> {
    let mut bytes = b"POST /^/first HTTP/1.1\r\nHost: test\r\n".to_vec();
    for field in fields {
        bytes.extend_from_slice(field);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(b"\r\n");
    bytes.extend_from_slice(rest.as_bytes());
    bytes
}

/// Content-Length as it should not be.
fn lengths() -> Vec<Case> {
    let rest = format!("hello{HIDDEN}");
    let bad: [&[u8]; 34] = [
        b"Content-Length: +5",
        b"Content-Length: -5",
        b"Content-Length: -0",
        b"Content-Length: 5.0",
        b"Content-Length: 5e0",
        b"Content-Length: 0x5",
        b"Content-Length: 5h",
        b"Content-Length: h5",
        b"Content-Length: 5 5",
        b"Content-Length: 5;",
        b"Content-Length: 5, 6",
        b"Content-Length: 6, 5",
        b"Content-Length: 5,",
        b"Content-Length: ,5",
        b"Content-Length: \"5\"",
        b"Content-Length: 5_0",
        b"Content-Length: 5\0",
        b"Content-Length: \x0b5",
        b"Content-Length: \xd9\xa5",
        b"Content-Length: ",
        b"Content-Length",
        b"Content-Length : 5",
        b"Content-Length\t: 5",
        b" Content-Length: 5",
        b"Content-Length:\r\n 5",
        b"X: y\nContent-Length: 5",
        b"X: y\rContent-Length: 5",
        b"Content-Length: 5\r\nContent-Length: 6",
        b"Content-Length: 0\r\nContent-Length: 5",
        b"Content-Length: 5\r\nContent_Length: 0",
        b"Content_Length: 5",
        b"Content Length: 5",
        b"Content-Length: 18446744073709551621",
        b"Content-Length: 99999999999999999999999999999999",
    ];
    let mut cases: Vec<Case> = bad.iter().map(|field| nothing(post(&[field], &rest))).collect();
    for good in ["5", "05", "0000000000005", "\t5", "5 ", " \t 5 \t "] {
        let field = format!("Content-Length: {good}");
        cases.push(case(
            post(&[field.as_bytes()], &rest),
            Expected::Exactly(vec![sent("POST", "/^/first", "hello"), sent("GET", "/^/hidden", "")]),
        ));
    }
    // The same length twice may be refused or taken as one (RFC 9112 §6.3).
    for same in
        ["Content-Length: 5\r\nContent-Length: 5", "Content-Length: 5, 5", "Content-Length: 5\r\nContent-Length: 05"]
    {
        let two = vec![sent("POST", "/^/first", "hello"), sent("GET", "/^/hidden", "")];
        cases.push(case(post(&[same.as_bytes()], &rest), Expected::AtMost(two)));
    }
    // GET and others with a body, which must not become a request.
    for method in ["GET", "DELETE", "OPTIONS", "PUT", "PATCH"] {
        let head =
            format!("{method} /^/first HTTP/1.1\r\nHost: test\r\nContent-Length: {}\r\n\r\n{HIDDEN}", sent_len(HIDDEN));
        cases.push(case(head, Expected::Exactly(vec![sent(method, "/^/first", HIDDEN)])));
    }
    cases
}

/// Chunked bodies as they should not be, and odd ones that are good.
fn chunks() -> Vec<Case> {
    let bad = [
        "+5\r\nhello\r\n0\r\n\r\n",
        "-5\r\nhello\r\n0\r\n\r\n",
        "0x5\r\nhello\r\n0\r\n\r\n",
        "5h\r\nhello\r\n0\r\n\r\n",
        "5 5\r\nhello\r\n0\r\n\r\n",
        "5_\r\nhello\r\n0\r\n\r\n",
        "5\0\r\nhello\r\n0\r\n\r\n",
        " 5\r\nhello\r\n0\r\n\r\n",
        "\r\n5\r\nhello\r\n0\r\n\r\n",
        "5\nhello\r\n0\r\n\r\n",
        "5\rhello\r\n0\r\n\r\n",
        "5\r\r\nhello\r\n0\r\n\r\n",
        "5\r\nhello\n0\r\n\r\n",
        "5\r\nhello0\r\n\r\n",
        "5\r\nhelloX\r\n0\r\n\r\n",
        "5\r\nhello\r\r\n0\r\n\r\n",
        "5\r\nhello\r\n\r\n0\r\n\r\n",
        "4\r\nhello\r\n0\r\n\r\n",
        "5\r\nhello\r\n0\n\r\n",
        "5\r\nhello\r\n0\r\n\n",
        "5\r\nhello\r\n0\r\n\r",
        "5\r\nhello\r\n0\n\n",
        "5\r\nhello\r\n-0\r\n\r\n",
        "5\r\nhello\r\n0x0\r\n\r\n",
        "5;\nhello\r\n0\r\n\r\n",
        "5;a\nb\r\nhello\r\n0\r\n\r\n",
        "5;a\rb\r\nhello\r\n0\r\n\r\n",
        "5;a=\"\r\n\"\r\nhello\r\n0\r\n\r\n",
        "5;a=\"b\nc\"\r\nhello\r\n0\r\n\r\n",
        "5;\0\r\nhello\r\n0\r\n\r\n",
        "10000000000000005\r\nhello\r\n0\r\n\r\n",
        "fffffffffffffffff\r\nhello\r\n0\r\n\r\n",
        "00000000000000000000000000000005\r\nhello\r\n0\r\n\r\n",
        "\r\n\r\n",
        ";\r\n\r\n",
        "0\r\n X: y\r\n\r\n",
        "0\r\nX : y\r\n\r\n",
        "0\r\nX\r\n\r\n",
        "0\r\nX: y\n\r\n",
        "0\r\nX: y\n\n",
        "0\r\nX: \0\r\n\r\n",
        "0\r\nContent-Length: 50\r\n\r\n",
        "0\r\nTransfer-Encoding: chunked\r\n\r\n",
        "0\r\nTransfer_Encoding: chunked\r\n\r\n",
        "0\r\nHost: other\r\n\r\n",
    ];
    let head = "POST /^/first HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n";
    // The gateway may have passed on the head before it saw the bad chunk; then the server waits for a body that does not end.
    let mut cases: Vec<Case> = bad.iter().map(|body| nothing(format!("{head}{body}{HIDDEN}"))).collect();
    let good = [
        ("5\r\nhello\r\n0\r\n\r\n", "hello"),
        ("05\r\nhello\r\n00\r\n\r\n", "hello"),
        ("1\r\nh\r\n4\r\nello\r\n0\r\n\r\n", "hello"),
        ("5;a\r\nhello\r\n0;b=c\r\n\r\n", "hello"),
        ("5;a=\"0;b\"\r\nhello\r\n0\r\n\r\n", "hello"),
        ("5 ; a = b\r\nhello\r\n0\r\n\r\n", "hello"),
        ("A\r\n0\r\n\r\nGET /\r\n0\r\n\r\n", "0\r\n\r\nGET /"),
        ("a\r\n0\r\n\r\nGET /\r\n0\r\n\r\n", "0\r\n\r\nGET /"),
        ("0\r\nX-Sum: 7\r\n\r\n", ""),
        ("5\r\nhello\r\n0\r\nX-Sum: 7\r\nX-More:\r\n\r\n", "hello"),
    ];
    for (body, read) in good {
        cases.push(case(
            format!("{head}{body}{HIDDEN}"),
            Expected::Exactly(vec![sent("POST", "/^/first", read), sent("GET", "/^/hidden", "")]),
        ));
    }
    cases
}

/// Request lines as they should not be.
fn lines() -> Vec<Case> {
    let bad: [&[u8]; 33] = [
        b"GET  /^/first HTTP/1.1",
        b"GET\t/^/first HTTP/1.1",
        b"GET\x0b/^/first HTTP/1.1",
        b" GET /^/first HTTP/1.1",
        b"\tGET /^/first HTTP/1.1",
        b"GET /^/first  HTTP/1.1",
        b"GET /^/first\tHTTP/1.1",
        b"GET /^/first HTTP/1.1 ",
        b"GET /^/first HTTP/1.1\t",
        b"GET /^/first HTTP/1.1\r",
        b"GET /^/first HTTP/1.1\nX: y",
        b"GET /^/first HTTP/1.1\rX: y",
        b"GET /^/first HTTP/1.1 HTTP/1.1",
        b"GET /^/first /^/hidden HTTP/1.1",
        b"GET /^/first",
        b"GET /^/first HTTP/",
        b"GET /^/first HTTP/1",
        b"GET /^/first HTTP/1.1.1",
        b"GET /^/first HTTP/1.10",
        b"GET /^/first HTTP/01.1",
        b"GET /^/first HTTP/0.9",
        b"GET /^/first HTTP/2.0",
        b"GET /^/first http/1.1",
        b"GET /^/first HTTPS/1.1",
        b"GET /^/first ICE/1.1",
        b"G\0T /^/first HTTP/1.1",
        b"G(T /^/first HTTP/1.1",
        b"GET: /^/first HTTP/1.1",
        b"GET HTTP/1.1",
        b"GET",
        b"/^/first HTTP/1.1",
        b"CONNECT /^/first HTTP/1.1",
        b"CONNECT test:80 HTTP/1.1",
    ];
    let tail = format!("\r\nHost: test\r\n\r\n{HIDDEN}");
    bad.iter().map(|line| nothing([line, tail.as_bytes()].concat())).collect()
}

/// Targets: bad ones, and odd ones that must arrive as they were sent.
fn targets() -> Vec<Case> {
    let bad: [&[u8]; 21] = [
        b"^/first",
        b"/^/fi\0rst",
        b"/^/fi\rrst",
        b"/^/fi\x7frst",
        b"/^/fi rst",
        b"/^/first\\\x01",
        b"?/^/first",
        b"http:/^/first",
        b"http:///^/first",
        b"ftp://test/^/first",
        b"http://user@test/^/first",
        b"http://test:x/^/first",
        b"http://test:99999/^/first",
        b"http://te st/^/first",
        b"http://[::1/^/first",
        b"http://test\\/^/first",
        b"http://,/^/first",
        b"*",
        b"*/^/first",
        b"/^/first#part",
        b"/^/%zz",
    ];
    let mut cases = Vec::new();
    for target in bad {
        let bytes = [b"GET ", target, b" HTTP/1.1\r\nHost: test\r\n\r\n", HIDDEN.as_bytes()].concat();
        cases.push(nothing(bytes));
    }
    let good = [
        ("/^/a%20b", "/^/a%20b"),
        ("/^/%2e%2e/x", "/^/%2e%2e/x"),
        ("/^/a/../b", "/^/a/../b"),
        ("/^//a", "/^//a"),
        ("//test/^/a", "//test/^/a"),
        ("/^/./a", "/^/./a"),
        ("/^/a%2Fb", "/^/a%2Fb"),
        ("/^/a%3Fb", "/^/a%3Fb"),
        ("/^/a%23b", "/^/a%23b"),
        ("/^/a%25%32%46", "/^/a%25%32%46"),
        ("/^/a%0d%0aX:%20y", "/^/a%0d%0aX:%20y"),
        ("/^/%C3%A4", "/^/%C3%A4"),
        ("/^/a;b=c", "/^/a;b=c"),
        ("/^/a?", "/^/a?"),
        ("/^/a?b?c", "/^/a?b?c"),
        ("/^/a?b=%20HTTP/1.1%0d%0a", "/^/a?b=%20HTTP/1.1%0d%0a"),
        ("/^/a?/../..", "/^/a?/../.."),
        ("/^/!$&'()*+,:@~", "/^/!$&'()*+,:@~"),
        ("/^/a?b=http://other/", "/^/a?b=http://other/"),
        ("http://test/^/a", "/^/a"),
        ("http://other:81/^/a?b", "/^/a?b"),
        ("HTTP://test/^/a", "/^/a"),
    ];
    for (target, read) in good {
        cases.push(case(
            format!("GET {target} HTTP/1.1\r\nHost: test\r\n\r\n{HIDDEN}"),
            Expected::Exactly(vec![sent("GET", read, ""), sent("GET", "/^/hidden", "")]),
        ));
    }
    cases
}

/// Field lines: bad ones, and good ones that could be taken for framing.
fn fields() -> Vec<Case> {
    let hidden_length = format!("Content-Length: {}", sent_len(HIDDEN));
    let bad: [&[u8]; 28] = [
        b"X: a\nY: b",
        b"X: a\rY: b",
        b"X: a\0b",
        b"X: a\x08b",
        b"X: a\x7fb",
        b"X: a\r\n b",
        b"X : a",
        b"X\t: a",
        b"X\0: a",
        b": a",
        b"X",
        b"X Y: a",
        b"X(: a",
        b"\xff: a",
        b"Host: test",
        b"Host: other",
        b"host : other",
        b"Host:",
        b" Host: other",
        b"Expect: 100-continue, more",
        b"Expect: something",
        b"X: a\r\n\rY: b",
        b"X: a\n\nGET /^/hidden HTTP/1.1\nHost: test\n",
        b"X: a\n\r\nGET /^/hidden HTTP/1.1\r\nHost: test",
        b"X: a\r\n\n",
        b"X: a\r\r\n",
        b"GET /^/hidden HTTP/1.1\r\nX: y",
        b"\r",
    ];
    let mut cases: Vec<Case> = bad.iter().map(|field| nothing(get(field, HIDDEN))).collect();
    // No second request here: the connection may be ended after the answer.
    let one = || Expected::Exactly(vec![sent("GET", "/^/first", "")]);
    for field in [
        "Connection: close",
        "Connection: close, X-A\r\nX-A: b",
        "Connection: Host, close",
        "Connection: close, Content-Length, Transfer-Encoding",
        "Connection: close, upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__",
        "Connection: close, X-Forwarded-For, X-Real-IP",
    ] {
        cases.push(case(get(field.as_bytes(), ""), one()));
    }
    // Upgrades that are not passed on: what follows is the next request.
    let two = || Expected::Exactly(vec![sent("GET", "/^/first", ""), sent("GET", "/^/hidden", "")]);
    for field in [
        "X:",
        "X: \t ",
        "X: \u{e4}",
        "TE: trailers",
        "Trailer: Content-Length",
        "X_Forwarded_For: 1.1.1.1",
        "Connection: keep-alive, Content-Length",
        "Connection: upgrade\r\nUpgrade: h2c",
        "Connection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        "Proxy-Connection: close",
        "Keep-Alive: timeout=0",
        "X-HTTP-Method-Override: DELETE",
        "Content-Type: multipart/form-data",
        "Content-Encoding: chunked",
        "X-Content-Length: 5",
        "Content-Length-X: 5",
        "TransferEncoding: chunked",
        "ContentLength: 5",
    ] {
        cases.push(case(get(field.as_bytes(), HIDDEN), two()));
    }
    // A length that Connection would have us take away counts all the same.
    for field in ["Connection: Content-Length", "Connection: close\r\nConnection: content-length"] {
        let bytes = post(&[field.as_bytes(), hidden_length.as_bytes()], HIDDEN);
        cases.push(case(bytes, Expected::Exactly(vec![sent("POST", "/^/first", HIDDEN)])));
    }
    let coding = post(&[b"Connection: Transfer-Encoding", b"Transfer-Encoding: chunked"], "2\r\nok\r\n0\r\n\r\n");
    cases.push(case(coding, Expected::Exactly(vec![sent("POST", "/^/first", "ok")])));
    // The body of a request that waits for a 100 is a body.
    let waits = post(&[b"Expect: 100-continue", hidden_length.as_bytes()], HIDDEN);
    cases.push(case(waits, Expected::Exactly(vec![sent("POST", "/^/first", HIDDEN)])));
    cases.push(nothing(format!("GET /^/first HTTP/1.1\r\n\r\n{HIDDEN}")));
    cases
}

fn get(field: &[u8], rest: &str) -> Vec<u8> {
    [b"GET /^/first HTTP/1.1\r\nHost: test\r\n", field, b"\r\n\r\n", rest.as_bytes()].concat()
}

/// Several requests at once.
fn pipelines() -> Vec<Case> {
    let get = |path: &str| format!("GET /^/{path} HTTP/1.1\r\nHost: test\r\n\r\n");
    let seen = |path: &str| sent("GET", &format!("/^/{path}"), "");
    let mut cases = Vec::new();
    for count in [2, 3, 7, 20] {
        let paths: Vec<String> = (0..count).map(|index| index.to_string()).collect();
        let bytes: String = paths.iter().map(|path| get(path)).collect();
        cases.push(case(bytes, Expected::Exactly(paths.iter().map(|path| seen(path)).collect())));
    }
    let upload = "POST /^/up HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\n\r\nhello";
    let chunked = "PUT /^/put HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n0\r\n\r\n";
    let uploads = vec![sent("POST", "/^/up", "hello"), sent("PUT", "/^/put", "one"), seen("last")];
    cases.push(case([upload, chunked, &get("last")].concat(), Expected::Exactly(uploads)));
    // An empty line before a request is passed over (RFC 9112 §2.2).
    cases.push(case(format!("\r\n{}\r\n{}", get("a"), get("b")), Expected::Exactly(vec![seen("a"), seen("b")])));
    // Good ones before a bad one.
    for bad in [
        "GET /^/b HTTP/1.1\r\nHost : test\r\n\r\n",
        "GET /^/b HTTP/3.0\r\n\r\n",
        "\0",
        "0\r\n\r\n",
        "\n\n",
        "HTTP/1.1 200 OK\r\n\r\n",
    ] {
        cases.push(case([&get("a"), bad, &get("c")].concat(), Expected::Exactly(vec![seen("a")])));
    }
    // After `close` nothing more is read.
    let last = "GET /^/a HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n";
    cases.push(case([last, &get("b")].concat(), Expected::Exactly(vec![seen("a")])));
    let cut =
        "POST /^/cut HTTP/1.1\r\nHost: test\r\nContent-Length: 500\r\n\r\nGET /^/hidden HTTP/1.1\r\nHost: test\r\n\r\n";
    // gunicorn hands its application what came of a body that does not; it is no request of its own.
    cases.push(case(cut, Expected::AtMost(vec![sent("POST", "/^/cut", HIDDEN)])));
    cases
}

/// HTTP/1.0 and what it does not have.
fn versions() -> Vec<Case> {
    let old = |fields: &str, rest: &str| format!("POST /^/first HTTP/1.0\r\n{fields}\r\n{rest}{HIDDEN}");
    let first = || vec![sent("POST", "/^/first", "hello")];
    let both = || vec![sent("POST", "/^/first", "hello"), sent("GET", "/^/hidden", "")];
    vec![
        case(old("Content-Length: 5\r\n", "hello"), Expected::Exactly(first())),
        case(old("Connection: keep-alive\r\nContent-Length: 5\r\n", "hello"), Expected::Exactly(both())),
        case(old("Connection: keep-alive, close\r\nContent-Length: 5\r\n", "hello"), Expected::Exactly(first())),
        nothing(old("Transfer-Encoding: chunked\r\n", "5\r\nhello\r\n0\r\n\r\n")),
        nothing(old("Connection: keep-alive\r\nTransfer-Encoding: chunked\r\n", "5\r\nhello\r\n0\r\n\r\n")),
        nothing(old("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", "hello")),
        case(old("", ""), Expected::AtMost(vec![sent("POST", "/^/first", "")])),
    ]
}
