//! Replies that the gateway makes itself, and the one place that turns a fault into a status (APISIX-COMPAT §6.6).

use super::fields::Fields;
use super::write::HeadWriter;
use crate::base::Fault;
use crate::base::fault::{Kind, Side};

/// What stands in a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content<'a> {
    /// nginx's default page for the status, in our name.
    Page,
    /// This body.
    Body {
        /// Content-Type.
        media_type: &'a [u8],
        /// The bytes.
        bytes: &'a [u8],
    },
    /// Nothing but what is allowed: an answer to OPTIONS (RFC 9110 §9.3.7).
    Allowed,
}

/// No route matched (APISIX-COMPAT §6.6).
pub const ROUTE_NOT_FOUND: Content<'static> =
    Content::Body { media_type: b"text/plain; charset=utf-8", bytes: b"{\"error_msg\":\"404 Route Not Found\"}\n" };

/// What a 405 of ours allows (RFC 9110 §15.5.6): it answers CONNECT, and TRACE that goes no further.
const ALLOW: &[u8] = b"GET, HEAD, POST, PUT, DELETE, PATCH, OPTIONS, TRACE";

/// One reply of our own.
#[derive(Clone, Copy, Debug)]
pub struct Reply<'a> {
    /// The status, 200–599, not 204 or 304.
    pub status: u16,
    /// What stands in it.
    pub content: Content<'a>,
    /// True if the connection takes another request afterwards.
    pub keep_alive: bool,
    /// True for HEAD: the head says the length, the body stays away.
    pub head_only: bool,
    /// The Server field's value.
    pub server: &'a [u8],
    /// The Date field's value (`date::imf_fixdate`).
    pub date: &'a [u8],
    /// X-APISIX-Upstream-Status, where it is due (APISIX-COMPAT §9.2).
    pub upstream_status: Option<&'a [u8]>,
}

/// Appends the whole reply, head and body, and returns the length of the head in bytes. `out` is empty before; `sent` is
/// cleared and then holds every line as positions in `out`.
pub fn write_reply(out: &mut Vec<u8>, reply: &Reply<'_>, sent: &mut Fields) -> usize {
    sent.clear();
    let start = out.len();
    let mut digits = itoa::Buffer::new();
    let (status, reason) = (digits.format(reply.status).as_bytes(), reason_of(reply.status).as_bytes());
    let page = page(status, reason);
    let body: (&[u8], &[&[u8]]) = match &reply.content {
        Content::Page => (b"text/html; charset=utf-8", &page),
        Content::Body { media_type, bytes } => (media_type, std::slice::from_ref(bytes)),
        Content::Allowed => (b"", &[]),
    };
    let mut head = HeadWriter { out, sent: Some(sent) };
    head.status_line(reply.status, reason);
    head.line(b"Server: ", reply.server);
    head.line(b"Date: ", reply.date);
    if !body.0.is_empty() {
        head.line(b"Content-Type: ", body.0);
    }
    head.number(b"Content-Length: ", body.1.iter().map(|part| part.len() as u64).sum());
    head.line(b"Connection: ", if reply.keep_alive { b"keep-alive" } else { b"close" });
    if reply.status == 405 || reply.content == Content::Allowed {
        head.line(b"Allow: ", ALLOW);
    }
    if let Some(upstream_status) = reply.upstream_status {
        head.line(b"X-APISIX-Upstream-Status: ", upstream_status);
    }
    head.end();
    let head_len = out.len() - start;
    if !reply.head_only {
        body.1.iter().for_each(|part| out.extend_from_slice(part));
    }
    head_len
}

/// nginx's page, in parts.
fn page<'a>(status: &'a [u8], reason: &'a [u8]) -> [&'a [u8]; 9] {
    [
        b"<html>\r\n<head><title>",
        status,
        b" ",
        reason,
        b"</title></head>\r\n<body>\r\n<center><h1>",
        status,
        b" ",
        reason,
        b"</h1></center>\r\n<hr><center>tollgate</center>\r\n</body>\r\n</html>\r\n",
    ]
}

/// Status of a request whose client went away before the answer (nginx's 499): logged, never sent.
pub const CLIENT_GONE: u16 = 499;

/// The status that a fault of the data path becomes (APISIX-COMPAT §6.6). [`CLIENT_GONE`] means that nobody is there to read
/// it: log it, send nothing. A broker's fault reaches a client only when the response was held for its record.
pub const fn status_of(fault: Fault) -> u16 {
    match (fault.side, fault.kind) {
        (_, Kind::Stopping | Kind::Exhausted) => 503,
        (_, Kind::NoNode) => status_without_node(0),
        (Side::Downstream, Kind::Malformed) => 400,
        (Side::Downstream, Kind::Closed | Kind::Connect) => CLIENT_GONE,
        (Side::Downstream, Kind::Timeout) => 408,
        (Side::Downstream, Kind::TooLarge) => 413,
        (Side::Upstream, Kind::Timeout) => 504,
        (Side::Upstream, Kind::Malformed | Kind::Closed | Kind::Connect | Kind::TooLarge) => 502,
        (Side::Broker, _) => 503,
    }
}

/// The status when no node can be taken: 503 if the upstream has none at all, 502 if none of them may be picked (APISIX-COMPAT §6.6).
pub const fn status_without_node(configured_nodes: usize) -> u16 {
    if configured_nodes == 0 { 503 } else { 502 }
}

/// The reason phrase that nginx prints for a status (APISIX-COMPAT §6.6: `504 Gateway Time-out`); empty for one it has not.
pub const fn reason_of(status: u16) -> &'static str {
    match status {
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        301 => "Moved Permanently",
        302 => "Moved Temporarily",
        303 => "See Other",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Authorization Required",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Not Allowed",
        406 => "Not Acceptable",
        408 => "Request Time-out",
        409 => "Conflict",
        410 => "Gone",
        411 => "Length Required",
        412 => "Precondition Failed",
        413 => "Request Entity Too Large",
        414 => "Request-URI Too Large",
        415 => "Unsupported Media Type",
        416 => "Requested Range Not Satisfiable",
        417 => "Expectation Failed",
        421 => "Misdirected Request",
        426 => "Upgrade Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Temporarily Unavailable",
        504 => "Gateway Time-out",
        505 => "HTTP Version Not Supported",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::limits::HeadLimits;
    use crate::http::message::{Method, Parsed};
    use crate::http::response::{Asked, ResponseBody, ResponseHead, parse_response};

    const DATE: &[u8] = b"Sun, 06 Nov 1994 08:49:37 GMT";

    fn reply(status: u16, content: Content<'_>) -> Reply<'_> {
        Reply {
            status,
            content,
            keep_alive: true,
            head_only: false,
            server: b"APISIX/3.18.0",
            date: DATE,
            upstream_status: None,
        }
    }

    fn written(reply: &Reply<'_>) -> (String, usize, Fields) {
        let (mut out, mut sent) = (Vec::new(), Fields::default());
        let head_len = write_reply(&mut out, reply, &mut sent);
        (String::from_utf8(out).unwrap(), head_len, sent)
    }

    #[test]
    fn the_missing_route_is_said_in_json() {
        let (text, ..) = written(&reply(404, ROUTE_NOT_FOUND));
        assert_eq!(
            text,
            "HTTP/1.1 404 Not Found\r\nServer: APISIX/3.18.0\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n\
             Content-Type: text/plain; charset=utf-8\r\nContent-Length: 36\r\nConnection: keep-alive\r\n\r\n\
             {\"error_msg\":\"404 Route Not Found\"}\n"
        );
    }

    #[test]
    fn every_reply_is_a_response_whose_length_is_right() {
        for status in [200u16, 400, 404, 405, 408, 413, 414, 417, 431, 499, 500, 501, 502, 503, 504, 505, 599] {
            for content in [Content::Page, Content::Allowed, ROUTE_NOT_FOUND] {
                for head_only in [false, true] {
                    let one = Reply { keep_alive: status < 500, head_only, ..reply(status, content) };
                    let (text, head_len, sent) = written(&one);
                    let asked = Asked { method: if head_only { Method::Head } else { Method::Get }, upgrade: false };
                    let mut head = ResponseHead::default();
                    let parsed = parse_response(text.as_bytes(), &HeadLimits::default(), asked, &mut head);
                    assert_eq!(parsed, Ok(Parsed::Complete), "{text}");
                    assert_eq!((head.len, head.keep_alive), (head_len, one.keep_alive));
                    assert_eq!(head.fields.as_slice(), sent.as_slice());
                    let body_len = (text.len() - head_len) as u64;
                    let expected = if head_only { ResponseBody::None } else { ResponseBody::Length(body_len) };
                    assert_eq!(head.body, expected);
                    assert_eq!((head_only && body_len > 0, head.declared_length.is_some()), (false, true));
                }
            }
        }
    }

    #[test]
    fn an_error_page_names_status_and_reason_as_nginx_does() {
        let one = Reply { upstream_status: Some(b"502, 504"), keep_alive: false, ..reply(504, Content::Page) };
        let (text, ..) = written(&one);
        assert!(text.starts_with("HTTP/1.1 504 Gateway Time-out\r\n"));
        assert!(text.contains("Connection: close\r\nX-APISIX-Upstream-Status: 502, 504\r\n\r\n"));
        assert!(text.contains("<h1>504 Gateway Time-out</h1>") && text.contains("<center>tollgate</center>"));
        for (status, content) in [(405, Content::Page), (200, Content::Allowed)] {
            assert!(written(&reply(status, content)).0.contains("\r\nAllow: GET"));
        }
    }

    #[test]
    fn faults_become_the_statuses_of_apisix() {
        for (side, kind, status) in [
            (Side::Upstream, Kind::Connect, 502),
            (Side::Upstream, Kind::Closed, 502),
            (Side::Upstream, Kind::Malformed, 502),
            (Side::Upstream, Kind::TooLarge, 502),
            (Side::Upstream, Kind::Timeout, 504),
            (Side::Upstream, Kind::NoNode, 503),
            (Side::Downstream, Kind::Malformed, 400),
            (Side::Downstream, Kind::Closed, 499),
            (Side::Downstream, Kind::Timeout, 408),
            (Side::Downstream, Kind::TooLarge, 413),
            (Side::Downstream, Kind::Stopping, 503),
            (Side::Upstream, Kind::Exhausted, 503),
            (Side::Broker, Kind::Timeout, 503),
        ] {
            assert_eq!(status_of(Fault::new(side, kind)), status, "{side:?} {kind:?}");
        }
        assert_eq!(status_without_node(3), 502);
    }
}
