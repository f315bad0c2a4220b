//! What goes on is the same message to another reader: heads that the gateway writes, read by httparse with hyper's rules for where
//! a body ends. Knows none of the gateway's own rules but the list of fields that it may take out or write itself.

use httparse::{EMPTY_HEADER, Header, Status, parse_chunk_size, parse_headers};
use tollgate::base::fault::Side;
use tollgate::http::fields::Fields;
use tollgate::http::limits::HeadLimits;
use tollgate::http::message::{Method, Parsed, Version};
use tollgate::http::policy::{
    self, Forward, HostHeader, Peer, PeerTrust, Respond, SentBody, Upgrade, forwarded, frame_response,
};
use tollgate::http::reads::reads;
use tollgate::http::recode::{Outgoing, Recoder};
use tollgate::http::request::{BodyLength, RequestHead, TargetForm, parse_request};
use tollgate::http::response::{Asked, ResponseBody, ResponseHead, parse_response};

/// Header lines that httparse may find: a full head and what the gateway adds.
const LINES: usize = 128;

/// Fields of one connection, or of framing: never passed on as they came.
const HOP: [&str; 11] = [
    "connection",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "content-length",
    "http2-settings",
    "expect",
    "host",
];
/// Fields that the gateway writes, whoever sent them.
const OURS_UP: [&str; 8] = [
    "x-real-ip",
    "x-forwarded-for",
    "x-forwarded-proto",
    "x-forwarded-host",
    "x-forwarded-port",
    "forwarded",
    "via",
    "max-forwards",
];
const OURS_DOWN: [&str; 6] = ["server", "date", "via", "x-apisix-upstream-status", "x-pad", "expect"];

/// The first byte steers; the rest is a request or a response, with what of its body came.
pub fn forwarded_is_the_same_message(bytes: &[u8]) {
    let Some((&steer, bytes)) = bytes.split_first() else { return };
    if steer & 1 == 0 {
        policy::fuzz_forward(bytes);
        request(steer, bytes);
    } else {
        response(steer, bytes);
    }
}

fn request(steer: u8, bytes: &[u8]) {
    let mut head = RequestHead::default();
    if parse_request(bytes, &HeadLimits::default(), &mut head) != Ok(Parsed::Complete) {
        return;
    }
    let trust = [PeerTrust::Unconfigured, PeerTrust::Trusted, PeerTrust::Untrusted][usize::from(steer >> 1) % 3];
    let peer = Peer { remote_addr: b"10.0.0.9", scheme: b"http", port: b"9080", trust };
    let forward = Forward {
        host: HostHeader::Pass { fallback: b"node" },
        peer,
        forwarded: forwarded(bytes, &head, &peer),
        upgrade: if steer & 8 == 0 { Upgrade::Drop } else { Upgrade::WebSocket },
        target: None,
        via: (steer & 16 == 0).then_some(b"tollgate"),
    };
    let mut out = Vec::new();
    policy::write_request(&mut out, bytes, &head, &forward);
    let mut lines = [EMPTY_HEADER; LINES];
    let mut read = httparse::Request::new(&mut lines);
    assert_eq!(read.parse(&out), Ok(Status::Complete(out.len())), "{}", out.escape_ascii());
    assert_eq!(read.version, Some(1));
    assert_eq!(read.method.map(str::as_bytes), Some(head.method.of(bytes)));
    let target = read.path.expect("complete").as_bytes();
    match head.form {
        TargetForm::Origin => assert_eq!(target, head.target.of(bytes)),
        TargetForm::Asterisk => assert_eq!(target, b"*"),
        TargetForm::Absolute => {
            assert!(head.target.of(bytes).ends_with(target) || target.starts_with(b"/?") || target == b"/")
        }
    }
    let body = match head.body {
        BodyLength::None => Length::Bytes(0),
        BodyLength::Length(length) => Length::Bytes(length),
        BodyLength::Chunked => Length::Chunked,
    };
    assert_eq!(request_body(read.headers), body, "{}", out.escape_ascii());
    assert_eq!(values(read.headers, "host").len(), 1);
    assert_eq!(passed(read.headers, &OURS_UP), sent(&head.fields, bytes, &OURS_UP));
    if head.body == BodyLength::Chunked {
        chunks(&bytes[head.len..], Side::Downstream);
    }
}

fn response(steer: u8, bytes: &[u8]) {
    let method = if steer & 2 == 0 { Method::Get } else { Method::Head };
    let asked = Asked { method, upgrade: steer & 4 != 0 };
    let mut head = ResponseHead::default();
    if parse_response(bytes, &HeadLimits::default(), asked, &mut head) != Ok(Parsed::Complete) {
        return;
    }
    let mut out = Vec::new();
    let version = if steer & 8 == 0 { Version::Http11 } else { Version::Http10 };
    let framing = frame_response(&head, version, steer & 16 == 0, method == Method::Head);
    if head.is_interim() {
        policy::write_interim(&mut out, bytes, &head);
    } else {
        let upstream_status = (steer & 32 != 0).then_some(&b"200"[..]);
        let respond = Respond { server: b"S", date: b"D", upstream_status, framing, via: Some(b"tollgate") };
        policy::write_response(&mut out, bytes, &head, &respond, &mut Fields::default());
    }
    let mut lines = [EMPTY_HEADER; LINES];
    let mut read = httparse::Response::new(&mut lines);
    assert_eq!(read.parse(&out), Ok(Status::Complete(out.len())), "{}", out.escape_ascii());
    assert_eq!((read.version, read.code), (Some(1), Some(head.status)));
    if head.status >= 200 {
        let body = match framing.body {
            SentBody::None => Length::Bytes(0),
            SentBody::Length(length) => Length::Bytes(length),
            SentBody::Chunked => Length::Chunked,
            SentBody::Close => Length::UntilClose,
        };
        assert_eq!(response_body(read.headers, method, head.status), body, "{}", out.escape_ascii());
    }
    assert_eq!(passed(read.headers, &OURS_DOWN), sent(&head.fields, bytes, &OURS_DOWN));
    if head.body == ResponseBody::Chunked {
        chunks(&bytes[head.len..], Side::Upstream);
    }
}

/// A chunked body that came whole: what we make of it, read by httparse, is the same payload and ends where we end it.
fn chunks(body: &[u8], from: Side) {
    let mut payload = Vec::new();
    let whole = Recoder::new(from, Outgoing::Raw).take(body, &mut payload, |_| Ok(()));
    let Ok(Some(end)) = whole else { return };
    let (mut recoder, mut out) = (Recoder::new(from, Outgoing::Chunked), Vec::new());
    let mut at = 0;
    for read_end in reads(&body[..end]) {
        recoder.take(&body[at..read_end], &mut out, |_| Ok(())).expect("the same body");
        at = read_end;
    }
    let (mut read, mut at) = (Vec::new(), 0);
    loop {
        let Ok(Status::Complete((line, size))) = parse_chunk_size(&out[at..]) else {
            panic!("no chunk size at {at} of {}", out.escape_ascii())
        };
        at += line;
        if size == 0 {
            break;
        }
        let data = &out[at..][..usize::try_from(size).expect("it came")];
        read.extend_from_slice(data);
        at += data.len() + 2;
        assert_eq!(&out[at - 2..at], b"\r\n");
    }
    assert_eq!(read, payload);
    let mut lines = [EMPTY_HEADER; LINES];
    let Ok(Status::Complete((len, trailers))) = parse_headers(&out[at..], &mut lines) else {
        panic!("no trailers at {at} of {}", out.escape_ascii())
    };
    assert_eq!(at + len, out.len());
    assert!(trailers.iter().all(|line| !HOP.contains(&line.name.to_ascii_lowercase().as_str())));
}

/// Where a body ends.
#[derive(Debug, PartialEq, Eq)]
enum Length {
    Bytes(u64),
    Chunked,
    UntilClose,
}

/// hyper's server: the last coding must be chunked, else one length, else nothing.
fn request_body(lines: &[Header<'_>]) -> Length {
    framed(lines).unwrap_or(Length::Bytes(0))
}

/// hyper's client: what the request and the status say comes first.
fn response_body(lines: &[Header<'_>], method: Method, status: u16) -> Length {
    if method == Method::Head || matches!(status, 100..=199 | 204 | 304) {
        return Length::Bytes(0);
    }
    framed(lines).unwrap_or(Length::UntilClose)
}

fn framed(lines: &[Header<'_>]) -> Option<Length> {
    let (codings, lengths) = (values(lines, "transfer-encoding"), values(lines, "content-length"));
    assert!(codings.len() + lengths.len() <= 1, "{codings:?} {lengths:?}");
    if let Some(coding) = codings.first() {
        assert_eq!(*coding, b"chunked");
        return Some(Length::Chunked);
    }
    let digits = std::str::from_utf8(lengths.first()?).expect("digits");
    Some(Length::Bytes(digits.parse().expect("a number that fits")))
}

fn values<'a>(lines: &[Header<'a>], name: &str) -> Vec<&'a [u8]> {
    lines.iter().filter(|line| line.name.eq_ignore_ascii_case(name)).map(|line| line.value).collect()
}

/// The fields that another reader sees, without those that the gateway writes.
fn passed(lines: &[Header<'_>], ours: &[&str]) -> Vec<(String, Vec<u8>)> {
    let named = lines.iter().filter(|line| !line.name.is_empty());
    kept(named.map(|line| (line.name.as_bytes(), line.value)), ours, &[])
}

/// The fields that came, without those that must not go on.
fn sent(fields: &Fields, bytes: &[u8], ours: &[&str]) -> Vec<(String, Vec<u8>)> {
    let nominated: Vec<String> = fields
        .all(bytes, b"connection")
        .flat_map(|value| value.split(|&byte| byte == b','))
        .map(|option| lower(option.trim_ascii()))
        .collect();
    kept(fields.iter(bytes), ours, &nominated)
}

fn kept<'a>(
    lines: impl Iterator<Item = (&'a [u8], &'a [u8])>,
    ours: &[&str],
    nominated: &[String],
) -> Vec<(String, Vec<u8>)> {
    let lines = lines.map(|(name, value)| (lower(name), value.to_vec()));
    // CGI and WSGI read both spellings as one name.
    let plain = |name: &str| name.replace('_', "-");
    let goes_on = |name: &str| {
        let (spelt, known) = (plain(name), |list: &[&str]| list.contains(&plain(name).as_str()));
        !known(&HOP) && !known(ours) && !spelt.starts_with("x-accel-") && !nominated.iter().any(|other| other == name)
    };
    lines.filter(|(name, _)| goes_on(name)).collect()
}

fn lower(name: &[u8]) -> String {
    String::from_utf8_lossy(name).to_ascii_lowercase()
}
