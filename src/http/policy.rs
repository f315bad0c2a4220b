//! Which header lines pass, which end here, and which we write (APISIX-COMPAT §9; RFC 9110 §7.6).

use super::fields::{Field, Fields, Span};
use super::head::members;
use super::request::{BodyLength, RequestHead, Version};
use super::response::{ResponseBody, ResponseHead};

/// The Host line that the upstream sees (APISIX-COMPAT §7.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpstreamHost<'a> {
    /// The client's.
    Pass,
    /// These bytes.
    Set(&'a [u8]),
}

/// The values of X-Forwarded-Proto, -Host and -Port: sent upstream, and shown in records in the client's place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Forwarded<'a> {
    /// `http` or `https`.
    pub proto: &'a [u8],
    /// The client's Host line with its port; empty if it sent none.
    pub host: &'a [u8],
    /// The port in that Host line, else the listener's.
    pub port: &'a [u8],
}

/// How a request goes on.
#[derive(Clone, Copy, Debug)]
pub struct Forward<'a> {
    /// Which Host.
    pub host: UpstreamHost<'a>,
    /// X-Real-IP, X-Forwarded-* and the client's address in them; `None` sends the client's own lines unchanged.
    pub client: Option<ClientLines<'a>>,
    /// Upgrade and Connection go on too (`enable_websocket`).
    pub upgrade: bool,
}

/// What is told of the client.
#[derive(Clone, Copy, Debug)]
pub struct ClientLines<'a> {
    /// `$remote_addr`.
    pub remote_addr: &'a [u8],
    /// See [`Forwarded`].
    pub forwarded: Forwarded<'a>,
    /// Put the address behind what the client's X-Forwarded-For says, instead of in its place.
    pub append_for: bool,
}

/// The values for X-Forwarded-*. `trusted`: the peer is in `trusted_addresses`, its own values count.
pub fn forwarded<'a>(
    bytes: &'a [u8],
    head: &RequestHead,
    trusted: bool,
    scheme: &'a [u8],
    listen_port: &'a [u8],
) -> Forwarded<'a> {
    let own = |name: &'static [u8]| {
        trusted.then(|| head.fields.as_slice().iter().find(|field| is(bytes, field, name))).flatten()
    };
    let host = head.authority.of(bytes);
    let port = head.host_port.map_or(listen_port, |_| {
        let colon = host.iter().rposition(|byte| *byte == b':').map_or(host.len(), |at| at + 1);
        &host[colon..]
    });
    Forwarded {
        proto: own(b"x-forwarded-proto").map_or(scheme, |field| field.value.of(bytes)),
        host: own(b"x-forwarded-host").map_or(host, |field| field.value.of(bytes)),
        port: own(b"x-forwarded-port").map_or(port, |field| field.value.of(bytes)),
    }
}

fn is(bytes: &[u8], field: &Field, name: &[u8]) -> bool {
    field.name.of(bytes).eq_ignore_ascii_case(name)
}

/// Appends the request head for the upstream: HTTP/1.1, origin-form, our framing, hop-by-hop lines removed.
pub fn write_request(out: &mut Vec<u8>, bytes: &[u8], head: &RequestHead, forward: &Forward<'_>) {
    out.extend_from_slice(head.method.of(bytes));
    out.push(b' ');
    let path = head.path.of(bytes);
    out.extend_from_slice(if path.is_empty() { b"/" } else { path });
    if let Some(query) = head.query {
        out.push(b'?');
        out.extend_from_slice(query.of(bytes));
    }
    out.extend_from_slice(b" HTTP/1.1\r\n");
    let host = match forward.host {
        UpstreamHost::Pass => head.authority.of(bytes),
        UpstreamHost::Set(host) => host,
    };
    pair(out, b"Host", host);
    let mut had_length = false;
    for field in head.fields.as_slice() {
        let name = field.name.of(bytes);
        had_length |= name.len() == 14 && name.eq_ignore_ascii_case(b"content-length");
        if ends_here(name) || forward.client.is_some() && is_told_of_client(name) {
            continue;
        }
        if head.nominates && is_nominated(bytes, &head.fields, name) {
            continue;
        }
        pair(out, name, field.value.of(bytes));
    }
    if let Some(client) = &forward.client {
        client_lines(out, bytes, head, client);
    }
    match head.body {
        BodyLength::Length(length) => pair(out, b"Content-Length", itoa::Buffer::new().format(length).as_bytes()),
        BodyLength::Chunked => pair(out, b"Transfer-Encoding", b"chunked"),
        BodyLength::None if had_length => pair(out, b"Content-Length", b"0"),
        BodyLength::None => {}
    }
    if let (true, Some(protocol)) = (forward.upgrade, head.upgrade) {
        pair(out, b"Upgrade", protocol.of(bytes));
        pair(out, b"Connection", b"upgrade");
    }
    out.extend_from_slice(b"\r\n");
}

fn client_lines(out: &mut Vec<u8>, bytes: &[u8], head: &RequestHead, client: &ClientLines<'_>) {
    pair(out, b"X-Real-IP", client.remote_addr);
    out.extend_from_slice(b"X-Forwarded-For: ");
    if client.append_for {
        for field in head.fields.as_slice().iter().filter(|field| is(bytes, field, b"x-forwarded-for")) {
            out.extend_from_slice(field.value.of(bytes));
            out.extend_from_slice(b", ");
        }
    }
    out.extend_from_slice(client.remote_addr);
    out.extend_from_slice(b"\r\n");
    pair(out, b"X-Forwarded-Proto", client.forwarded.proto);
    pair(out, b"X-Forwarded-Host", client.forwarded.host);
    pair(out, b"X-Forwarded-Port", client.forwarded.port);
}

fn pair(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// As `pair`, and remembers where it stands.
pub fn put(out: &mut Vec<u8>, sent: &mut Fields, name: &[u8], value: &[u8]) {
    let start = out.len();
    pair(out, name, value);
    let value_at = start + name.len() + 2;
    let field =
        Field { name: Span::new(start, start + name.len()), value: Span::new(value_at, value_at + value.len()) };
    sent.push(field);
}

/// Lines that concern one connection only, and those that we write ourselves (RFC 9110 §7.6.1).
fn ends_here(name: &[u8]) -> bool {
    match name.len() {
        2 => name.eq_ignore_ascii_case(b"te"),
        4 => name.eq_ignore_ascii_case(b"host"),
        6 => name.eq_ignore_ascii_case(b"expect"),
        7 => name.eq_ignore_ascii_case(b"upgrade") || name.eq_ignore_ascii_case(b"trailer"),
        10 => name.eq_ignore_ascii_case(b"connection") || name.eq_ignore_ascii_case(b"keep-alive"),
        14 => name.eq_ignore_ascii_case(b"content-length"),
        16 => name.eq_ignore_ascii_case(b"proxy-connection"),
        17 => name.eq_ignore_ascii_case(b"transfer-encoding"),
        _ => false,
    }
}

fn is_told_of_client(name: &[u8]) -> bool {
    match name.len() {
        9 => name.eq_ignore_ascii_case(b"forwarded") || name.eq_ignore_ascii_case(b"x-real-ip"),
        15 => name.eq_ignore_ascii_case(b"x-forwarded-for"),
        16 => name.eq_ignore_ascii_case(b"x-forwarded-host") || name.eq_ignore_ascii_case(b"x-forwarded-port"),
        17 => name.eq_ignore_ascii_case(b"x-forwarded-proto"),
        _ => false,
    }
}

/// Named by a Connection line (RFC 9110 §7.6.1).
fn is_nominated(bytes: &[u8], fields: &Fields, name: &[u8]) -> bool {
    let lines = fields.as_slice().iter().filter(|field| is(bytes, field, b"connection"));
    lines.flat_map(|field| members(field.value.of(bytes))).any(|option| option.eq_ignore_ascii_case(name))
}

/// How a response's body reaches the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutBody {
    /// None.
    None,
    /// This many bytes.
    Length(u64),
    /// Chunks of our own.
    Chunked,
    /// Until we close (HTTP/1.0).
    Close,
}

/// A response's framing towards the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResponseFraming {
    /// The body.
    pub body: OutBody,
    /// Another request may follow.
    pub keep_alive: bool,
}

/// Decides the framing. `keep_alive`: both the client and we mean to go on.
pub const fn frame_response(head: &ResponseHead, client: Version, keep_alive: bool) -> ResponseFraming {
    let (body, keep_alive) = match (head.body, client) {
        (ResponseBody::None, _) => (OutBody::None, keep_alive),
        (ResponseBody::Length(length), _) => (OutBody::Length(length), keep_alive),
        (ResponseBody::Chunked | ResponseBody::UntilClose, Version::Http11) => (OutBody::Chunked, keep_alive),
        (ResponseBody::Chunked | ResponseBody::UntilClose, Version::Http10) => (OutBody::Close, false),
    };
    ResponseFraming { body, keep_alive }
}

/// What the gateway adds to a response.
#[derive(Clone, Copy, Debug)]
pub struct Respond<'a> {
    /// The framing.
    pub framing: ResponseFraming,
    /// The client's version: a 1.0 client must be told that the connection stays.
    pub client: Version,
    /// The value of Server.
    pub server: &'a [u8],
    /// X-APISIX-Upstream-Status, if it is to be said.
    pub upstream_status: Option<&'a [u8]>,
}

/// Appends the response head for the client to `out`; `sent` gets the positions of its lines in `out`.
pub fn write_response(out: &mut Vec<u8>, bytes: &[u8], head: &ResponseHead, respond: &Respond<'_>, sent: &mut Fields) {
    status_line(out, bytes, head);
    for field in head.fields.as_slice() {
        let name = field.name.of(bytes);
        if ends_here(name) || is_internal(name) || head.nominates && is_nominated(bytes, &head.fields, name) {
            continue;
        }
        put(out, sent, name, field.value.of(bytes));
    }
    match (respond.framing.body, head.length) {
        (OutBody::Length(length), _) | (OutBody::None, Some(length)) if head.status >= 200 && head.status != 204 => {
            put(out, sent, b"Content-Length", itoa::Buffer::new().format(length).as_bytes());
        }
        (OutBody::Chunked, _) => put(out, sent, b"Transfer-Encoding", b"chunked"),
        _ => {}
    }
    put(out, sent, b"Connection", if respond.framing.keep_alive { b"keep-alive" } else { b"close" });
    put(out, sent, b"Server", respond.server);
    if let Some(status) = respond.upstream_status {
        put(out, sent, b"X-APISIX-Upstream-Status", status);
    }
    out.extend_from_slice(b"\r\n");
}

/// Appends an interim response (RFC 9110 §15.2), which has neither framing nor a word from us.
pub fn write_interim(out: &mut Vec<u8>, bytes: &[u8], head: &ResponseHead) {
    status_line(out, bytes, head);
    for field in head.fields.as_slice() {
        let name = field.name.of(bytes);
        let ends = ends_here(name) || head.nominates && is_nominated(bytes, &head.fields, name);
        if !ends {
            pair(out, name, field.value.of(bytes));
        }
    }
    out.extend_from_slice(b"\r\n");
}

fn status_line(out: &mut Vec<u8>, bytes: &[u8], head: &ResponseHead) {
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(itoa::Buffer::new().format(head.status).as_bytes());
    out.push(b' ');
    out.extend_from_slice(head.reason.of(bytes));
    out.extend_from_slice(b"\r\n");
}

/// Between an upstream and its nginx, or replaced by ours.
fn is_internal(name: &[u8]) -> bool {
    let starts = |prefix: &[u8]| name.get(..prefix.len()).is_some_and(|front| front.eq_ignore_ascii_case(prefix));
    name.eq_ignore_ascii_case(b"server")
        || starts(b"x-accel-")
        || name.eq_ignore_ascii_case(b"x-pad")
        || name.eq_ignore_ascii_case(b"x-apisix-upstream-status")
}

#[cfg(test)]
mod tests {
    use super::super::limits::HeadLimits;
    use super::super::request::{Method, parse_request};
    use super::super::response::{Asked, parse_response};
    use super::*;

    fn forward_to(request: &[u8], forward: &Forward<'_>) -> String {
        let mut head = RequestHead::default();
        parse_request(request, &HeadLimits::default(), &mut head).unwrap();
        let mut out = Vec::new();
        write_request(&mut out, request, &head, forward);
        String::from_utf8(out).unwrap()
    }

    fn forward(append_for: bool) -> Forward<'static> {
        let forwarded = Forwarded { proto: b"http", host: b"a:9080", port: b"9080" };
        let client = ClientLines { remote_addr: b"10.0.0.9", forwarded, append_for };
        Forward { host: UpstreamHost::Pass, client: Some(client), upgrade: false }
    }

    #[test]
    fn hop_by_hop_and_nominated_lines_end_here() {
        let request =
            b"GET /x HTTP/1.1\r\nHost: a:9080\r\nConnection: close, X-Secret\r\nX-Secret: 1\r\nKeep-Alive: 5\r\n\
            TE: trailers\r\nProxy-Connection: keep-alive\r\nUpgrade: h2c\r\nAccept: */*\r\n\r\n";
        let text = forward_to(request, &forward(true));
        assert_eq!(
            text,
            "GET /x HTTP/1.1\r\nHost: a:9080\r\nAccept: */*\r\nX-Real-IP: 10.0.0.9\r\nX-Forwarded-For: 10.0.0.9\r\n\
             X-Forwarded-Proto: http\r\nX-Forwarded-Host: a:9080\r\nX-Forwarded-Port: 9080\r\n\r\n"
        );
    }

    #[test]
    fn what_the_client_says_of_itself_is_replaced_or_continued() {
        let request = b"GET / HTTP/1.1\r\nHost: a\r\nX-Real-IP: 6.6.6.6\r\nX-Forwarded-For: 1.1.1.1\r\n\
            X-Forwarded-Proto: https\r\nForwarded: for=6.6.6.6\r\n\r\n";
        let text = forward_to(request, &forward(true));
        assert!(text.contains("X-Real-IP: 10.0.0.9\r\n") && !text.contains("6.6.6.6") && !text.contains("https"));
        assert!(text.contains("X-Forwarded-For: 1.1.1.1, 10.0.0.9\r\n"));
        assert!(!forward_to(request, &forward(false)).contains("1.1.1.1"));
    }

    #[test]
    fn an_absolute_target_becomes_a_path_and_its_authority_the_host() {
        let request = b"GET http://real.example:81?x=1 HTTP/1.1\r\nHost: other\r\n\r\n";
        let text = forward_to(request, &forward(true));
        assert!(text.starts_with("GET /?x=1 HTTP/1.1\r\nHost: real.example:81\r\n"), "{text}");
    }

    #[test]
    fn a_body_is_framed_by_us() {
        let sized = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 007\r\n\r\n";
        assert!(forward_to(sized, &forward(true)).contains("Content-Length: 7\r\n\r\n"));
        let none = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n";
        assert!(forward_to(none, &forward(true)).contains("Content-Length: 0\r\n\r\n"));
        let chunks = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n";
        assert!(forward_to(chunks, &forward(true)).ends_with("Transfer-Encoding: chunked\r\n\r\n"));
    }

    fn respond_to(response: &[u8], client: Version, keep_alive: bool, method: Method) -> (String, ResponseFraming) {
        let mut head = ResponseHead::default();
        parse_response(response, &HeadLimits::default(), Asked { method, upgrade: false }, &mut head).unwrap();
        let framing = frame_response(&head, client, keep_alive);
        let respond = Respond { framing, client, server: b"tollgate/1", upstream_status: None };
        let (mut out, mut sent) = (Vec::new(), Fields::default());
        write_response(&mut out, response, &head, &respond, &mut sent);
        assert!(sent.iter(&out).all(|(name, _)| !name.is_empty()));
        assert_eq!(sent.first(&out, b"server"), Some(&b"tollgate/1"[..]));
        (String::from_utf8(out).unwrap(), framing)
    }

    #[test]
    fn a_response_keeps_its_lines_and_gets_our_framing() {
        let response = b"HTTP/1.1 200 OK\r\nServer: up\r\nDate: now\r\nContent-Length: 5\r\nKeep-Alive: 3\r\nX-Accel-Buffering: no\r\n\r\n";
        let (text, framing) = respond_to(response, Version::Http11, true, Method::Get);
        let expected =
            "HTTP/1.1 200 OK\r\nDate: now\r\nContent-Length: 5\r\nConnection: keep-alive\r\nServer: tollgate/1\r\n\r\n";
        assert_eq!(text, expected);
        assert_eq!(framing, ResponseFraming { body: OutBody::Length(5), keep_alive: true });
    }

    #[test]
    fn a_body_of_unknown_length_is_chunked_or_ends_with_the_connection() {
        let response = b"HTTP/1.0 200 OK\r\n\r\n";
        let (text, framing) = respond_to(response, Version::Http11, true, Method::Get);
        assert!(text.contains("Transfer-Encoding: chunked\r\n") && framing.keep_alive);
        let (text, framing) = respond_to(response, Version::Http10, true, Method::Get);
        assert!(!text.contains("chunked") && text.contains("Connection: close") && !framing.keep_alive);
    }

    #[test]
    fn head_keeps_the_length_and_204_has_none() {
        let sized = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n";
        let (text, framing) = respond_to(sized, Version::Http11, true, Method::Head);
        assert!(text.contains("Content-Length: 5\r\n") && framing.body == OutBody::None);
        let empty = b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n";
        assert!(!respond_to(empty, Version::Http11, true, Method::Get).0.contains("Content-Length"));
    }
}
