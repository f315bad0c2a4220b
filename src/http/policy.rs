//! Which header fields pass, and which ones the gateway writes (APISIX-COMPAT §9, RFC 9110 §7). Turns a parsed head into the
//! bytes of the next hop's head.

use super::fields::Fields;
use super::limits::HeadLimits;
use super::message::{Parsed, Version};
use super::recall::{Recall, Recalled};
use super::request::{BodyLength, RequestHead, TargetForm, parse_request, recall_request};
use super::response::{ResponseBody, ResponseHead};
use super::syntax::list;
use super::write::HeadWriter;

/// Asks the client for the body it holds back (RFC 9110 §15.2.1).
pub const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// How far the forwarding fields of the peer are believed (APISIX-COMPAT §9.1, `apisix.trusted_addresses`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PeerTrust {
    /// No `trusted_addresses` in the configuration: its X-Forwarded-For is added to, the others are overwritten.
    #[default]
    Unconfigured,
    /// There are some and the peer is one: what it sent stays.
    Trusted,
    /// There are some and the peer is none: what it sent is dropped.
    Untrusted,
}

/// The client's side of one connection, as text that is ready to be written.
#[derive(Clone, Copy, Debug)]
pub struct Peer<'a> {
    /// `$remote_addr`: an address without port or brackets.
    pub remote_addr: &'a [u8],
    /// `http` or `https`.
    pub scheme: &'a [u8],
    /// The listener's port in decimal.
    pub port: &'a [u8],
    /// What its forwarding fields are worth.
    pub trust: PeerTrust,
}

/// The values of X-Forwarded-Proto, -Host and -Port that go upstream, and into the log's request headers (APISIX-COMPAT §2.5).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Forwarded<'a> {
    /// X-Forwarded-Proto.
    pub proto: &'a [u8],
    /// X-Forwarded-Host: with the port, as the client sent it; empty (and not sent) if it sent none.
    pub host: &'a [u8],
    /// X-Forwarded-Port.
    pub port: &'a [u8],
}

/// Computes them (APISIX-COMPAT §9.1).
pub fn forwarded<'a>(bytes: &'a [u8], head: &'a RequestHead, peer: &Peer<'a>) -> Forwarded<'a> {
    let mut values = Forwarded {
        proto: peer.scheme,
        host: head.authority.of(bytes),
        port: port_of(bytes, head).unwrap_or(peer.port),
    };
    if peer.trust == PeerTrust::Trusted {
        let sent = |name| head.fields.first(bytes, name).filter(|value| !value.is_empty());
        values.proto = sent(b"x-forwarded-proto").unwrap_or(values.proto);
        values.host = sent(b"x-forwarded-host").unwrap_or(values.host);
        values.port = sent(b"x-forwarded-port").unwrap_or(values.port);
    }
    values
}

/// The port behind the host, as the client wrote it.
fn port_of<'a>(bytes: &'a [u8], head: &RequestHead) -> Option<&'a [u8]> {
    head.host_port?;
    head.authority.of(bytes).get(head.host.len as usize + 1..)
}

/// Which Host goes upstream (`pass_host`, APISIX-COMPAT §7.3).
#[derive(Clone, Copy, Debug)]
pub enum HostHeader<'a> {
    /// The client's, port included; `fallback` (the node's) if a 1.0 client sent none.
    Pass {
        /// Host of the node, with a port unless it is the scheme's default.
        fallback: &'a [u8],
    },
    /// This one: the node's or `upstream_host`.
    Set(&'a [u8]),
}

/// What becomes of Upgrade and Connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Upgrade {
    /// Both are consumed.
    #[default]
    Drop,
    /// A WebSocket handshake passes (`enable_websocket`); any other upgrade is consumed all the same.
    WebSocket,
}

/// What the gateway decides about a request on its way upstream.
#[derive(Clone, Copy, Debug)]
pub struct Forward<'a> {
    /// The Host field.
    pub host: HostHeader<'a>,
    /// Who asked.
    pub peer: Peer<'a>,
    /// What [`forwarded`] computed.
    pub forwarded: Forwarded<'a>,
    /// Whether a WebSocket handshake passes.
    pub upgrade: Upgrade,
    /// Another target instead of the client's, already encoded.
    pub target: Option<&'a [u8]>,
    /// Our name in Via; `None`: no Via from us.
    pub via: Option<&'a [u8]>,
}

/// Appends the head that goes upstream: HTTP/1.1, origin-form, kept alive, framed from `head.body`. The body follows it framed
/// the same way: as many bytes as Content-Length says, or chunked.
pub fn write_request(out: &mut Vec<u8>, bytes: &[u8], head: &RequestHead, forward: &Forward<'_>) {
    write_recalled_request(out, bytes, head, forward, &Recalled::default());
}

/// As [`write_request`]. What was written for the same lines before is written again, but for the lines about addresses.
pub fn write_recalled_request(
    out: &mut Vec<u8>,
    bytes: &[u8],
    head: &RequestHead,
    forward: &Forward<'_>,
    recalled: &Recalled<RequestHead>,
) {
    let mut writer = HeadWriter { out, sent: None };
    request_line(&mut writer, bytes, head, forward);
    address_lines(&mut writer, bytes, head, forward);
    let Some(known) = recalled.known().filter(|_| head.version == Version::Http11) else {
        return request_rest(&mut writer, bytes, head, forward);
    };
    // Beside the field lines. `forward.forwarded` follows from them and from these.
    let peer = forward.peer;
    let flags = [peer.trust as u8, forward.upgrade as u8, u8::from(forward.via.is_some())];
    let given = [peer.scheme, peer.port, forward.via.unwrap_or_default(), &flags];
    let serial = known.write(given, writer.out, None).or_else(|| {
        let start = writer.out.len();
        request_rest(&mut writer, bytes, head, forward);
        known.keep(given, &writer.out[start..], None)
    });
    recalled.wrote(serial);
}

/// What stands behind the lines about addresses.
fn request_rest(writer: &mut HeadWriter<'_>, bytes: &[u8], head: &RequestHead, forward: &Forward<'_>) {
    forwarded_lines(writer, forward);
    match head.body {
        BodyLength::None => {}
        BodyLength::Length(length) => writer.number(b"Content-Length: ", length),
        BodyLength::Chunked => writer.line(b"Transfer-Encoding: ", b"chunked"),
    }
    if forward.upgrade == Upgrade::WebSocket && head.asks_websocket(bytes) {
        writer.line(b"Connection: ", b"upgrade");
        writer.line(b"Upgrade: ", b"websocket");
    }
    if let Some(left) = head.max_forwards {
        writer.number(b"Max-Forwards: ", left.saturating_sub(1));
    }
    for field in head.fields.as_slice() {
        let name = field.name.of(bytes);
        let passes = match fate_in_request(name) {
            Fate::Pass => true,
            Fate::IfFree => head.max_forwards.is_none(),
            Fate::IfChunked => head.body == BodyLength::Chunked,
            Fate::IfTrusted => forward.peer.trust == PeerTrust::Trusted,
            Fate::Ours | Fate::Hop => false,
        };
        if passes && !(head.framing.nominates && nominated(&head.fields, bytes, name)) {
            writer.pass(bytes, *field);
        }
    }
    write_via(writer, head.version, forward.via);
    writer.end();
}

fn request_line(writer: &mut HeadWriter<'_>, bytes: &[u8], head: &RequestHead, forward: &Forward<'_>) {
    let out = &mut *writer.out;
    out.extend_from_slice(head.method.of(bytes));
    out.push(b' ');
    match (forward.target, head.form) {
        (Some(target), _) => out.extend_from_slice(target),
        (None, TargetForm::Origin) => out.extend_from_slice(head.target.of(bytes)),
        (None, TargetForm::Asterisk) => out.push(b'*'),
        (None, TargetForm::Absolute) => {
            out.extend_from_slice(head.path.of(bytes));
            if let Some(query) = head.query {
                out.push(b'?');
                out.extend_from_slice(query.of(bytes));
            }
        }
    }
    out.extend_from_slice(b" HTTP/1.1\r\n");
}

/// Host, X-Real-IP and X-Forwarded-For.
fn address_lines(writer: &mut HeadWriter<'_>, bytes: &[u8], head: &RequestHead, forward: &Forward<'_>) {
    let host = match forward.host {
        HostHeader::Set(host) => host,
        HostHeader::Pass { fallback } if head.authority.is_empty() => fallback,
        HostHeader::Pass { .. } => head.authority.of(bytes),
    };
    writer.line(b"Host: ", host);
    writer.line(b"X-Real-IP: ", forward.peer.remote_addr);
    writer.out.extend_from_slice(b"X-Forwarded-For: ");
    if forward.peer.trust != PeerTrust::Untrusted {
        for value in head.fields.all(bytes, b"x-forwarded-for").filter(|value| !value.is_empty()) {
            writer.out.extend_from_slice(value);
            writer.out.extend_from_slice(b", ");
        }
    }
    writer.out.extend_from_slice(forward.peer.remote_addr);
    writer.out.extend_from_slice(b"\r\n");
}

/// X-Forwarded-Proto, -Host and -Port.
fn forwarded_lines(writer: &mut HeadWriter<'_>, forward: &Forward<'_>) {
    writer.line(b"X-Forwarded-Proto: ", forward.forwarded.proto);
    if !forward.forwarded.host.is_empty() {
        writer.line(b"X-Forwarded-Host: ", forward.forwarded.host);
    }
    writer.line(b"X-Forwarded-Port: ", forward.forwarded.port);
}

/// Our Via line names the version that the message came in (RFC 9110 §7.6.3).
fn write_via(writer: &mut HeadWriter<'_>, received: Version, via: Option<&[u8]>) {
    if let Some(name) = via {
        let version: &[u8] = if received == Version::Http11 { b"1.1 " } else { b"1.0 " };
        writer.joined(b"Via: ", [version, name]);
    }
}

/// What becomes of a field that came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Pass,
    /// Belongs to one connection (RFC 9110 §7.6.1) or is consumed here.
    Hop,
    /// We write it ourselves.
    Ours,
    /// Announces trailers, which only a chunked body has.
    IfChunked,
    /// Passes from a trusted peer only.
    IfTrusted,
    /// Max-Forwards: passes unless it counts, then ours stands in its place.
    IfFree,
}

/// Compares a field's name, `_` and `-` alike: CGI and WSGI give both spellings one name, so neither may stand beside ours.
fn is_named(name: &[u8], lower: &[u8]) -> bool {
    name.len() == lower.len()
        && name[0] | 0x20 == lower[0]
        && name
            .iter()
            .zip(lower)
            .all(|(&byte, &expected)| byte.to_ascii_lowercase() == expected || (byte == b'_' && expected == b'-'))
}

fn fate_in_request(name: &[u8]) -> Fate {
    let is = |lower: &[u8]| is_named(name, lower);
    match name.len() {
        4 if is(b"host") => Fate::Ours,
        6 if is(b"expect") => Fate::Hop,
        9 if is(b"forwarded") => Fate::IfTrusted,
        9 if is(b"x-real-ip") => Fate::Ours,
        12 if is(b"max-forwards") => Fate::IfFree,
        15 if is(b"x-forwarded-for") => Fate::Ours,
        16 if is(b"x-forwarded-host") || is(b"x-forwarded-port") => Fate::Ours,
        17 if is(b"x-forwarded-proto") => Fate::Ours,
        _ => fate_on_any_hop(name),
    }
}

fn fate_in_response(name: &[u8]) -> Fate {
    let is = |lower: &[u8]| name.eq_ignore_ascii_case(lower);
    match name.len() {
        5 if is(b"x-pad") => Fate::Hop,
        6 if is(b"server") => Fate::Ours,
        8.. if name[..8].eq_ignore_ascii_case(b"x-accel-") => Fate::Hop,
        _ => fate_on_any_hop(name),
    }
}

fn fate_on_any_hop(name: &[u8]) -> Fate {
    let is = |lower: &[u8]| name.eq_ignore_ascii_case(lower);
    match name.len() {
        2 if is(b"te") => Fate::Hop,
        7 if is(b"trailer") => Fate::IfChunked,
        7 if is(b"upgrade") => Fate::Hop,
        10 if is(b"connection") || is(b"keep-alive") => Fate::Hop,
        14 if is(b"content-length") || is(b"http2-settings") => Fate::Hop,
        16 if is(b"proxy-connection") => Fate::Hop,
        17 if is(b"transfer-encoding") => Fate::Hop,
        _ => Fate::Pass,
    }
}

/// True if a Connection field names `name` (RFC 9110 §7.6.1).
fn nominated(fields: &Fields, bytes: &[u8], name: &[u8]) -> bool {
    fields.all(bytes, b"connection").flat_map(list).any(|option| option.eq_ignore_ascii_case(name))
}

/// How the body goes to the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SentBody {
    /// None: HEAD, 1xx, 204, 304.
    None,
    /// Content-Length, in bytes.
    Length(u64),
    /// Chunked.
    Chunked,
    /// Ends with the connection.
    Close,
}

/// The framing of a response towards the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResponseFraming {
    /// How the body is sent.
    pub body: SentBody,
    /// True if the connection takes another request afterwards.
    pub keep_alive: bool,
}

/// Decides it: an upstream body without a length becomes chunked for a 1.1 client, and ends with the connection for a 1.0 one.
pub fn frame_response(
    head: &ResponseHead,
    client_version: Version,
    request_keep_alive: bool,
    is_head: bool,
) -> ResponseFraming {
    let body = match head.body {
        _ if is_head => SentBody::None,
        ResponseBody::None => SentBody::None,
        ResponseBody::Length(length) => SentBody::Length(length),
        ResponseBody::Chunked | ResponseBody::UntilClose if client_version == Version::Http11 => SentBody::Chunked,
        ResponseBody::Chunked | ResponseBody::UntilClose => SentBody::Close,
    };
    ResponseFraming { body, keep_alive: request_keep_alive && body != SentBody::Close }
}

/// What the gateway decides about a response on its way to the client.
#[derive(Clone, Copy, Debug)]
pub struct Respond<'a> {
    /// The Server field's value, instead of the upstream's.
    pub server: &'a [u8],
    /// The Date field's value if the upstream sent none (RFC 9110 §6.6.1).
    pub date: &'a [u8],
    /// X-APISIX-Upstream-Status, where it is due (APISIX-COMPAT §9.2).
    pub upstream_status: Option<&'a [u8]>,
    /// What [`frame_response`] decided.
    pub framing: ResponseFraming,
    /// Our name in Via; `None`: no Via from us.
    pub via: Option<&'a [u8]>,
}

/// Appends the final head (or a 101) that goes to the client. `out` is empty before; `sent` is cleared and then holds every
/// line as positions in `out`, for the log.
pub fn write_response(out: &mut Vec<u8>, bytes: &[u8], head: &ResponseHead, respond: &Respond<'_>, sent: &mut Fields) {
    write_final(out, bytes, head, respond, sent);
}

/// As [`write_response`]. What was written for the same head before is written again, unless it had our Date in it.
pub fn write_recalled_response(
    out: &mut Vec<u8>,
    bytes: &[u8],
    head: &ResponseHead,
    respond: &Respond<'_>,
    sent: &mut Fields,
    recalled: &Recalled<ResponseHead>,
) {
    // A 101's Upgrade line depends on what was asked.
    let known = recalled.known().filter(|_| out.is_empty() && head.status >= 200);
    let Some(known) = known else {
        write_final(out, bytes, head, respond, sent);
        return;
    };
    let ResponseFraming { body, keep_alive } = respond.framing;
    let (kind, length) = match body {
        SentBody::None => (0, 0),
        SentBody::Length(length) => (1, length),
        SentBody::Chunked => (2, 0),
        SentBody::Close => (3, 0),
    };
    let flags =
        [kind, u8::from(keep_alive), u8::from(respond.via.is_some()), u8::from(respond.upstream_status.is_some())];
    let length = length.to_le_bytes();
    let status = respond.upstream_status.unwrap_or_default();
    let given = [respond.server, respond.via.unwrap_or_default(), status, &length, &flags];
    let serial = known.write(given, out, Some(sent)).or_else(|| {
        let dated = write_final(out, bytes, head, respond, sent);
        if dated { known.keep(given, out, Some(sent)) } else { None }
    });
    recalled.wrote(serial);
}

/// True if the upstream's Date is in it, and not ours.
fn write_final(out: &mut Vec<u8>, bytes: &[u8], head: &ResponseHead, respond: &Respond<'_>, sent: &mut Fields) -> bool {
    sent.clear();
    let mut writer = HeadWriter { out, sent: Some(sent) };
    writer.status_line(head.status, head.reason.of(bytes));
    writer.line(b"Server: ", respond.server);
    let mut dated = false;
    for field in head.fields.as_slice() {
        let name = field.name.of(bytes);
        if response_field_passes(bytes, head, respond, name) {
            dated |= name.eq_ignore_ascii_case(b"date");
            writer.pass(bytes, *field);
        }
    }
    if !dated {
        writer.line(b"Date: ", respond.date);
    }
    if let Some(status) = respond.upstream_status {
        writer.line(b"X-APISIX-Upstream-Status: ", status);
    }
    write_via(&mut writer, head.version, respond.via);
    framing_lines(&mut writer, bytes, head, respond.framing);
    writer.end();
    dated
}

const UPSTREAM_STATUS: &[u8] = b"X-APISIX-Upstream-Status";

fn response_field_passes(bytes: &[u8], head: &ResponseHead, respond: &Respond<'_>, name: &[u8]) -> bool {
    let passes = match fate_in_response(name) {
        Fate::Pass => respond.upstream_status.is_none() || !name.eq_ignore_ascii_case(UPSTREAM_STATUS),
        Fate::IfChunked => respond.framing.body == SentBody::Chunked && head.body == ResponseBody::Chunked,
        Fate::Ours | Fate::Hop | Fate::IfTrusted | Fate::IfFree => false,
    };
    passes && !(head.framing.nominates && nominated(&head.fields, bytes, name))
}

/// Content-Length or Transfer-Encoding, and Connection.
fn framing_lines(writer: &mut HeadWriter<'_>, bytes: &[u8], head: &ResponseHead, framing: ResponseFraming) {
    if let Some(upgrade) = head.upgrade {
        writer.line(b"Upgrade: ", upgrade.of(bytes));
        return writer.line(b"Connection: ", b"upgrade");
    }
    match (framing.body, head.declared_length) {
        (SentBody::Length(length), _) => writer.number(b"Content-Length: ", length),
        (SentBody::Chunked, _) => writer.line(b"Transfer-Encoding: ", b"chunked"),
        // HEAD and 304 tell the length that GET would have; 204 must not (RFC 9110 §8.6).
        (SentBody::None, Some(length)) if head.status != 204 => writer.number(b"Content-Length: ", length),
        (SentBody::None | SentBody::Close, _) => {}
    }
    writer.line(b"Connection: ", if framing.keep_alive { b"keep-alive" } else { b"close" });
}

/// Appends an interim head (100, 103 …) for a 1.1 client; 1.0 clients are not sent any (RFC 9110 §15.2).
pub fn write_interim(out: &mut Vec<u8>, bytes: &[u8], head: &ResponseHead) {
    let mut writer = HeadWriter { out, sent: None };
    writer.status_line(head.status, head.reason.of(bytes));
    for field in head.fields.as_slice() {
        let name = field.name.of(bytes);
        if fate_in_response(name) == Fate::Pass && !(head.framing.nominates && nominated(&head.fields, bytes, name)) {
            writer.pass(bytes, *field);
        }
    }
    writer.end();
}

/// For fuzzing: a request that is accepted goes upstream as the same request, and reads the same there.
#[doc(hidden)]
pub fn fuzz_forward(bytes: &[u8]) {
    let limits = HeadLimits::default();
    let mut head = RequestHead::default();
    if parse_request(bytes, &limits, &mut head) != Ok(Parsed::Complete) {
        return;
    }
    let trust = if head.fields.len() & 1 == 0 { PeerTrust::Unconfigured } else { PeerTrust::Trusted };
    let peer = Peer { remote_addr: b"10.0.0.9", scheme: b"http", port: b"9080", trust };
    let forwarded = forwarded(bytes, &head, &peer);
    let host = HostHeader::Pass { fallback: b"node" };
    let mut out = Vec::new();
    let forward = Forward { host, peer, forwarded, upgrade: Upgrade::WebSocket, target: None, via: None };
    write_request(&mut out, bytes, &head, &forward);
    fuzz_recalled(bytes, &forward, &out);
    // Our own lines may carry a full head over the limits; nothing else may fail.
    let roomy = HeadLimits { head_bytes: limits.head_bytes * 2, header_count: limits.header_count + 16, ..limits };
    let mut again = RequestHead::default();
    assert_eq!(parse_request(&out, &roomy, &mut again), Ok(Parsed::Complete));
    assert!(again.len == out.len() && again.keep_alive && again.version == Version::Http11);
    assert_eq!((again.body, again.method.of(&out)), (head.body, head.method.of(bytes)));
    assert_eq!(again.query.map(|query| query.of(&out)), head.query.map(|query| query.of(bytes)));
    assert!(head.form == TargetForm::Asterisk || again.path.of(&out) == head.path.of(bytes));
    assert!(head.authority.is_empty() || again.authority.of(&out) == head.authority.of(bytes));
    assert!(again.upgrade.is_none() || again.asks_websocket(&out));
}

/// Also where the same lines went upstream before, from another client, the same is written.
fn fuzz_recalled(bytes: &[u8], forward: &Forward<'_>, expected: &[u8]) {
    let (mut recall, mut recalled) = (Recall::default(), Recalled::default());
    for remote_addr in [b"10.0.0.8", b"10.0.0.7", b"10.0.0.6", b"10.0.0.9", b"10.0.0.9"] {
        let mut head = RequestHead::default();
        let parsed = recall_request(bytes, &HeadLimits::default(), &mut head, &mut recall, &mut recalled);
        assert_eq!(parsed, Ok(Parsed::Complete));
        let forward = Forward { peer: Peer { remote_addr, ..forward.peer }, ..*forward };
        let mut out = Vec::new();
        write_recalled_request(&mut out, bytes, &head, &forward, &recalled);
        assert!(remote_addr != b"10.0.0.9" || out == expected);
    }
}

#[cfg(test)]
#[path = "policy_tests.rs"]
mod tests;
