//! Kafka comes later, or is short of something: what was accepted is held and delivered, and what was not is counted.

use std::time::Duration;

use devbroker::{Api, Fault, Options};
use serde_json::{Value, json};

use crate::Logged;
use crate::support::client::get;
use crate::support::kafka::{LateKafka, entries};
use crate::support::{Gateway, Kafka, Setup, Upstream, wait_for};

const ACCEPTED: &str = "tollgate_log_entries_accepted_total";
const DELIVERED: &str = "tollgate_log_entries_delivered_total";
const DROPPED: &str = "tollgate_log_entries_dropped_total";
const HELD: &str = "tollgate_log_entries_held";
const LOST: &str = "tollgate_log_entries_lost_total";
const IN_DOUBT: &str = "tollgate_log_entries_in_doubt_total";

/// A gateway that serves its metrics, with nothing that logs yet.
fn measured(config: Value) -> Logged {
    let setup = Setup { metrics: true, ..Setup::with(config) };
    Logged::without_route(&setup, Upstream::saying("hello"))
}

fn send(gateway: &Gateway, numbers: std::ops::Range<u64>) {
    let mut client = gateway.connect();
    for number in numbers {
        assert_eq!(client.exchange(get(&format!("/?n={number}"))).status, 200);
    }
}

/// Waits until the gateway has counted this.
fn wait_metric(gateway: &Gateway, name: &str, value: u64) {
    wait_for(&format!("{name} is {value}"), || (gateway.metric(name) == value).then_some(()));
}

/// The `n` of every entry.
fn numbers(entries: &[Value]) -> Vec<u64> {
    entries.iter().map(|entry| entry["n"].as_str().and_then(|n| n.parse().ok()).expect("a number")).collect()
}

/// Lines of the gateway's log that hold `text`.
fn lines(gateway: &Gateway, text: &str) -> usize {
    gateway.log().lines().filter(|line| line.contains(text)).count()
}

/// A Kafka that can be reached only after the requests gets every record, in order.
fn late(more: &Value) {
    let logged = measured(json!({}));
    let kafka = LateKafka::new();
    let mut plugin = json!({"brokers": kafka.brokers(), "key": "k", "log_format": {"n": "$arg_n"}});
    for (key, value) in more.as_object().expect("attributes") {
        plugin[key] = value.clone();
    }
    logged.put_route(&plugin);
    send(&logged.gateway, 0..50);
    wait_metric(&logged.gateway, HELD, 50);
    wait_for("the log says so", || (lines(&logged.gateway, "all brokers failed") == 1).then_some(()));
    assert_eq!(logged.gateway.metric(DELIVERED), 0);
    kafka.open(&logged.kafka);
    wait_metric(&logged.gateway, DELIVERED, 50);
    send(&logged.gateway, 50..60);
    wait_metric(&logged.gateway, DELIVERED, 60);
    assert_eq!(lines(&logged.gateway, "answer again"), 1);
    let (kafka, topic) = logged.finish_at();
    // With `required_acks: 1` the replicas may still be copying.
    assert_eq!(numbers(&entries(&kafka.wait_records(&topic, 60))), (0..60).collect::<Vec<_>>());
}

#[test]
fn a_kafka_that_starts_after_the_requests_gets_their_records() {
    late(&json!({"producer_type": "async"}));
}

#[test]
fn a_kafka_that_starts_after_the_requests_gets_their_records_in_sync_mode() {
    late(&json!({"producer_type": "sync"}));
}

#[test]
fn a_kafka_that_starts_after_the_requests_gets_their_records_without_idempotence() {
    late(&json!({"required_acks": 1}));
}

/// A topic that nobody makes for a while loses no record.
fn topic_made_later(producer_type: &str) {
    let mut logged = measured(json!({}));
    // A real one makes topics by itself.
    logged.kafka = Kafka::dev(Options { auto_create: false, ..Options::default() });
    logged.put_route(&json!({"producer_type": producer_type, "key": "k", "log_format": {"n": "$arg_n"}}));
    send(&logged.gateway, 0..20);
    wait_metric(&logged.gateway, HELD, 20);
    let said = || (lines(&logged.gateway, "not found topic") == 1).then_some(());
    wait_for("the log says so", said);
    logged.kafka.create_topic(&logged.topic, 3);
    wait_metric(&logged.gateway, DELIVERED, 20);
    send(&logged.gateway, 20..25);
    assert_eq!(lines(&logged.gateway, "not found topic"), 1, "said once");
    assert_eq!(numbers(&logged.finish_entries()), (0..25).collect::<Vec<_>>());
}

#[test]
fn a_topic_that_is_made_after_the_requests_gets_their_records() {
    topic_made_later("async");
}

#[test]
fn a_topic_that_is_made_after_the_requests_gets_their_records_in_sync_mode() {
    topic_made_later("sync");
}

#[test]
fn over_max_pending_entries_the_newest_are_dropped_and_counted() {
    let logged = measured(json!({}));
    let kafka = LateKafka::new();
    logged.put("plugin_metadata/kafka-logger", &json!({"max_pending_entries": 20}));
    logged.put_route(&json!({"brokers": kafka.brokers(), "key": "k", "log_format": {"n": "$arg_n"}}));
    send(&logged.gateway, 0..50);
    wait_metric(&logged.gateway, DROPPED, 30);
    assert_eq!((logged.gateway.metric(ACCEPTED), logged.gateway.metric(HELD)), (20, 20));
    let said = lines(&logged.gateway, "max pending entries limit exceeded. discarding entry.");
    assert!((1..=3).contains(&said), "at most once a second: {said}");
    kafka.open(&logged.kafka);
    wait_metric(&logged.gateway, DELIVERED, 20);
    send(&logged.gateway, 50..55);
    wait_metric(&logged.gateway, DELIVERED, 25);
    assert_eq!((logged.gateway.metric(DROPPED), logged.gateway.metric(LOST)), (30, 0));
    let expected: Vec<u64> = (0..20).chain(50..55).collect();
    assert_eq!(numbers(&entries(&logged.kafka.records(&logged.topic))), expected);
    end_with(logged, 30);
}

/// Ends the gateway: 1, and the count of entries that did not reach Kafka is said.
fn end_with(mut logged: Logged, missing: u64) {
    logged.gateway.terminate();
    assert_eq!(logged.gateway.wait_end().code(), Some(1), "{missing} are missing:\n{}", logged.gateway.log());
    let said = format!("{missing} log entries did not reach Kafka");
    assert_eq!(lines(&logged.gateway, &said), 1, "{}", logged.gateway.log());
}

#[test]
fn a_full_ring_drops_the_newest_and_counts_them_and_delivers_what_it_took() {
    let ring = json!({"bytes": 262_144, "slot_bytes": 65_536});
    let tollgate = json!({"ring": ring, "spool": {"path": "none"}, "kafka": {"batch_bytes": 65_536}});
    let logged = measured(json!({ "tollgate": tollgate }));
    let kafka = LateKafka::new();
    logged.put_route(&json!({"brokers": kafka.brokers(), "key": "k",
                             "log_format": {"n": "$arg_n", "filling": "$http_x_filling"}}));
    let filling = "x".repeat(8_000);
    let mut client = logged.gateway.connect();
    for number in 0..100 {
        let request = format!("GET /?n={number} HTTP/1.1\r\nHost: a\r\nX-Filling: {filling}\r\n\r\n");
        assert_eq!(client.exchange(request).status, 200);
    }
    let gateway = &logged.gateway;
    let counted = || (gateway.metric(ACCEPTED) + gateway.metric(DROPPED) == 100).then_some(());
    wait_for("every entry is counted", counted);
    let (accepted, dropped) = (gateway.metric(ACCEPTED), gateway.metric(DROPPED));
    assert!(accepted >= 7 && dropped >= 50, "{accepted} accepted, {dropped} dropped");
    assert!((1..=4).contains(&lines(gateway, "buffer overflow")), "at most once a second");
    kafka.open(&logged.kafka);
    wait_metric(gateway, DELIVERED, accepted);
    assert_eq!((gateway.metric(HELD), gateway.metric(LOST), gateway.metric(IN_DOUBT)), (0, 0, 0));
    assert_eq!(
        numbers(&entries(&logged.kafka.records(&logged.topic))),
        (0..accepted).collect::<Vec<_>>(),
        "the newest were dropped"
    );
    send(gateway, 100..101);
    wait_metric(gateway, DELIVERED, accepted + 1);
    end_with(logged, dropped);
}

/// What a broker may do to a Produce request that is tried again.
fn produce_faults() -> [Fault; 7] {
    const NOT_LEADER: i16 = 6;
    const REQUEST_TIMED_OUT: i16 = 7;
    const NOT_ENOUGH_REPLICAS: i16 = 19;
    [
        Fault::Cut,
        Fault::Pass,
        Fault::CutAnswer(10),
        Fault::Error(NOT_LEADER),
        Fault::ErrorAfter(REQUEST_TIMED_OUT),
        Fault::Error(NOT_ENOUGH_REPLICAS),
        Fault::Delay(Duration::from_millis(100)),
    ]
}

#[test]
fn cut_connections_and_errors_under_load_neither_lose_nor_double_a_record() {
    for producer_type in ["async", "sync"] {
        let mut logged = measured(json!({"tollgate": {"kafka": {"linger_ms": 0, "retry_backoff_ms": 20}}}));
        // A real one does not do this when asked.
        logged.kafka = Kafka::dev(Options::default());
        let broker = logged.kafka.dev_broker();
        for fault in produce_faults() {
            broker.script().push(Api::Produce, fault);
        }
        logged.put_route(&json!({"producer_type": producer_type, "key": "k", "log_format": {"n": "$arg_n"}}));
        for round in 0..6 {
            send(&logged.gateway, round * 50..(round + 1) * 50);
            broker.cut_connections();
        }
        wait_metric(&logged.gateway, DELIVERED, 300);
        assert_eq!(broker.script().left(Api::Produce), 0, "every fault had its turn");
        assert!(logged.gateway.metric("tollgate_kafka_batches_retried_total") > 0);
        assert_eq!(numbers(&logged.finish_entries()), (0..300).collect::<Vec<_>>(), "{producer_type}");
    }
}
