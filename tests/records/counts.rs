//! One record per request: in every mode, codec and batch size, on a topic that does not exist before, through changes and a stop.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use crate::Logged;
use crate::support::client::get;
use crate::support::kafka::entries;
use crate::support::{Setup, Upstream};

/// Sends `count` requests over `connections` connections.
fn load(logged: &Logged, connections: usize, count: usize) {
    let mut clients: Vec<_> = (0..connections).map(|_| logged.gateway.connect()).collect();
    for number in 0..count {
        let client = &mut clients[number % connections];
        assert_eq!(client.exchange(get(&format!("/get?n={number}"))).status, 200);
    }
}

/// The requests' numbers in the records, sorted.
fn numbers(entries: &[Value]) -> Vec<usize> {
    let number = |entry: &Value| entry["request"]["querystring"]["n"].as_str().expect("n").parse().expect("a number");
    let mut numbers: Vec<usize> = entries.iter().map(number).collect();
    numbers.sort_unstable();
    numbers
}

#[test]
fn every_request_has_exactly_one_record_in_every_mode() {
    for plugin in [
        json!({"producer_type": "async"}),
        json!({"producer_type": "sync"}),
        json!({"producer_type": "async", "required_acks": 1}),
        json!({"producer_type": "sync", "required_acks": -1}),
    ] {
        let setup = Setup { workers: 2, ..Setup::default() };
        let logged = Logged::on(&setup, Upstream::saying("hello"), &plugin);
        load(&logged, 8, 300);
        logged.kafka.wait_records(&logged.topic, 300);
        assert_eq!(numbers(&entries(&logged.finish())), (0..300).collect::<Vec<_>>(), "{plugin}");
    }
}

#[test]
fn every_codec_can_be_read_back() {
    for codec in ["none", "lz4", "zstd", "gzip", "snappy"] {
        let logged = Logged::with(&json!({"compression": codec}));
        load(&logged, 1, 100);
        assert_eq!(numbers(&entries(&logged.finish())), (0..100).collect::<Vec<_>>(), "{codec}");
    }
}

#[test]
fn both_forms_of_brokers_lead_to_kafka() {
    let logged = Logged::with(&json!({}));
    let upstream = json!({"type": "roundrobin", "nodes": {logged.upstream.node(): 1}});
    let plugin = json!({
        "broker_list": logged.kafka.broker_list(), "kafka_topic": logged.topic, "batch_max_size": 1, "producer_type": "sync",
    });
    logged
        .gateway
        .admin()
        .put("routes/r1", &json!({"uri": "/*", "upstream": upstream, "plugins": {"kafka-logger": plugin}}));
    load(&logged, 1, 10);
    assert_eq!(logged.finish().len(), 10);
}

#[test]
fn a_batch_is_one_message_with_an_array_and_never_longer_than_asked() {
    let logged = Logged::with(&json!({"batch_max_size": 7, "inactive_timeout": 1}));
    load(&logged, 1, 30);
    // The last array is not full; the time closes it.
    let records = logged.kafka.wait_records(&logged.topic, 5);
    let arrays: Vec<Vec<Value>> =
        entries(&records).iter().map(|value| value.as_array().expect("an array").clone()).collect();
    assert_eq!(arrays.iter().map(Vec::len).collect::<Vec<_>>().iter().sum::<usize>(), 30);
    assert!(arrays.iter().all(|array| array.len() <= 7));
    assert_eq!(numbers(&arrays.concat()), (0..30).collect::<Vec<_>>());
    assert_eq!(logged.finish().len(), arrays.len(), "nothing came twice");
}

#[test]
fn a_stop_delivers_what_was_still_open() {
    let logged = Logged::with(&json!({"batch_max_size": 1000, "inactive_timeout": 60, "buffer_duration": 60}));
    load(&logged, 3, 50);
    let arrays = entries(&logged.finish());
    assert_eq!(
        numbers(&arrays.iter().flat_map(|array| array.as_array().expect("an array").clone()).collect::<Vec<_>>()).len(),
        50
    );
}

#[test]
fn records_of_one_key_lie_in_one_partition_in_order() {
    let logged = Logged::with(&json!({"key": "shop"}));
    load(&logged, 1, 40);
    let records = logged.finish();
    assert_eq!(records.len(), 40);
    assert!(records.iter().all(|record| record.key.as_deref() == Some(b"shop")));
    assert!(records.iter().all(|record| record.partition == records[0].partition));
    let order: Vec<String> = entries(&records).iter().map(|entry| entry["request"]["uri"].to_string()).collect();
    let sent: Vec<String> = (0..40).map(|number| format!("\"/get?n={number}\"")).collect();
    assert_eq!(order, sent);
}

#[test]
fn no_record_is_lost_or_mixed_while_the_route_is_changed_at_50_hz() {
    let formats = [json!({"form": "one", "uri": "$request_uri"}), json!({"form": "two", "path": "$request_uri"})];
    let setup = Setup { workers: 2, ..Setup::default() };
    let logged = Logged::on(&setup, Upstream::saying("hello"), &json!({"log_format": formats[0]}));
    let (stop, answered) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut client = logged.gateway.connect();
                while !stop.load(Ordering::Relaxed) {
                    assert_eq!(client.exchange(get("/get")).status, 200);
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        for flip in 0..100 {
            logged.put_route(&json!({"log_format": formats[flip % 2]}));
            std::thread::sleep(Duration::from_millis(20));
        }
        stop.store(true, Ordering::Relaxed);
    });
    let entries = entries(&logged.finish());
    assert_eq!(entries.len(), answered.load(Ordering::Relaxed), "one record per request");
    let is_whole = |entry: &Value| match entry["form"].as_str() {
        Some("one") => entry["uri"] == "/get" && entry.get("path").is_none(),
        Some("two") => entry["path"] == "/get" && entry.get("uri").is_none(),
        _ => false,
    };
    assert!(entries.iter().all(is_whole), "a record follows one configuration");
    assert!(
        ["one", "two"].iter().all(|form| entries.iter().any(|entry| entry["form"] == *form)),
        "both had their turns"
    );
}

#[test]
fn a_route_without_the_plugin_is_not_recorded() {
    let logged = Logged::with(&json!({}));
    load(&logged, 1, 5);
    let upstream = json!({"type": "roundrobin", "nodes": {logged.upstream.node(): 1}});
    logged.gateway.admin().put("routes/r1", &json!({"uri": "/*", "upstream": upstream, "plugins": {}}));
    load(&logged, 1, 5);
    assert_eq!(logged.finish().len(), 5);
}
