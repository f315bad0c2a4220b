//! `kill -9` under load and a start on the same data: what a client got whole is in Kafka, and nothing is there twice.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Value, json};
use tollgate::control::records::Record;

use crate::Logged;
use crate::support::client::get;
use crate::support::kafka::entries;
use crate::support::{Client, Gateway, Setup, Upstream, wait_for};

/// Connections that each have one request under way.
const CLIENTS: usize = 6;
/// How often the gateway is killed.
const KILLS: usize = 3;
/// Responses between a start and the next kill.
const RESPONSES: usize = 150;

/// Requests, numbered through over all connections and lives.
#[derive(Default)]
struct Load {
    next: AtomicU64,
    answered: Mutex<BTreeSet<u64>>,
}

impl Load {
    /// Sends one request after the other until the gateway is gone.
    fn run(&self, gateway: SocketAddr) {
        let mut connection = Client::connect(gateway);
        loop {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            let response = connection.try_send(get(&format!("/?n={number}"))).and_then(|()| connection.try_response());
            let Ok(response) = response else { return };
            assert_eq!(response.status, 200);
            self.answered().insert(number);
        }
    }

    fn answered(&self) -> std::sync::MutexGuard<'_, BTreeSet<u64>> {
        self.answered.lock().expect("no panic while it is held")
    }
}

/// Kills the gateway under load and starts it again, several times.
fn kill_under_load(setup: &Setup, plugin: &Value) {
    let mut logged = Logged::on(setup, Upstream::saying("hello"), plugin);
    let (load, address) = (Load::default(), logged.gateway.address());
    for _ in 0..KILLS {
        let before = load.answered().len();
        std::thread::scope(|scope| {
            for _ in 0..CLIENTS {
                scope.spawn(|| load.run(address));
            }
            wait_for("there is a load", || (load.answered().len() >= before + RESPONSES).then_some(()));
            logged.gateway.crash();
        });
        logged.gateway.restart_with(setup);
    }
    wait_delivered(&logged.gateway, setup.workers);
    logged.stop();
    assert_exactly_once(&load, &logged.kafka.records(&logged.topic), &logged.gateway.log());
}

/// Every number that was answered is there once; one whose response was cut off at most once.
fn assert_exactly_once(load: &Load, records: &[Record], log: &str) {
    let found: Vec<Value> =
        entries(records).into_iter().flat_map(|value| value.as_array().cloned().unwrap_or(vec![value])).collect();
    let number = |entry: &Value| entry["n"].as_str().and_then(|text| text.parse::<u64>().ok()).expect("a number");
    let recorded: BTreeSet<u64> = found.iter().map(number).collect();
    let answered = load.answered();
    let missing: Vec<&u64> = answered.difference(&recorded).collect();
    assert!(missing.is_empty(), "answered and not in Kafka, of {}: {missing:?}\n{log}", answered.len());
    assert_eq!(recorded.len(), found.len(), "something is there twice\n{log}");
}

/// Slots of each core's ring.
const SLOTS: u64 = 32;

fn setup(workers: u32, mut ring: Value) -> Setup {
    (ring["bytes"], ring["slot_bytes"]) = (json!("4m"), json!("128k"));
    Setup { workers, metrics: true, ..Setup::with(json!({"tollgate": {"ring": ring}})) }
}

/// Waits until a gateway that has just started has delivered what it found.
fn wait_delivered(gateway: &Gateway, workers: u32) {
    let names = ["tollgate_ring_slots", "tollgate_log_entries_held", "tollgate_spool_entries"];
    // Every core has said its numbers once it has said its slots.
    let delivered = || gateway.metrics(names) == [SLOTS * u64::from(workers), 0, 0];
    wait_for("what was found is delivered", || delivered().then_some(()));
}

fn plugin(more: Value) -> Value {
    let mut plugin = json!({"log_format": {"n": "$arg_n"}});
    plugin.as_object_mut().expect("an object").extend(more.as_object().expect("attributes").clone());
    plugin
}

#[test]
fn kills_under_load_lose_and_double_nothing() {
    kill_under_load(&setup(2, json!({})), &plugin(json!({"compression": "lz4"})));
}

#[test]
fn kills_under_load_lose_and_double_nothing_in_sync_mode() {
    kill_under_load(&setup(1, json!({})), &plugin(json!({"producer_type": "sync"})));
}

#[test]
fn kills_under_load_lose_and_double_nothing_of_open_arrays() {
    let arrays = json!({"batch_max_size": 1_000, "inactive_timeout": 60, "compression": "lz4"});
    kill_under_load(&setup(2, json!({})), &plugin(arrays));
}

#[test]
fn kills_under_load_lose_and_double_nothing_of_small_arrays() {
    kill_under_load(&setup(1, json!({})), &plugin(json!({"batch_max_size": 20, "inactive_timeout": 1})));
}

#[test]
fn kills_under_load_lose_and_double_nothing_of_held_responses() {
    kill_under_load(&setup(2, json!({})), &plugin(json!({"ack_before_response": true})));
}

#[test]
fn kills_under_load_with_the_ring_in_the_process_lose_no_held_response() {
    // A held response was acknowledged by Kafka before its end: it needs neither ring nor spool.
    kill_under_load(&setup(1, json!({"path": "none"})), &plugin(json!({"ack_before_response": true})));
}

/// Numbers of a topic's records, partition by partition, as they lie there.
fn by_partition(records: &[Record]) -> Vec<Vec<u64>> {
    let mut partitions = std::collections::BTreeMap::<i32, Vec<u64>>::new();
    for (record, entry) in records.iter().zip(entries(records)) {
        let number = entry["n"].as_str().and_then(|text| text.parse().ok()).expect("a number");
        partitions.entry(record.partition).or_default().push(number);
    }
    partitions.into_values().collect()
}

#[test]
fn a_kill_while_kafka_stands_still_leaves_every_record_once_and_in_order() {
    let config = json!({"tollgate": {"kafka": {"request_timeout_ms": 2_000}}});
    let setup = Setup { metrics: true, ..Setup::with(config) };
    let logged = Logged::without_route(&setup, Upstream::saying("hello"));
    let mut logged = Logged {
        kafka: crate::support::Kafka::dev(devbroker::Options { partitions: 2, ..Default::default() }),
        ..logged
    };
    logged.put_route(&plugin(json!({})));
    let broker = logged.kafka.dev_broker();
    let mut client = logged.gateway.connect();
    let mut send = |numbers: std::ops::Range<u64>| {
        for number in numbers {
            assert_eq!(client.exchange(get(&format!("/?n={number}"))).status, 200);
        }
    };
    send(0..100);
    logged.kafka.wait_records(&logged.topic, 100);
    // What is under way when it stops may be in Kafka or not: nobody is told.
    broker.set_frozen(1, true);
    send(100..400);
    let accepted = || logged.gateway.metric("tollgate_log_entries_accepted_total");
    wait_for("every entry is accepted", || (accepted() == 400).then_some(()));
    logged.gateway.crash();
    broker.set_frozen(1, false);
    logged.gateway.restart_with(&setup);
    let mut client = logged.gateway.connect();
    for number in 400..500 {
        assert_eq!(client.exchange(get(&format!("/?n={number}"))).status, 200);
    }
    logged.stop();
    let partitions = by_partition(&logged.kafka.records(&logged.topic));
    let mut all: Vec<u64> = partitions.concat();
    for numbers in &partitions {
        assert!(numbers.is_sorted(), "in order: {numbers:?}");
    }
    all.sort_unstable();
    assert_eq!(all, (0..500).collect::<Vec<u64>>(), "{}", logged.gateway.log());
}
