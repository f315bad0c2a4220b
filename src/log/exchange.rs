//! One finished exchange as the log sees it: borrowed parts that the worker lends for the length of one rendering. Nothing is
//! copied for the log before (ARCHITECTURE §4.2). The same type serves expressions before the upstream is asked: what is not known
//! yet is `None` or 0, and its variables are absent.

use std::sync::Arc;

use smol_str::SmolStr;

use crate::base::time::Now;
use crate::http::fields::{Fields, Span};
use crate::http::recall::Rendered;

/// Header lines together with the bytes that their spans point into.
#[derive(Clone, Copy, Debug)]
pub struct Head<'a> {
    /// The lines.
    pub fields: &'a Fields,
    /// The head they were found in.
    pub bytes: &'a [u8],
    /// What the log made of the same lines before, or where that is to be kept. `None`: they are written anew.
    pub rendered: Option<Rendered<'a>>,
}

impl<'a> Head<'a> {
    /// Lines of which nothing is kept.
    pub const fn new(fields: &'a Fields, bytes: &'a [u8]) -> Self {
        Self { fields, bytes, rendered: None }
    }
}

/// What was kept of a body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Captured<'a> {
    /// The body's first bytes, transfer coding removed, content coding not.
    pub bytes: &'a [u8],
    /// True if there was more.
    pub truncated: bool,
}

/// The values of `x-forwarded-proto`, `-host` and `-port` that the gateway writes into the request (APISIX-COMPAT §9.1): they take the
/// place of the client's lines in every logged request header. `None` leaves the client's line.
#[derive(Clone, Copy, Debug, Default)]
pub struct Forwarded<'a> {
    /// `http` or `https`.
    pub proto: Option<&'a [u8]>,
    /// The client's Host header with its port.
    pub host: Option<&'a [u8]>,
    /// The port in the Host header, else the listener's.
    pub port: Option<&'a [u8]>,
}

/// The client's request.
#[derive(Clone, Copy, Debug)]
pub struct RequestView<'a> {
    /// `GET /a?b HTTP/1.1`, without the line end.
    pub line: &'a [u8],
    /// The method.
    pub method: &'a [u8],
    /// The target as received: `$real_request_uri`.
    pub target: &'a [u8],
    /// The path, decoded and normalised: `$uri`.
    pub path: &'a [u8],
    /// The query without its `?`, as received; empty if there is none.
    pub args: &'a [u8],
    /// `HTTP/1.1`.
    pub protocol: &'a [u8],
    /// nginx' `$host`: from the target or the Host header, lower case, no port.
    pub host: &'a [u8],
    /// The header lines as received.
    pub head: Head<'a>,
    /// What the gateway puts over them.
    pub forwarded: Forwarded<'a>,
    /// Bytes received: line, headers, body.
    pub size_bytes: u64,
    /// The body, if it was asked for and there was one.
    pub body: Option<Captured<'a>>,
    /// Names and places (in `path`) of a parameter route's values: `$uri_param_*`.
    pub uri_params: &'a [(Arc<str>, Span)],
}

/// The response as the client got it.
#[derive(Clone, Copy, Debug, Default)]
pub struct ResponseView<'a> {
    /// 0 while there is none.
    pub status: u16,
    /// As sent; `None` if no head was sent.
    pub head: Option<Head<'a>>,
    /// Bytes sent, head included.
    pub bytes_sent: u64,
    /// Bytes of body sent.
    pub body_bytes_sent: u64,
    /// The body, if it was asked for.
    pub body: Option<Captured<'a>>,
    /// True if all of it was handed over: `$request_completion`.
    pub complete: bool,
}

/// The upstream's side; exists once a node was picked.
#[derive(Clone, Copy, Debug)]
pub struct UpstreamView<'a> {
    /// `ip:port`, or `ip:port, ip:port` after tries on several.
    pub address: &'a [u8],
    /// `200`, or `502, 200`.
    pub status: &'a [u8],
    /// The upstream's head as received.
    pub head: Option<Head<'a>>,
    /// Nanoseconds from the first connect to the response's last byte.
    pub response_ns: u64,
    /// Nanoseconds to connect; `None` if no connection came about.
    pub connect_ns: Option<u64>,
    /// Nanoseconds to the response's head; `None` if none came.
    pub header_ns: Option<u64>,
    /// The Host header sent.
    pub host: &'a [u8],
    /// `http` or `https`.
    pub scheme: &'a [u8],
    /// A rewritten target, or empty.
    pub uri: &'a [u8],
    /// The last picked node's address, without port.
    pub ip: &'a [u8],
    /// The last picked node's port.
    pub port: u16,
    /// The last picked node's host as configured.
    pub unresolved_host: &'a [u8],
    /// Bytes of body received.
    pub response_length: u64,
    /// Bytes sent.
    pub bytes_sent: u64,
    /// Bytes received.
    pub bytes_received: u64,
}

/// The client's connection.
#[derive(Clone, Copy, Debug)]
pub struct ClientView<'a> {
    /// `$remote_addr`, after real-ip processing.
    pub remote_addr: &'a [u8],
    /// `$remote_port`, after real-ip processing.
    pub remote_port: u16,
    /// The TCP peer's address.
    pub realip_remote_addr: &'a [u8],
    /// The TCP peer's port.
    pub realip_remote_port: u16,
    /// The address that the client connected to.
    pub server_addr: &'a [u8],
    /// The port that the client connected to.
    pub server_port: u16,
    /// `http` or `https`.
    pub scheme: &'a [u8],
    /// Serial number of the connection.
    pub connection: u64,
    /// Requests on the connection so far, this one included.
    pub connection_requests: u64,
    /// True if the request came together with the one before: `$pipe`.
    pub pipelined: bool,
}

/// The matched route's names (APISIX-COMPAT §4.3).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RouteNames {
    /// `route_id`; a short one lies right here, so that a request does not go elsewhere for it.
    pub id: SmolStr,
    /// `route_name`.
    pub name: Option<Arc<str>>,
    /// The service that it names.
    pub service: Option<Arc<ServiceNames>>,
}

/// A service's names; its routes share them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServiceNames {
    /// `service_id`.
    pub id: Arc<str>,
    /// `service_name`.
    pub name: Option<Arc<str>>,
}

impl RouteNames {
    /// `service_id`, if it names one.
    pub fn service_id(&self) -> Option<&str> {
        self.service.as_ref().map(|service| &*service.id)
    }

    /// `service_name`, if its service has one.
    pub fn service_name(&self) -> Option<&str> {
        self.service.as_ref()?.name.as_deref()
    }
}

/// Who writes the records.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GatewayNames {
    /// The machine's name.
    pub hostname: Box<str>,
    /// The gateway's version, without a product name.
    pub version: Box<str>,
    /// `$pid`.
    pub pid: u32,
}

/// One exchange.
#[derive(Clone, Copy, Debug)]
pub struct Exchange<'a> {
    /// The request.
    pub request: RequestView<'a>,
    /// The response.
    pub response: ResponseView<'a>,
    /// `None` if no upstream was asked.
    pub upstream: Option<UpstreamView<'a>>,
    /// The connection.
    pub client: ClientView<'a>,
    /// `None` if no route matched.
    pub route: Option<&'a RouteNames>,
    /// This gateway.
    pub gateway: &'a GatewayNames,
    /// When the request's first byte was read.
    pub start: Now,
    /// When the exchange ended.
    pub end: Now,
    /// `$request_id`: 32 hexadecimal digits.
    pub request_id: [u8; 16],
}

impl Exchange<'_> {
    /// Microseconds from start to end.
    pub fn latency_us(&self) -> u64 {
        self.end.mono.ns_since(self.start.mono) / 1_000
    }
}
