//! The cases: what every request passes through, on bytes as clients send them.

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};

use tollgate::base::time::{Mono, Now, Wall};
use tollgate::http::limits::HeadLimits;
use tollgate::http::message::Method;
use tollgate::http::request::{RequestHead, parse_request};
use tollgate::http::response::{Asked, ResponseHead, parse_response};
use tollgate::kafka::batch::{Identity, OpenBatch, Out, Sealed, key_bytes, write_header};
use tollgate::kafka::options::Partitioner;
use tollgate::kafka::partition::of_key;
use tollgate::kafka::trace::Stream;

use tollgate::log::exchange::{Captured, ClientView, Forwarded, Head, RequestView, ResponseView, UpstreamView};
use tollgate::log::{
    EntryPlace, Exchange, FormatChoice, GatewayNames, Include, Plan, PlanSpec, RenderState, RouteNames,
};
use tollgate::route::table::{MethodSet, RouteEntry, RouteIndex, RouteQuery, RouteTable, RouterMode};

use crate::heads;

/// A name, how many repetitions are counted, and what repeats it so often.
type Case = (&'static str, u64, fn(u64));

/// Enough where the rest of the process always costs the same.
const SOME: u64 = 1_000;
/// Where the preparation's cost is not always the same (hash tables seed themselves), it must vanish in the sum.
const MANY: u64 = 40_000;

/// All cases.
pub const ALL: &[Case] = &[
    ("request_head_curl", SOME, |count| request_head(CURL, count)),
    ("request_head_browser", SOME, |count| request_head(BROWSER, count)),
    ("response_head", SOME, response_head),
    ("request_rewritten_curl", SOME, |count| heads::request_rewritten(CURL, count)),
    ("request_rewritten_browser", SOME, |count| heads::request_rewritten(BROWSER, count)),
    ("response_rewritten", SOME, |count| heads::response_rewritten(RESPONSE, count)),
    ("request_recalled_curl", SOME, |count| heads::request_recalled(CURL, count)),
    ("request_recalled_browser", SOME, |count| heads::request_recalled(BROWSER, count)),
    ("response_recalled", SOME, |count| heads::response_recalled(RESPONSE, count)),
    ("route_exact_of_1000", MANY, |count| route("/service-{}/get", count)),
    ("route_prefix_of_1000", MANY, |count| route("/area-{}/some/where/deep", count)),
    ("entry_default", SOME, |count| entry(None, None, count)),
    ("entry_default_by_simd_json", SOME, entry_by_simd_json),
    ("entry_with_bodies_of_1_kib", SOME, |count| entry(None, Some(body()), count)),
    ("entry_four_fields", SOME, |count| entry(Some(FOUR_FIELDS), None, count)),
    ("record_in_a_batch", SOME, record_in_a_batch),
    ("record_with_header", SOME, record_with_header),
    ("batch_sealed_64_kib", SOME, batch_sealed),
    ("crc_of_64_kib", SOME, crc),
    ("partition_of_a_key_murmur2", SOME, |count| partition(Partitioner::Murmur2, count)),
    ("partition_of_a_key_crc32", SOME, |count| partition(Partitioner::Crc32, count)),
];

const CURL: &[u8] = b"GET /get?a=1 HTTP/1.1\r\nHost: 127.0.0.1:9080\r\nUser-Agent: curl/7.88.1\r\nAccept: */*\r\n\r\n";

const BROWSER: &[u8] = b"GET /articles/2021/08/kafka-logger?utm_source=news HTTP/1.1\r\n\
Host: shop.example.com\r\n\
Connection: keep-alive\r\n\
Cache-Control: max-age=0\r\n\
Upgrade-Insecure-Requests: 1\r\n\
User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/124.0.0.0 Safari/537.36\r\n\
Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8\r\n\
Referer: https://shop.example.com/articles\r\n\
Accept-Encoding: gzip, deflate, br, zstd\r\n\
Accept-Language: en-GB,en;q=0.9,de;q=0.8\r\n\
Cookie: session=0123456789abcdef0123456789abcdef; theme=dark; consent=all\r\n\r\n";

const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\nServer: gunicorn\r\nDate: Tue, 15 Nov 1994 08:12:31 GMT\r\n\
Content-Type: application/json\r\nContent-Length: 258\r\nAccess-Control-Allow-Origin: *\r\n\r\n";

/// The article's format.
const FOUR_FIELDS: &str =
    r#"{"host":"$host","@timestamp":"$time_iso8601","client_ip":"$remote_addr","route_id":"$route_id"}"#;

fn request_head(bytes: &[u8], count: u64) {
    let (limits, mut head) = (HeadLimits::default(), RequestHead::default());
    for _ in 0..count {
        head.clear();
        let parsed = parse_request(black_box(bytes), &limits, &mut head);
        assert!(black_box(parsed).is_ok() && head.len == bytes.len());
    }
}

fn response_head(count: u64) {
    let (limits, mut head) = (HeadLimits::default(), ResponseHead::default());
    let asked = Asked { method: Method::Get, upgrade: false };
    for _ in 0..count {
        head.clear();
        let parsed = parse_response(black_box(RESPONSE), &limits, asked, &mut head);
        assert!(black_box(parsed).is_ok() && head.status == 200);
    }
}

/// Five hundred exact routes and five hundred prefixes.
fn table() -> RouteTable<()> {
    let uri = |number: u32| match number % 2 {
        0 => format!("/service-{number}/get"),
        _ => format!("/area-{}/*", number - 1),
    };
    let entry = |number: u32| RouteEntry {
        uris: vec![uri(number)],
        hosts: Vec::new(),
        methods: MethodSet::default(),
        remote_addrs: Vec::new(),
        vars: None,
        priority: 0,
        index: RouteIndex(number),
    };
    RouteTable::build((0..1000).map(entry).collect(), RouterMode::default())
}

/// Looks up one path after another: how far each lies from its place in the hash table differs from run to run, all together
/// hardly.
fn route(pattern: &str, count: u64) {
    let table = table();
    let paths: Vec<String> = (0..500).map(|number| pattern.replace("{}", &(number * 2).to_string())).collect();
    let remote_addr = Some(IpAddr::V4(Ipv4Addr::LOCALHOST));
    for path in (0..count).map(|number| paths[number as usize % paths.len()].as_bytes()) {
        let query = RouteQuery { host: b"shop.example.com", path: black_box(path), method: b"GET", remote_addr };
        let found = table.find(&query, &|()| unreachable!("no route looks at variables"));
        assert!(black_box(found).is_some());
    }
}

/// A body as an API sends it: quotes to escape, and 1 KiB of it.
fn body() -> Captured<'static> {
    const BODY: &[u8; 1024] = &{
        let (item, mut bytes) = (br#"{"name":"value", "list":[1,2,3]},"#, [b' '; 1024]);
        let mut at = 0;
        while at < bytes.len() {
            bytes[at] = item[at % item.len()];
            at += 1;
        }
        bytes
    };
    Captured { bytes: BODY, truncated: false }
}

/// Makes an exchange with a plan for it and hands both to `work`.
fn with_exchange(format: Option<&str>, body: Option<Captured<'static>>, work: impl FnOnce(&Plan, &Exchange<'_>)) {
    let format = format.map(|text| serde_json::from_str::<serde_json::Map<_, _>>(text).expect("an object"));
    let plan = Plan::compile(&PlanSpec {
        format: format.as_ref().map_or(FormatChoice::Default { extra: None }, FormatChoice::Custom),
        place: EntryPlace::Alone,
        include_request_body: body.is_some(),
        include_response_body: body.is_some(),
        request_body_bytes: 4096,
        response_body_bytes: 4096,
    });
    let (mut request, mut response) = (RequestHead::default(), ResponseHead::default());
    let limits = HeadLimits::default();
    parse_request(CURL, &limits, &mut request).expect("a request");
    parse_response(RESPONSE, &limits, Asked { method: Method::Get, upgrade: false }, &mut response)
        .expect("a response");
    let route = RouteNames { id: "r1".into(), ..RouteNames::default() };
    let gateway = GatewayNames { hostname: "gateway-1".into(), version: "0.1.0".into(), pid: 4711 };
    let mut exchange = exchange(&request, &response, &route, &gateway);
    (exchange.request.body, exchange.response.body) = (body, body);
    work(&plan, &exchange);
}

fn entry(format: Option<&str>, body: Option<Captured<'static>>, count: u64) {
    let (mut state, mut memory) = (RenderState::default(), vec![0; 16 * 1024]);
    with_exchange(format, body, |plan, exchange| {
        for _ in 0..count {
            let mut out = Out::new(&mut memory);
            plan.render(&mut state, black_box(exchange), Include::ALL, &mut out);
            assert!(black_box(out.len()) > 100 && !out.overflowed());
        }
    });
}

/// The same entry when it is a serde value already: what a library spends on writing alone.
fn entry_by_simd_json(count: u64) {
    let (mut state, mut memory) = (RenderState::default(), vec![0; 16 * 1024]);
    with_exchange(None, None, |plan, exchange| {
        let mut out = Out::new(&mut memory);
        plan.render(&mut state, exchange, Include::ALL, &mut out);
        let value: serde_json::Value = serde_json::from_slice(out.written()).expect("an entry is JSON");
        let mut text = Vec::with_capacity(16 * 1024);
        for _ in 0..count {
            text.clear();
            simd_json::serde::to_writer(&mut text, black_box(&value)).expect("a value is written");
            assert_eq!(black_box(&text).len(), out.len());
        }
    });
}

fn exchange<'a>(
    request: &'a RequestHead,
    response: &'a ResponseHead,
    route: &'a RouteNames,
    gateway: &'a GatewayNames,
) -> Exchange<'a> {
    let received = Head::new(&response.fields, RESPONSE);
    let wall = Wall { unix_us: 1_699_596_164_550_123, utc_offset_min: 60 };
    Exchange {
        request: RequestView {
            line: request.line.of(CURL),
            method: request.method.of(CURL),
            target: request.target.of(CURL),
            path: request.path.of(CURL),
            args: b"a=1",
            protocol: b"HTTP/1.1",
            host: request.host.of(CURL),
            head: Head::new(&request.fields, CURL),
            forwarded: Forwarded::default(),
            size_bytes: CURL.len() as u64,
            body: None,
            uri_params: &[],
        },
        response: ResponseView {
            status: 200,
            head: Some(received),
            bytes_sent: 400,
            body_bytes_sent: 258,
            body: None,
            complete: true,
        },
        upstream: Some(upstream(received)),
        client: client(),
        route: Some(route),
        gateway,
        start: Now { mono: Mono::from_ns(1_000_000), wall },
        end: Now { mono: Mono::from_ns(3_345_678), wall },
        request_id: [7; 16],
    }
}

fn upstream(received: Head<'_>) -> UpstreamView<'_> {
    UpstreamView {
        address: b"10.0.0.17:8080",
        status: b"200",
        head: Some(received),
        response_ns: 2_100_999,
        connect_ns: Some(100_000),
        header_ns: Some(2_000_000),
        host: b"127.0.0.1:9080",
        scheme: b"http",
        uri: b"",
        ip: b"10.0.0.17",
        port: 8080,
        unresolved_host: b"httpbin.org",
        response_length: 258,
        bytes_sent: 200,
        bytes_received: 400,
    }
}

fn client() -> ClientView<'static> {
    ClientView {
        remote_addr: b"192.168.17.33",
        remote_port: 40_000,
        realip_remote_addr: b"192.168.17.33",
        realip_remote_port: 40_000,
        server_addr: b"10.0.0.1",
        server_port: 9080,
        scheme: b"http",
        connection: 3,
        connection_requests: 2,
        pipelined: false,
    }
}

/// Bytes that a record's lengths are first taken to need: entries of 64 bytes to 8 KiB.
const GUESS: usize = 2;

/// An entry of the size that the default format has.
const ENTRY: [u8; 600] = [b'a'; 600];

/// Adds entries to a batch until `count` are in or it is full; gives how many.
fn fill(batch: &mut OpenBatch, memory: &mut [u8], key: &[u8], count: u64) -> u64 {
    for added in 0..count {
        let timestamp_ms = 1_699_596_164_550 + added as i64;
        let kept = batch.push_record(memory, key, timestamp_ms, &mut |out| out.push(black_box(&ENTRY)));
        if kept.is_err() {
            return added;
        }
    }
    count
}

fn record_in_a_batch(count: u64) {
    let (mut memory, key) = (vec![0; 2 * 1024 * 1024], key_bytes(None));
    let mut batch = OpenBatch::new(memory.len(), GUESS);
    assert_eq!(fill(&mut batch, &mut memory, &key, count), count, "all of them fit");
}

/// The same, with the header that says which entries the message holds.
fn record_with_header(count: u64) {
    let (mut memory, key) = (vec![0; 2 * 1024 * 1024], key_bytes(None));
    let mut batch = OpenBatch::new(memory.len(), GUESS);
    let stream = Stream { gateway: 0x6f1d_0c2b_9a8e_7f35, start: 0x187b_44d0_c9a1_e2f0, core: 1, lane: 3 };
    batch.trace(&mut memory, &stream.prefix(), 1_234_000);
    assert_eq!(fill(&mut batch, &mut memory, &key, count), count, "all of them fit");
}

fn batch_sealed(count: u64) {
    let (mut memory, key) = (vec![0; 128 * 1024], key_bytes(None));
    let mut batch = OpenBatch::new(64 * 1024, GUESS);
    let records = fill(&mut batch, &mut memory, &key, 1000);
    assert!(records < 1000, "64 KiB are full before");
    let end = memory.iter().rposition(|byte| *byte == ENTRY[0]).map_or(0, |at| at + 2);
    let sealed = Sealed { end, records: records as u32, entries: records, ..Sealed::default() };
    for _ in 0..count {
        write_header(black_box(&mut memory), &sealed, Identity { producer_id: 1, epoch: 0, sequence: 7 });
    }
}

fn crc(count: u64) {
    let bytes = vec![b'a'; 64 * 1024];
    for _ in 0..count {
        assert!(black_box(crc32c::crc32c(black_box(&bytes))) != 0);
    }
}

fn partition(partitioner: Partitioner, count: u64) {
    for _ in 0..count {
        assert!(black_box(of_key(partitioner, black_box(b"shop.example.com/customers/4711"), 12)) < 12);
    }
}
