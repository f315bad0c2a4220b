//! What the slots of a plan are filled with: variables, and the parts of the default and the origin entry that are more than one value
//! (APISIX-COMPAT §2.5, §2.6).

use std::ops::Range;

use super::exchange::{Exchange, Head};
use super::plan::{EntryPlace, RenderState, Subject};
use super::value::Value;
use super::variable::{Named, Variable, request_uri, response_body};
use super::{form, json};
use crate::base::limits::ENTRY_FIELDS;
use crate::kafka::batch::Out;

/// Where a slot's value comes from.
#[derive(Debug)]
pub enum Source {
    /// A variable.
    Variable(Variable),
    /// `$request_body`, cut to the instance's limit.
    RequestBody,
    /// The same, if `include_req_body_expr` allows.
    RequestBodyIfIncluded,
    /// `$resp_body`, cut to the instance's limit and decoded.
    ResponseBody,
    /// The same, if `include_resp_body_expr` allows and the response had one.
    ResponseBodyIfIncluded,
    /// `request.url`.
    Url,
    /// `request.headers`.
    RequestHeaders,
    /// `request.querystring`.
    Query,
    /// `response.status`, a number in any case.
    Status,
    /// `response.headers`.
    ResponseHeaders,
    /// `service_id`: the route's, else empty; without a route the host.
    ServiceIdOrHost,
    /// `start_time`, milliseconds.
    StartTime,
    /// `latency`, milliseconds.
    Latency,
    /// `upstream_latency`, milliseconds.
    UpstreamLatency,
    /// `apisix_latency`, milliseconds.
    ApisixLatency,
}

/// A slot's value in one exchange.
#[derive(Clone, Copy)]
pub enum Item<'a> {
    /// One value.
    Value(Value<'a>),
    /// The URL.
    Url,
    /// The request's headers.
    RequestHeaders,
    /// The response's headers.
    ResponseHeaders,
    /// The arguments.
    Query,
}

/// An argument, decoded, as places in the scratch text; no value is `true`.
#[derive(Clone, Debug)]
pub struct Argument {
    name: Range<usize>,
    value: Option<Range<usize>>,
}

impl Source {
    /// True if the request's body must be captured for it.
    pub fn needs_request_body(&self) -> bool {
        match self {
            Self::Variable(variable) => variable.needs_request_body(),
            other => matches!(other, Self::RequestBody | Self::RequestBodyIfIncluded),
        }
    }

    /// True if the response's body must be captured for it.
    pub fn needs_response_body(&self) -> bool {
        matches!(self, Self::ResponseBody | Self::ResponseBodyIfIncluded)
    }

    /// Writes the value of a source that always has one. The usual ones go straight to their text: a [`Value`] in between costs as much as
    /// writing it.
    #[inline(always)]
    pub fn write(&self, state: &mut RenderState, subject: Subject<'_, '_>, out: &mut Out<'_>) {
        let exchange = subject.exchange;
        match self {
            Self::Url => url(exchange, out),
            Self::RequestHeaders => request_headers(exchange, out),
            Self::ResponseHeaders => response_headers(exchange, out),
            Self::Status => json::number(exchange.response.status.into(), out),
            Self::StartTime => json::number(exchange.start.wall.unix_ms(), out),
            Self::Latency => json::thousandths(exchange.latency_us(), out),
            Self::ApisixLatency => json::thousandths(apisix_us(exchange), out),
            Self::Query if exchange.request.args.is_empty() => out.push(b"{}"),
            Self::Variable(Variable::Named(Named::RequestLength)) => json::number(exchange.request.size_bytes, out),
            Self::Variable(Variable::Named(Named::BytesSent)) => json::number(exchange.response.bytes_sent, out),
            _ => match self.text(exchange) {
                Some(text) => json::string(text, out),
                None => self.item(subject).write(state, subject, out),
            },
        }
    }

    /// The text of the usual sources that are one, as it stands in the exchange. `None` decides nothing.
    #[inline(always)]
    pub fn text<'a>(&self, exchange: &Exchange<'a>) -> Option<&'a [u8]> {
        match self {
            Self::Variable(Variable::Named(named)) => match named {
                Named::Method => Some(exchange.request.method),
                Named::RemoteAddr => Some(exchange.client.remote_addr),
                Named::RequestUri if exchange.request.args.is_empty() => Some(exchange.request.path),
                Named::Hostname => Some(exchange.gateway.hostname.as_bytes()),
                Named::Version => Some(exchange.gateway.version.as_bytes()),
                Named::UpstreamAddr => exchange.upstream.as_ref().map(|upstream| upstream.address),
                Named::RouteId => exchange.route.map(|route| route.id.as_bytes()),
                _ => None,
            },
            Self::ServiceIdOrHost => Some(service_or_host(exchange)),
            _ => None,
        }
    }

    /// The value in one exchange. Inline: what it is and how it is written are then one decision.
    #[inline(always)]
    pub fn item<'a>(&'a self, subject: Subject<'_, 'a>) -> Item<'a> {
        let Subject { exchange, include, limits } = subject;
        let upstream_us = || exchange.upstream.map(|upstream| upstream.response_ns / 1_000);
        Item::Value(match self {
            Self::Variable(variable) => variable.lookup(exchange),
            Self::RequestBodyIfIncluded if !include.request_body => Value::Absent,
            Self::RequestBody | Self::RequestBodyIfIncluded => request_body(exchange, limits.request),
            Self::ResponseBody if !include.response_body => Value::Bytes(b""),
            Self::ResponseBody => response_body(exchange, limits.response),
            Self::ResponseBodyIfIncluded if !include.response_body || exchange.response.body.is_none() => Value::Absent,
            Self::ResponseBodyIfIncluded => response_body(exchange, limits.response),
            Self::Url => return Item::Url,
            Self::RequestHeaders => return Item::RequestHeaders,
            Self::ResponseHeaders => return Item::ResponseHeaders,
            Self::Query => return Item::Query,
            Self::Status => Value::Number(exchange.response.status.into()),
            Self::ServiceIdOrHost => Value::Bytes(service_or_host(exchange)),
            Self::StartTime => Value::Number(exchange.start.wall.unix_ms()),
            Self::Latency => Value::Thousandths(exchange.latency_us()),
            Self::UpstreamLatency => upstream_us().map_or(Value::Absent, Value::Thousandths),
            Self::ApisixLatency => Value::Thousandths(apisix_us(exchange)),
        })
    }
}

impl Item<'_> {
    /// True if there is nothing.
    pub const fn is_absent(&self) -> bool {
        matches!(self, Self::Value(Value::Absent))
    }

    /// Writes it as JSON.
    #[inline(always)]
    pub fn write(self, state: &mut RenderState, subject: Subject<'_, '_>, out: &mut Out<'_>) {
        match self {
            Self::Value(value) => value.write(&mut state.scratch, out),
            Self::Url => url(subject.exchange, out),
            Self::RequestHeaders => request_headers(subject.exchange, out),
            Self::ResponseHeaders => response_headers(subject.exchange, out),
            Self::Query => query(state, subject.exchange.request.args, out),
        }
    }
}

fn service_or_host<'a>(exchange: &Exchange<'a>) -> &'a [u8] {
    match exchange.route {
        Some(route) => route.service_id().unwrap_or_default().as_bytes(),
        None => exchange.request.host,
    }
}

/// Microseconds that the gateway took itself.
fn apisix_us(exchange: &Exchange<'_>) -> u64 {
    let upstream_us = exchange.upstream.as_ref().map_or(0, |upstream| upstream.response_ns / 1_000);
    exchange.latency_us().saturating_sub(upstream_us)
}

fn request_body<'a>(exchange: &Exchange<'a>, limit_bytes: usize) -> Value<'a> {
    let body = exchange.request.body.unwrap_or_default().bytes;
    Value::text(Some(&body[..body.len().min(limit_bytes)]).filter(|body| !body.is_empty()))
}

fn url(exchange: &Exchange<'_>, out: &mut Out<'_>) {
    out.push_byte(b'"');
    json::fragment(exchange.client.scheme, out);
    out.push(b"://");
    json::fragment(exchange.request.host, out);
    out.push_byte(b':');
    json::number(exchange.client.server_port.into(), out);
    match request_uri(exchange) {
        Value::Joined(pieces) => pieces.iter().for_each(|piece| json::fragment(piece, out)),
        _ => json::fragment(exchange.request.path, out),
    }
    out.push_byte(b'"');
}

fn lines<'a>(head: Head<'a>) -> impl Iterator<Item = (&'a [u8], &'a [u8])> + Clone {
    head.fields.as_slice().iter().map(move |field| (field.name.of(head.bytes), field.value.of(head.bytes)))
}

/// The request's lines with the gateway's own `x-forwarded-*` in place of the client's.
fn request_lines<'a>(exchange: &Exchange<'a>) -> impl Iterator<Item = (&'a [u8], &'a [u8])> + Clone {
    let forwarded = exchange.request.forwarded;
    let ours: [(&[u8], _); 3] = [
        (b"x-forwarded-proto", forwarded.proto),
        (b"x-forwarded-host", forwarded.host),
        (b"x-forwarded-port", forwarded.port),
    ];
    // Asked of every line, and hardly any is as long as these.
    let may_be_ours = |name: &[u8]| matches!(name.len(), 16 | 17);
    let is_replaced =
        move |name: &[u8]| ours.iter().any(|(own, value)| value.is_some() && name.eq_ignore_ascii_case(own));
    let replaced = move |name: &[u8]| may_be_ours(name) && is_replaced(name);
    let theirs = lines(exchange.request.head).filter(move |(name, _)| !replaced(name));
    theirs.chain(ours.into_iter().filter_map(|(name, value)| Some((name, value?))))
}

fn request_headers(exchange: &Exchange<'_>, out: &mut Out<'_>) {
    recalled(exchange.request.head, out, |out| headers(request_lines(exchange), out));
}

fn response_headers(exchange: &Exchange<'_>, out: &mut Out<'_>) {
    match exchange.response.head {
        Some(head) => recalled(head, out, |out| headers(lines(head), out)),
        None => out.push(b"{}"),
    }
}

/// What was made of the same lines before, or what `write` makes of them now.
fn recalled(head: Head<'_>, out: &mut Out<'_>, write: impl FnOnce(&mut Out<'_>)) {
    let Some(rendered) = head.rendered else { return write(out) };
    if rendered.read(|text| out.push(text)) {
        return;
    }
    let start = out.len();
    write(out);
    match out.written().get(start..) {
        Some(text) if !out.overflowed() => rendered.keep(text),
        _ => {}
    }
}

/// An object of lower-case names; a repeated name has an array.
fn headers<'a>(lines: impl Iterator<Item = (&'a [u8], &'a [u8])> + Clone, out: &mut Out<'_>) {
    let start = out.len();
    let lines = lines.take(ENTRY_FIELDS);
    // Names that share a bit may be the same. Nearly all have one of their own, and need no comparison.
    let mut seen = 0_u64;
    let mut separator = b'{';
    let mut index = 0;
    // `all` and not a loop: what the iterator is put together from then costs nothing.
    let are_different = lines.clone().all(|(name, value)| {
        let bit = bit(name);
        if seen & bit != 0 && lines.clone().take(index).any(|(other, _)| other.eq_ignore_ascii_case(name)) {
            return false;
        }
        seen |= bit;
        index += 1;
        json::lower_pair(separator, name, value, out);
        separator = b',';
        true
    });
    if !are_different {
        out.truncate(start);
        return headers_with_repeated(lines, out);
    }
    out.push(if separator == b'{' { b"{}" } else { b"}" });
}

/// The same where a name is known to come twice.
#[cold]
fn headers_with_repeated<'a>(lines: impl Iterator<Item = (&'a [u8], &'a [u8])> + Clone, out: &mut Out<'_>) {
    let mut separator = b'{';
    for (index, (name, value)) in lines.clone().enumerate() {
        let same = |other: &(&[u8], &[u8])| other.0.eq_ignore_ascii_case(name);
        if lines.clone().take(index).any(|other| same(&other)) {
            continue;
        }
        out.push_byte(separator);
        separator = b',';
        json::lower_string(name, out);
        out.push_byte(b':');
        if lines.clone().skip(index + 1).any(|other| same(&other)) {
            let values = lines.clone().skip(index).filter(same).map(|(_, value)| value);
            array(values, json::string, out);
        } else {
            json::string(value, out);
        }
    }
    out.push(b"}");
}

/// One of 64 bits, the same for a name in any case.
fn bit(name: &[u8]) -> u64 {
    let (Some(first), Some(last)) = (name.first(), name.last()) else { return 1 };
    let middle = name[name.len() / 2];
    let mixed = usize::from(first | 0x20).wrapping_mul(7)
        ^ usize::from(middle | 0x20).wrapping_mul(13)
        ^ usize::from(last | 0x20).wrapping_mul(3)
        ^ name.len();
    1 << (mixed & 63)
}

fn array<T>(values: impl Iterator<Item = T>, write: impl Fn(T, &mut Out<'_>), out: &mut Out<'_>) {
    let mut separator = b'[';
    for value in values {
        out.push_byte(separator);
        separator = b',';
        write(value, out);
    }
    out.push_byte(b']');
}

/// An object of the decoded arguments; `true` without a value, an array if repeated.
fn query(state: &mut RenderState, text: &[u8], out: &mut Out<'_>) {
    let RenderState { scratch, args } = state;
    let decoded = &mut scratch.text;
    decoded.clear();
    args.clear();
    for (name, value) in form::arguments(text).take(ENTRY_FIELDS) {
        let mut append = |raw: &[u8]| {
            let start = decoded.len();
            decoded.extend(form::decoded(raw));
            start..decoded.len()
        };
        let name = append(name);
        args.push(Argument { name, value: value.map(append) });
    }
    let name = |arg: &Argument| &decoded[arg.name.clone()];
    let write = |arg: &Argument, out: &mut Out<'_>| match &arg.value {
        Some(value) => json::string(&decoded[value.clone()], out),
        None => out.push(b"true"),
    };
    let mut separator = b'{';
    for (index, arg) in args.iter().enumerate() {
        let same = |other: &&Argument| name(other) == name(arg);
        if args[..index].iter().any(|other| same(&other)) {
            continue;
        }
        out.push_byte(separator);
        separator = b',';
        json::string(name(arg), out);
        out.push_byte(b':');
        if args[index + 1..].iter().any(|other| same(&other)) {
            array(args[index..].iter().filter(same), write, out);
        } else {
            write(arg, out);
        }
    }
    out.push(if separator == b'{' { b"{}" } else { b"}" });
}

/// The request as text: its line, its headers in lower case, an empty line, and the body if it is included.
pub fn origin(place: EntryPlace, with_body: bool, subject: Subject<'_, '_>, out: &mut Out<'_>) {
    let exchange = subject.exchange;
    let put = |text: &[u8], out: &mut Out<'_>| match place {
        EntryPlace::Alone => out.push(text),
        EntryPlace::InArray => json::fragment(text, out),
    };
    if place == EntryPlace::InArray {
        out.push_byte(b'"');
    }
    put(exchange.request.line, out);
    put(b"\r\n", out);
    for (name, value) in request_lines(exchange) {
        let mut lower = [0; 32];
        for piece in name.chunks(lower.len()) {
            let lower = &mut lower[..piece.len()];
            lower.copy_from_slice(piece);
            lower.make_ascii_lowercase();
            put(lower, out);
        }
        put(b": ", out);
        put(value, out);
        put(b"\r\n", out);
    }
    put(b"\r\n", out);
    if with_body && let Value::Bytes(body) = request_body(exchange, subject.limits.request) {
        put(body, out);
    }
    if place == EntryPlace::InArray {
        out.push_byte(b'"');
    }
}
