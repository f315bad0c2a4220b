//! Heads on their way out: what is parsed once is written anew for the other side. And both ways of one that came before.

use std::hint::black_box;

use tollgate::http::fields::Fields;
use tollgate::http::limits::HeadLimits;
use tollgate::http::message::{Method, Version};
use tollgate::http::policy::{
    Forward, HostHeader, Peer, PeerTrust, Respond, ResponseFraming, Upgrade, forwarded, frame_response,
    write_recalled_request, write_recalled_response, write_request, write_response,
};
use tollgate::http::recall::{Recall, Recalled};
use tollgate::http::request::{RequestHead, parse_request, recall_request};
use tollgate::http::response::{Asked, ResponseHead, parse_response, recall_response};

const PEER: Peer<'static> =
    Peer { remote_addr: b"192.168.17.33", scheme: b"http", port: b"9080", trust: PeerTrust::Unconfigured };

fn forward<'a>(bytes: &'a [u8], head: &'a RequestHead) -> Forward<'a> {
    Forward {
        host: HostHeader::Pass { fallback: b"10.0.0.17:8080" },
        peer: PEER,
        forwarded: forwarded(bytes, head, &PEER),
        upgrade: Upgrade::Drop,
        target: None,
        via: Some(b"tollgate"),
    }
}

/// What goes upstream, the forwarding fields included.
pub fn request_rewritten(bytes: &[u8], count: u64) {
    let mut head = RequestHead::default();
    parse_request(bytes, &HeadLimits::default(), &mut head).expect("a request");
    let mut out = Vec::with_capacity(16 * 1024);
    for _ in 0..count {
        out.clear();
        write_request(&mut out, black_box(bytes), &head, &forward(bytes, &head));
        assert!(black_box(&out).len() > 100);
    }
}

/// Read and written where the same lines came before.
pub fn request_recalled(bytes: &[u8], count: u64) {
    let (mut recall, mut recalled) = (Recall::default(), Recalled::default());
    let (mut head, limits) = (RequestHead::default(), HeadLimits::default());
    let mut out = Vec::with_capacity(16 * 1024);
    for _ in 0..count {
        out.clear();
        head.clear();
        let parsed = recall_request(black_box(bytes), &limits, &mut head, &mut recall, &mut recalled);
        assert!(parsed.is_ok());
        write_recalled_request(&mut out, bytes, &head, &forward(bytes, &head), &recalled);
        assert!(black_box(&out).len() > 100);
    }
}

/// The same towards the client.
pub fn response_recalled(bytes: &[u8], count: u64) {
    let (mut recall, mut recalled) = (Recall::default(), Recalled::default());
    let (mut head, limits) = (ResponseHead::default(), HeadLimits::default());
    let asked = Asked { method: Method::Get, upgrade: false };
    let (mut out, mut sent) = (Vec::with_capacity(16 * 1024), Fields::default());
    for _ in 0..count {
        out.clear();
        head.clear();
        let parsed = recall_response(black_box(bytes), &limits, asked, &mut head, &mut recall, &mut recalled);
        assert!(parsed.is_ok());
        let framing = frame_response(&head, Version::Http11, true, false);
        write_recalled_response(&mut out, bytes, &head, &respond(framing), &mut sent, &recalled);
        assert!(black_box(&out).len() > 100);
    }
}

const fn respond(framing: ResponseFraming) -> Respond<'static> {
    Respond {
        server: b"Tollgate/0.1.0",
        date: b"Tue, 15 Nov 1994 08:12:31 GMT",
        upstream_status: None,
        framing,
        via: Some(b"1.1 tollgate"),
    }
}

/// What goes to the client.
pub fn response_rewritten(bytes: &[u8], count: u64) {
    let mut head = ResponseHead::default();
    let asked = Asked { method: Method::Get, upgrade: false };
    parse_response(bytes, &HeadLimits::default(), asked, &mut head).expect("a response");
    let (mut out, mut sent) = (Vec::with_capacity(16 * 1024), Fields::default());
    for _ in 0..count {
        out.clear();
        let respond = respond(frame_response(&head, Version::Http11, true, false));
        write_response(&mut out, black_box(bytes), &head, &respond, &mut sent);
        assert!(black_box(&out).len() > 100);
    }
}
