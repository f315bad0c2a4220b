//! An exchange for tests: made by hand, every part to be replaced.

use super::exchange::{
    Captured, ClientView, Exchange, Forwarded, GatewayNames, Head, RequestView, ResponseView, RouteNames, UpstreamView,
};
use super::plan::{Include, Plan, PlanSpec, RenderState};
use crate::base::time::{Mono, Now, Wall};
use crate::http::fields::{Field, Fields, Span};
use crate::kafka::batch::Out;

/// A head that owns its bytes.
pub struct OwnedHead {
    fields: Fields,
    bytes: Vec<u8>,
}

impl OwnedHead {
    pub fn of(lines: &[(&str, &[u8])]) -> Self {
        let (mut fields, mut bytes) = (Fields::default(), Vec::new());
        let mut add = |text: &[u8]| {
            let start = bytes.len();
            bytes.extend_from_slice(text);
            Span::new(start, bytes.len())
        };
        for (name, value) in lines {
            fields.push(Field { name: add(name.as_bytes()), value: add(value) });
        }
        Self { fields, bytes }
    }

    pub fn view(&self) -> Head<'_> {
        Head::new(&self.fields, &self.bytes)
    }
}

/// What an exchange borrows.
pub struct Sample {
    pub request: OwnedHead,
    pub response: OwnedHead,
    pub upstream: OwnedHead,
    pub route: RouteNames,
    pub gateway: GatewayNames,
}

impl Default for Sample {
    fn default() -> Self {
        Self {
            request: OwnedHead::of(&[("Host", b"Example.com:9080"), ("User-Agent", b"curl/8"), ("Accept", b"*/*")]),
            response: OwnedHead::of(&[
                ("Content-Type", b"text/plain"),
                ("Content-Length", b"5"),
                ("Server", b"Tollgate"),
            ]),
            upstream: OwnedHead::of(&[("Server", b"echo"), ("X-Trace-Id", b"t1")]),
            route: RouteNames { id: "r1".into(), name: Some("first".into()), service: None },
            gateway: GatewayNames { hostname: "box".into(), version: "0.1.0".into(), pid: 7 },
        }
    }
}

impl Sample {
    pub fn exchange(&self) -> Exchange<'_> {
        let wall = Wall { unix_us: 1_699_596_164_550_123, utc_offset_min: 0 };
        Exchange {
            request: RequestView {
                line: b"GET /h%65llo?a=1&b HTTP/1.1",
                method: b"GET",
                target: b"/h%65llo?a=1&b",
                path: b"/hello",
                args: b"a=1&b",
                protocol: b"HTTP/1.1",
                host: b"example.com",
                head: self.request.view(),
                forwarded: Forwarded::default(),
                size_bytes: 120,
                body: None,
                uri_params: &[],
            },
            response: ResponseView {
                status: 200,
                head: Some(self.response.view()),
                bytes_sent: 150,
                body_bytes_sent: 5,
                body: None,
                complete: true,
            },
            upstream: Some(self.upstream()),
            client: ClientView {
                remote_addr: b"127.0.0.1",
                remote_port: 40_000,
                realip_remote_addr: b"10.0.0.9",
                realip_remote_port: 40_001,
                server_addr: b"127.0.0.2",
                server_port: 9080,
                scheme: b"http",
                connection: 3,
                connection_requests: 2,
                pipelined: false,
            },
            route: Some(&self.route),
            gateway: &self.gateway,
            start: Now { mono: Mono::from_ns(1_000_000), wall },
            end: Now { mono: Mono::from_ns(13_345_678), wall },
            request_id: *b"\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\xff",
        }
    }

    fn upstream(&self) -> UpstreamView<'_> {
        UpstreamView {
            address: b"10.0.0.1:80, 10.0.0.2:80",
            status: b"502, 200",
            head: Some(self.upstream.view()),
            response_ns: 10_100_999,
            connect_ns: Some(1_000_000),
            header_ns: None,
            host: b"node.example",
            scheme: b"http",
            uri: b"",
            ip: b"10.0.0.2",
            port: 80,
            unresolved_host: b"node.example",
            response_length: 5,
            bytes_sent: 99,
            bytes_received: 88,
        }
    }
}

/// A body that was kept whole.
pub const fn body(bytes: &[u8]) -> Option<Captured<'_>> {
    Some(Captured { bytes, truncated: false })
}

/// One entry, twice from the same state: what the first leaves behind must not show.
pub fn rendered(spec: &PlanSpec<'_>, exchange: &Exchange<'_>, include: Include) -> Vec<u8> {
    let plan = Plan::compile(spec);
    let mut state = RenderState::default();
    let mut entry = || {
        let mut bytes = vec![0; 256 * 1024];
        let mut out = Out::new(&mut bytes);
        plan.render(&mut state, exchange, include, &mut out);
        assert!(!out.overflowed());
        out.written().to_vec()
    };
    let first = entry();
    assert_eq!(first, entry());
    first
}
