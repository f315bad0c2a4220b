//! Entries against the same value written by `simd_json`: byte for byte.

use std::sync::Arc;

use serde::Serialize;
use serde_json::{Value as Json, json};

use super::exchange::{Exchange, Forwarded, ResponseView, ServiceNames};
use super::plan::{EntryPlace, FormatChoice, Include, Plan, PlanSpec, RenderState, choose_format};
use super::sample::{OwnedHead, Sample, body, rendered};
use super::value::Flat;
use super::variable::{Named, Variable};
use crate::kafka::batch::Out;

/// Texts that break careless writers.
const HOSTILE: [&[u8]; 9] = [
    b"",
    b"plain",
    b"quote\" backslash\\ slash/",
    b"\x00\x01\x1f\x7f\t\r\n\x08\x0c",
    b"\xff\xfe broken \xc3",
    "emoji 😀 é \u{2028}".as_bytes(),
    b"\",\"injected\":\"",
    b"}]}{[",
    b"\xed\xa0\x80\xf0\x9f\x98",
];

fn service(id: &str) -> Arc<ServiceNames> {
    Arc::new(ServiceNames { id: id.into(), name: None })
}

fn spec(format: FormatChoice<'_>) -> PlanSpec<'_> {
    PlanSpec {
        format,
        place: EntryPlace::InArray,
        include_request_body: false,
        include_response_body: false,
        request_body_bytes: 64,
        response_body_bytes: 64,
    }
}

fn default_spec() -> PlanSpec<'static> {
    spec(FormatChoice::Default { extra: None })
}

/// A custom entry, and its bytes as a value.
fn custom(format: &Json, exchange: &Exchange<'_>) -> Json {
    let bytes = rendered(&spec(FormatChoice::Custom(format.as_object().unwrap())), exchange, Include::ALL);
    parsed(&bytes)
}

/// Parsed by simd_json, and the same bytes when written again in order.
fn parsed(bytes: &[u8]) -> Json {
    let value: Json = simd_json::serde::from_slice(&mut bytes.to_vec()).unwrap();
    assert_eq!(simd_json::to_vec(&value).unwrap(), bytes, "{}", String::from_utf8_lossy(bytes));
    value
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[derive(Serialize)]
struct Entry {
    request: Request,
    response: Response,
    server: Server,
    #[serde(skip_serializing_if = "Option::is_none")]
    upstream: Option<String>,
    service_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    route_id: Option<String>,
    client_ip: String,
    start_time: u64,
    latency: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    upstream_latency: Option<f64>,
    apisix_latency: f64,
}

#[derive(Serialize)]
struct Request {
    url: String,
    uri: String,
    method: String,
    headers: Json,
    querystring: Json,
    size: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<String>,
}

#[derive(Serialize)]
struct Response {
    status: u16,
    headers: Json,
    size: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<String>,
}

#[derive(Serialize)]
struct Server {
    hostname: String,
    version: String,
}

fn sample_entry() -> Entry {
    Entry {
        request: Request {
            url: "http://example.com:9080/hello?a=1&b".into(),
            uri: "/hello?a=1&b".into(),
            method: "GET".into(),
            headers: json!({"host": "Example.com:9080", "user-agent": "curl/8", "accept": "*/*"}),
            querystring: json!({"a": "1", "b": true}),
            size: 120,
            body: None,
        },
        response: Response {
            status: 200,
            headers: json!({"content-type": "text/plain", "content-length": "5", "server": "Tollgate"}),
            size: 150,
            body: None,
        },
        server: Server { hostname: "box".into(), version: "0.1.0".into() },
        upstream: Some("10.0.0.1:80, 10.0.0.2:80".into()),
        service_id: String::new(),
        route_id: Some("r1".into()),
        client_ip: "127.0.0.1".into(),
        start_time: 1_699_596_164_550,
        latency: 12.345,
        upstream_latency: Some(10.1),
        apisix_latency: 2.245,
    }
}

fn assert_entry(expected: &Entry, spec: &PlanSpec<'_>, exchange: &Exchange<'_>) {
    let bytes = rendered(spec, exchange, Include::ALL);
    assert_eq!(text(&bytes), String::from_utf8(simd_json::to_vec(expected).unwrap()).unwrap());
}

#[test]
fn the_default_entry_is_what_simd_json_writes() {
    let sample = Sample::default();
    assert_entry(&sample_entry(), &default_spec(), &sample.exchange());
}

#[test]
fn what_was_not_proxied_has_no_upstream_and_without_a_route_the_host_is_the_service() {
    let sample = Sample::default();
    let mut expected = sample_entry();
    (expected.upstream, expected.upstream_latency, expected.apisix_latency) = (None, None, 12.345);
    let mut exchange = sample.exchange();
    exchange.upstream = None;
    assert_entry(&expected, &default_spec(), &exchange);

    exchange.route = None;
    expected.route_id = None;
    expected.service_id = "example.com".into();
    exchange.response = ResponseView { status: 499, ..ResponseView::default() };
    expected.response = Response { status: 499, headers: json!({}), size: 0, body: None };
    exchange.request.args = b"";
    expected.request.uri = "/hello".into();
    expected.request.url = "http://example.com:9080/hello".into();
    expected.request.querystring = json!({});
    exchange.end = exchange.start;
    (expected.latency, expected.apisix_latency) = (0.0, 0.0);
    assert_entry(&expected, &default_spec(), &exchange);
}

#[test]
fn hostile_text_everywhere_stays_one_valid_entry() {
    for hostile in HOSTILE {
        let mut sample = Sample { request: OwnedHead::of(&[("X-A", hostile)]), ..Sample::default() };
        sample.response = OwnedHead::of(&[("X-B", hostile), ("x-b", b"2")]);
        sample.route.id = text(hostile).into();
        sample.route.service = Some(service(&text(hostile)));
        let mut exchange = sample.exchange();
        exchange.request.path = hostile;
        exchange.request.method = hostile;
        exchange.request.host = hostile;
        exchange.request.body = body(hostile);
        exchange.response.body = body(hostile);
        exchange.client.remote_addr = hostile;
        let mut expected = sample_entry();
        expected.request = Request {
            url: format!("http://{0}:9080{0}?a=1&b", text(hostile)),
            uri: format!("{}?a=1&b", text(hostile)),
            method: text(hostile),
            headers: json!({"x-a": text(hostile)}),
            body: Some(text(hostile)).filter(|body| !body.is_empty()),
            ..expected.request
        };
        expected.response.headers = json!({"x-b": [text(hostile), "2"]});
        expected.response.body = Some(text(hostile));
        expected.route_id = Some(text(hostile));
        expected.service_id = text(hostile);
        expected.client_ip = text(hostile);
        let spec = PlanSpec { include_request_body: true, include_response_body: true, ..default_spec() };
        assert_entry(&expected, &spec, &exchange);
    }
}

#[test]
fn repeated_headers_become_arrays_in_the_place_of_the_first() {
    let lines: [(&str, &[u8]); 5] = [("B", b"1"), ("A", b"2"), ("b", b"3"), ("C", b""), ("B", b"4")];
    let sample = Sample { request: OwnedHead::of(&lines), ..Sample::default() };
    let mut expected = sample_entry();
    expected.request.headers = json!({"b": ["1", "3", "4"], "a": "2", "c": ""});
    assert_entry(&expected, &default_spec(), &sample.exchange());
}

#[test]
fn many_headers_are_grouped_right_and_end_at_a_hundred() {
    let names: Vec<String> = (0..120).map(|index| format!("X-{}-{index}", "y".repeat(index % 7))).collect();
    let lines: Vec<(&str, &[u8])> = names.iter().map(|name| (name.as_str(), b"v".as_slice())).collect();
    let sample = Sample { request: OwnedHead::of(&lines), ..Sample::default() };
    let mut expected = sample_entry();
    expected.request.headers = names[..100].iter().map(|name| (name.to_lowercase(), json!("v"))).collect();
    assert_entry(&expected, &default_spec(), &sample.exchange());
}

#[test]
fn the_gateways_forwarded_headers_stand_in_for_the_clients() {
    let lines: [(&str, &[u8]); 4] = [
        ("X-Forwarded-Host", b"evil"),
        ("X-Forwarded-Proto", b"ftp"),
        ("X-Forwarded-Port", b"1"),
        ("X-Forwarded-For", b"a"),
    ];
    let sample = Sample { request: OwnedHead::of(&lines), ..Sample::default() };
    let mut exchange = sample.exchange();
    exchange.request.forwarded = Forwarded { proto: Some(b"http"), host: Some(b"h:80"), port: None };
    let mut expected = sample_entry();
    expected.request.headers = json!({
        "x-forwarded-port": "1", "x-forwarded-for": "a", "x-forwarded-proto": "http", "x-forwarded-host": "h:80",
    });
    assert_entry(&expected, &default_spec(), &exchange);
    let format = json!({"p": "$http_x_forwarded_proto", "o": "$http_x_forwarded_port", "c": "$original_x_forwarded_proto",
        "v": "$var_x_forwarded_host", "n": "$var_x_forwarded_port", "d": "$http_x-forwarded-host"});
    let expected = json!({"p": "http", "o": "1", "c": "ftp", "v": "h:80", "d": "h:80", "route_id": "r1"});
    assert_eq!(custom(&format, &exchange), expected);
}

#[test]
fn arguments_are_decoded_and_grouped() {
    let sample = Sample::default();
    for (args, expected) in [
        (b"a=1&a=2&b=&a&c".as_slice(), json!({"a": ["1", "2", true], "b": "", "c": true})),
        (b"x+y=%22%0a&x%20y=z", json!({"x y": ["\"\n", "z"]})),
        (b"&&=&=v", json!({})),
        (b"%ff=%fe", json!({"\u{fffd}": "\u{fffd}"})),
    ] {
        let mut exchange = sample.exchange();
        exchange.request.args = args;
        let entry = parsed(&rendered(&default_spec(), &exchange, Include::ALL));
        assert_eq!(entry["request"]["querystring"], expected);
    }
}

#[test]
fn the_tutorials_log_format_gives_its_entry() {
    let sample = Sample::default();
    let format = json!({"host": "$host", "@timestamp": "$time_iso8601", "client_ip": "$remote_addr"});
    let bytes = rendered(&spec(FormatChoice::Custom(format.as_object().unwrap())), &sample.exchange(), Include::ALL);
    let expected =
        r#"{"host":"example.com","@timestamp":"2023-11-10T06:02:44+00:00","client_ip":"127.0.0.1","route_id":"r1"}"#;
    assert_eq!(text(&bytes), expected);
}

#[test]
fn literals_stay_and_only_a_whole_string_is_a_variable() {
    let sample = Sample::default();
    let format = json!({"n": 1, "f": 1.5, "t": true, "z": null, "s": "a $host", "e": "", "q": "\"\\\n/é",
        "o": {}, "l": [], "two": "$host:$server_port", "braces": "${host}", "none": "$", "key\"": "x"});
    let mut expected = format.clone();
    for gone in ["two", "braces", "none"] {
        expected.as_object_mut().unwrap().shift_remove(gone);
    }
    expected["route_id"] = json!("r1");
    assert_eq!(custom(&format, &sample.exchange()), expected);
}

#[test]
fn absent_keys_vanish_with_their_commas_wherever_they_stand() {
    let sample = Sample::default();
    // Every combination of absent slot, present slot, literal and nested object over four places.
    let parts =
        [json!("$nope_known_later"), json!("$arg_missing"), json!("$host"), json!(1), json!({"x": "$arg_missing"})];
    for combination in 0..parts.len().pow(4) {
        let mut format = json!({});
        let mut list = Vec::new();
        for place in 0..4 {
            let part = parts[combination / parts.len().pow(place) % parts.len()].clone();
            list.push(part.clone());
            format[format!("k{place}")] = part;
        }
        format["nested"] = format.clone();
        format["list"] = Json::Array(list);
        let entry = custom(&format, &sample.exchange());
        let shown = |part: &Json| match part {
            Json::Object(_) => Some(json!({})),
            Json::String(name) if name == "$host" => Some(json!("example.com")),
            Json::String(_) => None,
            other => Some(other.clone()),
        };
        for place in 0..4 {
            let key = format!("k{place}");
            assert_eq!(entry.get(&key).cloned(), shown(&format[&key]));
            assert_eq!(entry["nested"].get(&key).cloned(), shown(&format[&key]));
        }
        let expected: Vec<Json> = format["list"].as_array().unwrap().iter().filter_map(shown).collect();
        assert_eq!(entry["list"], Json::Array(expected));
    }
}

#[test]
fn objects_beyond_level_five_become_empty_with_a_warning() {
    let sample = Sample::default();
    let format = json!({"a": {"b": {"c": {"d": {"e": {"f": "$host"}, "g": "$host"}}}}, "l": [[[[["$host"]]]]]});
    let expected = json!({"a": {"b": {"c": {"d": {"e": {}, "g": "example.com"}}}}, "l": [[[[{}]]]], "route_id": "r1"});
    assert_eq!(custom(&format, &sample.exchange()), expected);
    let plan = Plan::compile(&spec(FormatChoice::Custom(format.as_object().unwrap())));
    assert_eq!(plan.warnings(), vec!["log_format nesting exceeds max depth 5, truncating"; 2]);
}

#[test]
fn the_routes_ids_overwrite_the_users_and_only_with_a_route() {
    let mut sample = Sample::default();
    let format = json!({"route_id": "mine", "service_id": {"mine": "$host"}, "x": 1});
    assert_eq!(custom(&format, &sample.exchange()), json!({"x": 1, "route_id": "r1"}));
    sample.route.service = Some(service("s1"));
    assert_eq!(custom(&format, &sample.exchange()), json!({"x": 1, "route_id": "r1", "service_id": "s1"}));
    assert_eq!(custom(&json!({}), &sample.exchange()), json!({"route_id": "r1", "service_id": "s1"}));
    let mut exchange = sample.exchange();
    exchange.route = None;
    let unmatched = json!({"route_id": "mine", "service_id": {"mine": "example.com"}, "x": 1});
    assert_eq!(custom(&format, &exchange), unmatched);
    assert_eq!(custom(&json!({}), &exchange), json!({}));
}

#[test]
fn the_request_body_variable_is_cut_and_needs_no_switch() {
    let sample = Sample::default();
    let format = json!({"b": "$request_body"});
    let mut exchange = sample.exchange();
    assert_eq!(custom(&format, &exchange), json!({"route_id": "r1"}));
    let long = "x".repeat(100);
    exchange.request.body = body(long.as_bytes());
    assert_eq!(custom(&format, &exchange), json!({"b": "x".repeat(64), "route_id": "r1"}));
    let plan = Plan::compile(&spec(FormatChoice::Custom(format.as_object().unwrap())));
    assert_eq!((plan.request_capture_bytes(), plan.response_capture_bytes()), (Some(64), None));
}

#[test]
fn the_response_body_variable_is_empty_unless_included() {
    let sample = Sample::default();
    let format = json!({"b": "$resp_body"});
    let mut exchange = sample.exchange();
    exchange.response.body = body(b"hello");
    let choice = FormatChoice::Custom(format.as_object().unwrap());
    let off = PlanSpec { ..spec(choice) };
    let on = PlanSpec { include_response_body: true, ..off };
    let entry = |spec, include| parsed(&rendered(spec, &exchange, include))["b"].clone();
    assert_eq!(entry(&off, Include::ALL), "");
    assert_eq!(entry(&on, Include::ALL), "hello");
    assert_eq!(entry(&on, Include { response_body: false, ..Include::ALL }), "");
    assert_eq!(Plan::compile(&off).response_capture_bytes(), None);
    assert_eq!(Plan::compile(&on).response_capture_bytes(), Some(64));
}

#[test]
fn bodies_of_the_default_entry_follow_switch_and_expression() {
    let sample = Sample::default();
    let mut exchange = sample.exchange();
    exchange.request.body = body(b"ask");
    exchange.response.body = body(b"");
    let on = PlanSpec { include_request_body: true, include_response_body: true, ..default_spec() };
    let entry = parsed(&rendered(&on, &exchange, Include::ALL));
    assert_eq!((&entry["request"]["body"], &entry["response"]["body"]), (&json!("ask"), &json!("")));
    let neither = Include { request_body: false, response_body: false };
    let entry = parsed(&rendered(&on, &exchange, neither));
    assert_eq!((entry["request"].get("body"), entry["response"].get("body")), (None, None));
    let entry = parsed(&rendered(&default_spec(), &exchange, Include::ALL));
    assert_eq!((entry["request"].get("body"), entry["response"].get("body")), (None, None));
    let plan = Plan::compile(&on);
    assert_eq!((plan.request_capture_bytes(), plan.response_capture_bytes()), (Some(64), Some(64)));
}

#[test]
fn a_compressed_response_body_is_logged_as_text_and_a_cut_one_as_it_came() {
    use std::io::Write;
    let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    writer.write_all(&b"hello ".repeat(5)).unwrap();
    let packed = writer.finish().unwrap();
    let sample = Sample { response: OwnedHead::of(&[("Content-Encoding", b"gzip")]), ..Sample::default() };
    let mut exchange = sample.exchange();
    exchange.response.body = body(&packed);
    let on = PlanSpec { include_response_body: true, ..default_spec() };
    let logged = |spec: &PlanSpec<'_>| parsed(&rendered(spec, &exchange, Include::ALL))["response"]["body"].clone();
    assert_eq!(logged(&on), "hello hello hello hello hello ");
    let cut = PlanSpec { response_body_bytes: packed.len() - 4, ..on };
    assert_eq!(logged(&cut), text(&packed[..packed.len() - 4]).as_str());
    let mut state = RenderState::default();
    let mut bytes = [0; 4096];
    Plan::compile(&cut).render(&mut state, &exchange, Include::ALL, &mut Out::new(&mut bytes));
    assert_eq!(state.undecoded_bodies(), 1);
}

#[test]
fn extra_keys_are_added_only_where_the_entry_has_none() {
    let sample = Sample::default();
    let extra = json!({"request": 1, "apisix_latency": 1, "upstream": {"was": "$host"}, "route_id": "$host", "upstream_latency": 0,
        "consumer": "none", "mine": ["$status", "$nope"], "gone": "$arg_missing"});
    let spec = spec(FormatChoice::Default { extra: extra.as_object() });
    let mut exchange = sample.exchange();
    let mut expected = serde_json::to_value(sample_entry()).unwrap();
    expected["consumer"] = json!("none");
    expected["mine"] = json!([200]);
    assert_eq!(parsed(&rendered(&spec, &exchange, Include::ALL)), expected);

    (exchange.upstream, exchange.route) = (None, None);
    let entry = parsed(&rendered(&spec, &exchange, Include::ALL));
    assert_eq!(entry["upstream"], json!({"was": "example.com"}));
    assert_eq!((&entry["route_id"], &entry["upstream_latency"]), (&json!("example.com"), &json!(0)));
    assert_eq!(entry["request"]["method"], "GET");
}

#[test]
fn origin_is_the_request_as_text_or_as_a_string_in_an_array() {
    let lines: [(&str, &[u8]); 3] = [("Host", b"h"), ("X-A", b"1"), ("x-a", b"\"\xff")];
    let sample = Sample { request: OwnedHead::of(&lines), ..Sample::default() };
    let mut exchange = sample.exchange();
    exchange.request.forwarded.proto = Some(b"http");
    exchange.request.body = body(b"body\n");
    let head =
        b"GET /h%65llo?a=1&b HTTP/1.1\r\nhost: h\r\nx-a: 1\r\nx-a: \"\xff\r\nx-forwarded-proto: http\r\n\r\n".to_vec();
    let alone = PlanSpec { place: EntryPlace::Alone, ..spec(FormatChoice::Origin) };
    assert_eq!(rendered(&alone, &exchange, Include::ALL), head);
    let with_body = PlanSpec { include_request_body: true, request_body_bytes: 4, ..alone };
    let whole = [&head[..], b"body"].concat();
    // include_req_body_expr is not asked in this mode.
    let include = Include { request_body: false, response_body: true };
    assert_eq!(rendered(&with_body, &exchange, include), whole);
    let in_array = PlanSpec { place: EntryPlace::InArray, ..with_body };
    assert_eq!(rendered(&in_array, &exchange, include), simd_json::to_vec(&text(&whole)).unwrap());
    let plan = Plan::compile(&with_body);
    assert_eq!((plan.request_capture_bytes(), plan.response_capture_bytes()), (Some(4), None));
}

#[test]
fn the_format_is_chosen_as_apisix_does() {
    let (own, shared, empty) = (json!({"a": 1}), json!({"b": 1}), json!({}));
    let map = |value: &'static str| -> Json { json!({ value: 1 }) };
    let (extra, other) = (map("x"), map("y"));
    let choose = |meta, instance, metadata| choose_format(meta, instance, metadata);
    let object = |value: &'_ Json| value.as_object().unwrap().clone();
    assert_eq!(choose(Some("origin"), (Some(&own), None), (Some(&shared), None)), FormatChoice::Origin);
    assert_eq!(choose(Some("default"), (Some(&own), None), (Some(&shared), None)), FormatChoice::Custom(&object(&own)));
    assert_eq!(choose(None, (Some(&empty), None), (Some(&shared), None)), FormatChoice::Custom(&object(&empty)));
    assert_eq!(choose(None, (None, Some(&extra)), (Some(&shared), None)), FormatChoice::Custom(&object(&shared)));
    assert_eq!(choose(None, (None, None), (Some(&empty), None)), FormatChoice::Default { extra: None });
    let with = |value: &Json| value.as_object().cloned();
    assert_eq!(
        choose(None, (None, Some(&extra)), (None, Some(&other))),
        FormatChoice::Default { extra: with(&extra).as_ref() }
    );
    assert_eq!(
        choose(None, (None, None), (None, Some(&other))),
        FormatChoice::Default { extra: with(&other).as_ref() }
    );
    assert_eq!(choose(None, (None, Some(&empty)), (None, Some(&other))), FormatChoice::Default { extra: None });
}

#[test]
fn every_variable_has_the_value_and_type_that_apisix_shows() {
    let sample = Sample {
        request: OwnedHead::of(&[
            ("Host", b"Example.com:9080"),
            ("Content-Type", b"application/x-www-form-urlencoded; charset=utf-8"),
            ("Content-Length", b"9"),
            ("Cookie", b"a=1; b=two;a= 3"),
            ("X-Twice", b"1"),
            ("x-twice", b"2"),
            ("Authorization", b"Basic dXNlcjpwdw=="),
        ]),
        ..Sample::default()
    };
    let params = [("id".into(), crate::http::fields::Span::new(1, 3))];
    let mut exchange = sample.exchange();
    exchange.request.body = body(b"f=x+y&g&f=2");
    exchange.request.uri_params = &params;
    let table: Json = serde_json::from_str(
        r#"{
        "request_uri": "/hello?a=1&b", "real_request_uri": "/h%65llo?a=1&b", "uri": "/hello", "document_uri": "/hello",
        "request": "GET /h%65llo?a=1&b HTTP/1.1", "request_line": "GET /h%65llo?a=1&b HTTP/1.1", "method": "GET",
        "request_method": "GET", "args": "a=1&b", "query_string": "a=1&b", "is_args": "?", "host": "example.com",
        "http_host": "Example.com:9080", "content_type": "application/x-www-form-urlencoded; charset=utf-8", "content_length": "9",
        "request_length": 120, "request_body": "f=x+y&g&f=2", "server_protocol": "HTTP/1.1", "remote_user": "user",
        "request_id": "000102030405060708090a0b0c0d0eff", "apisix_request_id": "000102030405060708090a0b0c0d0eff",
        "request_type": "traditional_http", "scheme": "http", "https": "", "remote_addr": "127.0.0.1", "remote_port": "40000",
        "realip_remote_addr": "10.0.0.9", "realip_remote_port": "40001", "server_addr": "127.0.0.2", "server_port": "9080",
        "server_name": "_", "connection": "3", "connection_requests": "2", "pipe": ".", "hostname": "box", "pid": "7",
        "nginx_version": "0.1.0", "status": 200, "bytes_sent": 150, "body_bytes_sent": "5", "request_completion": "OK",
        "request_time": 0.012, "time_iso8601": "2023-11-10T06:02:44+00:00", "time_local": "10/Nov/2023:06:02:44 +0000",
        "msec": "1699596164.550", "upstream_addr": "10.0.0.1:80, 10.0.0.2:80", "upstream_status": "502, 200",
        "upstream_response_time": 0.01, "upstream_connect_time": 0.001, "upstream_response_length": "5", "upstream_bytes_sent": "99",
        "upstream_bytes_received": "88", "upstream_host": "node.example", "upstream_scheme": "http", "upstream_uri": "",
        "upstream_unresolved_host": "node.example", "balancer_ip": "10.0.0.2", "balancer_port": 80, "route_id": "r1",
        "route_name": "first", "arg_a": "1", "arg_b": true, "cookie_a": "3", "cookie_b": "two", "http_x_twice": "1, 2",
        "sent_http_content_type": "text/plain", "upstream_http_x_trace_id": "t1", "post_arg_f": "x y", "post_arg_g": true,
        "uri_param_id": "he", "HTTP_X-TWICE": "1, 2", "Remote_Addr": "127.0.0.1", "Upstream_HTTP_Server": "echo"}"#,
    )
    .unwrap();
    for (name, expected) in table.as_object().unwrap() {
        let format = json!({"v": format!("${name}")});
        assert_eq!(custom(&format, &exchange)["v"], *expected, "{name}");
        let flat = match Variable::compile(name).lookup(&exchange).flat() {
            Flat::Absent => Json::Null,
            Flat::Text(bytes) => json!(text(&bytes)),
            Flat::Number(number) if number.fract() == 0.0 => json!(number as u64),
            Flat::Number(number) => json!(number),
            Flat::True => json!(true),
        };
        assert_eq!(flat, *expected, "{name}");
    }
    let untested: Vec<&&str> = Named::ALL_NAMES.iter().filter(|name| table.get(**name).is_none()).collect();
    let elsewhere =
        ["http_x_forwarded_proto", "http_x_forwarded_host", "http_x_forwarded_port", "var_x_forwarded_proto"];
    let rest = [
        "var_x_forwarded_host",
        "var_x_forwarded_port",
        "resp_body",
        "upstream_header_time",
        "service_id",
        "service_name",
    ];
    assert_eq!(untested, elsewhere.iter().chain(&rest).collect::<Vec<_>>());
}

#[test]
fn what_is_not_known_is_absent() {
    let sample = Sample { request: OwnedHead::of(&[]), ..Sample::default() };
    let mut exchange = sample.exchange();
    exchange.request.args = b"";
    exchange.response = ResponseView::default();
    exchange.upstream = None;
    exchange.route = None;
    for name in [
        "",
        "nope",
        "matched_uri",
        "arg_",
        "arg_A",
        "http_",
        "http_host",
        "cookie_a",
        "args",
        "remote_user",
        "content_type",
        "status",
        "sent_http_server",
        "upstream_http_server",
        "upstream_addr",
        "upstream_status",
        "upstream_response_time",
        "balancer_ip",
        "balancer_port",
        "route_id",
        "service_id",
        "service_name",
        "request_body",
        "post_arg_f",
        "uri_param_id",
        "consumer_name",
        "upstream_header_time",
        "$host",
        "ssl_protocol",
    ] {
        assert!(Variable::compile(name).lookup(&exchange).is_absent(), "{name}");
    }
    let set_before_proxying = json!({"s": "$upstream_scheme", "u": "$upstream_uri", "h": "$upstream_unresolved_host"});
    assert_eq!(custom(&set_before_proxying, &exchange), json!({"s": "http", "u": "", "h": ""}));
}

#[test]
fn argument_and_cookie_names_keep_their_case() {
    let sample = Sample { request: OwnedHead::of(&[("Cookie", b"Sid=1")]), ..Sample::default() };
    let mut exchange = sample.exchange();
    exchange.request.args = b"Key=1&a%2Fb=2";
    let format = json!({"a": "$arg_Key", "b": "$arg_key", "c": "$cookie_Sid", "d": "$cookie_sid", "e": "$arg_a/b"});
    assert_eq!(custom(&format, &exchange), json!({"a": "1", "c": "1", "e": "2", "route_id": "r1"}));
}

#[test]
fn an_entry_that_does_not_fit_says_how_much_it_needs() {
    let sample = Sample::default();
    let whole = rendered(&default_spec(), &sample.exchange(), Include::ALL);
    let mut bytes = vec![0; whole.len() - 1];
    let mut out = Out::new(&mut bytes);
    Plan::compile(&default_spec()).render(&mut RenderState::default(), &sample.exchange(), Include::ALL, &mut out);
    assert!(out.overflowed());
    assert_eq!(out.len(), whole.len());
}
