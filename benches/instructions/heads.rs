//! Heads on their way out: what is parsed once is written anew for the other side.

use std::hint::black_box;

use tollgate::http::fields::Fields;
use tollgate::http::limits::HeadLimits;
use tollgate::http::message::{Method, Version};
use tollgate::http::policy::{
    Forward, HostHeader, Peer, PeerTrust, Respond, Upgrade, forwarded, frame_response, write_request, write_response,
};
use tollgate::http::request::{RequestHead, parse_request};
use tollgate::http::response::{Asked, ResponseHead, parse_response};

/// What goes upstream, the forwarding fields included.
pub fn request_rewritten(bytes: &[u8], count: u64) {
    let mut head = RequestHead::default();
    parse_request(bytes, &HeadLimits::default(), &mut head).expect("a request");
    let peer = Peer { remote_addr: b"192.168.17.33", scheme: b"http", port: b"9080", trust: PeerTrust::Unconfigured };
    let mut out = Vec::with_capacity(16 * 1024);
    for _ in 0..count {
        out.clear();
        let forward = Forward {
            host: HostHeader::Pass { fallback: b"10.0.0.17:8080" },
            peer,
            forwarded: forwarded(bytes, &head, &peer),
            upgrade: Upgrade::Drop,
            target: None,
            via: Some(b"tollgate"),
        };
        write_request(&mut out, black_box(bytes), &head, &forward);
        assert!(black_box(&out).len() > 100);
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
        let respond = Respond {
            server: b"Tollgate/0.1.0",
            date: b"Tue, 15 Nov 1994 08:12:31 GMT",
            upstream_status: None,
            framing: frame_response(&head, Version::Http11, true, false),
            via: Some(b"1.1 tollgate"),
        };
        write_response(&mut out, black_box(bytes), &head, &respond, &mut sent);
        assert!(black_box(&out).len() > 100);
    }
}
