//! Held responses: the last part of a response comes when Kafka has acknowledged its record, or as `on_log_failure` says.

use std::io::ErrorKind;
use std::time::{Duration, Instant};

use devbroker::{Api, Broker, Fault, Options};
use serde_json::{Value, json};

use crate::Logged;
use crate::support::client::{End, get};
use crate::support::kafka::{entries, new_topic};
use crate::support::message::{read_response_body, read_response_head};
use crate::support::upstream::{Answers, Refusing, in_chunks, ok, raw};
use crate::support::{Client, Gateway, Kafka, Setup, Step, Upstream, pattern, wait_for};

const WAITING: &str = "tollgate_held_responses";
const ACKNOWLEDGED: &str = "tollgate_held_responses_acknowledged_total";
const PASSED: &str = "tollgate_held_responses_passed_total";
const REJECTED: &str = "tollgate_held_responses_rejected_total";
const ABANDONED: &str = "tollgate_held_responses_abandoned_total";
const DELIVERED: &str = "tollgate_log_entries_delivered_total";

/// How long a delayed acknowledgement takes: longer than a busy machine dawdles.
const DELAY: Duration = Duration::from_millis(900);

/// What `more` says, and responses are held.
fn held(more: &Value) -> Value {
    let mut plugin = json!({"ack_before_response": true, "log_format": {"uri": "$uri", "status": "$status"}});
    for (key, value) in more.as_object().expect("attributes") {
        plugin[key] = value.clone();
    }
    plugin
}

/// A gateway that holds responses, before a dev broker whose faults can be scripted. One response was released already: the next
/// Produce request is the next response's.
fn holding(upstream: Upstream, more: &Value) -> Logged {
    holding_with(json!({}), upstream, more)
}

fn holding_with(config: Value, upstream: Upstream, more: &Value) -> Logged {
    let setup = Setup { metrics: true, ..Setup::with(config) };
    let mut logged = Logged::without_route(&setup, upstream);
    logged.kafka = Kafka::dev(Options::default());
    // By a long hold: no matter what the first response is, it comes.
    logged.put_route(&held(&json!({"ack_timeout": 60})));
    logged.gateway.get("/first");
    logged.put_route(&held(more));
    logged
}

fn broker(logged: &Logged) -> std::sync::Arc<Broker> {
    logged.kafka.dev_broker()
}

/// The next acknowledgement comes late.
fn delay_next(logged: &Logged) {
    broker(logged).script().push(Api::Produce, Fault::Delay(DELAY));
}

/// The next acknowledgement never comes.
fn silence_next(logged: &Logged) {
    broker(logged).script().push(Api::Produce, Fault::NoAnswer);
}

/// Path and status of every entry.
fn said(entries: &[Value]) -> Vec<(String, u64)> {
    let of = |entry: &Value| Some((entry["uri"].as_str()?.to_owned(), entry["status"].as_u64()?));
    entries.iter().map(|entry| of(entry).expect("path and status")).collect()
}

fn wait_metric(gateway: &Gateway, name: &str, value: u64) {
    wait_for(&format!("{name} is {value}"), || (gateway.metric(name) == value).then_some(()));
}

/// Asserts that this took as long as a delayed acknowledgement, and what it gave.
fn waits_for_the_acknowledgement<T>(logged: &Logged, exchange: impl FnOnce() -> T) -> T {
    delay_next(logged);
    let began = Instant::now();
    let outcome = exchange();
    let took = began.elapsed();
    assert!(took >= DELAY, "released after {took:?}, before Kafka had acknowledged");
    assert_eq!(broker(logged).script().left(Api::Produce), 0);
    outcome
}

/// Also against a real Kafka, where one is named.
#[test]
fn whoever_has_a_response_finds_its_record_in_kafka() {
    for more in [json!({}), json!({"batch_max_size": 1_000}), json!({"compression": "lz4", "key": "k"})] {
        let logged = Logged::without_route(&Setup::default(), Upstream::saying("hello"));
        logged.kafka.create_topic(&logged.topic, 2);
        let mut plugin = held(&more);
        plugin["ack_timeout"] = json!(60);
        logged.put_route(&plugin);
        let mut client = logged.gateway.connect();
        for number in 0..5 {
            let path = format!("/{number}");
            assert_eq!(client.exchange(get(&path)).status, 200);
            let there = entries(&logged.kafka.records(&logged.topic));
            let there = there.into_iter().flat_map(|value| value.as_array().cloned().unwrap_or(vec![value]));
            assert!(said(&there.collect::<Vec<_>>()).contains(&(path.clone(), 200)), "{path} {more}");
        }
    }
}

#[test]
fn a_response_comes_when_kafka_has_its_record_and_not_before() {
    let logged = holding(Upstream::saying("hello"), &json!({}));
    let mut client = logged.gateway.connect();
    let response = waits_for_the_acknowledgement(&logged, || client.exchange(get("/a")));
    assert_eq!((response.status, response.text().as_str()), (200, "hello"));
    let there = said(&entries(&logged.kafka.records(&logged.topic)));
    assert_eq!(there.last().expect("a record"), &("/a".to_owned(), 200));
    // The same connection goes on.
    for _ in 0..3 {
        assert_eq!(client.exchange(get("/b")).status, 200);
    }
    wait_metric(&logged.gateway, ACKNOWLEDGED, 5);
    assert_eq!((logged.gateway.metric(PASSED), logged.gateway.metric(REJECTED)), (0, 0));
}

#[test]
fn while_a_response_waits_nothing_of_it_is_sent_and_its_upstream_connection_serves_others() {
    let logged = holding(Upstream::saying("hello"), &json!({"ack_timeout": 60}));
    delay_next(&logged);
    let (mut one, mut two) = (logged.gateway.connect(), logged.gateway.connect());
    one.send(get("/one"));
    wait_metric(&logged.gateway, WAITING, 1);
    assert_eq!(one.end_within(Duration::from_millis(50)), End::Open);
    assert_eq!(two.exchange(get("/two")).status, 200);
    assert_eq!(one.response().status, 200);
    assert_eq!(logged.upstream.connections(), 1);
    wait_metric(&logged.gateway, WAITING, 0);
}

/// Reads everything until the connection ends or `count` bytes are there; true if it ended by a reset.
fn read_bytes(client: &mut Client, count: usize) -> (Vec<u8>, bool) {
    let mut bytes = Vec::new();
    while bytes.len() < count {
        match client.read_some((count - bytes.len()).min(16 * 1024)) {
            Ok(piece) if piece.is_empty() => return (bytes, false),
            Ok(piece) => bytes.extend_from_slice(&piece),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return (bytes, true),
            Err(error) => panic!("{error} after {} bytes", bytes.len()),
        }
    }
    (bytes, false)
}

const HEAD_OF_CHUNKED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";

/// An upstream whose body is long, with its length or in chunks.
fn long(body: &[u8]) -> Upstream {
    let counted = ok(body);
    let chunked = raw([HEAD_OF_CHUNKED.as_bytes(), &in_chunks(body, 7_000)].concat());
    Upstream::start(move |request| if request.target == "/chunked" { chunked.clone() } else { counted.clone() })
}

/// A long response, and how many bytes of it came only after its acknowledgement.
fn long_response(request: &str, body: &[u8], hold_bytes: usize) -> (Vec<u8>, usize) {
    let logged = holding(long(body), &json!({"hold_bytes": hold_bytes, "ack_timeout": 60}));
    silence_next(&logged);
    let mut client = logged.gateway.connect();
    let (mut bytes, _) = read_bytes(client.send(request), body.len() - hold_bytes);
    wait_metric(&logged.gateway, WAITING, 1);
    while let End::Bytes(more) = client.end_within(Duration::from_millis(50)) {
        bytes.extend_from_slice(&read_bytes(&mut client, more.len()).0);
    }
    let early = bytes.len();
    broker(&logged).cut_connections();
    bytes.extend_from_slice(&read_bytes(&mut client, usize::MAX).0);
    let late = bytes.len() - early;
    (bytes, late)
}

#[test]
fn a_long_response_streams_except_for_its_last_bytes() {
    let body = pattern(400_000);
    for target in ["/counted", "/chunked"] {
        let request = format!("GET {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        for hold_bytes in [1, 10_000, 100_000] {
            let (bytes, late) = long_response(&request, &body, hold_bytes);
            assert_eq!(late, hold_bytes, "{target}");
            let mut bytes = &bytes[..];
            let mut response = read_response_head(&mut bytes).expect("a head");
            read_response_body(&mut bytes, &mut response, false).expect("a whole body");
            assert!(response.body == body && bytes.is_empty());
        }
    }
}

#[test]
fn a_response_that_ends_with_the_connection_keeps_its_end_back_too() {
    let body = pattern(100_000);
    let (bytes, late) = long_response("GET /chunked HTTP/1.0\r\nHost: a\r\n\r\n", &body, 5_000);
    assert_eq!(late, 5_000);
    assert!(bytes.ends_with(&body));
}

#[test]
fn a_response_that_is_not_longer_than_what_is_held_is_not_begun() {
    let body = pattern(60_000);
    let logged = holding(long(&body), &json!({}));
    delay_next(&logged);
    let mut client = logged.gateway.connect();
    client.send(get("/counted"));
    wait_metric(&logged.gateway, WAITING, 1);
    assert_eq!(client.end_within(Duration::from_millis(50)), End::Open);
    assert_eq!(client.response().body, body);
}

#[test]
fn without_an_answer_in_time_a_response_passes_and_that_is_counted() {
    let logged = holding(Upstream::saying("hello"), &json!({"ack_timeout": 0.4, "on_log_failure": "pass"}));
    silence_next(&logged);
    let began = Instant::now();
    assert_eq!(logged.gateway.get("/").text(), "hello");
    assert!(began.elapsed() >= Duration::from_millis(400));
    wait_metric(&logged.gateway, PASSED, 1);
    assert_eq!(logged.gateway.metric(ACKNOWLEDGED), 1, "the first");
}

#[test]
fn a_rejected_response_of_which_nothing_was_sent_is_a_503_and_its_record_says_what_the_upstream_answered() {
    let logged = holding(Upstream::saying("hello"), &json!({"ack_timeout": 0.3, "on_log_failure": "reject"}));
    delay_next(&logged);
    let mut client = logged.gateway.connect();
    let response = client.exchange(get("/late"));
    assert_eq!(response.status, 503);
    assert_eq!(response.headers.one("connection"), Some("keep-alive"));
    wait_metric(&logged.gateway, REJECTED, 1);
    wait_metric(&logged.gateway, DELIVERED, 2);
    assert_eq!(client.exchange(get("/after")).text(), "hello");
    let expected = ["/first", "/late", "/after"].map(|uri| (uri.to_owned(), 200));
    assert_eq!(said(&logged.finish_entries()), expected);
}

#[test]
fn a_rejected_response_to_head_is_a_head() {
    let logged = holding(Upstream::saying("hello"), &json!({"ack_timeout": 0.3, "on_log_failure": "reject"}));
    delay_next(&logged);
    let mut client = logged.gateway.connect();
    client.send("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.response_to_head().status, 503);
    wait_metric(&logged.gateway, DELIVERED, 2);
    assert_eq!(client.exchange(get("/after")).text(), "hello");
}

/// What a client gets of a long response that is rejected; true if its connection was reset.
fn rejected(logged: &Logged, request: &str) -> (Vec<u8>, bool) {
    silence_next(logged);
    let got = read_bytes(logged.gateway.connect().send(request), usize::MAX);
    broker(logged).cut_connections();
    got
}

#[test]
fn a_rejected_response_of_which_a_part_was_sent_is_cut_and_never_looks_whole() {
    let body = pattern(50_000);
    let plugin = json!({"hold_bytes": 2_000, "ack_timeout": 0.3, "on_log_failure": "reject"});
    let logged = holding(long(&body), &plugin);
    let (counted, _) = rejected(&logged, &get("/counted"));
    assert!(counted.starts_with(b"HTTP/1.1 200 OK\r\n") && counted.windows(4).any(|part| part == b"\r\n\r\n"));
    assert!(counted.ends_with(&body[45_000..48_000]), "short of its length by what was held");
    wait_metric(&logged.gateway, REJECTED, 1);
    wait_metric(&logged.gateway, DELIVERED, 2);

    let (chunked, _) = rejected(&logged, &get("/chunked"));
    assert!(chunked.len() > 40_000 && !chunked.ends_with(b"0\r\n\r\n"), "without a last chunk");
    wait_metric(&logged.gateway, DELIVERED, 3);

    let (endless, reset) = rejected(&logged, "GET /chunked HTTP/1.0\r\nHost: a\r\n\r\n");
    assert!(endless.ends_with(&body[45_000..48_000]));
    assert!(reset, "the end of the connection would have been the end of the response");
    wait_metric(&logged.gateway, REJECTED, 3);
}

#[test]
fn a_record_that_kafka_refuses_for_good_is_answered_at_once() {
    const INVALID_RECORD: i16 = 87;
    let logged = holding(Upstream::saying("hello"), &json!({"ack_timeout": 60, "on_log_failure": "reject"}));
    broker(&logged).script().push(Api::Produce, Fault::Error(INVALID_RECORD));
    assert_eq!(logged.gateway.get("/").status, 503);
    wait_metric(&logged.gateway, REJECTED, 1);
}

#[test]
fn a_record_that_is_too_large_to_be_taken_is_answered_at_once() {
    let body = pattern(100_000).iter().map(|byte| b'a' + byte % 26).collect::<Vec<_>>();
    let ring = json!({"tollgate": {"ring": {"slot_bytes": 65_536}, "kafka": {"batch_bytes": 65_536}}});
    let plugin = json!({"hold_bytes": 1_000_000, "ack_timeout": 60, "on_log_failure": "reject", "include_resp_body": true,
                        "log_format": {"body": "$resp_body"}});
    let logged = holding_with(ring, long(&body), &plugin);
    assert_eq!(logged.gateway.get("/counted").status, 503);
    wait_metric(&logged.gateway, "tollgate_log_entries_too_large_total", 1);
    wait_metric(&logged.gateway, REJECTED, 1);
}

#[test]
fn replies_of_the_gateways_own_wait_too() {
    let logged = holding(Upstream::saying("hello"), &json!({}));
    let refusing = Refusing::new();
    let to_nobody = json!({"type": "roundrobin", "nodes": {refusing.node(): 1}});
    let plugins = logged.plugins(&held(&json!({"hold_bytes": 1})));
    logged.put("routes/r2", &json!({"uri": "/refused", "upstream": to_nobody, "plugins": plugins}));
    let response = waits_for_the_acknowledgement(&logged, || logged.gateway.get("/refused"));
    assert_eq!(response.status, 502);

    logged.gateway.admin().call("DELETE", "routes/r1", None);
    logged.put("global_rules/1", &json!({"plugins": plugins}));
    let response = waits_for_the_acknowledgement(&logged, || logged.gateway.get("/nowhere"));
    assert_eq!((response.status, response.text().contains("404 Route Not Found")), (404, true));
}

#[test]
fn responses_without_a_body_wait_whole() {
    let upstream = Upstream::start(|request| match request.target.as_str() {
        "/204" => raw("HTTP/1.1 204 No Content\r\n\r\n"),
        "/304" => raw("HTTP/1.1 304 Not Modified\r\nETag: \"a\"\r\n\r\n"),
        "/head" => raw("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"),
        _ => ok("hello"),
    });
    let logged = holding(upstream, &json!({"hold_bytes": 1}));
    for (target, status) in [("/204", 204), ("/304", 304), ("/head", 200)] {
        delay_next(&logged);
        let mut client = logged.gateway.connect();
        client.send(format!("HEAD {target} HTTP/1.1\r\nHost: a\r\n\r\n"));
        wait_metric(&logged.gateway, WAITING, 1);
        assert_eq!(client.end_within(Duration::from_millis(50)), End::Open, "{target}");
        assert_eq!(client.response_to_head().status, status);
        wait_metric(&logged.gateway, WAITING, 0);
    }
}

#[test]
fn what_was_asked_ahead_waits_its_turn() {
    let upstream = Upstream::start(|request| ok(&request.target));
    let logged = holding(upstream, &json!({}));
    let mut client = logged.gateway.connect();
    let all = (1..=5).map(|number| get(&format!("/{number}"))).collect::<String>();
    waits_for_the_acknowledgement(&logged, || {
        client.send(all);
        for number in 1..=5 {
            assert_eq!(client.response().text(), format!("/{number}"));
        }
    });
}

#[test]
fn an_answer_before_the_end_of_the_request_waits_too() {
    let upstream = Upstream::start_with(Answers::Heads, |request| match request.method.as_str() {
        "POST" => [raw("HTTP/1.1 413 Content Too Large\r\nContent-Length: 5\r\n\r\nlarge"), vec![Step::Hang]].concat(),
        _ => ok("hello"),
    });
    let logged = holding(upstream, &json!({}));
    let response = waits_for_the_acknowledgement(&logged, || {
        let mut client = logged.gateway.connect();
        client.exchange("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\nbeginning")
    });
    assert_eq!((response.status, response.text().as_str()), (413, "large"));
}

#[test]
fn a_response_that_its_upstream_breaks_off_is_passed_on_as_far_as_it_came_and_cut() {
    let upstream = Upstream::start(|request| match request.target.as_str() {
        "/broken" => [raw("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf"), vec![Step::Close]].concat(),
        _ => ok("hello"),
    });
    let logged = holding(upstream, &json!({}));
    let (bytes, _) = waits_for_the_acknowledgement(&logged, || {
        read_bytes(logged.gateway.connect().send(get("/broken")), usize::MAX)
    });
    assert!(bytes.starts_with(b"HTTP/1.1 200 OK\r\n") && bytes.ends_with(b"\r\n\r\nhalf"));
}

#[test]
fn all_who_wait_share_a_batch() {
    const CLIENTS: u64 = 64;
    const EACH: u64 = 10;
    for batch_max_size in [1, 1_000] {
        let logged = holding(Upstream::saying("hello"), &json!({"batch_max_size": batch_max_size}));
        let script = broker(&logged);
        script.script().push_times(Api::Produce, 1_000, &Fault::Delay(Duration::from_millis(30)));
        let before = script.script().seen(Api::Produce);
        std::thread::scope(|scope| {
            for _ in 0..CLIENTS {
                let mut client = logged.gateway.connect();
                scope.spawn(move || {
                    for _ in 0..EACH {
                        assert_eq!(client.exchange(get("/")).status, 200);
                    }
                });
            }
        });
        let produced = script.script().seen(Api::Produce) - before;
        assert!(produced <= CLIENTS * EACH / 8, "{produced} requests to Kafka for {} responses", CLIENTS * EACH);
        wait_metric(&logged.gateway, ACKNOWLEDGED, CLIENTS * EACH + 1);
        wait_metric(&logged.gateway, DELIVERED, CLIENTS * EACH + 1);
    }
}

#[test]
fn a_client_that_leaves_is_not_waited_for() {
    let logged = holding(Upstream::saying("hello"), &json!({"ack_timeout": 60}));
    silence_next(&logged);
    for _ in 0..5 {
        logged.gateway.connect().send(get("/gone"));
    }
    wait_metric(&logged.gateway, ABANDONED, 5);
    wait_metric(&logged.gateway, WAITING, 0);
    wait_metric(&logged.gateway, "tollgate_connections_open", 0);
    // Their records are there all the same.
    broker(&logged).cut_connections();
    wait_metric(&logged.gateway, DELIVERED, 6);
}

#[test]
fn a_response_waits_for_every_logger_that_holds_it() {
    let logged = holding(Upstream::saying("hello"), &json!({}));
    let mut everywhere = logged.attributes(&held(&json!({})));
    everywhere["kafka_topic"] = json!(new_topic());
    logged.put("global_rules/1", &json!({"plugins": {"kafka-logger": everywhere}}));
    assert_eq!(logged.gateway.get("/both").status, 200);
    // Either of the two may be the one that is late.
    for faults in [[Fault::Delay(DELAY), Fault::Pass], [Fault::Pass, Fault::Delay(DELAY)]] {
        faults.into_iter().for_each(|fault| broker(&logged).script().push(Api::Produce, fault));
        let began = Instant::now();
        assert_eq!(logged.gateway.get("/both").status, 200);
        assert!(began.elapsed() >= DELAY, "{:?}", began.elapsed());
    }
    wait_metric(&logged.gateway, DELIVERED, 1 + 3 * 2);
}

#[test]
fn a_response_does_not_wait_for_a_logger_whose_filter_says_no() {
    let plugin = json!({"_meta": {"filter": [["arg_log", "==", "yes"]]}, "ack_timeout": 60});
    let logged = holding(Upstream::saying("hello"), &plugin);
    delay_next(&logged);
    assert_eq!(logged.gateway.get("/?log=no").text(), "hello");
    assert_eq!(broker(&logged).script().left(Api::Produce), 1, "nothing was asked of Kafka");
    assert_eq!(logged.gateway.get("/?log=yes").text(), "hello");
    wait_metric(&logged.gateway, ACKNOWLEDGED, 2);
}

/// Ends the gateway while a response waits for a Kafka that says nothing more.
fn stopped(policy: &str) -> (u16, String) {
    let config = json!({"tollgate": {"shutdown_timeout_ms": 3_000}});
    let plugin = json!({"ack_timeout": 60, "on_log_failure": policy});
    let mut logged = holding_with(config, Upstream::saying("hello"), &plugin);
    silence_next(&logged);
    let mut client = logged.gateway.connect();
    client.send(get("/last"));
    wait_metric(&logged.gateway, WAITING, 1);
    logged.gateway.terminate();
    let response = client.response();
    client.expect_close();
    let status = logged.gateway.wait_end();
    assert_eq!(status.code(), Some(0), "the record is kept:\n{}", logged.gateway.log());
    assert!(logged.gateway.log().contains("1 log entries are kept"), "{}", logged.gateway.log());
    (response.status, response.text())
}

#[test]
fn a_shutdown_ends_what_waits_as_the_policy_says() {
    assert_eq!(stopped("pass"), (200, "hello".to_owned()));
    assert_eq!(stopped("reject").0, 503);
}
