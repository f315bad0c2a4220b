//! Answers that the gateway gives itself, and the one place where a fault becomes a status (APISIX-COMPAT §6.6).

use super::date::write_date;
use super::fields::Fields;
use super::policy::put;
use crate::base::fault::{Fault, Kind, Side};

/// One of our own answers.
#[derive(Clone, Copy, Debug)]
pub struct Reply<'a> {
    /// The status.
    pub status: u16,
    /// Another request may follow.
    pub keep_alive: bool,
    /// The request was a HEAD.
    pub head_only: bool,
    /// The value of Server.
    pub server: &'a [u8],
    /// Now, in seconds since 1970.
    pub unix_s: u64,
    /// What the upstreams answered, if any was asked: X-APISIX-Upstream-Status.
    pub upstream_status: Option<&'a [u8]>,
}

/// The status that says what broke.
pub const fn status_of(fault: Fault) -> u16 {
    match (fault.side, fault.kind) {
        (Side::Downstream, Kind::Timeout) => 408,
        (Side::Downstream, Kind::TooLarge) => 413,
        (Side::Downstream, Kind::Closed) => 499,
        (Side::Downstream, _) => 400,
        (Side::Upstream, Kind::Timeout) => 504,
        (Side::Upstream | Side::Broker, Kind::NoNode | Kind::Stopping | Kind::Exhausted) | (Side::Broker, _) => 503,
        (Side::Upstream, _) => 502,
    }
}

/// The reason phrase of a status that we send.
pub const fn phrase(status: u16) -> &'static str {
    match status {
        400 => "Bad Request",
        404 => "Not Found",
        405 => "Not Allowed",
        408 => "Request Time-out",
        413 => "Request Entity Too Large",
        414 => "Request-URI Too Large",
        431 => "Request Header Fields Too Large",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Temporarily Unavailable",
        504 => "Gateway Time-out",
        505 => "HTTP Version Not Supported",
        _ => "Error",
    }
}

/// Appends head and body to `out`, the positions of the header lines to `sent`. Gives the length of the head.
pub fn write_reply(out: &mut Vec<u8>, reply: &Reply<'_>, sent: &mut Fields) -> usize {
    let (kind, body) = body(reply.status);
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(itoa::Buffer::new().format(reply.status).as_bytes());
    out.push(b' ');
    out.extend_from_slice(phrase(reply.status).as_bytes());
    out.extend_from_slice(b"\r\n");
    let mut date = Vec::with_capacity(32);
    write_date(&mut date, reply.unix_s);
    put(out, sent, b"Date", &date);
    put(out, sent, b"Content-Type", kind.as_bytes());
    put(out, sent, b"Content-Length", itoa::Buffer::new().format(body.len()).as_bytes());
    put(out, sent, b"Connection", if reply.keep_alive { b"keep-alive" } else { b"close" });
    put(out, sent, b"Server", reply.server);
    if let Some(status) = reply.upstream_status {
        put(out, sent, b"X-APISIX-Upstream-Status", status);
    }
    out.extend_from_slice(b"\r\n");
    let head = out.len();
    if !reply.head_only {
        out.extend_from_slice(body.as_bytes());
    }
    head
}

/// Content type and body: JSON where APISIX says it in JSON, else nginx's page with our name under it.
fn body(status: u16) -> (&'static str, String) {
    if status == 404 {
        return ("text/plain; charset=utf-8", "{\"error_msg\":\"404 Route Not Found\"}\n".to_owned());
    }
    let title = format!("{status} {}", phrase(status));
    let page = format!(
        "<html>\r\n<head><title>{title}</title></head>\r\n<body>\r\n<center><h1>{title}</h1></center>\r\n\
         <hr><center>tollgate</center>\r\n</body>\r\n</html>\r\n"
    );
    ("text/html; charset=utf-8", page)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(status: u16, head_only: bool) -> (String, usize) {
        let mut out = Vec::new();
        let reply = Reply {
            status,
            keep_alive: true,
            head_only,
            server: b"tollgate",
            unix_s: 0,
            upstream_status: Some(b"502, 502"),
        };
        let head = write_reply(&mut out, &reply, &mut Fields::default());
        (String::from_utf8(out).unwrap(), head)
    }

    #[test]
    fn a_missing_route_is_said_in_json_as_apisix_says_it() {
        let (text, head) = written(404, false);
        assert!(text.starts_with("HTTP/1.1 404 Not Found\r\n"));
        assert_eq!(&text[head..], "{\"error_msg\":\"404 Route Not Found\"}\n");
    }

    #[test]
    fn the_length_is_said_but_no_body_sent_to_head() {
        let (text, head) = written(502, true);
        assert_eq!(text.len(), head);
        assert!(!text.contains("Content-Length: 0"));
        assert!(written(502, false).0.contains("<h1>502 Bad Gateway</h1>"));
    }

    #[test]
    fn every_fault_has_its_status() {
        let upstream = |kind| status_of(Fault::new(Side::Upstream, kind));
        assert_eq!((upstream(Kind::Connect), upstream(Kind::Malformed), upstream(Kind::Timeout)), (502, 502, 504));
        assert_eq!(status_of(Fault::new(Side::Downstream, Kind::TooLarge)), 413);
    }
}
