//! Variables of log formats and expressions, compiled from their names once (APISIX-COMPAT §4). Which values are JSON numbers follows
//! APISIX: `status`, `request_length`, `bytes_sent`, `request_time`, the three upstream times and `balancer_port`; all others are text.

use super::exchange::{Exchange, Forwarded, Head, RouteNames};
use super::form;
use super::value::{Lines, Value, basic_user};

/// The server block's name in APISIX' nginx configuration.
const SERVER_NAME: &[u8] = b"_";
/// Header variables: `-` in the name means `_`.
const HEADER_PREFIXES: [&str; 3] = ["http_", "sent_http_", "upstream_http_"];
/// Prefix, and what to make of the rest of the name in lower case and as written.
type Prefixed = (&'static str, fn(&str, &str) -> Variable);
const PREFIXES: [Prefixed; 8] = [
    ("http_", |lower, _| Variable::Header(lower.as_bytes().into())),
    ("original_x_forwarded_", |lower, _| Variable::Header(format!("x_forwarded_{lower}").into_bytes().into())),
    ("sent_http_", |lower, _| Variable::SentHeader(lower.as_bytes().into())),
    ("upstream_http_", |lower, _| Variable::UpstreamHeader(lower.as_bytes().into())),
    ("arg_", |_, exact| Variable::Arg(exact.as_bytes().into())),
    ("post_arg_", |_, exact| Variable::PostArg(exact.as_bytes().into())),
    ("cookie_", |_, exact| Variable::Cookie(exact.as_bytes().into())),
    ("uri_param_", |_, exact| Variable::UriParam(exact.into())),
];
const FORM_TYPE: &[u8] = b"application/x-www-form-urlencoded";

/// A variable, compiled from its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Variable {
    /// Never has a value.
    Absent,
    /// One of the fixed names.
    Named(Named),
    /// `http_*`: a request header. Lower case, `_` for `-`.
    Header(Box<[u8]>),
    /// `sent_http_*`: a header of the response to the client.
    SentHeader(Box<[u8]>),
    /// `upstream_http_*`: a header of the upstream's response.
    UpstreamHeader(Box<[u8]>),
    /// `arg_*`: the first argument of that name, decoded; `true` without a value.
    Arg(Box<[u8]>),
    /// `post_arg_*`: the same in a form body.
    PostArg(Box<[u8]>),
    /// `cookie_*`: the last cookie of that name.
    Cookie(Box<[u8]>),
    /// `uri_param_*`: what a parameter route took from the path.
    UriParam(Box<str>),
}

macro_rules! names {
    ($($variant:ident = $($name:literal)|+;)+) => {
        /// A variable with a fixed name.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[allow(missing_docs)] // the table below is the list of APISIX-COMPAT §4
        pub enum Named { $($variant,)+ }

        impl Named {
            fn of(name: &str) -> Option<Self> {
                match name {
                    $($($name)|+ => Some(Self::$variant),)+
                    _ => None,
                }
            }

            #[cfg(test)]
            pub(super) const ALL_NAMES: &[&str] = &[$($($name,)+)+];
        }
    };
}

names! {
    RequestUri = "request_uri";
    RealRequestUri = "real_request_uri";
    Uri = "uri" | "document_uri";
    RequestLine = "request" | "request_line";
    Method = "request_method" | "method";
    Args = "args" | "query_string";
    IsArgs = "is_args";
    Host = "host";
    ContentType = "content_type";
    ContentLength = "content_length";
    RequestLength = "request_length";
    RequestBody = "request_body";
    ServerProtocol = "server_protocol";
    RemoteUser = "remote_user";
    RequestId = "request_id" | "apisix_request_id";
    HttpForwardedProto = "http_x_forwarded_proto";
    HttpForwardedHost = "http_x_forwarded_host";
    HttpForwardedPort = "http_x_forwarded_port";
    ForwardedProto = "var_x_forwarded_proto";
    ForwardedHost = "var_x_forwarded_host";
    ForwardedPort = "var_x_forwarded_port";
    RequestType = "request_type";
    Scheme = "scheme";
    Https = "https";
    RemoteAddr = "remote_addr";
    RemotePort = "remote_port";
    RealipRemoteAddr = "realip_remote_addr";
    RealipRemotePort = "realip_remote_port";
    ServerAddr = "server_addr";
    ServerPort = "server_port";
    ServerName = "server_name";
    Connection = "connection";
    ConnectionRequests = "connection_requests";
    Pipe = "pipe";
    Hostname = "hostname";
    Pid = "pid";
    Version = "nginx_version";
    Status = "status";
    BytesSent = "bytes_sent";
    BodyBytesSent = "body_bytes_sent";
    RespBody = "resp_body";
    RequestCompletion = "request_completion";
    RequestTime = "request_time";
    TimeIso8601 = "time_iso8601";
    TimeLocal = "time_local";
    Msec = "msec";
    UpstreamAddr = "upstream_addr";
    UpstreamStatus = "upstream_status";
    UpstreamResponseTime = "upstream_response_time";
    UpstreamConnectTime = "upstream_connect_time";
    UpstreamHeaderTime = "upstream_header_time";
    UpstreamResponseLength = "upstream_response_length";
    UpstreamBytesSent = "upstream_bytes_sent";
    UpstreamBytesReceived = "upstream_bytes_received";
    UpstreamHost = "upstream_host";
    UpstreamScheme = "upstream_scheme";
    UpstreamUri = "upstream_uri";
    UpstreamUnresolvedHost = "upstream_unresolved_host";
    BalancerIp = "balancer_ip";
    BalancerPort = "balancer_port";
    RouteId = "route_id";
    RouteName = "route_name";
    ServiceId = "service_id";
    ServiceName = "service_name";
}

impl Variable {
    /// The variable called `name`, without `$`. nginx' names in any case; what stands behind `arg_`, `post_arg_`, `cookie_` and
    /// `uri_param_` as it is. An unknown name is a variable that is always absent.
    pub fn compile(name: &str) -> Self {
        let mut lower = name.to_ascii_lowercase();
        if HEADER_PREFIXES.iter().any(|prefix| lower.starts_with(prefix)) {
            lower = lower.replace('-', "_");
        }
        if let Some(named) = Named::of(&lower) {
            return Self::Named(named);
        }
        let prefixed = PREFIXES.iter().find(|(prefix, _)| lower.len() > prefix.len() && lower.starts_with(prefix));
        prefixed.map_or(Self::Absent, |(prefix, make)| make(&lower[prefix.len()..], &name[prefix.len()..]))
    }

    /// True if it can never have a value.
    pub fn is_absent(&self) -> bool {
        *self == Self::Absent
    }

    /// True if the request's body must be captured for it.
    pub fn needs_request_body(&self) -> bool {
        matches!(self, Self::Named(Named::RequestBody) | Self::PostArg(_))
    }

    /// True if the response's body must be captured for it.
    pub fn needs_response_body(&self) -> bool {
        *self == Self::Named(Named::RespBody)
    }

    /// Its value in `exchange`; allocates nothing.
    pub fn lookup<'a>(&'a self, exchange: &Exchange<'a>) -> Value<'a> {
        match self {
            Self::Absent => Value::Absent,
            Self::Named(named) => named.lookup(exchange),
            Self::Header(name) => header(Some(exchange.request.head), name),
            Self::SentHeader(name) => header(exchange.response.head, name),
            Self::UpstreamHeader(name) => header(exchange.upstream.and_then(|upstream| upstream.head), name),
            Self::Arg(name) => argument(exchange.request.args, name),
            Self::PostArg(name) => post_argument(exchange, name),
            Self::Cookie(name) => cookie(exchange.request.head, name),
            Self::UriParam(name) => {
                let found = exchange.request.uri_params.iter().find(|(param, _)| **param == **name);
                Value::text(found.map(|(_, span)| span.of(exchange.request.path)))
            }
        }
    }
}

impl Named {
    fn lookup<'a>(self, exchange: &Exchange<'a>) -> Value<'a> {
        match self {
            Self::RouteId => Value::name(exchange.route.map(|route| &*route.id)),
            Self::RouteName => Value::name(exchange.route.and_then(|route| route.name.as_deref())),
            Self::ServiceId => Value::name(exchange.route.and_then(RouteNames::service_id)),
            Self::ServiceName => Value::name(exchange.route.and_then(RouteNames::service_name)),
            Self::Hostname => Value::name(Some(&exchange.gateway.hostname)),
            Self::Version => Value::name(Some(&exchange.gateway.version)),
            Self::Pid => Value::Digits(exchange.gateway.pid.into()),
            Self::RequestId => Value::Hex(exchange.request_id),
            Self::RequestTime => Value::Thousandths(exchange.latency_us() / 1_000),
            Self::TimeIso8601 => Value::Iso8601(exchange.end.wall),
            Self::TimeLocal => Value::LocalTime(exchange.end.wall),
            Self::Msec => Value::Msec(exchange.end.wall),
            _ => match self.of_request(exchange) {
                Value::Absent => self.of_response(exchange),
                value => value,
            },
        }
    }

    fn of_request<'a>(self, exchange: &Exchange<'a>) -> Value<'a> {
        let (request, client) = (&exchange.request, &exchange.client);
        let Forwarded { proto, host, port } = request.forwarded;
        match self {
            Self::RequestUri => request_uri(exchange),
            Self::RealRequestUri => Value::Bytes(request.target),
            Self::Uri => Value::Bytes(request.path),
            Self::RequestLine => Value::Bytes(request.line),
            Self::Method => Value::Bytes(request.method),
            Self::Args => Value::text(Some(request.args).filter(|args| !args.is_empty())),
            Self::IsArgs => Value::Bytes(if request.args.is_empty() { b"" } else { b"?" }),
            Self::Host => Value::Bytes(request.host),
            Self::ContentType => header(Some(request.head), b"content_type"),
            Self::ContentLength => header(Some(request.head), b"content_length"),
            Self::RequestLength => Value::Number(request.size_bytes),
            Self::RequestBody => Value::text(request.body.map(|body| body.bytes).filter(|body| !body.is_empty())),
            Self::ServerProtocol => Value::Bytes(request.protocol),
            Self::RemoteUser => match header(Some(request.head), b"authorization") {
                Value::Bytes(authorization) => basic_user(authorization),
                _ => Value::Absent,
            },
            Self::HttpForwardedProto => forwarded(proto, request.head, b"x_forwarded_proto"),
            Self::HttpForwardedHost => forwarded(host, request.head, b"x_forwarded_host"),
            Self::HttpForwardedPort => forwarded(port, request.head, b"x_forwarded_port"),
            Self::ForwardedProto => Value::text(proto),
            Self::ForwardedHost => Value::text(host),
            Self::ForwardedPort => Value::text(port),
            Self::RequestType => Value::Bytes(b"traditional_http"),
            Self::Scheme => Value::Bytes(client.scheme),
            Self::Https => Value::Bytes(if client.scheme == b"https" { b"on" } else { b"" }),
            Self::RemoteAddr => Value::Bytes(client.remote_addr),
            Self::RemotePort => Value::Digits(client.remote_port.into()),
            Self::RealipRemoteAddr => Value::Bytes(client.realip_remote_addr),
            Self::RealipRemotePort => Value::Digits(client.realip_remote_port.into()),
            Self::ServerAddr => Value::Bytes(client.server_addr),
            Self::ServerPort => Value::Digits(client.server_port.into()),
            Self::ServerName => Value::Bytes(SERVER_NAME),
            Self::Connection => Value::Digits(client.connection),
            Self::ConnectionRequests => Value::Digits(client.connection_requests),
            Self::Pipe => Value::Bytes(if client.pipelined { b"p" } else { b"." }),
            _ => Value::Absent,
        }
    }

    fn of_response<'a>(self, exchange: &Exchange<'a>) -> Value<'a> {
        let response = &exchange.response;
        match self {
            Self::Status if response.status == 0 => Value::Absent,
            Self::Status => Value::Number(response.status.into()),
            Self::BytesSent => Value::Number(response.bytes_sent),
            Self::BodyBytesSent => Value::Digits(response.body_bytes_sent),
            Self::RespBody => response_body(exchange, usize::MAX),
            Self::RequestCompletion => Value::Bytes(if response.complete { b"OK" } else { b"" }),
            _ => self.of_upstream(exchange),
        }
    }

    fn of_upstream<'a>(self, exchange: &Exchange<'a>) -> Value<'a> {
        let Some(upstream) = &exchange.upstream else {
            // What APISIX' nginx configuration sets before anything is proxied.
            return match self {
                Self::UpstreamScheme => Value::Bytes(b"http"),
                Self::UpstreamHost => header(Some(exchange.request.head), b"host"),
                Self::UpstreamUri | Self::UpstreamUnresolvedHost => Value::Bytes(b""),
                _ => Value::Absent,
            };
        };
        let ms = |ns: u64| Value::Thousandths(ns / 1_000_000);
        match self {
            Self::UpstreamAddr => Value::Bytes(upstream.address),
            Self::UpstreamStatus => Value::Bytes(upstream.status),
            Self::UpstreamResponseTime => ms(upstream.response_ns),
            Self::UpstreamConnectTime => upstream.connect_ns.map_or(Value::Absent, ms),
            Self::UpstreamHeaderTime => upstream.header_ns.map_or(Value::Absent, ms),
            Self::UpstreamResponseLength => Value::Digits(upstream.response_length),
            Self::UpstreamBytesSent => Value::Digits(upstream.bytes_sent),
            Self::UpstreamBytesReceived => Value::Digits(upstream.bytes_received),
            Self::UpstreamHost => Value::Bytes(upstream.host),
            Self::UpstreamScheme => Value::Bytes(upstream.scheme),
            Self::UpstreamUri => Value::Bytes(upstream.uri),
            Self::UpstreamUnresolvedHost => Value::Bytes(upstream.unresolved_host),
            Self::BalancerIp => Value::Bytes(upstream.ip),
            Self::BalancerPort => Value::Number(upstream.port.into()),
            _ => Value::Absent,
        }
    }
}

/// `$request_uri` as APISIX sets it: the decoded path with the raw arguments.
pub(super) fn request_uri<'a>(exchange: &Exchange<'a>) -> Value<'a> {
    let (path, args) = (exchange.request.path, exchange.request.args);
    if args.is_empty() { Value::Bytes(path) } else { Value::Joined([path, b"?", args]) }
}

/// The captured response body, cut to `limit_bytes` and then decoded; `""` if none was captured.
pub(super) fn response_body<'a>(exchange: &Exchange<'a>, limit_bytes: usize) -> Value<'a> {
    let body = exchange.response.body.unwrap_or_default().bytes;
    let body = &body[..body.len().min(limit_bytes)];
    match header(exchange.response.head, b"content_encoding") {
        Value::Bytes(coding) => Value::CodedBody { body, coding },
        _ => Value::Bytes(body),
    }
}

/// A header by its variable name: one line as it is, several joined as nginx 1.23 and later does.
fn header<'a>(head: Option<Head<'a>>, name: &'a [u8]) -> Value<'a> {
    let Some(head) = head else { return Value::Absent };
    let lines = Lines { head, name, separator: if name == b"cookie" { b"; " } else { b", " } };
    let mut values = lines.values();
    match (values.next(), values.next()) {
        (None, _) => Value::Absent,
        (Some(only), None) => Value::Bytes(only),
        (Some(_), Some(_)) => Value::Lines(lines),
    }
}

fn forwarded<'a>(ours: Option<&'a [u8]>, head: Head<'a>, name: &'static [u8]) -> Value<'a> {
    ours.map_or_else(|| header(Some(head), name), Value::Bytes)
}

fn argument<'a>(text: &'a [u8], name: &[u8]) -> Value<'a> {
    match form::first(text, name) {
        None => Value::Absent,
        Some(None) => Value::True,
        Some(Some(raw)) => Value::Form(raw),
    }
}

fn post_argument<'a>(exchange: &Exchange<'a>, name: &[u8]) -> Value<'a> {
    let Some(body) = exchange.request.body else { return Value::Absent };
    let head = exchange.request.head;
    let kind = head.fields.all(head.bytes, b"content-type").next().unwrap_or_default();
    let is_form = kind.get(..FORM_TYPE.len()).is_some_and(|start| start.eq_ignore_ascii_case(FORM_TYPE));
    if is_form { argument(body.bytes, name) } else { Value::Absent }
}

fn cookie<'a>(head: Head<'a>, name: &[u8]) -> Value<'a> {
    let lines = Lines { head, name: b"cookie", separator: b"; " };
    let pairs = lines.values().flat_map(|line| line.split(|byte| *byte == b';'));
    let found = pairs.filter_map(|pair| {
        let at = memchr::memchr(b'=', pair)?;
        (pair[..at].trim_ascii() == name).then(|| pair[at + 1..].trim_ascii())
    });
    Value::text(found.last())
}
